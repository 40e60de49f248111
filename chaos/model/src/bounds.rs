//! How far the model goes. Within the bounds every interleaving is looked at; beyond them, none.

/// The most there is of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Epochs; the first is 1.
    pub epochs: u8,
    /// Transactions of clients.
    pub transactions: u8,
    /// Armings of semi-sync.
    pub armings: u8,
    /// Faults of all kinds together.
    pub faults: u8,
}

impl Bounds {
    /// What the test suite goes through.
    pub const SMALL: Bounds = Bounds { epochs: 3, transactions: 1, armings: 1, faults: 1 };
    /// For the record.
    pub const LARGE: Bounds = Bounds { epochs: 2, transactions: 2, armings: 2, faults: 1 };
}
