//! Lives of the cluster as a node meets them, and who votes in the present one. Both happen where there is no witness:
//! nothing else forces or joins.

use std::collections::BTreeSet;

use failover_core::{OtherLife, hear_life};
use failover_raft::{Next, next_step};
use model::Incarnation;

use crate::event::Message;
use crate::node::Node;
use crate::place::{MDC, NODE_SITES, PDC};
use crate::world::World;

/// A leader looks after its members this often, in ticks.
const STEER_EVERY: u64 = 4;

impl Node {
    /// It heard that the cluster lives on without it, and takes part in nothing again until its log is another.
    pub fn is_over(&self) -> bool {
        self.superseded.is_some_and(|heard| heard.count() > self.incarnation.count())
    }

    /// It answers whoever asks it for its status.
    pub fn answers(&self) -> bool {
        self.up && !self.paused && self.run.is_some()
    }
}

impl World {
    /// What nodes say to one another goes behind the life that it belongs to.
    pub(crate) fn is_of_another_life(&mut self, n: usize, message: &Message) -> bool {
        match message {
            // Whatever is taken out, the logs of two lives are not one.
            Message::Raft { life, .. } => !self.same_life(n, *life) || self.nodes[n].incarnation != *life,
            Message::Beat { life, .. } => self.two_sites() && !self.same_life(n, *life),
            _ => false,
        }
    }

    /// What comes from `life` is taken. Every other one is refused, and a later one ends this node (I8).
    pub(crate) fn same_life(&mut self, n: usize, life: Incarnation) -> bool {
        let node = &self.nodes[n];
        let blank = node.run.as_ref().is_none_or(|r| r.state.incarnation == Incarnation(0));
        match hear_life(node.incarnation, blank, life, self.defects) {
            OtherLife::Same => true,
            OtherLife::Later => {
                self.node_is_over(n, life);
                false
            }
            OtherLife::Earlier => {
                self.truth.count("earlier-life-refused");
                false
            }
            OtherLife::Rival | OtherLife::Unfounded => false,
        }
    }

    /// It writes down what it heard and halts, answering SERVFAIL; or dies before that is on its disk.
    fn node_is_over(&mut self, n: usize, heard: Incarnation) {
        if self.chance.one_in(8) {
            return self.node_end(n);
        }
        self.truth.count("superseded");
        self.note_node(n, format_args!("its life is over: it heard of incarnation {heard}"));
        self.node_end(n);
        self.nodes[n].superseded = Some(heard);
    }

    /// In manual mode a site that is a quorum by itself may be in `Sync`: as the members stand at this node.
    pub(crate) fn heed_members(&mut self, n: usize) {
        if !self.two_sites() {
            return;
        }
        let Some(run) = self.nodes[n].run.as_mut() else { return };
        let members = run.replica.members();
        let alone = |site: &usize| members.suffice(|id| NODE_SITES[id as usize - 1] == *site);
        self.policy.alone =
            [PDC, MDC].into_iter().filter(alone).map(|site| self.names.sites[site].clone()).collect();
        if run.writing.is_some() || !run.ticks.is_multiple_of(STEER_EVERY) {
            return;
        }
        let target: BTreeSet<u64> = (1..=self.nodes.len() as u64).collect();
        let run = self.nodes[n].run.as_mut().expect("seen above");
        let status = run.replica.status();
        // What came of either shows in who the members are.
        match next_step(&target, &status.members, status.id, &status.progress, status.commit) {
            Next::Propose(step) => _ = run.replica.change_members(&step),
            Next::HandOver(to) => _ = run.replica.transfer_leader(to),
            Next::Settled | Next::Wait(_) => {}
        }
    }

    /// What this node answers on bound names counts: without a witness only where a quorum confirmed it in this boot.
    pub(crate) fn believed(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        !self.two_sites() || node.confirmed_boot == Some(node.boot)
    }
}
