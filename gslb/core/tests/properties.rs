//! Properties of `answer` and `observe` under random specs, questions and observations.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gslb_core::{
    AllDown, Answer, Authority, BoundSpec, CLASS_IN, Client, Freshness, Health, MemberCheck, Name, NameBuf,
    NameKind, NameSpec, NoQuorum, Policy, PoolMember, PoolShare, PoolSpec, PooledSpec, Question, Rcode,
    RecordData, RecordSpec, RecordType, Snapshot, SnapshotSpec, SoaSpec, ZoneSpec, answer, observe,
};
use model::{Generation, Observation, SiteId, Timestamp, Verdict, VerdictState};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A few labels, so that names meet, nest and miss one another.
fn below_apex() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "c", "*"]);
    prop::collection::vec(label, 0..4)
        .prop_map(|labels| labels.iter().map(|l| format!("{l}.")).collect::<String>() + "example.")
}

fn record() -> impl Strategy<Value = RecordSpec> {
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|a| (RecordType::A, a.to_vec())),
        any::<[u8; 16]>().prop_map(|a| (RecordType::AAAA, a.to_vec())),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|d| (RecordType::TXT, d)),
        below_apex().prop_map(|n| (RecordType::CNAME, name(&n).wire().to_vec())),
        below_apex().prop_map(|n| (RecordType::NS, name(&n).wire().to_vec())),
    ];
    (below_apex(), data).prop_map(|(owner, (record_type, wire))| RecordSpec {
        owner: name(&owner),
        record_type,
        ttl: 60,
        data: RecordData { wire, text: "as random as it gets".to_owned() },
    })
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let state = prop_oneof![Just(VerdictState::Up), Just(VerdictState::Down), Just(VerdictState::Unknown)];
    (state, 1..5u32).prop_map(|(state, probes_to_change)| Verdict { state, probes_to_change })
}

fn zone(records: Vec<RecordSpec>) -> ZoneSpec {
    let soa = SoaSpec {
        primary: name("ns.example."),
        contact: name("hostmaster.example."),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 60,
        ttl: 300,
    };
    ZoneSpec {
        apex: name("example."),
        soa,
        name_servers: vec![name("ns.elsewhere.")],
        name_servers_ttl: 300,
        records,
    }
}

prop_compose! {
    /// One zone with static records, a bound name at `bound.example.` and a pooled one at `pooled.example.`.
    fn spec()(
        records in prop::collection::vec(record(), 0..12),
        active in prop::option::of(prop::sample::select(vec!["pdc", "mdc", "wit"])),
        last in any::<bool>(),
        stale in any::<bool>(),
        weighted in any::<bool>(),
        weights in prop::collection::vec(0..3u32, 4),
        shares in prop::collection::vec(0..3u32, 2),
        all_down in prop::sample::select(vec![AllDown::Open, AllDown::Nodata, AllDown::Servfail]),
        min_up in 0..3u32,
        verdicts in prop::collection::vec(prop::option::of(verdict()), 4),
    ) -> SnapshotSpec {
        let site = |s: &str| s.parse::<SiteId>().unwrap();
        let bound = BoundSpec {
            group: "erp".parse().unwrap(),
            endpoints: BTreeMap::from([(site("pdc"), vec![address(1)]), (site("mdc"), vec![address(2)])]),
            active: active.map(site),
            no_quorum: if last { NoQuorum::Last } else { NoQuorum::Servfail },
            ttl: 5,
        };
        let member = |index: usize| PoolMember {
            id: format!("m{index}").parse().unwrap(),
            site: site("pdc"),
            address: address(10 + index as u8),
            weight: weights[index],
        };
        let pool = |members: [usize; 2]| PoolSpec {
            members: members.map(member).to_vec(),
            check_interval: Some(Duration::from_secs(2)),
            min_up,
        };
        let pools = BTreeMap::from([("p0".parse().unwrap(), pool([0, 1])), ("p1".parse().unwrap(), pool([2, 3]))]);
        let share = |index: usize| PoolShare {
            pool: format!("p{index}").parse().unwrap(),
            weight: if shares == [0, 0] { 1 } else { shares[index] },
        };
        let pooled = PooledSpec {
            policy: if weighted { Policy::Weighted } else { Policy::Order },
            pools: vec![share(0), share(1)],
            all_down,
            ttl_min: 1,
            ttl_max: 30,
        };
        let mut known = gslb_core::Verdicts::new();
        for (index, verdict) in verdicts.iter().enumerate() {
            if let Some(verdict) = verdict {
                let pool = known.entry(format!("p{}", index / 2).parse().unwrap()).or_default();
                pool.insert(format!("m{index}").parse().unwrap(), *verdict);
            }
        }
        SnapshotSpec {
            generation: Generation(7),
            freshness: if stale { Freshness::Stale } else { Freshness::Fresh },
            zones: vec![zone(records)],
            pools,
            names: vec![
                NameSpec { name: name("bound.example."), kind: NameKind::Bound(bound) },
                NameSpec { name: name("pooled.example."), kind: NameKind::Pooled(pooled) },
            ],
            verdicts: known,
        }
    }
}

/// The spec with every record taken out that a problem is about, until it builds.
fn build(mut spec: SnapshotSpec) -> Snapshot {
    loop {
        match Snapshot::build(spec.clone()) {
            Ok(snapshot) => return snapshot,
            Err(problems) => {
                assert!(!problems.is_empty());
                let records = &mut spec.zones[0].records;
                assert!(records.pop().is_some(), "an empty zone has no problems but {problems:?}");
            }
        }
    }
}

fn ask(name: &Name, record_type: RecordType, client: Client) -> Question {
    Question { name: NameBuf::from(name), record_type, class: CLASS_IN, client }
}

fn somebody() -> Client {
    Client::sender("203.0.113.1".parse().unwrap())
}

fn addresses(answer: &Answer<'_>) -> BTreeSet<IpAddr> {
    let of_type = answer.answers().filter(|r| r.record_type() == RecordType::A);
    of_type
        .flat_map(|r| r.data().map(|d| IpAddr::from(<[u8; 4]>::try_from(d).unwrap())).collect::<Vec<_>>())
        .collect()
}

proptest! {
    /// Whatever is asked of whatever zone: a negative answer has its SOA, a positive one has records of the
    /// type asked or CNAMEs that lead on, a referral is not authoritative unless a CNAME came first.
    #[test]
    fn answers_are_well_formed(
        spec in spec(),
        asked in below_apex(),
        number in prop::sample::select(vec![1u16, 2, 5, 6, 16, 28, 43, 255]),
    ) {
        let snapshot = build(spec);
        let record_type = RecordType(number);
        let question = ask(&name(&asked), record_type, somebody());
        let answer = answer(&snapshot, &question);
        let answers: Vec<_> = answer.answers().collect();
        if let Some((last, before)) = answers.split_last() {
            prop_assert!(before.iter().all(|r| r.record_type() == RecordType::CNAME));
            let fits = last.record_type() == record_type
                || last.record_type() == RecordType::CNAME
                || record_type == RecordType::ANY;
            prop_assert!(fits, "{} asked, {} answered", record_type, last.record_type());
        }
        match answer.authority {
            Authority::Negative { soa, .. } => {
                prop_assert_eq!(soa.record_type(), RecordType::SOA);
                prop_assert!(soa.ttl() <= 60, "a negative answer outlives the zone's minimum");
                prop_assert!(answers.iter().all(|r| r.record_type() == RecordType::CNAME));
            }
            Authority::Referral { .. } => {
                prop_assert_eq!(answer.rcode, Rcode::Noerror);
                prop_assert_eq!(answer.authoritative, !answers.is_empty());
            }
            Authority::None => {
                prop_assert!(answer.rcode != Rcode::Nxdomain, "NXDOMAIN without SOA");
                prop_assert!(!answers.is_empty() || answer.rcode == Rcode::Servfail);
            }
        }
    }

    /// A name with records, and every name above it, is never said not to exist, unless it is hidden below
    /// a delegation, which refers.
    #[test]
    fn what_exists_is_never_denied(spec in spec()) {
        let snapshot = build(spec);
        for record in &snapshot.zones()[0].records {
            let mut next = Some(record.owner.clone());
            while let Some(owner) = next.filter(|o| o.is_at_or_below(&name("example."))) {
                let question = ask(&owner, RecordType::TXT, somebody());
                let answer = answer(&snapshot, &question);
                let chained = answer.answers().any(|r| r.record_type() == RecordType::CNAME);
                prop_assert!(answer.rcode != Rcode::Nxdomain || chained, "{} was denied", owner);
                next = owner.parent();
            }
        }
    }

    /// S3 and DESIGN §6: a bound name answers the committed site's addresses or SERVFAIL, never another's.
    #[test]
    fn a_bound_name_never_answers_another_site(spec in spec()) {
        let snapshot = build(spec);
        let NameKind::Bound(bound) = &snapshot.names()[0].kind else { unreachable!() };
        let question = ask(&name("bound.example."), RecordType::A, somebody());
        let answer = answer(&snapshot, &question);
        let believed = snapshot.freshness() == Freshness::Fresh || bound.no_quorum == NoQuorum::Last;
        let wanted = bound.active.as_ref().and_then(|s| bound.endpoints.get(s)).filter(|_| believed);
        match wanted {
            None => prop_assert_eq!(answer.rcode, Rcode::Servfail),
            Some(wanted) => prop_assert_eq!(addresses(&answer), wanted.iter().copied().collect()),
        }
    }

    /// A pooled name answers one member that is up; or, when none is believed to be, what its policy says.
    #[test]
    fn a_pooled_name_answers_members_that_are_up(spec in spec(), client in any::<u32>()) {
        let snapshot = build(spec);
        let NameKind::Pooled(pooled) = &snapshot.names()[1].kind else { unreachable!() };
        let up = |pool: &PoolShare, member: &PoolMember| {
            let verdict = snapshot.verdicts().get(&pool.pool).and_then(|v| v.get(&member.id));
            verdict.is_some_and(|v| v.state == VerdictState::Up)
        };
        let mut eligible = BTreeSet::new();
        let mut every = BTreeSet::new();
        for share in &pooled.pools {
            let pool = &snapshot.pools()[&share.pool];
            let members_up: Vec<_> = pool.members.iter().filter(|m| up(share, m)).collect();
            let counts = pooled.policy == Policy::Order || share.weight > 0;
            every.extend(pool.members.iter().filter(|_| counts).map(|m| m.address));
            if counts && members_up.len() >= pool.min_up.max(1) as usize
                && (pooled.policy == Policy::Weighted || eligible.is_empty())
            {
                eligible.extend(members_up.iter().map(|m| m.address));
            }
        }
        let client = Client::sender(IpAddr::V4(Ipv4Addr::from_bits(client)));
        let question = ask(&name("pooled.example."), RecordType::A, client);
        let answer = answer(&snapshot, &question);
        let given = addresses(&answer);
        if eligible.is_empty() {
            match pooled.all_down {
                AllDown::Servfail => prop_assert_eq!(answer.rcode, Rcode::Servfail),
                AllDown::Nodata => prop_assert!(given.is_empty() && answer.rcode == Rcode::Noerror),
                AllDown::Open => prop_assert!(given.len() == 1 && given.is_subset(&every) && answer.why == Some(gslb_core::Why::AllDownOpen)),
            }
        } else {
            prop_assert!(given.len() == 1 && given.is_subset(&eligible), "{:?} not of {:?}", given, eligible);
            prop_assert!(answer.why != Some(gslb_core::Why::AllDownOpen));
        }
        // The same prefix is steered alike, whatever the host part (the promise of the scope).
        if answer.scope == 0 {
            let other = ask(&name("pooled.example."), RecordType::A, somebody());
            prop_assert_eq!(addresses(&gslb_core::answer(&snapshot, &other)), given);
        }
    }

    /// The form on disk loses nothing but the freshness.
    #[test]
    fn a_snapshot_survives_the_disk(spec in spec()) {
        let snapshot = build(spec);
        let document = gslb_core::v1::Snapshot::from(&snapshot.to_spec());
        let json = serde_json::to_string(&document).unwrap();
        let read: gslb_core::v1::Snapshot = serde_json::from_str(&json).unwrap();
        let back = SnapshotSpec::try_from(read).unwrap();
        prop_assert_eq!(back, SnapshotSpec { freshness: Freshness::Stale, ..snapshot.to_spec() });
    }

    /// What a TTL rests on: a verdict's state never changes in fewer contrary rounds than it says, and does
    /// change in just as many, when every site is heard and sees the contrary.
    #[test]
    fn a_verdict_changes_no_sooner_than_it_says(
        rise in 1..4u32,
        fall in 1..4u32,
        seen in prop::collection::vec((0..3usize, any::<bool>()), 1..40),
    ) {
        let sites = ["pdc", "mdc", "wit"].map(|s| s.parse::<SiteId>().unwrap());
        let key = ("web".parse().unwrap(), "m".parse().unwrap());
        let freshness = Duration::from_secs(1_000);
        let check = MemberCheck { site: sites[1].clone(), rise, fall, freshness };
        let mut health = Health::new(sites[0].clone());
        health.configure(BTreeMap::from([(key.clone(), check)]));
        let see = |health: &mut Health, at: u64, site: &SiteId, good: bool| {
            let result = if good { Ok(1) } else { Err("no".to_owned()) };
            let (pool, member) = key.clone();
            observe(health, Observation { pool, member, vantage: site.clone(), at: Timestamp(at), result })
        };
        for (at, (site, good)) in (1..).zip(&seen) {
            see(&mut health, at, &sites[*site], *good);
        }
        let verdict = health.verdicts()[&key.0][&key.1];
        let heard: Vec<SiteId> = health.opinions(&key.0, &key.1).unwrap().keys().cloned().collect();
        // One site that speaks for its own member alone has no say.
        prop_assume!(verdict.state != VerdictState::Unknown);
        prop_assert!(verdict.probes_to_change >= 1);
        let good = verdict.state == VerdictState::Down;
        for round in 0..verdict.probes_to_change {
            prop_assert_eq!(health.verdicts()[&key.0][&key.1].state, verdict.state, "round {}", round);
            for site in &heard {
                see(&mut health, 1_000 + u64::from(round), site, good);
            }
        }
        let after = health.verdicts()[&key.0][&key.1].state;
        let undecided = verdict.probes_to_change == 1;
        prop_assert!(after != verdict.state || undecided, "{:?} after {:?}", after, verdict);
    }
}
