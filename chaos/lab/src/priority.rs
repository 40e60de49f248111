//! The lab before other work of the machine: a build beside it must not look like a fault of the
//! cluster, nor an instrument starve.
//!
//! Linux shares the processor first between sessions (sched(7), "The autogroup feature"), so the
//! lab's sessions get the nice value that counts. Best effort: without the right or the feature the
//! lab runs as everything else does, and reports say how busy the machine was.

/// Twenty-eight times the share of a session at nice 0.
const AUTOGROUP_NICE: &str = "-15";

/// Makes the calling process the head of a session of its own, with priority.
pub fn own_session() {
    // Fails for who leads a process group already; then it stays where its starter put it.
    let _ = nix::unistd::setsid();
    let _ = std::fs::write("/proc/self/autogroup", AUTOGROUP_NICE);
}

/// Processes that wanted a processor, on average of the last minute (proc_loadavg(5)), for each
/// processor there is. Above 1 what is measured is the machine.
#[must_use]
pub fn busyness() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    let processors = std::thread::available_parallelism().ok()?.get();
    // A number of processors is far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let processors = processors as f64;
    Some(load / processors)
}
