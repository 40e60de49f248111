//! The way back of a server that is not the primary.

use model::{GtidSet, ServerId};
use runbooks_core::{rebuild as rebuild_runbook, rejoin as rejoin_runbook};

use super::{Ctx, Refusal, authority_of, rule, start_execution};
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
    let runbook = rebuild_runbook(server, extra);
    start_execution(group, runbook, epoch, server.clone(), reason.why.clone(), ctx, &mut events);
    Ok(events)
}

pub(super) fn quarantine(
    group: &mut Group,
    server: ServerId,
    extra: GtidSet,
    reason: Reason,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    may_return(group, &server, ctx)?;
    let event = Event::Quarantined {
        group: ctx.id.clone(),
        server: server.clone(),
        reason: reason.clone(),
        at: ctx.at,
    };
    group.returns.insert(server, ReturnState { extra, reason, at: ctx.at });
    Ok(vec![event])
}
