//! What goes into a guard and what comes out.

use std::time::Duration;

use model::{DatabaseReading, Epoch, GtidSet, ProcessStart, ServerId, SyncGeneration};
use runbooks_core::Outcome;
use serde::{Deserialize, Serialize};

use super::{DiskWrite, Latch, Passing, WatchdogAct};
use crate::{Answer, Authority, CopyReport, HowItEnded, PeerFact, Process, Renewal};

/// Number of a renewal attempt: random start, then counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub u64);

/// Number of a call that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Number of an act under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActId(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one passes at a time, and none is kept")]
pub enum Input {
    /// Time went by.
    Tick,
    /// A leader answered an attempt.
    Answer(Answer),
    /// A leader tells a change without being asked.
    Told(Told),
    /// The process was looked at; `ended` says how the life before came to its end.
    Process { process: Process, ended: Option<HowItEnded> },
    /// The database was read, in this life of it.
    Reading { reading: DatabaseReading, life: ProcessStart },
    /// A new session on this life of the database could not be had; whether the server answered, be it by a refusal.
    Knocked { life: ProcessStart, answered: bool },
    /// A gate act is over, and this was read back.
    GateRead(GateRead),
    /// An act on the watchdog is over: whether it counts now.
    Watchdog { armed: bool },
    /// A write to the disk under the database's data began, or is over.
    Disk(DiskWrite),
    /// A copy of another server's data has come so far here; none when none is being taken.
    Copy(Option<CopyReport>),
    /// The replication account's password on this host is another than before.
    ReplicationPassword,
    /// A database act is over.
    Ended { act: ActId, end: ActEnd },
    /// The executor orders something, with the authority it acts under.
    Ordered { call: CallId, authority: Authority, order: Order },
}

/// An authority that was pushed, with what the leader knows of the other servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Told {
    /// The authority.
    pub authority: Authority,
    /// The other servers.
    pub peers: Vec<PeerFact>,
}

/// The gate as read back from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateRead {
    /// There are no rules of ours.
    Absent,
    /// Rules stand, no element: shut.
    Shut,
    /// The element for this epoch stands for so long.
    Open { epoch: Epoch, left: Duration },
    /// It could not be read or set.
    Failed,
}

/// How a database act ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActEnd {
    /// It is so. For waits: what was reached.
    Done { reached: Option<GtidSet> },
    /// It surely is not.
    Failed { why: String },
    /// Perhaps.
    Unknown { why: String },
}

/// An executor's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "order")]
pub enum Order {
    /// FENCE(E): be harmless through this epoch, and confirm it.
    Fence { epoch: Epoch },
    /// Receive from no source of epochs up to this one.
    StopIo { no_source: Epoch },
    /// Apply all that was received. `life`: what it acknowledged in this life of the database may be received
    /// and nowhere else, so another life of a server that forgets its relay log has nothing to answer with.
    Drain {
        #[serde(default)]
        life: Option<ProcessStart>,
    },
    /// Take from this server, whose receiver is stopped, what it holds: `gtid` of it at least. Then receive no more.
    Gather { source: ServerId, gtid: GtidSet },
    /// Become a primary that is still read-only and shut, for this epoch.
    Promote { epoch: Epoch },
    /// Save what is extra here.
    SaveExtra { extra: GtidSet },
    /// Copy this server, over all that is here.
    Rebuild { donor: ServerId },
    /// Replicate from this server, and acknowledge to it where `acks` says so, for a switchover that is to open it.
    /// Else it acknowledges nothing, whatever it did before: an ack of it would stand for an acker's (interleaving 44).
    Rejoin {
        source: ServerId,
        #[serde(default)]
        acks: bool,
    },
}

/// An executor's answer.
pub type Reply = Outcome;

/// Acts share a lane when they must not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Short acts on the admin session.
    Admin = 0,
    /// Long ones, on a session of their own.
    Long = 1,
    /// The sentinel, which may wait for its ack for ever.
    Sentinel = 2,
}

/// An act on the database; every one is idempotent and bounded by its performer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseAct {
    /// Rung 2: end client sessions, set super_read_only, prove it by the process list.
    Fence,
    /// `super_read_only=ON`, bounded; with its return no commit is under way. Ends with `gtid_executed`.
    SetReadOnly,
    /// `read_only=OFF`, then a row that marks this opening, before any client can write. `kine`: with it, once an
    /// epoch, the row that keeps every revision of K3s's objects up to this one from being given out again.
    SetWritable { epoch: Epoch, life: ProcessStart, kine: Option<u64> },
    /// Destroy client sockets of earlier epochs or processes and prove that none is left.
    DropSockets,
    /// Arm the source side of semi-sync for this many ackers.
    ArmSource { count: u32 },
    /// Switch the source side off.
    DisarmSource,
    /// Acknowledge as a replica, with all that is received synced first, or stop to, and sync at leisure.
    ReplicaSemiSync { on: bool },
    /// `STOP REPLICA IO_THREAD`.
    StopIo,
    /// `START REPLICA`.
    StartReplica,
    /// The channel logs in with the password of now; its receiver is left stopped.
    ChangePassword,
    /// Commit a transaction of our own and wait for its ack.
    Sentinel { epoch: Epoch, g: SyncGeneration },
    /// Wait until all that was received is applied.
    Drain,
    /// CHANGE REPLICATION SOURCE to this server, wait until `gtid` is applied, stop the receiver.
    Gather { source: ServerId, gtid: GtidSet },
    /// `STOP REPLICA; RESET REPLICA ALL`, still read-only.
    Promote,
    /// The same, of a primary that a switchover had turned round before it was called off.
    LeaveSource,
    /// Copy binary logs, write SQL.
    SaveExtra { extra: GtidSet },
    /// Copy the donor, by CLONE or from its guard; ends with the process gone or restarted.
    Rebuild { donor: ServerId },
    /// RESET REPLICA ALL, CHANGE REPLICATION SOURCE, acknowledging switched on where asked for, START.
    Rejoin { source: ServerId, acks: bool },
}

impl DatabaseAct {
    /// What is so once it is done, for people.
    #[must_use]
    pub fn done(&self) -> &'static str {
        match self {
            DatabaseAct::Fence => "no client session is left and it is read-only",
            DatabaseAct::SetReadOnly => "it is read-only",
            DatabaseAct::SetWritable { .. } => "it is writable",
            DatabaseAct::DropSockets => "no old client socket is left",
            DatabaseAct::ArmSource { .. } => "commits wait for acks",
            DatabaseAct::DisarmSource => "commits wait for nobody",
            DatabaseAct::ReplicaSemiSync { on: true } => "it acknowledges",
            DatabaseAct::ReplicaSemiSync { on: false } => "it acknowledges nothing",
            DatabaseAct::StopIo => "its receiver is stopped",
            DatabaseAct::StartReplica => "it replicates",
            DatabaseAct::ChangePassword => "its channel has the password of now",
            DatabaseAct::Sentinel { .. } => "the sentinel is acknowledged",
            DatabaseAct::Drain => "nothing received is unapplied",
            DatabaseAct::Gather { .. } => "it has what the other server held",
            DatabaseAct::Promote | DatabaseAct::LeaveSource => "it has no source",
            DatabaseAct::SaveExtra { .. } => "the extra transactions are saved",
            DatabaseAct::Rebuild { .. } => "its data is the donor's",
            DatabaseAct::Rejoin { .. } => "it replicates from the primary",
        }
    }

    /// Its lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            DatabaseAct::Sentinel { .. } => Lane::Sentinel,
            DatabaseAct::Drain
            | DatabaseAct::Gather { .. }
            | DatabaseAct::SaveExtra { .. }
            | DatabaseAct::Rebuild { .. } => Lane::Long,
            _ => Lane::Admin,
        }
    }
}

/// An act on the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateAct {
    /// Assert table and rules, delete every set element.
    Shut,
    /// Assert table and rules, and the element for this epoch with this timeout.
    Open { epoch: Epoch, left: Duration },
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the latches and fsync before going on.
    Persist(Latch),
    /// Send to every voter.
    Renew(Box<Renewal>),
    /// From the next act on the gate on, only these other servers' packets pass it, and connections of others are reset.
    Pass(Passing),
    /// Perform, read back, answer with `GateRead`. One at a time.
    Gate(GateAct),
    /// Perform, answer with `Ended`.
    Act { id: ActId, act: DatabaseAct },
    /// Perform; answer `Arm` with `Watchdog`.
    Watchdog(WatchdogAct),
    /// SIGKILL this life, if it still runs.
    Kill(ProcessStart),
    /// Answer a call.
    Reply { call: CallId, reply: Reply },
}
