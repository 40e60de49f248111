//! Why a question is answered as it is: the way through the rules, in words, with the facts that each
//! rule looked at. The answer itself comes of [`answer`], so what is explained is what is sent.

use std::net::IpAddr;

use model::{PoolId, Verdict, VerdictState};

use crate::spec::{
    AllDown, BoundSpec, Freshness, NameKind, NameSpec, NoQuorum, Policy, PoolShare, PoolSpec, PooledSpec,
};
use crate::{Authority, Name, Question, Rcode, RecordType, Rrset, Snapshot, Why, answer};

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The response code.
    pub rcode: Rcode,
    /// The answer section as text: owner, TTL in seconds, type, data.
    pub answers: Vec<String>,
    /// The way through the rules, in order.
    pub because: Vec<String>,
    /// The pools that were looked at, in order.
    pub pools: Vec<PoolId>,
}

/// Explains what [`answer`] answers.
#[must_use]
pub fn explain(snapshot: &Snapshot, question: &Question) -> Explained {
    let given = answer(snapshot, question);
    let mut because = Vec::new();
    let mut pools = Vec::new();
    let mut owner = question.name.to_name();
    let mut answers = Vec::new();
    let zone_of = |name: &Name| {
        let zones = snapshot.zones().iter().map(|z| &z.apex).filter(|apex| name.is_at_or_below(apex));
        zones.max_by_key(|apex| apex.label_count())
    };
    let asked = zone_of(&owner);
    for rrset in given.answers() {
        answers.extend(text_of(&owner, rrset));
        if rrset.record_type() == RecordType::CNAME
            && let Some(target) = rrset.data().next().and_then(|data| Name::from_wire(data).ok())
        {
            if zone_of(&target) == asked {
                because.push(format!("{owner} is an alias of {target}, which is looked at next"));
            } else {
                because.push(format!(
                    "{owner} is an alias of {target}, of another zone: resolvers ask for that anew"
                ));
                return Explained { rcode: given.rcode, answers, because, pools };
            }
            owner = target;
        }
    }
    match zone_of(&owner) {
        None => because.push(format!("no zone served here covers {owner}")),
        Some(zone) => {
            because.push(format!("{owner} lies in zone {zone}"));
            match virtual_name(snapshot, &owner) {
                Some(name) if matches!(question.record_type, RecordType::A | RecordType::AAAA) => {
                    steered(&mut because, snapshot, name, question, &given);
                    if let NameKind::Pooled(spec) = &name.kind {
                        pools = spec.pools.iter().map(|share| share.pool.clone()).collect();
                    }
                }
                Some(_) => because.push("it is steered for A and AAAA only; other types are static".into()),
                None => because.push(fixed(&given.authority, given.rcode, question)),
            }
        }
    }
    if given.scope > 0 {
        let (prefix, length) = question.client.steered();
        because
            .push(format!("the client counts as {prefix}/{length}: all of that prefix get the same answer"));
    }
    Explained { rcode: given.rcode, answers, because, pools }
}

fn fixed(authority: &Authority<'_>, rcode: Rcode, question: &Question) -> String {
    match (rcode, authority) {
        (Rcode::Nxdomain, _) => "no record and no virtual name stands there".into(),
        (_, Authority::Referral { .. }) => "it lies below a delegation: other servers answer for it".into(),
        (_, Authority::Negative { .. }) => {
            format!("it has no static record of type {}", question.record_type)
        }
        (Rcode::Noerror, Authority::None) => "static records stand there; nothing steers them".into(),
        _ => "such a question is not answered here (class, transfer or pseudo type)".into(),
    }
}

/// The virtual name at `owner`, or the wildcard that stands for it.
fn virtual_name<'a>(snapshot: &'a Snapshot, owner: &Name) -> Option<&'a NameSpec> {
    let names = snapshot.names();
    if exists(snapshot, owner) {
        return names.iter().find(|n| n.name == *owner);
    }
    // RFC 4592 §3.3.1: a wildcard stands for what does not exist, right below the closest encloser.
    let mut encloser = owner.parent()?;
    while !exists(snapshot, &encloser) {
        encloser = encloser.parent()?;
    }
    names.iter().find(|n| n.name.is_wildcard() && n.name.parent().as_ref() == Some(&encloser))
}

/// Something stands at the name or below it.
fn exists(snapshot: &Snapshot, name: &Name) -> bool {
    let records = snapshot.zones().iter().flat_map(|z| z.records.iter().map(|r| &r.owner).chain([&z.apex]));
    records.chain(snapshot.names().iter().map(|n| &n.name)).any(|owner| owner.is_at_or_below(name))
}

fn steered(
    because: &mut Vec<String>,
    snapshot: &Snapshot,
    name: &NameSpec,
    question: &Question,
    given: &crate::Answer<'_>,
) {
    match &name.kind {
        NameKind::Bound(spec) => bound(because, spec, snapshot.freshness()),
        NameKind::Pooled(spec) => {
            pooled(because, snapshot, spec);
            if given.why == Some(Why::AllDownOpen) {
                because.push("no pool is believed, and all-down is open: every member counts as up".into());
            }
            let member = picked(snapshot, spec, given);
            match (given.rcode, member) {
                (_, Some((pool, member))) => {
                    because.push(format!("member {member} of pool {pool} is answered"))
                }
                (Rcode::Servfail, None) => because.push("no pool is believed: all-down is servfail".into()),
                (_, None) => because.push(format!("there is no {} to answer", question.record_type)),
            }
        }
    }
}

fn bound(because: &mut Vec<String>, spec: &BoundSpec, freshness: Freshness) {
    because
        .push(format!("it is bound to group {} and follows its committed route, nothing else", spec.group));
    match (freshness, spec.no_quorum) {
        (Freshness::Fresh, _) => because.push("a quorum confirmed that route to this node lately".into()),
        (Freshness::Stale, NoQuorum::Servfail) => {
            because.push("no quorum confirmed it to this node lately, and no-quorum is servfail".into());
            return;
        }
        (Freshness::Stale, NoQuorum::Last) => because.push(
            "no quorum confirmed it to this node lately; no-quorum is last, so the last one stands".into(),
        ),
    }
    match &spec.active {
        None => because.push("it was never routed, or the group is moving: SERVFAIL until it is open".into()),
        Some(site) => match spec.endpoints.get(site) {
            None => because.push(format!("the route is {site}, for which the name has no address: SERVFAIL")),
            Some(addresses) => because.push(format!("the route is {site}, with {}", list(addresses))),
        },
    }
}

fn pooled(because: &mut Vec<String>, snapshot: &Snapshot, spec: &PooledSpec) {
    because.push(match spec.policy {
        Policy::Order => "it is pooled, in order: the first pool that is believed".into(),
        Policy::Weighted => {
            "it is pooled, weighted: by a hash of the client's prefix among those believed".into()
        }
    });
    for share in &spec.pools {
        if let Some(pool) = snapshot.pools().get(&share.pool) {
            because.push(pool_line(snapshot, spec, share, pool));
        }
    }
    because.push(format!("its TTL lies between {} and {} s", spec.ttl_min, spec.ttl_max));
    if spec.all_down != AllDown::Open {
        because.push(format!("with no pool believed it would answer {:?}", spec.all_down).to_lowercase());
    }
}

fn pool_line(snapshot: &Snapshot, spec: &PooledSpec, share: &PoolShare, pool: &PoolSpec) -> String {
    let verdict = |member: &model::MemberId| -> Option<Verdict> {
        snapshot.verdicts().get(&share.pool).and_then(|v| v.get(member)).copied()
    };
    let mut up = 0;
    let mut members = Vec::new();
    for member in &pool.members {
        let state = match (pool.check_interval, verdict(&member.id)) {
            (None, _) => {
                up += 1;
                "unchecked, counts as up".to_owned()
            }
            (Some(_), None) => "not probed yet".to_owned(),
            (Some(every), Some(v)) => {
                up += usize::from(v.state == VerdictState::Up);
                let state = match v.state {
                    VerdictState::Up => "up",
                    VerdictState::Down => "down",
                    VerdictState::Unknown => "unknown",
                };
                format!("{state}, {} s from changing", (every * v.probes_to_change).as_secs())
            }
        };
        members.push(format!("{} {} {state}", member.id, member.address));
    }
    let wanted = (pool.min_up as usize).max(1);
    let believed = if up >= wanted { "believed" } else { "not believed" };
    let weight = match spec.policy {
        Policy::Weighted => format!(", weight {}", share.weight),
        Policy::Order => String::new(),
    };
    format!(
        "pool {}{weight}: {up} of {} up, {wanted} wanted: {believed} ({})",
        share.pool,
        pool.members.len(),
        members.join("; ")
    )
}

/// Whose address it is that is answered.
fn picked<'a>(
    snapshot: &'a Snapshot,
    spec: &'a PooledSpec,
    given: &crate::Answer<'_>,
) -> Option<(&'a model::PoolId, &'a model::MemberId)> {
    let last = given.answers().last()?;
    let address = address_of(last.record_type(), last.data().next()?)?;
    spec.pools.iter().find_map(|share| {
        let pool = snapshot.pools().get(&share.pool)?;
        let member = pool.members.iter().find(|m| m.address == address)?;
        Some((&share.pool, &member.id))
    })
}

fn address_of(record_type: RecordType, data: &[u8]) -> Option<IpAddr> {
    match record_type {
        RecordType::A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        RecordType::AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A line for each record; data that is neither address nor name is told by its length.
fn text_of(owner: &Name, rrset: &Rrset) -> Vec<String> {
    let kind = rrset.record_type();
    let line = |data: &[u8]| {
        let text = match kind {
            RecordType::CNAME | RecordType::NS => Name::from_wire(data).ok().map(|name| name.to_string()),
            _ => address_of(kind, data).map(|address| address.to_string()),
        };
        let text = text.unwrap_or_else(|| format!("({} octets)", data.len()));
        format!("{owner} {} {kind} {text}", rrset.ttl())
    };
    rrset.data().map(line).collect()
}
