//! Readings of a database server: measured values, never judgements.

use serde::{Deserialize, Serialize};

use crate::{Epoch, GtidSet, ProcessStart, ServerUuid};

/// Everything that one look at a MySQL server tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatabaseReading {
    /// `@@server_uuid`.
    pub server_uuid: ServerUuid,
    /// `@@version` as text, such as `9.7.0`.
    pub version: String,
    /// `@@gtid_executed`: committed here. On a primary it lacks what waits for a semi-sync ack.
    pub gtid_executed: GtidSet,
    /// `@@gtid_purged`: committed here, but no longer in a binary log.
    pub gtid_purged: GtidSet,
    /// `@@read_only`.
    pub read_only: bool,
    /// `@@super_read_only`. It reads 1 already while a `SET` of it still waits: believe the return.
    pub super_read_only: bool,
    /// `@@offline_mode`.
    pub offline_mode: bool,
    /// Sessions of clients: neither the agent's, nor replication, nor the server's own.
    pub client_sessions: u32,
    /// The source side of semi-sync.
    pub semi_sync: SemiSyncReading,
    /// The replication channel, when one is configured.
    pub replica: Option<ReplicaReading>,
    /// The newest opening mark that is committed here; none before the first.
    #[serde(default)]
    pub opening: Option<OpeningMark>,
    /// Settings that durability rests on.
    pub settings: SettingsReading,
}

/// The newest of the rows that a primary commits, one after each time it becomes writable and before its gate
/// opens. Such a row takes the first transaction number of its opening, so whoever has that number and
/// lacks the row has another transaction under it (docs/design/0007).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpeningMark {
    /// The epoch it opened at.
    pub epoch: Epoch,
    /// The life of the database that was opened.
    pub life: ProcessStart,
    /// Random, so that no two openings are the same row.
    pub nonce: u64,
    /// How many marks there are with it.
    pub count: u64,
    /// All their nonces, one exclusive-or the other: whoever lacks an earlier one differs here.
    pub all: u64,
}

/// The semi-sync source plugin's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SemiSyncReading {
    /// `rpl_semi_sync_source_enabled`: commits wait for acks.
    pub source_enabled: bool,
    /// `Rpl_semi_sync_source_status`: it is operating (it turns itself off only by timeout).
    pub source_operating: bool,
    /// `rpl_semi_sync_source_wait_for_replica_count`.
    pub wait_count: u32,
    /// `Rpl_semi_sync_source_clients`: replicas that attached with semi-sync on.
    pub clients: u32,
    /// `Rpl_semi_sync_source_wait_sessions`: more than zero when somebody waits for an ack.
    pub waiting_sessions: u32,
    /// `rpl_semi_sync_replica_enabled`: as a replica it acknowledges.
    pub replica_enabled: bool,
}

/// State of one replication thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaThread {
    /// It runs (for the IO thread: it is connected).
    Running,
    /// It tries to connect.
    Connecting,
    /// It is stopped.
    Stopped,
}

/// The default replication channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicaReading {
    /// Host of the configured source.
    pub source_host: String,
    /// Port of the configured source.
    pub source_port: u16,
    /// `Source_UUID`; none until the first connection.
    pub source_uuid: Option<ServerUuid>,
    /// The receiver.
    pub io: ReplicaThread,
    /// The applier (coordinator).
    pub sql: ReplicaThread,
    /// `Retrieved_Gtid_Set`: received through the relay log. Received is not applied.
    pub gtid_received: GtidSet,
    /// `Last_IO_Error`, empty when there is none.
    pub io_error: String,
    /// `Last_SQL_Error`, empty when there is none.
    pub sql_error: String,
    /// `Seconds_Behind_Source`; none when it is unknown.
    pub lag_seconds: Option<u64>,
}

/// Settings that "no acknowledged write lost" rests on (DESIGN §4, Durability).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SettingsReading {
    /// `sync_binlog`; must be 1.
    pub sync_binlog: u64,
    /// `innodb_flush_log_at_trx_commit`; must be 1.
    pub flush_log_at_commit: u64,
    /// `sync_relay_log`; must be 1 on an acker.
    pub sync_relay_log: u64,
    /// `relay_log_recovery`; must be off on an acker: it throws acknowledged events away.
    pub relay_log_recovery: bool,
    /// `rpl_semi_sync_source_timeout` in milliseconds; must be huge: after it, acks are skipped silently.
    pub semi_sync_timeout_ms: u64,
}

impl DatabaseReading {
    /// A torn relay log is cut at the last whole transaction when it starts: MySQL 9 (docs/design/0008).
    #[must_use]
    pub fn cuts_torn_relay_logs(&self) -> bool {
        let major = self.version.split('.').next().and_then(|text| text.parse::<u32>().ok());
        major.is_some_and(|number| number >= 9)
    }

    /// Everything this server has: applied or waiting in its relay log. The union is used because
    /// `Retrieved_Gtid_Set` is emptied by a repoint while what was applied stays executed.
    #[must_use]
    pub fn gtid_held(&self) -> GtidSet {
        match &self.replica {
            Some(replica) => self.gtid_executed.union(&replica.gtid_received),
            None => self.gtid_executed.clone(),
        }
    }
}
