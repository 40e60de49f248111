//! Hosts without a gate: the ladder alone fences there, and on some a watchdog resets the host when
//! its guard does not feed it.

use std::time::Duration;

use failover_core::{Fencing, Input, WatchdogAct};

use crate::event::Event;
use crate::options::Mutant;
use crate::place::{MS, SECOND, Time};
use crate::world::World;

/// `F_max`: what the ladder may take after the lease ran out.
const LADDER_MAX: Duration = Duration::from_secs(3);
/// The watchdog resets its host when it was not fed for so long: `F_max` less what the guard waits
/// before it starves it.
const WATCHDOG: Time = 2 * SECOND;

/// How the hosts of one run are fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ladder {
    /// By the ladder alone.
    pub alone: bool,
    /// With a watchdog.
    pub watchdog: bool,
}

impl Ladder {
    /// A quarter of the seeds has no gates, and half of these have watchdogs; one watchdog more stands
    /// beside gates.
    pub fn of(seed: u64) -> Self {
        Self { alone: seed % 4 == 3, watchdog: matches!(seed % 8, 5 | 7) }
    }

    /// `F_max`; nothing behind gates.
    pub fn max(self) -> Duration {
        if self.alone { LADDER_MAX } else { Duration::ZERO }
    }

    /// Until when a lease protects its holder from others, on its host's clock: in a boot that granted
    /// none, never.
    pub fn hold(self, lease_until: u64) -> u64 {
        if lease_until == 0 { 0 } else { lease_until + self.max().as_micros() as u64 }
    }

    /// What the guard is told.
    pub fn fencing(self) -> Fencing {
        if self.alone { Fencing::Ladder } else { Fencing::Gate }
    }
}

impl World {
    pub(crate) fn watchdog_act(&mut self, h: usize, act: WatchdogAct) {
        let boot = self.hosts[h].boot;
        match act {
            WatchdogAct::Arm | WatchdogAct::Feed => {
                let ends = self.now + WATCHDOG;
                self.hosts[h].watchdog = Some(ends);
                self.queue.push(ends, Event::Watchdog { host: h, boot, ends });
            }
            WatchdogAct::Disarm => self.hosts[h].watchdog = None,
        }
        if act == WatchdogAct::Arm
            && let Some(guard) = self.hosts[h].guard.as_mut()
        {
            guard.inputs.push_front(Input::Watchdog { armed: true });
        }
    }

    /// Nobody fed it: the host is reset, and boots by itself.
    pub(crate) fn watchdog_ends(&mut self, h: usize, ends: Time) {
        let asleep = self.broken(Mutant::WatchdogAsleep);
        if asleep || self.hosts[h].watchdog != Some(ends) || !self.hosts[h].up {
            return;
        }
        self.note_host(h, format_args!("reset by its watchdog"));
        self.truth.count("watchdog-reset");
        self.crash_host(h);
        let at = self.now + 3 * SECOND + self.chance.below(2_000) * MS;
        self.queue.push(at, Event::PowerOn { host: h });
    }
}
