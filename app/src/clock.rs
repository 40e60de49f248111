//! The two clocks: CLOCK_BOOTTIME for decisions, the wall clock for people.

use model::{BootId, Timestamp, WallTime};
use nix::time::{ClockId, clock_gettime};

/// Now, on CLOCK_BOOTTIME.
pub fn now() -> Timestamp {
    let t = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let seconds = u64::try_from(t.tv_sec()).expect("time since boot is not negative");
    let nanos = u64::try_from(t.tv_nsec()).expect("nanoseconds are not negative");
    Timestamp(seconds * 1_000_000 + nanos / 1_000)
}

/// Now, on the wall clock.
pub fn wall() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

/// This boot of this host.
pub fn boot() -> anyhow::Result<BootId> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|e| anyhow::anyhow!("read {path}: {e}"))?;
    Ok(BootId(text.trim().to_owned()))
}
