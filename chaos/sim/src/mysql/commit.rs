//! Writing: a client's statement, the wait for the ack, and being told OK.

use crate::event::{ClientEvent, Event, Inside};
use crate::mysql::{Waiter, Who};
use crate::place::{MS, Time};
use crate::world::{Queued, World};

/// A queued answer is tried again this often (TCP's retransmissions).
const RETRANSMIT: Time = 300 * MS;

impl World {
    /// A client's statement reaches the commit.
    pub(crate) fn mysql_commit(&mut self, h: usize, client: usize, attempt: u32, sockets: u32) {
        let host = &self.hosts[h];
        let Some(life) = host.mysql.answering() else { return };
        if host.sockets != sockets {
            return; // its connection was ended before it got here
        }
        if life.read_only || life.rebuilding {
            return self.refuse_client(h, client, attempt);
        }
        if life.read_only_pends {
            self.hosts[h].mysql.life.as_mut().expect("seen above").behind.push((client, attempt, sockets));
            return;
        }
        self.mysql_written(h, client, attempt, sockets);
    }

    /// Every check is behind it: it is written.
    pub(crate) fn mysql_written(&mut self, h: usize, client: usize, attempt: u32, sockets: u32) {
        self.write(h, Who::Client { client, attempt, sockets });
        if self.hosts[h].mysql.accounts_change && !self.hosts[h].mysql.accounts_locked() {
            self.write(h, Who::Account);
        }
    }

    /// A `super_read_only` that was waited for holds, or was given up: whoever stood behind it goes on.
    pub(crate) fn read_only_ends(&mut self, h: usize) {
        let Some(life) = self.hosts[h].mysql.life.as_mut() else { return };
        life.read_only_pends = false;
        for (client, attempt, sockets) in std::mem::take(&mut life.behind) {
            self.mysql_commit(h, client, attempt, sockets);
        }
    }

    /// Commits a transaction for `who`, or lets it wait for its ack.
    pub(crate) fn write(&mut self, h: usize, who: Who) -> u32 {
        let now = self.now;
        let number = self.hosts[h].mysql.logged(h) + 1;
        let transaction = self.truth.write(h, number, self.now);
        let mysql = &mut self.hosts[h].mysql;
        let life = mysql.life.as_ref().expect("the caller saw a life");
        let (start, timeout) = (life.start, life.ack_timeout);
        if life.source_enabled && life.operating {
            mysql.waiting.push_back(Waiter { transaction, number, who });
            if let Some(timeout) = timeout {
                let what = Inside::AckTimeout { number };
                self.queue.push(now + timeout, Event::Mysql { host: h, start, what });
            }
        } else {
            mysql.executed[h].push(transaction);
            self.told(h, who, transaction);
        }
        self.stream(h);
        transaction
    }

    /// Whoever waited is told that it is committed.
    fn told(&mut self, h: usize, who: Who, transaction: u32) {
        match who {
            Who::Nobody | Who::Account => {}
            Who::Sentinel { guard, act } => {
                self.act_ended(h, guard, act, failover_core::ActEnd::Done { reached: None });
            }
            Who::Client { client, attempt, sockets } => {
                if self.hosts[h].sockets == sockets {
                    self.answer_client(h, Queued { client, attempt, transaction });
                }
            }
        }
    }

    /// Everything up to `number` is acknowledged, or is waited for no more.
    pub(crate) fn release(&mut self, h: usize, number: usize) {
        while let Some(waiter) = self.hosts[h].mysql.waiting.front().copied().filter(|w| w.number <= number) {
            let mysql = &mut self.hosts[h].mysql;
            mysql.waiting.pop_front();
            mysql.executed[h].push(waiter.transaction);
            self.told(h, waiter.who, waiter.transaction);
        }
    }

    /// A driver has waited long enough, and kills what it waits for: MySQL goes on waiting for the ack, with nobody to
    /// tell; MariaDB commits at once what is first in line.
    pub(crate) fn driver_kills(&mut self, h: usize, client: usize, attempt: u32) {
        let mysql = &mut self.hosts[h].mysql;
        if !mysql.drivers_kill || mysql.answering().is_none() {
            return;
        }
        let its = |w: &Waiter| matches!(w.who, Who::Client { client: c, attempt: a, .. } if (c, a) == (client, attempt));
        let Some(place) = mysql.waiting.iter().position(its) else { return };
        mysql.waiting[place].who = Who::Nobody;
        if mysql.maria() && place == 0 {
            let waiter = mysql.waiting.pop_front().expect("it was found there");
            mysql.executed[h].push(waiter.transaction);
        }
        self.dirty = true;
    }

    /// An ack comes in.
    pub(crate) fn mysql_ack(&mut self, h: usize, connection: u32, number: usize) {
        let Some(life) = self.hosts[h].mysql.life.as_ref() else { return };
        let from = life.attached.iter().find(|a| a.id == connection && a.semi).map(|a| a.host);
        let Some(from) = from.filter(|replica| self.lets_replicate(h, *replica)) else { return };
        let life = self.hosts[h].mysql.life.as_mut().expect("seen above");
        let acked = &mut life.acked[from];
        *acked = number.max(*acked);
        let through = life.acknowledged();
        if life.ackers() >= life.wait_count {
            life.operating = true;
        }
        self.release(h, through);
    }

    /// The silent timeout: acks are waited for no more until the replica has caught up.
    pub(crate) fn ack_timeout(&mut self, h: usize, number: usize) {
        let mysql = &mut self.hosts[h].mysql;
        let waits = mysql.waiting.front().is_some_and(|w| w.number <= number);
        let Some(life) = mysql.life.as_mut() else { return };
        // What waits has its deadline from when it began to wait.
        if waits && life.source_enabled {
            life.operating = false;
            self.note_host(h, format_args!("semi-sync times out silently"));
            self.release(h, usize::MAX);
        }
    }

    /// An answer leaves through the gate, or waits in the kernel.
    pub(crate) fn answer_client(&mut self, h: usize, queued: Queued) {
        if self.answer_passes(h, queued.client) {
            self.answer_leaves(h, queued);
        } else {
            let host = &mut self.hosts[h];
            host.queued.push(queued);
            if host.queued.len() == 1 {
                let boot = host.boot;
                self.queue.push(self.now + RETRANSMIT, Event::Sockets { host: h, boot });
            }
        }
    }

    fn answer_passes(&self, h: usize, client: usize) -> bool {
        let place = self.clients[client].place;
        self.passes(h) && self.net.both(crate::place::HOST_SITES[h], place)
    }

    fn answer_leaves(&mut self, h: usize, queued: Queued) {
        self.check_told(h, queued.transaction);
        self.check_leaves(h, queued.transaction);
        let place = self.clients[queued.client].place;
        let Some(passage) = self.net.passage(crate::place::HOST_SITES[h], place) else { return };
        let what = ClientEvent::Ok { attempt: queued.attempt, transaction: queued.transaction };
        let at = self.now + passage.latency;
        self.queue.push(at, Event::Client { client: queued.client, what });
    }

    /// Queued answers are sent again.
    pub(crate) fn retransmit(&mut self, h: usize) {
        let queued = std::mem::take(&mut self.hosts[h].queued);
        let mut left = Vec::new();
        for one in queued {
            // Whoever gave up has closed its end.
            if self.clients[one.client].attempt != one.attempt {
                continue;
            }
            if self.answer_passes(h, one.client) {
                self.answer_leaves(h, one);
            } else {
                left.push(one);
            }
        }
        let host = &mut self.hosts[h];
        host.queued = left;
        if !host.queued.is_empty() {
            let boot = host.boot;
            self.queue.push(self.now + RETRANSMIT, Event::Sockets { host: h, boot });
        }
    }

    /// A client is told no, if that gets out.
    pub(crate) fn refuse_client(&mut self, h: usize, client: usize, attempt: u32) {
        if self.answer_passes(h, client) {
            let what = ClientEvent::No { attempt };
            self.queue.push(self.now + 1_500, Event::Client { client, what });
        }
    }
}
