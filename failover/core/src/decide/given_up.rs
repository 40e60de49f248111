//! What a person orders about a server that came back with more than its primary has: copy it anew, which
//! gives that up, or let it out of quarantine and look again.

use model::{GroupId, GtidSet, ServerId, Timestamp};

use super::ordered::short_hash;
use super::returning::harmless;
use super::{Act, View};
use crate::{Authority, Change, Facts, Policy, Reason, State};

/// What copying a server anew gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Names exactly this statement; another state gives another id.
    pub id: String,
    /// On the server and not on its primary.
    pub extra: GtidSet,
    /// Nothing is given up.
    pub none: bool,
}

/// States what copying `server` anew from the group's primary gives up, and the act that would do it.
///
/// # Errors
/// What stands against it, for a person.
pub fn discard_of(
    state: &State,
    facts: &Facts,
    policy: &Policy,
    id: &GroupId,
    server: &ServerId,
    by: &str,
    now: Timestamp,
) -> Result<(GivenUp, Act), String> {
    let view = view(state, facts, policy, id, now)?;
    let authority = returns_to(&view, server)?;
    let primary = &authority.primary.server;
    let theirs = view
        .reading(primary)
        .filter(|_| view.report(primary).is_some_and(|r| r.open == Some(authority.epoch)))
        .ok_or_else(|| {
            format!("the primary {primary} is not seen to serve, and nothing is copied from it")
        })?;
    let report = view.report(server).ok_or_else(|| {
        format!("the guard of {server} is not heard: start the host and its guard, then ask again")
    })?;
    let mine = view.reading(server).ok_or_else(|| {
        format!("the database of {server} has not answered lately: start it, then ask again")
    })?;
    if !harmless(&view, server, report, mine) {
        return Err(format!(
            "{server} is not known to be read-only and fenced through every epoch that it served: its guard's log says why"
        ));
    }
    let waiting = view.group.returns.get(server);
    let mut extra = mine.gtid_held().subtract(&theirs.gtid_executed);
    // What a replica of this primary just received from it may be newer than the primary's last look.
    let source = mine.replica.as_ref().and_then(|r| r.source_uuid.as_ref());
    if source == Some(&authority.primary.uuid) && waiting.is_none() {
        extra = extra.subtract(&extra.of(&authority.primary.uuid));
    }
    let life = report.process.start().ok_or_else(|| format!("the database of {server} does not run"))?;
    let because = waiting.map_or(String::new(), |w| w.reason.why.clone());
    let none = extra.is_empty() && waiting.is_none();
    let id = short_hash(&format!("{}|{server}|{extra}|{because}", authority.incarnation));
    let given_up = GivenUp { id, extra: extra.clone(), none };
    let mut evidence = vec![format!("{server} has {} transactions beyond the primary", extra.count())];
    if !none {
        evidence.push(format!("given up as stated by {}", given_up.id));
    }
    let reason = Reason { why: "operator-rebuild".into(), by: by.to_owned(), evidence };
    let change = Change::Discard { server: server.clone(), extra, life, reason };
    Ok((given_up, Act { expect: authority.version, change }))
}

/// The act that takes `server` out of quarantine without touching it.
///
/// # Errors
/// What stands against it, for a person.
pub fn release_of(
    state: &State,
    facts: &Facts,
    policy: &Policy,
    id: &GroupId,
    server: &ServerId,
    by: &str,
    now: Timestamp,
) -> Result<Act, String> {
    let view = view(state, facts, policy, id, now)?;
    let authority = returns_to(&view, server)?;
    let Some(waiting) = view.group.returns.get(server) else {
        return Err(format!("{server} is not quarantined"));
    };
    let evidence = vec![format!("it was quarantined for {}", waiting.reason.why)];
    let reason = Reason { why: "operator-release".into(), by: by.to_owned(), evidence };
    let change = Change::Release { server: server.clone(), reason };
    Ok(Act { expect: authority.version, change })
}

fn view<'a>(
    state: &'a State,
    facts: &'a Facts,
    policy: &'a Policy,
    id: &'a GroupId,
    now: Timestamp,
) -> Result<View<'a>, String> {
    let group = state.groups.get(id).ok_or_else(|| format!("there is no group {:?}", id.as_str()))?;
    let own = policy.groups.get(id).ok_or_else(|| format!("group {:?} has no policy", id.as_str()))?;
    Ok(View { id, group, facts, policy, own, now })
}

/// The authority that the server comes back under.
fn returns_to<'a>(view: &View<'a>, server: &ServerId) -> Result<&'a Authority, String> {
    let authority = view.group.authority.as_ref().ok_or("the group has not been started")?;
    if !view.group.servers.contains_key(server) {
        let known: Vec<&str> = view.group.servers.keys().map(ServerId::as_str).collect();
        return Err(format!("the group has no server {:?}; it has {}", server.as_str(), known.join(", ")));
    }
    if authority.primary.server == *server {
        return Err(format!("{server} is the primary: move the group first (twofold switchover)"));
    }
    Ok(authority)
}
