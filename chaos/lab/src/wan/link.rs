//! One direction between two sites: a bounded queue with a delay, a loss and a cut.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{DELAY_DEFAULT, Direction, LinkStatus};

/// Frames under way in one direction: 100 MB/s of full frames over 50 ms. More than that is
/// dropped and counted, as a router would.
const QUEUE_FRAMES: usize = 4096;

/// Loss is held in millionths, so that it fits an atomic.
const MILLION: u32 = 1_000_000;

/// A frame and when it is due at the far end.
struct Due {
    at: Instant,
    frame: Arc<[u8]>,
}

/// The settings and counters of one direction, shared by its reader, its writer and the control.
pub struct Link {
    direction: Direction,
    cut: AtomicBool,
    /// Held by the writer while it puts a frame out and by `set_cut`: after `set_cut(true)` has
    /// returned, no frame passes.
    gate: Mutex<()>,
    delay_micros: AtomicU64,
    loss_millionths: AtomicU32,
    passed: AtomicU64,
    dropped: AtomicU64,
    overflowed: AtomicU64,
    queue: SyncSender<Due>,
}

/// The far end of a link, owned by its writer thread.
pub struct FarEnd {
    link: Arc<Link>,
    queue: Receiver<Due>,
}

impl Link {
    /// A mended link with the default delay, and its far end.
    pub fn new(direction: Direction) -> (Arc<Link>, FarEnd) {
        let (send, receive) = sync_channel(QUEUE_FRAMES);
        let link = Arc::new(Link {
            direction,
            cut: AtomicBool::new(false),
            gate: Mutex::new(()),
            delay_micros: AtomicU64::new(micros(DELAY_DEFAULT)),
            loss_millionths: AtomicU32::new(0),
            passed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            queue: send,
        });
        (Arc::clone(&link), FarEnd { link, queue: receive })
    }

    /// Which direction this is.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Takes a frame that was read at `now`.
    pub fn carry(&self, frame: &Arc<[u8]>, now: Instant) {
        let loss = self.loss_millionths.load(Ordering::Relaxed);
        if self.cut.load(Ordering::Acquire) || (loss > 0 && rand::random_range(0..MILLION) < loss) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let at = now + Duration::from_micros(self.delay_micros.load(Ordering::Relaxed));
        match self.queue.try_send(Due { at, frame: Arc::clone(frame) }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Cuts or mends. When this returns after a cut, nothing passes any more.
    pub fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Release);
        drop(self.gate.lock().expect("no holder of the gate panics"));
    }

    /// Sets the one-way delay.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_micros.store(micros(delay), Ordering::Relaxed);
    }

    /// Sets the loss, 0 to 100 percent; what lies outside is taken as the nearer end.
    pub fn set_loss(&self, percent: f64) {
        // In 0..=1e6 after the clamp, so the cast neither cuts nor wraps; NaN becomes 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let millionths = (percent.clamp(0.0, 100.0) * 10_000.0) as u32;
        self.loss_millionths.store(millionths, Ordering::Relaxed);
    }

    /// As it was when made.
    pub fn heal(&self) {
        self.set_delay(DELAY_DEFAULT);
        self.set_loss(0.0);
        self.set_cut(false);
    }

    /// How it stands.
    pub fn status(&self) -> LinkStatus {
        LinkStatus {
            direction: self.direction,
            cut: self.cut.load(Ordering::Acquire),
            delay_micros: self.delay_micros.load(Ordering::Relaxed),
            loss_percent: f64::from(self.loss_millionths.load(Ordering::Relaxed)) / 10_000.0,
            passed: self.passed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
        }
    }
}

impl FarEnd {
    /// Puts frames out when they are due, until the link is gone. `put` writes one frame.
    pub fn run(self, mut put: impl FnMut(&[u8])) {
        while self.put_next(&mut put) {}
    }

    /// Waits for the next frame and for its time, and puts it out unless the link is cut by then.
    fn put_next(&self, put: &mut impl FnMut(&[u8])) -> bool {
        let Ok(due) = self.queue.recv() else { return false };
        let wait = due.at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let _open = self.link.gate.lock().expect("no holder of the gate panics");
        if self.link.cut.load(Ordering::Acquire) {
            self.link.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            put(&due.frame);
            self.link.passed.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LabSite;

    fn link() -> (Arc<Link>, FarEnd) {
        Link::new(Direction { from: LabSite::Pdc, to: LabSite::Mdc })
    }

    #[test]
    fn frames_keep_their_order_and_none_passes_a_cut() {
        let (link, far) = link();
        let frame = |n: u8| -> Arc<[u8]> { Arc::from([n].as_slice()) };
        for n in 0..3 {
            link.carry(&frame(n), Instant::now());
        }
        link.set_cut(true);
        link.carry(&frame(9), Instant::now());
        link.set_cut(false);
        link.carry(&frame(3), Instant::now());
        let mut seen = Vec::new();
        for _ in 0..4 {
            far.put_next(&mut |f| seen.push(f[0]));
        }
        let status = link.status();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!((status.passed, status.dropped, status.overflowed), (4, 1, 0));
    }

    #[test]
    fn a_frame_under_way_does_not_outlive_a_cut() {
        let (link, far) = link();
        link.carry(&Arc::from([7u8].as_slice()), Instant::now());
        link.set_cut(true);
        far.put_next(&mut |_| panic!("a frame passed a cut"));
        assert_eq!(link.status().dropped, 1);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (link, _far) = link();
        let frame: Arc<[u8]> = Arc::from([0u8].as_slice());
        for _ in 0..QUEUE_FRAMES + 5 {
            link.carry(&frame, Instant::now());
        }
        assert_eq!(link.status().overflowed, 5);
    }

    #[test]
    fn whole_loss_drops_everything() {
        let (link, _far) = link();
        link.set_loss(100.0);
        link.carry(&Arc::from([0u8].as_slice()), Instant::now());
        assert_eq!(link.status().dropped, 1);
    }
}
