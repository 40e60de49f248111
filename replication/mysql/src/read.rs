//! One look at a server, in one round trip.
//!
//! The guard takes it every 100 ms, so it asks only for what is cheap: variables, three status
//! counters, the replica's status, the process list. None of it needs performance_schema.

use model::{DatabaseReading, ReplicaReading, ReplicaThread, SemiSyncReading, ServerUuid, SettingsReading};

use crate::act::client::{SessionKind, classify};
use crate::act::schema;
use crate::deadline::Deadline;
use crate::dialect::{ChannelColumns, Numbering, SourceNames, Words};
use crate::position;
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

/// The plugins' counters. It answers also when neither is loaded.
const SEMI_SYNC_STATUS: &str = "SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'";

/// Takes everything that one look tells, in one round trip; in two before the first opening.
pub async fn read(session: &mut Session, deadline: Deadline) -> Result<DatabaseReading, ReadError> {
    let semi_sync_variables = semi_sync_columns(session);
    let Words { variables, replica_status, .. } = session.words();
    let sql = format!(
        "SELECT {variables}, {semi_sync_variables}; {SEMI_SYNC_STATUS}; SHOW PROCESSLIST; {replica_status}"
    );
    // The mark is looked for last: whoever has its number in the set above has its row by then.
    let with_opening = format!("{sql}; {}", schema::OPENING);
    let mut sets = match session.ask("read the server", &with_opening, deadline).await {
        Err(error) if error.code().is_some_and(|code| schema::NO_SCHEMA.contains(&code)) => {
            let mut sets = session.ask("read the server", &sql, deadline).await?;
            sets.push(Vec::new());
            sets
        }
        other => other?,
    };
    let opening = schema::opening(&sets.pop().unwrap_or_default())?;
    let [variables, status, processes, channels] = sets.as_slice() else {
        return Err(ReadError::Short { what: "four results" });
    };
    let row = variables.first().ok_or(ReadError::Short { what: "the system variables" })?;
    let semi_sync = SemiSync::of(session, row, status)?;
    let (mut client_sessions, mut connections) = (0, 0);
    for process in processes {
        let kind = classify(session, process)?.kind;
        client_sessions += u32::from(kind == SessionKind::Client);
        connections += u32::from(kind != SessionKind::System);
    }
    Ok(DatabaseReading {
        server_uuid: row.parse("server_uuid", "a server uuid")?,
        version: row.text("version")?,
        gtid_executed: session.gtid_set("gtid_executed", &row.text("gtid_executed")?)?,
        gtid_purged: session.gtid_set("gtid_purged", &row.text("gtid_purged")?)?,
        read_only: row.flag("read_only")?,
        super_read_only: row.flag("super_read_only")?,
        offline_mode: row.flag("offline_mode")?,
        client_sessions,
        connections,
        max_connections: row.parse("max_connections", "a number")?,
        semi_sync: semi_sync.reading(),
        replica: replica(session, channels)?,
        opening,
        settings: SettingsReading {
            sync_binlog: row.parse("sync_binlog", "a number")?,
            flush_log_at_commit: row.parse("flush_log_at_commit", "a number")?,
            sync_relay_log: row.parse("sync_relay_log", "a number")?,
            relay_log_recovery: row.flag("relay_log_recovery")?,
            semi_sync_timeout_ms: semi_sync.timeout_ms,
        },
        long_transactions: Vec::new(),
        kine: None,
        accounts: None,
    })
}

/// Semi-sync alone.
pub(crate) async fn look_semi_sync(session: &mut Session, deadline: Deadline) -> Result<SemiSync, ReadError> {
    let columns = semi_sync_columns(session);
    let sql = format!("SELECT {columns}, @@GLOBAL.sync_relay_log AS sync_relay_log; {SEMI_SYNC_STATUS}");
    let sets = session.ask("read semi-sync", &sql, deadline).await?;
    let [variables, status] = sets.as_slice() else {
        return Err(ReadError::Short { what: "two results" });
    };
    let row = variables.first().ok_or(ReadError::Short { what: "the semi-sync variables" })?;
    SemiSync::of(session, row, status)
}

/// Variables of the plugins that are loaded; those of others are errors to ask for.
fn semi_sync_columns(session: &Session) -> String {
    let (plugins, words) = (session.plugins(), session.words());
    let SourceNames { enabled, timeout, wait_no_replica, wait_point, .. } = words.source;
    let wait_count = words.source.wait_count.map_or("1".to_owned(), |name| format!("@@GLOBAL.{name}"));
    let source = format!(
        "@@GLOBAL.{enabled} AS source_enabled, @@GLOBAL.{timeout} AS source_timeout, \
         {wait_count} AS wait_count, @@GLOBAL.{wait_no_replica} AS wait_no_replica, \
         @@GLOBAL.{wait_point} AS wait_point"
    );
    let replica = format!("@@GLOBAL.{} AS replica_enabled", words.replica_enabled);
    match (plugins.source, plugins.replica) {
        (true, true) => format!("{source}, {replica}"),
        (true, false) => source,
        (false, true) => replica,
        (false, false) => "0 AS no_plugin".to_owned(),
    }
}

/// The first row of the last result set.
pub(crate) fn last_row<'a>(sets: &'a [Vec<Row>], what: &'static str) -> Result<&'a Row, ReadError> {
    sets.last().and_then(|set| set.first()).ok_or(ReadError::Short { what })
}

/// Which semi-sync plugins are loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Plugins {
    pub(crate) source: bool,
    pub(crate) replica: bool,
}

/// Everything the two semi-sync plugins tell. What a plugin that is not loaded would say is zero and
/// off.
#[derive(Debug, Default, Clone)]
pub(crate) struct SemiSync {
    pub(crate) source_enabled: bool,
    pub(crate) source_operating: bool,
    pub(crate) wait_count: u32,
    pub(crate) clients: u32,
    pub(crate) waiting_sessions: u32,
    pub(crate) acknowledged: Option<u64>,
    pub(crate) replica_enabled: bool,
    /// `Rpl_semi_sync_replica_status`: the running receiver attached with semi-sync.
    pub(crate) replica_attached: bool,
    /// `sync_relay_log=1`.
    pub(crate) relay_synced: bool,
    pub(crate) timeout_ms: u64,
    pub(crate) wait_no_replica: bool,
    pub(crate) wait_point: String,
}

impl SemiSync {
    fn of(session: &Session, variables: &Row, status: &[Row]) -> Result<Self, ReadError> {
        let (plugins, words) = (session.plugins(), session.words());
        let period: u64 = variables.parse("sync_relay_log", "a number")?;
        let mut all = Self { relay_synced: period == 1, ..Self::default() };
        if plugins.source {
            all.source_enabled = variables.flag("source_enabled")?;
            all.timeout_ms = variables.parse("source_timeout", "a number")?;
            all.wait_count = variables.parse("wait_count", "a number")?;
            all.wait_no_replica = variables.flag("wait_no_replica")?;
            all.wait_point = variables.text("wait_point")?;
        }
        if plugins.replica {
            all.replica_enabled = variables.flag("replica_enabled")?;
        }
        for row in status {
            all.take(words, &row.text("Variable_name")?.to_ascii_lowercase(), &row.text("Value")?)?;
        }
        Ok(all)
    }

    fn take(&mut self, words: &Words, name: &str, value: &str) -> Result<(), ReadError> {
        let source = &words.source;
        match name {
            _ if name == source.status => self.source_operating = flag(name, value)?,
            _ if name == source.clients => self.clients = parse(name, value, "a number")?,
            _ if name == source.wait_sessions => self.waiting_sessions = parse(name, value, "a number")?,
            _ if source.acknowledged == Some(name) => {
                self.acknowledged = Some(parse(name, value, "a number")?);
            }
            _ if name == words.replica_status_counter => self.replica_attached = flag(name, value)?,
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
            acknowledged: self.acknowledged,
        }
    }
}

/// The default channel; none when nothing was ever configured, or all was reset. Other channels are
/// not read: semi-sync works on the default one only (MySQL manual, "Replication Channels").
pub(crate) fn replica(session: &Session, rows: &[Row]) -> Result<Option<ReplicaReading>, ReadError> {
    for row in rows {
        if row.text(session.words().channel.name)?.is_empty() {
            let others = u32::try_from(rows.len() - 1).unwrap_or(u32::MAX);
            return Ok(channel(session, row)?.map(|read| ReplicaReading { other_channels: others, ..read }));
        }
    }
    Ok(None)
}

/// What makes a replica leave something out; some are one flavour's alone (manuals, SHOW REPLICA STATUS).
const FILTERS: [&str; 10] = [
    "Replicate_Do_DB",
    "Replicate_Ignore_DB",
    "Replicate_Do_Table",
    "Replicate_Ignore_Table",
    "Replicate_Wild_Do_Table",
    "Replicate_Wild_Ignore_Table",
    "Replicate_Ignore_Server_Ids",
    "Replicate_Rewrite_DB",
    "Replicate_Do_Domain_Ids",
    "Replicate_Ignore_Domain_Ids",
];

fn filters(row: &Row) -> Result<Vec<String>, ReadError> {
    let mut set = Vec::new();
    for column in FILTERS.into_iter().filter(|column| row.has(column)) {
        let value = row.maybe(column)?.unwrap_or_default();
        if !value.is_empty() {
            set.push(format!("{column}: {value}"));
        }
    }
    Ok(set)
}

fn channel(session: &Session, row: &Row) -> Result<Option<ReplicaReading>, ReadError> {
    let ChannelColumns { host, port, source, io, sql, received, lag, .. } = session.words().channel;
    let source_host = row.text(host)?;
    // After RESET REPLICA ALL a row may stay until the next start, with nothing in it.
    if source_host.is_empty() {
        return Ok(None);
    }
    let lag_seconds = row.maybe(lag)?;
    Ok(Some(ReplicaReading {
        source_host,
        source_port: row.parse(port, "a port")?,
        source_uuid: source_uuid(session, source, &row.text(source)?)?,
        io: thread(io, &row.text(io)?)?,
        sql: thread(sql, &row.text(sql)?)?,
        gtid_received: session.gtid_set(received, &row.text(received)?)?,
        io_errno: row.parse("Last_IO_Errno", "a number")?,
        io_error: row.text("Last_IO_Error")?,
        sql_errno: row.parse("Last_SQL_Errno", "a number")?,
        sql_error: row.text("Last_SQL_Error")?,
        lag_seconds: lag_seconds.map(|text| parse(lag, &text, "a number")).transpose()?,
        delay_s: row.parse("SQL_Delay", "a number of seconds")?,
        filters: filters(row)?,
        other_channels: 0,
    }))
}

/// None until the channel was connected.
fn source_uuid(session: &Session, column: &str, text: &str) -> Result<Option<ServerUuid>, ReadError> {
    match session.words().numbering {
        Numbering::Sets if text.is_empty() => Ok(None),
        Numbering::Sets => parse(column, text, "a server uuid").map(Some),
        Numbering::Positions => {
            Ok(position::beside(session.server_uuid(), parse(column, text, "a server id")?))
        }
    }
}

fn thread(column: &str, text: &str) -> Result<ReplicaThread, ReadError> {
    match text {
        "Yes" => Ok(ReplicaThread::Running),
        "Connecting" | "Preparing" => Ok(ReplicaThread::Connecting),
        "No" => Ok(ReplicaThread::Stopped),
        _ => Err(ReadError::Value {
            column: column.to_owned(),
            text: text.to_owned(),
            wanted: "Yes, No or Connecting",
        }),
    }
}
