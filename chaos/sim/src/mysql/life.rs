//! Starts and ends of a server's process.

use failover_core::{ActEnd, HowItEnded};
use model::ProcessStart;

use crate::event::{Event, Inside, Unit};
use crate::mysql::{Io, Life, Who};
use crate::options::Mutant;
use crate::place::{HOSTS, MS, Time};
use crate::world::World;

/// A transaction or so that a disk which lies about its fsync forgets.
const LOST_MAX: usize = 3;

impl World {
    /// A supervisor starts the server: it boots fenced.
    pub(crate) fn mysql_start(&mut self, h: usize) {
        let writable = self.broken(Mutant::BootsWritable);
        let boot_time = 300 * MS + self.chance.below(2_200) * MS;
        let host = &mut self.hosts[h];
        if !host.up || host.mysql.life.is_some() {
            return;
        }
        host.mysql.lives += 1;
        let start = ProcessStart(host.mysql.lives);
        host.mysql.life = Some(Life {
            start,
            booted: false,
            paused: false,
            doomed: false,
            stopping: false,
            read_only: !writable,
            read_only_pends: false,
            behind: Vec::new(),
            super_off: false,
            source_enabled: false,
            operating: true,
            wait_count: 1,
            ack_timeout: Some(host.mysql.cnf_ack_timeout),
            replica_enabled: false,
            at_leisure: false,
            io: Io::Stopped,
            connection: None,
            sql: false,
            sql_errno: 0,
            applying: false,
            attached: Vec::new(),
            acked: [0; HOSTS],
            rebuilding: false,
        });
        self.queue.push(self.now + boot_time, Event::Mysql { host: h, start, what: Inside::Booted });
        self.look_soon(h);
    }

    /// Recovery is over: what waited for an ack is committed now, and nobody was told.
    pub(crate) fn mysql_booted(&mut self, h: usize) {
        if self.hosts[h].mysql.answering().is_some() {
            return; // one of a live pair: it was up before the run began
        }
        let mysql = &mut self.hosts[h].mysql;
        for waiter in std::mem::take(&mut mysql.waiting) {
            mysql.executed[h].push(waiter.transaction);
        }
        if let Some(life) = mysql.life.as_mut() {
            life.booted = true;
        }
        self.note_host(h, format_args!("database up"));
        self.check_boots_fenced(h);
        self.dirty = true;
    }

    /// The process ends. `reset`: its kernel lives on and tells peers.
    pub(crate) fn mysql_end(&mut self, h: usize, ended: HowItEnded, reset: bool) {
        if self.is_doomed(h, ended) {
            return;
        }
        let Some(life) = self.hosts[h].mysql.life.take() else { return };
        self.note_host(h, format_args!("database ends ({ended:?})"));
        let forgets = self.broken(Mutant::RelayForgotten);
        let now = self.now;
        let mysql = &mut self.hosts[h].mysql;
        (mysql.ended, mysql.ended_at) = (Some(ended), now);
        // The next start of MariaDB's replication drops it, and knows its source no more.
        if forgets || mysql.maria() {
            mysql.drop_relay_log();
        }
        if mysql.maria()
            && let Some(channel) = mysql.channel.as_mut()
        {
            channel.connected = false;
        }
        if ended == HowItEnded::Killed {
            for waiter in &mut mysql.waiting {
                waiter.who = Who::Nobody;
            }
        }
        self.hosts[h].sockets += 1;
        self.hosts[h].stash_disk.clear();
        self.tell_replicas(h, reset);
        // What was asked over its sessions: the connection is lost.
        let pending: Vec<_> = self.hosts[h].acts.clone();
        let guard = self.hosts[h].guard.as_ref().map_or(0, |g| g.life);
        for act in pending {
            self.act_ended(h, guard, act, ActEnd::Unknown { why: "the connection was lost".into() });
        }
        if let Some(guard) = self.hosts[h].guard.as_mut() {
            (guard.sentinel, guard.given_up, guard.unread) = Default::default();
        }
        if reset {
            self.hang_up(h);
        }
        self.look_soon(h);
        let again = 100 * MS + self.chance.below(900) * MS;
        let held_back = self.hosts[h].hold_mysql;
        if self.hosts[h].up && !held_back {
            self.queue
                .push(self.now + again, Event::Start { what: Unit::Mysql(h), life: life.start.0 as u32 });
        }
        self.dirty = true;
    }

    /// Clients that wait on this host hear a reset, where the gate lets it out.
    fn hang_up(&mut self, h: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].at == Some(h) {
                let attempt = self.clients[client].attempt;
                self.refuse_client(h, client, attempt);
            }
        }
    }

    /// A graceful shutdown: nobody gets in any more, whoever waits is told in a while, and the end comes later.
    pub(crate) fn mysql_shutdown(&mut self, h: usize) {
        let tells = self.chance.between(100, 8_400) * MS;
        let ends = tells + self.chance.below(2_600) * MS;
        let Some(life) = self.hosts[h].mysql.life.as_mut().filter(|l| l.booted && !l.stopping) else {
            return;
        };
        life.stopping = true;
        life.sql = false;
        life.io = Io::Stopped;
        life.connection = None;
        let start = life.start;
        self.note_host(h, format_args!("database is being stopped"));
        self.queue.push(self.now + tells, Event::Mysql { host: h, start, what: Inside::Stopping });
        self.queue.push(self.now + ends, Event::Mysql { host: h, start, what: Inside::Stopped });
        self.dirty = true;
    }

    /// Every waiter is told OK, acked or not; MariaDB's are told nothing, and committed all the same.
    pub(crate) fn mysql_stopping(&mut self, h: usize) {
        if !self.hosts[h].mysql.maria() {
            self.release(h, usize::MAX);
        }
    }

    /// The disk had not written what it said it had: the newest transactions are gone, as far as another
    /// server has them (nothing is promised beyond that).
    pub(crate) fn disk_lied(&mut self, h: usize) {
        if self.hosts[h].mysql.life.is_some() {
            return;
        }
        let lost = 1 + self.chance.below(LOST_MAX as u64) as usize;
        let (length, waiting) = {
            let mysql = &self.hosts[h].mysql;
            (mysql.executed[h].len(), mysql.waiting.len())
        };
        let keep = length.saturating_sub(lost);
        let held = (keep..length).all(|i| {
            let t = self.hosts[h].mysql.executed[h][i];
            self.others(h).any(|o| self.hosts[o].mysql.holds(h, i + 1, t))
        });
        if held {
            let upheavals = self.upheavals(h);
            for index in keep..length {
                let t = self.hosts[h].mysql.executed[h][index];
                self.truth.transactions[t as usize].forgotten = Some(upheavals);
            }
            let mysql = &mut self.hosts[h].mysql;
            mysql.executed[h].truncate(keep);
            mysql.purged[h] = mysql.purged[h].min(keep);
            mysql.waiting.clear();
            self.truth.count("disk-lied");
            self.note_host(h, format_args!("its disk forgets {} transactions", length - keep + waiting));
        }
    }

    /// What was received and not synced is gone, and the server asks for it again.
    pub(crate) fn power_cut(&mut self, h: usize) {
        let mysql = &mut self.hosts[h].mysql;
        for _ in 0..std::mem::take(&mut mysql.unsynced) {
            if let Some((origin, _)) = mysql.relay.pop_back() {
                mysql.relayed[origin] -= 1;
            }
        }
    }

    /// SIGSTOP and SIGCONT.
    pub(crate) fn mysql_pause(&mut self, h: usize, paused: bool) {
        let Some(life) = self.hosts[h].mysql.life.as_mut() else { return };
        life.paused = paused;
        if paused {
            self.tell_replicas(h, false);
        } else {
            let stash = std::mem::take(&mut self.hosts[h].stash_mysql);
            self.unstash(stash);
        }
        self.dirty = true;
    }

    /// Puts back what could not happen while somebody was stopped.
    pub(crate) fn unstash(&mut self, stash: Vec<Event>) {
        let at: Time = self.now;
        for event in stash {
            self.queue.push(at, event);
        }
    }
}
