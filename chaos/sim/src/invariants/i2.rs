//! I2: acknowledging needs an unexpired lease. Pauses are exempt: there the stopped ackers or the
//! confirmed fence stand in (DESIGN §4, The gate).

use model::Epoch;

use crate::gate::{ASSERTED, RESUMED};
use crate::options::Invariant;
use crate::world::World;

/// The gate may outlast the lease by the time that nft takes, and by a jiffy; well below δ.
const SLACK_US: u64 = 60_000;

impl World {
    /// A guard holds its server open: it was granted a lease for that, in this boot of its host.
    pub(crate) fn check_holds_open(&mut self, h: usize) {
        let host = &self.hosts[h];
        let clock = host.clock.read(self.now).0;
        let stood = host.gate.tainted || (host.resumed > 0 && self.now < host.resumed + RESUMED);
        if !stood && clock > host.lease_until + SLACK_US {
            let over = clock - host.lease_until;
            let text =
                format!("the guard of {} holds it open {over} µs after its lease", self.names.servers[h]);
            self.violate(Invariant::I2, text);
        }
    }

    /// An answer leaves the host.
    pub(crate) fn check_leaves(&mut self, h: usize, transaction: u32) {
        let host = &self.hosts[h];
        // Before the first start there is no lease: a live pair is adopted as it is.
        if self.truth.opened[h].epoch == Epoch(0) || host.gate.tainted {
            return;
        }
        // Rules that somebody flushed stand again with the next assertion, within T_H, if there is a guard to make it.
        let gate = &host.gate;
        if gate.flushed > 0 && (gate.unguarded || self.now < gate.flushed + ASSERTED) {
            return;
        }
        let clock = host.clock.read(self.now).0;
        // Without a gate, only a watchdog answers for a guard that does not run.
        if self.ladder.alone && !self.ladder.watchdog {
            return;
        }
        // A host that stood still goes on where it stood: its guard needs a moment to see what time it is.
        if self.ladder.alone && host.resumed > 0 && self.now < host.resumed + RESUMED {
            return;
        }
        let until = self.ladder.hold(host.lease_until);
        // What the kernel sends for a process that is gone was said before its end: without a gate nothing keeps it.
        let at = self.truth.transactions[transaction as usize].at;
        let within = clock.saturating_sub(self.now - at) <= until + SLACK_US;
        if self.ladder.alone && at <= host.mysql.ended_at && within {
            return;
        }
        if clock > until + SLACK_US {
            let number = self.truth.transactions[transaction as usize].number;
            let text = format!(
                "{} tells a client OK for its transaction {number}, {} µs after its lease ended",
                self.names.servers[h],
                clock - until
            );
            self.violate(Invariant::I2, text);
        }
    }
}
