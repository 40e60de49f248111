//! Everything that may be wrong with a [`crate::SnapshotSpec`].

use model::{MemberId, PoolId};

use crate::{Name, RecordType};

/// Why no snapshot can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotProblem {
    /// The same zone twice.
    #[error("zone {apex} is given twice; merge the two")]
    ZoneTwice {
        /// The zone.
        apex: Name,
    },
    /// A zone without NS.
    #[error("zone {apex} has no name server; give at least one")]
    NoNameServer {
        /// The zone.
        apex: Name,
    },
    /// A record or virtual name that its zone does not cover.
    #[error("name {owner} is not in zone {apex}")]
    OutOfZone {
        /// The name.
        owner: Name,
        /// The zone it was given in.
        apex: Name,
    },
    /// A virtual name that no zone covers.
    #[error("virtual name {name} is in no zone; add its zone")]
    NoZone {
        /// The name.
        name: Name,
    },
    /// A record that a deeper zone or a delegation hides.
    #[error(
        "{record_type} record at {owner} would never be answered: {below} takes that name; move it there"
    )]
    Occluded {
        /// Its owner.
        owner: Name,
        /// Its type.
        record_type: RecordType,
        /// The zone or delegation.
        below: Name,
    },
    /// A virtual name that a delegation hides.
    #[error("virtual name {name} would never be answered: {below} is delegated")]
    NameOccluded {
        /// The name.
        name: Name,
        /// The delegation.
        below: Name,
    },
    /// A type that is not stored, or not yet served.
    #[error("{record_type} record at {owner}: {why}")]
    Type {
        /// Its owner.
        owner: Name,
        /// The type.
        record_type: RecordType,
        /// What is the matter with it.
        why: &'static str,
    },
    /// Data that is not of its type.
    #[error("{record_type} record at {owner}: its data is malformed")]
    Data {
        /// Its owner.
        owner: Name,
        /// Its type.
        record_type: RecordType,
    },
    /// RFC 2181 §5.2.
    #[error("{record_type} records at {owner} differ in ttl; give all of them the same")]
    Ttl {
        /// Their owner.
        owner: Name,
        /// Their type.
        record_type: RecordType,
    },
    /// More than a message holds.
    #[error("{record_type} records at {owner} take more than a message holds")]
    TooLarge {
        /// Their owner.
        owner: Name,
        /// Their type.
        record_type: RecordType,
    },
    /// RFC 1034 §3.6.2.
    #[error("name {owner} has a CNAME and something else; a CNAME stands alone")]
    CnameNotAlone {
        /// The name.
        owner: Name,
    },
    /// RFC 6672 §2.4.
    #[error("name {owner} has several DNAME records; a name has one")]
    DnameTwice {
        /// The name.
        owner: Name,
    },
    /// A chain that leads back to itself or is longer than is followed.
    #[error("the CNAME chain from {owner} loops or is longer than {}", crate::CHAIN_MAX)]
    CnameChain {
        /// Where it begins.
        owner: Name,
    },
    /// The same virtual name twice.
    #[error("virtual name {name} is given twice")]
    NameTwice {
        /// The name.
        name: Name,
    },
    /// Static A or AAAA beside a virtual name.
    #[error("virtual name {name} also has static {record_type} records; remove one of the two")]
    NameAlsoStatic {
        /// The name.
        name: Name,
        /// The type.
        record_type: RecordType,
    },
    /// A bound name with nothing to answer.
    #[error("bound name {name} has no address at any site")]
    NoEndpoint {
        /// The name.
        name: Name,
    },
    /// A pooled name without pools.
    #[error("pooled name {name} has no pool")]
    NoPool {
        /// The name.
        name: Name,
    },
    /// A pool that is not defined.
    #[error("pooled name {name}: pool \"{pool}\" is not defined")]
    PoolUnknown {
        /// The name.
        name: Name,
        /// The pool.
        pool: PoolId,
    },
    /// A pool twice in one name.
    #[error("pooled name {name}: pool \"{pool}\" is given twice")]
    PoolTwice {
        /// The name.
        name: Name,
        /// The pool.
        pool: PoolId,
    },
    /// Every weight is zero.
    #[error("pooled name {name}: every pool has weight 0; give one of them more")]
    NoWeight {
        /// The name.
        name: Name,
    },
    /// `ttl_min` above `ttl_max`.
    #[error("pooled name {name}: ttl-min {min} is above ttl-max {max}")]
    TtlBounds {
        /// The name.
        name: Name,
        /// The lower bound.
        min: u32,
        /// The upper bound.
        max: u32,
    },
    /// A pool without members.
    #[error("pool \"{pool}\" has no member")]
    PoolEmpty {
        /// The pool.
        pool: PoolId,
    },
    /// A member twice.
    #[error("pool \"{pool}\": member \"{member}\" is given twice")]
    MemberTwice {
        /// The pool.
        pool: PoolId,
        /// The member.
        member: MemberId,
    },
    /// More members wanted up than there are.
    #[error("pool \"{pool}\" wants {min_up} members up but has {members}")]
    MinUp {
        /// The pool.
        pool: PoolId,
        /// Wanted.
        min_up: u32,
        /// Present.
        members: usize,
    },
}

impl SnapshotProblem {
    /// A zone that is served as others serve it may have this: what is hidden is not answered, and a chain ends after some
    /// steps. In a configuration it is somebody's mistake.
    #[must_use]
    pub fn is_tolerable(&self) -> bool {
        matches!(self, Self::Occluded { .. } | Self::CnameChain { .. })
    }
}
