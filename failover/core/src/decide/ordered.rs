//! A failover that a person asks for: what would be lost is stated before, and named by an id that
//! lapses when it changes.

use model::{GroupId, GtidSet, SiteId, Timestamp};

use super::{Act, View, candidate};
use crate::{Authority, Change, Durability, Facts, FencedByHand, Policy, Reason, State};

/// What a failover now would lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossStatement {
    /// Names exactly this statement; another state gives another id.
    pub id: String,
    /// Known to be on the primary and not on the candidate.
    pub missing: GtidSet,
    /// At most so many more were acknowledged and never seen, at the fastest pace of the primary's last looks, from the
    /// last of them until its lease was over. None where that has no bound: it was never read, or its lease does not
    /// run out.
    pub unseen: Option<u64>,
    /// More may be lost than is known, because the primary's last reading is this old (µs); none
    /// when it was never read.
    pub reading_age_us: Option<u64>,
    /// True when nothing acknowledged can be lost.
    pub none: bool,
}

/// States the loss of moving `group` to `site`, and the act that would do it.
///
/// # Errors
/// What stands against it, for a person.
pub fn loss_of(
    state: &State,
    facts: &Facts,
    policy: &Policy,
    id: &GroupId,
    to: &SiteId,
    by: &str,
    now: Timestamp,
) -> Result<(LossStatement, Act), String> {
    let group = state.groups.get(id).ok_or_else(|| format!("there is no group {:?}", id.as_str()))?;
    let own = policy.groups.get(id).ok_or_else(|| format!("group {:?} has no policy", id.as_str()))?;
    let view = View { id, group, facts, policy, own, now };
    let authority = group.authority.as_ref().ok_or("the group has not been started")?;
    if !authority.phase.grants() {
        return Err(format!("a failover is under way already ({})", authority.phase));
    }
    let candidates = candidate::all(&view);
    let best = candidate::best_in(&view, &candidates, to)?;
    if !best.possible {
        return Err(format!("{} cannot take over: {}", best.server, best.against.join("; ")));
    }
    let primary = candidate::as_primary(&view, &best.server).ok_or("the candidate's identity is unknown")?;
    let theirs = view.reading(&best.server).ok_or("the candidate has not been read")?;
    // Also of a database that is gone: its loss is not unknown for that.
    let known = facts.servers.get(&authority.primary.server).and_then(|f| f.last.as_ref());
    let proven = authority.durability == Durability::Sync && best.automatic;
    let missing = match (&known, proven) {
        (Some(last), false) => last.executed.subtract(&theirs.gtid_held()),
        _ => GtidSet::empty(),
    };
    let reading_age_us = known.map(|last| u64::try_from(now.since(last.at).as_micros()).unwrap_or(u64::MAX));
    let unseen = if proven { Some(0) } else { unseen(&view, authority) };
    let text =
        format!("{}|{}|{}|{missing}|{unseen:?}", authority.incarnation, authority.version, best.server);
    let loss = LossStatement { id: short_hash(&text), missing, unseen, reading_age_us, none: proven };
    let reason = Reason {
        why: "operator-failover".into(),
        by: by.to_owned(),
        evidence: [
            format!("to {to}"),
            format!(
                "stated loss {}: {} transactions known{}",
                loss.id,
                loss.missing.count(),
                more(loss.unseen)
            ),
        ]
        .into_iter()
        .chain(super::kine_told(&view))
        .collect(),
    };
    let kine = super::kine(&view);
    let fill = candidate::fill(&view, &best.server).0;
    let change = Change::Begin { candidate: primary, reason, fenced: None, kine, fill };
    Ok((loss, Act { expect: authority.version, change }))
}

/// Behind its last look a primary goes on until its lease is over, and nobody sees what it acknowledges. The bound is
/// of one moment: it stands still, and the statement's id with it, once nothing more is heard of the primary.
fn unseen(view: &View, authority: &Authority) -> Option<u64> {
    if !authority.leases.is_timed() {
        return None;
    }
    let known = view.facts.servers.get(&authority.primary.server)?;
    let looked = known.last.as_ref()?.at;
    let renewed = view.facts.renewals.get(view.id).filter(|(e, _)| *e == authority.epoch).map(|(_, at)| *at);
    let heard = renewed.map_or(known.received, |at| at.max(known.received));
    Some(known.pace.within(heard.since(looked) + view.policy.timing.wait_after(view.own.fence_max)))
}

fn more(unseen: Option<u64>) -> String {
    match unseen {
        Some(0) => String::new(),
        Some(unseen) => format!(", at most {unseen} more unseen"),
        None => ", and no bound for what was not seen".into(),
    }
}

/// A person's word that the primary's host is fenced, where there is nobody else to confirm it: what is
/// put into the Begin.
///
/// # Errors
/// What stands against it, for a person.
pub fn fenced_by_hand(
    state: &State,
    facts: &Facts,
    policy: &Policy,
    id: &GroupId,
    by: &str,
    seen: Option<&str>,
    now: Timestamp,
) -> Result<Option<FencedByHand>, String> {
    let authority = state.groups.get(id).and_then(|g| g.authority.as_ref());
    let authority = authority.ok_or("the group has not been started")?;
    let primary = &authority.primary.server;
    let heard = facts.report(primary, policy.timing.fresh(), now).is_some();
    match seen.map(str::trim) {
        Some(_) if heard => Err(format!("the guard of {primary} is heard, and confirms the fence itself")),
        Some(seen) if !(SEEN_MIN..=SEEN_MAX).contains(&seen.len()) => Err(format!(
            "say in {SEEN_MIN} to {SEEN_MAX} bytes what was seen of {primary}'s host, and by whom"
        )),
        Some(seen) => Ok(Some(FencedByHand { by: by.to_owned(), seen: seen.to_owned() })),
        None if heard || authority.leases.is_timed() => Ok(None),
        None => Err(format!(
            "the guard of {primary} is not heard and its lease does not run out: see to it that its host is \
             off or cut off for good, then say what was seen"
        )),
    }
}

/// The shortest word for a fence: shorter ones say nothing.
const SEEN_MIN: usize = 12;
/// The longest.
const SEEN_MAX: usize = 500;

/// FNV-1a, 64 bit, in hex: a name for a statement, not a secret.
pub(super) fn short_hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}
