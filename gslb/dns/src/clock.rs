//! The clock that observations are stamped with, and that of cookies.

use model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Now, by CLOCK_BOOTTIME, which runs on in suspend and is never stepped (clock_gettime(2)).
#[must_use]
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let seconds = u64::try_from(time.tv_sec()).expect("time since boot is not negative");
    let micros = u64::try_from(time.tv_nsec()).expect("nanoseconds are not negative") / 1_000;
    Timestamp(seconds * 1_000_000 + micros)
}

/// Seconds since 1970, by CLOCK_REALTIME: for what other hosts compare with theirs.
#[must_use]
pub fn wall_s() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).expect("there is a wall clock");
    u64::try_from(time.tv_sec()).unwrap_or(0)
}
