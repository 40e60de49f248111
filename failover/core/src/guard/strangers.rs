//! Who may replicate from a primary whose commits wait for acks. A server that was an acker once, and stood still or was cut off
//! when the ackers changed, still asks for its acks to count: when it goes on it attaches before its own guard can say a word,
//! and its ack stands for an acker's (interleaving 52; MySQL counts acks, not names). So whoever is no acker, and is not known
//! to acknowledge nothing, is kept out by the gate, which is on this host and asks nobody. Where there is no gate its
//! attaching counts as absence, as in interleaving 47.

use std::collections::BTreeSet;

use model::{Epoch, ServerId, SyncGeneration};

use super::{Effect, Fencing, Guard};
use crate::{Defect, Durability};

/// Who passes the gate to replicate from here: everybody, or these.
pub type Passing = Option<BTreeSet<ServerId>>;

/// What the gate was last told, and whether it has been set since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bars {
    told: Passing,
    stand: bool,
    /// The arming, and who was heard since it was committed to acknowledge nothing: nobody begins to who is not named.
    arming: (Epoch, SyncGeneration),
    silent: BTreeSet<ServerId>,
}

impl Guard {
    /// Whoever is silent for a while stays what it was: an election must not end its replication.
    pub(super) fn see_strangers(&mut self) {
        let Some(arming) = self.known.as_ref().map(|k| (k.epoch, k.g)) else { return };
        if self.bars.arming != arming {
            self.bars.silent.clear();
            self.bars.arming = arming;
        }
        for peer in self.peers.iter().filter(|p| p.reachable) {
            match peer.acks {
                Some(true) => _ = self.bars.silent.remove(&peer.server),
                Some(false) => _ = self.bars.silent.insert(peer.server.clone()),
                None => {}
            }
        }
    }

    /// The simulator takes the gate away, to see what it is for; and with the rule behind it, which it would hide.
    fn everybody_passes(&self) -> bool {
        [Defect::StrangersPass, Defect::StrangersAcknowledge].into_iter().any(|d| self.config.defects.has(d))
    }

    /// The ackers, and whoever acknowledges nothing.
    fn passing(&self) -> Passing {
        // By its name: between two lives of its database its identity is not known.
        let named = self.known.as_ref()?;
        if named.primary.server != self.config.server || !named.phase.grants() {
            return None;
        }
        if matches!(named.durability, Durability::Async { .. }) || self.everybody_passes() {
            return None;
        }
        let ackers = named.acker_set.iter().map(|a| a.server.clone());
        Some(ackers.chain(self.bars.silent.iter().cloned()).collect())
    }

    /// Tells the gate ahead of its next act.
    pub(super) fn bars_goal(&mut self, out: &mut Vec<Effect>) {
        let passing = self.passing();
        if self.bars.told != passing {
            (self.bars.told, self.bars.stand) = (passing.clone(), false);
            out.push(Effect::Pass(passing));
        }
    }

    /// A gate act is done: what was told before it is in force.
    pub(super) fn bars_are_set(&mut self) {
        self.bars.stand = true;
    }

    /// The gate has been set since it was told who passes. That all do is in no hurry.
    pub(super) fn bars_stand(&self) -> bool {
        self.bars.stand || self.bars.told.is_none() || self.config.fencing == Fencing::Ladder
    }

    /// Nobody's ack can stand for an acker's: what commits wait for may be counted from here on.
    pub(super) fn strangers_are_out(&self) -> bool {
        self.bars_stand() && self.bars.told == self.passing()
            || self.config.fencing == Fencing::Ladder
            || self.everybody_passes()
    }
}
