//! Fencing numbers. None of them ever goes down; every receiver keeps the highest and refuses less
//! (DESIGN §4, I8).

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one. Panics at 2⁶⁴−1, which at one a microsecond is 584,000 years.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a fencing number cannot run out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// Life of the cluster. Raised only by `quorum force`; every other incarnation is refused for ever.
    Incarnation
);
number!(
    /// The fencing token of a group: raised whenever the right to write moves or is renewed by Abort.
    Epoch
);
number!(
    /// Raised by every change of a group's authority; every command compares and sets on it.
    Version
);
number!(
    /// Number of an arming of semi-sync: `CatchUp(g)` and `Sync(g)` belong together.
    SyncGeneration
);
number!(
    /// Number of a DNS snapshot or a configuration.
    Generation
);
