//! After healing everything comes together: one server serves, names follow it, the others have
//! joined and durability is `Sync`; or one waits in quarantine for a person.

use failover_core::{Durability, Phase};

use crate::mysql::Io;
use crate::options::Invariant;
use crate::world::World;

impl World {
    /// At the end of a run.
    pub(crate) fn check_converged(&mut self) {
        if let Err(why) = self.converged() {
            let text = format!("{why} (the last decision held still because: {})", self.truth.held);
            self.violate(Invariant::Liveness, text);
        }
    }

    fn shut_because(&self, h: usize) -> String {
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
