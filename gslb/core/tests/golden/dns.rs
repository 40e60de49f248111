//! Commands that fill a spec: `zone APEX [ttl=N minimum=N ns=NAME,…]`; `record OWNER TTL TYPE DATA`;
//! `pool ID [interval=SECONDS] [min-up=N] MEMBER=ADDRESS[*WEIGHT]…`;
//! `bound NAME SITE=ADDRESS,… [active=SITE] [no-quorum=last] [ttl=N]`;
//! `pooled NAME order|weighted POOL[*WEIGHT],… [all-down=…] [ttl=MIN-MAX]`.
//! Then: `build [tolerant]`; `verdict POOL/MEMBER up|down|unknown PROBES`; `fresh`; `stale`; `route NAME SITE|none`;
//! `ask NAME TYPE [from ADDRESS | subnet ADDRESS/LENGTH] [class N]`; `shares NAME TYPE N` (of N clients).
//! Names without a dot at the end are below the newest zone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use gslb_core::{
    AllDown, Answer, Authority, BoundSpec, CLASS_IN, Client, Freshness, Link, Name, NameBuf, NameKind,
    NameSpec, NoQuorum, Policy, PoolMember, PoolShare, PoolSpec, PooledSpec, Question, RecordData,
    RecordSpec, RecordType, Rrset, Snapshot, SnapshotSpec, SoaSpec, ZoneSpec, answer, explain,
};
use model::{Generation, Verdict, VerdictState};

pub struct Dns {
    spec: SnapshotSpec,
    snapshot: Option<Snapshot>,
}

impl Default for Dns {
    fn default() -> Self {
        let spec = SnapshotSpec {
            generation: Generation(1),
            freshness: Freshness::Fresh,
            zones: Vec::new(),
            pools: BTreeMap::new(),
            names: Vec::new(),
            verdicts: BTreeMap::new(),
        };
        Self { spec, snapshot: None }
    }
}

type Outcome = Result<String, String>;

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

/// `name=value` among the words.
fn setting<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
}

impl super::World for Dns {
    fn run(&mut self, command: &str) -> Outcome {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["zone", apex, ref settings @ ..] => self.zone(apex, settings),
            ["record", owner, ttl, record_type, ref data @ ..] => {
                self.record(owner, ttl, record_type, &data.join(" "))
            }
            ["pool", id, ref rest @ ..] => self.pool(id, rest),
            ["bound", name, endpoints, ref settings @ ..] => self.bound(name, endpoints, settings),
            ["pooled", name, policy, pools, ref settings @ ..] => self.pooled(name, policy, pools, settings),
            ["build"] => self.build(false),
            ["build", "tolerant"] => self.build(true),
            ["verdict", member, state, probes] => self.verdict(member, state, probes),
            ["fresh"] => self.freshness(Freshness::Fresh),
            ["stale"] => self.freshness(Freshness::Stale),
            ["route", name, site] => self.route(name, site),
            ["ask", name, record_type, ref rest @ ..] => {
                let question = self.question(name, record_type, rest)?;
                let snapshot = self.snapshot.as_ref().ok_or("build comes first")?;
                Ok(print(&question, &answer(snapshot, &question)))
            }
            ["explain", name, record_type, ref rest @ ..] => {
                let question = self.question(name, record_type, rest)?;
                let snapshot = self.snapshot.as_ref().ok_or("build comes first")?;
                let why = explain(snapshot, &question);
                let rcode = format!("{:?}", why.rcode).to_uppercase();
                let lines = why
                    .answers
                    .iter()
                    .map(|a| format!("  {a}"))
                    .chain(why.because.iter().map(|b| format!("  because {b}")));
                Ok(std::iter::once(rcode).chain(lines).map(|line| line + "\n").collect())
            }
            ["shares", name, record_type, clients] => self.shares(name, record_type, clients),
            _ => Err("unknown command".to_owned()),
        }
    }
}

impl Dns {
    fn name(&self, name: &str) -> Result<Name, String> {
        match self.spec.zones.last() {
            Some(zone) if name == "@" => Ok(zone.apex.clone()),
            Some(zone) if !name.ends_with('.') => format!("{name}.{}", zone.apex).parse().map_err(text),
            _ => name.parse().map_err(text),
        }
    }

    fn zone(&mut self, apex: &str, settings: &[&str]) -> Outcome {
        let apex: Name = apex.parse().map_err(text)?;
        let number =
            |name, otherwise| setting(settings, name).map_or(Ok(otherwise), |v| v.parse().map_err(text));
        let below = |label: &str| format!("{label}.{apex}").parse::<Name>().map_err(text);
        let servers = match setting(settings, "ns") {
            Some("") => Vec::new(),
            Some(list) => list.split(',').map(|n| n.parse().map_err(text)).collect::<Result<_, String>>()?,
            None => vec![below("ns1")?, below("ns2")?],
        };
        let soa = SoaSpec {
            primary: below("ns1")?,
            contact: below("hostmaster")?,
            serial: 1,
            refresh: 7200,
            retry: 900,
            expire: 1_209_600,
            minimum: number("minimum", 60)?,
            ttl: number("ttl", 3600)?,
        };
        let zone = ZoneSpec { apex, soa, name_servers: servers, name_servers_ttl: 3600, records: Vec::new() };
        self.spec.zones.push(zone);
        Ok(String::new())
    }

    fn record(&mut self, owner: &str, ttl: &str, record_type: &str, data: &str) -> Outcome {
        let record_type: RecordType = record_type.parse().map_err(text)?;
        let wire = match record_type {
            RecordType::A | RecordType::AAAA => match data.parse::<IpAddr>() {
                Ok(IpAddr::V4(a)) => a.octets().to_vec(),
                Ok(IpAddr::V6(a)) => a.octets().to_vec(),
                Err(_) => data.as_bytes().to_vec(),
            },
            RecordType::CNAME | RecordType::DNAME | RecordType::NS => self.name(data)?.wire().to_vec(),
            _ => [&[u8::try_from(data.len()).map_err(text)?], data.as_bytes()].concat(),
        };
        let data = RecordData { wire, text: data.to_owned() };
        let record =
            RecordSpec { owner: self.name(owner)?, record_type, ttl: ttl.parse().map_err(text)?, data };
        self.spec.zones.last_mut().ok_or("zone comes first")?.records.push(record);
        Ok(String::new())
    }

    fn pool(&mut self, id: &str, words: &[&str]) -> Outcome {
        let mut spec = PoolSpec { members: Vec::new(), check_interval: None, min_up: 1 };
        for word in words {
            let (name, value) = word.split_once('=').ok_or("NAME=VALUE")?;
            match name {
                "interval" => {
                    spec.check_interval = Some(Duration::from_secs_f64(value.parse().map_err(text)?));
                }
                "min-up" => spec.min_up = value.parse().map_err(text)?,
                _ => {
                    let (address, weight) = value.split_once('*').unwrap_or((value, "1"));
                    spec.members.push(PoolMember {
                        id: name.parse().map_err(text)?,
                        site: "pdc".parse().map_err(text)?,
                        address: address.parse().map_err(text)?,
                        weight: weight.parse().map_err(text)?,
                    });
                }
            }
        }
        self.spec.pools.insert(id.parse().map_err(text)?, spec);
        Ok(String::new())
    }

    fn bound(&mut self, name: &str, endpoints: &str, settings: &[&str]) -> Outcome {
        let mut spec = BoundSpec {
            group: "erp".parse().map_err(text)?,
            endpoints: BTreeMap::new(),
            active: setting(settings, "active").map(str::parse).transpose().map_err(text)?,
            no_quorum: NoQuorum::Servfail,
            ttl: setting(settings, "ttl").unwrap_or("5").parse().map_err(text)?,
        };
        if setting(settings, "no-quorum") == Some("last") {
            spec.no_quorum = NoQuorum::Last;
        }
        for endpoint in endpoints.split(',').filter(|e| *e != "-") {
            let (site, address) = endpoint.split_once('=').ok_or("SITE=ADDRESS")?;
            let addresses = spec.endpoints.entry(site.parse().map_err(text)?).or_default();
            addresses.push(address.parse().map_err(text)?);
        }
        self.spec.names.push(NameSpec { name: self.name(name)?, kind: NameKind::Bound(spec) });
        Ok(String::new())
    }

    fn pooled(&mut self, name: &str, policy: &str, pools: &str, settings: &[&str]) -> Outcome {
        let policy = if policy == "order" { Policy::Order } else { Policy::Weighted };
        let all_down = match setting(settings, "all-down") {
            Some("nodata") => AllDown::Nodata,
            Some("servfail") => AllDown::Servfail,
            _ => AllDown::Open,
        };
        let (min, max) = setting(settings, "ttl").unwrap_or("1-30").split_once('-').ok_or("ttl=MIN-MAX")?;
        let (ttl_min, ttl_max) = (min.parse().map_err(text)?, max.parse().map_err(text)?);
        let mut shares = Vec::new();
        for pool in pools.split(',').filter(|p| *p != "-") {
            let (pool, weight) = pool.split_once('*').unwrap_or((pool, "1"));
            let (pool, weight) = (pool.parse().map_err(text)?, weight.parse().map_err(text)?);
            shares.push(PoolShare { pool, weight });
        }
        let kind = NameKind::Pooled(PooledSpec { policy, pools: shares, all_down, ttl_min, ttl_max });
        self.spec.names.push(NameSpec { name: self.name(name)?, kind });
        Ok(String::new())
    }

    fn build(&mut self, tolerant: bool) -> Outcome {
        let built = match tolerant {
            true => Snapshot::build_tolerant(self.spec.clone()),
            false => Snapshot::build(self.spec.clone()).map(|snapshot| (snapshot, Vec::new())),
        };
        match built {
            Ok((snapshot, problems)) => {
                let told: String = problems.iter().map(|p| format!("{p}\n")).collect();
                let (generation, names) = (snapshot.generation(), snapshot.name_count());
                let out = format!("{told}generation {generation} with {names} names\n");
                self.snapshot = Some(snapshot);
                Ok(out)
            }
            Err(problems) => Ok(problems.iter().map(|p| format!("{p}\n")).collect()),
        }
    }

    fn verdict(&mut self, member: &str, state: &str, probes: &str) -> Outcome {
        let (pool, member) = member.split_once('/').ok_or("POOL/MEMBER")?;
        let state = match state {
            "up" => VerdictState::Up,
            "down" => VerdictState::Down,
            _ => VerdictState::Unknown,
        };
        let verdict = Verdict { state, probes_to_change: probes.parse().map_err(text)? };
        let members = self.spec.verdicts.entry(pool.parse().map_err(text)?).or_default();
        members.insert(member.parse().map_err(text)?, verdict);
        self.renew()
    }

    fn freshness(&mut self, freshness: Freshness) -> Outcome {
        self.spec.freshness = freshness;
        self.renew()
    }

    /// The same generation under the new verdicts and freshness; it must be what a whole build gives.
    fn renew(&mut self) -> Outcome {
        let snapshot = self.snapshot.as_ref().ok_or("build comes first")?;
        let next = snapshot.with(self.spec.verdicts.clone(), self.spec.freshness);
        assert_eq!(next.to_spec(), self.spec);
        self.snapshot = Some(next);
        Ok(String::new())
    }

    fn route(&mut self, name: &str, site: &str) -> Outcome {
        let name = self.name(name)?;
        let found = self.spec.names.iter_mut().find(|n| n.name == name).ok_or("no such name")?;
        let NameKind::Bound(bound) = &mut found.kind else { return Err("not bound".to_owned()) };
        bound.active = if site == "none" { None } else { Some(site.parse().map_err(text)?) };
        self.spec.generation = self.spec.generation.next();
        self.build(false)
    }

    fn question(&self, name: &str, record_type: &str, rest: &[&str]) -> Result<Question, String> {
        let mut question = Question {
            name: NameBuf::from(&self.name(name)?),
            record_type: record_type.parse().map_err(text)?,
            class: CLASS_IN,
            client: Client::sender("192.0.2.53".parse().map_err(text)?),
        };
        for pair in rest.chunks(2) {
            match pair {
                ["from", address] => question.client = Client::sender(address.parse().map_err(text)?),
                ["subnet", subnet] => {
                    let (address, length) = subnet.split_once('/').ok_or("ADDRESS/LENGTH")?;
                    let (address, length) = (address.parse().map_err(text)?, length.parse().map_err(text)?);
                    question.client = Client::subnet(address, length);
                }
                ["class", class] => question.class = class.parse().map_err(text)?,
                _ => return Err(format!("{pair:?}")),
            }
        }
        Ok(question)
    }

    /// How `clients` many clients of different /24 are spread.
    fn shares(&self, name: &str, record_type: &str, clients: &str) -> Outcome {
        let snapshot = self.snapshot.as_ref().ok_or("build comes first")?;
        let clients: u32 = clients.parse().map_err(text)?;
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for client in 0..clients {
            let address = std::net::Ipv4Addr::from_bits(client << 8);
            let question = self.question(name, record_type, &["from", &address.to_string()])?;
            let answer = answer(snapshot, &question);
            let data = answer.answers().last().map_or("nothing".to_owned(), |r| printed_data(r).join(" "));
            *counts.entry(data).or_default() += 1;
        }
        let share = |count: u32| f64::from(count) * 100.0 / f64::from(clients);
        Ok(counts.iter().map(|(data, count)| format!("{data} {:.1} %\n", share(*count))).collect())
    }
}

fn print(question: &Question, answer: &Answer<'_>) -> String {
    let mut out = format!("{:?}", answer.rcode).to_uppercase();
    out.push_str(if answer.authoritative { " aa" } else { "" });
    if answer.scope > 0 {
        write!(out, " scope={}", answer.scope).unwrap();
    }
    out.push_str(if answer.why == Some(gslb_core::Why::AllDownOpen) { " open\n" } else { "\n" });
    let mut owner = question.name.to_name();
    for link in answer.links() {
        match link {
            Link::Records(rrset) => {
                print_rrset(&mut out, "", &owner, rrset);
                if rrset.record_type() == RecordType::CNAME {
                    owner = Name::from_wire(rrset.data().next().unwrap()).unwrap();
                }
            }
            Link::Renamed { dname, owner_length, again, leads } => {
                let wire = owner.wire().to_vec();
                let (kept, suffix) = wire.split_at(wire.len() - usize::from(owner_length));
                if !again {
                    print_rrset(&mut out, "", &Name::from_wire(suffix).unwrap(), dname);
                }
                if leads {
                    let target = dname.data().next().unwrap();
                    let made = Name::from_wire(&[kept, target].concat()).unwrap();
                    writeln!(out, "  {owner} {} CNAME {made} (made)", dname.ttl()).unwrap();
                    owner = made;
                }
            }
        }
    }
    let suffix = |length: u16| {
        let wire = owner.wire();
        Name::from_wire(&wire[wire.len() - usize::from(length)..]).unwrap()
    };
    match answer.authority {
        Authority::None => {}
        Authority::Negative { soa, owner_length } => {
            print_rrset(&mut out, "authority ", &suffix(owner_length), soa);
        }
        Authority::Referral { name_servers, owner_length, glue } => {
            print_rrset(&mut out, "authority ", &suffix(owner_length), name_servers);
            writeln!(out, "  additional {} addresses", glue.count()).unwrap();
        }
    }
    out
}

fn print_rrset(out: &mut String, section: &str, owner: &Name, rrset: &Rrset) {
    for data in printed_data(rrset) {
        writeln!(out, "  {section}{owner} {} {} {data}", rrset.ttl(), rrset.record_type()).unwrap();
    }
}

fn printed_data(rrset: &Rrset) -> Vec<String> {
    let print = |data: &[u8]| match rrset.record_type() {
        RecordType::A => IpAddr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
        RecordType::AAAA => IpAddr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
        RecordType::CNAME | RecordType::DNAME | RecordType::NS => Name::from_wire(data).unwrap().to_string(),
        RecordType::SOA => {
            let (primary, length) = Name::prefix_of_wire(data).unwrap();
            let (contact, more) = Name::prefix_of_wire(&data[length..]).unwrap();
            assert_eq!(data.len(), length + more + 20);
            format!("{primary} {contact}")
        }
        _ => String::from_utf8_lossy(&data[1..]).replace('\0', ""),
    };
    rrset.data().map(print).collect()
}
