//! I3: in `Sync`, every acknowledged transaction is on every acker of the other site.

use failover_core::Durability;

use crate::gate::RESUMED;
use crate::options::Invariant;
use crate::world::World;

impl World {
    /// A client is told OK while `Sync` is what is committed for this server.
    pub(crate) fn check_told_in_sync(&mut self, h: usize, transaction: u32) {
        let Some(group) = self.group() else { return };
        let Some(authority) = &group.authority else { return };
        let holder = if authority.phase.grants() {
            &authority.primary
        } else {
            match &group.revoked {
                Some(revoked) => &revoked.primary,
                None => return,
            }
        };
        if authority.durability != Durability::Sync || holder.server != self.names.servers[h] {
            return;
        }
        // A gate whose timer stood through a stop of its host lets out what it should not (I2 has the same), and somebody's hand
        // had set a timeout, which ran on.
        let by_hand = self.hosts[h].mysql.life.as_ref().is_some_and(|l| l.ack_timeout.is_some());
        let host = &self.hosts[h];
        let stood = host.gate.tainted || (host.resumed > 0 && self.now < host.resumed + RESUMED);
        if stood && by_hand {
            return;
        }
        let known = self.truth.transactions[transaction as usize];
        let lacking = authority.acker_set.iter().find(|acker| {
            let host = self.names.host(&acker.server);
            // MariaDB forgets with its life what it acknowledged in it; such an acker does not count any more
            // (DESIGN §4, Durability), and no promotion of it does.
            let ended = host
                .map(|a| &self.hosts[a].mysql)
                .filter(|m| m.maria())
                .is_some_and(|m| m.life.as_ref().map(|l| l.start) != Some(acker.process_start));
            !ended
                && !host.is_some_and(|a| self.hosts[a].mysql.holds(known.origin, known.number, transaction))
        });
        if let Some(acker) = lacking {
            let text = format!(
                "{} told a client OK for its transaction {} in sync, which acker {} does not hold",
                self.names.servers[h], known.number, acker.server
            );
            self.violate(Invariant::I3, text);
        }
    }

    /// A server was quarantined for another history: then two transactions do have one number.
    pub(crate) fn check_histories_differ(&mut self) {
        let differ = |one: usize, two: usize| {
            let (one, two) = (&self.hosts[one].mysql.executed, &self.hosts[two].mysql.executed);
            one.iter().zip(two).any(|(a, b)| a.iter().zip(b).any(|(x, y)| x != y))
        };
        if !(0..self.hosts.len()).any(|h| self.others(h).any(|o| differ(h, o))) {
            let text = "a server was quarantined for another history, and there is none".to_owned();
            self.violate(Invariant::I3, text);
        }
    }

    /// `Sync` was committed: all that was told before is on every acker.
    pub(crate) fn check_sync_is_true(&mut self) {
        let Some(authority) = self.group().and_then(|g| g.authority.as_ref()) else { return };
        let Some(primary) = self.names.host(&authority.primary.server) else { return };
        let ackers: Vec<usize> =
            authority.acker_set.iter().filter_map(|a| self.names.host(&a.server)).collect();
        for acker in ackers {
            let executed = &self.hosts[primary].mysql.executed[primary];
            let lacking = executed.iter().enumerate().find(|(i, t)| {
                self.truth.transactions[**t as usize].told
                    && !self.hosts[acker].mysql.holds(primary, i + 1, **t)
            });
            if let Some((index, _)) = lacking {
                let text = format!(
                    "sync was committed, and acker {} does not hold transaction {} of {}",
                    self.names.servers[acker],
                    index + 1,
                    self.names.servers[primary]
                );
                self.violate(Invariant::I3, text);
                return;
            }
        }
    }
}
