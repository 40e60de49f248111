//! One run of a runbook and its journal. Its status is a fold of the journal.

use std::fmt;

use model::{Epoch, NodeId, ServerId, WallTime};
use serde::{Deserialize, Serialize};

use crate::{Evidence, OnFailure, Outcome, Runbook, Step, StepId};

/// Number of an execution within its group; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutionId(pub u64);

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who performs: one leadership of one node. A new term is a new performer, so an intent that an
/// earlier leadership left behind is recognised as orphaned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Performer {
    /// The leading node.
    pub node: NodeId,
    /// Its Raft term.
    pub term: u64,
}

/// One run of a runbook at one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Execution {
    /// Its number.
    pub id: ExecutionId,
    /// What is run.
    pub runbook: Runbook,
    /// The group's epoch that it works at (for a failover: the new one).
    pub epoch: Epoch,
    /// The server it is about: the candidate, or the one that returns.
    pub subject: ServerId,
    /// Why it was started, for people.
    pub reason: String,
    /// When its start was proposed.
    pub started: WallTime,
    /// One record a step, in the runbook's order.
    pub records: Vec<StepRecord>,
    /// How it stands.
    pub status: ExecutionStatus,
}

/// Journal of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepRecord {
    /// The step.
    pub step: StepId,
    /// Attempts begun.
    pub attempts: u32,
    /// Where it stands.
    pub state: StepState,
    /// First intent.
    pub started: Option<WallTime>,
    /// Last outcome.
    pub ended: Option<WallTime>,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Intent is committed; no outcome yet.
    Started { by: Performer },
    /// It is so.
    Done { evidence: Evidence },
    /// Surely not done.
    Failed { why: String },
    /// Perhaps done.
    Unknown { why: String },
    /// Never to be tried again.
    Refused { why: String },
    /// Given up: the execution goes on without it.
    Skipped { why: String },
}

/// How an execution stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum ExecutionStatus {
    /// Steps are left.
    Running,
    /// Every step is done.
    Succeeded,
    /// A step cannot be done.
    Failed { step: StepId, why: String },
    /// Something more urgent took its place.
    Superseded,
}

/// A journal entry that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalStep {
    /// The runbook has no such step.
    #[error("runbook has no step {0:?}")]
    NoSuchStep(String),
    /// The step's state does not allow this entry.
    #[error("step {step:?} is {state} and cannot be {entry}")]
    NotNow { step: String, state: &'static str, entry: &'static str },
    /// A step it needs is not done.
    #[error("step {step:?} needs {needs:?}, which is not done")]
    Needs { step: String, needs: String },
    /// The execution is over.
    #[error("the execution is over")]
    Over,
}

impl StepState {
    /// An attempt is under way, or left behind.
    fn is_begun(&self) -> bool {
        matches!(self, StepState::Started { .. } | StepState::Unknown { .. })
    }

    /// Nothing is left to do, and the steps behind it may run.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, StepState::Done { .. } | StepState::Skipped { .. })
    }
}

impl Execution {
    /// A new execution, nothing done yet.
    #[must_use]
    pub fn new(
        id: ExecutionId,
        runbook: Runbook,
        epoch: Epoch,
        subject: ServerId,
        reason: String,
        started: WallTime,
    ) -> Self {
        let records = runbook
            .steps
            .iter()
            .map(|s| StepRecord {
                step: s.id.clone(),
                attempts: 0,
                state: StepState::Pending,
                started: None,
                ended: None,
            })
            .collect();
        Self { id, runbook, epoch, subject, reason, started, records, status: ExecutionStatus::Running }
    }

    /// The step's definition.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.runbook.steps.iter().find(|s| s.id == *id)
    }

    /// The step's journal.
    #[must_use]
    pub fn record(&self, id: &StepId) -> Option<&StepRecord> {
        self.records.iter().find(|r| r.step == *id)
    }

    /// The evidence of a step that is done.
    #[must_use]
    pub fn done(&self, id: &str) -> Option<&Evidence> {
        match &self.records.iter().find(|r| r.step.0 == id)?.state {
            StepState::Done { evidence } => Some(evidence),
            _ => None,
        }
    }

    /// True when every step that `step` needs is done, or skipped.
    #[must_use]
    pub fn needs_met(&self, step: &Step) -> bool {
        step.needs.iter().all(|n| self.passed(n))
    }

    /// The step is done, or skipped.
    #[must_use]
    pub fn passed(&self, id: &StepId) -> bool {
        self.record(id).is_some_and(|r| r.state.is_over())
    }

    /// Journals an intent.
    ///
    /// # Errors
    /// When the step is not startable: done, refused, begun and not settled, out of attempts, or
    /// something it needs is not done.
    pub fn begin(&mut self, id: &StepId, by: &Performer, at: WallTime) -> Result<(), IllegalStep> {
        self.count_attempt(id, at)?;
        self.record_mut(id)?.state = StepState::Started { by: by.clone() };
        Ok(())
    }

    /// Journals a step that is so already: somebody has seen to it, and says what was seen.
    ///
    /// # Errors
    /// As [`Execution::begin`].
    pub fn attest(&mut self, id: &StepId, evidence: Evidence, at: WallTime) -> Result<(), IllegalStep> {
        self.count_attempt(id, at)?;
        let record = self.record_mut(id)?;
        record.ended = Some(at);
        record.state = StepState::Done { evidence };
        Ok(())
    }

    /// Another attempt, if there may be one.
    fn count_attempt(&mut self, id: &StepId, at: WallTime) -> Result<(), IllegalStep> {
        self.open()?;
        let step = self.step(id).ok_or_else(|| IllegalStep::NoSuchStep(id.0.clone()))?.clone();
        if let Some(missing) = step.needs.iter().find(|n| !self.passed(n)) {
            return Err(IllegalStep::Needs { step: id.0.clone(), needs: missing.0.clone() });
        }
        let record = self.record_mut(id)?;
        // An orphaned or unknown attempt is settled by its verify reading first (S7). A new leader may
        // have offered itself the step on a state that did not hold the attempt yet.
        let startable = matches!(record.state, StepState::Pending | StepState::Failed { .. });
        if !startable || record.attempts >= step.attempts {
            return Err(not_now(record, "begun"));
        }
        record.attempts += 1;
        record.started.get_or_insert(at);
        Ok(())
    }

    /// Journals an outcome and folds it into the status. The outcome of an orphaned or unknown
    /// attempt may be journalled too: that is what the verify reading does. A step that does nothing to
    /// the world needs no intent: its outcome is the whole attempt.
    ///
    /// # Errors
    /// When the step was not begun, may not be yet, or is settled already.
    pub fn end(&mut self, id: &StepId, outcome: Outcome, at: WallTime) -> Result<(), IllegalStep> {
        self.open()?;
        let step = self.step(id).ok_or_else(|| IllegalStep::NoSuchStep(id.0.clone()))?;
        let (attempts_max, on_failure) = (step.attempts, step.on_failure);
        let begun = self.record(id).is_some_and(|r| r.state.is_begun());
        if !begun && !step.action.acts() {
            self.count_attempt(id, at)?;
            self.record_mut(id)?.state = StepState::Unknown { why: "it ends at once".to_owned() };
        }
        let record = self.record_mut(id)?;
        if !matches!(record.state, StepState::Started { .. } | StepState::Unknown { .. }) {
            return Err(not_now(record, "ended"));
        }
        record.ended = Some(at);
        let exhausted = record.attempts >= attempts_max;
        let mut fatal = None;
        record.state = match outcome {
            Outcome::Done { evidence } => StepState::Done { evidence },
            Outcome::Refused { why } if on_failure == OnFailure::GoOn => StepState::Skipped { why },
            Outcome::Failed { why } if on_failure == OnFailure::GoOn && exhausted => {
                StepState::Skipped { why }
            }
            Outcome::Refused { why } => {
                fatal = Some(why.clone());
                StepState::Refused { why }
            }
            Outcome::Failed { why } => {
                if exhausted {
                    fatal = Some(why.clone());
                }
                StepState::Failed { why }
            }
            Outcome::Unknown { why } => StepState::Unknown { why },
        };
        if let Some(why) = fatal {
            self.status = ExecutionStatus::Failed { step: id.clone(), why };
        } else if self.records.iter().all(|r| r.state.is_over()) {
            self.status = ExecutionStatus::Succeeded;
        }
        Ok(())
    }

    fn open(&self) -> Result<(), IllegalStep> {
        if self.status == ExecutionStatus::Running { Ok(()) } else { Err(IllegalStep::Over) }
    }

    fn record_mut(&mut self, id: &StepId) -> Result<&mut StepRecord, IllegalStep> {
        self.records.iter_mut().find(|r| r.step == *id).ok_or_else(|| IllegalStep::NoSuchStep(id.0.clone()))
    }
}

fn not_now(record: &StepRecord, entry: &'static str) -> IllegalStep {
    let state = match record.state {
        StepState::Pending => "pending",
        StepState::Started { .. } => "started",
        StepState::Done { .. } => "done",
        StepState::Failed { .. } => "failed",
        StepState::Unknown { .. } => "unknown",
        StepState::Refused { .. } => "refused",
        StepState::Skipped { .. } => "skipped",
    };
    IllegalStep::NotNow { step: record.step.0.clone(), state, entry }
}
