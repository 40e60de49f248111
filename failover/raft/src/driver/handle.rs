//! How the rest of the process asks the raft thread.
//!
//! Invariants: no call waits past its deadline, whatever the thread or its disk do; a full queue
//! is [`ProposeError::Busy`] at once; an outcome that is not known is said to be unknown.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};

use super::run::{RaftStatus, Stopped};
use crate::membership::MemberStep;
use crate::replica::{MAX_PROPOSAL_BYTES, StepRefused};
use crate::wire::{self, WireError};

/// Bytes of payload that wait in the queue. A few snapshots' worth; beyond it callers hear `Busy`
/// and peers' messages are dropped, as with too many inputs.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the thread is asked. The bytes are those counted in [`Queued`].
pub(super) enum Input {
    Message { message: Box<Message>, bytes: usize },
    Propose { data: Vec<u8>, answer: oneshot::Sender<Result<Proposed, ProposeError>> },
    Read { answer: oneshot::Sender<Result<u64, ReadError>> },
    Transfer { to: u64, answer: oneshot::Sender<Result<(), TransferError>> },
    Members { step: MemberStep, answer: oneshot::Sender<Result<(), MemberError>> },
    Unreachable { peer: u64 },
}

/// Bytes in the queue, counted by both ends.
#[derive(Clone, Default)]
pub(super) struct Queued(Arc<AtomicUsize>);

impl Queued {
    fn add(&self, bytes: usize) -> bool {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > QUEUED_BYTES_MAX {
            self.remove(bytes);
            return false;
        }
        true
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A proposal that was committed and applied here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    /// Its place in the log.
    pub index: u64,
}

/// Why a proposal was not confirmed. Only the variants that say so leave its fate open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not proposed; ask that node.
    #[error("node {leader} leads, not this one")]
    NotLeader {
        /// Who leads.
        leader: u64,
    },
    /// Not proposed; an election, a transfer or a lost quorum is under way.
    #[error("no raft leader is known")]
    NoLeader,
    /// Not proposed; too much is waiting. Try again.
    #[error("raft is busy: its queue is full")]
    Busy,
    /// Not proposed: longer than [`MAX_PROPOSAL_BYTES`], or empty.
    #[error("proposal of {bytes} bytes is not within 1 to {MAX_PROPOSAL_BYTES}")]
    Size {
        /// Its length.
        bytes: usize,
    },
    /// Unknown: the deadline passed; it may still be committed, or never.
    #[error("proposal was not confirmed within its deadline; it may still be committed")]
    TimedOut,
    /// Unknown: leadership was lost while it waited; the next leader may commit it or not.
    #[error("leadership was lost before the proposal was confirmed; it may still be committed")]
    Unknown,
    /// Raft ended here; the reason is in the status. A proposal that was on its way is unknown.
    #[error("raft has stopped on this node: {why}")]
    Stopped {
        /// As in the status.
        why: String,
    },
}

/// Why a read index was not confirmed. Nothing may be concluded, and nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Ask that node.
    #[error("node {leader} leads, not this one")]
    NotLeader {
        /// Who leads.
        leader: u64,
    },
    /// An election or a lost quorum is under way.
    #[error("no raft leader is known")]
    NoLeader,
    /// Too many wait. Try again.
    #[error("raft is busy: its queue is full")]
    Busy,
    /// No quorum confirmed within the deadline.
    #[error("no quorum confirmed the read within its deadline")]
    TimedOut,
    /// Raft ended here; the reason is in the status.
    #[error("raft has stopped on this node: {why}")]
    Stopped {
        /// As in the status.
        why: String,
    },
}

/// Why leadership is not being handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Ask that node.
    #[error("node {leader} leads, not this one")]
    NotLeader {
        /// Who leads.
        leader: u64,
    },
    /// An election is under way.
    #[error("no raft leader is known")]
    NoLeader,
    /// Only a voter can lead.
    #[error("node {to} is not a voter")]
    NotVoter {
        /// As asked.
        to: u64,
    },
    /// Try again.
    #[error("raft is busy: its queue is full")]
    Busy,
    /// The thread did not take the request in time.
    #[error("raft did not take the transfer within its deadline")]
    TimedOut,
    /// Raft ended here; the reason is in the status.
    #[error("raft has stopped on this node: {why}")]
    Stopped {
        /// As in the status.
        why: String,
    },
}

/// Why a change of members was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Ask again later, of whoever leads then.
    #[error(transparent)]
    Refused(#[from] StepRefused),
    /// Try again.
    #[error("raft is busy: its queue is full")]
    Busy,
    /// Unknown: the thread did not answer in time.
    #[error("raft did not take the change of members within its deadline")]
    TimedOut,
    /// Raft ended here; the reason is in the status.
    #[error("raft has stopped on this node: {why}")]
    Stopped {
        /// As in the status.
        why: String,
    },
}

/// Why a peer's message did not reach the thread. Raft bears the loss.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not a raft message.
    #[error("message from node {from} is not taken")]
    Wire {
        /// The connection's peer.
        from: u64,
        /// Why.
        #[source]
        source: WireError,
    },
    /// It claims another sender than the connection's peer (or the origin, if it was relayed).
    #[error("message from node {from} claims to be from node {claimed}")]
    Sender {
        /// The peer.
        from: u64,
        /// As it claims.
        claimed: u64,
    },
    /// The queue is full.
    #[error("raft is busy: message from node {from} was dropped")]
    Busy {
        /// The peer.
        from: u64,
    },
    /// Raft ended here; the reason is in the status.
    #[error("raft has stopped on this node: {why}")]
    Stopped {
        /// As in the status.
        why: String,
    },
}

/// Why a stop was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// The thread is still busy, with its disk most likely. It ends when it comes back.
    #[error("raft thread did not end within its deadline")]
    TimedOut,
}

/// Asks the raft thread. Cheap to clone; the thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Handle {
    sender: SyncSender<Input>,
    queued: Queued,
    /// Looked at by the thread at every turn, so that a full queue cannot keep it from ending.
    stopping: Arc<AtomicBool>,
    status: watch::Receiver<RaftStatus>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum NotSent {
    Busy,
    Stopped { why: String },
}

impl Handle {
    pub(super) fn new(
        sender: SyncSender<Input>,
        queued: Queued,
        stopping: Arc<AtomicBool>,
        status: watch::Receiver<RaftStatus>,
        thread: JoinHandle<()>,
    ) -> Self {
        Self { sender, queued, stopping, status, thread: Arc::new(Mutex::new(Some(thread))) }
    }

    /// Proposes `data`; done when it is committed and applied on this node, which leads. The status
    /// may show that a moment later.
    ///
    /// # Errors
    /// As [`ProposeError`] says; only some leave open whether it will be committed.
    pub async fn propose(&self, data: Vec<u8>, deadline: Instant) -> Result<Proposed, ProposeError> {
        let bytes = data.len();
        if bytes == 0 || bytes > MAX_PROPOSAL_BYTES {
            return Err(ProposeError::Size { bytes });
        }
        let (answer, answered) = oneshot::channel();
        self.send(Input::Propose { data, answer }, bytes).map_err(|not_sent| match not_sent {
            NotSent::Busy => ProposeError::Busy,
            NotSent::Stopped { why } => ProposeError::Stopped { why },
        })?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ProposeError::Stopped { why: self.why() }),
            Err(_) => Err(ProposeError::TimedOut),
        }
    }

    /// An index such that a read of the state machine at or after it is linearizable: a quorum
    /// confirmed, after this call began, that this node leads. Already applied when this returns.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Read { answer }, 0).map_err(|not_sent| match not_sent {
            NotSent::Busy => ReadError::Busy,
            NotSent::Stopped { why } => ReadError::Stopped { why },
        })?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ReadError::Stopped { why: self.why() }),
            Err(_) => Err(ReadError::TimedOut),
        }
    }

    /// Hands in a message that came from node `from`. Does not wait.
    ///
    /// # Errors
    /// When it was dropped.
    pub fn step(&self, from: u64, bytes: &[u8]) -> Result<(), StepError> {
        let message = wire::decode(bytes).map_err(|source| StepError::Wire { from, source })?;
        if message.from != from {
            return Err(StepError::Sender { from, claimed: message.from });
        }
        let bytes = bytes.len();
        let input = Input::Message { message: Box::new(message), bytes };
        self.send(input, bytes).map_err(|not_sent| match not_sent {
            NotSent::Busy => StepError::Busy { from },
            NotSent::Stopped { why } => StepError::Stopped { why },
        })
    }

    /// Begins to hand leadership to `to`. That it was handed over shows in the status; raft gives
    /// up after one election timeout.
    ///
    /// # Errors
    /// When it was not begun.
    pub async fn transfer_leader(&self, to: u64, deadline: Instant) -> Result<(), TransferError> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Transfer { to, answer }, 0).map_err(|not_sent| match not_sent {
            NotSent::Busy => TransferError::Busy,
            NotSent::Stopped { why } => TransferError::Stopped { why },
        })?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(TransferError::Stopped { why: self.why() }),
            Err(_) => Err(TransferError::TimedOut),
        }
    }

    /// Begins a step of a change of members. That it is done shows in the status.
    ///
    /// # Errors
    /// When it was not begun.
    pub async fn change_members(&self, step: MemberStep, deadline: Instant) -> Result<(), MemberError> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Members { step, answer }, 0).map_err(|not_sent| match not_sent {
            NotSent::Busy => MemberError::Busy,
            NotSent::Stopped { why } => MemberError::Stopped { why },
        })?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(MemberError::Stopped { why: self.why() }),
            Err(_) => Err(MemberError::TimedOut),
        }
    }

    /// Says that the link to `peer` failed. Dropped when raft is busy.
    pub fn peer_unreachable(&self, peer: u64) {
        // A hint only: raft finds out by itself a heartbeat later.
        let _ = self.send(Input::Unreachable { peer }, 0);
    }

    /// What raft knows of itself; every change wakes the watcher.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.status.clone()
    }

    /// Ends the thread, a tick from now at the latest if its disk lets it, and waits for it. Later
    /// calls answer `Stopped`; the log is closed when this returns `Ok`.
    ///
    /// # Errors
    /// When the thread is still running at the deadline.
    pub async fn stop(&self, deadline: Instant) -> Result<(), StopError> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut status = self.status.clone();
        // An error means that the thread is gone, which is as good.
        let ended = status.wait_for(|status| status.ended);
        let timed_out = tokio::time::timeout_at(deadline.into(), ended).await.is_err();
        if timed_out {
            return Err(StopError::TimedOut);
        }
        let thread = self.thread.lock().expect("no holder of this lock panics").take();
        if let Some(thread) = thread {
            // It has published its end, so this waits for a few instructions only; its panics
            // were caught inside.
            let _ = thread.join();
        }
        Ok(())
    }

    fn send(&self, input: Input, bytes: usize) -> Result<(), NotSent> {
        if !self.queued.add(bytes) {
            return Err(NotSent::Busy);
        }
        self.sender.try_send(input).map_err(|error| {
            self.queued.remove(bytes);
            match error {
                TrySendError::Full(_) => NotSent::Busy,
                TrySendError::Disconnected(_) => NotSent::Stopped { why: self.why() },
            }
        })
    }

    fn why(&self) -> String {
        match &self.status.borrow().stopped {
            Some(Stopped { why }) => why.clone(),
            None => "its thread has ended".to_owned(),
        }
    }
}
