//! Start, Begin, Drain, Handover, Open, Abort: who may write (I4).

use std::collections::BTreeSet;

use model::{Epoch, Incarnation, KINE_GAP, ServerId, SyncGeneration, Version};
use runbooks_core::{
    Action, Evidence, Execution, ExecutionId, Handover, Outcome, Runbook, failover, switchover,
};

use super::{Ctx, Refusal, authority_of, committed, end_execution, install, rule, start_execution};
use crate::command::TWOFOLD;
use crate::{
    Acker, Authority, Defect, Durability, EpochRecord, Event, FencedByHand, Group, Phase, Primary, Reason,
    Revocation,
};

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
        leases: group.leases,
        kine: None,
    };
    group.epochs.insert(Epoch(1), EpochRecord { primary, served: true, ended: None });
    Ok(vec![install(group, authority, Some(reason), ctx)])
}

/// What a Begin says.
pub(super) struct Begin {
    pub candidate: Primary,
    pub reason: Reason,
    pub fenced: Option<FencedByHand>,
    pub kine: Option<u64>,
    pub fill: BTreeSet<ServerId>,
}

/// Revokes E, names the candidate of E+1 and starts the failover: one entry, so that no state
/// exists in which E is revoked and nobody is at work.
pub(super) fn begin(group: &mut Group, begin: Begin, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    // Decided before the maintenance was committed, and ordered after it.
    if let Some(m) = group.maintained(ctx.at).filter(|_| begin.reason.by == TWOFOLD) {
        return rule(format!("the group is in maintenance by {}: {}", m.by, m.reason));
    }
    if !authority_of(group)?.phase.grants() {
        return begin_anew(group, begin, ctx);
    }
    let Begin { candidate, reason, fenced, kine, fill } = begin;
    let old = authority_of(group)?.clone();
    may_take_over(group, &old, &candidate, ctx)?;
    if !ctx.defects.has(Defect::FillsFromNobody) {
        may_fill(&old, &candidate, &fill, &reason)?;
    }
    let ackers = stopped_by_a_move(&old, &candidate);
    let runbook = failover(&old.primary.server, old.epoch, &candidate.server, ackers, &fill);
    let (next, subject, why) = (old.epoch.next(), candidate.server.clone(), reason.why.clone());
    // The gap of the epoch that ends may be heard of by nobody.
    let left = old.kine.map_or(0, |beyond| beyond.saturating_add(KINE_GAP));
    let kine = kine.map(|heard| heard.max(left));
    let mut events = vec![revoke(group, old, candidate, kine, reason, ctx)];
    start_execution(group, runbook, next, subject, why, ctx, &mut events);
    if let Some(word) = fenced {
        attest(group, &word, ctx, &mut events);
    }
    Ok(events)
}

/// The candidate of E+1 cannot take over, and another server gets E+2. Allowed because `Open` of E+1 was never
/// committed, as with `Abort`; what is fenced or outwaited, and whose ackers are stopped, stays E: nobody wrote after it
/// (interleaving 49). Only out of `Sync` of a lease that runs out: what was acknowledged in E is on its ackers,
/// whoever else is gone by now.
fn begin_anew(group: &mut Group, begin: Begin, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let Begin { candidate, reason, fenced, kine, fill } = begin;
    let promised = authority_of(group)?.clone();
    let Some(revoked) = group.revoked.clone() else {
        return rule("no revoked epoch is on record");
    };
    if revoked.durability != Durability::Sync || !revoked.leases.is_timed() || fenced.is_some() {
        return rule(format!("a failover begins while serving, the group is {}", promised.phase));
    }
    if candidate.server == promised.primary.server {
        return rule(format!("the failover is to {} already", candidate.server));
    }
    let (old, revoked_kine) = (revoked.serving(&promised), revoked.kine);
    may_take_over(group, &old, &candidate, ctx)?;
    if !ctx.defects.has(Defect::FillsFromNobody) {
        may_fill(&old, &candidate, &fill, &reason)?;
    }
    let forgets = ctx.defects.has(Defect::BegunAnewForgets);
    let ackers = stopped_by_a_move(&old, &candidate);
    let (from, epoch) = if forgets { (&promised.primary, promised.epoch) } else { (&old.primary, old.epoch) };
    let runbook = failover(&from.server, epoch, &candidate.server, ackers, &fill);
    let (next, subject, why) = (promised.epoch.next(), candidate.server.clone(), reason.why.clone());
    group.epochs.insert(next, EpochRecord { primary: candidate.clone(), served: false, ended: None });
    if forgets {
        group.revoked = Some(Revocation { epoch, primary: from.clone(), ..revoked });
    }
    let left = revoked_kine.map_or(0, |beyond| beyond.saturating_add(KINE_GAP));
    let kine = kine.map(|heard| heard.max(left)).max(promised.kine);
    let leases = group.leases;
    let authority =
        Authority { epoch: next, primary: candidate, phase: Phase::Revoked, leases, kine, ..promised };
    let mut events = vec![install(group, authority, Some(reason), ctx)];
    start_execution(group, runbook, next, subject, why, ctx, &mut events);
    Ok(events)
}

/// A candidate of the primary's own site is no acker: in `Sync` it takes what was acknowledged from one. Only a person
/// may do without, who has accepted the loss.
fn may_fill(
    old: &Authority,
    candidate: &Primary,
    fill: &BTreeSet<ServerId>,
    reason: &Reason,
) -> Result<(), Refusal> {
    let acks = |server: &ServerId| old.acker_set.iter().any(|a| a.server == *server);
    if let Some(other) = fill.iter().find(|s| !acks(s) || **s == candidate.server) {
        return rule(format!("{other} is no acker that {} could take anything from", candidate.server));
    }
    let unfilled = old.durability == Durability::Sync && !acks(&candidate.server) && fill.is_empty();
    if unfilled && reason.by == TWOFOLD {
        return rule(format!(
            "{} is no acker and takes from none: it may lack what was acknowledged",
            candidate.server
        ));
    }
    Ok(())
}

/// The fence is what a person saw: no guard is left that could confirm it.
fn attest(group: &mut Group, word: &FencedByHand, ctx: &Ctx, events: &mut Vec<Event>) {
    let Some(execution) = group.execution.as_mut() else { return };
    let Some(step) = execution.runbook.steps.iter().find(|s| s.id.0 == "fence").map(|s| s.id.clone()) else {
        return;
    };
    let evidence = Evidence::Fenced { by: format!("the word of {}: {}", word.by, word.seen) };
    if execution.attest(&step, evidence.clone(), ctx.at).is_ok() {
        let (id, outcome) = (execution.id, Outcome::Done { evidence });
        events.push(Event::StepEnded { group: ctx.id.clone(), execution: id, step, outcome, at: ctx.at });
    }
}

/// Whom the clock-free fence stops: the ackers of the epoch, and whoever takes over.
fn stopped_by_a_move(old: &Authority, candidate: &Primary) -> BTreeSet<ServerId> {
    let ackers = old.acker_set.iter().map(|a| a.server.clone());
    ackers.chain([candidate.server.clone()]).collect()
}

fn may_take_over(group: &Group, old: &Authority, candidate: &Primary, ctx: &Ctx) -> Result<(), Refusal> {
    known(group, candidate, ctx)?;
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
    Ok(())
}

/// The epoch of `old` is over; `candidate` is named for the next one and may not write yet.
fn revoke(
    group: &mut Group,
    old: Authority,
    candidate: Primary,
    kine: Option<u64>,
    reason: Reason,
    ctx: &Ctx,
) -> Event {
    let next = old.epoch.next();
    if let Some(record) = group.epochs.get_mut(&old.epoch) {
        record.ended = Some(old.durability);
    }
    group.epochs.insert(next, EpochRecord { primary: candidate.clone(), served: false, ended: None });
    group.revoked = Some(Revocation {
        epoch: old.epoch,
        primary: old.primary.clone(),
        durability: old.durability,
        ackers: old.acker_set.iter().cloned().collect(),
        leases: old.leases,
        kine: old.kine,
        reason: reason.clone(),
    });
    let leases = group.leases;
    let authority = Authority { epoch: next, primary: candidate, phase: Phase::Revoked, leases, kine, ..old };
    install(group, authority, Some(reason), ctx)
}

/// `Draining`: the epoch goes on, its primary takes no new writes. What follows is the switchover's.
pub(super) fn drain(
    group: &mut Group,
    candidate: Primary,
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let old = authority_of(group)?.clone();
    if old.phase != Phase::Serving {
        return rule(format!("a switchover begins while serving, the group is {}", old.phase));
    }
    if let Some(running) = group.running() {
        return rule(format!("a {} is under way: one operation at a time", running.runbook.name));
    }
    may_take_over(group, &old, &candidate, ctx)?;
    let runbook = switchover(&Handover {
        old: old.primary.server.clone(),
        epoch: old.epoch,
        candidate: candidate.server.clone(),
        uuid: candidate.uuid.clone(),
        site: candidate.site.clone(),
        ackers: stopped_by_a_move(&old, &candidate),
    });
    // Beside the old primary the new one's acker is none of the two.
    let acknowledged = group.leases.is_timed() && candidate.site != old.primary.site;
    let runbook = if acknowledged { runbook } else { unacknowledged(runbook) };
    let (next, why) = (old.epoch.next(), reason.why.clone());
    let mut events = vec![install(group, Authority { phase: Phase::Draining, ..old }, Some(reason), ctx)];
    start_execution(group, runbook, next, candidate.server, why, ctx, &mut events);
    Ok(events)
}

/// A switchover whose new primary opens in `Async`: a site that is no quorum by itself could not weaken
/// durability when the other one is lost, and its first write would wait for ever.
#[must_use]
pub(crate) fn unacknowledged(runbook: Runbook) -> Runbook {
    runbook.without(&["reverse", "await-acker"])
}

/// The drained epoch is revoked, and the switchover that drained it goes on as a failover does.
pub(super) fn handover(
    group: &mut Group,
    id: ExecutionId,
    candidate: Primary,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let old = authority_of(group)?.clone();
    if old.phase != Phase::Draining {
        return rule(format!("a handover follows draining, the group is {}", old.phase));
    }
    let Some(execution) = group.running().filter(|e| e.id == id) else {
        return rule(format!("execution {id} is not the one under way"));
    };
    for step in ["block", "catch-up"] {
        if execution.done(step).is_none() {
            return rule(format!("step {step:?} is not done"));
        }
    }
    may_take_over(group, &old, &candidate, ctx)?;
    let reason = Reason {
        why: "switchover".into(),
        by: TWOFOLD.into(),
        evidence: vec![format!("{} is drained, {} has caught up", old.primary.server, candidate.server)],
    };
    let mut events = vec![revoke(group, old, candidate, None, reason, ctx)];
    committed(group, |action| matches!(action, Action::Handover { .. }), ctx, &mut events);
    Ok(events)
}

/// `Serving(E+1)`: only with E fenced, or outwaited where E was `Sync`, its ackers stopped, and the
/// candidate drained and promoted (I4, I5). Durability starts over: `Async` and no ackers, or `CatchUp`
/// with the former primary where the journal says that it acknowledges already.
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
    let gathers = execution.runbook.steps.iter().filter(|s| matches!(s.action, Action::Gather { .. }));
    for step in ["drain", "promote"].into_iter().chain(gathers.map(|s| s.id.0.as_str())) {
        if execution.done(step).is_none() {
            return rule(format!("step {step:?} is not done"));
        }
    }
    match execution.done("fence") {
        Some(Evidence::Fenced { .. }) => {}
        Some(Evidence::Outwaited { .. }) if group.revoked.as_ref().is_some_and(|r| !r.leases.is_timed()) => {
            return rule("the revoked epoch's lease does not run out: only a confirmed fence promotes");
        }
        Some(Evidence::Outwaited { .. }) if authority.durability == Durability::Sync => {}
        Some(Evidence::Outwaited { .. }) => {
            return rule(format!(
                "in {} only a confirmed fence promotes, never W alone",
                authority.durability
            ));
        }
        _ => return rule("the revoked epoch is neither fenced nor outwaited"),
    }
    // Whatever else the runbook wants before: a switchover compares, and waits for its acker.
    let step = execution.runbook.steps.iter().find(|s| matches!(s.action, Action::Open));
    if let Some(missing) = step.and_then(|s| s.needs.iter().find(|n| !execution.passed(n))) {
        return rule(format!("step {:?} is not done", missing.0));
    }
    let from = authority.durability;
    let acker = attached(group, execution, &authority);
    let (to, g) = match acker {
        Some(_) => (Durability::CatchUp { since: ctx.at }, authority.g.next()),
        None => (Durability::Async { since: ctx.at }, authority.g),
    };
    if let Some(record) = group.epochs.get_mut(&authority.epoch) {
        record.served = true;
    }
    let mut acker_set = acker.into_iter().collect();
    let mut to = to;
    if ctx.defects.has(Defect::SyncAcrossPromotion) {
        (to, acker_set) = (from, authority.acker_set.clone());
    }
    let opened = Authority { phase: Phase::Serving, durability: to, acker_set, g, ..authority };
    let mut events = vec![install(group, opened, None, ctx)];
    events.push(Event::Durability { group: ctx.id.clone(), from, to, reason: None, at: ctx.at });
    committed(group, |action| matches!(action, Action::Open), ctx, &mut events);
    Ok(events)
}

/// The acker that a switchover has attached before it opens: of another site, and not in quarantine.
fn attached(group: &Group, execution: &Execution, authority: &Authority) -> Option<Acker> {
    let Some(Evidence::Attached { server, uuid, process_start }) = execution.done("await-acker") else {
        return None;
    };
    let counts = group.site_of(server).is_some_and(|site| *site != authority.primary.site)
        && !group.returns.contains_key(server);
    counts.then(|| Acker { server: server.clone(), uuid: uuid.clone(), process_start: *process_start })
}

/// `Serving(E+1)` for the same primary, whose switchover came to nothing. Acks went on all the while:
/// `Sync` stands.
fn undrain(group: &mut Group, authority: Authority, reason: Reason, ctx: &Ctx) -> Vec<Event> {
    let mut events = Vec::new();
    end_execution_if_running(group, &reason, ctx, &mut events);
    if let Some(record) = group.epochs.get_mut(&authority.epoch) {
        record.ended = Some(authority.durability);
    }
    let epoch = authority.epoch.next();
    let record = EpochRecord { primary: authority.primary.clone(), served: true, ended: None };
    group.epochs.insert(epoch, record);
    let from = authority.durability;
    let mut back = Authority { epoch, phase: Phase::Serving, kine: None, ..authority };
    if matches!(from, Durability::CatchUp { .. }) {
        back.durability = Durability::Async { since: ctx.at };
        back.acker_set = BTreeSet::new();
    }
    let to = back.durability;
    events.insert(0, install(group, back, Some(reason), ctx));
    if from != to {
        events.push(Event::Durability { group: ctx.id.clone(), from, to, reason: None, at: ctx.at });
    }
    events
}

/// `Serving(E+2)` for the holder of E. Allowed because `Open` of E+1 was never committed: it would
/// have left `Revoked`/`Promoting`, and the raised version refuses one that is still on its way.
pub(super) fn abort(group: &mut Group, reason: Reason, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?.clone();
    match authority.phase {
        Phase::Serving => return rule("there is nothing to call off, the group is serving"),
        Phase::Draining => return Ok(undrain(group, authority, reason, ctx)),
        Phase::Revoked | Phase::Promoting => {}
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
        // Its holder may not have heard of any of this: the lease it has is the one to reckon with.
        leases: revoked.leases,
        kine: None,
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
