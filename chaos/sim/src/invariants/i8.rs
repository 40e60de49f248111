//! I8: incarnations, epochs, versions and arming numbers never go down, and every receiver keeps the
//! highest it has seen on disk.

use failover_core::{Group, Latch, State};

use crate::options::Invariant;
use crate::world::World;

impl World {
    /// The committed state changed.
    pub(crate) fn check_numbers(&mut self, before: Option<&Group>) {
        let old = before.and_then(|g| g.authority.as_ref());
        let new = self.group().and_then(|g| g.authority.as_ref());
        if let (Some(old), Some(new)) = (old, new)
            && (new.stamp() < old.stamp() || new.epoch < old.epoch || new.g < old.g)
        {
            let text = format!("the committed numbers went down: {:?} to {:?}", old.stamp(), new.stamp());
            self.violate(Invariant::I8, text);
        }
    }

    /// A node takes over a leader's state.
    pub(crate) fn check_restored(&mut self, n: usize, state: &State) {
        let stamp = |s: &State| {
            s.groups
                .get(&self.names.group)
                .and_then(|g| g.authority.as_ref())
                .map(failover_core::Authority::stamp)
        };
        let mine = self.nodes[n].run.as_ref().and_then(|r| stamp(&r.state));
        if mine > stamp(state) {
            let text = format!("{} was given an older state than it had", self.names.nodes[n]);
            self.violate(Invariant::I8, text);
        }
    }

    /// A guard writes its latches.
    pub(crate) fn check_latch(&mut self, h: usize, latch: &Latch) {
        let Some(old) = &self.truth.latches[h] else { return };
        let down = latch.seen < old.seen
            || latch.fenced_through < old.fenced_through
            || latch.no_source < old.no_source
            || latch.g < old.g;
        if down {
            let text = format!("a latch of {} went down: {old:?} to {latch:?}", self.names.servers[h]);
            self.violate(Invariant::I8, text);
        }
    }
}
