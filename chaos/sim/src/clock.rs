//! A host's CLOCK_BOOTTIME: it runs a little fast or slow, starts anew at a boot, and, on a virtual
//! machine that was stopped, may have missed the stop.

use std::time::Duration;

use model::Timestamp;

use crate::place::Time;

/// Parts in a million.
const MILLION: u64 = 1_000_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Time,
    local: u64,
    /// Local microseconds in a million true ones.
    rate: u64,
}

impl Clock {
    /// A clock that shows `local` at `now` and goes `ppm` too fast.
    pub fn new(now: Time, local: u64, ppm: i64) -> Self {
        Self { base: now, local, rate: MILLION.saturating_add_signed(ppm) }
    }

    /// What it shows.
    pub fn read(&self, now: Time) -> Timestamp {
        Timestamp(self.local + (now - self.base) * self.rate / MILLION)
    }

    /// True microseconds in `local` microseconds of this clock, rounded up.
    pub fn stretch(&self, local: u64) -> Time {
        (local * MILLION).div_ceil(self.rate)
    }

    /// True microseconds in a duration of this clock.
    pub fn span(&self, local: Duration) -> Time {
        self.stretch(u64::try_from(local.as_micros()).unwrap_or(u64::MAX / MILLION))
    }

    /// Goes on at another rate.
    pub fn set_rate(&mut self, now: Time, ppm: i64) {
        *self = Self::new(now, self.read(now).0, ppm);
    }

    /// The last `lost` microseconds went by without this clock.
    pub fn miss(&mut self, now: Time, lost: Time) {
        // Where its rate was changed meanwhile, only what came after that was missed.
        let shown = self.read((now - lost).max(self.base)).0;
        *self = Self { base: now, local: shown, rate: self.rate };
    }

    /// The host boots.
    pub fn boot(&mut self, now: Time) {
        self.base = now;
        self.local = 1_000_000;
    }
}
