//! Static records: their data read, and the rules that hold among them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::or;
use super::zone::relative;
use crate::fields::{At, nearest, quoted};
use crate::name::DnsName;
use crate::problem::Problems;
use crate::tree::Place;
use crate::v1::{RecordFile, ZoneFile};
use crate::zone::{Record, RecordData};

/// The types that can be written.
const TYPES: [&str; 9] = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"];

/// Longest chain of CNAMEs within the zone; resolvers give up at about as many.
const CHAIN_MAX: usize = 8;

/// A record with the places of its name and data; derived ones have none.
pub(crate) struct Placed<'f> {
    pub record: Record,
    pub name: Option<&'f Place>,
    pub data: Option<&'f Place>,
}

/// All records, sorted, `derived` among them.
pub(crate) fn records<'f>(
    written: &'f ZoneFile,
    origin: &DnsName,
    ttl: Duration,
    derived: Vec<Placed<'f>>,
    servers: &[At<DnsName>],
    names: &BTreeMap<DnsName, &'f Place>,
    problems: &mut Problems,
) -> Vec<Record> {
    let before = problems.len();
    let mut found = derived;
    for at in &written.records {
        read(&at.value, origin, ttl, &mut found, problems);
    }
    let unread = written.records_lost || problems.len() != before;
    found.sort_by(|a, b| a.record.cmp(&b.record));
    let rules = Rules { found: &found, origin, servers, names, zone: &written.place };
    rules.owners(problems);
    rules.sets(problems);
    rules.cuts(problems);
    // A record that could not be read may be the very one that is pointed at.
    if !unread {
        rules.targets(problems);
    }
    found.into_iter().map(|placed| placed.record).collect()
}

fn read<'f>(
    written: &'f RecordFile,
    origin: &DnsName,
    ttl: Duration,
    found: &mut Vec<Placed<'f>>,
    problems: &mut Problems,
) {
    let name = written.name.as_ref().and_then(|at| relative(at, origin, problems));
    let Some(rtype) = &written.rtype else { return };
    if !TYPES.contains(&rtype.value.as_str()) {
        let upper = rtype.value.to_ascii_uppercase();
        let hint = match nearest(&upper, TYPES.into_iter()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write one of {}", TYPES.join(", ")),
        };
        problems.add(&rtype.place, format!("record type {} is not known", quoted(&rtype.value)), hint);
        return;
    }
    let (Some(data), Some(name_at)) = (&written.data, &written.name) else { return };
    for at in &data.value {
        let parsed = parse(&rtype.value, at, origin, problems);
        if let (Some(data), Some(name)) = (parsed, &name) {
            found.push(Placed {
                record: Record { name: name.clone(), data, ttl: or(&written.ttl, ttl) },
                name: Some(&name_at.place),
                data: Some(&at.place),
            });
        }
    }
}

fn parse(rtype: &str, at: &At<String>, origin: &DnsName, problems: &mut Problems) -> Option<RecordData> {
    let mut refuse = |hint: &str| {
        problems.add(&at.place, format!("{} is no data of type {rtype}", quoted(&at.value)), hint);
        None
    };
    let words: Vec<&str> = at.value.split_whitespace().collect();
    match (rtype, words.as_slice()) {
        ("A", [address]) => match address.parse() {
            Ok(address) => Some(RecordData::A(address)),
            Err(_) => refuse("write an IPv4 address"),
        },
        ("A", _) => refuse("write one IPv4 address, several as a list"),
        ("AAAA", [address]) => match address.parse() {
            Ok(address) => Some(RecordData::Aaaa(address)),
            Err(_) => refuse("write an IPv6 address"),
        },
        ("AAAA", _) => refuse("write one IPv6 address, several as a list"),
        ("TXT", _) => match at.value.contains(char::is_control) {
            true => refuse("write a text of one line"),
            false => Some(RecordData::Txt(strings(&at.value))),
        },
        ("CNAME" | "NS" | "PTR", [target]) => {
            let target =
                relative(&At { value: (*target).to_owned(), place: at.place.clone() }, origin, problems)?;
            Some(match rtype {
                "CNAME" => RecordData::Cname(target),
                "NS" => RecordData::Ns(target),
                _ => RecordData::Ptr(target),
            })
        }
        ("CNAME" | "NS" | "PTR", _) => refuse("write one name"),
        ("MX", [preference, exchange]) => {
            let Ok(preference) = preference.parse() else { return refuse("write it as `10 mail`") };
            let exchange = At { value: (*exchange).to_owned(), place: at.place.clone() };
            Some(RecordData::Mx { preference, exchange: relative(&exchange, origin, problems)? })
        }
        ("MX", _) => refuse("write it as `10 mail`: preference and name"),
        ("SRV", [priority, weight, port, target]) => {
            let numbers = (priority.parse(), weight.parse(), port.parse());
            let (Ok(priority), Ok(weight), Ok(port)) = numbers else {
                return refuse("write it as `0 5 5060 sip`: priority, weight, port and name");
            };
            let target = At { value: (*target).to_owned(), place: at.place.clone() };
            Some(RecordData::Srv { priority, weight, port, target: relative(&target, origin, problems)? })
        }
        ("SRV", _) => refuse("write it as `0 5 5060 sip`: priority, weight, port and name"),
        (_, [flags, tag, value @ ..]) if !value.is_empty() => {
            let known = ["issue", "issuewild", "iodef"].contains(tag);
            let value = value.join(" ");
            let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&value);
            match flags.parse() {
                Ok(flags @ (0 | 128)) if known => {
                    Some(RecordData::Caa { flags, tag: (*tag).to_owned(), value: bare.to_owned() })
                }
                _ => refuse(
                    "write it as `0 issue ca.example.net`: 0 or 128; issue, issuewild or iodef; the value",
                ),
            }
        }
        _ => refuse("write it as `0 issue ca.example.net`: flags, tag and value"),
    }
}

/// Cuts a text into strings of at most 255 octets (RFC 1035 §3.3), between characters.
fn strings(text: &str) -> Vec<String> {
    let mut strings = vec![String::new()];
    for character in text.chars() {
        if strings.last().is_some_and(|last| last.len() + character.len_utf8() > 255) {
            strings.push(String::new());
        }
        if let Some(last) = strings.last_mut() {
            last.push(character);
        }
    }
    strings
}

struct Rules<'a, 'f> {
    /// Sorted, so that records of one name and of one type stand together.
    found: &'a [Placed<'f>],
    origin: &'a DnsName,
    servers: &'a [At<DnsName>],
    names: &'a BTreeMap<DnsName, &'f Place>,
    zone: &'a Place,
}

impl Rules<'_, '_> {
    fn name<'a>(&'a self, placed: &'a Placed<'_>) -> &'a Place {
        placed.name.unwrap_or(self.zone)
    }

    fn data<'a>(&'a self, placed: &'a Placed<'_>) -> &'a Place {
        placed.data.unwrap_or(self.zone)
    }

    /// What may stand where.
    fn owners(&self, problems: &mut Problems) {
        for placed in self.found {
            let (name, place) = (&placed.record.name, self.name(placed));
            if !name.is_within(self.origin) {
                problems.add(
                    place,
                    format!("{name} is not in the zone {}", self.origin),
                    "write it without its final dot if it is relative to the zone",
                );
            }
            match &placed.record.data {
                RecordData::Cname(_) if name == self.origin => problems.add(
                    place,
                    "the origin has SOA and NS records, and a CNAME stands alone (RFC 1034 §3.6.2)",
                    "write the addresses, or a virtual name called \"@\"",
                ),
                RecordData::Ns(_) if name == self.origin => {
                    problems.add(place, "the zone's own name servers stand in `ns`", "move it there");
                }
                RecordData::Ns(_) if name.as_str().starts_with('*') => problems.add(
                    place,
                    "a wildcard cannot be delegated (RFC 4592 §4.2)",
                    "delegate the names one by one",
                ),
                RecordData::A(_) | RecordData::Aaaa(_) | RecordData::Cname(_) | RecordData::Ns(_)
                    if self.names.contains_key(name) =>
                {
                    problems.add(
                        place,
                        format!(
                            "{name} is a virtual name, and has a static {} record too",
                            placed.record.data.rtype()
                        ),
                        "keep one of them",
                    );
                }
                _ => {}
            }
        }
    }

    /// What may stand together at one name.
    fn sets(&self, problems: &mut Problems) {
        for pair in self.found.windows(2) {
            let [first, second] = pair else { continue };
            let (a, b) = (&first.record, &second.record);
            if a.name == b.name && a.data == b.data {
                problems.add(
                    self.data(second),
                    format!("{} has the {} record {} twice", b.name, b.data.rtype(), b.data),
                    "keep one of them",
                );
            } else if a.name == b.name && a.data.rtype() == b.data.rtype() && a.ttl != b.ttl {
                problems.add(
                    self.name(second),
                    format!("{} has {} records with different TTLs (RFC 2181 §5.2)", b.name, b.data.rtype()),
                    "give them one TTL",
                );
            }
        }
        for same in self.found.chunk_by(|a, b| a.record.name == b.record.name) {
            let alias = same.iter().find(|placed| matches!(placed.record.data, RecordData::Cname(_)));
            if let Some(alias) = alias.filter(|_| same.len() > 1) {
                problems.add(
                    self.name(alias),
                    format!("{} has other records beside its CNAME (RFC 1034 §3.6.2)", alias.record.name),
                    "keep the CNAME alone, or the others",
                );
            }
        }
    }

    /// What may stand at and beneath a delegation.
    fn cuts(&self, problems: &mut Problems) {
        let cuts = self.delegations();
        for placed in self.found {
            let (name, data) = (&placed.record.name, &placed.record.data);
            let Some(cut) = self.cut_above(name, &cuts) else { continue };
            let glue = matches!(data, RecordData::A(_) | RecordData::Aaaa(_)) && name != cut;
            let delegation = matches!(data, RecordData::Ns(_)) && name == cut;
            if !glue && !delegation {
                problems.add(
                    self.name(placed),
                    format!(
                        "{cut} is delegated, so that its {} records are the other servers' to answer",
                        data.rtype()
                    ),
                    "remove it, or the delegation",
                );
            }
        }
        for (name, place) in self.names {
            if let Some(cut) = self.cut_above(name, &cuts).filter(|cut| *cut != name) {
                problems.add(
                    place,
                    format!("{name} lies in {cut}, which is delegated"),
                    "remove it, or the delegation",
                );
            }
        }
    }

    /// Whether what is pointed at within the zone is there.
    fn targets(&self, problems: &mut Problems) {
        let cuts = self.delegations();
        let index = Index::of(self.found);
        for at in self.servers {
            self.needs_address(&at.value, "name server", &at.place, &index, false, problems);
        }
        for placed in self.found {
            let place = self.data(placed);
            match &placed.record.data {
                RecordData::Mx { exchange: target, .. } | RecordData::Srv { target, .. }
                    if self.ours(target, &cuts) =>
                {
                    let what =
                        if placed.record.data.rtype() == "MX" { "mail server" } else { "service host" };
                    self.needs_address(target, what, place, &index, true, problems);
                }
                RecordData::Ns(target) if target.is_within(self.origin) => {
                    self.needs_address(target, "name server", place, &index, false, problems);
                }
                RecordData::Cname(target) if self.ours(target, &cuts) => {
                    self.follow(placed, target, &index, problems);
                }
                _ => {}
            }
        }
    }

    fn needs_address(
        &self,
        target: &DnsName,
        what: &str,
        place: &Place,
        index: &Index<'_>,
        virtual_counts: bool,
        problems: &mut Problems,
    ) {
        if !target.is_within(self.origin) || (virtual_counts && self.is_virtual(target)) {
            return;
        }
        if index.aliases.contains_key(target) {
            problems.add(
                place,
                format!("{what} {target} is a CNAME (RFC 2181 §10.3)"),
                "name what it points at, or give it addresses",
            );
            return;
        }
        let answered = index.addresses.contains(target) || (virtual_counts && index.wild(target));
        if !answered {
            problems.add(
                place,
                format!("{what} {target} has no address in this zone"),
                "add an A or AAAA record",
            );
        }
    }

    fn follow(&self, placed: &Placed<'_>, first: &DnsName, index: &Index<'_>, problems: &mut Problems) {
        let place = self.data(placed);
        let mut target = first;
        for _ in 0..CHAIN_MAX {
            if *target == placed.record.name {
                problems.add(place, format!("the CNAME of {target} leads back to itself"), "break the loop");
                return;
            }
            match index.aliases.get(target) {
                Some(next) => target = next,
                None => {
                    let there = index.owners.contains(target)
                        || self.is_virtual(target)
                        || index.wild(target)
                        || target == self.origin
                        || !target.is_within(self.origin);
                    if !there && target == first {
                        problems.add(
                            place,
                            format!("{target} is not there to be pointed at"),
                            "add it, or mend the name",
                        );
                    }
                    return;
                }
            }
        }
        problems.add(
            place,
            format!("the chain of CNAMEs from {} is longer than {CHAIN_MAX}", placed.record.name),
            "point it closer to its end",
        );
    }

    fn is_virtual(&self, name: &DnsName) -> bool {
        self.names.contains_key(name) || self.names.keys().any(|owner| covers(owner, name))
    }

    /// Whether this zone answers for `target` itself.
    fn ours(&self, target: &DnsName, cuts: &BTreeSet<&DnsName>) -> bool {
        target.is_within(self.origin) && self.cut_above(target, cuts).is_none()
    }

    fn delegations(&self) -> BTreeSet<&DnsName> {
        let delegates = |placed: &&Placed<'_>| {
            matches!(placed.record.data, RecordData::Ns(_)) && placed.record.name != *self.origin
        };
        self.found.iter().filter(delegates).map(|placed| &placed.record.name).collect()
    }

    /// The delegation `name` is or lies beneath.
    fn cut_above<'a>(&self, name: &DnsName, cuts: &BTreeSet<&'a DnsName>) -> Option<&'a DnsName> {
        let mut above = Some(name.clone());
        while let Some(name) = above {
            if let Some(cut) = cuts.get(&name) {
                return Some(cut);
            }
            above = name.parent();
        }
        None
    }
}

/// The records by what they are looked up for.
struct Index<'a> {
    owners: BTreeSet<&'a DnsName>,
    addresses: BTreeSet<&'a DnsName>,
    aliases: BTreeMap<&'a DnsName, &'a DnsName>,
}

impl<'a> Index<'a> {
    fn of(found: &'a [Placed<'_>]) -> Self {
        let mut index =
            Self { owners: BTreeSet::new(), addresses: BTreeSet::new(), aliases: BTreeMap::new() };
        for Placed { record, .. } in found {
            index.owners.insert(&record.name);
            match &record.data {
                RecordData::A(_) | RecordData::Aaaa(_) => {
                    index.addresses.insert(&record.name);
                }
                RecordData::Cname(target) => {
                    index.aliases.insert(&record.name, target);
                }
                _ => {}
            }
        }
        index
    }

    /// A wildcard may answer for `name`.
    fn wild(&self, name: &DnsName) -> bool {
        self.owners.iter().any(|owner| covers(owner, name))
    }
}

/// `owner` is a wildcard whose parent is above `name`.
fn covers(owner: &DnsName, name: &DnsName) -> bool {
    owner.as_str().starts_with("*.")
        && owner.parent().is_some_and(|above| name.is_within(&above) && *name != above)
}
