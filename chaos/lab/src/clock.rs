//! The one clock of the lab. All of its processes run on one machine, so their `CLOCK_BOOTTIME` is
//! the same clock and their stamps may be compared, which the product itself never does.

use model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_BOOTTIME` (clock_gettime(2)).
#[must_use]
pub fn now() -> Timestamp {
    let t = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had CLOCK_BOOTTIME since 2.6.39");
    let micros = i128::from(t.tv_sec()) * 1_000_000 + i128::from(t.tv_nsec()) / 1_000;
    Timestamp(u64::try_from(micros).expect("the boot clock never goes below zero"))
}

/// Milliseconds from `earlier` to `later`, negative when it lies before.
#[must_use]
pub fn millis_between(earlier: Timestamp, later: Timestamp) -> f64 {
    // Stamps of one boot are far below 2^53 microseconds, so the conversion is exact.
    #[allow(clippy::cast_precision_loss)]
    let (a, b) = (earlier.0 as f64, later.0 as f64);
    (b - a) / 1_000.0
}
