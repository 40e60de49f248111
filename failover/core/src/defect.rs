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

    // What follows are the rules that the other rows of interleavings are about.
    /// A change is applied whatever the version that it was decided on (2).
    AnyVersion,
    /// A site that hears the primary no longer is enough to leave it (8).
    LinkCutMoves,
    /// A promotion leaves durability and ackers as they were, and nobody's absence weakens it (9).
    SyncAcrossPromotion,
    /// A server whose lease ran out is fenced for its epoch (10).
    NeverOpensAgain,
    /// A failover that cannot go on is not called off (11).
    NeverCalledOff,
    /// What stands against a candidate is not asked before an epoch is revoked for it, nor is it called off (11).
    CandidateUnchecked,
    /// A server opens while its group is drained (12).
    OpensWhileDraining,
    /// A lease is for whoever asks (13).
    LeaseForAnybody,
    /// Only an acker's disconnection weakens, acks that do not come do not (19).
    AsyncByDisconnection,
    /// A gate opens while sockets of an earlier epoch live (22).
    OldSocketsStay,
    /// A fence does not wait for the gate's act that is under way (30).
    OpenBehindFence,
    /// A lower authority than the highest seen is accepted, and latches of it are undone (31).
    AcceptsOlder,
    /// A server opens though a replica holds what it lacks (32).
    OpensWithLess,
    /// Durability weakens on anybody's report, whatever the phase (33).
    DeadPrimaryWeakens,
    /// A leader that has stopped answering renewals for a Begin never resumes (34).
    WithheldForEver,
    /// Mere expiry climbs the whole ladder (35).
    ExpiryClimbs,
    /// A server whose proof the leader may have heard of opens as if `Sync` were not committed (39).
    OpensUnheard,
    /// A candidate that restarted and dropped its relay log has nothing to drain, and is promoted (40).
    ForgottenRelayDrains,
    /// A candidate beside the primary takes nothing from the ackers (41).
    FillsFromNobody,
    /// What nobody acknowledged and a third server received holds the new primary shut (42).
    BesideHoldsShut,
    /// What was given up and a third server still has holds a primary shut (43).
    GivenUpHoldsShut,
    /// A server that returns attaches as it was: acknowledging, if it did before (44).
    ReturnsAcknowledging,
    /// A server that is shut in `Sync` for what an attached acker lacks is not told of (interleaving 45).
    DeafAckerUncounted,
    /// The candidate of a failover that was called off counts as a replica no more once it has no source (46).
    PromisedIsForgotten,
    /// Acks of servers that are no ackers count (47).
    StrangersAcknowledge,
    /// A failover has one candidate: when that is gone, the primary gets the next epoch, dead or not (49).
    OneCandidate,
    /// A failover that goes on with another candidate fences the one before, and nobody else (49).
    BegunAnewForgets,
    /// A database that lets nobody in is waited for, whatever for (50).
    UnansweredForEver,
    /// A finite ack timeout that somebody set by hand stays (51).
    AckTimeoutStays,
    /// Whoever was an acker once may attach, whatever its acks stand for (52).
    StrangersPass,
    /// What a server has of an earlier run of the primary, or of a copy that was broken off, stands against nobody (48).
    AnotherRunPasses,
    /// A fence of before counts for a life that is being opened again (53).
    FencedBefore,
    /// A server is promoted before its guard has looked at it (54).
    PromotedUnseen,
    /// A primary that is read-only by a statement of before stays so (55).
    ReadOnlyStays,
    /// Epoch 1 goes to the preferred server whether or not it has what the others have (18).
    StartWithoutSuperset,
    /// A fence is an entry that is sent once and taken for done; nobody derives it from the state (20).
    ActsOnEntries,
    /// There is no second sentinel where the ack of the first one was lost (24).
    OneSentinel,
    /// A guard adopts the lease of an earlier boot of its host, for as long as that says (29).
    AdoptsAnyBoot,
    /// Other incarnations of the cluster are not refused, neither by nodes nor by guards (15).
    OtherLivesPass,
    /// Where no lease ends, they end all the same (16).
    EndlessLeasesExpire,
}

impl Defect {
    /// All that matter where there is a witness.
    pub const ALL: [Defect; 47] = [
        Defect::PromoteOnWaitAlone,
        Defect::AckersNotStopped,
        Defect::WeakenBeforeCommit,
        Defect::SyncBeforeSentinel,
        Defect::FenceDoesNotLatch,
        Defect::OpenWithoutCoverage,
        Defect::NoWait,
        Defect::LeaseFromTheAnswer,
        Defect::OpensBeforeIntent,
        Defect::AnyVersion,
        Defect::LinkCutMoves,
        Defect::SyncAcrossPromotion,
        Defect::NeverOpensAgain,
        Defect::NeverCalledOff,
        Defect::CandidateUnchecked,
        Defect::OpensWhileDraining,
        Defect::LeaseForAnybody,
        Defect::AsyncByDisconnection,
        Defect::OldSocketsStay,
        Defect::OpenBehindFence,
        Defect::AcceptsOlder,
        Defect::OpensWithLess,
        Defect::DeadPrimaryWeakens,
        Defect::WithheldForEver,
        Defect::ExpiryClimbs,
        Defect::OpensUnheard,
        Defect::ForgottenRelayDrains,
        Defect::FillsFromNobody,
        Defect::BesideHoldsShut,
        Defect::GivenUpHoldsShut,
        Defect::ReturnsAcknowledging,
        Defect::DeafAckerUncounted,
        Defect::PromisedIsForgotten,
        Defect::StrangersAcknowledge,
        Defect::OneCandidate,
        Defect::BegunAnewForgets,
        Defect::UnansweredForEver,
        Defect::AckTimeoutStays,
        Defect::StrangersPass,
        Defect::AnotherRunPasses,
        Defect::FencedBefore,
        Defect::PromotedUnseen,
        Defect::ReadOnlyStays,
        Defect::StartWithoutSuperset,
        Defect::ActsOnEntries,
        Defect::OneSentinel,
        Defect::AdoptsAnyBoot,
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
