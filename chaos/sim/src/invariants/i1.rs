//! I1: at any instant at most one server of a group can acknowledge client writes.

use crate::mysql::Io;
use crate::options::Invariant;
use crate::world::World;

impl World {
    /// A client's write could be answered OK by this server now: it runs, takes writes, the gate lets
    /// packets through both ways, and where it waits for acks, enough ackers are attached.
    pub(crate) fn can_acknowledge(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        if !host.up || host.paused || !self.passes(h) {
            return false;
        }
        let Some(life) = host.mysql.answering() else { return false };
        if life.read_only || life.rebuilding {
            return false;
        }
        if !(life.source_enabled && life.operating) {
            return true;
        }
        let listens = |host: usize, id: u32| {
            let replica = self.hosts[host].mysql.life.as_ref().filter(|l| l.io == Io::Running);
            replica.and_then(|l| l.connection).is_some_and(|c| c.semi && c.id == id)
        };
        let ackers = life.attached.iter().filter(|a| listens(a.host, a.id)).count();
        ackers >= life.wait_count.max(1) as usize
    }

    /// Checked after everything that bears on it.
    pub(crate) fn check_one_writer(&mut self) {
        let able = (0..self.hosts.len()).filter(|h| self.can_acknowledge(*h)).count();
        if able > 1 {
            self.violate(Invariant::I1, "several servers can acknowledge client writes".to_owned());
        }
    }

    /// Whoever tells a client OK is the one that was opened at the highest epoch. A late OK for what
    /// the present one holds is true: its ack was on the way when the old one was stopped.
    pub(crate) fn check_told_by_the_one(&mut self, h: usize, transaction: u32) {
        let mine = self.truth.opened[h];
        let Some(newest) = self.others(h).max_by_key(|o| self.truth.opened[*o]) else { return };
        let other = self.truth.opened[newest];
        let known = self.truth.transactions[transaction as usize];
        let held = self.hosts[newest].mysql.holds(known.origin, known.number, transaction);
        if other > mine && !held && !known.given_up {
            let number = known.number;
            let text = format!(
                "{} told a client OK for its transaction {number}, opened last at epoch {}, after {} was opened at \
                 epoch {}",
                self.names.servers[h], mine.epoch, self.names.servers[newest], other.epoch
            );
            self.violate(Invariant::I1, text);
        }
    }
}
