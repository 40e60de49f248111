//! The one executor: performs the steps that `next` offers to this leadership, journalling intent
//! before and outcome after (I9). Steps run side by side as tasks; the journal is in Raft.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use app_link::{CallError, Endpoint};
use failover_core::{Command, Order, Perform, State, Verified, awaited, perform, verify};
use model::{Epoch, GroupId, ServerId};
use runbooks_core::{ATTEMPT_MIN, Evidence, ExecutionId, Next, Outcome, Performer, StepId, StepState, next};
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::brain::News;
use super::crash::{self, Moment};
use super::shared::{Fate, Shared};
use crate::{clock, wire};

/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two fence orders to a guard that does not confirm.
const FENCE_EVERY: Duration = Duration::from_millis(100);
/// Deadline of one fence order; the ladder takes up to a second and is asked again.
const FENCE_WITHIN: Duration = Duration::from_millis(1_500);

/// Starts whatever may be started now and is not under way here.
pub fn advance(
    shared: &Arc<Shared>,
    state: &State,
    busy: &mut BTreeSet<(GroupId, ExecutionId, StepId)>,
    news: &mpsc::Sender<News>,
) {
    let Some(term) = shared.leading() else { return };
    let me = Performer { node: shared.own.id.clone(), term };
    for (group, g) in &state.groups {
        let Some(execution) = g.running() else { continue };
        for offered in next(execution, &me) {
            let (step, run) = match offered {
                Next::Run { step } => (step, true),
                Next::Verify { step } => (step, false),
                // An intent of this leadership whose task is gone cannot be told from one at work.
                Next::Wait { .. } | Next::Ended => continue,
            };
            let key = (group.clone(), execution.id, step.clone());
            if !busy.insert(key) {
                continue;
            }
            let task = Task {
                shared: shared.clone(),
                group: group.clone(),
                execution: execution.id,
                step,
                me: me.clone(),
            };
            let news = news.clone();
            tokio::spawn(async move {
                if run {
                    task.run().await
                } else {
                    task.verify().await
                }
                let over = News::StepOver { group: task.group, execution: task.execution, step: task.step };
                let _ = news.send(over).await;
            });
        }
    }
}

struct Task {
    shared: Arc<Shared>,
    group: GroupId,
    execution: ExecutionId,
    step: StepId,
    me: Performer,
}

impl Task {
    async fn run(&self) {
        if self.acts() && !self.intend().await {
            return;
        }
        self.may_die(Moment::Begun);
        let began = Instant::now();
        let outcome = self.perform().await;
        self.may_die(Moment::Performed);
        if !matches!(outcome, Outcome::Done { .. }) {
            // An attempt that ends at once is held back, so that the attempts span a lost leader.
            tokio::time::sleep(ATTEMPT_MIN.saturating_sub(began.elapsed())).await;
        }
        self.end(outcome).await;
    }

    /// Whether it does something to the world.
    fn acts(&self) -> bool {
        let state = self.shared.state();
        let running =
            state.groups.get(&self.group).and_then(|g| g.running().filter(|e| e.id == self.execution));
        running.and_then(|e| e.step(&self.step)).is_some_and(|s| s.action.acts())
    }

    /// Intent first. Whatever is not surely applied is not acted on; the journal tells next time.
    async fn intend(&self) -> bool {
        let started = Command::StepStarted {
            group: self.group.clone(),
            execution: self.execution,
            step: self.step.clone(),
            by: self.me.clone(),
            at: clock::wall(),
        };
        match self.shared.propose(&started).await {
            Fate::Applied => true,
            Fate::Unknown(_) => self.begun_after_all().await,
            other => {
                debug!(step = %self.step, ?other, "step not begun");
                false
            }
        }
    }

    fn may_die(&self, moment: Moment) {
        crash::point(&self.shared.start.node_dir(&self.shared.own.id), &self.step, moment);
    }

    /// An intent whose fate was unknown: a later read index lies behind it, so the state tells.
    async fn begun_after_all(&self) -> bool {
        while self.shared.leading() == Some(self.me.term) {
            if self.shared.raft.read_index(Instant::now() + FENCE_WITHIN).await.is_err() {
                continue;
            }
            let state = self.shared.state();
            let record = state
                .groups
                .get(&self.group)
                .and_then(|g| g.running().filter(|e| e.id == self.execution)?.record(&self.step).cloned());
            return matches!(record.map(|r| r.state), Some(StepState::Started { by }) if by == self.me);
        }
        false
    }

    async fn verify(&self) {
        let state = self.shared.state();
        let Some((group, execution)) = state
            .groups
            .get(&self.group)
            .and_then(|g| g.running().filter(|e| e.id == self.execution).map(|e| (g, e)))
        else {
            return;
        };
        let Some(step) = execution.step(&self.step) else { return };
        let now = clock::now();
        let verified = {
            let desk = self.shared.desk();
            verify(group, execution, &step.action, desk.facts(), &self.shared.timing, now)
        };
        let outcome = match verified {
            Verified::Done(evidence) => Outcome::Done { evidence },
            Verified::NotDone(why) => Outcome::Failed { why: format!("verified: {why}") },
        };
        self.end(outcome).await;
    }

    async fn end(&self, outcome: Outcome) {
        info!(group = %self.group, step = %self.step, ?outcome, "step ends");
        let ended = Command::StepEnded {
            group: self.group.clone(),
            execution: self.execution,
            step: self.step.clone(),
            outcome,
            at: clock::wall(),
        };
        // An outcome must get into the journal as long as this leadership lasts: otherwise the step
        // would look as if it were still at work.
        while self.shared.leading() == Some(self.me.term) {
            match self.shared.propose(&ended).await {
                Fate::Applied | Fate::Refused(_) => return,
                Fate::NotProposed(_) | Fate::Unknown(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn perform(&self) -> Outcome {
        let state = self.shared.state();
        let Some((group, execution)) = state
            .groups
            .get(&self.group)
            .and_then(|g| g.running().filter(|e| e.id == self.execution).map(|e| (g, e)))
        else {
            return Outcome::Refused { why: "the execution is over".into() };
        };
        let Some(step) = execution.step(&self.step) else {
            return Outcome::Refused { why: "the runbook has no such step".into() };
        };
        let timeout = Duration::from_millis(step.timeout_ms);
        let work = async {
            match perform(group, execution, &step.action) {
                Perform::Order(orders) => self.order_all(orders, timeout).await,
                Perform::FenceOrOutwait { server, epoch, wait_suffices } => {
                    self.fence_or_outwait(&server, epoch, wait_suffices).await
                }
                Perform::Propose(change) => self.propose(change).await,
                Perform::Await(wait) => self.wait_for(&wait).await,
                Perform::Nothing(evidence) => Outcome::Done { evidence },
            }
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Unknown { why: format!("no outcome within {timeout:?}") },
        }
    }

    async fn order_all(&self, orders: Vec<(ServerId, Order)>, timeout: Duration) -> Outcome {
        let mut tasks = tokio::task::JoinSet::new();
        for (server, order) in orders {
            let (shared, group) = (self.shared.clone(), self.group.clone());
            tasks.spawn(async move { give(&shared, &group, &server, order, timeout).await });
        }
        let mut last = Outcome::done("nobody to order");
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(done @ Outcome::Done { .. }) => last = done,
                Ok(other) => return other,
                Err(error) => return Outcome::Unknown { why: error.to_string() },
            }
        }
        last
    }

    /// FENCE again and again until it is confirmed; beside it, where that suffices, W.
    async fn fence_or_outwait(&self, server: &ServerId, epoch: Epoch, wait_suffices: bool) -> Outcome {
        let fence = async {
            loop {
                match give(&self.shared, &self.group, server, Order::Fence { epoch }, FENCE_WITHIN).await {
                    done @ Outcome::Done { .. } => return done,
                    Outcome::Refused { why } | Outcome::Failed { why } | Outcome::Unknown { why } => {
                        debug!(server = %server, why, "fence not confirmed");
                    }
                }
                tokio::time::sleep(FENCE_EVERY).await;
            }
        };
        let wait = async {
            loop {
                if wait_suffices && let Ok(waited) = self.shared.desk().outwaited(&self.group, clock::now()) {
                    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                    return Outcome::Done { evidence: Evidence::Outwaited { waited_ms } };
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            outcome = fence => outcome,
            outcome = wait => outcome,
        }
    }

    async fn propose(&self, change: failover_core::Change) -> Outcome {
        let state = self.shared.state();
        let Some(authority) = state.groups.get(&self.group).and_then(|g| g.authority.as_ref()) else {
            return Outcome::Refused { why: "the group has no authority".into() };
        };
        let command = Command::Change {
            group: self.group.clone(),
            expect: authority.version,
            change,
            at: clock::wall(),
        };
        match self.shared.propose(&command).await {
            Fate::Applied => Outcome::done("committed"),
            Fate::Refused(failover_core::Refusal::Version { now, .. }) => {
                Outcome::Failed { why: format!("the group moved on to version {now}") }
            }
            Fate::Refused(refusal) => Outcome::Refused { why: refusal.to_string() },
            Fate::NotProposed(why) => Outcome::Failed { why },
            Fate::Unknown(why) => Outcome::Unknown { why },
        }
    }

    async fn wait_for(&self, wait: &failover_core::Await) -> Outcome {
        let since = clock::now();
        loop {
            let state = self.shared.state();
            let Some(group) = state.groups.get(&self.group) else {
                return Outcome::Refused { why: "the group is gone".into() };
            };
            let seen = {
                let desk = self.shared.desk();
                awaited(wait, group, desk.facts(), &self.shared.timing, since, clock::now())
            };
            match seen {
                Verified::Done(evidence) => return Outcome::Done { evidence },
                Verified::NotDone(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// Gives an order under the authority as it stands here, and takes the guard's word for the outcome.
async fn give(
    shared: &Shared,
    group: &GroupId,
    server: &ServerId,
    order: Order,
    within: Duration,
) -> Outcome {
    let state = shared.state();
    let Some(authority) = state.groups.get(group).and_then(|g| g.authority.clone()) else {
        return Outcome::Refused { why: "the group has no authority".into() };
    };
    let body = wire::pack(&wire::Ordered { authority, order });
    let to = Endpoint::Guard(server.clone());
    match shared.links.call(&to, wire::ORDER, &body, within).await {
        Ok(bytes) => wire::unpack(&bytes)
            .unwrap_or_else(|why| Outcome::Unknown { why: format!("guard of {server} answered {why}") }),
        Err(CallError::NoPath) => Outcome::Failed { why: format!("guard of {server} cannot be reached") },
        Err(CallError::Busy) => Outcome::Failed { why: format!("link to the guard of {server} is busy") },
        Err(error) => Outcome::Unknown { why: format!("guard of {server}: {error}") },
    }
}
