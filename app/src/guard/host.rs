//! What the guard knows of its own host and its group's other servers, resolved once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use app_config::{Account, Config, Database, Fence, SecretSource, Server};
use failover_core::Passing;
use model::{AccountsReading, Flavour, KineReading, LongTransaction, ProcessStart, ServerId};
use replication_mysql::{Endpoint, MysqldProcess, ServerFiles};
use tracing::{debug, warn};

use super::copy::Copies;
use super::gate::GateSpec;

/// See the module.
pub struct Host {
    /// The admin account over the socket, with the password that was read last.
    admin: Mutex<Endpoint>,
    /// Replication's account, likewise.
    replication: Mutex<(String, String)>,
    /// Where the two passwords are read, again and again: they are changed while this process runs.
    accounts: Accounts,
    /// Whose server it is.
    pub flavour: Flavour,
    /// Who signed the servers' certificates; none where replication does not encrypt.
    pub replication_ca: Option<String>,
    /// Where the other servers of the group replicate from.
    pub others: BTreeMap<ServerId, SocketAddr>,
    /// pid file and data directory.
    pub files: ServerFiles,
    /// The error log.
    pub error_log: PathBuf,
    /// The binary logs' index.
    pub binlog_index: PathBuf,
    /// How mysqlbinlog is run.
    pub mysqlbinlog: Vec<String>,
    /// Where extra transactions are saved.
    pub rescue_dir: PathBuf,
    /// How copies of servers are given and taken; none where the flavour copies itself.
    pub copies: Option<Copies>,
    /// The gate; without one, its ports and exempt hosts are what they would be.
    pub gate: GateSpec,
    /// There is a gate; else the ladder alone fences.
    pub gated: bool,
    /// The life that runs, as the watcher last saw it.
    pub process: Mutex<Option<MysqldProcess>>,
    /// Somebody waits for the next look at the database.
    pub hurry: AtomicBool,
    /// What the last look for long transactions found.
    pub long: Mutex<Vec<LongTransaction>>,
    /// The schema that K3s keeps its objects in.
    pub kine_schema: Option<String>,
    /// How far they got, when they were last looked at.
    pub kine: Mutex<Option<KineReading>>,
    /// What is known of the server's accounts, and in which life it was.
    pub known_accounts: Mutex<Option<(ProcessStart, AccountsReading)>>,
}

/// Whose passwords are read again.
struct Accounts {
    admin: Account,
    replication: Account,
}

impl Host {
    /// Reads the secrets.
    pub fn new(
        config: &Config,
        database: &Database,
        server: &Server,
        copies: Option<Copies>,
    ) -> Result<Self> {
        let admin = database.admin.unlock(secret)?;
        let replication = database.replication.unlock(secret)?;
        let others: BTreeMap<_, _> = database
            .servers
            .values()
            .filter(|s| s.id != server.id)
            .map(|s| (s.id.clone(), s.endpoint()))
            .collect();
        let gate = GateSpec {
            group: config
                .groups()
                .values()
                .find(|g| g.database == database.id)
                .map(|g| g.id.to_string())
                .unwrap_or_default(),
            ports: server.gated_ports().collect(),
            exempt: others.values().map(SocketAddr::ip).collect(),
            barred: BTreeSet::new(),
        };
        Ok(Self {
            admin: Mutex::new(
                Endpoint::socket(&server.socket, &admin.user, admin.password.reveal())
                    .with_replication_users(&[&replication.user])
                    .with_flavour(database.flavour),
            ),
            replication: Mutex::new((replication.user.clone(), replication.password.reveal().to_owned())),
            accounts: Accounts { admin: database.admin.clone(), replication: database.replication.clone() },
            flavour: database.flavour,
            replication_ca: database.replication_ca.as_ref().map(|ca| ca.to_string_lossy().into_owned()),
            others,
            files: ServerFiles { pid_file: server.pid_file.clone(), data_dir: server.data_dir.clone() },
            error_log: server.error_log.clone(),
            binlog_index: server.data_dir.join("binlog.index"),
            mysqlbinlog: server.mysqlbinlog.clone(),
            rescue_dir: server.guard_dir.join("saved"),
            copies,
            gate,
            gated: server.fence == Fence::Nftables,
            process: Mutex::new(None),
            hurry: AtomicBool::new(false),
            long: Mutex::new(Vec::new()),
            kine_schema: database.kine.clone(),
            kine: Mutex::new(None),
            known_accounts: Mutex::new(None),
        })
    }

    /// The admin account.
    pub fn admin(&self) -> Endpoint {
        self.admin.lock().expect("no holder of this lock panics").clone()
    }

    /// Replication's account.
    pub fn replication(&self) -> (String, String) {
        self.replication.lock().expect("no holder of this lock panics").clone()
    }

    /// Reads both passwords again, from files that may lie on a disk that hangs. What cannot be read stays as it
    /// was. Says whether replication's is another.
    pub fn read_passwords(&self) -> bool {
        let kept = |error| debug!(%error, "the password that was read before is used");
        match self.accounts.admin.unlock(secret) {
            Ok(now) => {
                let mut admin = self.admin.lock().expect("no holder of this lock panics");
                now.password.reveal().clone_into(&mut admin.password);
            }
            Err(error) => kept(error),
        }
        match self.accounts.replication.unlock(secret) {
            Ok(now) => {
                let mut replication = self.replication.lock().expect("no holder of this lock panics");
                let changed = replication.1 != now.password.reveal();
                now.password.reveal().clone_into(&mut replication.1);
                changed
            }
            Err(error) => {
                kept(error);
                false
            }
        }
    }

    /// The hosts of all servers that are not among `passing`, and where none of those is.
    pub fn barred(&self, passing: &Passing) -> BTreeSet<IpAddr> {
        let Some(passing) = passing else { return BTreeSet::new() };
        let (may, others): (Vec<_>, Vec<_>) = self.others.iter().partition(|(s, _)| passing.contains(*s));
        let hosts = |servers: Vec<(&ServerId, &SocketAddr)>| -> BTreeSet<IpAddr> {
            servers.into_iter().map(|(_, address)| address.ip()).collect()
        };
        hosts(others).difference(&hosts(may)).copied().collect()
    }

    /// The life that runs, as the watcher last saw it.
    pub fn life(&self) -> Option<ProcessStart> {
        self.process.lock().expect("no holder of this lock panics").as_ref().map(MysqldProcess::start)
    }

    /// What is known of the server's accounts in this life.
    pub fn accounts_of(&self, life: ProcessStart) -> AccountsReading {
        let known = self.known_accounts.lock().expect("no holder of this lock panics");
        let this = known.as_ref().filter(|(seen, _)| *seen == life);
        this.map_or(AccountsReading::Awaited, |(_, accounts)| accounts.clone())
    }

    /// SIGKILL to this life and no other.
    pub fn kill(&self, life: ProcessStart) {
        let process = self.process.lock().expect("no holder of this lock panics");
        if let Some(process) = process.as_ref().filter(|p| p.start() == life)
            && let Err(error) = process.kill()
        {
            warn!(%error, "the database could not be killed");
        }
    }
}

/// A password from where the configuration says.
pub fn secret(from: &SecretSource) -> Result<String, String> {
    match from {
        SecretSource::File(path) => std::fs::read_to_string(path).map_err(|e| e.to_string()),
        SecretSource::Env(name) => std::env::var(name).map_err(|e| e.to_string()),
    }
}

/// The server named, or a clear word.
pub fn address_of(host: &Host, server: &ServerId) -> Result<SocketAddr> {
    host.others.get(server).copied().with_context(|| format!("server {server} is not another of this group"))
}
