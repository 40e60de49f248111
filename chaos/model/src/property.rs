//! What must hold (DESIGN §4, Invariants), and what must be reachable at all.

use std::fmt;

use stateright::Property;

use crate::perform::Protocol;
use crate::state::{Durability, Kind, Phase, Site, State};

/// An invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// At most one server can acknowledge client writes.
    I1,
    /// Acknowledging needs an unexpired lease; pauses are exempt.
    I2,
    /// In `Sync`, every acknowledged transaction is on the acker.
    I3,
    /// OPEN(E+1) only after E is fenced or outwaited, and its acker is stopped.
    I4,
    /// The candidate has what it must have, applied, and nothing errant.
    I5,
    /// Epochs, versions, generations and latches never go down.
    I8,
    /// No acknowledged write is lost, but for those that a failover in anything but `Sync` gives up.
    Lost,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 7] = [
        Invariant::I1,
        Invariant::I2,
        Invariant::I3,
        Invariant::I4,
        Invariant::I5,
        Invariant::I8,
        Invariant::Lost,
    ];

    /// Its name; also of the property. `lost` stands for "no acknowledged write is lost".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Invariant::I1 => "I1",
            Invariant::I2 => "I2",
            Invariant::I3 => "I3",
            Invariant::I4 => "I4",
            Invariant::I5 => "I5",
            Invariant::I8 => "I8",
            Invariant::Lost => "lost",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that must be reachable, or the rest would hold of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    Failover,
    Switchover,
    Abort,
    SyncAgain,
    Failback,
}

impl Sight {
    /// All of them.
    pub const ALL: [Sight; 5] =
        [Sight::Failover, Sight::Switchover, Sight::Abort, Sight::SyncAgain, Sight::Failback];

    /// Its name; also of the property.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Sight::Failover => "failover",
            Sight::Switchover => "switchover",
            Sight::Abort => "abort",
            Sight::SyncAgain => "sync again",
            Sight::Failback => "failback",
        }
    }
}

impl State {
    /// A step broke it.
    pub(crate) fn breaks(&mut self, invariant: Invariant) {
        self.broken |= 1 << invariant as u8;
    }

    /// A client's write could be answered OK by this server: it runs, takes writes or has not told of some,
    /// the gate lets packets through, and where it waits for acks, its acker is attached.
    fn can_acknowledge(&self, site: Site) -> bool {
        let server = &self[site];
        let attached = self[site.other()].attached();
        let answers = if server.armed == 0 {
            server.writable || server.waiting != 0
        } else {
            server.writable && attached
        };
        server.runs() && server.gate != 0 && answers
    }

    fn holds(&self, invariant: Invariant) -> bool {
        let a = &self.authority;
        match invariant {
            Invariant::I1 => !Site::BOTH.iter().all(|s| self.can_acknowledge(*s)),
            Invariant::I2 => Site::BOTH.iter().all(|s| {
                let server = &self[*s];
                !self.can_acknowledge(*s) || server.late || server.lease == server.gate
            }),
            Invariant::I3 => {
                let acker = &self[a.acker_site()];
                let counts = a.durability == Durability::Sync && a.acker == Some(acker.start);
                !counts || self.told & !acker.held() == 0
            }
            Invariant::Lost => !a.phase.grants() || self.told & !self[a.primary].executed == 0,
            Invariant::I4 | Invariant::I5 | Invariant::I8 => self.broken & (1 << invariant as u8) == 0,
        }
    }

    fn shows(&self, sight: Sight) -> bool {
        let a = &self.authority;
        let open = a.phase == Phase::Serving && self[a.primary].open_at(a.epoch);
        // Said once of a move that came to its end.
        let moved = |kind| a.phase == Phase::Serving && a.epoch > 1 && self.execution.kind == kind;
        match sight {
            Sight::Failover => moved(Kind::Failover),
            Sight::Switchover => moved(Kind::Switchover),
            Sight::Abort => moved(Kind::Aborted),
            Sight::SyncAgain => {
                open && a.epoch > 1 && a.primary == Site::Mdc && a.durability == Durability::Sync
            }
            Sight::Failback => {
                open && a.epoch > 2 && a.primary == Site::Pdc && self.execution.kind != Kind::Aborted
            }
        }
    }
}

/// One function for each, since stateright takes plain ones.
macro_rules! each {
    ($always:ident, $($of:ident::$name:ident)*) => {
        vec![$(Property::$always($of::$name.name(), |m: &Protocol, s: &State| m.$always(s, $of::$name))),*]
    };
}

impl Protocol {
    fn always(&self, s: &State, invariant: Invariant) -> bool {
        self.unseen.contains(&invariant) || s.holds(invariant)
    }

    fn sometimes(&self, s: &State, sight: Sight) -> bool {
        s.shows(sight)
    }

    pub(crate) fn properties_of_all() -> Vec<Property<Protocol>> {
        let mut all = each!(always, Invariant::I1 Invariant::I2 Invariant::I3 Invariant::I4 Invariant::I5 Invariant::I8 Invariant::Lost);
        all.extend(
            each!(sometimes, Sight::Failover Sight::Switchover Sight::Abort Sight::SyncAgain Sight::Failback),
        );
        all
    }
}
