//! Answers to API requests. The leader answers after a read index; any other node asks the leader,
//! and says clearly when there is none. Nothing here waits longer than its deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use app_api::v1::{
    Code, FailoverRequest, FailoverStarted, Loss, MAINTENANCE_MAX_S, MaintenanceAnswer, MaintenanceRequest,
    Problem, REASON_MAX, SwitchoverRequest,
};
use app_link::Replier;
use failover_core::{
    Act, Authority, Change, Command, Group, Maintenance, Phase, fenced_by_hand, loss_of, plan_switchover,
};
use model::{GroupId, SiteId, WallTime};
use serde_json::json;
use tracing::info;

use super::shared::{Fate, Shared};
use super::{configure, given_up, tokens, view};
use crate::caller::Caller;
use crate::clock;
use crate::wire::{self, ApiRequest, ApiResponse, AskedBy};

/// Deadline of a read index for a person: one election fits in.
const READ_WITHIN: Duration = Duration::from_millis(1_200);
/// Deadline of asking the leader.
const LEADER_WITHIN: Duration = Duration::from_millis(3_500);

/// A follower's question to the leader, answered here.
pub fn passed_on(shared: Arc<Shared>, body: &[u8], reply: Replier) {
    let AskedBy { caller, request } = match wire::unpack(body) {
        Ok(asked) => asked,
        Err(why) => return reply.error(format!("request is not readable: {why}")),
    };
    tokio::spawn(async move {
        let response = lead(&shared, &caller, request).await;
        reply.ok(wire::pack(&response));
    });
}

/// Answers on this node: as the leader, or by asking the leader.
pub async fn answer(shared: &Arc<Shared>, caller: &Caller, request: ApiRequest) -> ApiResponse {
    if let Err(refusal) = permitted(shared, caller, &request) {
        return refused(&refusal);
    }
    if shared.leading().is_some() {
        return lead(shared, caller, request).await;
    }
    let leader = shared.raft_status().leader.and_then(|n| shared.settings().roster.endpoint(n));
    let asked_by = AskedBy { caller: caller.clone(), request };
    let asked = match &leader {
        None => Err("no leader is known to this node".to_owned()),
        Some(to) => shared
            .links
            .call(to, wire::API, &wire::pack(&asked_by), LEADER_WITHIN)
            .await
            .map_err(|e| format!("leader {}: {e}", to.name()))
            .and_then(|bytes| wire::unpack::<ApiResponse>(&bytes)),
    };
    match asked {
        Ok(response) => response,
        Err(why) => alone(shared, &asked_by.request, &why),
    }
}

/// Whether this caller may, by the state as applied here. The node that is asked looks, and the leader
/// looks again behind a read index: a token that was revoked orders nothing, whoever has not heard of it.
fn permitted(shared: &Shared, caller: &Caller, request: &ApiRequest) -> Result<(), Box<Problem>> {
    let rights = caller.rights(&shared.state(), clock::wall())?;
    caller.may(&rights, request.need())
}

/// What is asked always gets an answer: this node's own view, marked as unconfirmed. What is ordered
/// needs the leader.
fn alone(shared: &Shared, request: &ApiRequest, why: &str) -> ApiResponse {
    match request {
        ApiRequest::Status => ok(&view::status(shared, false)),
        // A node that has not applied anything yet knows no group; another one may.
        ApiRequest::Explain { .. } if shared.state().groups.is_empty() => no_quorum(why),
        ApiRequest::Explain { group } => explained(shared, group, false),
        ApiRequest::Config => ok(&configure::status(shared, false)),
        ApiRequest::Tokens => ok(&tokens::list(shared, false)),
        ApiRequest::Failover { .. }
        | ApiRequest::Switchover { .. }
        | ApiRequest::Rebuild { .. }
        | ApiRequest::Release { .. }
        | ApiRequest::Configure { .. }
        | ApiRequest::Maintain { .. }
        | ApiRequest::IssueToken { .. }
        | ApiRequest::RevokeToken { .. }
        | ApiRequest::Acknowledge { .. }
        | ApiRequest::BreakGlass { .. } => no_quorum(why),
    }
}

fn explained(shared: &Shared, group: &str, quorum: bool) -> ApiResponse {
    let id = group.parse::<GroupId>().ok();
    match id.and_then(|id| view::explain(shared, &id, quorum)) {
        Some(explanation) => ok(&explanation),
        None => no_group(shared, group),
    }
}

/// Whether a quorum confirms just now that what this leader shows is so.
pub async fn confirmed(shared: &Shared) -> bool {
    shared.raft.read_index(Instant::now() + READ_WITHIN).await.is_ok()
}

async fn lead(shared: &Arc<Shared>, caller: &Caller, request: ApiRequest) -> ApiResponse {
    let confirmed = shared.raft.read_index(Instant::now() + READ_WITHIN).await;
    if let Err(refusal) = permitted(shared, caller, &request) {
        return refused(&refusal);
    }
    match request {
        ApiRequest::Status => ok(&view::status(shared, confirmed.is_ok())),
        ApiRequest::Explain { group } => explained(shared, &group, confirmed.is_ok()),
        ApiRequest::Config => ok(&configure::status(shared, confirmed.is_ok())),
        ApiRequest::Configure { body } => match confirmed {
            Ok(_) => match configure::configure(shared, body).await {
                Ok(plan) => ok(&plan),
                Err(problem) => refused(&problem),
            },
            Err(error) => no_quorum(&error.to_string()),
        },
        ApiRequest::Failover { group, body } => match confirmed {
            Ok(_) => failover(shared, &group, &body).await,
            Err(error) => no_quorum(&error.to_string()),
        },
        ApiRequest::Switchover { group, body } => match confirmed {
            Ok(_) => switchover(shared, &group, &body).await,
            Err(error) => no_quorum(&error.to_string()),
        },
        ApiRequest::Rebuild { group, server, body } => match confirmed {
            Ok(_) => given_up::rebuild(shared, &group, &server, &body).await,
            Err(error) => no_quorum(&error.to_string()),
        },
        ApiRequest::Release { group, server, body } => match confirmed {
            Ok(_) => given_up::release(shared, &group, &server, &body).await,
            Err(error) => no_quorum(&error.to_string()),
        },
        ApiRequest::Maintain { group, body, by, reason } => match confirmed {
            Ok(_) => maintain(shared, &group, body, by, reason).await,
            Err(error) => no_quorum(&error.to_string()),
        },
        ApiRequest::Tokens => ok(&tokens::list(shared, confirmed.is_ok())),
        request @ (ApiRequest::IssueToken { .. }
        | ApiRequest::RevokeToken { .. }
        | ApiRequest::Acknowledge { .. }
        | ApiRequest::BreakGlass { .. }) => match confirmed {
            Ok(_) => tokens::order(shared, caller, request).await,
            Err(error) => no_quorum(&error.to_string()),
        },
    }
}

/// Begins, prolongs or ends maintenance.
async fn maintain(
    shared: &Arc<Shared>,
    group: &str,
    body: Option<MaintenanceRequest>,
    by: String,
    reason: Option<String>,
) -> ApiResponse {
    let id = group.parse::<GroupId>().ok().filter(|id| shared.state().groups.contains_key(id));
    let Some(id) = id else { return no_group(shared, group) };
    let now = clock::wall();
    let maintenance = match body.map(|b| window(&b, &by, now)).transpose() {
        Ok(maintenance) => maintenance,
        Err(why) => return problem(Code::BadRequest, why, vec![]),
    };
    info!(group, by, ?maintenance, "maintenance ordered by a person");
    let until_ms = maintenance.as_ref().map(|m| m.until.0);
    let command = Command::Maintain { group: id, maintenance, by, reason, at: now };
    match shared.propose(&command).await {
        Fate::Applied => ok(&MaintenanceAnswer { group: group.to_owned(), until_ms }),
        Fate::Refused(refusal) => problem(Code::Refused, refusal.to_string(), vec![]),
        Fate::NotProposed(why) => no_quorum(&why),
        Fate::Unknown(why) => {
            let detail = vec!["it may or may not stand: twofold status tells".into()];
            problem(Code::NoQuorum, format!("no quorum confirmed it: {why}"), detail)
        }
    }
}

/// The window that is asked for, from `now` on.
fn window(asked: &MaintenanceRequest, by: &str, now: WallTime) -> Result<Maintenance, String> {
    let reason = asked.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(format!("maintenance needs a reason of 1 to {REASON_MAX} characters"));
    }
    if !(1..=MAINTENANCE_MAX_S).contains(&asked.for_s) {
        return Err(format!("maintenance of {} s is not between 1 s and 7 days", asked.for_s));
    }
    let lasts = i64::try_from(asked.for_s * 1_000).expect("a week in milliseconds fits");
    let until = WallTime(now.0 + lasts);
    Ok(Maintenance { by: by.to_owned(), reason: reason.to_owned(), since: now, until })
}

/// The group and the site that a request names.
fn named(shared: &Shared, group: &str, site: &str) -> Result<(GroupId, SiteId), ApiResponse> {
    let id = group.parse::<GroupId>().ok().filter(|id| shared.state().groups.contains_key(id));
    let id = id.ok_or_else(|| no_group(shared, group))?;
    let known = site.parse::<SiteId>().ok().filter(|site| shared.config().sites().contains_key(site));
    let site = known.ok_or_else(|| {
        let names: Vec<String> = shared.config().sites().keys().map(ToString::to_string).collect();
        let detail = vec![format!("known: {}", names.join(", "))];
        problem(Code::NotFound, format!("there is no site {site:?}"), detail)
    })?;
    Ok((id, site))
}

/// Plans a switchover; begins it unless that was all, or something stands against it.
async fn switchover(shared: &Arc<Shared>, group: &str, request: &SwitchoverRequest) -> ApiResponse {
    let (id, site) = match named(shared, group, &request.to) {
        Ok(named) => named,
        Err(response) => return response,
    };
    let state = shared.state();
    let planned = plan_switchover(
        &state,
        shared.desk().facts(),
        &shared.policy(),
        &id,
        &site,
        &request.by,
        clock::now(),
    );
    let plan = match planned {
        Ok(plan) => plan,
        Err(why) => {
            let title = format!("group {group:?} cannot be moved to {site}: {why}");
            return problem(Code::Refused, title, vec![format!("see: twofold explain group {group}")]);
        }
    };
    let epoch = state.groups[&id].authority.as_ref().map_or(0, |a| a.epoch.0 + 1);
    let mut shown = view::plan(group, &site, epoch, &plan);
    if request.dry_run {
        return ok(&shown);
    }
    let Some(mut act) = plan.act else {
        let broken = plan.broken().map(|p| {
            let next = p.next.as_ref().map_or(String::new(), |n| format!("; {n}"));
            format!("{}: {}{next}", p.name, p.evidence.join("; "))
        });
        let title = format!("group {group:?} is not ready to be moved to {site}; nothing was done");
        return problem(Code::Refused, title, broken.collect());
    };
    info!(group, to = %site, by = request.by, "switchover ordered by a person");
    give_reason(&mut act, request.reason.as_deref());
    let begun = |a: &Authority| a.phase == Phase::Draining || a.epoch.0 >= epoch;
    let fate = propose_surely(shared, &id, act, |g| g.authority.as_ref().is_some_and(begun)).await;
    match fate {
        Fate::Applied => {
            let state = shared.state();
            let begun = state.groups.get(&id).and_then(|g| g.execution.as_ref());
            shown.execution = begun.map(|e| e.id.0);
            ok(&shown)
        }
        Fate::Refused(refusal) => problem(Code::Refused, refusal.to_string(), vec![]),
        Fate::NotProposed(why) | Fate::Unknown(why) => no_quorum(&why),
    }
}

/// Proposes; an unknown fate is settled by a read index, since the entry, if there is one, lies before it.
pub async fn propose_surely(shared: &Shared, id: &GroupId, act: Act, begun: impl Fn(&Group) -> bool) -> Fate {
    let command =
        Command::Change { group: id.clone(), expect: act.expect, change: act.change, at: clock::wall() };
    let mut fate = shared.propose(&command).await;
    while matches!(fate, Fate::Unknown(_)) && shared.leading().is_some() {
        if shared.raft.read_index(Instant::now() + READ_WITHIN).await.is_ok() {
            let state = shared.state();
            fate = match state.groups.get(id).is_some_and(&begun) {
                true => Fate::Applied,
                false => Fate::NotProposed("it was dropped".into()),
            };
        }
    }
    fate
}

async fn failover(shared: &Arc<Shared>, group: &str, request: &FailoverRequest) -> ApiResponse {
    let (id, site) = match named(shared, group, &request.to) {
        Ok(named) => named,
        Err(response) => return response,
    };
    let state = shared.state();
    let now = clock::now();
    let stated = loss_of(&state, shared.desk().facts(), &shared.policy(), &id, &site, &request.by, now);
    let (loss, mut act) = match stated {
        Ok(stated) => stated,
        Err(why) => {
            let title = format!("group {group:?} cannot be moved to {site}: {why}");
            return problem(Code::Refused, title, vec![format!("see: twofold explain group {group}")]);
        }
    };
    let seen = request.fenced.as_deref();
    let word = fenced_by_hand(&state, shared.desk().facts(), &shared.policy(), &id, &request.by, seen, now);
    match (word, &mut act.change) {
        (Ok(word), Change::Begin { fenced, .. }) => *fenced = word,
        (Ok(_), _) => {}
        (Err(why), _) => {
            let next = match seen {
                None => "--fenced \"what was seen, by whom\"",
                Some(_) => "see: twofold failover --help, and twofold status for whose guard is heard",
            };
            let title = format!("the fence of group {group:?} is not confirmed: {why}");
            return problem(Code::Refused, title, vec![next.into()]);
        }
    }
    let shown = Loss {
        id: loss.id.clone(),
        none: loss.none,
        transactions: loss.missing.count(),
        unseen: loss.unseen,
        unknown_ms: loss.reading_age_us.map(|us| us / 1_000),
        except: super::view::except(shared, &id),
        on: None,
    };
    let title = match consent(&loss.id, loss.none, request.accept_loss.as_deref()) {
        Consent::Given => None,
        Consent::Missing => {
            Some(format!("moving group {group:?} to {site} may lose acknowledged writes; nothing was done"))
        }
        Consent::Lapsed(id) => {
            Some(format!("loss {id:?} was never stated, or has lapsed since; nothing was done"))
        }
    };
    if let Some(title) = title {
        let consented = if loss.none { String::new() } else { format!(" --accept-loss {}", loss.id) };
        let fenced = seen.map_or("", |_| " --fenced \"…\"");
        let mut detail = vec![format!("to go on: twofold failover {group} --to {site}{consented}{fenced}")];
        if !loss.none {
            detail.push("accepting a loss needs the role approver".into());
        }
        let mut response = problem(Code::LossNotAccepted, title, detail);
        response.body["loss"] = json!(shown);
        return response;
    }
    let Change::Begin { candidate, .. } = &act.change else {
        return problem(Code::Failed, "the plan is no failover".into(), vec![]);
    };
    let candidate = candidate.server.to_string();
    info!(group, to = %site, by = request.by, loss = loss.id, "failover ordered by a person");
    give_reason(&mut act, request.reason.as_deref());
    shared.desk().withhold(&id);
    let fate =
        propose_surely(shared, &id, act, |g| g.authority.as_ref().is_some_and(|a| !a.phase.grants())).await;
    shared.desk().resume(&id);
    match fate {
        Fate::Applied => {
            let epoch =
                shared.state().groups.get(&id).and_then(|g| g.authority.as_ref()).map_or(0, |a| a.epoch.0);
            ok(&FailoverStarted { group: group.into(), epoch, candidate, loss: shown })
        }
        Fate::Refused(refusal) => problem(Code::Refused, refusal.to_string(), vec![]),
        Fate::NotProposed(why) | Fate::Unknown(why) => no_quorum(&why),
    }
}

/// What a person gives as a reason stands among the inputs, in the audit and in `explain`.
pub fn give_reason(act: &mut Act, given: Option<&str>) {
    let given = given.map(str::trim).filter(|text| !text.is_empty());
    if let (
        Change::Begin { reason, .. }
        | Change::Drain { reason, .. }
        | Change::Discard { reason, .. }
        | Change::Release { reason, .. },
        Some(text),
    ) = (&mut act.change, given)
    {
        reason.evidence.push(format!("reason given: {text}"));
    }
}

/// Whether a person has accepted the loss as it is stated now.
#[derive(Debug, PartialEq, Eq)]
pub enum Consent<'a> {
    /// It was accepted, or there is none.
    Given,
    /// There is a loss and nothing was accepted.
    Missing,
    /// Another statement was accepted than the one that holds now: whoever did so saw another state.
    Lapsed(&'a str),
}

pub fn consent<'a>(stated: &str, none: bool, accepted: Option<&'a str>) -> Consent<'a> {
    match accepted {
        Some(id) if id == stated => Consent::Given,
        Some(id) => Consent::Lapsed(id),
        None if none => Consent::Given,
        None => Consent::Missing,
    }
}

pub fn ok<T: serde::Serialize>(value: &T) -> ApiResponse {
    ApiResponse { status: 200, body: serde_json::to_value(value).expect("api types are representable") }
}

pub fn problem(code: Code, title: String, detail: Vec<String>) -> ApiResponse {
    refused(&Problem { code, title, detail, loss: None })
}

fn refused(problem: &Problem) -> ApiResponse {
    let body = serde_json::to_value(problem).expect("a problem is representable");
    ApiResponse { status: problem.code.http_status(), body }
}

pub fn no_quorum(why: &str) -> ApiResponse {
    let detail =
        vec!["bring voters back, or ask another node; twofold status shows what this node sees".into()];
    problem(Code::NoQuorum, format!("no quorum: {why}"), detail)
}

pub fn no_group(shared: &Shared, group: &str) -> ApiResponse {
    let known: Vec<String> = shared.config().groups().keys().map(ToString::to_string).collect();
    problem(
        Code::NotFound,
        format!("there is no group {group:?}"),
        vec![format!("known: {}", known.join(", "))],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_loss_is_the_one_that_is_stated_or_has_lapsed() {
        let lossy = false;
        let none = true;
        assert_eq!(consent("a1", lossy, None), Consent::Missing);
        assert_eq!(consent("a1", lossy, Some("a1")), Consent::Given);
        assert_eq!(consent("a1", lossy, Some("b2")), Consent::Lapsed("b2"));
        assert_eq!(consent("a1", none, None), Consent::Given);
        assert_eq!(consent("a1", none, Some("a1")), Consent::Given);
        assert_eq!(consent("a1", none, Some("junk")), Consent::Lapsed("junk"), "whoever typed it saw more");
    }
}
