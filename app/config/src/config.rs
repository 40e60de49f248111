//! [`Config`]: what the file means, resolved and checked. Only `check` makes one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use model::{GroupId, NodeId, PoolId, SiteId};

use crate::database::{Database, Group, Server};
use crate::name::{CheckId, ClusterName, DatabaseId, DnsName};
use crate::timing::Timing;
use crate::zone::{Check, Pool, VirtualName, Zone};

/// What is meant. Every reference in it holds, every path is joined to the file's folder, every
/// default stands where nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) cluster: ClusterName,
    pub(crate) timing: Timing,
    pub(crate) data_dir: PathBuf,
    pub(crate) audit: AuditLimits,
    pub(crate) tls: Tls,
    pub(crate) sites: BTreeMap<SiteId, Site>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) databases: BTreeMap<DatabaseId, Database>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) zone: Option<Zone>,
    pub(crate) pools: BTreeMap<PoolId, Pool>,
    pub(crate) checks: BTreeMap<CheckId, Check>,
    pub(crate) names: BTreeMap<DnsName, VirtualName>,
}

/// How much of its audit log a node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditLimits {
    /// Size at which a segment is closed and the next one begins.
    pub segment_bytes: u64,
    /// Segments kept, the one that is written included.
    pub segments: usize,
}

impl AuditLimits {
    /// One segment without end.
    pub const UNBOUNDED: Self = Self { segment_bytes: u64::MAX, segments: usize::MAX };
}

/// The files of the cluster's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The folder with `NAME.pem` and `NAME.key` of each process.
    pub dir: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityFiles {
    /// `DIR/NAME.pem`.
    pub certificate: PathBuf,
    /// `DIR/NAME.key`.
    pub key: PathBuf,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// Its name.
    pub id: SiteId,
    /// What it is for.
    pub role: Role,
}

/// What a site is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Holds databases and votes.
    Data,
    /// Votes only.
    Witness,
    /// Holds pool members only.
    Burst,
}

/// A process that runs `twofold serve`: voter, DNS server, prober.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its name, which its certificate bears.
    pub id: NodeId,
    /// Its site.
    pub site: SiteId,
    /// Where the other nodes and the guards reach it.
    pub address: IpAddr,
    /// Raft, renewals and orders to guards, over mutual TLS.
    pub peer_port: u16,
    /// The HTTP API.
    pub api_port: u16,
    /// Where it answers DNS, over UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// Where it answers DNS over TLS.
    pub dns_tls: Vec<SocketAddr>,
}

impl Config {
    /// The cluster's name.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// The cluster's timing; a group's own may add `F_max` to it.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Where a node keeps its store; each node its own folder, see [`Config::node_dir`].
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of one node's store.
    pub fn node_dir(&self, node: &NodeId) -> PathBuf {
        self.data_dir.join(node.as_str())
    }

    /// How much of its audit log each node keeps.
    pub fn audit(&self) -> AuditLimits {
        self.audit
    }

    /// The cluster's certificates.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// All sites.
    pub fn sites(&self) -> &BTreeMap<SiteId, Site> {
        &self.sites
    }

    /// The two data sites, by name.
    pub fn data_sites(&self) -> impl Iterator<Item = &SiteId> {
        self.sites.values().filter(|site| site.role == Role::Data).map(|site| &site.id)
    }

    /// The other data site; `None` where `site` is not one.
    pub fn other_data_site(&self, site: &SiteId) -> Option<&SiteId> {
        self.data_sites().find(|other| *other == site)?;
        self.data_sites().find(|other| *other != site)
    }

    /// The witness; `None` means manual mode (DESIGN §2).
    pub fn witness(&self) -> Option<&SiteId> {
        self.sites.values().find(|site| site.role == Role::Witness).map(|site| &site.id)
    }

    /// All nodes; each is a voter.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// All databases.
    pub fn databases(&self) -> &BTreeMap<DatabaseId, Database> {
        &self.databases
    }

    /// All protection groups.
    pub fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.groups
    }

    /// The database a group moves.
    pub fn database_of(&self, group: &GroupId) -> Option<&Database> {
        self.databases.get(&self.groups.get(group)?.database)
    }

    /// A server by its name, which is unique over all databases, and its database.
    pub fn server(&self, name: &str) -> Option<(&Database, &Server)> {
        let mut found = self.databases.values().flat_map(|db| db.servers.values().map(move |s| (db, s)));
        found.find(|(_, server)| server.id.as_str() == name)
    }

    /// The zone, where twofold answers DNS.
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// All pools.
    pub fn pools(&self) -> &BTreeMap<PoolId, Pool> {
        &self.pools
    }

    /// All checks.
    pub fn checks(&self) -> &BTreeMap<CheckId, Check> {
        &self.checks
    }

    /// All virtual names.
    pub fn names(&self) -> &BTreeMap<DnsName, VirtualName> {
        &self.names
    }
}

impl Tls {
    /// The certificate and key of the node, server or `client` called `name`.
    pub fn identity(&self, name: &str) -> IdentityFiles {
        IdentityFiles {
            certificate: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        }
    }
}

impl Node {
    /// Where peers and guards reach it.
    pub fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.peer_port)
    }

    /// Where its API listens.
    pub fn api(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.api_port)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Data => "data",
            Self::Witness => "witness",
            Self::Burst => "burst",
        })
    }
}
