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

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// Our rules stand. Without them everything passes.
    pub rules: bool,
    /// The element and when it ends.
    pub element: Option<(Epoch, Time)>,
    /// A pause came between deciding on the element and its application: its end is no lease's end.
    pub tainted: bool,
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
    /// The guard has nft called.
    pub(crate) fn begin_gate_act(&mut self, h: usize, act: GateAct) {
        let takes = match self.chance.below(20) {
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
        let host = &mut self.hosts[h];
        let gate = &mut host.gate;
        let read = match act {
            GateAct::Shut => {
                *gate = Gate { rules: true, element: None, tainted: false };
                GateRead::Shut
            }
            GateAct::Open { epoch, left } => {
                let endless = endless || left == ENDLESS;
                let ends = if endless { Time::MAX } else { now + host.clock.span(left) + MS };
                let element = Some((epoch, ends));
                *gate = Gate { rules: true, element, tainted };
                GateRead::Open { epoch, left }
            }
        };
        self.dirty = true;
        self.queue.push(now + 500, Event::GateRead { host: h, life: guard, read });
    }
}
