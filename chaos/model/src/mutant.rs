//! Rules that can be taken out, each of which must be missed.

use std::fmt;

/// A rule of DESIGN §4 that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// An ordered command is not compared with the version it was decided on (2).
    NoCompareAndSet,
    /// The candidate's receiver is not stopped before a promotion.
    AckersNotStopped,
    /// W is not waited out.
    NoWait,
    /// W alone promotes in `Async` and `CatchUp` too (14, 28).
    WaitAlone,
    /// A confirmed fence is not latched (5).
    FenceDoesNotLatch,
    /// A report that the process is gone is taken for the answer to FENCE(E) (5).
    ReportTakenForFence,
    /// The guard weakens before `Async` is committed (1).
    WeakensBeforeCommit,
    /// `Sync` is committed without a sentinel (1).
    SyncBeforeSentinel,
    /// `no_source` is not latched when the receiver is stopped (6).
    NoSourceNotLatched,
    /// An add to the gate lands behind a fence: its set is not named by the epoch (30).
    LateGateAdd,
    /// A guard takes an older authority (31).
    OlderAccepted,
    /// A guard takes a lower generation of semi-sync (1).
    LowerGenerationAccepted,
    /// An acker whose process started anew may be promoted (3).
    AckerRestartUnnoticed,
    /// The same, but only after Begin: the candidate is not looked at again (3).
    RestartAfterBeginUnnoticed,
    /// A candidate is promoted with a relay log that is not applied.
    RelayNotDrained,
    /// A candidate with errant transactions may take over (11).
    ErrantCandidate,
    /// A server opens in `Sync` unarmed.
    OpensUnarmed,
    /// A server opens in `Sync` with what no acker holds.
    OpensUncovered,
    /// A server that was armed in `CatchUp` opens in it unarmed: `Sync` may be committed unheard.
    OpensInCatchUp,
    /// A server opens in `Draining` (12).
    OpensWhileDraining,
    /// A switchover's catch-up point is read before the fence, and not again.
    NotComparedAfterFence,
    /// E+2 is granted after OPEN(E+1), and E+1 is not fenced (11).
    AbortWithoutFence,
    /// Databases boot writable.
    BootsWritable,
    /// A server in `Sync` is stopped by asking it: whoever waits is told OK (7).
    StopsGracefully,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 24] = [
        Mutant::NoCompareAndSet,
        Mutant::AckersNotStopped,
        Mutant::NoWait,
        Mutant::WaitAlone,
        Mutant::FenceDoesNotLatch,
        Mutant::ReportTakenForFence,
        Mutant::WeakensBeforeCommit,
        Mutant::SyncBeforeSentinel,
        Mutant::NoSourceNotLatched,
        Mutant::LateGateAdd,
        Mutant::OlderAccepted,
        Mutant::LowerGenerationAccepted,
        Mutant::AckerRestartUnnoticed,
        Mutant::RestartAfterBeginUnnoticed,
        Mutant::RelayNotDrained,
        Mutant::ErrantCandidate,
        Mutant::OpensUnarmed,
        Mutant::OpensUncovered,
        Mutant::OpensInCatchUp,
        Mutant::OpensWhileDraining,
        Mutant::NotComparedAfterFence,
        Mutant::AbortWithoutFence,
        Mutant::BootsWritable,
        Mutant::StopsGracefully,
    ];

    /// As it is named on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutant::NoCompareAndSet => "no-compare-and-set",
            Mutant::AckersNotStopped => "ackers-not-stopped",
            Mutant::NoWait => "no-wait",
            Mutant::WaitAlone => "wait-alone",
            Mutant::FenceDoesNotLatch => "fence-does-not-latch",
            Mutant::ReportTakenForFence => "report-taken-for-fence",
            Mutant::WeakensBeforeCommit => "weakens-before-commit",
            Mutant::SyncBeforeSentinel => "sync-before-sentinel",
            Mutant::NoSourceNotLatched => "no-source-not-latched",
            Mutant::LateGateAdd => "late-gate-add",
            Mutant::OlderAccepted => "older-accepted",
            Mutant::LowerGenerationAccepted => "lower-generation-accepted",
            Mutant::AckerRestartUnnoticed => "acker-restart-unnoticed",
            Mutant::RestartAfterBeginUnnoticed => "restart-after-begin-unnoticed",
            Mutant::RelayNotDrained => "relay-not-drained",
            Mutant::ErrantCandidate => "errant-candidate",
            Mutant::OpensUnarmed => "opens-unarmed",
            Mutant::OpensUncovered => "opens-uncovered",
            Mutant::OpensInCatchUp => "opens-in-catch-up",
            Mutant::OpensWhileDraining => "opens-while-draining",
            Mutant::NotComparedAfterFence => "not-compared-after-fence",
            Mutant::AbortWithoutFence => "abort-without-fence",
            Mutant::BootsWritable => "boots-writable",
            Mutant::StopsGracefully => "stops-gracefully",
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
