//! Databases, their servers, and the protection groups that move them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use model::Flavour;
use model::{GroupId, ServerId, SiteId};

use crate::name::DatabaseId;
use crate::secret::Account;
use crate::timing::Timing;

/// A set of servers that replicate from one another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Database {
    /// Its name.
    pub id: DatabaseId,
    /// Whose server it is.
    pub flavour: Flavour,
    /// The guard's and agent's own account, used over the socket.
    pub admin: Account,
    /// The account replicas connect with.
    pub replication: Account,
    /// Who signed the servers' certificates, a PEM file on every database host: replicas and CLONE connect over
    /// TLS and verify. Without it they do not encrypt.
    pub replication_ca: Option<PathBuf>,
    /// The schema in which K3s keeps its objects (kine's), where this database is its datastore.
    pub kine: Option<String>,
    /// Accounts, as `user@host`, that may hold rights by which a client could undo what is proven.
    pub privileged_accounts: BTreeSet<String>,
    /// Its servers, at least one in each data site.
    pub servers: BTreeMap<ServerId, Server>,
}

/// One database server and what its guard must know of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its name, which its guard's certificate bears.
    pub id: ServerId,
    /// Its site, always a data site.
    pub site: SiteId,
    /// Where clients and replicas reach it.
    pub address: IpAddr,
    /// The port of the client protocol.
    pub port: u16,
    /// Further ports that the gate closes: the X protocol's, the admin port.
    pub extra_ports: Vec<u16>,
    /// The UNIX socket, which is the agent's alone.
    pub socket: PathBuf,
    /// Where the server writes its process id.
    pub pid_file: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its error log.
    pub error_log: PathBuf,
    /// The command that reads binary logs, with its first arguments.
    pub mysqlbinlog: Vec<String>,
    /// How its guard fences it.
    pub fence: Fence,
    /// The watchdog that resets its host when the guard does not feed it, while the server is open.
    pub watchdog: Option<Watchdog>,
    /// Where the guard keeps its latches.
    pub guard_dir: PathBuf,
    /// Who starts the server again after the guard killed it.
    pub restart: Restart,
    /// Whether it is to become primary.
    pub promotion: Promotion,
}

/// What is wanted of a server when a primary is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// Before others, where nothing is lost by it.
    Prefer,
    /// As it comes.
    Neutral,
    /// Never, and it acknowledges nothing.
    MustNot,
}

/// How a guard fences its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// By a gate in nftables whose timeout is the lease.
    Nftables,
    /// By the ladder alone, which takes up to `max` after the lease ran out (`F_max`).
    Ladder {
        /// The longest the ladder takes.
        max: Duration,
    },
}

/// A watchdog of a database host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    /// Its device file.
    pub device: PathBuf,
    /// It resets the host after so many seconds without being fed.
    pub timeout_s: u8,
}

/// Who starts a database server again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// One that watches it and restarts it by itself; the guard only waits.
    Supervisor,
    /// systemd, told by the guard.
    Systemd {
        /// The unit's name.
        unit: String,
    },
    /// A command which the guard runs, and which returns once the server is started.
    Command(Vec<String>),
}

/// What moves together, and its goals.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// The database it moves.
    pub database: DatabaseId,
    /// Whether it fails over by itself.
    pub failover: Failover,
    /// The longest its service may stay away; `None` where no goal is set.
    pub rto: Option<Duration>,
    /// The longest stretch of writes that may be lost; zero for none.
    pub rpo: Duration,
    /// The site preferred at the start, when no server is primary yet.
    pub prefer: SiteId,
    /// Whether to fail over while the group is `Async`.
    pub async_failover: AsyncFailover,
    /// The timing of its lease: the cluster's, with `F_max` where a server is fenced by the ladder.
    pub timing: Timing,
}

/// Who starts a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// The leader, when a diagnosis stood for the dwell time.
    Automatic,
    /// A person.
    Manual,
}

/// What an automatic failover does while writes may be lost by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsyncFailover {
    /// It waits for a person who accepts the loss.
    Refuse,
    /// It goes on, given a confirmed fence.
    Allow,
}

impl Database {
    /// Its servers in `site`, by name.
    pub fn servers_in<'a>(&'a self, site: &'a SiteId) -> impl Iterator<Item = &'a Server> {
        self.servers.values().filter(move |server| server.site == *site)
    }

    /// The longest `F_max` of its servers; zero where all stand behind nftables.
    pub fn fence_max(&self) -> Duration {
        self.servers.values().map(|server| server.fence.max()).max().unwrap_or_default()
    }
}

impl Server {
    /// Where clients and replicas reach it.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Every port the gate closes.
    pub fn gated_ports(&self) -> impl Iterator<Item = u16> {
        std::iter::once(self.port).chain(self.extra_ports.iter().copied())
    }
}

impl Fence {
    /// `F_max`: what the fence takes at most once the lease ran out.
    pub fn max(self) -> Duration {
        match self {
            Self::Nftables => Duration::ZERO,
            Self::Ladder { max } => max,
        }
    }
}
