//! What one client process does, written by whoever starts it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A DNS server of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServer {
    /// Its host.
    pub name: String,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

/// How an application reaches the platform's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseAccess {
    /// The published name, with its final dot.
    pub name: String,
    /// The servers of the zone, the nearest first.
    pub servers: Vec<NameServer>,
    /// How many of them, from the first, stand in the client's own site.
    pub own_site: usize,
    /// The database's port.
    pub port: u16,
    /// The application's user.
    pub user: String,
    /// The application's password.
    pub password: String,
    /// The schema that holds the lab's tables.
    pub schema: String,
}

/// How a user reaches the web application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebAccess {
    /// The published name, with its final dot.
    pub name: String,
    /// The servers of the zone, the nearest first.
    pub servers: Vec<NameServer>,
    /// How many of them, from the first, stand in the client's own site.
    pub own_site: usize,
    /// The port of the sites' entries.
    pub port: u16,
    /// The CA that their certificates must be of, in PEM.
    pub ca: PathBuf,
}

/// One user of the web application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebUser {
    /// Its number, unique in the run.
    pub number: u32,
    /// Where it is as its resolver says; where its host is unless given.
    pub subnet: Option<Ipv4Addr>,
}

/// What one client process does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPlan {
    /// The client host.
    pub client: String,
    /// The number of the run, part of every row's key.
    pub run: u32,
    /// How the database is reached.
    pub access: DatabaseAccess,
    /// The numbers of the writers here; each is unique in the run.
    pub writers: Vec<u32>,
    /// Milliseconds between a writer's commits.
    pub pace_ms: u64,
    /// The number of the client here that swaps registers, unique in the run; none if none does.
    #[serde(default)]
    pub swapper: Option<u32>,
    /// DNS servers to ask every 20 ms.
    pub polled: Vec<NameServer>,
    /// Whether a client that only resolves, as the TTL says, runs here.
    pub flip_client: bool,
    /// How the web application is reached; none in a lab without entries.
    #[serde(default)]
    pub web: Option<WebAccess>,
    /// Its users here.
    #[serde(default)]
    pub web_users: Vec<WebUser>,
}

/// Why a plan could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file.
    #[error("plan {path:?} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Its contents.
    #[error("plan {path:?} is not a plan")]
    Contents {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a plan of any kind.
///
/// # Errors
/// [`PlanError`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, PlanError> {
    let text = std::fs::read(path).map_err(|source| PlanError::File { path: path.to_path_buf(), source })?;
    serde_json::from_slice(&text).map_err(|source| PlanError::Contents { path: path.to_path_buf(), source })
}
