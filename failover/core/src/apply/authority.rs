//! Start, Begin, Open, Abort: who may write (I4).

use std::collections::BTreeSet;

use model::{Epoch, Incarnation, SyncGeneration, Version};
use runbooks_core::{Evidence, ExecutionId, failover};

use super::{Ctx, Refusal, authority_of, end_execution, install, rule, start_execution};
use crate::{Authority, Durability, EpochRecord, Event, Group, Phase, Primary, Reason, Revocation};

/// Who acts when no person does.
const TWOFOLD: &str = "twofold";

/// Epoch 1, `Async`: nothing is proven yet.
pub(super) fn start(
    group: &mut Group,
    incarnation: Incarnation,
    primary: Primary,
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    if group.authority.is_some() {
        return rule("the group is started already");
    }
    known(group, &primary, ctx)?;
    let authority = Authority {
        incarnation,
        epoch: Epoch(1),
        version: Version(0),
        primary: primary.clone(),
        phase: Phase::Serving,
        durability: Durability::Async { since: ctx.at },
        acker_set: BTreeSet::new(),
        g: SyncGeneration(0),
    };
    group.epochs.insert(Epoch(1), EpochRecord { primary, served: true, ended: None });
    Ok(vec![install(group, authority, Some(reason), ctx)])
}

/// Revokes E, names the candidate of E+1 and starts the failover: one entry, so that no state
/// exists in which E is revoked and nobody is at work.
pub(super) fn begin(
    group: &mut Group,
    candidate: Primary,
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let old = authority_of(group)?.clone();
    if !old.phase.grants() {
        return rule(format!("a failover begins while serving, the group is {}", old.phase));
    }
    // Decided before the maintenance was committed, and ordered after it.
    if let Some(m) = group.maintained(ctx.at).filter(|_| reason.by == TWOFOLD) {
        return rule(format!("the group is in maintenance by {}: {}", m.by, m.reason));
    }
    known(group, &candidate, ctx)?;
    if candidate.server == old.primary.server {
        return rule(format!("server {:?} is the primary already", candidate.server.as_str()));
    }
    if let Some(waiting) = group.returns.get(&candidate.server) {
        return rule(format!(
            "server {:?} is quarantined ({}): release or rebuild it first",
            candidate.server.as_str(),
            waiting.reason.why
        ));
    }
    let next = old.epoch.next();
    let mut ackers: BTreeSet<_> = old.acker_set.iter().map(|a| a.server.clone()).collect();
    ackers.insert(candidate.server.clone());
    let runbook = failover(&old.primary.server, old.epoch, &candidate.server, ackers);
    if let Some(record) = group.epochs.get_mut(&old.epoch) {
        record.ended = Some(old.durability);
    }
    group.epochs.insert(next, EpochRecord { primary: candidate.clone(), served: false, ended: None });
    group.revoked = Some(Revocation {
        epoch: old.epoch,
        primary: old.primary.clone(),
        durability: old.durability,
        ackers: old.acker_set.iter().cloned().collect(),
        reason: reason.clone(),
    });
    let mut events = Vec::new();
    let subject = candidate.server.clone();
    let authority = Authority { epoch: next, primary: candidate, phase: Phase::Revoked, ..old };
    let why = reason.why.clone();
    events.push(install(group, authority, Some(reason), ctx));
    start_execution(group, runbook, next, subject, why, ctx, &mut events);
    Ok(events)
}

/// `Serving(E+1)`: only with E fenced, or outwaited where E was `Sync`, its ackers stopped, and the
/// candidate drained and promoted (I4, I5). Durability starts over: `Async`, no ackers.
pub(super) fn open(group: &mut Group, id: ExecutionId, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?.clone();
    if authority.phase != Phase::Promoting {
        return rule(format!("open follows a promotion, the group is {}", authority.phase));
    }
    let Some(execution) = group.running().filter(|e| e.id == id) else {
        return rule(format!("execution {id} is not the one under way"));
    };
    if execution.done("stop-ackers").is_none() {
        return rule("the ackers of the revoked epoch are not stopped");
    }
    for step in ["drain", "promote"] {
        if execution.done(step).is_none() {
            return rule(format!("step {step:?} is not done"));
        }
    }
    match execution.done("fence") {
        Some(Evidence::Fenced { .. }) => {}
        Some(Evidence::Outwaited { .. }) if authority.durability == Durability::Sync => {}
        Some(Evidence::Outwaited { .. }) => {
            return rule(format!(
                "in {} only a confirmed fence promotes, never W alone",
                authority.durability
            ));
        }
        _ => return rule("the revoked epoch is neither fenced nor outwaited"),
    }
    let from = authority.durability;
    let to = Durability::Async { since: ctx.at };
    if let Some(record) = group.epochs.get_mut(&authority.epoch) {
        record.served = true;
    }
    let opened = Authority { phase: Phase::Serving, durability: to, acker_set: BTreeSet::new(), ..authority };
    let mut events = vec![install(group, opened, None, ctx)];
    events.push(Event::Durability { group: ctx.id.clone(), from, to, reason: None, at: ctx.at });
    Ok(events)
}

/// `Serving(E+2)` for the holder of E. Allowed because `Open` of E+1 was never committed: it would
/// have left `Revoked`/`Promoting`, and the raised version refuses one that is still on its way.
pub(super) fn abort(group: &mut Group, reason: Reason, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?.clone();
    if authority.phase.grants() {
        return rule(format!("there is nothing to call off, the group is {}", authority.phase));
    }
    let Some(revoked) = group.revoked.clone() else {
        return rule("no revoked epoch is on record");
    };
    let next = authority.epoch.next();
    let from = authority.durability;
    let to = Durability::Async { since: ctx.at };
    let mut events = Vec::new();
    end_execution_if_running(group, &reason, ctx, &mut events);
    let record = EpochRecord { primary: revoked.primary.clone(), served: true, ended: None };
    group.epochs.insert(next, record);
    let back = Authority {
        epoch: next,
        primary: revoked.primary,
        phase: Phase::Serving,
        durability: to,
        acker_set: BTreeSet::new(),
        ..authority
    };
    events.insert(0, install(group, back, Some(reason), ctx));
    events.push(Event::Durability { group: ctx.id.clone(), from, to, reason: None, at: ctx.at });
    Ok(events)
}

fn end_execution_if_running(group: &mut Group, reason: &Reason, ctx: &Ctx, events: &mut Vec<Event>) {
    if group.running().is_some() {
        let status = runbooks_core::ExecutionStatus::Failed {
            step: "abort".into(),
            why: format!("called off: {}", reason.why),
        };
        end_execution(group, status, ctx, events);
    }
}

fn known(group: &Group, primary: &Primary, ctx: &Ctx) -> Result<(), Refusal> {
    match group.servers.get(&primary.server) {
        Some(spec) if spec.site == primary.site => Ok(()),
        _ => Err(Refusal::NoSuchServer { group: ctx.id.to_string(), server: primary.server.to_string() }),
    }
}
