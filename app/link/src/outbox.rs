//! The bounded queue of encoded frames in front of one connection's writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Frames that may wait for one connection. A burst of Raft appends to a peer across a WAN is a few
/// hundred; beyond this the peer is not keeping up, and more waiting would only make all of it late.
const QUEUE_FRAMES: usize = 1024;
/// Bytes that may wait for one connection: a handful of the largest frames.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Where frames for a connection are put. The connection ends when its last outbox is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Outgoing {
    frames: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    /// The writer does not keep up.
    Full,
    /// The writer is gone.
    Closed,
}

pub(crate) fn outbox() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(QUEUE_FRAMES);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { frames: sender, waiting: waiting.clone() }, Outgoing { frames: receiver, waiting })
}

impl Outbox {
    /// Its writer is gone.
    pub(crate) fn closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Queues a frame or gives up at once.
    pub(crate) fn push(&self, frame: Vec<u8>) -> Result<(), PushError> {
        let length = frame.len();
        // Pushes to one outbox happen under the lock of its table, so that the sum is not overtaken.
        if self.waiting.load(Ordering::Relaxed) + length > QUEUE_BYTES {
            return Err(if self.frames.is_closed() { PushError::Closed } else { PushError::Full });
        }
        self.waiting.fetch_add(length, Ordering::Relaxed);
        self.frames.try_send(frame).map_err(|error| {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => PushError::Full,
                mpsc::error::TrySendError::Closed(_) => PushError::Closed,
            }
        })
    }
}

impl Outgoing {
    /// Waits for the next frame; `None` when the connection was taken from the table. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.recv().await?;
        self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }

    /// A frame that waits already.
    pub(crate) fn waiting(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.try_recv().ok()?;
        self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_is_bounded_in_frames_and_in_bytes() {
        let (few, mut outgoing) = outbox();
        let taken = (0..QUEUE_FRAMES + 5).filter(|_| few.push(vec![0]).is_ok()).count();
        assert_eq!(taken, QUEUE_FRAMES);
        assert_eq!(few.push(vec![0]), Err(PushError::Full));
        assert!(outgoing.waiting().is_some());
        assert_eq!(few.push(vec![0]), Ok(()));

        let (large, mut outgoing) = outbox();
        let mebibyte = || vec![0; 1024 * 1024];
        let taken = (0..40).filter(|_| large.push(mebibyte()).is_ok()).count();
        assert_eq!(taken, 32);
        assert!(outgoing.waiting().is_some());
        assert_eq!(large.push(mebibyte()), Ok(()));
        drop(outgoing);
        assert_eq!(large.push(mebibyte()), Err(PushError::Closed));
    }
}
