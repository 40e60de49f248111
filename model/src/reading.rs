//! Readings of a database server: measured values, never judgements.

use serde::{Deserialize, Serialize};

use crate::{AccountsReading, Epoch, GtidSet, ProcessStart, ServerUuid};

/// Whose server it is: their statements and their guarantees differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// MySQL 8.0.26 and later.
    Mysql,
    /// MariaDB 10.6 and later.
    Mariadb,
}

impl Flavour {
    /// Of a server's `@@version`, such as `9.7.4-2` or `10.11.18-MariaDB-0+deb12u1-log`.
    #[must_use]
    pub fn of_version(version: &str) -> Self {
        let ours = version.to_ascii_lowercase().contains("mariadb");
        if ours { Self::Mariadb } else { Self::Mysql }
    }
}

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        })
    }
}

/// Everything that one look at a database server tells. Fields have MySQL's names; what MariaDB has in
/// their place is in docs/design/0011.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatabaseReading {
    /// `@@server_uuid`; on MariaDB, which has none, a name made of its domain and server id.
    pub server_uuid: ServerUuid,
    /// `@@version` as text, such as `9.7.0`.
    pub version: String,
    /// `@@gtid_executed`: committed here. On a primary it lacks what waits for a semi-sync ack; on
    /// MariaDB it is all that is in the binary log, and holds what waits.
    pub gtid_executed: GtidSet,
    /// `@@gtid_purged`: committed here, but no longer in a binary log. Always empty on MariaDB, which
    /// tells it only at the price of a search in a file.
    pub gtid_purged: GtidSet,
    /// `@@read_only`.
    pub read_only: bool,
    /// `@@super_read_only`. It reads 1 already while a `SET` of it still waits: believe the return.
    pub super_read_only: bool,
    /// `@@offline_mode`.
    pub offline_mode: bool,
    /// Sessions of clients: neither the agent's, nor replication, nor the server's own.
    pub client_sessions: u32,
    /// Connections that are taken, whoever has them; not the server's own threads.
    #[serde(default)]
    pub connections: u32,
    /// `@@max_connections`; 0 when the guard does not tell it yet.
    #[serde(default)]
    pub max_connections: u32,
    /// The source side of semi-sync.
    pub semi_sync: SemiSyncReading,
    /// The replication channel, when one is configured.
    pub replica: Option<ReplicaReading>,
    /// The newest opening mark that is committed here; none before the first.
    #[serde(default)]
    pub opening: Option<OpeningMark>,
    /// Settings that durability rests on.
    pub settings: SettingsReading,
    /// Transactions of clients that have been open for long, the longest first; a few of them. Looked
    /// for less often than the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub long_transactions: Vec<LongTransaction>,
    /// K3s's table, where the configuration names its schema and it is there. Looked at less often too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kine: Option<KineReading>,
    /// Accounts that may undo what is proven here; none when the guard does not tell of them yet. Looked at even less
    /// often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<AccountsReading>,
}

/// Revisions that an unplanned move leaves out, beyond every one that was heard of: at a thousand changes a
/// second, a quarter of an hour of them.
pub const KINE_GAP: u64 = 1_000_000;

/// How far K3s's table `kine` got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KineReading {
    /// `max(id)`: the newest revision of every object in the cluster; 0 while there is none.
    pub revision: u64,
    /// Its column is a BIGINT. Early versions of K3s made it an INTEGER, which ends at 2^31 (k3s #6176).
    pub wide: bool,
}

/// A client's transaction that has been open for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LongTransaction {
    /// Its connection number, for `KILL`.
    pub session: u64,
    /// Whose it is: `user@host`.
    pub account: String,
    /// Open for so long.
    pub seconds: u64,
    /// What it runs now, shortened; empty when it is idle.
    pub statement: String,
}

impl std::fmt::Display for LongTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { session, account, seconds, statement } = self;
        let does = if statement.is_empty() { "idle" } else { statement.as_str() };
        write!(f, "session {session} of {account}, open for {seconds} s: {does}")
    }
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
    /// `Rpl_semi_sync_master_yes_tx`: commits that were acknowledged. None on MySQL, where
    /// `gtid_executed` stands still while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
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
    /// `Last_IO_Errno`; 0 when there is none, or when the guard does not tell it yet.
    #[serde(default)]
    pub io_errno: u32,
    /// `Last_IO_Error`, empty when there is none.
    pub io_error: String,
    /// `Last_SQL_Errno`; as above. `io_errno` and this name the error whatever its text.
    #[serde(default)]
    pub sql_errno: u32,
    /// `Last_SQL_Error`, empty when there is none.
    pub sql_error: String,
    /// `Seconds_Behind_Source`; none when it is unknown.
    pub lag_seconds: Option<u64>,
    /// `SQL_Delay`: its applier is behind by so many seconds on purpose.
    #[serde(default)]
    pub delay_s: u64,
    /// What it leaves out or renames, as `COLUMN: VALUE` of the replica's status; empty when nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// How many other channels are configured.
    #[serde(default)]
    pub other_channels: u32,
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

/// `rpl_semi_sync_source_timeout` of a source that is armed, milliseconds: the greatest that the server takes, 49.7 days. After
/// it commits go on without an ack, silently.
pub const ACK_TIMEOUT_MS: u64 = 4_294_967_295;

impl SettingsReading {
    /// A commit waits for its ack for as long as it takes.
    #[must_use]
    pub fn waits_for_acks(&self) -> bool {
        self.semi_sync_timeout_ms >= ACK_TIMEOUT_MS
    }
}

impl DatabaseReading {
    /// Whose server it is.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        Flavour::of_version(&self.version)
    }

    /// A torn relay log costs nothing at the next start: MySQL 9 cuts it at the last whole transaction,
    /// MariaDB drops it all and asks again (docs/design/0008, 0011).
    #[must_use]
    pub fn cuts_torn_relay_logs(&self) -> bool {
        let major = self.version.split('.').next().and_then(|text| text.parse::<u32>().ok());
        major.is_some_and(|number| number >= 9)
    }

    /// After a restart it forgets what it had received and not applied: the start of its replication drops the
    /// relay log and asks its source again from what is applied (docs/design/0011). MySQL keeps it.
    #[must_use]
    pub fn restart_drops_relay_log(&self) -> bool {
        self.flavour() == Flavour::Mariadb
    }

    /// A commit that waits for its ack is told OK when its session is killed, though no replica has
    /// it: MariaDB (measured, docs/design/0011). Such a server is fenced by SIGKILL and by nothing
    /// gentler, and of what it has beyond the primary nobody knows who was told.
    #[must_use]
    pub fn kill_releases_waiters(&self) -> bool {
        self.flavour() == Flavour::Mariadb
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

impl SemiSyncReading {
    /// Commits got through between `before` and this look, told by acknowledgements; none where the
    /// server's `gtid_executed` tells it.
    #[must_use]
    pub fn acknowledged_since(&self, before: &SemiSyncReading) -> Option<bool> {
        Some(self.acknowledged? != before.acknowledged?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flavour_is_in_the_version() {
        for (version, flavour) in [
            ("9.7.4-2", Flavour::Mysql),
            ("8.0.36", Flavour::Mysql),
            ("10.11.18-MariaDB-0+deb12u1-log", Flavour::Mariadb),
            ("5.5.5-10.6.21-mariadb", Flavour::Mariadb),
        ] {
            assert_eq!(Flavour::of_version(version), flavour, "{version}");
        }
    }
}
