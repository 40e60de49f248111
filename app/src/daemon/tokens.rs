//! Tokens on the leader: issued, revoked, listed; and the record of those that break the glass.

use std::sync::Arc;

use app_api::v1::{
    BreakGlassStatus, Code, IssuedToken, TOKEN_GROUPS_MAX, TOKEN_MAX_S, TokenAnswer, TokenList, TokenRequest,
    TokenStatus,
};
use failover_core::{Command, PeopleChange, Refusal, State, Terms, Token};
use model::{GroupId, TokenId, WallTime};

use super::answer_api::{no_quorum, ok, problem};
use super::shared::{Fate, Shared};
use crate::caller::{self, Caller};
use crate::clock;
use crate::wire::{ApiRequest, ApiResponse};

/// Reads with a break-glass token are put on record once in so long: `status --watch` asks every second,
/// and the first line of it raises the alarm.
const READS_EVERY_MS: i64 = 60_000;

/// All that stand.
pub fn list(shared: &Shared, quorum: bool) -> TokenList {
    let state = shared.state();
    let now = clock::wall();
    TokenList {
        answered_by: shared.own.id.to_string(),
        quorum,
        tokens: state.people.tokens.iter().map(|(name, token)| shown(name, token, now)).collect(),
        break_glass: alarms(&state),
    }
}

/// What nobody has acknowledged yet.
pub fn alarms(state: &State) -> Vec<BreakGlassStatus> {
    let all = state.people.alarms.iter();
    all.map(|(token, alarm)| BreakGlassStatus {
        token: token.to_string(),
        uses: alarm.uses,
        since_ms: alarm.since.0,
        last_ms: alarm.last.0,
        what: alarm.what.clone(),
    })
    .collect()
}

fn shown(name: &TokenId, token: &Token, now: WallTime) -> TokenStatus {
    TokenStatus {
        name: name.to_string(),
        role: token.terms.role.into(),
        groups: token.terms.groups.iter().map(ToString::to_string).collect(),
        expires_ms: token.terms.expires.0,
        expired: token.terms.expired(now),
        break_glass: token.terms.break_glass,
        by: token.by.clone(),
        issued_ms: token.issued.0,
    }
}

/// Does what a caller who may has ordered. A quorum has just confirmed this leader.
pub async fn order(shared: &Arc<Shared>, caller: &Caller, request: ApiRequest) -> ApiResponse {
    match request {
        ApiRequest::IssueToken { body, by } => issue(shared, &body, by).await,
        ApiRequest::RevokeToken { token, by, reason } => {
            let Ok(id) = token.parse::<TokenId>() else { return no_token(&token) };
            let change = PeopleChange::Revoke { token: id, reason };
            settle(shared, change, by, &TokenAnswer { token }).await
        }
        ApiRequest::Acknowledge { token, by, reason } => {
            let Ok(id) = token.parse::<TokenId>() else { return no_token(&token) };
            if caller.rights(&shared.state(), clock::wall()).is_ok_and(|r| r.break_glass) {
                let title =
                    "a break-glass token acknowledges nothing: that is for whoever looks into it".into();
                let detail = vec!["use an admin's own certificate or token".into()];
                return problem(Code::Refused, title, detail);
            }
            let people = &shared.state().people;
            if !people.alarms.contains_key(&id) && !people.tokens.contains_key(&id) {
                return no_token(&token);
            }
            let change = PeopleChange::Acknowledge { token: id, reason };
            settle(shared, change, by, &TokenAnswer { token }).await
        }
        ApiRequest::BreakGlass { what, reads } => break_glass(shared, caller, what, reads).await,
        _ => problem(Code::Failed, "that is no order about tokens".into(), vec![]),
    }
}

async fn issue(shared: &Arc<Shared>, asked: &TokenRequest, by: String) -> ApiResponse {
    let bad = |why: String| problem(Code::BadRequest, why, vec![]);
    let token: TokenId = match asked.name.parse() {
        Ok(token) => token,
        Err(error) => return bad(format!("{:?} is no name of a token: {error}", asked.name)),
    };
    if !(1..=TOKEN_MAX_S).contains(&asked.expires_s) {
        return bad(format!("a token of {} s is not between 1 s and 366 days", asked.expires_s));
    }
    if asked.groups.len() > TOKEN_GROUPS_MAX {
        return bad(format!("a token is for {TOKEN_GROUPS_MAX} groups at most, or for all"));
    }
    let groups: Result<_, _> = asked.groups.iter().map(|g| g.parse::<GroupId>()).collect();
    let groups = match groups {
        Ok(groups) => groups,
        Err(error) => return bad(format!("a group of the token has no name: {error}")),
    };
    let secret = match caller::new_secret() {
        Ok(secret) => secret,
        Err(error) => return problem(Code::Failed, format!("no secret can be made: {error}"), vec![]),
    };
    let now = clock::wall();
    let lasts = i64::try_from(asked.expires_s * 1_000).expect("a year in milliseconds fits");
    let expires = WallTime(now.0 + lasts);
    let terms = Terms { role: asked.role.into(), groups, expires, break_glass: asked.break_glass };
    let hash = caller::hash(&secret);
    let kept = Token { hash: hash.clone(), terms: terms.clone(), by: by.clone(), issued: now };
    let answer = IssuedToken { secret, token: shown(&token, &kept, now) };
    let change = PeopleChange::Issue { token, hash, terms, reason: asked.reason.clone() };
    settle(shared, change, by, &answer).await
}

async fn break_glass(shared: &Arc<Shared>, caller: &Caller, what: String, reads: bool) -> ApiResponse {
    let Ok(token) = caller.name.parse::<TokenId>() else { return no_token(&caller.name) };
    let told = shared.state().people.alarms.get(&token).map(|alarm| alarm.last);
    let now = clock::wall();
    let answer = TokenAnswer { token: caller.name.clone() };
    if reads && told.is_some_and(|last| (0..READS_EVERY_MS).contains(&(now.0 - last.0))) {
        return ok(&answer);
    }
    settle(shared, PeopleChange::BreakGlass { token, what }, caller.proven(), &answer).await
}

async fn settle<T: serde::Serialize>(
    shared: &Arc<Shared>,
    change: PeopleChange,
    by: String,
    answer: &T,
) -> ApiResponse {
    match shared.propose(&Command::People { change, by, at: clock::wall() }).await {
        Fate::Applied => ok(answer),
        Fate::Refused(refusal @ (Refusal::NoSuchToken(_) | Refusal::NoSuchGroup(_))) => {
            problem(Code::NotFound, refusal.to_string(), vec![])
        }
        Fate::Refused(refusal) => problem(Code::Refused, refusal.to_string(), vec![]),
        Fate::NotProposed(why) => no_quorum(&why),
        Fate::Unknown(why) => {
            let detail = vec![
                "it may or may not stand: twofold token list tells; revoke a token whose secret \
                               was not shown"
                    .into(),
            ];
            problem(Code::NoQuorum, format!("no quorum confirmed it: {why}"), detail)
        }
    }
}

fn no_token(token: &str) -> ApiResponse {
    problem(Code::NotFound, Refusal::NoSuchToken(token.to_owned()).to_string(), vec![])
}
