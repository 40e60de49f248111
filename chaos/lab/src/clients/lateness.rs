//! Whether the machine had a processor for the clients when they needed one: a thread that does nothing
//! but wake every few milliseconds and note how late it was.
//!
//! This is what bears on measured times. The load average does not tell: it looks back over minutes, to
//! the build before, and counts the lab itself. Nor does the kernel's CPU pressure: a lab alone raises it
//! to 0.8 on two processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two wakes: finer than anything the demo reports, and no load.
const WAKE_EVERY: Duration = Duration::from_millis(10);

/// Wakes are counted by whole milliseconds of lateness; what is later counts as this.
const LATE_MS_MAX: usize = 1_000;

/// Wakes until ended.
pub struct Lateness {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Lateness {
    /// Begins.
    pub fn watch() -> Lateness {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut wakes = vec![0; LATE_MS_MAX + 1];
            while !end.load(Ordering::Relaxed) {
                let due = Instant::now() + WAKE_EVERY;
                std::thread::sleep(WAKE_EVERY);
                let late = usize::try_from(due.elapsed().as_millis()).unwrap_or(LATE_MS_MAX);
                wakes[late.min(LATE_MS_MAX)] += 1;
            }
            wakes
        });
        Lateness { ended, thread }
    }

    /// Ends: 99 of 100 wakes were late by no more than these milliseconds. None when it never woke.
    pub fn end(self) -> Option<u64> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().ok().and_then(|wakes| percentile_99(&wakes))
    }
}

/// The smallest index up to which 99 of 100 are counted.
fn percentile_99(counts: &[u64]) -> Option<u64> {
    let all: u64 = counts.iter().sum();
    let mut until = 0;
    let reached = counts.iter().position(|n| {
        until += n;
        until * 100 >= all * 99
    });
    reached.filter(|_| all > 0).map(|index| index as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_wake_in_a_hundred_is_left_out_and_two_are_not() {
        assert_eq!(percentile_99(&[99, 0, 0, 1]), Some(0));
        assert_eq!(percentile_99(&[98, 0, 0, 2]), Some(3));
        assert_eq!(percentile_99(&[0, 10]), Some(1));
        assert_eq!(percentile_99(&[0, 0]), None);
    }
}
