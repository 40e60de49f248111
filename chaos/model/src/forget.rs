//! States that behave alike are made one state: what can make no difference any more is dropped.

use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::state::{Authority, Durability, Kind, Phase, Site, State};

impl Protocol {
    pub(crate) fn forget(&self, before: &State, s: &mut State) {
        self.refused(s);
        settled(s);
        unused(before, s);
        if s.late.is_none() {
            unnamed(s);
        }
        for site in Site::BOTH {
            heard(s, site);
            self.gone_by(s, site);
        }
        ranked(s);
    }

    /// A command that will be refused, and an answer that will be.
    fn refused(&self, s: &mut State) {
        let version = s.authority.version;
        let refused = s.late.is_some_and(|l| l.expect != version);
        if refused && !self.lacks(Mutant::NoCompareAndSet) {
            s.late = None;
        }
        let stale = s.mail.is_some_and(|m| m.authority.version < s[m.to].seen);
        if stale && !self.lacks(Mutant::OlderAccepted) {
            s.mail = None;
        }
    }

    /// Who knows that another server serves comes back by way of a kill, and of nothing else.
    fn gone_by(&self, s: &mut State, site: Site) {
        let a = s.authority;
        let server = &mut s[site];
        let knows = server.known.is_some_and(|k| k.epoch == a.epoch && k.phase.grants());
        let replaced = a.phase.grants() && a.primary != site && knows && !server.joined;
        if replaced && server.gate == 0 && server.adding == 0 && !self.lacks(Mutant::AbortWithoutFence) {
            server.waiting = 0;
            server.acked = 0;
            server.armed = 0;
            server.proven = false;
        }
    }
}

/// A guard that would do the same if it had heard the newest authority has heard it.
fn heard(s: &mut State, site: Site) {
    let a = s.authority;
    let server = &s[site];
    let Some(known) = server.known else { return };
    let alike = a.primary != site
        && known.primary == a.primary
        && known.epoch == a.epoch
        && known.phase.grants() == a.phase.grants()
        && (known.acker == a.acker || !a.phase.grants());
    if alike && s.mail.is_none_or(|m| m.to != site) {
        s[site].known = Some(a);
        s[site].seen = a.version;
    }
    // What was stopped in an epoch that is over.
    let server = &s[site];
    let over = a.phase.grants() && a.epoch > server.no_source && known.epoch > server.no_source;
    if over && s.mail.is_none_or(|m| m.authority.epoch > server.no_source) {
        s[site].no_source = 0;
    }
}

/// What both have on disk, and a client was told.
fn settled(s: &mut State) {
    let [a, b] = &mut s.servers;
    let settled = s.told & a.executed & b.executed & !a.waiting & !b.waiting;
    s.told &= !settled;
    a.executed &= !settled;
    b.executed &= !settled;
}

/// What nobody will look at before it is set anew.
fn unused(before: &State, s: &mut State) {
    let a = s.authority;
    for server in &mut s.servers {
        // An opening sets it; behind a shut gate it lets nobody write.
        server.writable &= server.gate != 0 || server.adding != 0;
        // The leader looks at it in `CatchUp` only.
        server.proven &= a.durability == Durability::CatchUp && server.armed == a.g;
    }
    // What kind the last move was is of use to a reader of the state that it led to.
    if a.phase == Phase::Serving && before.authority == a {
        s.execution.kind = Kind::None;
    }
}

/// Which life a process lives, where nobody names one.
fn unnamed(s: &mut State) {
    let of = |a: Option<Authority>| a.filter(|a| a.acker.is_some()).map(|a| a.acker_site());
    let named =
        [Some(s.authority), s.servers[0].known, s.servers[1].known, s.mail.map(|m| m.authority)].map(of);
    for site in Site::BOTH {
        if !named.contains(&Some(site)) {
            s[site].start = 1;
        }
    }
}

/// Versions are compared, and nothing else: only their order counts.
fn ranked(s: &mut State) {
    let mut present: u32 = 1;
    each_version(s, &mut |v| present |= 1 << *v);
    each_version(s, &mut |v| *v = (present & ((1 << *v) - 1)).count_ones() as u8);
}

fn each_version(s: &mut State, of: &mut impl FnMut(&mut u8)) {
    of(&mut s.authority.version);
    for server in &mut s.servers {
        of(&mut server.seen);
        if let Some(known) = &mut server.known {
            of(&mut known.version);
        }
    }
    if let Some(mail) = &mut s.mail {
        of(&mut mail.authority.version);
    }
    if let Some(late) = &mut s.late {
        of(&mut late.expect);
    }
}
