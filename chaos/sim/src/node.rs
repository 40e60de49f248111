//! A node's process: one replica of consensus, the state it applied, its desk, and what it does when
//! it leads. Its raft thread stands still while its disk writes; messages wait.

mod executor;
mod leader;
mod lives;
mod reads;

use std::collections::{BTreeMap, VecDeque};

use failover_core::{Command, Desk, Event as Happened, Refusal, State, Timing, apply_without};
use failover_raft::{Recovered, Replica, ReplicaConfig, Role, Work};
use gslb_core::Snapshot;
use model::{Incarnation, Timestamp};
use runbooks_core::{ExecutionId, StepId};

use crate::event::{Event, Message, Unit};
use crate::place::{HOSTS, MS, NODE_SITES, NODES, Time};
use crate::world::World;

pub use executor::Task;
pub use reads::Reads;

/// Messages that wait behind a write; beyond it they are lost.
const INBOX_MAX: usize = 1_024;
/// Entries between two snapshots: few, so that snapshots are met in every run.
const SNAPSHOT_EVERY: u64 = 150;
/// Entries kept behind one.
const ENTRIES_KEPT: u64 = 40;

/// What a proposal was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The first entry of all.
    Found,
    /// A decision.
    Change,
    /// A step's intent.
    Started(ExecutionId, StepId),
    /// A step's outcome.
    Ended(ExecutionId, StepId),
    /// A change that a step consists of.
    Step(ExecutionId, StepId),
}

/// A node as its host keeps it.
pub struct Node {
    /// Its disk.
    pub disk: Recovered,
    /// The life of the cluster that its log is of.
    pub incarnation: Incarnation,
    /// A later one that it heard of, on its disk.
    pub superseded: Option<Incarnation>,
    /// Its service is stopped by a person.
    pub stopped: bool,
    /// Its host's present boot.
    pub boot: u32,
    /// When that began.
    pub powered: Time,
    /// The boot in which a quorum last confirmed its names, on its disk.
    pub confirmed_boot: Option<u32>,
    /// Lives so far.
    pub lives: u32,
    /// The process.
    pub run: Option<Box<NodeProcess>>,
    /// The host's clock.
    pub clock: crate::clock::Clock,
    /// Stopped, with its host.
    pub paused: bool,
    /// The host is on.
    pub up: bool,
    /// What could not happen meanwhile.
    pub stash: Vec<Event>,
    /// Microseconds that an fsync takes more.
    pub slow_disk: u64,
}

/// Input of the raft thread.
pub enum Input {
    /// From a peer.
    Raft(Box<failover_raft::Message>),
    /// The clock.
    Tick,
}

/// The process.
pub struct NodeProcess {
    /// Which life.
    pub life: u32,
    /// Consensus.
    pub replica: Replica,
    /// A work that waits for the disk.
    pub writing: Option<Box<Work>>,
    /// What came meanwhile.
    pub inbox: VecDeque<Input>,
    /// The applied state.
    pub state: State,
    /// Through which entry.
    pub applied: u64,
    /// Facts.
    pub desk: Desk,
    /// The believed leader, as an endpoint.
    pub leader: Option<usize>,
    /// It leads in this term.
    pub leading: Option<u64>,
    /// Proposals to make.
    pub to_propose: VecDeque<(Command, Purpose)>,
    /// Proposals made: term and purpose, by index.
    pub proposed: BTreeMap<u64, (u64, Purpose)>,
    /// A decision of its own is on its way.
    pub deciding: bool,
    /// Reads.
    pub reads: Reads,
    /// The executor's steps under way.
    pub tasks: Vec<Task>,
    /// Number of the next order.
    pub next_call: u64,
    /// When each guard was heard directly, by this node's clock.
    pub heard: [Timestamp; HOSTS],
    /// What each node said that it hears, and when.
    pub views: [(Timestamp, u8); NODES],
    /// The version that guards were last told.
    pub told: Option<model::Version>,
    /// Ticks so far.
    pub ticks: u64,
    /// When the last quorum-confirmed read was asked for.
    pub confirmed: Option<Timestamp>,
    /// What it answers on the bound name.
    pub dns: Snapshot,
}

impl World {
    /// A supervisor starts a node.
    pub(crate) fn node_start(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if !node.up || node.run.is_some() || node.stopped || node.is_over() {
            return;
        }
        node.lives += 1;
        let life = node.lives;
        let config = ReplicaConfig {
            id: n as u64 + 1,
            election_ticks_min: 5,
            election_ticks_max: 10,
            heartbeat_ticks: 2,
            priority: 0,
        };
        let seed = self.seed ^ ((n as u64 + 1) << 56) ^ (u64::from(life) << 40);
        let mut replica =
            Replica::new(&config, node.disk.clone(), seed).expect("what a replica wrote it can read");
        replica.keep_entries(ENTRIES_KEPT);
        let snapshot = &node.disk.snapshot;
        let state: State = serde_json::from_slice(&snapshot.data).expect("our own snapshot");
        let dns = self.dns.snapshot(&self.names, &state);
        let applied = snapshot.get_metadata().index;
        node.run = Some(Box::new(NodeProcess {
            life,
            replica,
            writing: None,
            inbox: VecDeque::new(),
            state,
            applied,
            desk: self.policy.desk(),
            leader: None,
            leading: None,
            to_propose: VecDeque::new(),
            proposed: BTreeMap::new(),
            deciding: false,
            reads: Reads::default(),
            tasks: Vec::new(),
            next_call: u64::from(life) << 32,
            heard: [Timestamp(0); HOSTS],
            views: [(Timestamp(0), 0); NODES],
            told: None,
            ticks: 0,
            confirmed: None,
            dns,
        }));
        let tick = self.chance.below(50 * MS);
        self.queue.push(self.now + tick, Event::NodeTick { node: n, life });
        self.pump(n);
    }

    /// It dies: what its disk had not written is gone.
    pub(crate) fn node_end(&mut self, n: usize) {
        let again = 300 * MS + self.chance.below(900) * MS;
        let half = self.chance.one_in(2);
        let node = &mut self.nodes[n];
        let Some(run) = node.run.take() else { return };
        // A write under way may have reached the disk though nobody heard of it.
        if let Some(work) = run.writing.filter(|_| half) {
            node.disk.absorb(&work.persist);
        }
        node.stash.clear();
        self.note_node(n, format_args!("node ends"));
        if self.nodes[n].up {
            self.queue.push(self.now + again, Event::Start { what: Unit::Node(n), life: run.life });
        }
    }

    /// Its host is stopped or goes on.
    pub(crate) fn node_pause(&mut self, n: usize, paused: bool) {
        self.nodes[n].paused = paused;
        if !paused {
            let stash = std::mem::take(&mut self.nodes[n].stash);
            self.unstash(stash);
        }
    }

    /// The node's own clock.
    pub(crate) fn node_now(&self, n: usize) -> Timestamp {
        self.nodes[n].clock.read(self.now)
    }

    pub(crate) fn node_tick(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let Some(run) = node.run.as_mut() else { return };
        let life = run.life;
        run.ticks += 1;
        let ticks = run.ticks;
        if run.writing.is_none() {
            run.inbox.push_back(Input::Tick);
        }
        let next = now + node.clock.span(Timing::METRO.tick);
        self.queue.push(next, Event::NodeTick { node: n, life });
        if ticks.is_multiple_of(4) {
            self.beat(n);
        }
        if ticks.is_multiple_of(16) {
            self.confirm_freshness(n);
        }
        self.lead(n);
        self.pump(n);
    }

    /// The raft thread's loop: take inputs, then work, until the disk is busy or nothing is left.
    pub(crate) fn pump(&mut self, n: usize) {
        loop {
            let Some(run) = self.nodes[n].run.as_mut() else { return };
            if run.writing.is_some() {
                return;
            }
            while let Some(input) = run.inbox.pop_front() {
                match input {
                    Input::Tick => run.replica.tick(),
                    // A peer's message that no correct peer would send cannot come here.
                    Input::Raft(message) => {
                        let _ = run.replica.step(*message);
                    }
                }
            }
            self.propose_waiting(n);
            self.begin_round(n);
            let run = self.nodes[n].run.as_mut().expect("it runs");
            let Some(work) = run.replica.ready() else { break };
            self.begin_work(n, work);
        }
    }

    fn begin_work(&mut self, n: usize, mut work: Work) {
        if let Some(change) = work.change {
            self.role_changed(n, change);
        }
        let before = std::mem::take(&mut work.send_before);
        self.send_raft(n, before);
        if work.persist.must_sync {
            let at = self.now + self.fsync(n);
            let run = self.nodes[n].run.as_mut().expect("it runs");
            run.writing = Some(Box::new(work));
            let life = run.life;
            self.queue.push(at, Event::NodeDisk { node: n, life });
            return;
        }
        if work.persist.hard_state.is_some() && self.chance.one_in(2) {
            self.nodes[n].disk.absorb(&work.persist);
        }
        self.end_work(n, work);
    }

    /// The disk has written.
    pub(crate) fn node_disk(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(work) = node.run.as_mut().and_then(|r| r.writing.take()) else { return };
        node.disk.absorb(&work.persist);
        self.end_work(n, *work);
        self.pump(n);
        self.lead(n);
        self.pump(n);
    }

    fn end_work(&mut self, n: usize, work: Work) {
        self.send_raft(n, work.send_after);
        if let Some(bytes) = &work.restored {
            let state: State = serde_json::from_slice(bytes).expect("a leader's own snapshot");
            self.check_restored(n, &state);
            let dns = self.dns.snapshot(&self.names, &state);
            let run = self.nodes[n].run.as_mut().expect("it runs");
            run.state = state;
            run.dns = dns;
        }
        for entry in &work.committed {
            self.apply_entry(n, entry.index, entry.term, &entry.data);
        }
        let run = self.nodes[n].run.as_mut().expect("it runs");
        run.applied = work.applied;
        run.replica.persisted();
        for (context, index) in work.reads {
            run.reads.confirmed(&context, index);
        }
        self.answer_reads(n);
        self.snapshot_when_due(n);
    }

    fn apply_entry(&mut self, n: usize, index: u64, term: u64, data: &[u8]) {
        let life = self.nodes[n].incarnation;
        let command = self.truth.committed(life, index, term, data);
        self.check_committed(life, index, &command);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let outcome = apply_without(self.defects, &mut run.state, (*command).clone());
        let mine = run.proposed.remove(&index);
        let routed =
            matches!(&outcome, Ok(events) if events.iter().any(|e| matches!(e, Happened::Routed { .. })));
        if routed {
            let dns = self.dns.snapshot(&self.names, &run.state);
            run.dns = dns;
        }
        if let Some((mine_term, purpose)) = mine {
            let settled: Result<(), Option<Refusal>> = if mine_term == term {
                outcome.as_ref().map(|_| ()).map_err(|r| Some(r.clone()))
            } else {
                Err(None)
            };
            self.settled(n, purpose, settled);
        }
    }

    fn snapshot_when_due(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let run = node.run.as_mut().expect("it runs");
        let due = run.applied >= run.replica.image().snapshot_index() + SNAPSHOT_EVERY;
        if !due && !run.replica.wants_snapshot() {
            return;
        }
        let bytes = serde_json::to_vec(&run.state).expect("state is representable");
        let compaction = run.replica.snapshot_taken(run.applied, bytes).expect("it is applied");
        node.disk.compact(&compaction);
    }

    fn send_raft(&mut self, n: usize, messages: Vec<failover_raft::Message>) {
        let life = self.nodes[n].incarnation;
        for message in messages {
            let to = message.to as usize - 1;
            self.send(n, to, Message::Raft { life, message: Box::new(message) });
        }
    }

    /// A message for the node.
    pub(crate) fn node_message(&mut self, n: usize, from: usize, direct: bool, message: Message) {
        let clock = self.node_now(n);
        if self.nodes[n].run.is_some() && self.is_of_another_life(n, &message) {
            return;
        }
        let Some(run) = self.nodes[n].run.as_mut() else { return };
        if direct && from >= NODES {
            run.heard[from - NODES] = clock;
        }
        match message {
            Message::Raft { message, .. } => {
                if run.inbox.len() < INBOX_MAX {
                    run.inbox.push_back(Input::Raft(message));
                }
                if run.writing.is_none() {
                    let before = run.applied;
                    self.pump(n);
                    let run = self.nodes[n].run.as_ref().expect("it runs");
                    if run.leading.is_some() && run.applied != before {
                        self.lead(n);
                        self.pump(n);
                    }
                }
            }
            Message::Renewal { host, via, renewal } => self.on_renewal(n, host, via, renewal),
            Message::Answer { host, answer } => self.send(n, NODES + host, Message::Answer { host, answer }),
            Message::Reply { call, outcome } => {
                self.order_answered(n, call, (*outcome).clone());
                self.lead(n);
                self.pump(n);
            }
            Message::Beat { node, hears, .. } => {
                run.views[node] = (clock, hears);
                self.file_vantage(n, NODE_SITES[node]);
            }
            Message::AskRead { node, sent } => {
                if run.leading.is_some() {
                    run.reads.ask(reads::Ask::Node { node, sent });
                    self.pump(n);
                }
            }
            Message::ReadAt { sent, index } => {
                run.reads.later(index, reads::Ask::Own { sent: Timestamp(sent) });
                self.answer_reads(n);
            }
            Message::Told(_) | Message::Order { .. } => {}
        }
    }

    fn role_changed(&mut self, n: usize, change: failover_raft::Change) {
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        run.leader = change.leader.map(|id| id as usize - 1);
        let leads = change.role == Role::Leader;
        let was = run.leading;
        if leads && was == Some(change.term) {
            return;
        }
        if was.is_some() {
            run.leading = None;
            run.deciding = false;
            run.to_propose.clear();
            run.proposed.clear();
            run.tasks.clear();
            run.reads.deposed();
            run.desk.on_deposed();
        }
        if leads {
            run.leading = Some(change.term);
            run.told = None;
            run.desk.on_elected(clock);
            self.truth.elections += 1;
            self.note_node(n, format_args!("leads in term {}", change.term));
        }
    }
}
