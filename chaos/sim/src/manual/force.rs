//! `twofold quorum force`, on one node after the other: stop it, ask the others, put the new log in place, start it.

use failover_core::{
    Asked, Command, Continued, FencedByHand, LogEnd, Said, State, against_following, against_force, apply,
    decode, encode, next_life,
};
use failover_raft::{Position, Recovered};
use model::{Incarnation, NodeId};

use super::{Back, Doing};
use crate::place::{HOST_SITES, NODE_SITES, SECOND, Time};
use crate::world::World;

/// A guard that a survivor heard so lately lives.
const HEARD: std::time::Duration = std::time::Duration::from_secs(3);
/// A person who is refused so often gives the other side its power back instead.
const TRIES: usize = 20;
/// The group is moved within this time, or given up on.
const MOVES_WITHIN: Time = 90 * SECOND;

/// What every voter starts from.
#[derive(Debug, Clone)]
pub struct Seed {
    continued: Continued,
    state: Vec<u8>,
    entry: Vec<u8>,
}

/// A force under way.
#[derive(Debug)]
pub struct Forcing {
    /// The voters of the new life.
    voters: Vec<usize>,
    /// Where it begins.
    first: usize,
    /// Those that are to follow.
    rest: Vec<usize>,
    seed: Option<Seed>,
    refused: usize,
    back: Back,
}

impl Forcing {
    /// Begins with the first of these.
    pub fn new(voters: Vec<usize>, back: Back) -> Self {
        Self { first: voters[0], voters, rest: Vec::new(), seed: None, refused: 0, back }
    }
}

impl World {
    /// One act of a force.
    pub(super) fn person_forces(&mut self, forcing: Forcing) -> Doing {
        let n = match &forcing.seed {
            None => forcing.first,
            Some(_) => match forcing.rest.last() {
                Some(next) => *next,
                None => return self.forced(forcing),
            },
        };
        // A fault may have taken its power meanwhile.
        if !self.nodes[n].up {
            return Doing::Forcing(forcing);
        }
        if !self.nodes[n].stopped {
            self.stop_node(n);
            return Doing::Forcing(forcing);
        }
        match forcing.seed.clone() {
            None => self.begins_from(n, forcing),
            Some(seed) => self.follows(n, &seed, forcing),
        }
    }

    fn begins_from(&mut self, n: usize, mut forcing: Forcing) -> Doing {
        let own = self.log_end(n);
        let others: Vec<Asked> =
            (0..self.nodes.len()).filter(|o| *o != n).map(|o| self.asked(n, o, &forcing.voters)).collect();
        let against = against_force(&own, &others);
        if !against.is_empty() {
            self.truth.count("force-refused");
            self.note_node(n, format_args!("force refused: {}", against.join("; ")));
            self.start_node(n);
            forcing.refused += 1;
            let quorum = others.iter().any(|o| o.said.as_ref().is_some_and(|s| s.quorum));
            if quorum || forcing.refused > TRIES {
                return Doing::BringingBack(forcing.back);
            }
            let end = |v: &usize| {
                let end = self.log_end(*v);
                (end.term, end.index)
            };
            forcing.first = forcing.voters.iter().copied().max_by_key(end).expect("it has voters");
            return Doing::Forcing(forcing);
        }
        let seed = self.seed(n, &forcing.voters);
        self.truth.count("force");
        self.become_voter(n, &seed, &forcing.voters);
        if self.chance.one_in(2) {
            self.start_node(n);
        }
        forcing.rest = forcing.voters.iter().copied().filter(|v| *v != n).collect();
        forcing.seed = Some(seed);
        Doing::Forcing(forcing)
    }

    fn follows(&mut self, n: usize, seed: &Seed, mut forcing: Forcing) -> Doing {
        let node = &self.nodes[n];
        let heard = node.superseded.filter(|_| node.is_over());
        let against = against_following(&self.log_end(n), heard, &seed.continued);
        if against.is_empty() {
            self.become_voter(n, seed, &forcing.voters);
            if self.chance.one_in(2) {
                self.start_node(n);
            }
            forcing.rest.pop();
            return Doing::Forcing(forcing);
        }
        // It goes further than the one that the person began from: that one goes on alone, and this one joins later.
        self.truth.count("follow-refused");
        self.note_node(n, format_args!("may not follow: {}", against.join("; ")));
        self.nodes[n].stopped = false;
        self.power_off(n);
        let first = forcing.first;
        Doing::Forcing(Forcing::new(vec![first], forcing.back))
    }

    /// All of them run; the group goes where they are.
    fn forced(&mut self, forcing: Forcing) -> Doing {
        for n in &forcing.voters {
            self.start_node(*n);
        }
        let site = NODE_SITES[forcing.first];
        let primary = self.primary_host().map(|h| HOST_SITES[h]);
        if primary.is_none_or(|s| s == site) {
            return Doing::BringingBack(forcing.back);
        }
        Doing::Moving { site, until: self.now + MOVES_WITHIN, back: forcing.back }
    }

    fn log_end(&self, n: usize) -> LogEnd {
        let node = &self.nodes[n];
        let end = node.disk.end();
        LogEnd { incarnation: node.incarnation, term: end.term, index: end.index }
    }

    /// Another node, asked from `from` by a person.
    fn asked(&self, from: usize, other: usize, voters: &[usize]) -> Asked {
        let node = &self.nodes[other];
        let reached =
            NODE_SITES[from] == NODE_SITES[other] || self.net.both(NODE_SITES[from], NODE_SITES[other]);
        let halted = node.up && !node.stopped && node.is_over();
        let run = node.run.as_ref().filter(|_| reached && node.answers());
        let clock = self.node_now(other);
        let said = run.map(|run| {
            let status = run.replica.status();
            let mute = |h: &usize| !voters.iter().any(|v| NODE_SITES[*v] == HOST_SITES[*h]);
            let heard = |h: &usize| run.desk.facts().report(&self.names.servers[*h], HEARD, clock).is_some();
            let hears = (0..self.hosts.len()).filter(mute).filter(heard);
            Said {
                log: LogEnd {
                    incarnation: node.incarnation,
                    term: status.last_term,
                    index: status.last_index,
                },
                quorum: self.fresh(other),
                hears: hears.map(|h| self.names.servers[h].clone()).collect(),
            }
        });
        Asked {
            node: self.names.nodes[other].clone(),
            voter: voters.contains(&other),
            lives: reached && (halted || said.is_some()),
            said,
        }
    }

    /// The state at the end of a stopped node's log, whether its last entries were committed or not, and the entry
    /// that begins the next life.
    fn seed(&mut self, n: usize, voters: &[usize]) -> Seed {
        let log = self.log_end(n);
        let image = &self.nodes[n].disk;
        let mut state: State = serde_json::from_slice(&image.snapshot.data).expect("our own snapshot");
        for (_, data) in image.payloads() {
            // A refusal is a result like another.
            let _ = apply(&mut state, decode(data).expect("an entry that this binary wrote"));
        }
        let mark = self.chance.next() as u32;
        let names: Vec<NodeId> = voters.iter().map(|v| self.names.nodes[*v].clone()).collect();
        let fenced =
            FencedByHand { by: "a person".into(), seen: "the other site is off: I stood before it".into() };
        let (incarnation, command): (Incarnation, Command) =
            next_life(log.incarnation, mark, &names, fenced, self.wall());
        self.note_node(n, format_args!("incarnation {incarnation} begins here, of {names:?}"));
        let bytes = serde_json::to_vec(&state).expect("state is representable");
        self.truth.incarnate(incarnation, state, log.index);
        Seed { continued: Continued { log, incarnation }, state: bytes, entry: encode(&command) }
    }

    fn become_voter(&mut self, n: usize, seed: &Seed, voters: &[usize]) {
        let mut ids: Vec<u64> = voters.iter().map(|v| *v as u64 + 1).collect();
        ids.sort_unstable();
        let end = Position { index: seed.continued.log.index, term: seed.continued.log.term };
        let node = &mut self.nodes[n];
        node.disk = Recovered::incarnation(&ids, end, seed.state.clone(), seed.entry.clone());
        node.incarnation = seed.continued.incarnation;
        self.note_node(n, format_args!("its log is of incarnation {} now", seed.continued.incarnation));
    }
}
