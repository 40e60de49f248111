//! The way back of a server that is not the primary.

use model::{GtidSet, ProcessStart, ServerId};
use runbooks_core::{quarantine as quarantine_runbook, rebuild as rebuild_runbook, rejoin as rejoin_runbook};

use super::{Ctx, Refusal, authority_of, durability, rule, start_execution};
use crate::{Event, Group, Phase, Reason, ReturnState};

fn may_return(group: &Group, server: &ServerId, ctx: &Ctx) -> Result<(), Refusal> {
    let authority = authority_of(group)?;
    if !group.servers.contains_key(server) {
        return Err(Refusal::NoSuchServer { group: ctx.id.to_string(), server: server.to_string() });
    }
    if authority.phase != Phase::Serving {
        return rule(format!("servers come back while serving, the group is {}", authority.phase));
    }
    if authority.primary.server == *server {
        return rule(format!("server {:?} is the primary", server.as_str()));
    }
    if group.running().is_some() {
        return rule("another operation of the group is under way");
    }
    if group.returns.contains_key(server) {
        return rule(format!("server {:?} is quarantined: a person decides", server.as_str()));
    }
    Ok(())
}

pub(super) fn rejoin(
    group: &mut Group,
    server: &ServerId,
    reason: &Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    may_return(group, server, ctx)?;
    let mut events = Vec::new();
    let epoch = authority_of(group)?.epoch;
    let runbook = rejoin_runbook(server);
    start_execution(group, runbook, epoch, server.clone(), reason.why.clone(), ctx, &mut events);
    Ok(events)
}

pub(super) fn rebuild(
    group: &mut Group,
    server: &ServerId,
    extra: GtidSet,
    reason: &Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    may_return(group, server, ctx)?;
    let mut events = Vec::new();
    let epoch = authority_of(group)?.epoch;
    let runbook = rebuild_runbook(server, extra, None);
    start_execution(group, runbook, epoch, server.clone(), reason.why.clone(), ctx, &mut events);
    Ok(events)
}

/// What it has that nobody else has is written down as SQL at once: whoever decides can read it.
pub(super) fn quarantine(
    group: &mut Group,
    server: ServerId,
    extra: GtidSet,
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    may_return(group, &server, ctx)?;
    let why = reason.why.clone();
    let mut events = vec![Event::Quarantined {
        group: ctx.id.clone(),
        server: server.clone(),
        reason: reason.clone(),
        at: ctx.at,
    }];
    group.returns.insert(server.clone(), ReturnState { extra: extra.clone(), reason, at: ctx.at });
    if !extra.is_empty() {
        let epoch = authority_of(group)?.epoch;
        start_execution(group, quarantine_runbook(&server, extra), epoch, server, why, ctx, &mut events);
    }
    Ok(events)
}

pub(super) fn discard(
    group: &mut Group,
    server: ServerId,
    (extra, life): (GtidSet, ProcessStart),
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let mut events = Vec::new();
    let waiting = group.returns.remove(&server);
    if let Err(refusal) = may_return(group, &server, ctx) {
        group.returns.extend(waiting.map(|w| (server, w)));
        return Err(refusal);
    }
    let epoch = authority_of(group)?.epoch;
    let why = reason.why.clone();
    // Before its copy ends it: nobody waits for an ack that will not come. Nothing is armed meanwhile.
    let acks = authority_of(group)?.acker_set.iter().any(|a| a.server == server);
    if acks {
        let reason = Reason { why: "acker-rebuilt".into(), ..reason.clone() };
        events.extend(durability::weaken(group, reason, ctx)?);
    }
    if waiting.is_some() {
        let (group, server) = (ctx.id.clone(), server.clone());
        events.push(Event::Released { group, server, reason, at: ctx.at });
    }
    let runbook = rebuild_runbook(&server, extra, Some(life));
    start_execution(group, runbook, epoch, server, why, ctx, &mut events);
    Ok(events)
}

pub(super) fn release(
    group: &mut Group,
    server: ServerId,
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    if group.returns.remove(&server).is_none() {
        return rule(format!("server {:?} is not quarantined", server.as_str()));
    }
    Ok(vec![Event::Released { group: ctx.id.clone(), server, reason, at: ctx.at }])
}
