//! The replicated authority: what a leader may decide, and what every node makes of an ordered command.

use std::fmt;

use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::property::Invariant;
use crate::state::{Authority, Durability, ERRANT, Fence, Kind, Late, Move, Phase, Site, State};

/// A change of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Revokes the epoch; the other server is the candidate.
    Begin,
    /// A switchover begins.
    Drain,
    /// Revokes the drained epoch.
    Handover,
    /// The candidate serves.
    Open,
    /// The old primary serves, an epoch on.
    Abort,
    Async,
    CatchUp,
    Sync,
}

impl Change {
    pub(crate) const ALL: [Change; 8] = [
        Change::Begin,
        Change::Drain,
        Change::Handover,
        Change::Open,
        Change::Abort,
        Change::Async,
        Change::CatchUp,
        Change::Sync,
    ];
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Begin => "begin a failover",
            Change::Drain => "begin a switchover",
            Change::Handover => "hand over",
            Change::Open => "open the candidate",
            Change::Abort => "abort",
            Change::Async => "async",
            Change::CatchUp => "catch-up",
            Change::Sync => "sync",
        })
    }
}

impl Protocol {
    /// Decided on this state and ordered before anything else is.
    pub(crate) fn commit(&self, s: &mut State, change: Change) -> bool {
        self.decidable(s, change) && self.apply(s, change, s[s.authority.primary.other()].start)
    }

    /// Decided on this state; other things happen before it is ordered.
    pub(crate) fn decide_late(&self, s: &mut State, change: Change) -> bool {
        let start = s[s.authority.primary.other()].start;
        if s.late.is_some() || !self.decidable(s, change) || !self.apply(&mut s.clone(), change, start) {
            return false;
        }
        s.late = Some(Late { expect: s.authority.version, change, start });
        true
    }

    /// What was decided is ordered: refused when the version is another one (interleaving 2).
    pub(crate) fn order(&self, s: &mut State) -> bool {
        let Some(late) = s.late.take() else { return false };
        if late.expect == s.authority.version || self.lacks(Mutant::NoCompareAndSet) {
            let mut after = *s;
            if self.apply(&mut after, late.change, late.start) {
                *s = after;
            }
        }
        true
    }

    /// What the leader must have seen. Where nothing is asked, it may decide it whenever it pleases.
    fn decidable(&self, s: &State, change: Change) -> bool {
        let a = &s.authority;
        let primary = &s[a.primary];
        match change {
            Change::Begin => a.phase.grants() && self.may_take_over(s, a.primary.other()),
            Change::Drain => a.phase == Phase::Serving && self.may_take_over(s, a.primary.other()),
            Change::Handover => {
                s.execution.blocked && s[a.primary.other()].executed & primary.executed == primary.executed
            }
            Change::Open | Change::Abort => true,
            // On the report of a holder, and of nobody else (interleaving 33).
            Change::Async => primary.lease == a.epoch,
            Change::CatchUp => primary.open_at(a.epoch) && s[a.primary.other()].io,
            Change::Sync => self.is_proven(s),
        }
    }

    /// The candidate's checks come before Begin (interleavings 3, 11).
    fn may_take_over(&self, s: &State, candidate: Site) -> bool {
        let server = &s[candidate];
        let whole = server.executed & ERRANT == 0 || self.lacks(Mutant::ErrantCandidate);
        server.up
            && server.joined
            && whole
            && (self.is_same_acker(s, candidate) || self.lacks(Mutant::AckerRestartUnnoticed))
    }

    /// In `Sync`, the candidate lives the life whose acks were counted.
    pub(crate) fn is_same_acker(&self, s: &State, candidate: Site) -> bool {
        s.authority.durability != Durability::Sync || s.authority.acker == Some(s[candidate].start)
    }

    fn is_proven(&self, s: &State) -> bool {
        let a = &s.authority;
        let primary = &s[a.primary];
        let proof = primary.proven || self.lacks(Mutant::SyncBeforeSentinel);
        a.durability == Durability::CatchUp && primary.open_at(a.epoch) && primary.armed == a.g && proof
    }

    /// Folds an ordered command into the state; false when it is refused.
    fn apply(&self, s: &mut State, change: Change, start: u8) -> bool {
        let old = s.authority;
        let next = match change {
            Change::Begin if old.phase.grants() => {
                s.execution = Move { kind: Kind::Failover, ..Move::default() };
                Authority { epoch: old.epoch + 1, phase: Phase::Revoked, primary: old.primary.other(), ..old }
            }
            Change::Drain if old.phase == Phase::Serving => {
                s.execution = Move { kind: Kind::Switchover, ..Move::default() };
                Authority { phase: Phase::Draining, ..old }
            }
            Change::Handover if old.phase == Phase::Draining && s.execution.blocked => {
                Authority { epoch: old.epoch + 1, phase: Phase::Revoked, primary: old.primary.other(), ..old }
            }
            Change::Open if self.may_open_epoch(s) => {
                self.judge_open(s);
                s.execution = Move { kind: s.execution.kind, ..Move::default() };
                Authority { phase: Phase::Serving, durability: Durability::Async, acker: None, ..old }
            }
            Change::Abort => match self.aborted(s) {
                Some(next) => next,
                None => return false,
            },
            Change::Async if old.phase.grants() && old.durability != Durability::Async => {
                Authority { durability: Durability::Async, acker: None, ..old }
            }
            Change::CatchUp if old.phase == Phase::Serving && old.durability == Durability::Async => {
                Authority { durability: Durability::CatchUp, acker: Some(start), g: old.g + 1, ..old }
            }
            Change::Sync if old.phase == Phase::Serving && old.durability == Durability::CatchUp => {
                Authority { durability: Durability::Sync, ..old }
            }
            _ => return false,
        };
        if next.epoch > self.bounds.epochs || next.g > self.bounds.armings {
            return false;
        }
        s.authority = Authority { version: old.version + 1, ..next };
        true
    }

    /// Clears the way to E+1 in the journal (I4).
    fn may_open_epoch(&self, s: &State) -> bool {
        let x = &s.execution;
        let harmless = match x.fence {
            Fence::Not => false,
            Fence::Confirmed => true,
            Fence::Outwaited => s.authority.durability == Durability::Sync || self.lacks(Mutant::WaitAlone),
        };
        s.authority.phase == Phase::Promoting && x.stopped && x.drained && x.promoted && harmless
    }

    fn aborted(&self, s: &mut State) -> Option<Authority> {
        let old = s.authority;
        let epoch = old.epoch + 1;
        let next = match old.phase {
            // Acks went on all the while: `Sync` stands.
            Phase::Draining if old.durability == Durability::CatchUp => {
                Authority { epoch, phase: Phase::Serving, durability: Durability::Async, acker: None, ..old }
            }
            Phase::Draining => Authority { epoch, phase: Phase::Serving, ..old },
            Phase::Serving if !self.lacks(Mutant::AbortWithoutFence) || old.epoch == 1 => return None,
            Phase::Revoked | Phase::Promoting | Phase::Serving => Authority {
                epoch,
                phase: Phase::Serving,
                primary: old.primary.other(),
                durability: Durability::Async,
                acker: None,
                ..old
            },
        };
        if old.phase == Phase::Serving && s[old.primary].lease == old.epoch {
            s.breaks(Invariant::I4);
        }
        s.execution = Move { kind: Kind::Aborted, ..Move::default() };
        Some(next)
    }

    /// I4 and I5, as they are in truth when `Serving(E+1)` is committed.
    fn judge_open(&self, s: &mut State) {
        let a = s.authority;
        let (candidate, old) = (s[a.primary], s[a.primary.other()]);
        let revoked = a.epoch - 1;
        let sync = a.durability == Durability::Sync;
        let fenced = old.fenced_through >= revoked;
        let outwaited = sync && old.lease == 0;
        let stopped = candidate.no_source >= revoked && !candidate.io;
        if !(fenced || outwaited) || !stopped {
            s.breaks(Invariant::I4);
        }
        let read = s.execution.kind == Kind::Switchover && s.execution.fence == Fence::Confirmed && old.up;
        let lacks = if sync { s.told } else { 0 } | if read { old.executed } else { 0 };
        if candidate.relay != 0 || candidate.executed & ERRANT != 0 || lacks & !candidate.executed != 0 {
            s.breaks(Invariant::I5);
        }
        if !sync && !read {
            // A failover in anything but `Sync` gives up what the candidate lacks, and says so.
            s.told &= candidate.executed;
        }
    }
}
