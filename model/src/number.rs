//! Fencing numbers. None of them ever goes down; every receiver keeps the highest and refuses less
//! (DESIGN §4, I8).

use std::fmt;
use std::str::FromStr;

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

/// Life of the cluster. Raised only by `quorum force`; every other incarnation is refused for ever, also
/// one of the same count: two people who force two halves of a cluster make two of them. So the number
/// carries a mark, drawn when it is made; the first life, which nobody forced, is 1 and has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The life after this one, under a mark that was drawn by chance.
    #[must_use]
    pub fn after(self, mark: u32) -> Self {
        Self(((self.count() + 1) << 32) | u64::from(mark))
    }

    /// Another life that began where this one did, or the two have one before them in common that somebody
    /// forced twice: neither follows the other.
    #[must_use]
    pub fn is_rival_of(self, other: Self) -> bool {
        self != other && self.count() == other.count()
    }

    /// How many lives there have been, this one included.
    #[must_use]
    pub fn count(self) -> u64 {
        if self.0 >> 32 == 0 { self.0 } else { self.0 >> 32 }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 32 {
            0 => fmt::Display::fmt(&self.0, f),
            count => write!(f, "{count}-{:08x}", self.0 & 0xffff_ffff),
        }
    }
}

/// A text that names no incarnation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no incarnation; `twofold status` and `twofold quorum force` show one, as in 1 or 2-967b85ec"
)]
pub struct NoIncarnation(String);

impl FromStr for Incarnation {
    type Err = NoIncarnation;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, NoIncarnation> {
        let read = || {
            let Some((count, mark)) = text.split_once('-') else {
                return text.parse().ok().filter(|n| (1..1 << 32).contains(n)).map(Self);
            };
            let count = count.parse::<u32>().ok().filter(|n| *n > 0)?;
            let mark = u32::from_str_radix(mark, 16).ok()?;
            Some(Self((u64::from(count) << 32) | u64::from(mark)))
        };
        read().filter(|i| i.to_string() == text).ok_or_else(|| NoIncarnation(text.to_owned()))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a life is above every one before it, whatever their marks, and two of one count differ.
    #[test]
    fn an_incarnation_is_above_those_before_it_and_beside_none() {
        let first = Incarnation(1);
        let (here, there) = (first.after(7), first.after(0xffff_ffff));
        assert_ne!(here, there);
        assert!(first < here && here < there && there < here.after(0));
        assert!(here.is_rival_of(there) && !here.is_rival_of(here) && !here.is_rival_of(first));
        assert_eq!((first.count(), here.count(), here.after(3).count()), (1, 2, 3));
        assert_eq!((first.to_string(), here.to_string()), ("1".to_owned(), "2-00000007".to_owned()));
        for life in [first, here, there] {
            assert_eq!(life.to_string().parse(), Ok(life));
        }
        for wrong in
            ["", "0", "2-", "-7", "2-7", "0-00000007", "2-0000000g", "2-000000007", "4294967296", "+1"]
        {
            assert!(wrong.parse::<Incarnation>().is_err(), "{wrong}");
        }
    }
}
