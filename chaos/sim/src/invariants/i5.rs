//! I5: the candidate has received all that was acknowledged in `Sync`, has applied all it received,
//! and carries nothing of its own making. What an asynchronous failover gives up goes on record.

use failover_core::Durability;

use crate::options::Invariant;
use crate::place::HOSTS;
use crate::world::World;

impl World {
    /// `Serving(E+1)` was committed just now.
    pub(crate) fn check_candidate_is_whole(&mut self) {
        let group = self.group().expect("something was opened");
        let (Some(authority), Some(revoked)) = (group.authority.as_ref(), group.revoked.as_ref()) else {
            return;
        };
        let sync = revoked.durability == Durability::Sync;
        let epoch = revoked.epoch;
        let Some(candidate) = self.names.host(&authority.primary.server) else { return };
        let Some(old) = self.names.host(&revoked.primary.server) else { return };
        let mysql = &self.hosts[candidate].mysql;
        if !mysql.relay.is_empty() {
            let text = format!("{} has not applied all it received", self.names.servers[candidate]);
            return self.violate(Invariant::I5, text);
        }
        for origin in 0..HOSTS {
            let theirs = &self.hosts[old].mysql;
            let upheavals = self.upheavals(origin);
            // Numbers that were given out again behind a disk's lie, where nobody was left who knew better.
            let forgiven =
                |t: u32| self.truth.transactions[t as usize].forgotten.is_some_and(|then| then != upheavals);
            let differs = mysql.executed[origin]
                .iter()
                .enumerate()
                .filter(|(_, t)| !forgiven(**t))
                .find(|(i, t)| theirs.transaction(origin, i + 1).is_some_and(|other| other != **t));
            if let Some((index, _)) = differs {
                let text = format!(
                    "{} holds another transaction {} of {} than the old primary",
                    self.names.servers[candidate],
                    index + 1,
                    self.names.servers[origin]
                );
                return self.violate(Invariant::I5, text);
            }
        }
        let lost: Vec<usize> = self.missing_from(candidate);
        // A planned move waits until it has everything, whatever durability is called.
        let planned = group.running().is_some_and(|e| e.runbook.name == "switchover");
        if (sync || planned)
            && let Some(first) = lost.first()
        {
            let known = self.truth.transactions[*first];
            let promise =
                if sync { format!("epoch {epoch} was sync") } else { "it was a switchover".to_owned() };
            let text = format!(
                "{promise}, and {} lacks transaction {} of {}, which a client was told of ({} in all)",
                self.names.servers[candidate],
                known.number,
                self.names.servers[known.origin],
                lost.len()
            );
            return self.violate(Invariant::I5, text);
        }
        // What was answered and has not left its host yet is in the stated loss too; in `Sync` nothing is stated.
        let there = self.hosts[candidate].mysql.all_held();
        for known in self.truth.transactions.iter_mut().filter(|t| !sync && !t.told) {
            known.given_up |= known.number > there[known.origin];
        }
        self.check_given_up(lost.len());
        self.truth.given_up += lost.len() as u64;
        for index in lost {
            self.truth.transactions[index].given_up = true;
        }
    }

    /// Epoch 1 was committed: whoever got it has all that clients were told of before there was a cluster.
    pub(crate) fn check_first_is_whole(&mut self) {
        let Some(first) = self.primary_host() else { return };
        let missing = self.missing_from(first).len();
        if missing > 0 {
            let text = format!("{} got epoch 1 and lacks {missing} of the writes", self.names.servers[first]);
            self.violate(Invariant::I5, text);
        }
    }

    /// Transactions that somebody was told of, were not given up, and are not committed here.
    pub(crate) fn missing_from(&self, h: usize) -> Vec<usize> {
        let executed = &self.hosts[h].mysql.executed;
        let here = |index: usize, origin: usize, number: usize| {
            executed[origin].get(number - 1).is_some_and(|t| *t as usize == index)
        };
        let all = self.truth.transactions.iter().enumerate();
        all.filter(|(_, t)| t.told && !t.given_up)
            .filter(|(index, t)| !here(*index, t.origin, t.number))
            .map(|(index, _)| index)
            .collect()
    }
}
