//! Deliberate defects, each of which removes one rule of the protocol.
//!
//! They exist so that the simulator can show that it would notice: each is switched on at run time
//! and must be caught, named with the invariant it breaks (docs/reliability.md). Production passes
//! [`Defects::NONE`] and has no way to set one.

/// A rule that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// W alone suffices for a promotion in `Async` and `CatchUp` too (interleavings 14, 28).
    PromoteOnWaitAlone,
    /// The ackers' IO threads are not stopped before a promotion.
    AckersNotStopped,
    /// The guard weakens to asynchronous by itself, before `Async` is committed (interleaving 1).
    WeakenBeforeCommit,
    /// `Sync` is committed as soon as semi-sync is armed, without a sentinel (interleaving 1).
    SyncBeforeSentinel,
    /// A confirmed fence is not latched: a restarted server with a good lease opens again (5).
    FenceDoesNotLatch,
    /// A server opens without arming, coverage, or the check that no replica holds more (32).
    OpenWithoutCoverage,
    /// W is not waited out at all.
    NoWait,
    /// A lease runs from the moment its answer came, not from when it was asked for.
    LeaseFromTheAnswer,
    /// A server becomes writable before that is on its guard's disk.
    OpensBeforeIntent,
    /// Other incarnations of the cluster are not refused, neither by nodes nor by guards (15).
    OtherLivesPass,
    /// Where no lease ends, they end all the same (16).
    EndlessLeasesExpire,
}

impl Defect {
    /// All that matter where there is a witness.
    pub const ALL: [Defect; 9] = [
        Defect::PromoteOnWaitAlone,
        Defect::AckersNotStopped,
        Defect::WeakenBeforeCommit,
        Defect::SyncBeforeSentinel,
        Defect::FenceDoesNotLatch,
        Defect::OpenWithoutCoverage,
        Defect::NoWait,
        Defect::LeaseFromTheAnswer,
        Defect::OpensBeforeIntent,
    ];
    /// All that matter in manual mode only.
    pub const TWO_SITES: [Defect; 2] = [Defect::OtherLivesPass, Defect::EndlessLeasesExpire];
}

/// The set of rules removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defects(Option<Defect>);

impl Defects {
    /// Sound: what production runs.
    pub const NONE: Defects = Defects(None);

    /// One rule removed.
    #[must_use]
    pub const fn only(defect: Defect) -> Self {
        Defects(Some(defect))
    }

    /// True when the rule is removed.
    #[must_use]
    pub fn has(self, defect: Defect) -> bool {
        self.0 == Some(defect)
    }
}
