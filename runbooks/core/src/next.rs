//! What comes next in an execution.

use std::time::Duration;

use crate::{Execution, ExecutionStatus, Performer, StepId, StepState};

/// Least time that an attempt takes before an outcome other than `Done` is journalled. An attempt
/// that ends at once (no way to the guard, no process) is held back until then: ten attempts shall
/// span a restarted guard or a lost leader, and not a few round trips.
pub const ATTEMPT_MIN: Duration = Duration::from_millis(500);

/// One thing the executor may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Commit the intent, perform, commit the outcome.
    Run { step: StepId },
    /// An attempt may have been done: take the verify reading, then journal `Done` or `Failed`.
    Verify { step: StepId },
    /// This performer is at it.
    Wait { step: StepId },
    /// Over.
    Ended,
}

/// All that `me` may do now, parallel steps together. Steps whose needs are not met are not named.
#[must_use]
pub fn next(execution: &Execution, me: &Performer) -> Vec<Next> {
    if execution.status != ExecutionStatus::Running {
        return vec![Next::Ended];
    }
    let mut out = Vec::new();
    for (step, record) in execution.runbook.steps.iter().zip(&execution.records) {
        let id = step.id.clone();
        match &record.state {
            StepState::Done { .. } | StepState::Refused { .. } | StepState::Skipped { .. } => {}
            StepState::Started { by } if by == me => out.push(Next::Wait { step: id }),
            StepState::Started { .. } | StepState::Unknown { .. } => out.push(Next::Verify { step: id }),
            StepState::Pending | StepState::Failed { .. } => {
                if execution.needs_met(step) && record.attempts < step.attempts {
                    out.push(Next::Run { step: id });
                }
            }
        }
    }
    out
}
