//! The kernel's gate on a database host: an nftables set element whose timeout is the lease.
//!
//! The timeout counts from the moment of application, on a timer that stops while the host is
//! stopped. Each change is one transaction that makes the table anew.

use std::collections::BTreeSet;

use failover_core::{ENDLESS, GateAct, GateRead, Passing};
use model::{Epoch, ServerId};

use crate::event::Event;
use crate::options::Mutant;
use crate::place::{HOSTS, MS, Time};
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
    /// Of the other hosts, who may replicate from here; none where all may.
    pub passing: Option<[bool; HOSTS]>,
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
    /// The guard says who is to pass from its next act on.
    pub(crate) fn pass(&mut self, h: usize, passing: &Passing) {
        let names = &self.names.servers;
        let mask =
            |all: &BTreeSet<ServerId>| std::array::from_fn(|o| names.get(o).is_some_and(|n| all.contains(n)));
        self.hosts[h].passing = passing.as_ref().map(mask);
    }

    /// The gate of this host lets packets of that one's database through.
    pub(crate) fn lets_replicate(&self, source: usize, replica: usize) -> bool {
        let gate = &self.hosts[source].gate;
        !gate.rules || gate.passing.is_none_or(|all| all[replica])
    }

    /// Connections of whoever passes no more are reset, here at once.
    fn reset_barred(&mut self, h: usize) {
        let Some(life) = self.hosts[h].mysql.life.as_ref() else { return };
        let barred: Vec<usize> =
            life.attached.iter().map(|a| a.host).filter(|o| !self.lets_replicate(h, *o)).collect();
        for replica in barred {
            let life = self.hosts[h].mysql.life.as_mut().expect("seen above");
            life.attached.retain(|a| a.host != replica);
            self.tell_replica(h, replica, false);
        }
    }

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
                *gate = Gate { rules: flushed == 0, flushed, passing: host.passing, ..Gate::default() };
                GateRead::Shut
            }
            GateAct::Open { epoch, left } => {
                let endless = endless || left == ENDLESS;
                let ends = if endless { Time::MAX } else { now + host.clock.span(left) + MS };
                let element = Some((epoch, ends));
                let flushed = if silent { gate.flushed } else { 0 };
                let tainted = tainted || host.stretched;
                let passing = host.passing;
                *gate = Gate { rules: flushed == 0, element, tainted, passing, flushed, unguarded: false };
                GateRead::Open { epoch, left }
            }
        };
        self.reset_barred(h);
        self.dirty = true;
        self.queue.push(now + 500, Event::GateRead { host: h, life: guard, read });
    }
}
