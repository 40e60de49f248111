//! One world that the tests of this crate ask: a zone with a bit of everything.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use gslb_core::{
    AllDown, BoundSpec, Freshness, Name, NameKind, NameSpec, NoQuorum, Policy, PoolMember, PoolShare,
    PoolSpec, PooledSpec, RecordSpec, Snapshot, SnapshotSpec, SoaSpec, ZoneSpec,
};
use gslb_dns::record_data;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::RecordType;
use model::{Generation, SiteId, Verdict, VerdictState};

pub const APEX: &str = "gslb.example.";

/// Owner, TTL, type and data of every static record.
pub const RECORDS: &[(&str, u32, &str, &str)] = &[
    ("www", 60, "A", "192.0.2.1"),
    ("www", 60, "A", "192.0.2.2"),
    ("www", 60, "AAAA", "2001:db8::1"),
    ("mail", 60, "MX", "10 mx.gslb.example."),
    ("text", 60, "TXT", "\"hello world\""),
    ("_http._tcp", 60, "SRV", "1 2 80 www.gslb.example."),
    ("alias", 60, "CNAME", "www.gslb.example."),
    ("chain", 60, "CNAME", "alias.gslb.example."),
    ("toward", 60, "CNAME", "pooled.gslb.example."),
    ("away", 60, "CNAME", "www.elsewhere.test."),
    ("dangling", 60, "CNAME", "nothing.gslb.example."),
    ("*.wild", 60, "A", "192.0.2.9"),
    ("deep.down.there", 60, "A", "192.0.2.8"),
    ("child", 60, "NS", "ns.child.gslb.example."),
    ("ns.child", 60, "A", "192.0.2.53"),
    ("generic", 60, "TYPE65280", "\\# 3 010203"),
];

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn site(text: &str) -> SiteId {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn zone() -> ZoneSpec {
    let below = |label: &str| name(&format!("{label}.{APEX}"));
    let soa = SoaSpec {
        primary: below("ns1"),
        contact: below("hostmaster"),
        serial: 7,
        refresh: 7200,
        retry: 900,
        expire: 1_209_600,
        minimum: 5,
        ttl: 300,
    };
    let mut records = Vec::new();
    for (owner, ttl, record_type, data) in RECORDS {
        let record_type = record_type.parse().unwrap();
        let data = record_data(record_type, data).unwrap();
        records.push(RecordSpec { owner: below(owner), record_type, ttl: *ttl, data });
    }
    // More than a datagram holds: 100 addresses of 16 octets and as many pointers.
    for last in 0..100 {
        let data = record_data(gslb_core::RecordType::A, &format!("198.18.0.{last}")).unwrap();
        let record_type = gslb_core::RecordType::A;
        records.push(RecordSpec { owner: below("many"), record_type, ttl: 60, data });
    }
    // More than 512 octets, less than 1232.
    for last in 0..40 {
        let data = record_data(gslb_core::RecordType::A, &format!("198.18.1.{last}")).unwrap();
        let record_type = gslb_core::RecordType::A;
        records.push(RecordSpec { owner: below("some"), record_type, ttl: 60, data });
    }
    ZoneSpec {
        apex: name(APEX),
        soa,
        name_servers: vec![below("ns1"), below("ns2")],
        name_servers_ttl: 3600,
        records,
    }
}

pub fn spec(generation: u64, active: &str) -> SnapshotSpec {
    let endpoints = [("pdc", vec![ip("192.0.2.10"), ip("2001:db8::10")]), ("mdc", vec![ip("198.51.100.10")])];
    let bound = BoundSpec {
        group: "erp".parse().unwrap(),
        endpoints: endpoints.map(|(s, a)| (site(s), a)).into(),
        active: Some(site(active)),
        no_quorum: NoQuorum::Servfail,
        ttl: 3,
    };
    let members = (0..4u8).map(|n| PoolMember {
        id: format!("m{n}").parse().unwrap(),
        site: site("pdc"),
        address: IpAddr::from([192, 0, 2, 100 + n]),
        weight: 1,
    });
    let members: Vec<PoolMember> = members.collect();
    let up = Verdict { state: VerdictState::Up, probes_to_change: 3 };
    let verdicts = members.iter().map(|m| (m.id.clone(), up)).collect();
    let pool = PoolSpec { members, check_interval: Some(Duration::from_secs(2)), min_up: 1 };
    let down = PoolSpec { members: pool.members.clone(), ..pool.clone() };
    let pooled = |pool: &str| PooledSpec {
        policy: Policy::Order,
        pools: vec![PoolShare { pool: pool.parse().unwrap(), weight: 1 }],
        all_down: AllDown::Open,
        ttl_min: 1,
        ttl_max: 30,
    };
    let below = |label: &str, kind| NameSpec { name: name(&format!("{label}.{APEX}")), kind };
    SnapshotSpec {
        generation: Generation(generation),
        freshness: Freshness::Fresh,
        zones: vec![zone()],
        pools: BTreeMap::from([("web".parse().unwrap(), pool), ("unheard".parse().unwrap(), down)]),
        names: vec![
            below("db", NameKind::Bound(bound)),
            below("pooled", NameKind::Pooled(pooled("web"))),
            below("open", NameKind::Pooled(pooled("unheard"))),
        ],
        verdicts: BTreeMap::from([("web".parse().unwrap(), verdicts)]),
    }
}

pub fn snapshot(generation: u64, active: &str) -> Snapshot {
    Snapshot::build(spec(generation, active)).unwrap()
}

/// A plain query for a name below the apex.
pub fn query(label: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    let name = hickory_proto::rr::Name::from_ascii(format!("{label}.{APEX}")).unwrap();
    message.add_query(Query::query(name, record_type));
    message.metadata.id = 0x1234;
    message
}
