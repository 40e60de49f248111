//! The one source of chance of a run. Everything random comes from here, in the order of events.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// See the module.
pub struct Chance(StdRng);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0.random()
    }

    /// A number below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The modulo's bias is of no account beside numbers this small.
        self.next() % limit
    }

    /// A number of a range.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
