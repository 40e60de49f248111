//! Tokens and the alarms of those that break the glass.

use model::{Role, TokenId, WallTime};

use super::{Refusal, rule};
use crate::people::{
    Alarm, BREAK_GLASS_MAX, People, PeopleChange, TEXT_MAX, TOKEN_LIFE_MAX_MS, TOKENS_MAX, Terms, Token,
};
use crate::{Event, State};

/// Hex digits of a SHA-256.
const HASH_LENGTH: usize = 64;

pub fn people(
    state: &mut State,
    change: PeopleChange,
    by: String,
    at: WallTime,
) -> Result<Vec<Event>, Refusal> {
    if let PeopleChange::Issue { terms, .. } = &change
        && let Some(group) = terms.groups.iter().find(|g| !state.groups.contains_key(*g))
    {
        return Err(Refusal::NoSuchGroup(group.to_string()));
    }
    let people = &mut state.people;
    match change {
        PeopleChange::Issue { token, hash, terms, reason } => {
            may_issue(people, &token, &hash, &terms, at)?;
            let kept = Token { hash, terms: terms.clone(), by: by.clone(), issued: at };
            people.tokens.insert(token.clone(), kept);
            Ok(vec![Event::TokenIssued { token, terms, by, reason: short(reason), at }])
        }
        PeopleChange::Revoke { token, reason } => match people.tokens.remove(&token) {
            Some(gone) => {
                let before = gone.terms;
                Ok(vec![Event::TokenRevoked { token, before, by, reason: short(reason), at }])
            }
            None => Err(Refusal::NoSuchToken(token.to_string())),
        },
        PeopleChange::BreakGlass { token, what } => break_glass(people, token, what, by, at),
        PeopleChange::Acknowledge { token, reason } => match people.alarms.remove(&token) {
            Some(before) => {
                Ok(vec![Event::BreakGlassAcknowledged { token, before, by, reason: short(reason), at }])
            }
            None => {
                rule(format!("no use of token {token:?} waits to be acknowledged", token = token.as_str()))
            }
        },
    }
}

fn may_issue(
    people: &People,
    token: &TokenId,
    hash: &str,
    terms: &Terms,
    at: WallTime,
) -> Result<(), Refusal> {
    let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if hash.len() != HASH_LENGTH || !hash.bytes().all(digit) {
        return rule("a token is kept by the SHA-256 of its secret, in lower-case hex");
    }
    if let Some(standing) = people.tokens.get(token) {
        let expired = if standing.terms.expired(at) { " and has expired" } else { "" };
        return rule(format!(
            "token {:?} was issued already{expired}; revoke it, or give the new one another name",
            token.as_str()
        ));
    }
    if people.tokens.len() >= TOKENS_MAX {
        return rule(format!("{TOKENS_MAX} tokens stand already; revoke those that have expired"));
    }
    if terms.expires <= at || terms.expires.0 - at.0 > TOKEN_LIFE_MAX_MS {
        return rule("a token lives a year at most, and at least until it is issued");
    }
    if !terms.break_glass {
        return Ok(());
    }
    if terms.role != Role::Admin || !terms.groups.is_empty() {
        return rule("a break-glass token has the role admin and reaches every group");
    }
    let envelopes = people.tokens.iter().filter(|(_, t)| t.terms.break_glass).map(|(name, _)| name);
    let known: std::collections::BTreeSet<_> = envelopes.chain(people.alarms.keys()).collect();
    if known.len() >= BREAK_GLASS_MAX && !known.contains(token) {
        return rule(format!(
            "{BREAK_GLASS_MAX} break-glass tokens and alarms stand already; revoke or acknowledge one"
        ));
    }
    Ok(())
}

fn break_glass(
    people: &mut People,
    token: TokenId,
    what: String,
    by: String,
    at: WallTime,
) -> Result<Vec<Event>, Refusal> {
    let Some(used) = people.tokens.get(&token) else {
        return Err(Refusal::NoSuchToken(token.to_string()));
    };
    if !used.terms.break_glass {
        return rule(format!("token {:?} breaks no glass", token.as_str()));
    }
    let what = clip(what);
    let first = Alarm { uses: 0, since: at, last: at, what: String::new() };
    let alarm = people.alarms.entry(token.clone()).or_insert(first);
    alarm.uses = alarm.uses.saturating_add(1);
    alarm.last = alarm.last.max(at);
    alarm.what.clone_from(&what);
    people.break_glass_uses = people.break_glass_uses.saturating_add(1);
    assert!(people.alarms.len() <= BREAK_GLASS_MAX, "issuing keeps the number of envelopes");
    Ok(vec![Event::BreakGlassUsed { token, what, by, at }])
}

fn short(reason: Option<String>) -> Option<String> {
    reason.map(clip).filter(|text| !text.is_empty())
}

/// A text of at most `TEXT_MAX` bytes, cut between characters.
fn clip(mut text: String) -> String {
    while text.len() > TEXT_MAX {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: WallTime = WallTime(1_000);

    fn issue(state: &mut State, name: &str, role: Role, break_glass: bool) -> Result<Vec<Event>, Refusal> {
        let expires = WallTime(AT.0 + 1_000);
        let terms = Terms { role, groups: Default::default(), expires, break_glass };
        let change = PeopleChange::Issue {
            token: name.parse().unwrap(),
            hash: "ab".repeat(32),
            terms,
            reason: Some(" ".repeat(TEXT_MAX * 2)),
        };
        people(state, change, "ana".into(), AT)
    }

    /// Goal: neither tokens nor alarms grow without end, and no alarm goes to make room for another.
    #[test]
    fn tokens_and_alarms_are_bounded_and_alarms_are_kept() {
        let mut state = State::default();
        for n in 0..BREAK_GLASS_MAX {
            issue(&mut state, &format!("night-{n}"), Role::Admin, true).unwrap();
            let token = format!("night-{n}").parse().unwrap();
            let used = PeopleChange::BreakGlass { token, what: "é".repeat(TEXT_MAX) };
            people(&mut state, used, "token night".into(), AT).unwrap();
            let token = format!("night-{n}").parse().unwrap();
            people(&mut state, PeopleChange::Revoke { token, reason: None }, "ana".into(), AT).unwrap();
        }
        assert!(state.people.tokens.is_empty());
        let full = issue(&mut state, "another", Role::Admin, true).unwrap_err();
        assert!(full.to_string().contains("acknowledge one"), "{full}");
        issue(&mut state, "night-3", Role::Admin, true).expect("its alarm has a place already");
        assert_eq!(state.people.alarms.len(), BREAK_GLASS_MAX);
        assert!(state.people.alarms.values().all(|a| a.what.len() <= TEXT_MAX && a.uses == 1));
        for n in state.people.tokens.len()..TOKENS_MAX {
            issue(&mut state, &format!("t-{n}"), Role::Viewer, false).unwrap();
        }
        let full = issue(&mut state, "one-more", Role::Viewer, false).unwrap_err();
        assert!(full.to_string().contains("256 tokens stand already"), "{full}");
    }
}
