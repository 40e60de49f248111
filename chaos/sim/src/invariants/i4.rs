//! I4: OPEN(E+1) only after E is revoked and fenced or outwaited, and its ackers are stopped.

use failover_core::Durability;
use model::Epoch;
use runbooks_core::Evidence;

use crate::mysql::Io;
use crate::options::Invariant;
use crate::world::World;

impl World {
    /// `Serving(E+1)` was committed just now.
    pub(crate) fn check_open_is_safe(&mut self) {
        if let Err(text) = self.open_is_safe() {
            self.violate(Invariant::I4, text);
        }
    }

    fn open_is_safe(&self) -> Result<(), String> {
        let group = self.group().expect("something was opened");
        let revoked = group.revoked.as_ref().ok_or("nothing was revoked")?;
        let old = self.names.host(&revoked.primary.server).ok_or("the revoked server is unknown")?;
        let name = &revoked.primary.server;
        let opened = group.authority.as_ref().map_or(Epoch(0), |a| a.epoch);
        let served = group.epochs.range(..opened).rev().find(|(_, record)| record.served);
        if let Some((epoch, record)) = served.filter(|(e, _)| **e != revoked.epoch) {
            let last = &record.primary.server;
            return Err(format!(
                "epoch {epoch} of {last} served last, and {} of {name} is fenced",
                revoked.epoch
            ));
        }
        if self.can_acknowledge(old) {
            return Err(format!("{name} can still acknowledge writes of epoch {}", revoked.epoch));
        }
        let host = &self.hosts[old];
        // A fence is confirmed of what is so, not of what is about to be: nothing commits behind it.
        let fenced = group.running().and_then(|e| e.done("fence"));
        let lives = host.mysql.answering().filter(|l| {
            let opened = host.latch.as_ref().and_then(|latch| latch.opened.as_ref());
            opened.is_some_and(|o| o.life == l.start && o.epoch <= revoked.epoch)
        });
        if matches!(fenced, Some(Evidence::Fenced { .. })) && lives.is_some_and(|l| !l.read_only) {
            return Err(format!("{name} was taken for fenced, and its read_only is not on"));
        }
        let latched = host.latch.as_ref().map_or(Epoch(0), |l| l.fenced_through);
        let until = self.ladder.hold(host.lease_until);
        // A host that is off holds nothing, whatever its clock missed while it stood still before; and a lease that a
        // missed stop went through is exempt, as I2 has it, where there is a gate to be tainted and where there is none.
        let measured = host.lease_until > host.unmeasured;
        let stands = host.up && !host.paused && !host.gate.tainted && measured;
        let lease_over = !stands || host.clock.read(self.now).0 > until;
        // Its host was powered off by hand, and holds no lease of the boot that came after, if one did.
        let off = self
            .person
            .fenced
            .get(&old)
            .is_some_and(|boot| !host.up || (host.boot > *boot && host.lease_until == 0));
        if latched < revoked.epoch && !off {
            if revoked.durability != Durability::Sync {
                return Err(format!(
                    "epoch {} of {name} was {} and its guard has latched no fence",
                    revoked.epoch, revoked.durability
                ));
            }
            if !lease_over {
                return Err(format!("{name} holds an unexpired lease of epoch {}", revoked.epoch));
            }
        }
        for acker in &revoked.ackers {
            let Some(h) = self.names.host(&acker.server) else { continue };
            let running = self.hosts[h].mysql.life.as_ref().is_some_and(|l| l.io != Io::Stopped);
            let latched = self.hosts[h].latch.as_ref().map_or(Epoch(0), |l| l.no_source);
            if running || latched < revoked.epoch {
                return Err(format!("acker {} of epoch {} is not stopped", acker.server, revoked.epoch));
            }
        }
        Ok(())
    }
}
