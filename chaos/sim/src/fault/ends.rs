//! How each fault ends, and how everything is healed.

use failover_core::Timing;

use crate::event::{Event, Unit};
use crate::fault::{Hit, Kind};
use crate::gate::Gate;
use crate::mysql::{Io, Life};
use crate::place::{MS, NODES, PLACES, SECOND, Time};
use crate::world::World;

impl World {
    /// A fault ends; the one after the last is the healing.
    pub(crate) fn fault_ends(&mut self, index: usize) {
        let Some(fault) = self.plan.faults.get(index).cloned() else { return self.heal() };
        self.note(format_args!("fault ends: {:?} {:?}", fault.kind, fault.hit));
        match (fault.kind, fault.hit) {
            (Kind::SiteKill, Hit::Site(site)) => {
                self.join(site);
                for n in self.nodes_at(site) {
                    self.node_on(n);
                }
                for h in self.hosts_at(site) {
                    self.host_on(h);
                }
            }
            (_, Hit::Site(site)) => self.join(site),
            (Kind::HostCrash | Kind::DiskLies, Hit::Host(h)) => self.host_on(h),
            (Kind::HostPause, Hit::Host(h)) => self.resume_host(h, fault.detail),
            (Kind::GuardPause, Hit::Host(h)) => self.guard_pause(h, false),
            (Kind::MysqlDown, Hit::Host(h)) => {
                self.hosts[h].hold_mysql = false;
                self.mysql_start(h);
            }
            (Kind::MysqlPause, Hit::Host(h)) => self.mysql_pause(h, false),
            (Kind::ApplierLag, Hit::Host(h)) => self.hosts[h].mysql.lag = 400,
            (Kind::DiskHangs | Kind::DiskFull, Hit::Host(h)) => self.disk_returns(h),
            (Kind::ApplierStops, Hit::Host(h)) => self.conflict_is_mended(h),
            (Kind::Flood, Hit::Host(h)) => self.hosts[h].mysql.flooded = false,
            (Kind::DriversKill, Hit::Host(h)) => self.hosts[h].mysql.drivers_kill = false,
            (Kind::AckLost, Hit::Host(h)) => {
                self.hosts[h].mysql.loses_acks = false;
                self.quiet = false;
            }
            (Kind::AccountChanges, Hit::Host(h)) => self.hosts[h].mysql.accounts_change = false,
            (Kind::SlowDisk, Hit::Host(h)) => self.hosts[h].slow_disk = 0,
            (Kind::SlowDisk, Hit::Node(n)) => self.nodes[n].slow_disk = 0,
            (Kind::NodePause, Hit::Node(n)) => self.node_pause(n, false),
            (_, Hit::Node(n)) => self.node_on(n),
            (Kind::Double, _) => self.net.doubles = 0,
            (Kind::Loss | Kind::Slow, Hit::Way(a, b)) => self.net.trouble(a, b, 0, 0),
            (_, Hit::Way(a, b)) => {
                self.net.set(a, b, true, self.now);
                self.net.set(b, a, true, self.now);
            }
            (_, Hit::Host(_) | Hit::Nothing) => {}
        }
    }

    /// Somebody has removed the row that was in the way, and starts the applier again.
    fn conflict_is_mended(&mut self, h: usize) {
        let mysql = &mut self.hosts[h].mysql;
        let stopped = mysql.conflict.take().is_some();
        // A start of both threads of MariaDB's would drop what it acknowledged: that is the guard's to decide.
        let (maria, replicates) = (mysql.maria(), mysql.channel.is_some());
        let starts = |l: &Life| l.sql_errno != 0 && (!maria || l.io != Io::Stopped);
        if stopped && replicates && mysql.answering().is_some_and(starts) {
            self.applier_on(h);
        }
    }

    fn join(&mut self, site: usize) {
        for other in 0..PLACES {
            self.net.set(site, other, true, self.now);
            self.net.set(other, site, true, self.now);
        }
    }

    pub(crate) fn node_on(&mut self, n: usize) {
        if self.nodes[n].up || self.person.holds.contains(&n) {
            return;
        }
        self.nodes[n].up = true;
        self.nodes[n].boot += 1;
        self.nodes[n].powered = self.now;
        self.nodes[n].clock.boot(self.now);
        let life = self.nodes[n].lives;
        let at = self.now + SECOND + self.chance.below(2_000) * MS;
        self.queue.push(at, Event::Start { what: Unit::Node(n), life });
    }

    /// A host boots: the boot unit shuts the gate, or is missing where the database boots fenced.
    pub(crate) fn host_on(&mut self, h: usize) {
        if self.hosts[h].up || self.person.holds.contains(&(NODES + h)) {
            return;
        }
        let rules = !self.chance.one_in(4) && !self.ladder.alone;
        // Somebody had the ruleset saved, and an element without a timeout with it.
        let saved = self.two_sites() && rules && self.chance.one_in(4);
        let host = &mut self.hosts[h];
        let element = host.gate.element.filter(|(_, until)| saved && *until == Time::MAX);
        host.up = true;
        host.boot += 1;
        host.clock.boot(self.now);
        host.gate = Gate { rules, element, ..Gate::default() };
        (host.lease_until, host.unmeasured) = (0, 0);
        let (guard, mysql) = (host.guard_lives, host.mysql.lives as u32);
        let one = self.now + SECOND + self.chance.below(2_000) * MS;
        let two = self.now + SECOND + self.chance.below(2_000) * MS;
        self.queue.push(one, Event::Start { what: Unit::Guard(h), life: guard });
        self.queue.push(two, Event::Start { what: Unit::Mysql(h), life: mysql });
    }

    /// A stopped host goes on. Its kernel's timers stood still; its clock may have.
    fn resume_host(&mut self, h: usize, detail: u64) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if !host.paused {
            return;
        }
        host.paused = false;
        host.resumed = now;
        let lost = now - host.paused_at;
        if let Some((_, until)) = host.gate.element.as_mut() {
            *until = until.saturating_add(lost);
            host.gate.tainted = true;
        }
        if detail & 1 == 1 {
            host.clock.miss(now, lost);
            // Whatever was asked for before the stop ends by then.
            host.unmeasured = host.clock.read(now).0 + Timing::METRO.lease.as_micros() as u64;
        }
        let stash = std::mem::take(&mut host.stash);
        self.unstash(stash);
        self.dirty = true;
    }

    /// Nothing is wrong any more, and nothing goes wrong again.
    fn heal(&mut self) {
        self.note(format_args!("everything is healed"));
        self.net.heal(self.now);
        self.quiet = false;
        for n in 0..self.nodes.len() {
            self.nodes[n].slow_disk = 0;
            if self.nodes[n].paused {
                self.node_pause(n, false);
            }
            self.node_on(n);
        }
        for h in 0..self.hosts.len() {
            self.resume_host(h, 0);
            self.hosts[h].slow_disk = 0;
            self.disk_returns(h);
            self.conflict_is_mended(h);
            self.hosts[h].mysql.flooded = false;
            self.hosts[h].mysql.drivers_kill = false;
            self.hosts[h].hold_mysql = false;
            self.hosts[h].mysql.lag = 400;
            self.hosts[h].mysql.loses_acks = false;
            self.hosts[h].mysql.accounts_change = false;
            self.guard_pause(h, false);
            self.mysql_pause(h, false);
            self.host_on(h);
            // A database that nobody was to start is started; a configured timeout is set right.
            self.mysql_start(h);
        }
    }
}
