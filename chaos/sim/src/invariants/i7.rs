//! I7: bound names move only after the database is open at the new epoch; and no node answers the
//! server that names were moved away from for longer than 2·T_H: by then its state is confirmed anew,
//! or it answers SERVFAIL.

use failover_core::{Group, Timing};

use crate::options::Invariant;
use crate::place::{MS, Time};
use crate::world::World;

/// Clocks differ by ρ, and an answer takes a moment.
const SLACK: Time = 60 * MS;

impl World {
    /// Names were moved just now.
    pub(crate) fn check_routed(&mut self, before: Option<&Group>) {
        let group = self.group().expect("something was routed");
        let Some(authority) = &group.authority else { return };
        let Some(h) = self.names.host(&authority.primary.server) else { return };
        let away = before
            .and_then(|g| g.epochs.get(&g.route.as_ref()?.epoch))
            .filter(|record| record.primary.server != authority.primary.server);
        let first = before.is_some_and(|g| g.route.is_none());
        let epoch = authority.epoch;
        if self.truth.opened[h].epoch < epoch {
            let text = format!(
                "names were moved to {} at epoch {}, where it was never open",
                self.names.servers[h], epoch
            );
            self.violate(Invariant::I7, text);
        }
        if let Some(record) = away {
            self.truth.moved = self.names.host(&record.primary.server).map(|from| (self.now, from));
        } else if first {
            self.truth.moved = None;
        }
    }

    /// Node `n` answered with host `h`.
    pub(crate) fn check_answered(&mut self, n: usize, h: usize) {
        let Some((at, away)) = self.truth.moved else { return };
        let Some(since) = self.could_hear(n, at) else { return };
        let bound = (Timing::METRO.lease * 2).as_micros() as Time + SLACK;
        if away == h && self.now > since + bound {
            let text = format!(
                "{} answers {} {} ms after names were moved away from it",
                self.names.nodes[n],
                self.names.servers[h],
                (self.now - at) / MS
            );
            self.violate(Invariant::I7, text);
        }
    }

    /// From when on a node could hear of a move at `at`; none where it may answer the last site that it knew. Without a
    /// witness that is the names' rule of a node without a quorum. One of an earlier life hears of this one at once, or
    /// has nobody to hear it from; and once it was off, it believes what a quorum confirms and nothing else.
    fn could_hear(&self, n: usize, at: Time) -> Option<Time> {
        if !self.two_sites() {
            return Some(at);
        }
        let node = &self.nodes[n];
        if node.incarnation == self.truth.life {
            return self.fresh(n).then_some(at);
        }
        Some(at.max(node.powered).max(self.person.reach?))
    }
}
