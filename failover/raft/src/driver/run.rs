//! The thread's loop: take what waits, tick, do raft's work, publish.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::handle::{Input, MemberError, ProposeError, Proposed, Queued, ReadError, TransferError};
use super::waiting::{Proposals, ProposeAnswer, Reads};
use super::{DriverConfig, StateMachine};
use crate::membership::Members;
use crate::replica::{
    Change, Position, Progress, ProposeRefused, ReadRefused, Replica, ReplicaStatus, Role, TransferRefused,
    Work,
};
use crate::store::{Store, StoreError};
use crate::wire;

/// Inputs taken before raft's work is done. It makes one sync of many proposals, and is small
/// enough to leave a tick its time.
const INPUTS_PER_TURN: usize = 256;

/// Why raft ended on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// For people: an error with its causes, a panic's words, or that it was asked to.
    pub why: String,
}

/// What is known on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub id: u64,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads, as far as is known.
    pub leader: Option<u64>,
    /// Known to be on a quorum.
    pub commit: u64,
    /// Applied by the state machine.
    pub applied: u64,
    /// It leads, and its state holds everything that any earlier leader committed.
    pub current: bool,
    /// End of the log.
    pub last_index: u64,
    /// Where the latest snapshot stands.
    pub snapshot_index: u64,
    /// The members as the leader sees them, by id; empty elsewhere.
    pub progress: Vec<Progress>,
    /// The members as applied here.
    pub members: Members,
    /// On the leader: a moment at or after its election, in µs of the configured clock.
    pub elected_at: Option<u64>,
    /// When role, term or leader last changed, in µs of the configured clock.
    pub since: u64,
    /// Messages from peers that were refused since the start, and the last reason.
    pub refused: u64,
    /// The last reason for a refusal.
    pub refused_last: Option<String>,
    /// Set once raft has ended here.
    pub stopped: Option<Stopped>,
    /// The thread has let go of disk and state machine.
    pub ended: bool,
}

impl RaftStatus {
    pub(super) fn at_start(replica: &Replica, now: u64) -> Self {
        let mut status = Self {
            id: 0,
            role: Role::Follower,
            term: 0,
            leader: None,
            commit: 0,
            applied: 0,
            current: false,
            last_index: 0,
            snapshot_index: 0,
            progress: Vec::new(),
            members: Members::default(),
            elected_at: None,
            since: now,
            refused: 0,
            refused_last: None,
            stopped: None,
            ended: false,
        };
        status.take(replica.status());
        status
    }

    fn take(&mut self, status: ReplicaStatus) {
        let ReplicaStatus {
            id,
            change,
            commit,
            applied,
            current,
            last_index,
            snapshot_index,
            progress,
            members,
        } = status;
        self.members = members;
        self.current = current;
        let Change { leader, term, role } = change;
        (self.id, self.role, self.term, self.leader) = (id, role, term, leader);
        (self.commit, self.applied, self.last_index) = (commit, applied, last_index);
        (self.snapshot_index, self.progress) = (snapshot_index, progress);
    }
}

/// Everything the thread owns.
pub(super) struct Body<M, O> {
    replica: Replica,
    store: Option<Store>,
    machine: M,
    outbound: O,
    proposals: Proposals,
    reads: Reads,
    /// The status as last published, and where to publish.
    published: RaftStatus,
    status: watch::Sender<RaftStatus>,
    queued: Queued,
    stopping: Arc<AtomicBool>,
    clock: Box<dyn Fn() -> u64 + Send>,
    ticks: Ticks,
    snapshot_every: u64,
    /// The last snapshot that was tried, so that a refused one is not tried at every entry.
    snapshot_tried: u64,
}

/// What the thread has in common with its handles.
pub(super) struct Shared {
    pub(super) status: watch::Sender<RaftStatus>,
    pub(super) queued: Queued,
    pub(super) stopping: Arc<AtomicBool>,
}

/// When the next tick is due.
struct Ticks {
    every: Duration,
    next: Instant,
}

impl Ticks {
    fn new(every: Duration, now: Instant) -> Self {
        Self { every, next: now + every }
    }

    /// Whether one is due. Ticks that a stall has missed are not made up for: the next one comes a
    /// whole tick after this moment then, and the inputs that waited are seen before it.
    fn due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next += self.every;
        if self.next <= now {
            self.next = now + self.every;
        }
        true
    }
}

enum Turn {
    GoOn,
    Stop,
}

impl<M: StateMachine, O: FnMut(u64, Vec<u8>)> Body<M, O> {
    pub(super) fn new(
        config: DriverConfig,
        replica: Replica,
        store: Store,
        machine: M,
        outbound: O,
        shared: Shared,
    ) -> Self {
        let Shared { status, queued, stopping } = shared;
        let published = status.borrow().clone();
        Self {
            snapshot_tried: published.snapshot_index,
            replica,
            store: Some(store),
            machine,
            outbound,
            proposals: Proposals::default(),
            reads: Reads::default(),
            published,
            status,
            queued,
            stopping,
            clock: config.clock,
            ticks: Ticks::new(config.tick, Instant::now()),
            snapshot_every: config.snapshot_every,
        }
    }

    /// Runs until it is asked to stop, until nobody holds a handle, or until the disk fails.
    pub(super) fn run(&mut self, inputs: &Receiver<Input>) -> Result<(), StoreError> {
        self.machine.restore(&self.replica.image().snapshot.data);
        self.ticks = Ticks::new(self.ticks.every, Instant::now());
        loop {
            let turn = self.take_inputs(inputs);
            if self.ticks.due(Instant::now()) {
                self.replica.tick();
            }
            self.begin_read_round();
            self.work()?;
            self.snapshot_when_due()?;
            self.publish();
            if matches!(turn, Turn::Stop) {
                return self.store_mut().flush();
            }
        }
    }

    /// Lets go of everything and says why.
    pub(super) fn end(mut self, ended: Result<Result<(), StoreError>, Box<dyn Any + Send>>) {
        let why = match ended {
            Ok(Ok(())) => "it was asked to".to_owned(),
            Ok(Err(error)) => chain(&error),
            Err(panic) => format!("raft panicked: {}", panic_words(&*panic)),
        };
        self.published.stopped = Some(Stopped { why: why.clone() });
        self.published.role = Role::Follower;
        self.published.leader = None;
        self.published.elected_at = None;
        self.published.current = false;
        self.published.progress.clear();
        self.status.send_replace(self.published.clone());
        self.proposals.fail_all(&ProposeError::Stopped { why: why.clone() });
        self.reads.fail_unconfirmed(&ReadError::Stopped { why });
        // Closing the file may panic as well, after a failure.
        let store = self.store.take();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(store)));
        self.published.ended = true;
        self.status.send_replace(self.published.clone());
    }

    fn store_mut(&mut self) -> &mut Store {
        self.store.as_mut().expect("the store is there until the end")
    }

    fn take_inputs(&mut self, inputs: &Receiver<Input>) -> Turn {
        let patience = self.ticks.next.saturating_duration_since(Instant::now());
        match inputs.recv_timeout(patience) {
            Ok(input) => self.take_input(input),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Turn::Stop,
        }
        for _ in 1..INPUTS_PER_TURN {
            match inputs.try_recv() {
                Ok(input) => self.take_input(input),
                Err(_) => break,
            }
        }
        if self.stopping.load(Ordering::Relaxed) { Turn::Stop } else { Turn::GoOn }
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Message { message, bytes } => {
                self.queued.remove(bytes);
                if let Err(refused) = self.replica.step(*message) {
                    self.published.refused += 1;
                    self.published.refused_last = Some(refused.to_string());
                }
            }
            Input::Propose { data, answer } => {
                self.queued.remove(data.len());
                self.propose(data, answer);
            }
            Input::Read { answer } => {
                if self.reads.full() {
                    let _ = answer.send(Err(ReadError::Busy));
                } else {
                    self.reads.add(answer);
                }
            }
            Input::Transfer { to, answer } => {
                let outcome = self.replica.transfer_leader(to).map_err(|refused| match refused {
                    TransferRefused::NotLeader { leader: Some(leader) } => {
                        TransferError::NotLeader { leader }
                    }
                    TransferRefused::NotLeader { leader: None } => TransferError::NoLeader,
                    TransferRefused::NotVoter { to } => TransferError::NotVoter { to },
                });
                let _ = answer.send(outcome);
            }
            Input::Members { step, answer } => {
                let outcome = self.replica.change_members(&step);
                let _ = answer.send(outcome.map(|_| ()).map_err(MemberError::from));
            }
            Input::Unreachable { peer } => self.replica.peer_unreachable(peer),
        }
    }

    fn propose(&mut self, data: Vec<u8>, answer: ProposeAnswer) {
        // Nobody waits any more, so nobody wants it: it is not proposed.
        if answer.is_closed() {
            return;
        }
        let outcome: Result<Proposed, ProposeError> = if self.proposals.full() {
            Err(ProposeError::Busy)
        } else {
            match self.replica.propose(data) {
                Ok(position) => return self.proposals.add(position, answer),
                Err(ProposeRefused::NotLeader { leader: Some(leader) }) => {
                    Err(ProposeError::NotLeader { leader })
                }
                Err(ProposeRefused::NotLeader { leader: None } | ProposeRefused::Transferring { .. }) => {
                    Err(ProposeError::NoLeader)
                }
                Err(ProposeRefused::Busy) => Err(ProposeError::Busy),
                Err(ProposeRefused::Size { bytes }) => Err(ProposeError::Size { bytes }),
            }
        };
        let _ = answer.send(outcome);
    }

    fn begin_read_round(&mut self) {
        let Some(context) = self.reads.next_round() else { return };
        match self.replica.read_index(context) {
            Ok(()) => self.reads.begun(),
            // They wait: the leader's first commit is a round trip away, or its term ends.
            Err(ReadRefused::NotYet { .. }) => {}
            Err(ReadRefused::NotLeader { leader }) => self.reads.fail_unconfirmed(&not_leader(leader)),
        }
    }

    fn work(&mut self) -> Result<(), StoreError> {
        while let Some(work) = self.replica.ready() {
            self.do_work(work)?;
        }
        Ok(())
    }

    fn do_work(&mut self, work: Work) -> Result<(), StoreError> {
        if let Some(change) = work.change {
            self.changed(change);
        }
        self.send(&work.send_before);
        self.store_mut().write(&work.persist)?;
        self.send(&work.send_after);
        if let Some(state) = &work.restored {
            self.machine.restore(state);
        }
        for entry in &work.committed {
            self.machine.apply(entry.index, &entry.data);
            self.proposals.applied(Position { index: entry.index, term: entry.term });
        }
        for (context, index) in &work.reads {
            self.reads.confirmed(context, *index);
        }
        self.replica.persisted();
        self.reads.applied(work.applied);
        Ok(())
    }

    fn changed(&mut self, change: Change) {
        let now = (self.clock)();
        let leads = change.role == Role::Leader;
        if !leads {
            self.reads.fail_unconfirmed(&not_leader(change.leader));
            self.proposals.fail_all(&ProposeError::Unknown);
        } else if change.term != self.published.term {
            self.reads.round_lost();
            self.proposals.fail_all(&ProposeError::Unknown);
        }
        self.published.since = now;
        self.published.elected_at = leads.then_some(now);
        (self.published.role, self.published.term, self.published.leader) =
            (change.role, change.term, change.leader);
    }

    fn send(&mut self, messages: &[raft::eraftpb::Message]) {
        for message in messages {
            match wire::encode(message) {
                Ok(bytes) => (self.outbound)(message.to, bytes),
                Err(error) => tracing::error!(to = message.to, %error, "raft message was not sent"),
            }
        }
    }

    fn snapshot_when_due(&mut self) -> Result<(), StoreError> {
        let applied = self.replica.applied();
        let due = applied - self.snapshot_tried >= self.snapshot_every
            || (self.replica.wants_snapshot() && applied > self.snapshot_tried);
        if !due {
            return Ok(());
        }
        self.snapshot_tried = applied;
        match self.replica.snapshot_taken(applied, self.machine.snapshot()) {
            Ok(compaction) => self.store_mut().compact(&compaction),
            // The log stays longer; the next try comes after as many entries again.
            Err(refused) => {
                tracing::error!(applied, %refused, "raft log cannot be trimmed");
                Ok(())
            }
        }
    }

    fn publish(&mut self) {
        self.published.take(self.replica.status());
        let published = &self.published;
        self.status.send_if_modified(|status| {
            let modified = status != published;
            if modified {
                status.clone_from(published);
            }
            modified
        });
    }
}

fn not_leader(leader: Option<u64>) -> ReadError {
    match leader {
        Some(leader) => ReadError::NotLeader { leader },
        None => ReadError::NoLeader,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    words
}

fn panic_words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_followed_by_one_tick_and_not_by_a_burst() {
        let (begun, every) = (Instant::now(), Duration::from_millis(50));
        let at = |ms| begun + Duration::from_millis(ms);
        let mut ticks = Ticks::new(every, begun);
        let due: Vec<bool> =
            [49, 50, 51, 100, 149, 155, 199, 200].into_iter().map(|ms| ticks.due(at(ms))).collect();
        assert_eq!(due, [false, true, false, true, false, true, false, true], "no drift by lateness");
        let due: Vec<bool> = [5_000, 5_001, 5_049, 5_050].into_iter().map(|ms| ticks.due(at(ms))).collect();
        assert_eq!(due, [true, false, false, true], "96 ticks were missed and stay so");
    }
}
