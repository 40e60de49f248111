//! After healing everything comes together: one server serves, names follow it, the others have
//! joined and durability is `Sync`; or one waits in quarantine for a person.

use failover_core::{Durability, Group, Phase};

use crate::mysql::{Disk, Io};
use crate::options::Invariant;
use crate::place::{HOST_SITES, SECOND, Time};
use crate::world::World;

/// A server that holds everything and has received nothing for so long has nothing on its way.
const ACKED_LONG_AGO: Time = 3 * SECOND;

impl World {
    /// At the end of a run.
    pub(crate) fn check_converged(&mut self) {
        if let Err(why) = self.converged() {
            let text = format!("{why} (the last decision held still because: {})", self.truth.held);
            self.violate(Invariant::Liveness, text);
        }
    }

    /// `CatchUp` was given up for want of acks, though the ackers have long had everything: an ack that was lost is
    /// made up for by the next one's (interleaving 24). Not where the guard or a server stood still.
    pub(crate) fn check_weakened_for_a_cause(&mut self, before: Option<&Group>) {
        let Some(authority) = before.and_then(|g| g.authority.as_ref()) else { return };
        let Some(primary) = self.names.host(&authority.primary.server) else { return };
        let host = &self.hosts[primary];
        let long = |since: Time| self.now > since + ACKED_LONG_AGO;
        let Some(life) = host.mysql.answering().filter(|l| l.source_enabled && l.operating) else { return };
        let writes = host.mysql.disk == Disk::Well;
        let stands = writes && !host.paused && long(host.resumed) && !host.mysql.waiting.is_empty();
        let idle = authority.acker_set.iter().all(|acker| {
            let Some(h) = self.names.host(&acker.server) else { return false };
            let (other, link) = (&self.hosts[h], self.net.both(HOST_SITES[primary], HOST_SITES[h]));
            let listens = life.attached.iter().any(|a| a.host == h && a.semi && long(a.since));
            let receives = other.mysql.answering().and_then(|l| l.connection);
            let connected = receives.is_some_and(|c| c.stalled.is_none() && c.source == primary);
            let all = other.mysql.held(primary) == host.mysql.logged(primary);
            link && listens
                && connected
                && all
                && long(other.mysql.received)
                && long(other.resumed)
                && !other.paused
        });
        if stands && idle && matches!(authority.durability, Durability::CatchUp { .. }) {
            let name = &authority.primary.server;
            let text =
                format!("{name} waited for acks in vain, of transactions that its ackers have long had");
            self.violate(Invariant::Liveness, text);
        }
    }

    pub(super) fn shut_because(&self, h: usize) -> String {
        let clock = self.hosts[h].clock.read(self.now);
        let guard = self.hosts[h].guard.as_ref();
        guard.and_then(|g| g.guard.report(clock).shut_because).unwrap_or_default()
    }

    /// The primary's disk forgot what a replica holds, and that one is no acker of the epoch any more:
    /// a person decides which of the two goes on.
    pub(crate) fn waits_for_a_person(&self, primary: usize) -> bool {
        let quarantined = self.group().is_some_and(|g| !g.returns.is_empty());
        self.forgot(primary) || (self.truth.counts.contains_key("disk-lied") && quarantined)
    }

    /// Its disk lied, and it stays shut for what it forgot.
    fn forgot(&self, primary: usize) -> bool {
        self.truth.counts.contains_key("disk-lied") && self.shut_because(primary).ends_with("missing here")
    }

    /// Why not everything has come together.
    pub(crate) fn converged(&self) -> Result<(), String> {
        let group = self.group().ok_or("the cluster was never founded")?;
        let authority = group.authority.as_ref().ok_or("the group was never started")?;
        if authority.phase != Phase::Serving {
            return Err(format!("the group is {}", authority.phase));
        }
        let primary = self.names.host(&authority.primary.server).ok_or("the primary is unknown")?;
        if !self.can_acknowledge(primary) {
            if self.forgot(primary) {
                return Ok(());
            }
            let why = self.shut_because(primary);
            return Err(format!("{} does not serve: {why}", authority.primary.server));
        }
        match &group.route {
            Some(route) if route.site == authority.primary.site && route.epoch == authority.epoch => {}
            route => return Err(format!("names point elsewhere: {route:?}")),
        }
        let mut waits = false;
        for o in self.others(primary) {
            let other = &self.names.servers[o];
            if group.returns.contains_key(other) {
                waits = true;
            } else if self.hosts[o].mysql.life.as_ref().is_none_or(|l| l.io != Io::Running) {
                return Err(format!("{other} has not joined"));
            }
        }
        if self.two_sites() {
            self.all_have_joined()?;
        }
        if waits {
            return Ok(());
        }
        if self.two_sites() {
            return self.durable_alone(authority);
        }
        if authority.durability != Durability::Sync {
            return Err(format!("durability is {}", authority.durability));
        }
        Ok(())
    }
}
