//! What a MariaDB server of the lab wants otherwise than MySQL: places, first data, configuration.
//!
//! Its first data comes from the server's own bootstrap mode, fed with the scripts that the package
//! carries and the accounts; the package's shell script would need more of the machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::mysqld::{
    ADMIN_ROLE, ADMIN_USER, APPLICATION_SCHEMA, APPLICATION_USER, MysqlRoot, MysqldError, PASSWORD,
    REDO_LOG_MIB, REPLICATION_USER, kine_accounts,
};

/// The package's scripts that make the system tables, in their order.
const SCRIPTS: [&str; 4] = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
];

/// Before the scripts: a schema for the tables, and variables that the package's own installer sets.
const PROLOGUE: &str = "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\n\
    SET @auth_root_socket = NULL, @skip_auth_anonymous = 1, @current_hostname = 'localhost';\n";

/// Rights of the admin account everywhere: those the adapter lists, which a test compares, and CREATE
/// USER, which the lab's tests use.
const ADMIN_RIGHTS: &str = "PROCESS, RELOAD, BINLOG MONITOR, REPLICA MONITOR, READ_ONLY ADMIN, \
    REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, CREATE USER";

/// Settings that do not depend on the server. `rpl_semi_sync_slave_kill_conn_timeout` bounds the stop of
/// a receiver whose source is gone; 0 would be for ever.
pub(crate) const SETTINGS: &str = "\
# Boots fenced; what opens it is never written down here.
read_only = ON
skip_slave_start = ON
event_scheduler = OFF
# One history, and its durability.
gtid_strict_mode = ON
gtid_domain_id = 0
log_bin = binlog
binlog_format = ROW
log_slave_updates = ON
relay_log = relay
sync_binlog = 1
innodb_flush_log_at_trx_commit = 1
sync_relay_log = 1
relay_log_recovery = OFF
slave_net_timeout = 4
master_retry_count = 0
slave_parallel_threads = 4
# Lossless semi-sync, switched on by the agents only.
rpl_semi_sync_master_enabled = OFF
rpl_semi_sync_slave_enabled = OFF
rpl_semi_sync_master_timeout = 4294967295
rpl_semi_sync_master_wait_no_slave = ON
rpl_semi_sync_master_wait_point = AFTER_SYNC
rpl_semi_sync_slave_kill_conn_timeout = 1
# Small, and nothing that looks outwards.
performance_schema = OFF
skip_name_resolve = ON
max_connections = 600
table_open_cache = 400
innodb_buffer_pool_size = 64M
innodb_log_buffer_size = 4M
innodb_buffer_pool_dump_at_shutdown = OFF
innodb_buffer_pool_load_at_startup = OFF
expire_logs_days = 1
user = root
";

/// Where the server's own files lie, as lines of a configuration.
pub(crate) fn places(root: &MysqlRoot) -> Vec<(&'static str, String)> {
    vec![
        ("basedir", root.path("usr")),
        ("lc_messages_dir", root.path("usr/share/mysql")),
        ("character_sets_dir", root.path("usr/share/mysql/charsets")),
        ("plugin_dir", root.path("usr/lib/mysql/plugin")),
    ]
}

/// What the server is called: MariaDB has no server_uuid (docs/design/0011).
pub(crate) fn identity(server_id: u32) -> String {
    format!("00000000-6d61-80db-8000-0000{server_id:08x}")
}

/// Makes the first data below `part`.
pub(crate) fn initialise(root: &MysqlRoot, part: &Path) -> Result<PathBuf, MysqldError> {
    let data = part.join("data");
    fs::create_dir(&data).map_err(|e| file("create", &data, e))?;
    let statements = part.join("bootstrap.sql");
    fs::write(&statements, bootstrap(root)?).map_err(|e| file("write", &statements, e))?;
    let input = File::open(&statements).map_err(|e| file("read", &statements, e))?;
    let log = part.join("initialise.log");
    let output = File::create(&log).map_err(|e| file("create", &log, e))?;
    let argv = root.mysqld();
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).args(["--no-defaults", "--bootstrap", "--user=root"]);
    for (name, value) in places(root) {
        command.arg(format!("--{name}={value}"));
    }
    let status = command
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--innodb-log-file-size={REDO_LOG_MIB}M"))
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::from(output))
        .status()
        .map_err(|e| file("run", Path::new(&argv[0]), e))?;
    if !status.success() {
        return Err(MysqldError::Initialise { status, message: crate::mysqld::last_lines(&log) });
    }
    Ok(data)
}

/// What the server reads in bootstrap mode: a statement ends with the line.
fn bootstrap(root: &MysqlRoot) -> Result<String, MysqldError> {
    let mut text = PROLOGUE.to_owned();
    for script in SCRIPTS {
        let path = PathBuf::from(root.path("usr/share/mysql")).join(script);
        text += &fs::read_to_string(&path).map_err(|e| file("read", &path, e))?;
        text.push('\n');
    }
    Ok(text + &accounts())
}

/// A role's default is written into the table: in bootstrap mode nobody is logged in who could set it.
fn accounts() -> String {
    let role = ADMIN_ROLE;
    let admin = format!("'{ADMIN_USER}'@'localhost'");
    let replication = format!("'{REPLICATION_USER}'@'%'");
    let application = format!("'{APPLICATION_USER}'@'%'");
    [
        // The scripts make a root at the host's name too, who may do everything without a password.
        "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';".to_owned(),
        "FLUSH PRIVILEGES;".to_owned(),
        format!("CREATE USER {admin} IDENTIFIED BY '{PASSWORD}';"),
        format!("CREATE ROLE {role} WITH ADMIN {admin};"),
        format!("GRANT {ADMIN_RIGHTS} ON *.* TO {role};"),
        format!("GRANT SELECT, INSERT, DELETE, CREATE ON `twofold`.* TO {role};"),
        format!("GRANT SELECT ON mysql.global_priv TO {role};"),
        format!("GRANT SELECT ON mysql.roles_mapping TO {role};"),
        format!("GRANT SELECT ON mysql.db TO {role};"),
        format!("GRANT SELECT ON mysql.tables_priv TO {role};"),
        format!(
            "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.default_role', {role}) \
             WHERE User = '{ADMIN_USER}';"
        ),
        format!("CREATE USER {replication} IDENTIFIED BY '{PASSWORD}';"),
        format!("GRANT REPLICATION SLAVE ON *.* TO {replication};"),
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

fn file(doing: &'static str, path: &Path, source: io::Error) -> MysqldError {
    MysqldError::File { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_the_one_that_the_adapter_reads() {
        assert_eq!(identity(111), "00000000-6d61-80db-8000-00000000006f");
        assert!(identity(u32::MAX).parse::<model::ServerUuid>().is_ok());
    }

    #[test]
    fn no_account_of_the_lab_may_end_sessions_or_do_everything() {
        let text = accounts();
        assert!(!text.contains("SUPER") && !text.contains("CONNECTION ADMIN"), "{text}");
        assert!(text.lines().all(|line| line.ends_with(';')), "{text}");
        for right in replication_mysql::MARIADB_GRANTS {
            assert!(text.contains(right), "{right}");
        }
    }
}
