//! How far the model goes. Within the bounds every interleaving is looked at; beyond them, none.

/// Kinds of faults that are counted.
pub(crate) const KINDS: usize = 6;

/// What can go wrong, as far as it is counted. What is *not* counted may happen at any time: a message that is lost or
/// slow, a link that is cut, a site that is alone, a leader that changes, a lease that runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A database process dies.
    Crash = 0,
    /// A host does.
    Reboot = 1,
    /// A host stands still.
    Pause = 2,
    /// An answer is delivered after newer ones.
    Delay = 3,
    /// A command is ordered after others that were decided later.
    LateCommand = 4,
    /// An add to the gate is under way for long.
    LateGate = 5,
}

/// The most there is of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Epochs; the first is 1.
    pub epochs: u8,
    /// Transactions of clients.
    pub transactions: u8,
    /// Armings of semi-sync.
    pub armings: u8,
    /// Faults of each kind, in the order of `Fault`.
    pub each: [u8; KINDS],
    /// Faults of all kinds together.
    pub faults: u8,
}

impl Bounds {
    /// What the test suite goes through.
    pub const SMALL: Bounds = Bounds { epochs: 3, transactions: 2, armings: 1, each: [1; KINDS], faults: 1 };
    /// For the record.
    pub const LARGE: Bounds = Bounds { epochs: 3, transactions: 2, armings: 2, each: [2; KINDS], faults: 2 };
}
