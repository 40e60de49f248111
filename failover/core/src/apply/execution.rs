//! The journal's entries (I9).

use runbooks_core::{Action, ExecutionId, ExecutionStatus, Outcome, Performer, StepId};

use super::{Ctx, Refusal, authority_of, end_execution, install, rule};
use crate::{Event, Group, Phase};

pub(super) fn step_started(
    group: &mut Group,
    id: ExecutionId,
    step: &StepId,
    by: &Performer,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let execution = under_way(group, id)?;
    execution.begin(step, by, ctx.at)?;
    let promotes = matches!(execution.step(step).map(|s| &s.action), Some(Action::Promote { .. }));
    let mut events = vec![Event::StepStarted {
        group: ctx.id.clone(),
        execution: id,
        step: step.clone(),
        by: by.node.to_string(),
        at: ctx.at,
    }];
    if promotes && authority_of(group)?.phase == Phase::Revoked {
        let mut authority = authority_of(group)?.clone();
        authority.phase = Phase::Promoting;
        events.push(install(group, authority, None, ctx));
    }
    Ok(events)
}

pub(super) fn step_ended(
    group: &mut Group,
    id: ExecutionId,
    step: &StepId,
    outcome: Outcome,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let execution = under_way(group, id)?;
    execution.end(step, outcome.clone(), ctx.at)?;
    let status = execution.status.clone();
    let mut events = vec![Event::StepEnded {
        group: ctx.id.clone(),
        execution: id,
        step: step.clone(),
        outcome,
        at: ctx.at,
    }];
    if status != ExecutionStatus::Running {
        end_execution(group, status, ctx, &mut events);
    }
    Ok(events)
}

fn under_way(group: &mut Group, id: ExecutionId) -> Result<&mut runbooks_core::Execution, Refusal> {
    match group.execution.as_mut() {
        Some(e) if e.id == id && e.status == ExecutionStatus::Running => Ok(e),
        Some(e) => rule(format!("execution {id} is not under way (the last one is {})", e.id)),
        None => rule(format!("there is no execution {id}")),
    }
}
