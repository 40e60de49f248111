//! How each fault is done.

use failover_core::{Durability, HowItEnded, Phase};

use crate::event::Event;
use crate::fault::{Hit, Kind, Planned};
use crate::mysql::Disk;
use crate::options::Mutant;
use crate::place::{HOST_SITES, MDC, MS, NODES, OUTSIDE, PDC, SECOND, Time, WIT};
use crate::world::World;

impl World {
    /// The host of the primary as committed.
    pub(crate) fn primary_host(&self) -> Option<usize> {
        let group = self.truth.state.groups.values().next()?;
        self.names.host(&group.authority.as_ref()?.primary.server)
    }

    /// The host of a primary that serves in `Sync` while its ackers are well.
    pub(crate) fn synced_primary(&self) -> Option<usize> {
        let authority = self.truth.state.groups.values().next()?.authority.as_ref()?;
        let primary = self.names.host(&authority.primary.server)?;
        let well = authority.acker_set.iter().all(|acker| {
            let Some(other) = self.names.host(&acker.server).map(|h| &self.hosts[h]) else { return false };
            let start = other.mysql.answering().map(|l| l.start);
            let well = other.mysql.disk == Disk::Well;
            other.up && !other.paused && well && start == Some(acker.process_start)
        });
        (authority.phase == Phase::Serving && authority.durability == Durability::Sync && well)
            .then_some(primary)
    }

    pub(crate) fn leader_node(&self) -> Option<usize> {
        let lives = |n: &usize| self.nodes[*n].incarnation == self.truth.life;
        let nodes = (0..self.nodes.len()).filter(lives);
        nodes.filter_map(|n| Some((self.nodes[n].run.as_ref()?.leading?, n))).max().map(|(_, n)| n)
    }

    /// A fault begins.
    pub(crate) fn fault_begins(&mut self, index: usize) {
        let Planned { kind, lasts, detail, .. } = self.plan.faults[index].clone();
        if self.now >= self.plan.heals {
            return;
        }
        let hit = self.strike(kind, detail, lasts);
        if kind == Kind::Unheard {
            self.plan.ambush = Some(index);
        }
        self.faults += 1;
        self.note(format_args!("fault: {kind:?} {hit:?} for {} ms", lasts / MS));
        self.plan.faults[index].hit = hit;
        if hit != Hit::Nothing {
            let at = (self.now + lasts).min(self.plan.heals);
            self.queue.push(at, Event::FaultEnds { index });
        }
    }

    /// The host that a fault of a database aims at: the primary's two times in three.
    fn aim(&self, detail: u64) -> usize {
        match self.primary_host() {
            Some(primary) if !detail.is_multiple_of(3) => primary,
            Some(primary) => self.another(primary, detail / 3),
            None => (detail % self.hosts.len() as u64) as usize,
        }
    }

    /// One of the other hosts.
    fn another(&self, h: usize, detail: u64) -> usize {
        let others: Vec<usize> = self.others(h).collect();
        others[(detail % others.len() as u64) as usize]
    }

    fn strike(&mut self, kind: Kind, detail: u64, lasts: Time) -> Hit {
        let host = self.aim(detail);
        let more = detail >> 8;
        let node = (more % self.nodes.len() as u64) as usize;
        let links = if self.two_sites() { 1 } else { 3 };
        let pair = [(PDC, MDC), (PDC, WIT), (MDC, WIT)][(more % links) as usize];
        let way = if more & 64 == 0 { pair } else { (pair.1, pair.0) };
        match kind {
            Kind::SiteKill => {
                let witness = more.is_multiple_of(8) && !self.two_sites();
                self.kill_site(if witness { WIT } else { HOST_SITES[host] })
            }
            Kind::HostCrash => self.crash_host(host),
            Kind::DiskLies => {
                // Only where an acker is bound to have what is lost, and can say so: nothing is promised elsewhere.
                let between = self.net.clear(PDC, MDC);
                let Some(host) = self.synced_primary().filter(|_| between) else { return Hit::Nothing };
                let hit = self.crash_host(host);
                self.disk_lied(host);
                hit
            }
            Kind::HostPause => self.pause_host(host),
            Kind::GuardCrash => {
                self.guard_end(host);
                Hit::Nothing
            }
            Kind::GuardPause => {
                self.guard_pause(host, true);
                Hit::Host(host)
            }
            Kind::MysqlKill => {
                self.mysql_end(host, HowItEnded::Killed, true);
                Hit::Nothing
            }
            Kind::MysqlDown => {
                self.hosts[host].hold_mysql = true;
                self.mysql_end(host, HowItEnded::Killed, true);
                Hit::Host(host)
            }
            Kind::MysqlPause => {
                self.mysql_pause(host, true);
                Hit::Host(host)
            }
            Kind::MysqlShutdown => {
                // On a host that stands still nobody stops anything.
                let rebuilding = self.hosts[host].paused
                    || self.hosts[host].mysql.answering().is_none_or(|l| l.rebuilding);
                // Its unit is made so that a server whose commits wait is killed: interleaving 7.
                let waits = !self.hosts[host].mysql.waiting.is_empty() || self.writes_wait(host);
                if !rebuilding && waits && !self.broken(Mutant::StopsInOrder) {
                    self.mysql_end(host, HowItEnded::Killed, true);
                } else if !rebuilding {
                    self.mysql_shutdown(host);
                }
                Hit::Nothing
            }
            Kind::AckerRestart => {
                let acker = self.primary_host().map_or(host, |p| self.another(p, more));
                self.mysql_end(acker, HowItEnded::Killed, true);
                Hit::Nothing
            }
            Kind::AckTimeout => {
                // Where neither gate nor watchdog stands behind a guard that is stopped, it must not be touched.
                let bare = self.ladder.alone && !self.ladder.watchdog;
                if let Some(life) = self.hosts[host].mysql.life.as_mut().filter(|_| !bare) {
                    life.ack_timeout = Some((6 + more % 5) * SECOND);
                }
                Hit::Nothing
            }
            Kind::ApplierLag => {
                // A primary applies nothing: it is a replica that lags.
                let replica = self.primary_host().map_or(host, |p| self.another(p, detail));
                self.hosts[replica].mysql.lag = (20 + more % 300) * MS;
                Hit::Host(replica)
            }
            Kind::Cut => self.cut(pair.0, pair.1, true),
            Kind::CutOneWay => self.cut(way.0, way.1, false),
            Kind::Isolate => self.isolate(HOST_SITES[host], false),
            Kind::IsolateAll => self.isolate(HOST_SITES[host], true),
            Kind::Loss => {
                self.net.trouble(pair.0, pair.1, 20 + (more % 300) as u32, 0);
                Hit::Way(pair.0, pair.1)
            }
            Kind::Slow => {
                self.net.trouble(pair.0, pair.1, 0, (5 + more % 700) * MS);
                Hit::Way(pair.0, pair.1)
            }
            Kind::Double => {
                self.net.doubles = 20 + (more % 400) as u32;
                Hit::Way(pair.0, pair.1)
            }
            Kind::LeaderKill => {
                let leader = self.leader_node().unwrap_or(node);
                self.node_end(leader);
                Hit::Nothing
            }
            Kind::NodePause => {
                let node = if more & 32 == 0 { self.leader_node().unwrap_or(node) } else { node };
                self.node_pause(node, true);
                Hit::Node(node)
            }
            Kind::NodeDown => self.node_off(node),
            Kind::WitnessLoss => self.node_off(NODES - 1),
            Kind::Drift => {
                let ppm = (more % 1_900) as i64 - 950;
                let nodes = self.nodes.len();
                let who = (detail % (nodes + self.hosts.len()) as u64) as usize;
                let clock =
                    if who < nodes { &mut self.nodes[who].clock } else { &mut self.hosts[who - nodes].clock };
                clock.set_rate(self.now, ppm);
                Hit::Nothing
            }
            Kind::Switchover => {
                if let Some(leader) = self.leader_node() {
                    self.order_switchover(leader, more & 32 == 0);
                }
                Hit::Nothing
            }
            Kind::Failover => {
                if let Some(leader) = self.leader_node() {
                    self.think_of_failover(leader, lasts);
                }
                Hit::Nothing
            }
            Kind::Unheard => Hit::Nothing,
            Kind::AccountChanges => {
                self.hosts[host].mysql.accounts_change = true;
                Hit::Host(host)
            }
            Kind::AckLost => {
                let acker = self.primary_host().map_or(host, |p| self.another(p, more));
                self.hosts[acker].mysql.loses_acks = true;
                self.quiet = true;
                Hit::Host(acker)
            }
            Kind::DiskHangs | Kind::DiskFull if self.hosts[host].mysql.disk != Disk::Well => Hit::Nothing,
            Kind::DiskHangs => {
                self.disk_fails(host, Disk::Hangs);
                Hit::Host(host)
            }
            Kind::DiskFull => {
                self.disk_fails(host, Disk::Full);
                Hit::Host(host)
            }
            Kind::ApplierStops => {
                let replica = self.primary_host().map_or(host, |p| self.another(p, more));
                self.applier_stops(replica, more);
                Hit::Host(replica)
            }
            Kind::Flood => {
                self.hosts[host].mysql.flooded = true;
                Hit::Host(host)
            }
            Kind::DriversKill => {
                self.hosts[host].mysql.drivers_kill = true;
                Hit::Host(host)
            }
            Kind::Flush => {
                self.flush(host);
                Hit::Nothing
            }
            Kind::SlowDisk => {
                let slow = (5 + more % 300) * MS;
                if more & 32 == 0 {
                    self.nodes[node].slow_disk = slow;
                    Hit::Node(node)
                } else {
                    self.hosts[host].slow_disk = slow;
                    Hit::Host(host)
                }
            }
        }
    }

    /// One time in two for a row that is there already, which stays until somebody has looked at it; else for a lock
    /// that was held for long, or by somebody's KILL.
    fn applier_stops(&mut self, h: usize, detail: u64) {
        if detail & 1 == 0 {
            self.hosts[h].mysql.conflict = Some(1062);
        } else if let Some(life) = self.hosts[h].mysql.life.as_mut().filter(|l| l.sql) {
            life.sql = false;
            life.sql_errno = if detail & 2 == 0 { 1205 } else { 1756 };
        }
    }

    /// `Sync` was committed just now: who lay in wait for that strikes.
    pub(crate) fn spring(&mut self) {
        let Some(index) = self.plan.ambush.take().filter(|_| self.now < self.plan.heals) else { return };
        let Some(primary) = self.primary_host() else { return };
        let hit = self.isolate(HOST_SITES[primary], false);
        self.mysql_end(primary, HowItEnded::Killed, true);
        self.plan.faults[index].hit = hit;
        let at = (self.now + self.plan.faults[index].lasts).min(self.plan.heals);
        self.queue.push(at, Event::FaultEnds { index });
    }

    pub(crate) fn node_off(&mut self, n: usize) -> Hit {
        self.nodes[n].up = false;
        self.nodes[n].paused = false;
        self.node_end(n);
        Hit::Node(n)
    }

    /// The links go silent first, then every process is gone at once: no reset tells anyone.
    fn kill_site(&mut self, site: usize) -> Hit {
        self.isolate(site, true);
        for n in self.nodes_at(site) {
            self.node_off(n);
        }
        for h in self.hosts_at(site) {
            self.crash_host(h);
        }
        Hit::Site(site)
    }

    /// A host without power: its kernel's gate and sockets are gone, its disks stay.
    pub(crate) fn crash_host(&mut self, h: usize) -> Hit {
        let host = &mut self.hosts[h];
        host.up = false;
        host.paused = false;
        host.watchdog = None;
        host.stash.clear();
        host.stash_guard.clear();
        host.stash_mysql.clear();
        host.queued.clear();
        self.mysql_end(h, HowItEnded::Killed, false);
        self.power_cut(h);
        self.guard_end(h);
        Hit::Host(h)
    }

    fn pause_host(&mut self, h: usize) -> Hit {
        let host = &mut self.hosts[h];
        if !host.up || host.paused {
            return Hit::Nothing;
        }
        host.paused = true;
        host.paused_at = self.now;
        self.gate_unguarded(h);
        self.tell_replicas(h, false);
        self.dirty = true;
        Hit::Host(h)
    }

    fn cut(&mut self, a: usize, b: usize, both: bool) -> Hit {
        self.net.set(a, b, false, self.now);
        if both {
            self.net.set(b, a, false, self.now);
        }
        Hit::Way(a, b)
    }

    /// Cuts a site from the other sites, and from the clients outside.
    fn isolate(&mut self, site: usize, clients: bool) -> Hit {
        for other in [PDC, MDC, WIT, OUTSIDE] {
            if other != site && (clients || other != OUTSIDE) {
                self.cut(site, other, true);
            }
        }
        Hit::Site(site)
    }
}
