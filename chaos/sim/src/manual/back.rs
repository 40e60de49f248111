//! What was fenced comes back: power, then its databases by the usual rules, and its nodes by joining, one by one.

use std::collections::BTreeSet;

use failover_core::State;
use failover_raft::Recovered;
use model::Incarnation;

use super::Doing;
use crate::place::{MDC, NODE_SITES, NODES, PDC, SECOND, Time};
use crate::world::World;

/// Power comes back so long after the move at least, and at most.
const OFF: (Time, Time) = (2 * SECOND, 30 * SECOND);
/// A node that is up for so long and has heard of no other life is joined all the same.
const UNHEARD: Time = 20 * SECOND;

/// How what is without power comes back.
#[derive(Debug)]
pub struct Back {
    /// Not before; behind healing at once.
    after: Time,
    /// The nodes without power are a quorum of the life that they know, and would let their database write: it gets
    /// its power only when they have heard of the new one.
    quorum: bool,
    /// The person waits for the link as well.
    linked: bool,
    /// The folders of nodes are put aside before they have power.
    aside: bool,
    /// When power came back.
    powered: Option<Time>,
}

impl World {
    /// How the nodes that are about to be fenced come back.
    pub(super) fn back_of(&mut self, nodes: &BTreeSet<usize>, forced: bool) -> Back {
        Back {
            after: self.now + self.chance.between(OFF.0, OFF.1),
            quorum: forced && nodes.len() > self.nodes.len() / 2,
            linked: self.chance.one_in(2),
            aside: self.chance.one_in(4),
            powered: None,
        }
    }

    /// One act of it.
    pub(super) fn person_brings_back(&mut self, mut back: Back) -> Doing {
        let linked = self.net.both(PDC, MDC);
        let healed = self.now >= self.plan.heals;
        match back.powered {
            None if self.now < back.after && !healed => {}
            None if back.linked && !linked => {}
            None => {
                let nodes: Vec<usize> = self.person.holds.iter().copied().filter(|e| *e < NODES).collect();
                for n in nodes {
                    if back.aside && self.nodes[n].incarnation != self.truth.life {
                        self.blank(n);
                    }
                    self.power_on(n);
                }
                back.powered = Some(self.now);
                if !back.quorum {
                    self.power_on_databases();
                }
            }
            Some(at) => {
                let heard = (0..self.nodes.len()).all(|n| self.knows(n) || self.nodes[n].is_over());
                let unheard = self.person.reach.is_some_and(|since| self.now - since.max(at) > UNHEARD);
                if heard || unheard {
                    self.power_on_databases();
                }
                if self.person_joins_the_next(unheard) && self.person.holds.is_empty() {
                    return Doing::Watching;
                }
            }
        }
        Doing::BringingBack(back)
    }

    fn power_on_databases(&mut self) {
        let hosts: Vec<usize> = self.person.holds.iter().copied().filter(|e| *e >= NODES).collect();
        for endpoint in hosts {
            self.power_on(endpoint);
        }
    }

    fn power_on(&mut self, endpoint: usize) {
        self.person.holds.remove(&endpoint);
        if endpoint < NODES {
            self.note_node(endpoint, format_args!("has its power back"));
            self.node_on(endpoint);
        } else {
            self.note_host(endpoint - NODES, format_args!("has its power back"));
            self.host_on(endpoint - NODES);
        }
    }

    /// Its log is of the present life.
    fn knows(&self, n: usize) -> bool {
        self.nodes[n].incarnation == self.truth.life
    }

    /// One node after the other: its folder aside, `serve --join`, and the next when it holds the state. True when
    /// all are in.
    fn person_joins_the_next(&mut self, unheard: bool) -> bool {
        let joining = |n: &usize| self.knows(*n) && self.nodes[*n].disk.is_blank();
        if (0..self.nodes.len()).any(|n| joining(&n)) {
            return false;
        }
        let Some(n) = (0..self.nodes.len()).find(|n| !self.knows(*n)) else { return true };
        let node = &self.nodes[n];
        if !node.up || !(node.is_over() || unheard || node.stopped) {
            return false;
        }
        if !node.stopped {
            self.stop_node(n);
            return false;
        }
        self.blank(n);
        self.start_node(n);
        false
    }

    /// The folder put aside, a log that is to join the life that the others name.
    fn blank(&mut self, n: usize) {
        let state = serde_json::to_vec(&State::default()).expect("state is representable");
        let life: Incarnation = self.truth.life;
        let node = &mut self.nodes[n];
        node.disk = Recovered::joining(state);
        (node.incarnation, node.confirmed_boot, node.superseded) = (life, None, None);
        self.truth.count("joined");
        let site = self.names.sites[NODE_SITES[n]].clone();
        self.note_node(n, format_args!("of {site} is to join incarnation {life} with an empty log"));
    }
}
