//! What a guard tells every voter, with each renewal.

use std::time::Duration;

use model::{
    BootId, DatabaseReading, Epoch, GtidSet, OpeningMark, ProcessStart, ServerId, ServerUuid, SyncGeneration,
};
use serde::{Deserialize, Serialize};

use crate::Stamp;

/// How the process that ran before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HowItEnded {
    /// Killed: it told no waiter anything.
    Killed,
    /// Shut down in order: it told waiters OK without their acks.
    Graceful,
    /// The log does not say. Taken as `Graceful`.
    Unknown,
}

/// The database process as its guard sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Process {
    /// Not looked yet.
    Unseen,
    /// There is none.
    Gone { for_us: u64 },
    /// There is one.
    Running { start: ProcessStart },
}

impl Process {
    /// The life that runs.
    #[must_use]
    pub fn start(&self) -> Option<ProcessStart> {
        match self {
            Process::Running { start } => Some(*start),
            _ => None,
        }
    }
}

/// The gate as its guard believes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum GateReport {
    /// Never touched: a server that was never adopted.
    Untouched,
    /// Closed, read back.
    Shut,
    /// Open for this epoch, for so long.
    Open { epoch: Epoch, left_us: u64 },
    /// Not proven either way.
    Unknown,
    /// This host has none; the ladder alone stands in for it.
    None,
}

/// What a guard keeps on disk, as far as others need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LatchReport {
    /// Highest authority seen.
    pub seen: Stamp,
    /// Fenced through this epoch.
    pub fenced_through: Epoch,
    /// Will not receive from sources of epochs up to this.
    pub no_source: Epoch,
    /// Was last opened at this epoch (0: never).
    pub opened: Epoch,
    /// Highest arming applied here.
    pub g: SyncGeneration,
}

/// Writes were taken from everybody for a switchover, and no commit waits for an ack any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Drained {
    /// In which epoch.
    pub epoch: Epoch,
    /// `gtid_executed`, read after the last write.
    pub executed: GtidSet,
}

/// An opening's mark and a set that is known to hold its transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Marked {
    /// The mark.
    pub mark: OpeningMark,
    /// `gtid_executed` when it was first read: whoever has executed all of this has the mark, or
    /// other transactions under its numbers.
    pub covered: GtidSet,
}

impl Marked {
    /// This replica has executed the mark's number and does not have the mark: what the primary has of others does not matter,
    /// the number is its own. It is compared only where
    /// it stands between the moment the mark was seen and `primary`, the primary's last look: marks do not
    /// change between the two, while one that is ahead of that look may have a newer mark.
    #[must_use]
    pub fn contradicts(&self, primary: &DatabaseReading, replica: &DatabaseReading) -> bool {
        primary.opening == Some(self.mark)
            && replica.opening != Some(self.mark)
            && replica.gtid_executed.contains(&self.covered.of(&primary.server_uuid))
            && primary.gtid_executed.contains(&replica.gtid_executed)
    }
}

/// Why the disk refused a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskRefusal {
    /// No room is left (ENOSPC, EDQUOT).
    Full,
    /// It cannot be written to (EIO, EROFS).
    Failing,
}

/// The disk under the database's data, as its guard's own small writes find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskReport {
    /// The write under way has not come back for so long, in microseconds; 0 when none is under way.
    pub waiting_us: u64,
    /// Why writes are refused; none when the last one went well.
    pub refused: Option<DiskRefusal>,
    /// They have been refused for so long, in microseconds.
    pub refused_us: u64,
    /// Room that the database may use, in bytes, at the last write that came back.
    pub free: u64,
}

/// What a copy that is being taken is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyPhase {
    /// The donor's data arrives.
    Copying,
    /// It is made consistent and put on the disk.
    Preparing,
    /// It takes the place of the old data.
    Swapping,
    /// The server starts on it.
    Starting,
}

impl CopyPhase {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CopyPhase::Copying => "copying",
            CopyPhase::Preparing => "preparing",
            CopyPhase::Swapping => "swapping",
            CopyPhase::Starting => "starting",
        }
    }
}

/// How far a server is copied anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CopyReport {
    /// What is being done.
    pub phase: CopyPhase,
    /// Bytes that have arrived; 0 in other phases, and where nobody counts them.
    pub bytes: u64,
    /// Bytes that are expected; an estimate.
    pub expected: u64,
}

impl CopyReport {
    /// One that has just been ordered.
    pub(crate) const BEGUN: CopyReport = CopyReport { phase: CopyPhase::Copying, bytes: 0, expected: 0 };
}

/// Everything a guard tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GuardReport {
    /// Which server.
    pub server: ServerId,
    /// Grows with every report of one guard life; a late one is dropped.
    pub sequence: u64,
    /// Boot of its host.
    pub boot: BootId,
    /// The process.
    pub process: Process,
    /// Last look at the database in this process life.
    pub reading: Option<DatabaseReading>,
    /// Age of that look when the report was made; without one, how long this life has been seen without answering.
    pub reading_age_us: u64,
    /// The gate.
    pub gate: GateReport,
    /// Time left of the lease it holds, in microseconds; 0 when it holds none, the greatest number there is
    /// when it does not run out.
    #[serde(default)]
    pub lease_us: u64,
    /// Open for clients: lease held, writable, gate open.
    pub open: Option<Epoch>,
    /// How the process life that was open last came to its end; none while it runs or when it never was.
    pub opened_ended: Option<HowItEnded>,
    /// The latches.
    pub latch: LatchReport,
    /// Semi-sync is armed for this arming, in this process life.
    pub armed: Option<SyncGeneration>,
    /// A sentinel of this arming was acknowledged by all ackers.
    pub proven: Option<SyncGeneration>,
    /// The mark of the opening that stands; none until it was read back.
    #[serde(default)]
    pub marked: Option<Marked>,
    /// It is drained for a switchover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<Drained>,
    /// A client has been waiting for an ack for so long, in microseconds; 0 when none waits.
    pub waiting_us: u64,
    /// Fewer ackers than the wait count have been connected for so long, or it has been shut in `Sync` for so long because
    /// one lacks what it has, or others than they have been attached for so long; 0 when all is in order.
    pub absent_us: u64,
    /// It holds a lease but has been shut for so long; 0 when it is open or holds none.
    pub shut_us: u64,
    /// Why it is not open though it should be; for people.
    pub shut_because: Option<String>,
    /// The disk under its data; none where nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskReport>,
    /// Its data is being copied from another server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyReport>,
    /// While it is kept shut: what it had executed when it was last promoted. Its history is that and what it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<GtidSet>,
}

/// The part of `lacks` that the server with this identity once had, as far as that is known. What others hold of
/// earlier primaries, beyond what it had when it was promoted, was decided upon with the promotion: in `Sync` nobody was
/// told of it (interleaving 42).
pub(crate) fn of_its_history(lacks: GtidSet, own: &ServerUuid, promoted: Option<&GtidSet>) -> GtidSet {
    let Some(promoted) = promoted else { return lacks };
    let before = lacks.subtract(&lacks.subtract(promoted));
    lacks.of(own).union(&before)
}

/// What a server has under the primary's own numbers from a run of that one *before* the present. It was given up when
/// another server took over (interleaving 43): it is no part of what the primary once had. Whoever has any of the
/// present run has applied a mark of it, for a mark is the first thing that an opening writes.
///
/// `executed` and `mark` are the server's; `own`, `promoted` and `held` are the primary's identity, what it was
/// promoted with and what it holds now; `others` is the last epoch at which another one served.
pub(crate) fn of_a_former_run(
    (executed, mark): (&GtidSet, Option<Epoch>),
    own: &ServerUuid,
    promoted: Option<&GtidSet>,
    held: &GtidSet,
    others: Option<Epoch>,
) -> GtidSet {
    match (promoted, mark, others) {
        (Some(promoted), Some(mark), Some(others)) if mark <= others => {
            executed.of(own).subtract(promoted).subtract(held)
        }
        _ => GtidSet::empty(),
    }
}

impl GuardReport {
    /// The reading, unless it was too old already when it was sent.
    #[must_use]
    pub fn fresh_reading(&self, age_max: Duration) -> Option<&DatabaseReading> {
        let young = u128::from(self.reading_age_us) <= age_max.as_micros();
        self.reading.as_ref().filter(|_| young)
    }
}
