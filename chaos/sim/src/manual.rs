//! A person, where there is no witness and nothing moves by itself (docs/guide/two-sites.md).
//!
//! ```text
//!   watches ─► no quorum, a site is gone ─► powers it off ─► forces ─┬─► fails over ─► gives power back ─► joins
//!          └─► the primary is gone, or shut ──(powers its host off)──┘                                     │
//!      ▲────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! The person sees what `twofold status` shows and what stands in the racks, is late, and tells no lies: a host that was
//! said to be fenced is off, and stays off until the group has been moved. What is forced, stated and joined goes by the
//! rules that the commands go by: `against_force`, `loss_of`, `fenced_by_hand`, `next_step`.
//!
//! Deliberately absent: two people at work at once; both halves forced.

mod back;
mod force;
mod moves;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Event;
use crate::invariants::Survivor;
use crate::place::{Endpoint, HOST_SITES, MDC, MS, NODES, PDC, SECOND, Time};
use crate::world::World;

pub use back::Back;
pub use force::Forcing;

/// Between two looks.
const LOOK: Time = 600 * MS;
/// A person begins to act after so long at least, and at most.
const PATIENCE: (Time, Time) = (3 * SECOND, 20 * SECOND);
/// Some wait whether it mends itself.
const WAITS: Time = 60 * SECOND;

/// See the module.
#[derive(Debug, Default)]
pub struct Person {
    /// What has no power by this person's hand, until it is given back.
    pub holds: BTreeSet<Endpoint>,
    /// The boot of each host in which it was powered off.
    pub fenced: BTreeMap<usize, u32>,
    /// The primary as it was last seen to serve, for the check of what an endless lease is worth.
    pub survivor: Option<Survivor>,
    /// Since when the sites hear one another, and some node is of the present life: whoever is of another could hear
    /// of it.
    pub reach: Option<Time>,
    doing: Doing,
    unwell: Option<(Time, Time)>,
    /// When a quarantined server is looked at.
    tidies: Time,
}

/// What the person is busy with.
#[derive(Debug, Default)]
pub enum Doing {
    /// Watching.
    #[default]
    Watching,
    /// A new life is begun on the nodes that are left.
    Forcing(Forcing),
    /// The group is moved to a site, or given up on at some time.
    Moving { site: usize, until: Time, back: Back },
    /// What was powered off comes back.
    BringingBack(Back),
}

impl World {
    /// The person comes to work.
    pub(crate) fn person_begins(&mut self) {
        if self.two_sites() {
            self.queue.push(self.now + SECOND, Event::PersonLooks);
        }
    }

    /// The person looks, and does the next thing.
    pub(crate) fn person_looks(&mut self) {
        let next = self.now + LOOK / 2 + self.chance.below(LOOK);
        self.queue.push(next, Event::PersonLooks);
        self.check_survivor();
        let heard = self.net.both(PDC, MDC) && (0..self.nodes.len()).any(|n| self.is_of_this_life(n));
        self.person.reach = heard.then(|| self.person.reach.unwrap_or(self.now));
        let then = match std::mem::take(&mut self.person.doing) {
            Doing::Watching => self.person_watches(),
            Doing::Forcing(forcing) => self.person_forces(forcing),
            Doing::Moving { site, until, back } => self.person_moves(site, until, back),
            Doing::BringingBack(back) => self.person_brings_back(back),
        };
        self.person.doing = then;
    }

    fn person_watches(&mut self) -> Doing {
        if self.looks_well() {
            self.person.unwell = None;
            self.person_tidies_up();
            return Doing::Watching;
        }
        let (since, patience) = match self.person.unwell {
            Some(known) => known,
            None => {
                let waits = if self.chance.one_in(4) { WAITS } else { 0 };
                let patience = self.chance.between(PATIENCE.0, PATIENCE.1) + waits;
                self.person.unwell = Some((self.now, patience));
                return Doing::Watching;
            }
        };
        if self.now - since < patience {
            return Doing::Watching;
        }
        self.person.unwell = None;
        if self.a_quorum_confirms() {
            return self.person_leaves_the_primary();
        }
        // Behind healing a quorum comes by itself.
        if self.now >= self.plan.heals { Doing::Watching } else { self.person_fences_a_site() }
    }

    /// A quorum confirms some node, and its primary is heard and serves.
    fn looks_well(&self) -> bool {
        let Some(primary) = self.primary_host() else { return true };
        self.a_quorum_confirms() && self.is_heard(primary) && self.can_acknowledge(primary)
    }

    fn a_quorum_confirms(&self) -> bool {
        (0..self.nodes.len()).any(|n| self.is_of_this_life(n) && self.fresh(n))
    }

    /// A node that answers and knows the cluster as it lives now.
    fn is_of_this_life(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let state = node.run.as_ref().map(|r| r.state.incarnation);
        node.answers() && node.incarnation == self.truth.life && state == Some(self.truth.life)
    }

    /// The leader hears this host's guard.
    fn is_heard(&self, h: usize) -> bool {
        let Some(leader) = self.leader_node() else { return false };
        let clock = self.node_now(leader);
        let run = self.nodes[leader].run.as_ref().expect("it leads");
        let fresh = self.policy.timing.fresh();
        run.desk.facts().report(&self.names.servers[h], fresh, clock).is_some()
    }

    /// Without a quorum: one of the two sites is gone, and the other one is to go on alone.
    fn person_fences_a_site(&mut self) -> Doing {
        let [pdc, mdc] = [PDC, MDC].map(|site| self.nodes_at(site).any(|n| self.is_of_this_life(n)));
        let linked = self.net.both(PDC, MDC);
        let active = self.primary_host().map_or(PDC, |h| HOST_SITES[h]);
        let site = match (pdc, mdc) {
            (true, false) => PDC,
            (false, true) => MDC,
            // Each goes on without the other: writes go on where they are, or somebody wants them elsewhere.
            (true, true) if !linked => {
                if self.chance.one_in(3) {
                    1 - active
                } else {
                    active
                }
            }
            _ => return Doing::Watching,
        };
        let voters: Vec<usize> = self.nodes_at(site).filter(|n| self.is_of_this_life(*n)).collect();
        let others: BTreeSet<usize> = (0..self.nodes.len()).filter(|n| !voters.contains(n)).collect();
        self.truth.count("site-fenced");
        let back = self.back_of(&others, true);
        for n in others {
            self.power_off(n);
        }
        for h in self.hosts_at(1 - site) {
            self.power_off(NODES + h);
        }
        Doing::Forcing(Forcing::new(voters, back))
    }

    /// Takes the power from a node's host or a database's, for good.
    fn power_off(&mut self, endpoint: Endpoint) {
        self.person.holds.insert(endpoint);
        if let Some(h) = endpoint.checked_sub(NODES) {
            self.person.fenced.insert(h, self.hosts[h].boot);
            self.note_host(h, format_args!("a person takes its power"));
            self.crash_host(h);
        } else {
            self.note_node(endpoint, format_args!("a person takes its power"));
            self.node_off(endpoint);
        }
    }

    /// `systemctl stop`.
    fn stop_node(&mut self, n: usize) {
        self.nodes[n].stopped = true;
        self.note_node(n, format_args!("a person stops it"));
        self.node_end(n);
    }

    /// `systemctl start`.
    fn start_node(&mut self, n: usize) {
        self.nodes[n].stopped = false;
        self.node_start(n);
    }
}
