//! Rules of single acts: what a guard does on its server, held against what it knows and what was committed.

use failover_core::{DatabaseAct, Durability, GateAct, Phase};
use model::{Epoch, ProcessStart};

use crate::options::Invariant;
use crate::place::HOST_SITES;
use crate::world::World;

impl World {
    /// Elections, and lives of the other hosts' guards: whoever knew something before may know it no more.
    pub(crate) fn upheavals(&self, h: usize) -> u64 {
        let lives = |o: usize| u64::from(self.hosts[o].guard_lives);
        self.truth.elections + self.others(h).map(lives).sum::<u64>()
    }

    /// A disk that lies breaks what everything rests on. What its replicas have is waited for all the same, as long as the same
    /// leader hears the same servers; behind a second misfortune nothing is promised.
    fn forgive_the_disk(&mut self, h: usize) {
        let upheavals = self.upheavals(h);
        for index in self.missing_from(h) {
            let known = self.truth.transactions[index];
            let in_reach = self.others(h).any(|o| {
                let host = &self.hosts[o];
                let heard = host.up && !host.paused && host.guard.as_ref().is_some_and(|g| !g.paused);
                heard
                    && host.mysql.answering().is_some()
                    && self.net.both(HOST_SITES[h], HOST_SITES[o])
                    && host.mysql.holds(known.origin, known.number, index as u32)
            });
            let lied = known.forgotten.filter(|_| known.origin == h);
            if lied.is_some_and(|then| then != upheavals || !in_reach) {
                self.truth.transactions[index].given_up = true;
            }
        }
    }

    /// A guard makes its server writable: only while the group serves, as far as it knows itself, and with all that
    /// clients were told of (the one rule to open).
    pub(crate) fn check_opens_by_the_rule(&mut self, h: usize, act: &DatabaseAct) {
        if !matches!(act, DatabaseAct::SetWritable { .. }) {
            return;
        }
        let seen = self.hosts[h].guard.as_ref().map(|g| g.guard.seen());
        let Some(authority) = self.group().and_then(|g| g.authority.as_ref()) else { return };
        let authority_stamp = authority.stamp();
        if seen == Some(authority_stamp) && authority.phase != Phase::Serving {
            let text = format!(
                "{} is made writable, and knows that it is {}",
                self.names.servers[h], authority.phase
            );
            self.violate(Invariant::I4, text);
        }
        self.forgive_the_disk(h);
        let missing = self.missing_from(h).len();
        if seen == Some(authority_stamp) && missing > 0 {
            let text = format!(
                "{} is made writable, and lacks {missing} acknowledged writes",
                self.names.servers[h]
            );
            self.violate(Invariant::Lost, text);
        }
    }

    /// A guard confirms a fence.
    pub(crate) fn fence_confirmed(&mut self, h: usize) {
        let through = self.hosts[h].latch.as_ref().map_or(Epoch(0), |l| l.fenced_through);
        self.truth.fenced[h] = through.max(self.truth.fenced[h]);
    }

    /// The kernel takes a change of the gate: behind a confirmed fence none opens it.
    pub(crate) fn check_gate_stays_shut(&mut self, h: usize, act: GateAct) {
        let GateAct::Open { epoch, .. } = act else { return };
        if epoch <= self.truth.fenced[h] {
            let text = format!(
                "the gate of {} opens for epoch {epoch}, and it had confirmed its fence through {}",
                self.names.servers[h], self.truth.fenced[h]
            );
            self.violate(Invariant::I4, text);
        }
    }

    /// A guard kills its database. Behind a gate only a fence asks for that: a lease that runs out shuts the gate, and
    /// that is all (rung 1).
    pub(crate) fn check_kill(&mut self, h: usize, life: ProcessStart) {
        let opened = self.hosts[h].latch.as_ref().and_then(|l| l.opened.as_ref()).filter(|o| o.life == life);
        let epoch = opened.map_or(Epoch(0), |o| o.epoch);
        let stands = self.group().and_then(|g| g.authority.as_ref()).is_some_and(|a| a.epoch == epoch);
        // One that lets nobody in, and that nobody may take over from, is started anew.
        let mysql = &self.hosts[h].mysql;
        let paused = mysql.life.as_ref().is_some_and(|l| l.paused || l.doomed);
        if paused || mysql.accounts_locked() {
            return;
        }
        if stands && !self.ladder.alone {
            let text =
                format!("{} is killed by its guard, and nobody revoked epoch {epoch}", self.names.servers[h]);
            self.violate(Invariant::Service, text);
        }
    }

    /// A failover gives acknowledged writes up: only where the policy lets it, or a person who was told.
    pub(crate) fn check_given_up(&mut self, lost: usize) {
        let Some(revoked) = self.group().and_then(|g| g.revoked.as_ref()) else { return };
        let own = &self.policy.groups[&self.names.group];
        let accepted = match revoked.reason.by.as_str() {
            "twofold" => own.async_failover == failover_core::AsyncFailover::Allow,
            by => by != crate::fault::TOLD_OF_NO_LOSS,
        };
        if lost > 0 && revoked.durability != Durability::Sync && !accepted {
            let text = format!(
                "epoch {} was {} when {} ended it, and {lost} acknowledged writes were given up that nobody had accepted \
                 to lose",
                revoked.epoch, revoked.durability, revoked.reason.by
            );
            self.violate(Invariant::Lost, text);
        }
    }
}
