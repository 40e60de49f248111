//! The form in which a snapshot is kept on disk, version 1.
//!
//! Field names and meanings here never change; a later form is a module of its own. Unknown fields are
//! refused, so that a file of a later version is not half understood. `gslb-dns` puts it into an envelope
//! with a checksum and writes it.
//!
//! Freshness is not kept: whoever reads a file has heard nobody yet, so it begins Stale.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use model::{Generation, GroupId, MemberId, PoolId, SiteId, Verdict};
use serde::{Deserialize, Serialize};

use crate::{Freshness, Name, NameKind, RecordData, RecordType};

/// [`crate::SnapshotSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Snapshot {
    generation: Generation,
    zones: Vec<Zone>,
    pools: BTreeMap<PoolId, Pool>,
    names: Vec<VirtualName>,
    verdicts: BTreeMap<PoolId, BTreeMap<MemberId, Verdict>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Zone {
    apex: String,
    soa: Soa,
    name_servers: Vec<String>,
    name_servers_ttl: u32,
    records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Soa {
    primary: String,
    contact: String,
    serial: u32,
    refresh: u32,
    retry: u32,
    expire: u32,
    minimum: u32,
    ttl: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Record {
    owner: String,
    #[serde(rename = "type")]
    record_type: String,
    ttl: u32,
    /// The data's octets in hexadecimal.
    wire: String,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Pool {
    members: Vec<Member>,
    check_interval_ms: Option<u64>,
    min_up: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Member {
    id: MemberId,
    site: SiteId,
    address: IpAddr,
    weight: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct VirtualName {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Kind {
    Bound(Bound),
    Pooled(Pooled),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Bound {
    group: GroupId,
    endpoints: BTreeMap<SiteId, Vec<IpAddr>>,
    active: Option<SiteId>,
    no_quorum: NoQuorum,
    ttl: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NoQuorum {
    Servfail,
    Last,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Pooled {
    policy: Policy,
    pools: Vec<Share>,
    all_down: AllDown,
    ttl_min: u32,
    ttl_max: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    Order,
    Weighted,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AllDown {
    Open,
    Nodata,
    Servfail,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Share {
    pool: PoolId,
    weight: u32,
}

/// A value in the document that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum V1Error {
    /// Not a domain name.
    #[error(transparent)]
    Name(#[from] crate::NameError),
    /// Not a record type.
    #[error(transparent)]
    Type(#[from] crate::RecordTypeError),
    /// Not hexadecimal.
    #[error("data of {owner} is not hexadecimal")]
    Hex {
        /// The record's owner as written.
        owner: String,
    },
}

impl From<&crate::SnapshotSpec> for Snapshot {
    fn from(spec: &crate::SnapshotSpec) -> Self {
        let pools = spec.pools.iter().map(|(id, pool)| (id.clone(), Pool::from(pool)));
        Self {
            generation: spec.generation,
            zones: spec.zones.iter().map(Zone::from).collect(),
            pools: pools.collect(),
            names: spec.names.iter().map(VirtualName::from).collect(),
            verdicts: spec.verdicts.clone(),
        }
    }
}

impl TryFrom<Snapshot> for crate::SnapshotSpec {
    type Error = V1Error;

    fn try_from(document: Snapshot) -> Result<Self, V1Error> {
        Ok(Self {
            generation: document.generation,
            freshness: Freshness::Stale,
            zones: document.zones.into_iter().map(Zone::read).collect::<Result<_, _>>()?,
            pools: document.pools.into_iter().map(|(id, pool)| (id, pool.read())).collect(),
            names: document.names.into_iter().map(VirtualName::read).collect::<Result<_, _>>()?,
            verdicts: document.verdicts,
        })
    }
}

impl From<&crate::ZoneSpec> for Zone {
    fn from(spec: &crate::ZoneSpec) -> Self {
        let soa = &spec.soa;
        let soa = Soa {
            primary: soa.primary.to_string(),
            contact: soa.contact.to_string(),
            serial: soa.serial,
            refresh: soa.refresh,
            retry: soa.retry,
            expire: soa.expire,
            minimum: soa.minimum,
            ttl: soa.ttl,
        };
        let record = |r: &crate::RecordSpec| Record {
            owner: r.owner.to_string(),
            record_type: r.record_type.to_string(),
            ttl: r.ttl,
            wire: r.data.wire.iter().map(|b| format!("{b:02x}")).collect(),
            text: r.data.text.clone(),
        };
        Self {
            apex: spec.apex.to_string(),
            soa,
            name_servers: spec.name_servers.iter().map(Name::to_string).collect(),
            name_servers_ttl: spec.name_servers_ttl,
            records: spec.records.iter().map(record).collect(),
        }
    }
}

impl Zone {
    fn read(self) -> Result<crate::ZoneSpec, V1Error> {
        let Soa { primary, contact, serial, refresh, retry, expire, minimum, ttl } = self.soa;
        let (primary, contact) = (primary.parse()?, contact.parse()?);
        Ok(crate::ZoneSpec {
            apex: self.apex.parse()?,
            soa: crate::SoaSpec { primary, contact, serial, refresh, retry, expire, minimum, ttl },
            name_servers: self.name_servers.iter().map(|n| n.parse()).collect::<Result<_, _>>()?,
            name_servers_ttl: self.name_servers_ttl,
            records: self.records.into_iter().map(Record::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Record {
    fn read(self) -> Result<crate::RecordSpec, V1Error> {
        let Some(wire) = unhex(&self.wire) else { return Err(V1Error::Hex { owner: self.owner }) };
        Ok(crate::RecordSpec {
            owner: self.owner.parse()?,
            record_type: self.record_type.parse::<RecordType>()?,
            ttl: self.ttl,
            data: RecordData { wire, text: self.text },
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

impl From<&crate::PoolSpec> for Pool {
    fn from(spec: &crate::PoolSpec) -> Self {
        let member = |m: &crate::PoolMember| Member {
            id: m.id.clone(),
            site: m.site.clone(),
            address: m.address,
            weight: m.weight,
        };
        let interval = spec.check_interval;
        Self {
            members: spec.members.iter().map(member).collect(),
            check_interval_ms: interval.map(|i| u64::try_from(i.as_millis()).unwrap_or(u64::MAX)),
            min_up: spec.min_up,
        }
    }
}

impl Pool {
    fn read(self) -> crate::PoolSpec {
        let member = |Member { id, site, address, weight }| crate::PoolMember { id, site, address, weight };
        crate::PoolSpec {
            members: self.members.into_iter().map(member).collect(),
            check_interval: self.check_interval_ms.map(Duration::from_millis),
            min_up: self.min_up,
        }
    }
}

impl From<&crate::NameSpec> for VirtualName {
    fn from(spec: &crate::NameSpec) -> Self {
        let kind = match &spec.kind {
            NameKind::Bound(b) => Kind::Bound(Bound {
                group: b.group.clone(),
                endpoints: b.endpoints.clone(),
                active: b.active.clone(),
                no_quorum: match b.no_quorum {
                    crate::NoQuorum::Servfail => NoQuorum::Servfail,
                    crate::NoQuorum::Last => NoQuorum::Last,
                },
                ttl: b.ttl,
            }),
            NameKind::Pooled(p) => Kind::Pooled(Pooled {
                policy: match p.policy {
                    crate::Policy::Order => Policy::Order,
                    crate::Policy::Weighted => Policy::Weighted,
                },
                pools: p.pools.iter().map(|s| Share { pool: s.pool.clone(), weight: s.weight }).collect(),
                all_down: match p.all_down {
                    crate::AllDown::Open => AllDown::Open,
                    crate::AllDown::Nodata => AllDown::Nodata,
                    crate::AllDown::Servfail => AllDown::Servfail,
                },
                ttl_min: p.ttl_min,
                ttl_max: p.ttl_max,
            }),
        };
        Self { name: spec.name.to_string(), kind }
    }
}

impl VirtualName {
    fn read(self) -> Result<crate::NameSpec, V1Error> {
        let kind = match self.kind {
            Kind::Bound(Bound { group, endpoints, active, no_quorum, ttl }) => {
                let no_quorum = match no_quorum {
                    NoQuorum::Servfail => crate::NoQuorum::Servfail,
                    NoQuorum::Last => crate::NoQuorum::Last,
                };
                NameKind::Bound(crate::BoundSpec { group, endpoints, active, no_quorum, ttl })
            }
            Kind::Pooled(Pooled { policy, pools, all_down, ttl_min, ttl_max }) => {
                let policy = match policy {
                    Policy::Order => crate::Policy::Order,
                    Policy::Weighted => crate::Policy::Weighted,
                };
                let all_down = match all_down {
                    AllDown::Open => crate::AllDown::Open,
                    AllDown::Nodata => crate::AllDown::Nodata,
                    AllDown::Servfail => crate::AllDown::Servfail,
                };
                let share = |Share { pool, weight }| crate::PoolShare { pool, weight };
                let pools = pools.into_iter().map(share).collect();
                NameKind::Pooled(crate::PooledSpec { policy, pools, all_down, ttl_min, ttl_max })
            }
        };
        Ok(crate::NameSpec { name: self.name.parse()?, kind })
    }
}
