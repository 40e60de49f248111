//! Reads that a quorum confirms, and what rests on them: answers to renewals, and the freshness of
//! the names.
//!
//! One Safe round is on its way at a time, as in the driver of `failover-raft`: whoever asks after
//! it began waits for the next.

use std::rc::Rc;

use failover_core::{Renewal, Timing};
use model::Timestamp;

use crate::event::Message;
use crate::options::Mutant;
use crate::place::NODES;
use crate::world::World;

/// Reads that may wait; beyond it they are lost, and guards repeat theirs.
const ASKS_MAX: usize = 512;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A guard's renewal, to be answered by the way it came.
    Renewal { host: usize, via: Option<usize>, renewal: Rc<Renewal>, received: Timestamp },
    /// A follower; `sent` is its own clock.
    Node { node: usize, sent: u64 },
    /// This node itself.
    Own { sent: Timestamp },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Reads {
    waiting: Vec<Ask>,
    round: Option<(u64, Vec<Ask>)>,
    confirmed: Vec<(u64, Vec<Ask>)>,
    rounds: u64,
}

impl Reads {
    /// Asks for a read.
    pub fn ask(&mut self, ask: Ask) {
        if self.waiting.len() < ASKS_MAX {
            self.waiting.push(ask);
        }
    }

    /// A quorum confirmed somewhere else that this index suffices.
    pub fn later(&mut self, index: u64, ask: Ask) {
        self.confirmed.push((index, vec![ask]));
    }

    /// A quorum confirmed a round.
    pub fn confirmed(&mut self, context: &[u8], index: u64) {
        match self.round.take() {
            Some((round, asks)) if round.to_le_bytes() == context => self.confirmed.push((index, asks)),
            other => self.round = other,
        }
    }

    /// Rounds on their way end without a word.
    pub fn deposed(&mut self) {
        self.waiting.clear();
        self.round = None;
    }
}

impl World {
    /// Begins a round if somebody waits and none is on its way.
    pub(crate) fn begin_round(&mut self, n: usize) {
        let run = self.nodes[n].run.as_mut().expect("it runs");
        if run.leading.is_none() || run.reads.round.is_some() || run.reads.waiting.is_empty() {
            return;
        }
        let next = run.reads.rounds + 1;
        if run.replica.read_index(next.to_le_bytes().to_vec()).is_ok() {
            run.reads.rounds = next;
            run.reads.round = Some((next, std::mem::take(&mut run.reads.waiting)));
        }
    }

    /// Answers what is confirmed and applied.
    pub(crate) fn answer_reads(&mut self, n: usize) {
        loop {
            let run = self.nodes[n].run.as_mut().expect("it runs");
            let applied = run.applied;
            let Some(position) = run.reads.confirmed.iter().position(|(index, _)| *index <= applied) else {
                return;
            };
            let (index, asks) = run.reads.confirmed.swap_remove(position);
            for ask in asks {
                self.answer_read(n, index, ask);
            }
        }
    }

    fn answer_read(&mut self, n: usize, index: u64, ask: Ask) {
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        match ask {
            Ask::Own { sent } => {
                run.confirmed = run.confirmed.max(Some(sent));
                let node = &mut self.nodes[n];
                node.confirmed_boot = Some(node.boot);
            }
            Ask::Node { node, sent } => self.send(n, node, Message::ReadAt { sent, index }),
            Ask::Renewal { host, via, renewal, received } => {
                if run.leading.is_none() {
                    return;
                }
                let answer = run.desk.on_renewal(&run.state, &renewal, received, clock);
                let answer = Rc::new(answer);
                let to = via.unwrap_or(NODES + host);
                self.send(n, to, Message::Answer { host, answer });
            }
        }
    }

    /// A guard's renewal came in: the report is filed, and the leader will answer.
    pub(crate) fn on_renewal(&mut self, n: usize, host: usize, via: Option<usize>, renewal: Rc<Renewal>) {
        let clock = self.node_now(n);
        let seen = renewal.report.latch.seen.incarnation;
        if seen > self.nodes[n].incarnation && !self.same_life(n, seen) {
            return;
        }
        let passes_nothing = self.broken(Mutant::PassesNothingOn);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let known = run.desk.facts().servers.get(&renewal.report.server);
        let new = known.is_none_or(|k| {
            k.report.boot != renewal.report.boot || k.report.sequence < renewal.report.sequence
        });
        if new {
            run.desk.on_report(renewal.report.clone(), clock);
        }
        if run.leading.is_some() {
            run.reads.ask(Ask::Renewal { host, via, renewal, received: clock });
            self.pump(n);
        } else if via.is_none()
            && !passes_nothing
            && let Some(leader) = run.leader.filter(|l| *l != n)
        {
            self.send(n, leader, Message::Renewal { host, via: Some(n), renewal });
        }
    }

    /// Every node has its freshness confirmed now and then.
    pub(crate) fn confirm_freshness(&mut self, n: usize) {
        let sent = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        if run.leading.is_some() {
            run.reads.ask(Ask::Own { sent });
        } else if let Some(leader) = run.leader.filter(|l| *l != n) {
            self.send(n, leader, Message::AskRead { node: n, sent: sent.0 });
        }
    }

    /// A quorum confirmed this node's state within 2·T_H.
    pub(crate) fn fresh(&self, n: usize) -> bool {
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_ref();
        if self.broken(Mutant::NeverStale) {
            return true;
        }
        run.and_then(|r| r.confirmed).is_some_and(|at| clock.since(at) <= Timing::METRO.lease * 2)
    }
}
