//! Orders about one server that is not the primary: copy it anew, or take it out of quarantine.

use std::sync::Arc;

use app_api::v1::{Code, Loss, RebuildRequest, RebuildStarted, ReleaseRequest, Released};
use failover_core::{Group, discard_of, release_of};
use model::{GroupId, ServerId};
use serde_json::json;
use tracing::info;

use super::answer_api::{Consent, consent, give_reason, no_group, no_quorum, ok, problem, propose_surely};
use super::shared::{Fate, Shared};
use crate::clock;
use crate::wire::ApiResponse;

/// The group and the server that a request names.
fn named(shared: &Shared, group: &str, server: &str) -> Result<(GroupId, ServerId), ApiResponse> {
    let state = shared.state();
    let id = group.parse::<GroupId>().ok().filter(|id| state.groups.contains_key(id));
    let id = id.ok_or_else(|| no_group(shared, group))?;
    let servers = &state.groups[&id].servers;
    let known = server.parse::<ServerId>().ok().filter(|s| servers.contains_key(s));
    let known = known.ok_or_else(|| {
        let names: Vec<&str> = servers.keys().map(ServerId::as_str).collect();
        let title = format!("group {group:?} has no server {server:?}");
        problem(Code::NotFound, title, vec![format!("known: {}", names.join(", "))])
    })?;
    Ok((id, known))
}

fn refused(group: &str, title: String) -> ApiResponse {
    problem(Code::Refused, title, vec![format!("see: twofold explain group {group}")])
}

/// Begins to copy a server anew, once what that gives up is accepted.
pub async fn rebuild(
    shared: &Arc<Shared>,
    group: &str,
    server: &str,
    request: &RebuildRequest,
) -> ApiResponse {
    let (id, server) = match named(shared, group, server) {
        Ok(named) => named,
        Err(response) => return response,
    };
    let state = shared.state();
    let policy = shared.policy();
    let stated = discard_of(&state, shared.desk().facts(), &policy, &id, &server, &request.by, clock::now());
    let (given_up, mut act) = match stated {
        Ok(stated) => stated,
        Err(why) => return refused(group, format!("{server} cannot be copied anew: {why}")),
    };
    let title = match consent(&given_up.id, given_up.none, request.accept_loss.as_deref()) {
        Consent::Given => None,
        Consent::Missing => Some(format!("{server} has transactions that are given up; nothing was done")),
        Consent::Lapsed(id) => {
            Some(format!("loss {id:?} was never stated, or has lapsed since; nothing was done"))
        }
    };
    if let Some(title) = title {
        let consented = if given_up.none { String::new() } else { format!(" --accept-loss {}", given_up.id) };
        let mut detail = vec![
            match given_up.extra.is_empty() {
                true => "it has other transactions under numbers of the primary's".to_owned(),
                false => format!("it has, and the primary has not: {}", given_up.extra),
            },
            format!("to go on: twofold db rebuild {group} {server}{consented}"),
        ];
        if !given_up.none {
            detail.push("accepting a loss needs the role approver".into());
        }
        let transactions = given_up.extra.count();
        let loss = Loss {
            id: given_up.id,
            none: given_up.none,
            transactions,
            unseen: Some(0),
            unknown_ms: None,
            except: None,
            on: Some(server.to_string()),
        };
        let mut response = problem(Code::LossNotAccepted, title, detail);
        response.body["loss"] = json!(loss);
        return response;
    }
    info!(group, %server, by = request.by, loss = given_up.id, "rebuild ordered by a person");
    give_reason(&mut act, request.reason.as_deref());
    let before = state.groups[&id].execution.as_ref().map(|e| e.id);
    let another = |g: &Group| g.execution.as_ref().map(|e| e.id) != before;
    match propose_surely(shared, &id, act, another).await {
        Fate::Applied => {
            let state = shared.state();
            let begun = state.groups.get(&id).and_then(|g| g.execution.as_ref()).map(|e| e.id);
            match begun.filter(|_| begun != before) {
                Some(execution) => ok(&RebuildStarted {
                    group: group.into(),
                    server: server.to_string(),
                    execution: execution.0,
                    transactions: given_up.extra.count(),
                }),
                None => no_quorum("it may or may not have begun: twofold status tells"),
            }
        }
        Fate::Refused(refusal) => problem(Code::Refused, refusal.to_string(), vec![]),
        Fate::NotProposed(why) | Fate::Unknown(why) => no_quorum(&why),
    }
}

/// Takes a server out of quarantine.
pub async fn release(
    shared: &Arc<Shared>,
    group: &str,
    server: &str,
    request: &ReleaseRequest,
) -> ApiResponse {
    let (id, server) = match named(shared, group, server) {
        Ok(named) => named,
        Err(response) => return response,
    };
    let state = shared.state();
    let policy = shared.policy();
    let ordered = release_of(&state, shared.desk().facts(), &policy, &id, &server, &request.by, clock::now());
    let mut act = match ordered {
        Ok(act) => act,
        Err(why) => return refused(group, format!("{server} cannot be released: {why}")),
    };
    info!(group, %server, by = request.by, "release ordered by a person");
    give_reason(&mut act, request.reason.as_deref());
    match propose_surely(shared, &id, act, |g| !g.returns.contains_key(&server)).await {
        Fate::Applied => ok(&Released { group: group.into(), server: server.to_string() }),
        Fate::Refused(refusal) => problem(Code::Refused, refusal.to_string(), vec![]),
        Fate::NotProposed(why) | Fate::Unknown(why) => no_quorum(&why),
    }
}
