//! Copying a MariaDB server anew, from guard to guard (docs/design/0026).
//!
//! ```text
//! donor's guard      serve: mariadb-backup ──► frames ══ TLS 1.3, guards of one group ══► fetch ──► mbstream
//! recipient's guard  rebuild: fetch ─► prepare ─► rebuild.json ─► exchange ─► settle (also after a restart)
//! ```
//!
//! Invariants: one copy at a time in either direction; a stream counts as a copy only with the frame behind it that
//! says so; what is written down in `rebuild.json` is brought to its end before anything else is begun.
//!
//! Deliberately absent: who may be copied over, and from whom: the executor's order, which the guard's core permits.

mod fetch;
mod frames;
mod rebuild;
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use app_cert::{Callers, Kind, Trust};
use app_config::{Copying, Database, Server};
use failover_core::CopyReport;
use model::ServerId;
use rustls::{ClientConfig, ServerConfig};

pub use rebuild::{rebuild, resume, settle_first};
pub use serve::start;

/// What a guard needs for copies in both directions.
pub struct Copies {
    /// Commands and port.
    tools: Copying,
    /// Where this guard listens.
    listen: SocketAddr,
    /// Where the guards of the group's other servers listen.
    donors: BTreeMap<ServerId, SocketAddr>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// The guard's own.
    folder: PathBuf,
    /// Held by whoever changes what is beside the data directory.
    busy: tokio::sync::Mutex<()>,
    progress: Mutex<Option<CopyReport>>,
}

impl Copies {
    /// None where the flavour copies itself.
    pub fn of(database: &Database, server: &Server, trust: &Trust) -> Result<Option<Self>> {
        let (Some(tools), Some(listen)) = (&server.copying, server.copy_endpoint()) else { return Ok(None) };
        let others = database.servers.values().filter(|s| s.id != server.id);
        Ok(Some(Self {
            tools: tools.clone(),
            listen,
            donors: others.filter_map(|s| Some((s.id.clone(), s.copy_endpoint()?))).collect(),
            client: trust.client_of_guards()?,
            server: trust.server(&[Kind::Guard], Callers::Known)?,
            folder: server.guard_dir.clone(),
            busy: tokio::sync::Mutex::new(()),
            progress: Mutex::new(None),
        }))
    }

    /// How far a copy that is being taken here has come.
    pub fn progress(&self) -> Option<CopyReport> {
        *self.progress.lock().expect("no holder of this lock panics")
    }

    fn tell(&self, progress: Option<CopyReport>) {
        *self.progress.lock().expect("no holder of this lock panics") = progress;
    }
}
