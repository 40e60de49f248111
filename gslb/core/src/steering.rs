//! What each virtual name can answer under one state of route and verdicts: computed when that state
//! changes, so that a query only picks.
//!
//! - A *bound* name has one outcome for everybody: the active site's addresses, or SERVFAIL.
//! - A *pooled* name may depend on the client. A pool is believed when at least `min_up` of its members
//!   are up; A and AAAA are steered alike: a believed pool that has no member of a family at all answers
//!   NODATA for it instead of sending half of a client's traffic elsewhere.
//! - The TTL of a pooled answer is the soonest time at which a verdict behind it could change (STYLE S3):
//!   the least interval × probes-to-change among the members of every pool that the policy looked at.

use std::net::IpAddr;

use model::{PoolId, Verdict, VerdictState};

use crate::rendezvous::{ClientKey, Salt, choose};
use crate::rrset::Rrset;
use crate::spec::{
    AllDown, BoundSpec, Freshness, NameKind, NoQuorum, Policy, PoolMember, PoolSpec, PooledSpec, SoaSpec,
    Verdicts,
};
use crate::{Client, Why};

/// A verdict not yet given: one probe may change it.
const UNKNOWN: Verdict = Verdict { state: VerdictState::Unknown, probes_to_change: 1 };

/// The state of one virtual name.
#[derive(Debug)]
pub(crate) struct Steering {
    v4: Family,
    v6: Family,
}

/// What one address family answers.
#[derive(Debug)]
struct Family {
    outcome: Outcome,
    /// Why it is not what clients wish for.
    why: Option<Why>,
}

#[derive(Debug)]
enum Outcome {
    /// The name has no such records at all: the zone's own negative answer.
    Absent,
    /// It has none at the moment: the SOA to say so lives no longer than the reason may.
    Nodata(Rrset),
    Servfail,
    /// The same for every client.
    Fixed(Rrset),
    /// One pool and one of its members by the client's prefix, and the SOA for clients whose pool has none.
    Choice {
        pools: Box<[PoolChoice]>,
        nodata: Rrset,
    },
}

#[derive(Debug)]
struct PoolChoice {
    salt: Salt,
    weight: u32,
    /// Empty when the pool has no member of the family: NODATA.
    members: Box<[MemberChoice]>,
}

#[derive(Debug)]
struct MemberChoice {
    salt: Salt,
    weight: u32,
    records: Rrset,
}

/// One pick for one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick<'a> {
    pub(crate) records: Picked<'a>,
    /// Length of the client's prefix that was looked at; 0 when the client made no difference.
    pub(crate) scope: u8,
    pub(crate) why: Option<Why>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Picked<'a> {
    Records(&'a Rrset),
    /// No records, with the zone's SOA.
    Absent,
    /// No records, with this SOA.
    Nodata(&'a Rrset),
    Servfail,
}

impl Steering {
    /// The state of a name under `verdicts`. `soa` is its zone's.
    pub(crate) fn build(
        kind: &NameKind,
        pools: &std::collections::BTreeMap<PoolId, PoolSpec>,
        verdicts: &Verdicts,
        freshness: Freshness,
        soa: &SoaSpec,
    ) -> Self {
        let family = |wanted: Kind| match kind {
            NameKind::Bound(spec) => bound(spec, freshness, soa, wanted),
            NameKind::Pooled(spec) => {
                let views = views(spec, pools, verdicts);
                pooled(spec, &views, soa, wanted)
            }
        };
        Self { v4: family(Kind::V4), v6: family(Kind::V6) }
    }

    pub(crate) fn pick_v4(&self, client: Client) -> Pick<'_> {
        self.v4.pick(client)
    }

    pub(crate) fn pick_v6(&self, client: Client) -> Pick<'_> {
        self.v6.pick(client)
    }
}

impl Family {
    fn pick(&self, client: Client) -> Pick<'_> {
        let why = self.why;
        let fixed = |records| Pick { records, scope: 0, why };
        match &self.outcome {
            Outcome::Absent => fixed(Picked::Absent),
            Outcome::Nodata(soa) => fixed(Picked::Nodata(soa)),
            Outcome::Servfail => fixed(Picked::Servfail),
            Outcome::Fixed(records) => fixed(Picked::Records(records)),
            Outcome::Choice { pools, nodata } => {
                let (prefix, scope) = client.steered();
                let key = ClientKey::of(prefix);
                let pool = &pools[pick_one(key, pools, |p| (p.salt, p.weight))];
                let records = match pool.members.as_ref() {
                    [] => Picked::Nodata(nodata),
                    members => {
                        Picked::Records(&members[pick_one(key, members, |m| (m.salt, m.weight))].records)
                    }
                };
                Pick { records, scope, why }
            }
        }
    }
}

fn pick_one<T>(key: ClientKey, candidates: &[T], draw: impl Fn(&T) -> (Salt, u32)) -> usize {
    match candidates {
        [_] => 0,
        many => choose(key, many.iter().map(draw)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V4,
    V6,
}

impl Kind {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Kind::V4)
    }
}

fn bound(spec: &BoundSpec, freshness: Freshness, soa: &SoaSpec, family: Kind) -> Family {
    let closed = |outcome| Family { outcome, why: None };
    let servfail = |why| Family { outcome: Outcome::Servfail, why: Some(why) };
    if !spec.endpoints.values().flatten().any(|a| family.has(*a)) {
        return closed(Outcome::Absent);
    }
    if freshness == Freshness::Stale && spec.no_quorum == NoQuorum::Servfail {
        return servfail(Why::Stale);
    }
    let Some(endpoints) = spec.active.as_ref().and_then(|site| spec.endpoints.get(site)) else {
        return servfail(Why::Moving);
    };
    let mut addresses: Vec<IpAddr> = endpoints.iter().copied().filter(|a| family.has(*a)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        // Another site has some: after a move this is wrong, so it is cached no longer than they would be.
        return closed(Outcome::Nodata(negative(soa, spec.ttl)));
    }
    closed(Outcome::Fixed(Rrset::addresses(spec.ttl, &addresses)))
}

/// A pool as one name sees it.
struct View<'a> {
    id: &'a PoolId,
    weight: u32,
    members: &'a [PoolMember],
    up: Vec<bool>,
    min_up: usize,
    /// Seconds until the soonest change of a verdict; none without a check.
    changes_in: Option<u64>,
}

impl View<'_> {
    fn believed(&self) -> bool {
        self.up.iter().filter(|up| **up).count() >= self.min_up.max(1)
    }

    fn has(&self, family: Kind) -> bool {
        self.members.iter().any(|m| family.has(m.address))
    }

    /// Members that may be answered: up and of the family; those without weight only where no other is.
    fn eligible(&self, family: Kind) -> Vec<&PoolMember> {
        if !self.believed() {
            return Vec::new();
        }
        let up = self.members.iter().zip(&self.up).filter(|(m, up)| **up && family.has(m.address));
        let (weighted, unweighted): (Vec<_>, Vec<_>) = up.map(|(m, _)| m).partition(|m| m.weight > 0);
        if weighted.is_empty() { unweighted } else { weighted }
    }

    /// Whether the policy stops here: it has somebody to answer, or nobody of this family at all.
    fn settles(&self, family: Kind) -> bool {
        self.believed() && (!self.has(family) || !self.eligible(family).is_empty())
    }
}

fn views<'a>(
    spec: &'a PooledSpec,
    pools: &'a std::collections::BTreeMap<PoolId, PoolSpec>,
    verdicts: &Verdicts,
) -> Vec<View<'a>> {
    let mut views = Vec::new();
    for share in &spec.pools {
        // Shares of unknown pools were refused when the snapshot was built.
        let Some(pool) = pools.get(&share.pool) else { continue };
        let verdict =
            |m: &PoolMember| verdicts.get(&share.pool).and_then(|v| v.get(&m.id)).copied().unwrap_or(UNKNOWN);
        let up = pool.members.iter().map(|m| match pool.check_interval {
            None => true,
            Some(_) => verdict(m).state == VerdictState::Up,
        });
        let changes_in = pool.check_interval.and_then(|interval| {
            pool.members.iter().map(|m| (interval * verdict(m).probes_to_change).as_secs()).min()
        });
        views.push(View {
            id: &share.pool,
            weight: share.weight,
            members: &pool.members,
            up: up.collect(),
            min_up: pool.min_up as usize,
            changes_in,
        });
    }
    views
}

fn pooled(spec: &PooledSpec, views: &[View<'_>], soa: &SoaSpec, family: Kind) -> Family {
    if !views.iter().any(|v| v.has(family)) {
        return Family { outcome: Outcome::Absent, why: None };
    }
    if let Some(outcome) = steer(spec, views, soa, family) {
        return Family { outcome, why: None };
    }
    let every: Vec<&View<'_>> = views.iter().collect();
    let outcome = match spec.all_down {
        AllDown::Servfail => Outcome::Servfail,
        AllDown::Nodata => Outcome::Nodata(negative(soa, ttl(spec, &every))),
        AllDown::Open => {
            let opened: Vec<View<'_>> =
                views.iter().map(|v| View { up: vec![true; v.members.len()], min_up: 1, ..*v }).collect();
            // The first pool up would take all of it back: the TTL is that of looking at every pool.
            let bounded = PooledSpec { ttl_max: ttl(spec, &every), ttl_min: spec.ttl_min, ..spec.clone() };
            let outcome =
                steer(&bounded, &opened, soa, family).expect("with every member up some pool settles");
            return Family { outcome, why: Some(Why::AllDownOpen) };
        }
    };
    Family { outcome, why: Some(Why::NothingUp) }
}

/// What the policy gives; `None` when no pool is up.
fn steer(spec: &PooledSpec, views: &[View<'_>], soa: &SoaSpec, family: Kind) -> Option<Outcome> {
    let (chosen, looked_at): (Vec<&View<'_>>, Vec<&View<'_>>) = match spec.policy {
        Policy::Order => match views.iter().position(|v| v.settles(family)) {
            None => return None,
            Some(first) => (vec![&views[first]], views[..=first].iter().collect()),
        },
        Policy::Weighted => {
            let shared: Vec<&View<'_>> = views.iter().filter(|v| v.weight > 0).collect();
            (shared.iter().copied().filter(|v| v.settles(family)).collect(), shared)
        }
    };
    if chosen.is_empty() {
        return None;
    }
    let ttl = ttl(spec, &looked_at);
    let mut pools = Vec::new();
    for view in &chosen {
        let mut members = Vec::new();
        for member in view.eligible(family) {
            members.push(MemberChoice {
                salt: Salt::of(&[view.id.as_str(), member.id.as_str()]),
                weight: member.weight.max(1),
                records: Rrset::addresses(ttl, &[member.address]),
            });
        }
        // Under Order the weight is not looked at and may be 0; a draw needs at least 1.
        let weight = view.weight.max(1);
        pools.push(PoolChoice { salt: Salt::of(&[view.id.as_str()]), weight, members: members.into() });
    }
    Some(settle(pools, negative(soa, ttl)))
}

/// Choices that are none become fixed, so that their scope is 0.
fn settle(mut pools: Vec<PoolChoice>, nodata: Rrset) -> Outcome {
    if pools.iter().all(|p| p.members.is_empty()) {
        return Outcome::Nodata(nodata);
    }
    if let [pool] = pools.as_mut_slice()
        && pool.members.len() == 1
    {
        let [only] = *Box::<[MemberChoice; 1]>::try_from(std::mem::take(&mut pool.members))
            .expect("the length was looked at");
        return Outcome::Fixed(only.records);
    }
    Outcome::Choice { pools: pools.into(), nodata }
}

/// The SOA of a negative answer that may be wrong after `ttl` seconds (RFC 2308 §5 bounds it from above).
fn negative(soa: &SoaSpec, ttl: u32) -> Rrset {
    Rrset::soa(soa, soa.ttl.min(soa.minimum).min(ttl))
}

/// Seconds until a verdict behind the answer could change, within the name's bounds.
fn ttl(spec: &PooledSpec, looked_at: &[&View<'_>]) -> u32 {
    let soonest = looked_at.iter().filter_map(|v| v.changes_in).min();
    let seconds = soonest.map_or(spec.ttl_max, |s| u32::try_from(s).unwrap_or(u32::MAX));
    seconds.min(spec.ttl_max).max(spec.ttl_min)
}
