//! The one thread that owns a replica, its log on disk and its state machine.
//!
//! Everyone else holds a [`Handle`]: messages go in through one bounded queue, answers come back
//! through one-shot channels, and [`RaftStatus`] is watched. The thread blocks only on that queue
//! (until its next tick) and on the disk.
//!
//! Invariants: nothing that must follow a write is sent before the write is synced; a failed
//! write, a panic or a refused log ends the role for good, with the reason in the status, and the
//! process lives on; a stalled loop ticks once when it goes on, never in a burst, so that it does
//! not take its own stall for the leader's silence.
//!
//! Deliberately absent: who should lead (callers watch the status and transfer), the network (a
//! closure takes bytes), the meaning of entries (a [`StateMachine`] takes bytes).

mod handle;
mod run;
mod waiting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::sync::watch;

pub use handle::{
    Handle, MemberError, ProposeError, Proposed, ReadError, StepError, StopError, TransferError,
};
pub use run::{RaftStatus, Stopped};

use crate::replica::{Replica, ReplicaConfig, ReplicaError};
use crate::store::Store;
use handle::Input;

/// Inputs that wait for the thread. A thousand commits a second with five nodes make a few
/// thousand messages a second, so this is about a second's worth; beyond it callers hear `Busy`
/// and messages from peers are dropped, which Raft bears.
const INPUTS_MAX: usize = 4_096;

/// Snapshot and trim the log after this many applied entries, unless configured otherwise: a
/// restart replays at most about so many, and the state is written rarely enough not to matter.
pub const SNAPSHOT_EVERY: u64 = 4_096;

/// What the driver applies committed entries to. The same entries in the same order must give the
/// same state on every node.
pub trait StateMachine: Send + 'static {
    /// Applies the committed entry at `index`. Indexes grow, with gaps.
    fn apply(&mut self, index: u64, data: &[u8]);
    /// The whole state as bytes, at most [`crate::MAX_SNAPSHOT_BYTES`].
    fn snapshot(&self) -> Vec<u8>;
    /// Replaces the whole state by what [`StateMachine::snapshot`] gave, here or elsewhere, or by
    /// the state in the genesis.
    fn restore(&mut self, data: &[u8]);
}

/// What a driver is told once.
pub struct DriverConfig {
    /// The replica's part, in ticks.
    pub replica: ReplicaConfig,
    /// How long a tick is.
    pub tick: Duration,
    /// Applied entries between two snapshots; [`SNAPSHOT_EVERY`] is the default. Not zero.
    pub snapshot_every: u64,
    /// Gives the election timeouts; another one at every start and on every node.
    pub seed: u64,
    /// Microseconds of CLOCK_BOOTTIME, for the moments in the status.
    pub clock: Box<dyn Fn() -> u64 + Send>,
}

/// Why a driver did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Configuration or log are not sound.
    #[error("raft replica does not start")]
    Replica(#[from] ReplicaError),
    /// The log is another node's.
    #[error("raft log is node {store}'s, but this is node {replica}; open the right one")]
    Node {
        /// Whose log it is.
        store: u64,
        /// As configured.
        replica: u64,
    },
    /// A number in the configuration.
    #[error("raft driver: {what} must not be zero")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// The operating system gave no thread.
    #[error("raft thread does not start")]
    Thread(#[source] std::io::Error),
}

/// Starts the thread; everything else goes through [`Handle`].
pub struct Driver;

impl Driver {
    /// Restores `machine` from the stored snapshot, replays what is committed, and joins the
    /// cluster. `outbound` is given a node and a message's bytes; it must not block (drop instead)
    /// and must keep the order of what it does deliver, as well as it can.
    ///
    /// # Errors
    /// When the replica would not be sound, or there is no thread.
    pub fn start(
        config: DriverConfig,
        mut store: Store,
        machine: impl StateMachine,
        outbound: impl FnMut(u64, Vec<u8>) + Send + 'static,
    ) -> Result<Handle, StartError> {
        if config.snapshot_every == 0 {
            return Err(StartError::Zero { what: "snapshot_every" });
        }
        if config.tick.is_zero() {
            return Err(StartError::Zero { what: "tick" });
        }
        let (id, node) = (config.replica.id, store.identity().node);
        if id != node {
            return Err(StartError::Node { store: node, replica: id });
        }
        let mut replica = Replica::new(&config.replica, store.take_recovered(), config.seed)?;
        // A follower that missed a quarter of a period is still sent entries.
        replica.keep_entries(config.snapshot_every / 4);
        let (sender, receiver) = sync_channel::<Input>(INPUTS_MAX);
        let (status, watched) = watch::channel(RaftStatus::at_start(&replica, (config.clock)()));
        let queued = handle::Queued::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let shared = run::Shared { status, queued: queued.clone(), stopping: stopping.clone() };
        let body = run::Body::new(config, replica, store, machine, outbound, shared);
        let thread = std::thread::Builder::new()
            .name(format!("raft-{id}"))
            .spawn(move || {
                let mut body = body;
                let ended = catch_unwind(AssertUnwindSafe(|| body.run(&receiver)));
                body.end(ended);
            })
            .map_err(StartError::Thread)?;
        Ok(Handle::new(sender, queued, stopping, watched, thread))
    }
}
