//! The executor: it drives the running execution by `next`, `perform`, `verify` and `awaited`, and
//! commits intent before and outcome after every act (I9).

use std::rc::Rc;
use std::time::Duration;

use failover_core::{Await, Command, Order, Perform, Refusal, Verified, awaited, perform, verify};
use model::{Epoch, ServerId, Timestamp};
use runbooks_core::{ATTEMPT_MIN, Evidence, Execution, ExecutionId, Next, Outcome, Performer, StepId, next};

use crate::event::Message;
use crate::node::Purpose;
use crate::options::Mutant;
use crate::place::NODES;
use crate::world::World;

/// FENCE is ordered again after this long.
const FENCE_EVERY: Duration = Duration::from_millis(150);

/// A step under way.
#[derive(Debug)]
pub struct Task {
    /// Of which execution.
    pub execution: ExecutionId,
    /// Which step.
    pub step: StepId,
    /// Where it stands.
    pub stage: Stage,
    /// When this attempt began.
    pub began: Timestamp,
    /// Until when it may take.
    pub deadline: Timestamp,
}

/// Where a step stands.
#[derive(Debug)]
pub enum Stage {
    /// Its intent is proposed.
    Intent,
    /// Orders are out: call and answer of each.
    Orders(Vec<(u64, Option<Outcome>)>),
    /// The fence is ordered again and again.
    Fence { server: ServerId, epoch: Epoch, wait_suffices: bool, again: Timestamp, calls: Vec<u64> },
    /// A change is proposed.
    Proposal,
    /// Something is waited for.
    Await(Await),
    /// It failed at once: its outcome is held back until then.
    Held(Outcome, Timestamp),
    /// Its outcome is proposed.
    Ending,
}

impl World {
    fn execution(&self, n: usize) -> Option<&Execution> {
        let run = self.nodes[n].run.as_ref()?;
        run.state.groups.get(&self.names.group)?.running()
    }

    fn performer(&self, n: usize) -> Performer {
        let term = self.nodes[n].run.as_ref().and_then(|r| r.leading).expect("it leads");
        Performer { node: self.names.nodes[n].clone(), term }
    }

    /// One turn of the executor.
    pub(crate) fn drive(&mut self, n: usize) {
        let Some(execution) = self.execution(n) else {
            self.nodes[n].run.as_mut().expect("it leads").tasks.clear();
            return;
        };
        let id = execution.id;
        let me = self.performer(n);
        let todo = next(self.execution(n).expect("seen above"), &me);
        let run = self.nodes[n].run.as_mut().expect("it leads");
        run.tasks.retain(|t| t.execution == id);
        for item in todo {
            match item {
                Next::Run { step } => self.intend(n, id, step, &me),
                Next::Verify { step } => self.verify_step(n, id, step),
                Next::Wait { .. } | Next::Ended => {}
            }
        }
        self.watch_tasks(n);
    }

    fn has_task(&self, n: usize, step: &StepId) -> bool {
        self.nodes[n].run.as_ref().is_some_and(|r| r.tasks.iter().any(|t| t.step == *step))
    }

    fn intend(&mut self, n: usize, execution: ExecutionId, step: StepId, me: &Performer) {
        if self.has_task(n, &step) {
            return;
        }
        let clock = self.node_now(n);
        let acts = self.execution(n).and_then(|e| e.step(&step)).is_some_and(|s| s.action.acts());
        let command = Command::StepStarted {
            group: self.names.group.clone(),
            execution,
            step: step.clone(),
            by: me.clone(),
            at: self.wall(),
        };
        let run = self.nodes[n].run.as_mut().expect("it leads");
        run.tasks.push(Task {
            execution,
            step: step.clone(),
            stage: Stage::Intent,
            began: clock,
            deadline: clock,
        });
        if !acts {
            return self.step_started(n, &step, true);
        }
        self.propose(n, command, Purpose::Started(execution, step.clone()));
        if self.broken(Mutant::ActsBeforeIntent) {
            self.step_started(n, &step, true);
        }
    }

    /// The intent is committed, or was not taken.
    pub(crate) fn step_started(&mut self, n: usize, step: &StepId, committed: bool) {
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        if !committed {
            run.tasks.retain(|t| t.step != *step);
            return;
        }
        let Some(position) = run.tasks.iter().position(|t| t.step == *step) else { return };
        let Some(group) = run.state.groups.get(&self.names.group) else { return };
        let Some(execution) = group.running().filter(|e| e.id == run.tasks[position].execution) else {
            run.tasks.remove(position);
            return;
        };
        let definition = execution.step(step).expect("the step was started");
        let how = perform(group, execution, &definition.action);
        let execution = execution.id;
        run.tasks[position].began = clock;
        run.tasks[position].deadline = clock + Duration::from_millis(definition.timeout_ms);
        match how {
            Perform::Order(orders) => {
                let mut calls = Vec::new();
                let mut cut_off = None;
                for (server, order) in orders {
                    let host = self.names.host(&server);
                    if host.is_some_and(|h| self.reachable(n, NODES + h)) {
                        calls.push((self.order(n, &server, order), None));
                    } else {
                        let why = format!("guard of {server} cannot be reached");
                        cut_off = Some(Outcome::Failed { why });
                    }
                }
                self.set_stage(n, step, Stage::Orders(calls));
                if let Some(outcome) = cut_off {
                    self.end_step(n, step, outcome);
                }
            }
            Perform::FenceOrOutwait { server, epoch, wait_suffices } => {
                let stage = Stage::Fence { server, epoch, wait_suffices, again: clock, calls: Vec::new() };
                self.set_stage(n, step, stage);
            }
            Perform::Propose(change) => {
                let authority = group.authority.as_ref().expect("an execution has an authority");
                let command = Command::Change {
                    group: self.names.group.clone(),
                    expect: authority.version,
                    change,
                    at: self.wall(),
                };
                self.set_stage(n, step, Stage::Proposal);
                self.propose(n, command, Purpose::Step(execution, step.clone()));
            }
            Perform::Await(wait) => self.set_stage(n, step, Stage::Await(wait)),
            Perform::Nothing(evidence) => self.end_step(n, step, Outcome::Done { evidence }),
        }
    }

    fn set_stage(&mut self, n: usize, step: &StepId, stage: Stage) {
        let run = self.nodes[n].run.as_mut().expect("it runs");
        if let Some(task) = run.tasks.iter_mut().find(|t| t.step == *step) {
            task.stage = stage;
        }
    }

    /// Sends an order under the present authority; its number.
    fn order(&mut self, n: usize, server: &ServerId, order: Order) -> u64 {
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let call = run.next_call;
        run.next_call += 1;
        let authority = run.state.groups.get(&self.names.group).and_then(|g| g.authority.clone());
        let host = self.names.host(server);
        if let (Some(authority), Some(host)) = (authority, host) {
            let message = Message::Order { call, authority: Rc::new(authority), order: Rc::new(order) };
            self.send(n, NODES + host, message);
        }
        call
    }

    /// A guard answered.
    pub(crate) fn order_answered(&mut self, n: usize, call: u64, outcome: Outcome) {
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let mut ended = None;
        for task in &mut run.tasks {
            match &mut task.stage {
                Stage::Orders(calls) => {
                    let Some(slot) = calls.iter_mut().find(|(c, _)| *c == call) else { continue };
                    slot.1 = Some(outcome.clone());
                    ended = worst(calls).map(|o| (task.step.clone(), o));
                }
                Stage::Fence { calls, .. } if calls.contains(&call) => {
                    // Anything but a confirmation is asked again.
                    if matches!(outcome, Outcome::Done { .. }) {
                        ended = Some((task.step.clone(), outcome.clone()));
                    }
                }
                _ => {}
            }
        }
        if let Some((step, outcome)) = ended {
            self.end_step(n, &step, outcome);
        }
    }

    /// A change that a step consists of was applied or not.
    pub(crate) fn step_proposed(&mut self, n: usize, step: &StepId, outcome: Result<(), Option<Refusal>>) {
        let outcome = match outcome {
            Ok(()) => Outcome::done("committed"),
            Err(Some(refusal @ Refusal::Version { .. })) => Outcome::Failed { why: refusal.to_string() },
            Err(Some(refusal)) => Outcome::Refused { why: refusal.to_string() },
            Err(None) => Outcome::Unknown { why: "the proposal was dropped".into() },
        };
        self.end_step(n, step, outcome);
    }

    fn verify_step(&mut self, n: usize, execution: ExecutionId, step: StepId) {
        if self.has_task(n, &step) {
            return;
        }
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it leads");
        let group = run.state.groups.get(&self.names.group).expect("it has an execution");
        let running = group.running().expect("it has an execution");
        let action = &running.step(&step).expect("next named it").action;
        let verified = verify(group, running, action, run.desk.facts(), &self.policy.timing, clock);
        run.tasks.push(Task {
            execution,
            step: step.clone(),
            stage: Stage::Ending,
            began: clock,
            deadline: clock,
        });
        let outcome = match verified {
            Verified::Done(evidence) => Outcome::Done { evidence },
            Verified::NotDone(why) => Outcome::Failed { why },
        };
        self.end_step(n, &step, outcome);
    }

    fn end_step(&mut self, n: usize, step: &StepId, outcome: Outcome) {
        let (at, clock) = (self.wall(), self.node_now(n));
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let Some(task) = run.tasks.iter_mut().find(|t| t.step == *step) else { return };
        let until = task.began + ATTEMPT_MIN;
        let verified = matches!(task.stage, Stage::Ending);
        if !matches!(outcome, Outcome::Done { .. }) && !verified && clock < until {
            task.stage = Stage::Held(outcome, until);
            return;
        }
        task.stage = Stage::Ending;
        let command = Command::StepEnded {
            group: self.names.group.clone(),
            execution: task.execution,
            step: step.clone(),
            outcome,
            at,
        };
        let purpose = Purpose::Ended(task.execution, step.clone());
        self.propose(n, command, purpose);
    }

    /// Looks after steps that wait: deadlines, the fence's repetition, W, what is awaited.
    fn watch_tasks(&mut self, n: usize) {
        let clock = self.node_now(n);
        let mut ended = Vec::new();
        let mut fences = Vec::new();
        let run = self.nodes[n].run.as_mut().expect("it leads");
        let Some(group) = run.state.groups.get(&self.names.group) else { return };
        for task in &mut run.tasks {
            let late = clock >= task.deadline;
            match &mut task.stage {
                Stage::Intent | Stage::Ending | Stage::Proposal => {}
                Stage::Held(outcome, until) => {
                    if clock >= *until {
                        ended.push((task.step.clone(), outcome.clone()));
                    }
                }
                Stage::Orders(_) if late => {
                    let why = "no answer in time".into();
                    ended.push((task.step.clone(), Outcome::Unknown { why }));
                }
                Stage::Orders(_) => {}
                Stage::Fence { server, epoch, wait_suffices, again, calls } => {
                    let suffices =
                        *wait_suffices || self.defects.has(failover_core::Defect::PromoteOnWaitAlone);
                    if suffices && let Ok(waited) = run.desk.outwaited(&self.names.group, clock) {
                        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                        let evidence = if *wait_suffices {
                            Evidence::Outwaited { waited_ms }
                        } else {
                            Evidence::Fenced { by: "W alone, as the defect has it".into() }
                        };
                        ended.push((task.step.clone(), Outcome::Done { evidence }));
                    } else if late {
                        let why = "neither confirmed nor outwaited in time".into();
                        ended.push((task.step.clone(), Outcome::Unknown { why }));
                    } else if !calls.is_empty() && self.defects.has(failover_core::Defect::ActsOnEntries) {
                        let evidence = Evidence::Fenced { by: "an entry that was sent".into() };
                        ended.push((task.step.clone(), Outcome::Done { evidence }));
                    } else if clock >= *again {
                        *again = clock + FENCE_EVERY;
                        fences.push((task.step.clone(), server.clone(), *epoch));
                    }
                }
                Stage::Await(wait) => {
                    // A drained server that may open again, and a comparison that is not made (12).
                    let trusts = self.defects.has(failover_core::Defect::OpensWhileDraining)
                        && matches!(wait, Await::Compared { .. });
                    if trusts {
                        ended.push((task.step.clone(), Outcome::done("a defect says so")));
                        continue;
                    }
                    match awaited(wait, group, run.desk.facts(), &self.policy.timing, task.began, clock) {
                        Verified::Done(evidence) => {
                            ended.push((task.step.clone(), Outcome::Done { evidence }));
                        }
                        Verified::NotDone(why) if late => {
                            ended.push((task.step.clone(), Outcome::Unknown { why }));
                        }
                        Verified::NotDone(_) => {}
                    }
                }
            }
        }
        for (step, server, epoch) in fences {
            let call = self.order(n, &server, Order::Fence { epoch });
            let run = self.nodes[n].run.as_mut().expect("it leads");
            let task = run.tasks.iter_mut().find(|t| t.step == step);
            if let Some(Task { stage: Stage::Fence { calls, .. }, .. }) = task {
                calls.push(call);
            }
        }
        for (step, outcome) in ended {
            self.end_step(n, &step, outcome);
        }
    }
}

/// The outcome of several orders: the first that is not done, or done once all are.
fn worst(calls: &[(u64, Option<Outcome>)]) -> Option<Outcome> {
    let settled = |outcome: &Option<Outcome>| !matches!(outcome, None | Some(Outcome::Done { .. }));
    if let Some((_, bad)) = calls.iter().find(|(_, outcome)| settled(outcome)) {
        return bad.clone();
    }
    let all = calls.iter().all(|(_, outcome)| outcome.is_some());
    calls.last().filter(|_| all).and_then(|(_, outcome)| outcome.clone())
}
