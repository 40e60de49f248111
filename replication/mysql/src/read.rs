//! One look at a server, in one round trip.
//!
//! The guard takes it every 100 ms, so it asks only for what is cheap: variables, three status
//! counters, the replica's status, the process list. None of it needs performance_schema.

use model::{DatabaseReading, GtidSet, ReplicaReading, ReplicaThread, SemiSyncReading, SettingsReading};

use crate::act::client::{SessionKind, classify};
use crate::deadline::Deadline;
use crate::row::{Row, flag, parse};
use crate::session::{Session, SqlError};

/// Why a reading could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The statement.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A column is not in the answer.
    #[error("the answer has no column {column:?}")]
    Column {
        /// Its name.
        column: String,
    },
    /// A column is NULL where it may not be.
    #[error("column {column:?} is NULL")]
    Null {
        /// Its name.
        column: String,
    },
    /// A value is of another kind.
    #[error("column {column:?} holds {text:?}, which is not {wanted}")]
    Value {
        /// Its name.
        column: String,
        /// What it holds.
        text: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The answer has fewer rows or result sets than it must.
    #[error("the answer does not hold {what}")]
    Short {
        /// What is missing.
        what: &'static str,
    },
}

/// Variables that are always there.
const VARIABLES: &str = "SELECT @@server_uuid AS server_uuid, @@version AS version, \
    @@GLOBAL.gtid_executed AS gtid_executed, @@GLOBAL.gtid_purged AS gtid_purged, \
    @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only, \
    @@GLOBAL.offline_mode AS offline_mode, @@GLOBAL.sync_binlog AS sync_binlog, \
    @@GLOBAL.innodb_flush_log_at_trx_commit AS flush_log_at_commit, \
    @@GLOBAL.sync_relay_log AS sync_relay_log, @@GLOBAL.relay_log_recovery AS relay_log_recovery";

/// The plugins' variables and counters. SHOW … LIKE answers also when a plugin is not loaded.
pub(crate) const SEMI_SYNC: &str = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'; \
    SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'";

/// Takes everything that one look tells, in one round trip.
pub async fn read(session: &mut Session, deadline: Deadline) -> Result<DatabaseReading, ReadError> {
    let sql = format!("{VARIABLES}; {SEMI_SYNC}; SHOW PROCESSLIST; SHOW REPLICA STATUS");
    let sets = session.ask("read the server", &sql, deadline).await?;
    let [variables, semi_sync_variables, semi_sync_status, processes, channels] = sets.as_slice() else {
        return Err(ReadError::Short { what: "five results" });
    };
    let row = variables.first().ok_or(ReadError::Short { what: "the system variables" })?;
    let semi_sync = SemiSync::of(semi_sync_variables, semi_sync_status)?;
    let mut client_sessions = 0;
    for process in processes {
        if classify(session, process)?.kind == SessionKind::Client {
            client_sessions += 1;
        }
    }
    Ok(DatabaseReading {
        server_uuid: row.parse("server_uuid", "a server uuid")?,
        version: row.text("version")?,
        gtid_executed: row.parse("gtid_executed", "a gtid set")?,
        gtid_purged: row.parse("gtid_purged", "a gtid set")?,
        read_only: row.flag("read_only")?,
        super_read_only: row.flag("super_read_only")?,
        offline_mode: row.flag("offline_mode")?,
        client_sessions,
        semi_sync: semi_sync.reading(),
        replica: replica(channels)?,
        settings: SettingsReading {
            sync_binlog: row.parse("sync_binlog", "a number")?,
            flush_log_at_commit: row.parse("flush_log_at_commit", "a number")?,
            sync_relay_log: row.parse("sync_relay_log", "a number")?,
            relay_log_recovery: row.flag("relay_log_recovery")?,
            semi_sync_timeout_ms: semi_sync.timeout_ms,
        },
    })
}

/// The first row of the last result set.
pub(crate) fn last_row<'a>(sets: &'a [Vec<Row>], what: &'static str) -> Result<&'a Row, ReadError> {
    sets.last().and_then(|set| set.first()).ok_or(ReadError::Short { what })
}

/// Everything the two semi-sync plugins tell. What a plugin that is not loaded would say is zero and
/// off, and `source_loaded`/`replica_loaded` tell the difference.
#[derive(Debug, Default, Clone)]
pub(crate) struct SemiSync {
    pub(crate) source_loaded: bool,
    pub(crate) replica_loaded: bool,
    pub(crate) source_enabled: bool,
    pub(crate) source_operating: bool,
    pub(crate) wait_count: u32,
    pub(crate) clients: u32,
    pub(crate) waiting_sessions: u32,
    pub(crate) replica_enabled: bool,
    /// `Rpl_semi_sync_replica_status`: the running receiver attached with semi-sync.
    pub(crate) replica_attached: bool,
    pub(crate) timeout_ms: u64,
    pub(crate) wait_no_replica: bool,
    pub(crate) wait_point: String,
}

impl SemiSync {
    pub(crate) fn of(variables: &[Row], status: &[Row]) -> Result<Self, ReadError> {
        let mut all = Self::default();
        for row in variables.iter().chain(status) {
            let (name, value) = (row.text("Variable_name")?, row.text("Value")?);
            all.take(&name.to_ascii_lowercase(), &value)?;
        }
        Ok(all)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), ReadError> {
        match name {
            "rpl_semi_sync_source_enabled" => {
                self.source_loaded = true;
                self.source_enabled = flag(name, value)?;
            }
            "rpl_semi_sync_source_timeout" => self.timeout_ms = parse(name, value, "a number")?,
            "rpl_semi_sync_source_wait_for_replica_count" => {
                self.wait_count = parse(name, value, "a number")?;
            }
            "rpl_semi_sync_source_wait_no_replica" => self.wait_no_replica = flag(name, value)?,
            "rpl_semi_sync_source_wait_point" => self.wait_point = value.to_owned(),
            "rpl_semi_sync_source_status" => self.source_operating = flag(name, value)?,
            "rpl_semi_sync_source_clients" => self.clients = parse(name, value, "a number")?,
            "rpl_semi_sync_source_wait_sessions" => {
                self.waiting_sessions = parse(name, value, "a number")?;
            }
            "rpl_semi_sync_replica_enabled" => {
                self.replica_loaded = true;
                self.replica_enabled = flag(name, value)?;
            }
            "rpl_semi_sync_replica_status" => self.replica_attached = flag(name, value)?,
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn reading(&self) -> SemiSyncReading {
        SemiSyncReading {
            source_enabled: self.source_enabled,
            source_operating: self.source_operating,
            wait_count: self.wait_count,
            clients: self.clients,
            waiting_sessions: self.waiting_sessions,
            replica_enabled: self.replica_enabled,
        }
    }
}

/// The default channel; none when nothing was ever configured, or all was reset. Other channels are
/// not read: semi-sync works on the default one only (MySQL manual, "Replication Channels").
pub(crate) fn replica(rows: &[Row]) -> Result<Option<ReplicaReading>, ReadError> {
    for row in rows {
        if row.text("Channel_Name")?.is_empty() {
            return channel(row);
        }
    }
    Ok(None)
}

fn channel(row: &Row) -> Result<Option<ReplicaReading>, ReadError> {
    let source_host = row.text("Source_Host")?;
    // After RESET REPLICA ALL a row may stay until the next start, with nothing in it.
    if source_host.is_empty() {
        return Ok(None);
    }
    let uuid = row.text("Source_UUID")?;
    let lag = row.maybe("Seconds_Behind_Source")?;
    Ok(Some(ReplicaReading {
        source_host,
        source_port: row.parse("Source_Port", "a port")?,
        source_uuid: if uuid.is_empty() { None } else { Some(parse("Source_UUID", &uuid, "a server uuid")?) },
        io: thread("Replica_IO_Running", &row.text("Replica_IO_Running")?)?,
        sql: thread("Replica_SQL_Running", &row.text("Replica_SQL_Running")?)?,
        gtid_received: row.parse::<GtidSet>("Retrieved_Gtid_Set", "a gtid set")?,
        io_error: row.text("Last_IO_Error")?,
        sql_error: row.text("Last_SQL_Error")?,
        lag_seconds: lag.map(|text| parse("Seconds_Behind_Source", &text, "a number")).transpose()?,
    }))
}

fn thread(column: &str, text: &str) -> Result<ReplicaThread, ReadError> {
    match text {
        "Yes" => Ok(ReplicaThread::Running),
        "Connecting" => Ok(ReplicaThread::Connecting),
        "No" => Ok(ReplicaThread::Stopped),
        _ => Err(ReadError::Value {
            column: column.to_owned(),
            text: text.to_owned(),
            wanted: "Yes, No or Connecting",
        }),
    }
}
