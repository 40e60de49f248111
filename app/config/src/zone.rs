//! The zone with its static records, and the virtual names with their pools and checks.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use model::{GroupId, MemberId, PoolId, ServerId, SiteId};

use crate::name::{CheckId, DnsName};

/// The zone twofold answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Zone {
    /// Its apex.
    pub origin: DnsName,
    /// TTL of records that give none, and of the NS records.
    pub ttl: Duration,
    /// Its start of authority. The serial is the snapshot's generation and so not written here.
    pub soa: Soa,
    /// Its name servers; where none are written, one for each node.
    pub name_servers: Vec<DnsName>,
    /// What nodes show within TLS.
    pub tls: Option<ZoneTls>,
    /// What DNS cookies are made with, the same file on every node (RFC 9018 §5). Without one each node draws its own.
    pub cookie_secret: Option<PathBuf>,
    /// Answers a second by UDP from each node to a network that has not shown a DNS cookie; none: as many as it asks for.
    pub rate_limit: Option<NonZeroU32>,
    /// Static records, sorted by name and type; the addresses of derived name servers among them,
    /// the NS and SOA records of the apex not.
    pub records: Vec<Record>,
}

/// A certificate for DNS over TLS, and its key: PEM files on each node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneTls {
    /// The certificate, and behind it those that signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The numbers of the SOA record (RFC 1035 §3.3.13), whole seconds each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Soa {
    /// The primary name server.
    pub mname: DnsName,
    /// The mailbox of the responsible person, its `@` written as a dot.
    pub rname: DnsName,
    /// When a secondary asks for the serial again.
    pub refresh: Duration,
    /// When it asks again after a failure.
    pub retry: Duration,
    /// When it gives up the zone.
    pub expire: Duration,
    /// TTL of negative answers (RFC 2308 §4).
    pub minimum: Duration,
}

/// One static record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Record {
    /// Its owner.
    pub name: DnsName,
    /// Its type and data.
    pub data: RecordData,
    /// Whole seconds.
    pub ttl: Duration,
}

/// The types of static records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordData {
    /// RFC 1035 §3.4.1.
    A(Ipv4Addr),
    /// RFC 1035 §3.3.11: a delegation, since the apex's stand in `Zone::name_servers`.
    Ns(DnsName),
    /// RFC 1035 §3.3.1.
    Cname(DnsName),
    /// RFC 1035 §3.3.12.
    Ptr(DnsName),
    /// RFC 1035 §3.3.9.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The mail server.
        exchange: DnsName,
    },
    /// RFC 1035 §3.3.14: strings of at most 255 octets.
    Txt(Vec<String>),
    /// RFC 3596 §2.1.
    Aaaa(Ipv6Addr),
    /// RFC 2782.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// The service's port.
        port: u16,
        /// The service's host.
        target: DnsName,
    },
    /// RFC 8659 §4.1.
    Caa {
        /// 128 marks the property critical.
        flags: u8,
        /// `issue`, `issuewild` or `iodef`.
        tag: String,
        /// Its value.
        value: String,
    },
}

/// An ordered set of endpoints with the check that watches them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pool {
    /// Its name.
    pub id: PoolId,
    /// Its members, in the order written.
    pub members: Vec<Member>,
    /// The check its members are probed with; without one they always count as up.
    pub check: Option<CheckId>,
    /// The pool is up with at least so many members up.
    pub min_up: u32,
}

/// One endpoint of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name, unique in its pool.
    pub id: MemberId,
    /// Its site.
    pub site: SiteId,
    /// The address that is answered and probed.
    pub address: IpAddr,
    /// Its share among the members up; with 0 it is answered only where nothing else is up.
    pub weight: u32,
}

/// A configured test of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Its name.
    pub id: CheckId,
    /// What is probed.
    pub probe: Probe,
    /// Between the beginnings of two probes.
    pub interval: Duration,
    /// When a probe without an answer has failed.
    pub timeout: Duration,
    /// Successes in a row that bring a member up.
    pub rise: u32,
    /// Failures in a row that take a member down.
    pub fall: u32,
}

/// What one probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Opens a TCP connection.
    Tcp {
        /// The port.
        port: u16,
    },
    /// Asks by HTTP/1.1.
    Http(HttpProbe),
    /// The same over TLS, with the certificate verified.
    Https {
        /// The request and its answer.
        http: HttpProbe,
        /// What is asked of the certificate.
        tls: TlsProbe,
    },
}

/// An HTTP request and the answer that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpProbe {
    /// The port.
    pub port: u16,
    /// The path, with its leading `/`.
    pub path: String,
    /// The `Host` header; the member's address where none is written.
    pub host: Option<String>,
    /// The status codes that count as success.
    pub expect_status: Vec<RangeInclusive<u16>>,
    /// What the body must hold.
    pub expect_body: Option<String>,
}

/// What an HTTPS check asks of a certificate, beside that it is valid now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsProbe {
    /// The name that is sent (SNI) and that the certificate must be for; without one nothing is sent
    /// and it must be for the member's address.
    pub sni: Option<String>,
    /// The CAs that may have issued it, in PEM; the system's where none is written.
    pub ca: Option<PathBuf>,
    /// It is reported when it ends in less than this.
    pub expiry_warning: Duration,
}

/// A DNS name that twofold balances.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VirtualName {
    /// The name, within the zone.
    pub name: DnsName,
    /// What it follows.
    pub follows: Follows,
}

/// What a virtual name follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follows {
    /// The committed site of a group.
    Bound(Bound),
    /// The verdicts on the members of its pools.
    Pooled(Pooled),
}

/// A name that follows a group's committed site.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The group.
    pub group: GroupId,
    /// What is answered while a site is the active one; every data site has an entry.
    pub endpoints: BTreeMap<SiteId, Vec<IpAddr>>,
    /// What is answered instead while this server is the primary; those that stand not here are answered by their site.
    pub servers: BTreeMap<ServerId, Vec<IpAddr>>,
    /// Whole seconds.
    pub ttl: Duration,
    /// What a node answers that has no fresh word of the quorum.
    pub no_quorum: NoQuorum,
}

/// A name that follows verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pooled {
    /// How one of the pools is chosen.
    pub policy: Policy,
    /// The pools, in the order written.
    pub pools: Vec<PoolShare>,
    /// What is answered when no member is up.
    pub all_down: AllDown,
    /// Least TTL, whole seconds.
    pub ttl_min: Duration,
    /// Greatest TTL, whole seconds.
    pub ttl_max: Duration,
}

/// A pool as one name uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolShare {
    /// The pool.
    pub pool: PoolId,
    /// Its share under [`Policy::Weighted`]; 0 takes it out.
    pub weight: u32,
}

/// What a bound name answers on a node without a quorum-confirmed read for 2·`T_H`. SERVFAIL unless
/// written otherwise; without a witness the last answer, since one site lost is the quorum lost there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoQuorum {
    /// SERVFAIL, so that resolvers ask the other servers.
    Servfail,
    /// The last committed answer.
    Last,
}

/// How a pool is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The first pool that is up.
    Order,
    /// Any pool that is up, in proportion to its weight, hashed over the client.
    Weighted,
}

/// What a pooled name answers when no member is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllDown {
    /// All members, since too few are up to be believed.
    Open,
    /// No records.
    Nodata,
    /// SERVFAIL.
    Servfail,
}

impl RecordData {
    /// The type's mnemonic.
    pub fn rtype(&self) -> &'static str {
        match self {
            Self::A(_) => "A",
            Self::Ns(_) => "NS",
            Self::Cname(_) => "CNAME",
            Self::Ptr(_) => "PTR",
            Self::Mx { .. } => "MX",
            Self::Txt(_) => "TXT",
            Self::Aaaa(_) => "AAAA",
            Self::Srv { .. } => "SRV",
            Self::Caa { .. } => "CAA",
        }
    }
}

/// The data as a master file has it (RFC 1035 §5.1), names absolute.
impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(f, "{address}"),
            Self::Aaaa(address) => write!(f, "{address}"),
            Self::Ns(name) | Self::Cname(name) | Self::Ptr(name) => write!(f, "{name}"),
            Self::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            Self::Txt(strings) => {
                let quoted: Vec<String> = strings.iter().map(|text| quote(text)).collect();
                f.write_str(&quoted.join(" "))
            }
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}"),
            Self::Caa { flags, tag, value } => write!(f, "{flags} {tag} {}", quote(value)),
        }
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            0x20..=0x7e => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\{byte:03}")),
        }
    }
    quoted.push('"');
    quoted
}
