//! What the daemon fills to have a snapshot built: plain values, nothing derived.
//!
//! The parts that change at different paces are apart: `zones`, `pools` and `names` (with the route of
//! a bound name) come from one committed generation; `verdicts` and `freshness` are this node's own and
//! change in between (`Snapshot::with` makes the next snapshot of the same generation from them).
//!
//! Nothing here is checked; `Snapshot::build` returns every problem at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use model::{Generation, GroupId, MemberId, PoolId, SiteId, Verdict};

use crate::{Name, RecordData, RecordType};

/// The newest verdict on each member of each pool, as `Health::verdicts` gives them. A member that is
/// missing here counts as `Unknown`, unless its pool has no check.
pub type Verdicts = BTreeMap<PoolId, BTreeMap<MemberId, Verdict>>;

/// All that a node answers with.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotSpec {
    /// The committed generation this was made from. A node never goes back to a lower one.
    pub generation: Generation,
    /// Whether this node has had a quorum-confirmed read within 2·T_H.
    pub freshness: Freshness,
    /// Zones served. One may lie below another.
    pub zones: Vec<ZoneSpec>,
    /// Pools that pooled names share, by name.
    pub pools: BTreeMap<PoolId, PoolSpec>,
    /// Virtual names. Each lies in one of the zones.
    pub names: Vec<NameSpec>,
    /// This node's verdicts on the pools' members.
    pub verdicts: Verdicts,
}

/// Whether the committed route in a snapshot may be believed (DESIGN §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// A quorum confirmed the state within 2·T_H.
    Fresh,
    /// It did not, or the snapshot was read from disk and nothing was heard since.
    Stale,
}

/// An authoritative zone with its static records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSpec {
    /// The zone's own name.
    pub apex: Name,
    /// The SOA record at the apex.
    pub soa: SoaSpec,
    /// The NS records at the apex; at least one.
    pub name_servers: Vec<Name>,
    /// TTL of those NS records in seconds.
    pub name_servers_ttl: u32,
    /// Every other record. SOA may not be here; NS below the apex delegates.
    pub records: Vec<RecordSpec>,
}

/// Data of an SOA record, RFC 1035 §3.3.13. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoaSpec {
    /// MNAME: the primary name server.
    pub primary: Name,
    /// RNAME: the mailbox of who is responsible, its `@` written as a dot.
    pub contact: Name,
    /// SERIAL.
    pub serial: u32,
    /// REFRESH.
    pub refresh: u32,
    /// RETRY.
    pub retry: u32,
    /// EXPIRE.
    pub expire: u32,
    /// MINIMUM: with `ttl` it bounds how long a negative answer is cached (RFC 2308 §5: the smaller).
    pub minimum: u32,
    /// TTL of the SOA record itself.
    pub ttl: u32,
}

/// One static record. Records of one owner and type must agree in TTL (RFC 2181 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSpec {
    /// Where it stands; `*` as the first label makes a wildcard.
    pub owner: Name,
    /// Its type.
    pub record_type: RecordType,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data.
    pub data: RecordData,
}

/// A virtual name: `A` and `AAAA` queries for it are steered. Static records of other types may stand
/// beside it, a CNAME may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSpec {
    /// The name, in one of the zones; `*` as the first label makes a wildcard.
    pub name: Name,
    /// How it is steered.
    pub kind: NameKind,
}

/// How a virtual name is steered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameKind {
    /// Follows the committed route of a protection group and nothing else.
    Bound(BoundSpec),
    /// Follows the verdicts on its pools' members and nothing else.
    Pooled(PooledSpec),
}

/// A name bound to a protection group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundSpec {
    /// The group, for `explain`.
    pub group: GroupId,
    /// The addresses to answer while a site is active. All addresses of the family asked for are
    /// answered. A site that is active but stands not here is answered SERVFAIL.
    pub endpoints: BTreeMap<SiteId, Vec<IpAddr>>,
    /// The committed route. `None` (never routed, or revoked): SERVFAIL.
    pub active: Option<SiteId>,
    /// What to answer while the snapshot is stale.
    pub no_quorum: NoQuorum,
    /// TTL in seconds.
    pub ttl: u32,
}

/// What a bound name answers on a node without a quorum-confirmed read for 2·T_H.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoQuorum {
    /// SERVFAIL, so that resolvers ask the zone's other servers. The default.
    Servfail,
    /// The last committed route.
    Last,
}

/// A name that balances over pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PooledSpec {
    /// How a pool is chosen among `pools`.
    pub policy: Policy,
    /// The pools in order; at least one.
    pub pools: Vec<PoolShare>,
    /// What to answer when no pool has enough members up to be believed.
    pub all_down: AllDown,
    /// Lower bound of the TTL in seconds.
    pub ttl_min: u32,
    /// Upper bound of the TTL in seconds; at least `ttl_min`.
    pub ttl_max: u32,
}

/// A pool as one name uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolShare {
    /// The pool, a key of [`SnapshotSpec::pools`].
    pub pool: PoolId,
    /// Its share under [`Policy::Weighted`]; 0 takes it out. [`Policy::Order`] does not look at it.
    pub weight: u32,
}

/// How a pool is chosen. (Issue D makes a tree of this: topology, rtt, fallback.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The first pool that is up.
    Order,
    /// Any pool that is up, in proportion to its weight, by a consistent hash of the client's prefix.
    Weighted,
}

/// What a pooled name answers when no pool is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllDown {
    /// Steer as though every member were up, and count it. The default (STYLE S4).
    Open,
    /// No records.
    Nodata,
    /// SERVFAIL.
    Servfail,
}

/// A set of endpoints checked alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// The endpoints; at least one.
    pub members: Vec<PoolMember>,
    /// Time between two probes of one member from one site; it bounds the TTL. `None`: the pool has no
    /// check, and its members always count as up.
    pub check_interval: Option<Duration>,
    /// The pool is up only with at least so many members up; 0 counts as 1. A pool with fewer up than
    /// this is treated as if all of its members were down.
    pub min_up: u32,
}

/// One endpoint of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolMember {
    /// Its name, unique in the pool.
    pub id: MemberId,
    /// The site it stands in.
    pub site: SiteId,
    /// The address to answer.
    pub address: IpAddr,
    /// Its share among the members up in the pool; with 0 it is answered only where nothing else is up.
    pub weight: u32,
}
