//! Clients, the database, and replication.

use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::state::{Server, Set, Site, State};

/// The transaction that comes first in a set.
fn first(set: Set) -> Set {
    set & set.wrapping_neg()
}

impl Server {
    /// The process ends: what is on disk stays, and nobody who waited is told anything.
    pub(crate) fn dies(&mut self) {
        self.up = false;
        self.waiting = 0;
        self.acked = 0;
        self.writable = false;
        self.armed = 0;
        self.proven = false;
        self.io = false;
        self.semi = false;
    }

    /// Another life begins; servers boot fenced, and receive nothing (I6).
    pub(crate) fn boots(&mut self) {
        self.up = true;
        self.start += 1;
    }
}

impl Protocol {
    /// A client's transaction is in the binary log, before anybody is told (AFTER_SYNC).
    pub(crate) fn write(&self, s: &mut State, site: Site) -> bool {
        let server = &s[site];
        let open = server.runs() && server.gate != 0 && server.writable;
        if !open || s.written >= self.bounds.transactions {
            return false;
        }
        let transaction = 1 << s.written;
        s.written += 1;
        s[site].executed |= transaction;
        s[site].waiting |= transaction;
        true
    }

    /// OK for the first transaction that needs no ack, or has it. It passes the gate; read-only or not.
    pub(crate) fn tell(s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        let ready = if server.armed == 0 { server.waiting } else { server.waiting & server.acked };
        let transaction = first(ready);
        if transaction == 0 || server.gate == 0 || !server.runs() {
            return false;
        }
        server.waiting &= !transaction;
        server.acked &= server.waiting;
        s.told |= transaction;
        true
    }

    /// In order, and by what it lacks (auto-position). An ack for one covers all before it.
    pub(crate) fn receive(s: &mut State, site: Site) -> bool {
        let source = s[site.other()];
        let server = &mut s[site];
        let next = first(source.executed & !server.held());
        if next == 0 || !server.io || !server.runs() || !source.runs() {
            return false;
        }
        server.relay |= next;
        if server.semi {
            let held = server.held();
            s[site.other()].acked = source.waiting & held;
        }
        true
    }

    /// The applier never stops.
    pub(crate) fn apply_relay(s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        let due = server.runs() && server.relay != 0;
        if due {
            server.executed |= server.relay;
            server.relay = 0;
        }
        due
    }

    /// A supervisor starts it. Where its relay log does not outlive that, what was not applied is
    /// forgotten, acknowledged or not (interleavings 3, 27).
    pub(crate) fn start(&self, s: &mut State, site: Site, forgets: bool) -> bool {
        let server = &mut s[site];
        if server.up || server.paused || (forgets && server.relay == 0) {
            return false;
        }
        server.boots();
        if forgets {
            server.relay = 0;
        }
        server.writable = self.lacks(Mutant::BootsWritable);
        true
    }

    /// A former primary is killed if it runs, boots fenced, is compared, and receives by auto-position. One
    /// with extra transactions waits for a rebuild or a person, neither of which is modelled.
    pub(crate) fn rejoin(s: &mut State, site: Site) -> bool {
        let source = s[site.other()];
        let server = &mut s[site];
        let known = server.known.filter(|k| k.primary != site && k.phase.grants());
        let Some(authority) = known.filter(|_| server.runs() && !server.joined) else { return false };
        let extra = server.held() & !source.executed;
        if server.gate != 0 || extra != 0 || !source.runs() || authority.epoch <= server.no_source {
            return false;
        }
        server.dies();
        server.boots();
        server.joined = true;
        server.io = true;
        true
    }
}
