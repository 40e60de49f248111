//! `apply`: one committed command folded into the state. It reads no clock, chance or hash order,
//! so every node gets the same result (S5). A refusal changes nothing.

mod authority;
mod configure;
mod durability;
mod execution;
mod people;
mod returning;

use authority::Begin;
pub(crate) use authority::unacknowledged;

use model::{Epoch, Generation, GroupId, Version, WallTime};

use crate::state::{EPOCHS_MAX, FINISHED_MAX};
use crate::{
    Authority, Change, Command, Defect, Defects, Event, ExecutionSummary, FencedByHand, Group, Held,
    Maintenance, Phase, Reason, Route, State,
};
use runbooks_core::{Action, Execution, ExecutionId, ExecutionStatus, IllegalStep, Outcome, Runbook};

/// Why a committed command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such group.
    #[error("there is no group {0:?}")]
    NoSuchGroup(String),
    /// No such server in the group.
    #[error("group {group:?} has no server {server:?}")]
    NoSuchServer { group: String, server: String },
    /// No such token.
    #[error("there is no token {0:?}; twofold token list shows them")]
    NoSuchToken(String),
    /// Decided on an older state.
    #[error("group {group:?} is at version {now}, the command expected {expected}")]
    Version { group: String, now: Version, expected: Version },
    /// The cluster was founded before.
    #[error("the cluster is founded already")]
    Founded,
    /// Compared with an older configuration.
    #[error("the configuration is at generation {now}, the command expected {expected}")]
    Generation { now: Generation, expected: Generation },
    /// The rule that stands against it.
    #[error("{0}")]
    Rule(String),
    /// The journal does not take it.
    #[error(transparent)]
    Step(#[from] IllegalStep),
}

/// Folds one command into the state.
///
/// # Errors
/// The refusal; the state is unchanged then.
pub fn apply(state: &mut State, command: Command) -> Result<Vec<Event>, Refusal> {
    apply_without(Defects::NONE, state, command)
}

/// The same with rules removed on purpose: the simulator's alone.
///
/// # Errors
/// As [`apply`].
pub fn apply_without(defects: Defects, state: &mut State, command: Command) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Found { incarnation, groups } => found(state, incarnation, groups),
        Command::Change { group, expect, change, at } => {
            let incarnation = state.incarnation;
            let target = group_mut(state, &group)?;
            let now = target.authority.as_ref().map_or(Version(0), |a| a.version);
            if now != expect && !defects.has(Defect::AnyVersion) {
                return Err(Refusal::Version { group: group.to_string(), now, expected: expect });
            }
            let ctx = Ctx { id: &group, at, defects };
            match change {
                Change::Start { primary, reason } => {
                    authority::start(target, incarnation, primary, reason, &ctx)
                }
                Change::Begin { candidate, reason, fenced, kine, fill } => {
                    authority::begin(target, Begin { candidate, reason, fenced, kine, fill }, &ctx)
                }
                Change::Drain { candidate, reason } => authority::drain(target, candidate, reason, &ctx),
                Change::Handover { execution, candidate } => {
                    authority::handover(target, execution, candidate, &ctx)
                }
                Change::Open { execution } => authority::open(target, execution, &ctx),
                Change::Abort { reason } => authority::abort(target, reason, &ctx),
                Change::Async { reason } => durability::weaken(target, reason, &ctx),
                Change::CatchUp { ackers } => durability::catch_up(target, ackers, &ctx),
                Change::Sync { .. } => durability::sync(target, &ctx),
                Change::Route => route(target, &ctx),
                Change::Rejoin { server, reason } => returning::rejoin(target, &server, &reason, &ctx),
                Change::Rebuild { server, extra, reason } => {
                    returning::rebuild(target, &server, extra, &reason, &ctx)
                }
                Change::Quarantine { server, extra, reason } => {
                    returning::quarantine(target, server, extra, reason, &ctx)
                }
                Change::Discard { server, extra, life, reason } => {
                    returning::discard(target, server, (extra, life), reason, &ctx)
                }
                Change::Release { server, reason } => returning::release(target, server, reason, &ctx),
            }
        }
        Command::Incarnate { incarnation, voters, fenced, at } => {
            incarnate(state, incarnation, voters, fenced, at)
        }
        Command::Configure { new, at } => configure::configure(state, new, at),
        Command::Hold { group, held, at } => {
            let target = group_mut(state, &group)?;
            hold(target, held, &Ctx { id: &group, at, defects })
        }
        Command::Maintain { group, maintenance, by, reason, at } => {
            let target = group_mut(state, &group)?;
            maintain(target, maintenance, by, reason, &Ctx { id: &group, at, defects })
        }
        Command::People { change, by, at } => people::people(state, change, by, at),
        Command::StepStarted { group, execution, step, by, at } => {
            let target = group_mut(state, &group)?;
            execution::step_started(target, execution, &step, &by, &Ctx { id: &group, at, defects })
        }
        Command::StepEnded { group, execution, step, outcome, at } => {
            let target = group_mut(state, &group)?;
            execution::step_ended(target, execution, &step, outcome, &Ctx { id: &group, at, defects })
        }
    }
}

/// What every rule needs besides the group itself.
struct Ctx<'a> {
    id: &'a GroupId,
    at: WallTime,
    defects: Defects,
}

fn found(
    state: &mut State,
    incarnation: model::Incarnation,
    groups: std::collections::BTreeMap<GroupId, crate::GroupSpec>,
) -> Result<Vec<Event>, Refusal> {
    if state.incarnation >= incarnation {
        return Err(Refusal::Founded);
    }
    state.incarnation = incarnation;
    let names = groups.keys().cloned().collect();
    for (id, spec) in groups {
        state.groups.entry(id).or_insert_with(|| Group::of(spec));
    }
    Ok(vec![Event::Founded { groups: names }])
}

/// Another life of the cluster: every authority that serves goes on at its epoch, under a stamp that no record
/// of an earlier life can reach (I8). Its primary keeps its lease. Moves are called off, and no group is in
/// `Sync`: a quorum of voters that are gone could have decided otherwise.
fn incarnate(
    state: &mut State,
    incarnation: model::Incarnation,
    voters: Vec<String>,
    fenced: FencedByHand,
    at: WallTime,
) -> Result<Vec<Event>, Refusal> {
    let from = state.incarnation;
    if from >= incarnation {
        return rule(format!("incarnation {incarnation} does not follow {from}"));
    }
    state.incarnation = incarnation;
    let reason = Reason {
        why: "incarnated".into(),
        by: fenced.by.clone(),
        evidence: vec!["what voters that are gone committed without the others is not known".into()],
    };
    let mut events = vec![Event::Incarnated { from, incarnation, voters, fenced, at }];
    for (id, group) in &mut state.groups {
        let ctx = Ctx { id, at, defects: Defects::NONE };
        let Some(authority) = group.authority.clone() else { continue };
        let phase = authority.phase;
        events.push(install(group, Authority { incarnation, ..authority }, None, &ctx));
        // A move under way may have been called off by voters that are gone, and written behind since: what
        // it had proven of the old primary is no proof any more.
        if phase != Phase::Serving {
            events.extend(authority::abort(group, reason.clone(), &ctx).unwrap_or_default());
        }
        // They may have let the primary go on without acks as well.
        events.extend(durability::weaken(group, reason.clone(), &ctx).unwrap_or_default());
    }
    Ok(events)
}

fn group_mut<'a>(state: &'a mut State, id: &GroupId) -> Result<&'a mut Group, Refusal> {
    state.groups.get_mut(id).ok_or_else(|| Refusal::NoSuchGroup(id.to_string()))
}

fn rule<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Rule(text.into()))
}

fn authority_of(group: &Group) -> Result<&Authority, Refusal> {
    group.authority.as_ref().ok_or_else(|| Refusal::Rule("the group has not been started".into()))
}

/// The same decision is noted once, whichever leader makes it.
fn hold(group: &mut Group, held: Option<Held>, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let known = match (&group.held, &held) {
        (Some(a), Some(b)) => a.is_like(b),
        (None, None) => true,
        _ => false,
    };
    if known {
        return rule("it is noted already");
    }
    let event = match &held {
        Some(held) => Event::Held { group: ctx.id.clone(), held: held.clone(), at: ctx.at },
        None => Event::HeldNoMore { group: ctx.id.clone(), at: ctx.at },
    };
    group.held = held;
    Ok(vec![event])
}

/// A window has an end that is not behind it already; ending what is not on is refused.
fn maintain(
    group: &mut Group,
    maintenance: Option<Maintenance>,
    by: String,
    reason: Option<String>,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    match &maintenance {
        Some(m) if m.until <= ctx.at => return rule("maintenance must end after it begins"),
        None if group.maintained(ctx.at).is_none() => return rule("the group is not in maintenance"),
        _ => {}
    }
    let before = group.maintained(ctx.at).cloned();
    group.maintenance.clone_from(&maintenance);
    Ok(vec![Event::Maintenance { group: ctx.id.clone(), maintenance, before, by, reason, at: ctx.at }])
}

/// I7: bound names move only after the database is open at the epoch they move for.
fn route(group: &mut Group, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?;
    if authority.phase != Phase::Serving {
        return rule(format!("names move only while serving, the group is {}", authority.phase));
    }
    if let Some(execution) =
        group.running().filter(|e| ["failover", "switchover"].contains(&e.runbook.name.as_str()))
        && execution.done("await-open").is_none()
    {
        return rule("names move only after the database is open");
    }
    let route = Route { site: authority.primary.site.clone(), epoch: authority.epoch, at: ctx.at };
    if group.route.as_ref().is_some_and(|r| r.epoch > route.epoch) {
        return rule("the names follow a newer epoch already");
    }
    let event =
        Event::Routed { group: ctx.id.clone(), site: route.site.clone(), epoch: route.epoch, at: ctx.at };
    group.route = Some(route);
    let mut events = vec![event];
    committed(group, |action| matches!(action, Action::Route), ctx, &mut events);
    Ok(events)
}

/// The step of the execution under way that consists of the change just made is done with it: no leader
/// can die between the two.
fn committed(group: &mut Group, is: impl Fn(&Action) -> bool, ctx: &Ctx, events: &mut Vec<Event>) {
    let Some(execution) = group.execution.as_mut().filter(|e| e.status == ExecutionStatus::Running) else {
        return;
    };
    let Some(step) = execution.runbook.steps.iter().find(|s| is(&s.action)).map(|s| s.id.clone()) else {
        return;
    };
    let outcome = Outcome::done("committed");
    // A step that is settled already, or whose turn it is not, stays as it is.
    if execution.end(&step, outcome.clone(), ctx.at).is_err() {
        return;
    }
    let (id, status) = (execution.id, execution.status.clone());
    events.push(Event::StepEnded { group: ctx.id.clone(), execution: id, step, outcome, at: ctx.at });
    if status != ExecutionStatus::Running {
        end_execution(group, status, ctx, events);
    }
}

/// Puts a new authority in place: raises the version, remembers since when, tells.
fn install(group: &mut Group, mut authority: Authority, reason: Option<Reason>, ctx: &Ctx) -> Event {
    let before = group.authority.as_ref().map(|a| (a.epoch, a.phase));
    let version = group.authority.as_ref().map_or(Version(0), |a| a.version);
    let old_epoch = before.map_or(Epoch(0), |(e, _)| e);
    assert!(authority.epoch >= old_epoch, "an epoch never goes down");
    authority.version = version.next();
    let event = Event::Authority {
        group: ctx.id.clone(),
        from: before,
        to: (authority.epoch, authority.phase),
        version: authority.version,
        primary: authority.primary.server.clone(),
        site: authority.primary.site.clone(),
        reason,
        at: ctx.at,
    };
    if before != Some((authority.epoch, authority.phase)) {
        group.since = ctx.at;
    }
    group.authority = Some(authority);
    while group.epochs.len() > EPOCHS_MAX {
        group.epochs.pop_first();
    }
    event
}

/// Starts an execution; the caller has seen to it that none runs, or supersedes it.
fn start_execution(
    group: &mut Group,
    runbook: Runbook,
    epoch: Epoch,
    subject: model::ServerId,
    reason: String,
    ctx: &Ctx,
    events: &mut Vec<Event>,
) {
    if group.running().is_some() {
        end_execution(group, ExecutionStatus::Superseded, ctx, events);
    }
    let id = ExecutionId(group.next_execution);
    group.next_execution += 1;
    events.push(Event::ExecutionStarted {
        group: ctx.id.clone(),
        execution: id,
        runbook: runbook.name.clone(),
        subject: subject.clone(),
        at: ctx.at,
    });
    group.execution = Some(Execution::new(id, runbook, epoch, subject, reason, ctx.at));
}

/// Closes the books on the execution under way.
fn end_execution(group: &mut Group, status: ExecutionStatus, ctx: &Ctx, events: &mut Vec<Event>) {
    let Some(execution) = group.execution.as_mut() else { return };
    execution.status = status.clone();
    group.finished.push_back(ExecutionSummary {
        id: execution.id,
        runbook: execution.runbook.name.clone(),
        epoch: execution.epoch,
        subject: execution.subject.clone(),
        reason: execution.reason.clone(),
        status: status.clone(),
        started: execution.started,
        ended: ctx.at,
    });
    while group.finished.len() > FINISHED_MAX {
        group.finished.pop_front();
    }
    events.push(Event::ExecutionEnded { group: ctx.id.clone(), execution: execution.id, status, at: ctx.at });
}
