//! Where a server listens and as whom it is spoken to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use model::Flavour;

/// One server, one account.
#[derive(Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Account to log in as. Sessions of this account count as the agent's own, so no application
    /// may share it.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Other accounts whose sessions are not clients': those replication logs in with. They may
    /// hold no right to write.
    pub replication_users: Vec<String>,
    /// Encryption; a unix socket needs none.
    pub tls: Tls,
    /// Whose server it is said to be; another one is not spoken to.
    pub flavour: Flavour,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Its unix socket: the agent's way in, which no gate shuts.
    Socket(PathBuf),
    /// TCP, by address and not by name: a lookup may hang, and an identity is an address.
    Tcp(SocketAddr),
}

/// Encryption of a TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// None. The password still travels encrypted by the server's public key.
    Off,
    /// Required; the server's certificate is signed by one of `ca` (PEM) and names its address.
    Required {
        /// File with the authorities to trust.
        ca: PathBuf,
    },
}

impl Endpoint {
    /// An account on a unix socket.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>, user: &str, password: &str) -> Self {
        Self {
            address: Address::Socket(path.into()),
            user: user.to_owned(),
            password: password.to_owned(),
            replication_users: Vec::new(),
            tls: Tls::Off,
            flavour: Flavour::Mysql,
        }
    }

    /// An account over TCP without encryption.
    #[must_use]
    pub fn tcp(address: SocketAddr, user: &str, password: &str) -> Self {
        Self {
            address: Address::Tcp(address),
            user: user.to_owned(),
            password: password.to_owned(),
            replication_users: Vec::new(),
            tls: Tls::Off,
            flavour: Flavour::Mysql,
        }
    }

    /// The same, of a server of this flavour; MySQL's unless said.
    #[must_use]
    pub fn with_flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// The same, with the accounts that replication logs in with.
    #[must_use]
    pub fn with_replication_users(mut self, users: &[&str]) -> Self {
        self.replication_users = users.iter().map(|&u| u.to_owned()).collect();
        self
    }
}

impl fmt::Debug for Endpoint {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("user", &self.user)
            .field("replication_users", &self.replication_users)
            .field("tls", &self.tls)
            .field("flavour", &self.flavour)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "{}", path.display()),
            Address::Tcp(address) => write!(f, "{address}"),
        }
    }
}
