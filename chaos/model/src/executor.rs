//! The steps of a move. Intent and outcome are journalled, so that any leader goes on with them.

use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::state::{Durability, Fence, Kind, Phase, Site, State};

/// A move behind its revocation: who takes over, who did serve, and the revoked epoch.
struct Moving {
    candidate: Site,
    old: Site,
    revoked: u8,
}

fn moving(s: &State) -> Option<Moving> {
    let a = &s.authority;
    let moving = Moving { candidate: a.primary, old: a.primary.other(), revoked: a.epoch - 1 };
    (!a.phase.grants()).then_some(moving)
}

impl Protocol {
    /// Switchover: the primary is read-only and nobody waits behind that; the leader hears it.
    pub(crate) fn block(&self, s: &mut State) -> bool {
        let a = s.authority;
        let known = s[a.primary].known;
        let primary = &mut s[a.primary];
        let asked = known.is_some_and(|k| k.phase == Phase::Draining && k.epoch == a.epoch);
        if a.phase != Phase::Draining || !asked || !primary.runs() || primary.waiting != 0 {
            return false;
        }
        primary.writable = false;
        s.execution.blocked = true;
        true
    }

    /// The latch is on disk before the receiver stops (interleaving 6). The order need not come with the
    /// authority: agent and guard may have heard different things.
    pub(crate) fn stop_acker(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        let server = &mut s[m.candidate];
        if server.paused {
            return false;
        }
        if !self.lacks(Mutant::AckersNotStopped) {
            server.io = false;
            server.semi = false;
            if !self.lacks(Mutant::NoSourceNotLatched) {
                server.no_source = server.no_source.max(m.revoked);
            }
        }
        s.execution.stopped = true;
        true
    }

    /// FENCE(E) is answered without a kill: the gate is shut and no session is left. `super_read_only` may
    /// still be waiting behind a statement, so the server is as writable as it was.
    pub(crate) fn fence_softly(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        // Who may wait for an ack is never asked to stop.
        let waits = s[m.old].armed != 0 && s[m.old].waiting != 0;
        if !s[m.old].up || waits || !self.fenced(s, &m) {
            return false;
        }
        s[m.old].waiting = 0;
        s[m.old].acked = 0;
        true
    }

    /// FENCE(E) is answered: the process is gone.
    pub(crate) fn fence_by_kill(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        if !self.fenced(s, &m) {
            return false;
        }
        s[m.old].dies();
        true
    }

    fn fenced(&self, s: &mut State, m: &Moving) -> bool {
        if s[m.old].paused || s.execution.fence != Fence::Not {
            return false;
        }
        let old = &mut s[m.old];
        old.shut();
        if !self.lacks(Mutant::FenceDoesNotLatch) {
            old.fenced_through = old.fenced_through.max(m.revoked);
            old.lease = 0;
        }
        s.execution.fence = Fence::Confirmed;
        true
    }

    /// Only a mutant: "mysqld is dead" was true, and answers no FENCE(E) (interleaving 5).
    pub(crate) fn believe_report(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        if !self.lacks(Mutant::ReportTakenForFence) || s[m.old].up || s.execution.fence != Fence::Not {
            return false;
        }
        s.execution.fence = Fence::Confirmed;
        true
    }

    /// W has passed: by its inequality no lease that was ever granted for the epoch is left, be it held or on its
    /// way. That is all that time means here.
    pub(crate) fn outwait(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        let granted = s[m.old].lease != 0 || s.mail.is_some_and(|l| l.to == m.old && l.grants);
        let suffices = s.authority.durability == Durability::Sync || self.lacks(Mutant::WaitAlone);
        if s.execution.fence != Fence::Not || !suffices || (granted && !self.lacks(Mutant::NoWait)) {
            return false;
        }
        s.execution.fence = Fence::Outwaited;
        true
    }

    /// Drained means that all that was received is applied; and in `Sync`, that it was received by the life
    /// whose acks were counted: another one may have dropped some of it (interleavings 3, 27).
    pub(crate) fn drain(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        let same = self.is_same_acker(s, m.candidate) || self.lacks(Mutant::RestartAfterBeginUnnoticed);
        let same = same || self.lacks(Mutant::AckerRestartUnnoticed);
        let candidate = &s[m.candidate];
        let applied = candidate.relay == 0 || self.lacks(Mutant::RelayNotDrained);
        if !s.execution.stopped || s.execution.drained || !candidate.runs() || !applied || !same {
            return false;
        }
        s.execution.drained = true;
        true
    }

    /// The catch-up point is read after the confirmed fence. A server that cannot be read any more was
    /// drained, and what it acknowledged in `Sync` was received.
    pub(crate) fn compare(&self, s: &mut State) -> bool {
        let Some(m) = moving(s) else { return false };
        let x = &s.execution;
        let (old, candidate) = (&s[m.old], &s[m.candidate]);
        let read = x.fence == Fence::Confirmed && old.runs();
        let unread = s.authority.durability == Durability::Sync && !old.up;
        let whole = old.executed & !candidate.executed == 0;
        let done = x.kind == Kind::Switchover && !x.compared && x.fence != Fence::Not;
        if !done || !((read && whole) || unread || self.lacks(Mutant::NotComparedAfterFence)) {
            return false;
        }
        s.execution.compared = true;
        true
    }

    /// Promotion begins: one more version, so that what was decided before is refused.
    pub(crate) fn promoting(&self, s: &mut State) -> bool {
        let x = &s.execution;
        let compared = x.compared || x.kind != Kind::Switchover || x.fence == Fence::Outwaited;
        let ready = x.stopped && x.drained && x.fence != Fence::Not && compared;
        if s.authority.phase != Phase::Revoked || !ready {
            return false;
        }
        s.authority.phase = Phase::Promoting;
        s.authority.version += 1;
        true
    }

    /// The candidate's guard does it for the epoch that is being promoted, and for no other.
    pub(crate) fn promote(&self, s: &mut State) -> bool {
        let a = s.authority;
        let server = &mut s[a.primary];
        let ordered = a.phase == Phase::Promoting && server.known == Some(a);
        if !ordered || !server.runs() || s.execution.promoted {
            return false;
        }
        let server = &mut s[a.primary];
        server.joined = false;
        server.io = self.lacks(Mutant::AckersNotStopped) && server.io;
        server.writable = false;
        s.execution.promoted = true;
        true
    }
}
