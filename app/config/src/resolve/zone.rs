//! The zone: its origin, its authority, its name servers. The records are `records.rs`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use model::NodeId;

use super::or;
use super::records::{Placed, records};
use crate::config::Node;
use crate::fields::{At, quoted};
use crate::name::{DnsName, DnsNameError};
use crate::problem::Problems;
use crate::tree::Place;
use crate::v1::{ConfigFile, SoaFile, ZoneFile};
use crate::zone::{Record, RecordData, Soa, Zone, ZoneTls};

/// TTL of static records that give none.
const TTL: Duration = Duration::from_secs(300);

/// The numbers of RIPE-203 for stable zones; without secondaries by transfer they are read by
/// people only.
const REFRESH: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(600);
const EXPIRE: Duration = Duration::from_secs(7 * 86_400);

/// TTL of negative answers: low, since a name may be about to come (DESIGN §6).
const MINIMUM: Duration = Duration::from_secs(5);

/// The mailbox of the zone, beneath its origin (RFC 2142 §7).
const RNAME: &str = "hostmaster";

/// The zone, where one is written and its origin could be read.
pub(crate) fn resolve(
    file: &ConfigFile,
    nodes: &BTreeMap<NodeId, Node>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Zone> {
    let written = file.zone.as_ref()?;
    let origin = &written.origin.as_ref()?.value;
    if origin.as_str().starts_with('*') {
        let place = written.origin.as_ref().map_or(&written.place, |at| &at.place);
        problems.add(place, "a wildcard is no zone", "write the name that was delegated");
        return None;
    }
    let ttl = or(&written.ttl, TTL);
    let servers = name_servers(written, origin, nodes, ttl, problems);
    let derived = servers.addresses.into_iter().map(|record| Placed { record, name: None, data: None });
    let names = virtual_names(file, origin);
    let records = records(written, origin, ttl, derived.collect(), &servers.names, &names, problems);
    let soa = soa(written.soa.as_ref(), origin, servers.names.first().map(|at| &at.value), problems);
    Some(Zone {
        origin: origin.clone(),
        ttl,
        soa: soa?,
        name_servers: servers.names.into_iter().map(|at| at.value).collect(),
        tls: written.tls.as_ref().and_then(|tls| {
            let file = |at: &Option<At<String>>| at.as_ref().map(|at| folder.join(&at.value));
            Some(ZoneTls { certificate: file(&tls.certificate)?, key: file(&tls.key)? })
        }),
        rate_limit: written.rate_limit.as_ref().and_then(|at| NonZeroU32::new(u32::try_from(at.value).ok()?)),
        cookie_secret: written.cookie_secret_file.as_ref().map(|at| folder.join(&at.value)),
        records,
    })
}

/// The virtual names that could be read, for the records to be held against.
pub(crate) fn virtual_names<'f>(file: &'f ConfigFile, origin: &DnsName) -> BTreeMap<DnsName, &'f Place> {
    let parse = |at: &At<String>| DnsName::relative(&at.value, origin).ok();
    file.names.iter().filter_map(|(at, _)| Some((parse(at)?, &at.place))).collect()
}

/// A name relative to the origin; a problem if it is none.
pub(crate) fn relative(at: &At<String>, origin: &DnsName, problems: &mut Problems) -> Option<DnsName> {
    match DnsName::relative(&at.value, origin) {
        Ok(name) => Some(name),
        Err(error) => {
            let hint = match error {
                DnsNameError::EmptyLabel(_) => "remove the doubled or leading dot",
                _ => "write a name relative to the zone, or an absolute one with its final dot",
            };
            problems.add(&at.place, error.to_string(), hint);
            None
        }
    }
}

struct NameServers {
    names: Vec<At<DnsName>>,
    /// Addresses of those that are derived from the nodes.
    addresses: Vec<Record>,
}

fn name_servers(
    written: &ZoneFile,
    origin: &DnsName,
    nodes: &BTreeMap<NodeId, Node>,
    ttl: Duration,
    problems: &mut Problems,
) -> NameServers {
    let mut servers = NameServers { names: Vec::new(), addresses: Vec::new() };
    if let Some(ns) = &written.ns {
        for at in &ns.value {
            let Some(value) = relative(at, origin, problems) else { continue };
            if servers.names.iter().any(|earlier| earlier.value == value) {
                problems.add(
                    &at.place,
                    format!("name server {} stands here twice", quoted(&at.value)),
                    "keep one",
                );
                continue;
            }
            servers.names.push(At { value, place: at.place.clone() });
        }
        if ns.value.is_empty() {
            problems.add(
                &ns.place,
                "a zone needs a name server",
                "name one, or remove ns to have one for each node",
            );
        }
        return servers;
    }
    for node in nodes.values() {
        let label = format!("ns-{}", node.id);
        // Both are checked names; only the length may be too much.
        let Some(name) = relative(&At { value: label, place: written.place.clone() }, origin, problems)
        else {
            continue;
        };
        // Resolvers ask port 53 only.
        let mut addresses: Vec<IpAddr> = node
            .dns
            .iter()
            .filter(|socket| socket.port() == 53)
            .map(|socket| if socket.ip().is_unspecified() { node.address } else { socket.ip() })
            .collect();
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() {
            continue;
        }
        servers.addresses.extend(addresses.into_iter().map(|address| Record {
            name: name.clone(),
            data: match address {
                IpAddr::V4(address) => RecordData::A(address),
                IpAddr::V6(address) => RecordData::Aaaa(address),
            },
            ttl,
        }));
        servers.names.push(At { value: name, place: written.place.clone() });
    }
    if servers.names.is_empty() && !nodes.is_empty() {
        problems.add(
            &written.place,
            "no node answers on port 53, so that no name server can be derived",
            "write `ns: [NAME, …]`, or give a node a `dns` address with port 53",
        );
    }
    servers
}

fn soa(
    written: Option<&SoaFile>,
    origin: &DnsName,
    first_server: Option<&DnsName>,
    problems: &mut Problems,
) -> Option<Soa> {
    let absent = SoaFile::default();
    let written = written.unwrap_or(&absent);
    let mname = match &written.mname {
        Some(at) => relative(at, origin, problems),
        None => first_server.cloned(),
    };
    let rname = match &written.rname {
        Some(at) => mailbox(at, origin, problems),
        None => DnsName::relative(RNAME, origin).ok(),
    };
    let refresh = or(&written.refresh, REFRESH);
    let retry = or(&written.retry, RETRY);
    let expire = or(&written.expire, EXPIRE);
    let numbers = [&written.expire, &written.refresh, &written.retry];
    if let Some(at) = numbers.into_iter().flatten().next()
        && expire <= refresh + retry
    {
        problems.add(
            &at.place,
            "a secondary would drop the zone before it asked twice: expire is not longer than refresh + retry",
            "lengthen expire",
        );
    }
    Some(Soa { mname: mname?, rname: rname?, refresh, retry, expire, minimum: or(&written.minimum, MINIMUM) })
}

/// `hostmaster@example.com`, or the same as a name (RFC 1035 §8).
fn mailbox(at: &At<String>, origin: &DnsName, problems: &mut Problems) -> Option<DnsName> {
    let Some((local, domain)) = at.value.split_once('@').filter(|(local, _)| !local.is_empty()) else {
        return relative(at, origin, problems);
    };
    if local.contains('.') {
        problems.add(
            &at.place,
            "a mailbox with a dot before its @ is not taken",
            "use one without, such as hostmaster",
        );
        return None;
    }
    let value = format!("{local}.{}.", domain.trim_end_matches('.'));
    relative(&At { value, place: at.place.clone() }, origin, problems)
}
