//! The guard: lease, latches, the one rule to open, and what the database shall be like. It acts on the
//! authority it knows, which may be an old one.

use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::property::Invariant;
use crate::state::{Authority, Durability, Mail, Phase, Server, Site, State};

impl Server {
    /// The kernel's gate is shut, whatever it was open for.
    pub(crate) fn shut(&mut self) {
        self.gate = 0;
        self.late = false;
    }
}

impl Protocol {
    /// Keeps the highest authority and refuses less (I8); fences what that one revokes. The latch is on
    /// disk before anything else happens. False when it was refused.
    fn learn(&self, s: &mut State, site: Site, authority: Authority) -> bool {
        let server = &mut s[site];
        if authority.version < server.seen {
            if !self.lacks(Mutant::OlderAccepted) {
                return false;
            }
            s.breaks(Invariant::I8);
        }
        let server = &mut s[site];
        server.seen = server.seen.max(authority.version);
        server.known = Some(authority);
        let mine = authority.primary == site;
        let over = if mine { authority.epoch - 1 } else { authority.epoch };
        server.fenced_through = server.fenced_through.max(over);
        if server.lease <= server.fenced_through {
            server.lease = 0;
        }
        if server.gate <= server.fenced_through {
            server.shut();
        }
        true
    }

    fn lease(s: &mut State, site: Site, epoch: u8) {
        let server = &mut s[site];
        if epoch > server.fenced_through {
            server.lease = epoch;
            server.late &= server.gate != epoch;
        }
    }

    /// A renewal and its answer. Only the leader answers, after a read of the committed state, and only the
    /// named primary in a phase that grants.
    pub(crate) fn renew(&self, s: &mut State, site: Site) -> bool {
        let a = s.authority;
        let server = &s[site];
        if !server.runs() || a.primary != site || !a.phase.grants() || a.epoch <= server.fenced_through {
            return false;
        }
        self.learn(s, site, a);
        Self::lease(s, site, a.epoch);
        true
    }

    /// The authority is heard, and no lease comes with it.
    pub(crate) fn hear(&self, s: &mut State, site: Site) -> bool {
        let a = s.authority;
        let leased = a.primary == site && a.phase.grants() && s[site].up && a.epoch > s[site].fenced_through;
        if s[site].paused || leased || s[site].known == Some(a) {
            return false;
        }
        self.learn(s, site, a)
    }

    /// The answer to a renewal is slow: what it says is of now.
    pub(crate) fn delay(s: &mut State, site: Site) -> bool {
        let a = s.authority;
        if s.mail.is_some() {
            return false;
        }
        let grants = a.primary == site && a.phase.grants() && s[site].runs();
        s.mail = Some(Mail { to: site, authority: a, grants });
        true
    }

    /// It comes. The lease in it runs from when it was asked for, so it may have run out.
    pub(crate) fn deliver(&self, s: &mut State) -> bool {
        let Some(mail) = s.mail.filter(|m| !s[m.to].paused) else { return false };
        s.mail = None;
        if self.learn(s, mail.to, mail.authority) && mail.grants && s[mail.to].up {
            Self::lease(s, mail.to, mail.authority.epoch);
        }
        true
    }

    pub(crate) fn mail_ends(s: &mut State) -> bool {
        match &mut s.mail {
            Some(mail) if mail.grants => mail.grants = false,
            _ => return false,
        }
        true
    }

    /// A lease runs out whenever it likes. The gate shuts with it, unless the host stood still: the
    /// kernel's timeout stands still too.
    pub(crate) fn lease_ends(s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        if server.lease == 0 {
            return false;
        }
        server.lease = 0;
        if !server.paused {
            server.shut();
        } else if server.gate != 0 {
            server.late = true;
        }
        true
    }

    /// The one rule to open.
    fn may_open(&self, s: &State, site: Site) -> bool {
        let server = &s[site];
        let other = &s[site.other()];
        let Some(a) = server.known.filter(|k| k.primary == site && server.runs()) else { return false };
        let phase = a.phase == Phase::Serving
            || (a.phase == Phase::Draining && self.lacks(Mutant::OpensWhileDraining));
        if !phase || a.epoch <= server.fenced_through || server.lease != a.epoch || server.open_at(a.epoch) {
            return false;
        }
        // No reachable replica holds what it lacks; nothing of its own is left to apply.
        if server.relay != 0 || (other.up && other.joined && other.held() & !server.executed != 0) {
            return false;
        }
        // Once armed, this guard may have given the proof of g, and `Sync(g)` may be committed without its
        // having heard: it opens in `CatchUp(g)` as it does in `Sync(g)`.
        let proof =
            a.durability == Durability::CatchUp && server.g >= a.g && !self.lacks(Mutant::OpensInCatchUp);
        if a.durability != Durability::Sync && !proof {
            return true;
        }
        let armed = server.armed == a.g || self.lacks(Mutant::OpensUnarmed);
        let heard = other.up && a.acker == Some(other.start) || self.lacks(Mutant::OpensUnarmed);
        let covered = server.executed & !other.held() == 0 || self.lacks(Mutant::OpensUncovered);
        armed && heard && covered
    }

    pub(crate) fn open(&self, s: &mut State, site: Site) -> bool {
        if !self.may_open(s, site) {
            return false;
        }
        let server = &mut s[site];
        server.writable = true;
        server.gate = server.lease;
        server.late = false;
        // What recovery brought back can be read from now on.
        let seen = server.executed & !server.waiting;
        s.told |= seen;
        true
    }

    /// The same, but the guard stands still inside its call: the add comes later.
    pub(crate) fn begin_open(&self, s: &mut State, site: Site) -> bool {
        if s[site].adding != 0 || s[site].gate != 0 || !self.may_open(s, site) {
            return false;
        }
        let server = &mut s[site];
        server.writable = true;
        server.adding = server.lease;
        true
    }

    /// FENCE deletes the set that the add names, so it fails then (interleaving 30). One that lands late
    /// outlives the lease, since its timeout counts from now.
    pub(crate) fn gate_lands(&self, s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        if server.adding == 0 || server.paused {
            return false;
        }
        let epoch = std::mem::take(&mut server.adding);
        if epoch > server.fenced_through || self.lacks(Mutant::LateGateAdd) {
            server.gate = epoch;
            server.late = server.lease != epoch;
            let seen = if server.up && server.writable { server.executed & !server.waiting } else { 0 };
            s.told |= seen;
        }
        true
    }

    /// What outlived its lease ends some time after the host goes on.
    pub(crate) fn gate_shuts(s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        let due = server.late && !server.paused;
        if due {
            server.shut();
        }
        due
    }

    /// What this guard knows itself to be primary of.
    fn primary_of(s: &State, site: Site) -> Option<Authority> {
        let server = &s[site];
        server.known.filter(|k| server.runs() && k.primary == site && k.phase.grants())
    }

    /// Strengthening is applied before it is committed; a lower generation is refused.
    pub(crate) fn arm(s: &mut State, site: Site) -> bool {
        let Some(a) = Self::primary_of(s, site) else { return false };
        let attached = s[site.other()].attached() || a.durability == Durability::Sync;
        let server = &mut s[site];
        if a.durability == Durability::Async || server.armed == a.g || a.g < server.g || !attached {
            return false;
        }
        server.armed = a.g;
        server.proven = false;
        server.g = a.g;
        true
    }

    /// Weakening is applied after it is committed; a lower generation is refused. Who waited is released.
    pub(crate) fn disarm(&self, s: &mut State, site: Site) -> bool {
        let Some(a) = Self::primary_of(s, site) else { return false };
        let server = &mut s[site];
        let refused = a.g < server.g && !self.lacks(Mutant::LowerGenerationAccepted);
        if a.durability != Durability::Async || server.armed == 0 || refused {
            return false;
        }
        server.armed = 0;
        server.proven = false;
        true
    }

    /// Only a mutant.
    pub(crate) fn disarm_unasked(&self, s: &mut State, site: Site) -> bool {
        let due = self.lacks(Mutant::WeakensBeforeCommit) && s[site].runs() && s[site].armed != 0;
        if due {
            s[site].armed = 0;
            s[site].proven = false;
        }
        due
    }

    /// A transaction committed after the arming is acknowledged: all before it is on the acker, and who
    /// waited for a lost ack is told. Those after it wait for their own.
    pub(crate) fn sentinel(s: &mut State, site: Site) -> bool {
        let Some(a) = Self::primary_of(s, site).filter(|k| k.durability == Durability::CatchUp) else {
            return false;
        };
        let other = s[site.other()];
        let server = &mut s[site];
        let whole = server.executed & !other.held() == 0;
        if server.proven || server.armed != a.g || !server.open_at(a.epoch) || !other.attached() || !whole {
            return false;
        }
        server.proven = true;
        server.acked = server.waiting;
        true
    }

    /// What this guard knows the other server to be primary of.
    fn replica_of(s: &State, site: Site) -> Option<Authority> {
        let server = &s[site];
        server.known.filter(|k| server.runs() && k.primary != site && k.phase.grants())
    }

    /// Only the life that is named acknowledges.
    pub(crate) fn semi_on(s: &mut State, site: Site) -> bool {
        let Some(a) = Self::replica_of(s, site) else { return false };
        let server = &mut s[site];
        let due = server.io && !server.semi && a.acker == Some(server.start);
        server.semi |= due;
        due
    }

    /// A loop that is run again and again, on what this guard knows; only the latch holds it back from an
    /// acker that was stopped (interleaving 6).
    pub(crate) fn start_receiver(s: &mut State, site: Site) -> bool {
        let Some(a) = Self::replica_of(s, site) else { return false };
        let server = &mut s[site];
        let due = server.joined && !server.io && a.epoch > server.no_source;
        server.io |= due;
        due
    }
}
