//! A cluster of replicas in one thread: virtual milliseconds, a seeded network, disks that keep
//! exactly what was synced, and checks of Raft's promises after every event.
//!
//! Messages are dropped, doubled, delayed and so reordered; a node crashes between any two acts of
//! its work. Everything random comes from the seed, so a failing seed is the whole story.

#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use failover_raft::{
    Change, Message, Next, Position, ReadRefused, Recovered, Replica, ReplicaConfig, Role, Work, next_step,
    wire,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub const TICK_MS: u64 = 50;

/// What the network and the power supply do.
#[derive(Clone, Copy)]
pub struct Faults {
    pub drop: f64,
    pub double: f64,
    pub delay_ms_max: u64,
    /// Chance of a crash at each point inside each work.
    pub crash: f64,
    /// A bug to prove that the checks have teeth: answers leave before the disk is written, and a
    /// crash loses what was not written.
    pub send_before_persist: bool,
}

pub const CALM: Faults =
    Faults { drop: 0.0, double: 0.0, delay_ms_max: 5, crash: 0.0, send_before_persist: false };

enum Event {
    Tick { node: u64 },
    Deliver { bytes: Vec<u8>, to: u64 },
    Restart { node: u64 },
}

pub struct Node {
    pub replica: Option<Replica>,
    pub disk: Recovered,
    /// The state machine: every applied value with its position. Volatile.
    pub applied: Vec<(u64, Vec<u8>)>,
    pub applied_index: u64,
    pub starts: u64,
}

pub struct Cluster {
    pub now_ms: u64,
    pub nodes: BTreeMap<u64, Node>,
    pub faults: Faults,
    /// Directed links that are cut.
    pub cut: BTreeSet<(u64, u64)>,
    pub violations: Vec<String>,
    /// Every entry that any node ever applied.
    pub committed: BTreeMap<u64, (u64, Vec<u8>)>,
    pub leaders: BTreeMap<u64, u64>,
    /// Reads on their way: the context and what was committed anywhere when it was asked.
    reads: BTreeMap<Vec<u8>, u64>,
    pub reads_done: u64,
    next_context: u64,
    pub refusals: Vec<String>,
    pub snapshot_every: u64,
    pub crashes: u64,
    pub trace: u64,
    pub events: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    pending: BTreeMap<u64, Event>,
    next_event: u64,
    random: StdRng,
    seed: u64,
    config: ReplicaConfig,
    preferred: u64,
}

impl Cluster {
    pub fn new(size: u64, seed: u64, faults: Faults) -> Self {
        Self::preferring(0, size, seed, faults)
    }

    /// As `new`, with priority 1 for the `preferred` node and 0 for the others.
    pub fn preferring(preferred: u64, size: u64, seed: u64, faults: Faults) -> Self {
        let voters: Vec<u64> = (1..=size).collect();
        let genesis = Recovered::genesis(&voters, encode_state(&[]));
        let config = ReplicaConfig {
            id: 0,
            election_ticks_min: 5,
            election_ticks_max: 10,
            heartbeat_ticks: 2,
            priority: 0,
        };
        let mut cluster = Self {
            now_ms: 0,
            nodes: BTreeMap::new(),
            faults,
            cut: BTreeSet::new(),
            violations: Vec::new(),
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            reads: BTreeMap::new(),
            reads_done: 0,
            next_context: 0,
            refusals: Vec::new(),
            snapshot_every: u64::MAX,
            crashes: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            events: 0,
            queue: BinaryHeap::new(),
            pending: BTreeMap::new(),
            next_event: 0,
            random: StdRng::seed_from_u64(seed),
            seed,
            config,
            preferred,
        };
        for id in voters {
            let node = Node {
                replica: None,
                disk: genesis.clone(),
                applied: Vec::new(),
                applied_index: 0,
                starts: 0,
            };
            cluster.nodes.insert(id, node);
            cluster.start(id);
            cluster.at(id, Event::Tick { node: id });
        }
        cluster
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        self.next_event += 1;
        self.queue.push(Reverse((self.now_ms + delay_ms, self.next_event)));
        self.pending.insert(self.next_event, event);
    }

    fn start(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.starts += 1;
        let priority = i64::from(id == self.preferred);
        let config = ReplicaConfig { id, priority, ..self.config.clone() };
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(id * 1_000 + node.starts);
        let mut replica = Replica::new(&config, node.disk.clone(), seed).unwrap();
        replica.keep_entries(5);
        node.applied = if node.disk.is_blank() { Vec::new() } else { decode_state(&node.disk.snapshot.data) };
        node.applied_index = node.disk.snapshot.get_metadata().index;
        node.replica = Some(replica);
    }

    /// A node that joins: an empty log, and nobody knows it yet.
    pub fn join(&mut self, id: u64) {
        let disk = Recovered::joining(b"nothing yet".to_vec());
        let node = Node { replica: None, disk, applied: Vec::new(), applied_index: 0, starts: 0 };
        assert!(self.nodes.insert(id, node).is_none(), "a node joins once");
        self.start(id);
        self.at(id, Event::Tick { node: id });
    }

    /// Takes the next step towards `target` on the leader; true when nothing is left to do.
    pub fn steer(&mut self, target: &BTreeSet<u64>) -> bool {
        let Some(leader) = self.leader() else { return false };
        let replica = self.replica(leader);
        if !replica.is_current() {
            return false;
        }
        let status = replica.status();
        match next_step(target, &status.members, leader, &status.progress, status.commit) {
            Next::Settled => return true,
            Next::Propose(step) => {
                let _ = replica.change_members(&step);
            }
            Next::HandOver(to) => {
                let _ = replica.transfer_leader(to);
            }
            Next::Wait(_) => {}
        }
        self.work(leader);
        false
    }

    pub fn crash(&mut self, id: u64) {
        self.crashes += 1;
        self.nodes.get_mut(&id).unwrap().replica = None;
        let delay = self.random.random_range(50..2_000);
        self.at(delay, Event::Restart { node: id });
    }

    /// One event; false if nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((at, event))) = self.queue.pop() else { return false };
        self.now_ms = at;
        self.events += 1;
        let event = self.pending.remove(&event).unwrap();
        match event {
            Event::Tick { node } => {
                // One that was taken away ticks no more.
                let Some(ticking) = self.nodes.get_mut(&node) else { return true };
                if let Some(replica) = &mut ticking.replica {
                    replica.tick();
                    self.work(node);
                }
                self.at(TICK_MS, Event::Tick { node });
            }
            Event::Deliver { bytes, to } => {
                let message = wire::decode(&bytes).unwrap();
                if !self.cut.contains(&(message.from, to)) {
                    self.deliver(to, message);
                }
            }
            Event::Restart { node } => {
                if self.nodes.get(&node).is_some_and(|node| node.replica.is_none()) {
                    self.start(node);
                    self.work(node);
                }
            }
        }
        true
    }

    pub fn run_for(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= until) {
            self.step();
        }
        self.now_ms = until;
    }

    /// Runs until `done`, at most `ms`; says whether it came true.
    pub fn run_until(&mut self, ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            if done(self) {
                return true;
            }
            self.step();
        }
        done(self)
    }

    pub fn deliver(&mut self, to: u64, message: Message) {
        if let Some(replica) = self.nodes.get_mut(&to).and_then(|node| node.replica.as_mut()) {
            if let Err(refused) = replica.step(message) {
                self.refusals.push(refused.to_string());
            }
            self.work(to);
        }
    }

    pub fn propose(&mut self, id: u64, data: &[u8]) -> Option<Position> {
        let replica = self.nodes.get_mut(&id).unwrap().replica.as_mut()?;
        let position = replica.propose(data.to_vec()).ok();
        self.work(id);
        position
    }

    /// Asks for a read at `id`; checked when it is confirmed.
    pub fn read(&mut self, id: u64) -> Option<Result<(), ReadRefused>> {
        self.next_context += 1;
        let context = self.next_context.to_le_bytes().to_vec();
        let committed = self.committed.keys().next_back().copied().unwrap_or(0);
        let replica = self.nodes.get_mut(&id).unwrap().replica.as_mut()?;
        let outcome = replica.read_index(context.clone());
        if outcome.is_ok() {
            self.reads.insert(context, committed);
        }
        self.work(id);
        Some(outcome)
    }

    pub fn leader(&self) -> Option<u64> {
        let mut leaders: Vec<(u64, u64)> = self
            .nodes
            .iter()
            .filter_map(|(&id, node)| Some((id, node.replica.as_ref()?.current())))
            .filter(|(_, change)| change.role == Role::Leader)
            .map(|(id, change)| (change.term, id))
            .collect();
        leaders.sort_unstable();
        leaders.last().map(|&(_, id)| id)
    }

    pub fn current(&self, id: u64) -> Change {
        self.nodes[&id].replica.as_ref().unwrap().current()
    }

    pub fn replica(&mut self, id: u64) -> &mut Replica {
        self.nodes.get_mut(&id).unwrap().replica.as_mut().unwrap()
    }

    pub fn isolate(&mut self, id: u64) {
        for &other in self.nodes.keys() {
            if other != id {
                self.cut.insert((id, other));
                self.cut.insert((other, id));
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Does all the work a node has, crashing wherever the faults say.
    pub fn work(&mut self, id: u64) {
        loop {
            let Some(replica) = &mut self.nodes.get_mut(&id).unwrap().replica else { return };
            let Some(work) = replica.ready() else { break };
            self.note(id, &work);
            if !self.do_work(id, work) {
                self.crash(id);
                return;
            }
        }
        self.snapshot_when_due(id);
    }

    /// False if the node crashes in it.
    fn do_work(&mut self, id: u64, work: Work) -> bool {
        if self.crashes_now() {
            return false;
        }
        self.send(id, &work.send_before);
        if self.faults.send_before_persist {
            self.send(id, &work.send_after);
        }
        if self.crashes_now() {
            return false;
        }
        // A commit index alone is not synced: a crash may or may not keep it.
        if work.persist.must_sync || self.random.random_bool(0.5) {
            self.nodes.get_mut(&id).unwrap().disk.absorb(&work.persist);
        }
        if self.crashes_now() {
            return false;
        }
        if !self.faults.send_before_persist {
            self.send(id, &work.send_after);
        }
        if self.crashes_now() {
            return false;
        }
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some(state) = &work.restored {
            node.applied = decode_state(state);
        }
        for entry in &work.committed {
            node.applied.push((entry.index, entry.data.to_vec()));
            let here = (entry.term, entry.data.to_vec());
            let first = self.committed.entry(entry.index).or_insert_with(|| here.clone());
            if *first != here {
                self.violations.push(format!("node {id} applied another entry {}", entry.index));
            }
        }
        assert!(work.applied >= node.applied_index);
        node.applied_index = work.applied;
        for (context, index) in &work.reads {
            if let Some(committed) = self.reads.remove(context) {
                self.reads_done += 1;
                if *index < committed {
                    self.violations.push(format!("read at {index} after {committed} was applied"));
                }
            }
        }
        node.replica.as_mut().unwrap().persisted();
        true
    }

    fn crashes_now(&mut self) -> bool {
        self.faults.crash > 0.0 && self.random.random_bool(self.faults.crash)
    }

    fn snapshot_when_due(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let replica = node.replica.as_mut().unwrap();
        let snapshot_index = replica.image().snapshot.get_metadata().index;
        if replica.applied() - snapshot_index < self.snapshot_every && !replica.wants_snapshot() {
            return;
        }
        let state = encode_state(&node.applied);
        let compaction = replica.snapshot_taken(node.applied_index, state).unwrap();
        node.disk.compact(&compaction);
        assert_eq!(node.disk.entries, replica.image().entries);
    }

    fn send(&mut self, from: u64, messages: &[Message]) {
        for message in messages {
            assert_eq!(message.from, from);
            let copies = 1 + u32::from(self.random.random_bool(self.faults.double));
            for _ in 0..copies {
                if self.random.random_bool(self.faults.drop) {
                    continue;
                }
                let delay = self.random.random_range(1..=self.faults.delay_ms_max);
                let event = Event::Deliver { bytes: wire::encode(message).unwrap(), to: message.to };
                if !self.cut.contains(&(from, message.to)) {
                    self.at(delay, event);
                }
            }
        }
    }

    /// Folds the work into the trace and checks that no term has two leaders.
    fn note(&mut self, id: u64, work: &Work) {
        let line = format!("{} {id} {work:?}", self.now_ms);
        for byte in line.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(Change { term, role: Role::Leader, .. }) = work.change
            && *self.leaders.entry(term).or_insert(id) != id
        {
            self.violations.push(format!("two leaders in term {term}"));
        }
    }

    /// Log matching: where two logs agree on an entry's term, they agree on all before it.
    pub fn check_logs_match(&mut self) {
        let logs: Vec<(&u64, &Recovered)> = self.nodes.iter().map(|(id, node)| (id, &node.disk)).collect();
        let mut found = Vec::new();
        for (position, (left_id, left)) in logs.iter().enumerate() {
            for (right_id, right) in &logs[position + 1..] {
                let mut same = false;
                for index in (1..=left.last_index().min(right.last_index())).rev() {
                    let (Some(here), Some(there)) = (left.term_at(index), right.term_at(index)) else {
                        break;
                    };
                    same |= here == there;
                    if same && here != there {
                        found.push(format!("logs of {left_id} and {right_id} differ at {index}"));
                    }
                }
            }
        }
        self.violations.extend(found);
    }

    /// Ends all faults, waits for quiet, and checks that every node has everything.
    pub fn heal_and_converge(&mut self) -> Result<(), String> {
        self.faults = CALM;
        self.heal();
        let marker = format!("marker {}", self.now_ms).into_bytes();
        let mut proposed = None;
        for _ in 0..200 {
            self.run_for(100);
            if let Some(leader) = self.leader()
                && proposed.is_none_or(|term| term < self.current(leader).term)
                && self.propose(leader, &marker).is_some()
            {
                proposed = Some(self.current(leader).term);
            }
            let all = self.nodes.values().all(|node| node.applied.iter().any(|(_, data)| *data == marker));
            if all {
                self.run_for(500);
                return self.check_converged();
            }
        }
        Err("cluster did not converge within 20 s of calm".to_owned())
    }

    fn check_converged(&mut self) -> Result<(), String> {
        self.check_logs_match();
        let expected: Vec<(u64, Vec<u8>)> =
            self.committed.iter().map(|(&index, (_, data))| (index, data.clone())).collect();
        for (id, node) in &self.nodes {
            if node.applied != expected {
                return Err(format!("node {id} lacks entries that were committed"));
            }
        }
        match self.violations.first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }
}

pub fn encode_state(applied: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut state = Vec::new();
    for (index, data) in applied {
        state.extend_from_slice(&index.to_le_bytes());
        state.extend_from_slice(&(data.len() as u64).to_le_bytes());
        state.extend_from_slice(data);
    }
    state
}

pub fn decode_state(mut state: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut applied = Vec::new();
    while !state.is_empty() {
        let (index, rest) = state.split_first_chunk::<8>().unwrap();
        let (length, rest) = rest.split_first_chunk::<8>().unwrap();
        let (data, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        applied.push((u64::from_le_bytes(*index), data.to_vec()));
        state = rest;
    }
    applied
}
