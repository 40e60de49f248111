//! The kernel's gate on a database host: an nftables set element whose timeout is the lease.
//!
//! The timeout counts from the moment of application, on a timer that stops while the host is
//! stopped. Each change is one transaction that makes the table anew.

use failover_core::{ENDLESS, GateAct, GateRead};
use model::Epoch;

use crate::event::Event;
use crate::options::Mutant;
use crate::place::{MS, Time};
use crate::world::World;

/// Within this time after a stop the guard performs what it decided before it.
pub const RESUMED: Time = 500 * MS;

/// Rules that were flushed are asserted anew within T_H, and the time that a call to nft takes.
pub const ASSERTED: Time = 1_700 * MS;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// Our rules stand. Without them everything passes.
    pub rules: bool,
    /// The element and when it ends.
    pub element: Option<(Epoch, Time)>,
    /// A pause came between deciding on the element and its application: its end is no lease's end.
    pub tainted: bool,
    /// When somebody flushed the rules, and nobody has asserted them since; 0 for never.
    pub flushed: Time,
    /// Its guard stood still when that was, or soon after: nobody was there to assert them.
    pub unguarded: bool,
}

impl Gate {
    /// Clients' packets pass.
    pub fn passes(&self, now: Time) -> bool {
        !self.rules || self.open_for(now).is_some()
    }

    /// The epoch that it is open for.
    pub fn open_for(&self, now: Time) -> Option<Epoch> {
        self.element.filter(|(_, until)| *until > now).map(|(epoch, _)| epoch)
    }
}

impl World {
    /// Clients' packets pass on this host, one way or another.
    pub(crate) fn passes(&self, h: usize) -> bool {
        self.hosts[h].gate.passes(self.now) || self.broken(Mutant::ForgottenListener)
    }

    /// Somebody flushes the kernel's rules.
    pub(crate) fn flush(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let stands = !host.paused && host.guard.as_ref().is_some_and(|g| !g.paused);
        host.gate = Gate { flushed: self.now, unguarded: !stands, ..Gate::default() };
        self.dirty = true;
    }

    /// The guard stands still, or is no more.
    pub(crate) fn gate_unguarded(&mut self, h: usize) {
        let gate = &mut self.hosts[h].gate;
        gate.unguarded |= gate.flushed > 0 && self.now < gate.flushed + ASSERTED;
    }

    /// The guard has nft called.
    pub(crate) fn begin_gate_act(&mut self, h: usize, act: GateAct) {
        let takes = match self.chance.below(5) {
            0 => 10 * MS + self.chance.below(30) * MS,
            _ => MS + self.chance.below(5 * MS),
        };
        let host = &mut self.hosts[h];
        let Some(guard) = host.guard.as_ref().map(|g| g.life) else { return };
        let boot = host.boot;
        let tainted = host.resumed > 0 && self.now < host.resumed + RESUMED;
        let event = Event::GateApply { host: h, boot, life: guard, act, tainted };
        self.queue.push(self.now + takes, event);
    }

    /// The kernel takes it.
    pub(crate) fn gate_apply(&mut self, h: usize, guard: u32, act: GateAct, tainted: bool) {
        let now = self.now;
        let endless = self.broken(Mutant::GateWithoutTimeout);
        self.check_gate_stays_shut(h, act);
        let silent = self.broken(Mutant::RulesNotAsserted);
        let host = &mut self.hosts[h];
        let gate = &mut host.gate;
        let read = match act {
            GateAct::Shut => {
                let flushed = if silent { gate.flushed } else { 0 };
                *gate = Gate { rules: flushed == 0, flushed, ..Gate::default() };
                GateRead::Shut
            }
            GateAct::Open { epoch, left } => {
                let endless = endless || left == ENDLESS;
                let ends = if endless { Time::MAX } else { now + host.clock.span(left) + MS };
                let element = Some((epoch, ends));
                let flushed = if silent { gate.flushed } else { 0 };
                let tainted = tainted || host.stretched;
                *gate = Gate { rules: flushed == 0, element, tainted, flushed, unguarded: false };
                GateRead::Open { epoch, left }
            }
        };
        self.dirty = true;
        self.queue.push(now + 500, Event::GateRead { host: h, life: guard, read });
    }
}
