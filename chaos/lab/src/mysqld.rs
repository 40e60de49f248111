//! A MySQL or MariaDB server of the lab: its command line, its configuration, its first data.
//!
//! A data directory is initialised once into a template with all accounts in it; every server is a
//! copy of it with a `server_uuid` of its own, which takes a third of a second. Servers boot fenced:
//! read only, with replication not started (DESIGN §4); what opens them is the product, never the lab.
//!
//! What MariaDB wants otherwise is in `mariadb.rs`.
//!
//! Deliberately absent: starting and watching the process. A supervisor runs [`command`], in the
//! foreground, in a namespace of its choosing.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand::Rng;

use crate::cli::Flavour;
use crate::mariadb;
use crate::packages;

/// Account of agent and guard, over the unix socket only.
pub const ADMIN_USER: &str = "twofold";
/// Account replicas and CLONE log in with.
pub const REPLICATION_USER: &str = "repl";
/// Account of applications.
pub const APPLICATION_USER: &str = "app";
/// The applications' schema.
pub const APPLICATION_SCHEMA: &str = "app";
/// The schema that K3s would keep its objects in, under the applications' account.
pub const KINE_SCHEMA: &str = "kubernetes";
/// Password of all three: the lab's servers listen in its own namespaces only.
pub const PASSWORD: &str = "lab-only";

/// Raised when what a template holds changes, so that an old one in the cache is not used.
const TEMPLATE_FORMAT: u32 = 6;
/// Room for the redo log in MiB. Small, since a template is copied; 16 holds seconds of the lab's load.
pub(crate) const REDO_LOG_MIB: u32 = 16;

/// Role that holds the rights of [`ADMIN_USER`].
pub(crate) const ADMIN_ROLE: &str = "'twofold_agent'";
/// Rights of [`ADMIN_USER`] everywhere: those the MySQL adapter lists for its acts, which a test
/// compares, and CREATE USER, which the lab's tests use.
const ADMIN_RIGHTS: &str = "PROCESS, RELOAD, REPLICATION CLIENT, CLONE_ADMIN, CONNECTION_ADMIN, \
    BACKUP_ADMIN, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CREATE USER, ROLE_ADMIN, \
    SYSTEM_USER";

/// Why a server cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum MysqldError {
    /// A file or folder.
    #[error("{doing} {path:?}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// mysqld could not make its first data.
    #[error("mysqld --initialize ended with {status}; its log ends with: {message}")]
    Initialise {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its log.
        message: String,
    },
    /// cp failed.
    #[error("copy the template to {to:?}: cp ended with {status}")]
    Copy {
        /// Where to.
        to: PathBuf,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
}

/// A server's files in a folder of their own, as [`crate::packages::mysql_root`] and
/// [`mariadb_root`](crate::packages::mariadb_root) lay them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlRoot {
    root: PathBuf,
    flavour: Flavour,
}

impl MysqlRoot {
    /// MySQL's files below `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), flavour: Flavour::Mysql }
    }

    /// MariaDB's files below `root`.
    #[must_use]
    pub fn mariadb(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), flavour: Flavour::Mariadb }
    }

    /// Whose files they are.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Command line, without arguments, of the server.
    #[must_use]
    pub fn mysqld(&self) -> Vec<String> {
        self.program(self.server())
    }

    fn server(&self) -> &'static str {
        match self.flavour {
            Flavour::Mysql => "usr/sbin/mysqld",
            Flavour::Mariadb => "usr/sbin/mariadbd",
        }
    }

    /// Command line, without arguments, of the client `mysql` or `mariadb`.
    #[must_use]
    pub fn mysql(&self) -> Vec<String> {
        self.program(match self.flavour {
            Flavour::Mysql => "usr/bin/mysql",
            Flavour::Mariadb => "usr/bin/mariadb",
        })
    }

    /// Command line, without arguments, of `mysqlbinlog`.
    #[must_use]
    pub fn mysqlbinlog(&self) -> Vec<String> {
        self.program("usr/bin/mysqlbinlog")
    }

    /// Command line, without arguments, of `mariadb-backup`, which only MariaDB's folder has.
    #[must_use]
    pub fn mariadb_backup(&self) -> Vec<String> {
        self.program("usr/bin/mariadb-backup")
    }

    /// The same of `mbstream`.
    #[must_use]
    pub fn mbstream(&self) -> Vec<String> {
        self.program("usr/bin/mbstream")
    }

    /// Runs a program through the root's own loader, since the machine's libc is older.
    fn program(&self, path: &str) -> Vec<String> {
        let arm = cfg!(target_arch = "aarch64");
        let (loader, libraries) = match self.flavour {
            Flavour::Mysql if arm => {
                ("usr/lib/ld-linux-aarch64.so.1", self.path("usr/lib/aarch64-linux-gnu"))
            }
            Flavour::Mysql => ("usr/lib64/ld-linux-x86-64.so.2", self.path("usr/lib/x86_64-linux-gnu")),
            Flavour::Mariadb => packages::bookworm_loader(&self.root),
        };
        let program = self.path(path);
        vec![
            self.path(loader),
            "--argv0".to_owned(),
            program.clone(),
            "--library-path".to_owned(),
            libraries,
            program,
        ]
    }

    pub(crate) fn path(&self, below: &str) -> String {
        self.root.join(below).display().to_string()
    }

    /// Where the server's own files lie, as lines of a configuration. `secure_file_priv` must be
    /// NULL: its default names a folder that is not there, and mysqld refuses to start.
    fn places(&self) -> Vec<(&'static str, String)> {
        if self.flavour == Flavour::Mariadb {
            return mariadb::places(self);
        }
        vec![
            ("basedir", self.path("usr")),
            ("lc_messages_dir", self.path("usr/share/mysql")),
            ("character_sets_dir", self.path("usr/share/mysql/charsets")),
            ("plugin_dir", self.path("usr/lib/mysql/plugin")),
            ("secure_file_priv", "NULL".to_owned()),
        ]
    }

    /// The template in `cache`, made when it is missing: 3.5 s. Two runs may make it at the same time; one
    /// of them stays. Templates of other formats or servers, 100 MB each, go.
    pub fn template(&self, cache: &Path) -> Result<PathBuf, MysqldError> {
        let kind = self.template_prefix();
        let template = cache.join(format!("{kind}-{TEMPLATE_FORMAT}-{}", self.fingerprint()?));
        if !template.is_dir() {
            self.make_template(cache, &template)?;
        }
        remove_other_templates(cache, &template, kind);
        Ok(template)
    }

    fn template_prefix(&self) -> &'static str {
        match self.flavour {
            Flavour::Mysql => "template",
            Flavour::Mariadb => "mariadb-template",
        }
    }

    fn make_template(&self, cache: &Path, template: &Path) -> Result<(), MysqldError> {
        let kind = self.template_prefix();
        let part = cache.join(format!("{kind}.part-{:016x}", rand::rng().random::<u64>()));
        fs::create_dir_all(&part).map_err(|e| file("create", &part, e))?;
        let made = self.initialise(&part).and_then(|data| {
            match fs::rename(&data, template) {
                // Another run was first; its template is as good.
                Err(_) if template.is_dir() => Ok(()),
                other => other.map_err(|e| file("rename", &data, e)),
            }
        });
        let removed = fs::remove_dir_all(&part).map_err(|e| file("remove", &part, e));
        made.and(removed)
    }

    /// Tells one mysqld from another by the size and time of the file, so that a template is never
    /// opened by another version than made it.
    fn fingerprint(&self) -> Result<String, MysqldError> {
        let path = self.root.join(self.server());
        let meta = fs::metadata(&path).map_err(|e| file("read", &path, e))?;
        let modified = meta.modified().map_err(|e| file("read", &path, e))?;
        let seconds = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Ok(format!("{:x}-{seconds:x}", meta.len()))
    }

    fn initialise(&self, part: &Path) -> Result<PathBuf, MysqldError> {
        if self.flavour == Flavour::Mariadb {
            return mariadb::initialise(self, part);
        }
        let data = part.join("data");
        let statements = part.join("accounts.sql");
        fs::write(&statements, accounts()).map_err(|e| file("write", &statements, e))?;
        let log = part.join("initialise.log");
        let argv = self.mysqld();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).arg("--no-defaults").arg("--initialize-insecure");
        for (name, value) in self.places() {
            command.arg(format!("--{name}={value}"));
        }
        let status = command
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--init-file={}", statements.display()))
            .arg(format!("--log-error={}", log.display()))
            .arg(format!("--innodb-redo-log-capacity={REDO_LOG_MIB}M"))
            .arg("--user=root")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|e| file("run", Path::new(&argv[0]), e))?;
        if !status.success() {
            return Err(MysqldError::Initialise { status, message: last_lines(&log) });
        }
        // Every copy gets its own identity; one that is forgotten must not share the template's.
        let auto = data.join("auto.cnf");
        fs::remove_file(&auto).map_err(|e| file("remove", &auto, e))?;
        Ok(data)
    }

    /// Lays `data_dir` as a copy of the template with an identity of its own, which it returns: a new
    /// server_uuid, or on MariaDB the name made of its server id. What is in `data_dir` already is an
    /// error.
    pub fn lay_data(&self, cache: &Path, data_dir: &Path, server_id: u32) -> Result<String, MysqldError> {
        let template = self.template(cache)?;
        if let Some(parent) = data_dir.parent() {
            fs::create_dir_all(parent).map_err(|e| file("create", parent, e))?;
        }
        fs::create_dir(data_dir).map_err(|e| file("create", data_dir, e))?;
        let status = Command::new("cp")
            .args(["-a", "--reflink=auto", "-T"])
            .args([&template, data_dir])
            .stdin(Stdio::null())
            .status()
            .map_err(|e| file("copy", &template, e))?;
        if !status.success() {
            return Err(MysqldError::Copy { to: data_dir.to_owned(), status });
        }
        if self.flavour == Flavour::Mariadb {
            return Ok(mariadb::identity(server_id));
        }
        let uuid = new_uuid();
        let auto = data_dir.join("auto.cnf");
        fs::write(&auto, format!("[auto]\nserver-uuid={uuid}\n")).map_err(|e| file("write", &auto, e))?;
        Ok(uuid)
    }
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Its name, for people.
    pub name: String,
    /// `server_id`; differs among all servers.
    pub server_id: u32,
    /// `datadir`.
    pub data_dir: PathBuf,
    /// Where its configuration is written.
    pub cnf: PathBuf,
    /// Its unix socket; at most 107 bytes (unix(7)).
    pub socket: PathBuf,
    /// Its pid file.
    pub pid_file: PathBuf,
    /// Its error log.
    pub error_log: PathBuf,
    /// Address it listens on.
    pub bind_address: IpAddr,
    /// Port it listens on.
    pub port: u16,
    /// Address its replicas and people know it by.
    pub report_host: String,
    /// A listener that needs SERVICE_CONNECTION_ADMIN and has no limit on connections.
    pub admin: Option<SocketAddr>,
    /// It lets nobody in but its guard until that opens it (MySQL): where no gate keeps clients out.
    pub offline: bool,
    /// Its certificate; without one it makes itself one that nobody can verify (MySQL), or has none (MariaDB).
    pub tls: Option<TlsFiles>,
}

/// What a server proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who signed it.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Writes the server's configuration.
pub fn write_cnf(root: &MysqlRoot, spec: &InstanceSpec) -> Result<(), MysqldError> {
    fs::write(&spec.cnf, cnf(root, spec)).map_err(|e| file("write", &spec.cnf, e))
}

/// Runs the server in the foreground.
#[must_use]
pub fn command(root: &MysqlRoot, spec: &InstanceSpec) -> Vec<String> {
    let mut argv = root.mysqld();
    // It must come first, or mysqld reads the machine's own files too.
    argv.push(format!("--defaults-file={}", spec.cnf.display()));
    argv
}

/// Settings that do not depend on the server.
///
/// performance_schema is off: nothing here reads it, and it costs 170 MB a server.
const SETTINGS: &str = "\
# Boots fenced; what opens it is never written down here.
super_read_only = ON
skip_replica_start = ON
event_scheduler = OFF
# History, and its durability.
gtid_mode = ON
enforce_gtid_consistency = ON
log_bin = binlog
log_replica_updates = ON
# What a disk or a snapshot took away comes back from whoever received it.
replicate_same_server_id = ON
relay_log = relay
sync_binlog = 1
innodb_flush_log_at_trx_commit = 1
sync_relay_log = 1
# An acker syncs event by event: so a transaction is two of them, not five.
binlog_transaction_compression = ON
relay_log_recovery = OFF
replica_net_timeout = 4
replica_parallel_workers = 4
replica_preserve_commit_order = ON
# Lossless semi-sync, switched on by the agents only.
plugin_load_add = semisync_source.so
plugin_load_add = semisync_replica.so
plugin_load_add = mysql_clone.so
rpl_semi_sync_source_enabled = OFF
rpl_semi_sync_replica_enabled = OFF
rpl_semi_sync_source_timeout = 4294967295
rpl_semi_sync_source_wait_no_replica = ON
rpl_semi_sync_source_wait_point = AFTER_SYNC
# Small, and nothing that looks outwards.
performance_schema = OFF
mysqlx = OFF
skip_name_resolve = ON
max_connections = 600
table_open_cache = 400
innodb_buffer_pool_size = 64M
innodb_log_buffer_size = 4M
innodb_buffer_pool_dump_at_shutdown = OFF
innodb_buffer_pool_load_at_startup = OFF
binlog_expire_logs_seconds = 86400
log_error_verbosity = 2
user = root
";

fn cnf(root: &MysqlRoot, spec: &InstanceSpec) -> String {
    let (redo_log, settings) = match root.flavour {
        Flavour::Mysql => ("innodb_redo_log_capacity", SETTINGS),
        Flavour::Mariadb => ("innodb_log_file_size", mariadb::SETTINGS),
    };
    let mut text = format!("# Server {} of the lab.\n[mysqld]\n", spec.name);
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{name} = {value}").expect("a String takes all");
    };
    for (name, value) in root.places() {
        line(name, &value);
    }
    line("server_id", &spec.server_id);
    line("datadir", &spec.data_dir.display());
    line("socket", &spec.socket.display());
    line("pid_file", &spec.pid_file.display());
    line("log_error", &spec.error_log.display());
    line("bind_address", &spec.bind_address);
    line("port", &spec.port);
    line("report_host", &spec.report_host);
    line("report_port", &spec.port);
    line(redo_log, &format_args!("{REDO_LOG_MIB}M"));
    if let Some(tls) = &spec.tls {
        for (name, file) in [("ssl_ca", &tls.ca), ("ssl_cert", &tls.certificate), ("ssl_key", &tls.key)] {
            line(name, &file.display());
        }
    }
    if spec.offline {
        line("offline_mode", &"ON");
    }
    if let Some(admin) = spec.admin {
        line("admin_address", &admin.ip());
        line("admin_port", &admin.port());
    }
    text + settings
}

/// One statement a line, as `--init-file` wants them.
fn accounts() -> String {
    let admin = format!("'{ADMIN_USER}'@'localhost'");
    let replication = format!("'{REPLICATION_USER}'@'%'");
    let application = format!("'{APPLICATION_USER}'@'%'");
    [
        format!("CREATE USER {admin} IDENTIFIED BY '{PASSWORD}';"),
        // Through a role: while an account change waits for its ack the server cannot look up
        // accounts, and only rights of a role that is active already can still be used.
        format!("CREATE ROLE {ADMIN_ROLE};"),
        format!("GRANT {ADMIN_RIGHTS} ON *.* TO {ADMIN_ROLE};"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `twofold`.* TO {ADMIN_ROLE};"),
        format!(
            "GRANT SELECT (Host, User, account_locked, Super_priv, Shutdown_priv, Reload_priv, Create_user_priv, \
             Grant_priv, Insert_priv, Update_priv, Delete_priv, Create_priv, Drop_priv, Alter_priv, Trigger_priv) \
             ON mysql.user TO {ADMIN_ROLE};"
        ),
        format!("GRANT SELECT ON mysql.role_edges TO {ADMIN_ROLE};"),
        format!("GRANT SELECT ON mysql.global_grants TO {ADMIN_ROLE};"),
        format!("GRANT SELECT ON mysql.db TO {ADMIN_ROLE};"),
        format!("GRANT SELECT ON mysql.tables_priv TO {ADMIN_ROLE};"),
        format!("GRANT {ADMIN_ROLE} TO {admin};"),
        format!("SET DEFAULT ROLE {ADMIN_ROLE} TO {admin};"),
        format!("CREATE USER {replication} IDENTIFIED BY '{PASSWORD}';"),
        // CONNECTION_ADMIN keeps the dump thread alive under offline_mode; BACKUP_ADMIN lets it be
        // a CLONE donor's account.
        format!("GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN ON *.* TO {replication};"),
        format!("CREATE DATABASE `{APPLICATION_SCHEMA}`;"),
        format!("CREATE USER {application} IDENTIFIED BY '{PASSWORD}';"),
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX \
             ON `{APPLICATION_SCHEMA}`.* TO {application};"
        ),
    ]
    .into_iter()
    .chain(kine_accounts(&application))
    .map(|statement| statement + "\n")
    .collect()
}

/// K3s's schema, whose objects the admin account looks at and leaves a gap in.
pub(crate) fn kine_accounts(application: &str) -> [String; 3] {
    // As `twofold db grants --kine` prints it.
    [
        format!("CREATE DATABASE `{KINE_SCHEMA}`;"),
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX \
             ON `{KINE_SCHEMA}`.* TO {application};"
        ),
        format!("GRANT SELECT, INSERT ON `{KINE_SCHEMA}`.* TO {ADMIN_ROLE};"),
    ]
}

/// Removes the templates of the cache but for the current one. Only room is lost where one cannot be
/// removed, so that is no error.
fn remove_other_templates(cache: &Path, current: &Path, kind: &str) {
    let Ok(entries) = fs::read_dir(cache) else { return };
    let template = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-')))
    };
    for path in entries.flatten().map(|e| e.path()).filter(|p| p != current && template(p)) {
        let _ = fs::remove_dir_all(path);
    }
}

/// A version 4 uuid (RFC 9562, section 5.4).
fn new_uuid() -> String {
    let mut b: [u8; 16] = rand::rng().random();
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Lines of a log that are told when a start failed.
const LAST_LINES: usize = 8;

pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ")
}

fn file(doing: &'static str, path: &Path, source: io::Error) -> MysqldError {
    MysqldError::File { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> InstanceSpec {
        InstanceSpec {
            name: "db-p1".into(),
            server_id: 11,
            data_dir: "/l/db-p1/data".into(),
            cnf: "/l/db-p1/my.cnf".into(),
            socket: "/l/db-p1/s".into(),
            pid_file: "/l/db-p1/pid".into(),
            error_log: "/l/db-p1/err".into(),
            bind_address: [0, 0, 0, 0].into(),
            port: 3306,
            report_host: "192.0.2.11".into(),
            offline: false,
            admin: Some("192.0.2.11:33062".parse().unwrap()),
            tls: None,
        }
    }

    #[test]
    fn a_server_boots_fenced_and_keeps_what_it_acknowledged() {
        let text = cnf(&MysqlRoot::at("/r"), &spec());
        for wanted in [
            "super_read_only = ON",
            "skip_replica_start = ON",
            "sync_relay_log = 1",
            "relay_log_recovery = OFF",
            "rpl_semi_sync_replica_enabled = OFF",
            "server_id = 11",
            "admin_port = 33062",
        ] {
            assert!(text.lines().any(|line| line == wanted), "{wanted:?} is missing in\n{text}");
        }
    }

    #[test]
    fn mariadb_boots_fenced_as_well_and_has_one_strict_history() {
        let text = cnf(&MysqlRoot::mariadb("/r"), &spec());
        for wanted in [
            "read_only = ON",
            "skip_slave_start = ON",
            "event_scheduler = OFF",
            "gtid_strict_mode = ON",
            "log_slave_updates = ON",
            "sync_relay_log = 1",
            "relay_log_recovery = OFF",
            "rpl_semi_sync_slave_enabled = OFF",
            "rpl_semi_sync_master_enabled = OFF",
            "server_id = 11",
        ] {
            assert!(text.lines().any(|line| line == wanted), "{wanted:?} is missing in\n{text}");
        }
        for mysqls in ["super_read_only", "replica", "source", "mysqlx", "redo_log_capacity", "clone"] {
            assert!(!text.contains(mysqls), "{mysqls} in\n{text}");
        }
    }

    #[test]
    fn the_configuration_is_the_first_argument_after_the_program() {
        let argv = command(&MysqlRoot::at("/r"), &spec());
        let program = argv.iter().rposition(|a| a == "/r/usr/sbin/mysqld").unwrap();
        assert_eq!(argv[program + 1], "--defaults-file=/l/db-p1/my.cnf");
        assert_eq!(argv.len(), program + 2);
    }

    #[test]
    fn only_the_current_template_stays_in_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let at = |name: &str| cache.path().join(name);
        for name in ["template-1-a", "template-2-b", "template.part-3", "mysql", "mariadb-template-1-c"] {
            fs::create_dir_all(at(name).join("data")).unwrap();
        }
        remove_other_templates(cache.path(), &at("template-2-b"), "template");
        assert!(!at("template-1-a").exists());
        let stay = ["template-2-b", "template.part-3", "mysql", "mariadb-template-1-c"];
        assert!(stay.iter().all(|name| at(name).exists()));
    }

    #[test]
    fn a_uuid_is_one_and_not_twice_the_same() {
        let (a, b) = (new_uuid(), new_uuid());
        assert_ne!(a, b);
        assert!(a.parse::<model::ServerUuid>().is_ok(), "{a}");
    }
}
