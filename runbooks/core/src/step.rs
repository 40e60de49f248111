//! A runbook, its steps, and what can come of one.

use std::collections::BTreeSet;
use std::fmt;

use model::{Epoch, GtidSet, ProcessStart, ServerId, ServerUuid, SiteId};
use serde::{Deserialize, Serialize};

/// Name of a step within its runbook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for StepId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Everything an executor can be asked to do. One idempotent act each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Action {
    /// Latch `no_source ≤ epoch` on each of these servers, then stop their IO threads: the
    /// clock-free fence.
    StopAckers { servers: BTreeSet<ServerId>, epoch: Epoch },
    /// Confirm a fence of `server` through `epoch`, or outwait its lease where that suffices.
    FenceOrOutwait { server: ServerId, epoch: Epoch },
    /// Wait until all that `server` received is applied, by GTID set.
    DrainRelay { server: ServerId },
    /// Let `server` take what `source`, whose receiver is stopped, was seen to hold beyond it, and stop receiving.
    Gather { server: ServerId, source: ServerId },
    /// Make `server` a primary that is still read-only and shut.
    Promote { server: ServerId },
    /// Commit `Serving` for the execution's epoch.
    Open,
    /// Wait until the guard of `server` reports it open at the execution's epoch.
    AwaitOpen { server: ServerId },
    /// Commit the route of the group's bound names to its active site.
    Route,
    /// Save what `server` has beyond the primary: binary logs and SQL.
    SaveExtra { server: ServerId, extra: GtidSet },
    /// Replace the data of `server` by a clone of the primary's, which ends the process: `life` is the one
    /// that ran before, where the copy cannot be told by what the server has.
    Rebuild {
        server: ServerId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<ProcessStart>,
    },
    /// Make `server` replicate from the primary by auto-position.
    Rejoin { server: ServerId },
    /// Wait until `server` is connected to the primary and holds what the primary had.
    AwaitReplica { server: ServerId },
    /// Wait until the guard of `server` has taken writes from everybody, and nobody waits for an ack.
    AwaitDrained { server: ServerId },
    /// Wait until `server` has applied all that the drained `source` had executed.
    AwaitCaughtUp { server: ServerId, source: ServerId },
    /// Commit the revocation of the drained epoch: `server`, with this identity, is to be primary.
    Handover { server: ServerId, uuid: ServerUuid, site: SiteId },
    /// Hold what the fenced `source` has executed against what `server` has: the catch-up point is read
    /// after the fence.
    Compare { server: ServerId, source: ServerId },
    /// Make `server`, the former primary, replicate from the one to come and acknowledge to it.
    Reverse { server: ServerId },
    /// Wait until `server` is an acker of the primary to come, or is known not to be there.
    AwaitAcker { server: ServerId },
}

impl Action {
    /// Whether performing it does something to the world, so that its intent is journalled before. A
    /// wait does nothing; and a change of the state is journalled by being committed, all at once.
    #[must_use]
    pub fn acts(&self) -> bool {
        match self {
            Action::StopAckers { .. }
            | Action::FenceOrOutwait { .. }
            | Action::DrainRelay { .. }
            | Action::Gather { .. }
            | Action::Promote { .. }
            | Action::SaveExtra { .. }
            | Action::Rebuild { .. }
            | Action::Rejoin { .. }
            | Action::Reverse { .. } => true,
            Action::Open
            | Action::AwaitOpen { .. }
            | Action::Route
            | Action::AwaitReplica { .. }
            | Action::AwaitDrained { .. }
            | Action::AwaitCaughtUp { .. }
            | Action::Handover { .. }
            | Action::Compare { .. }
            | Action::AwaitAcker { .. } => false,
        }
    }
}

/// One act with its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// What is done.
    pub action: Action,
    /// Steps that must be done before.
    pub needs: Vec<StepId>,
    /// Deadline of one attempt, milliseconds.
    pub timeout_ms: u64,
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// What becomes of the execution when the last attempt fails.
    #[serde(default, skip_serializing_if = "OnFailure::stops")]
    pub on_failure: OnFailure,
}

/// What becomes of an execution when a step's last attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It has failed.
    #[default]
    Stop,
    /// The step is skipped, and a later one sees to what that means.
    GoOn,
}

impl OnFailure {
    fn stops(&self) -> bool {
        *self == OnFailure::Stop
    }
}

/// A procedure: steps that form a directed acyclic graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Runbook {
    /// Its name, such as `failover`.
    pub name: String,
    /// Its steps, in an order that respects `needs`.
    pub steps: Vec<Step>,
}

impl Runbook {
    /// The same without these steps; nothing waits for them.
    #[must_use]
    pub fn without(mut self, steps: &[&str]) -> Self {
        let out = |id: &StepId| steps.contains(&id.0.as_str());
        self.steps.retain(|s| !out(&s.id));
        for step in &mut self.steps {
            step.needs.retain(|n| !out(n));
        }
        self
    }
}

/// What a done step proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "proof")]
pub enum Evidence {
    /// The old holder is confirmed harmless: gate read back and no client session, or process gone.
    Fenced { by: String },
    /// The old holder's lease has run out on every clock within the stated drift.
    Outwaited { waited_ms: u64 },
    /// A GTID set that was reached.
    Reached { gtid: GtidSet },
    /// A server, in this life of it, receives from the primary and acknowledges to it.
    Attached { server: ServerId, uuid: ServerUuid, process_start: ProcessStart },
    /// Words for people.
    Note { text: String },
}

/// What an actuator says of one attempt (STYLE §7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It is so.
    Done { evidence: Evidence },
    /// Stop: a newer epoch, or a broken precondition.
    Refused { why: String },
    /// Surely not done; may be tried again within the step's limit.
    Failed { why: String },
    /// May have been done: verify first.
    Unknown { why: String },
}

impl Outcome {
    /// Done, with words for people.
    #[must_use]
    pub fn done(text: impl Into<String>) -> Self {
        Outcome::Done { evidence: Evidence::Note { text: text.into() } }
    }
}
