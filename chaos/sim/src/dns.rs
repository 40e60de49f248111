//! The bound name, answered by the real `gslb_core::answer` from a snapshot of the applied route.

use std::net::IpAddr;

use gslb_core::{
    BoundSpec, Client, Freshness, NameBuf, NameKind, NameSpec, NoQuorum, Question, RecordType, Snapshot,
    SnapshotSpec, SoaSpec, Verdicts, ZoneSpec, answer,
};
use model::Generation;

use crate::options::Sites;
use crate::place::{HOST_SITES, HOSTS, MDC, Names, PDC};

/// TTL of the name in seconds.
pub const TTL: u32 = 1;

/// What is asked, and how answers are read.
pub struct Dns {
    zone: gslb_core::Name,
    name: gslb_core::Name,
    question: Question,
    addresses: Vec<IpAddr>,
    no_quorum: NoQuorum,
}

impl Dns {
    /// The zone of the simulated world.
    pub fn new(sites: Sites) -> Self {
        let parse = |text: &str| text.parse::<gslb_core::Name>().expect("a name of ours");
        let name = parse("db.gslb.example.com");
        let mut asked = NameBuf::new();
        asked.read(name.wire()).expect("a name's wire form is a name");
        let addresses = (0..HOSTS).map(|h| {
            let last = h as u8 / 2 + 1;
            if HOST_SITES[h] == PDC {
                IpAddr::from([192, 0, 2, last])
            } else {
                IpAddr::from([198, 51, 100, last])
            }
        });
        let question = Question {
            name: asked,
            record_type: RecordType::A,
            class: gslb_core::CLASS_IN,
            client: Client::sender(IpAddr::from([203, 0, 113, 7])),
        };
        // Without a witness the loss of a site is the loss of the quorum.
        let no_quorum = if sites == Sites::Two { NoQuorum::Last } else { NoQuorum::Servfail };
        let zone = parse("gslb.example.com");
        Self { zone, name, question, addresses: addresses.collect(), no_quorum }
    }

    /// What a node with this state answers from.
    pub fn snapshot(&self, names: &Names, state: &failover_core::State) -> Snapshot {
        let route = state.groups.get(&names.group).and_then(|g| g.route.as_ref());
        // In its site, the address of the server that was opened; in the other one nobody asks.
        let open =
            route.and_then(|r| Some(&state.groups.get(&names.group)?.epochs.get(&r.epoch)?.primary.server));
        let open = open.and_then(|server| names.host(server));
        let endpoints = [PDC, MDC].map(|site| {
            let first = HOST_SITES.iter().position(|s| *s == site).expect("each site has a server");
            let server = open.filter(|h| HOST_SITES[*h] == site).unwrap_or(first);
            (names.sites[site].clone(), vec![self.addresses[server]])
        });
        let soa = SoaSpec {
            primary: self.zone.clone(),
            contact: self.zone.clone(),
            serial: 1,
            refresh: 60,
            retry: 60,
            expire: 600,
            minimum: 1,
            ttl: 60,
        };
        let zone = ZoneSpec {
            apex: self.zone.clone(),
            soa,
            name_servers: vec!["ns.example.net".parse().expect("a name")],
            name_servers_ttl: 60,
            records: Vec::new(),
        };
        let bound = BoundSpec {
            group: names.group.clone(),
            endpoints: endpoints.into(),
            active: route.map(|r| r.site.clone()),
            no_quorum: self.no_quorum,
            ttl: TTL,
        };
        let spec = SnapshotSpec {
            generation: Generation(route.map_or(0, |r| r.epoch.0)),
            freshness: Freshness::Fresh,
            zones: vec![zone],
            pools: Default::default(),
            names: vec![NameSpec { name: self.name.clone(), kind: NameKind::Bound(bound) }],
            verdicts: Verdicts::default(),
        };
        Snapshot::build(spec).expect("the simulated zone is sound")
    }

    /// The database host that the name leads to, if it is answered.
    pub fn ask(&self, snapshot: &Snapshot, fresh: bool) -> Option<usize> {
        let now = if fresh { Freshness::Fresh } else { Freshness::Stale };
        let stale;
        let from = if snapshot.freshness() == now {
            snapshot
        } else {
            stale = snapshot.with(Verdicts::default(), now);
            &stale
        };
        let answered = answer(from, &self.question);
        let rrset = answered.answers().next()?;
        let data: [u8; 4] = rrset.data().next()?.try_into().ok()?;
        self.addresses.iter().position(|a| *a == IpAddr::from(data))
    }
}
