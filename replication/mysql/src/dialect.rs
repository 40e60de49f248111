//! How one flavour and version of the server spells things: the one table of it.
//!
//! Acts and readings take their words from here and know no flavour by name; where the two differ in
//! more than a word, the table has a flag that says what the server does. MySQL before 8.0.26 and
//! MariaDB before 10.6 are refused by name, since a half-understood server is worse than none.

use std::fmt;

use model::Flavour;

/// A version as a numeric tuple, so that 8.0.9 comes before 8.0.26.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

/// First release with the source/replica words for semi-sync (release notes of 8.0.26).
const OLDEST: Version = Version(8, 0, 26);
/// First long-term release with all rights that replace SUPER, and `REPLICA MONITOR` (10.5.9).
const OLDEST_MARIADB: Version = Version(10, 6, 0);
/// First release where SHOW MASTER STATUS is gone (release notes of 8.4.0; the new form came with 8.2).
const BINARY_LOG_STATUS: Version = Version(8, 2, 0);

/// First release that was seen to cut a torn relay log at its start (docs/design/0008).
const CUTS_TORN_RELAY_LOGS: Version = Version(9, 0, 0);

/// Why a server's version cannot be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownVersion {
    /// No number at its head.
    #[error("server version {0:?} does not begin with three numbers")]
    Text(String),
    /// MySQL before the words this adapter uses.
    #[error("mysql {0} is older than {OLDEST}, the oldest this adapter speaks")]
    TooOld(Version),
    /// MariaDB before the rights this adapter uses.
    #[error("mariadb {0} is older than {OLDEST_MARIADB}, the oldest this adapter speaks")]
    MariadbTooOld(Version),
}

/// The spellings of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    flavour: Flavour,
    version: Version,
}

impl Dialect {
    /// From `@@version`, such as `9.7.4-log` or `10.11.19-MariaDB-1`.
    pub fn of(text: &str) -> Result<Self, UnknownVersion> {
        let version = parse(text).ok_or_else(|| UnknownVersion::Text(text.to_owned()))?;
        let flavour = Flavour::of_version(text);
        match flavour {
            Flavour::Mysql if version < OLDEST => Err(UnknownVersion::TooOld(version)),
            Flavour::Mariadb if version < OLDEST_MARIADB => Err(UnknownVersion::MariadbTooOld(version)),
            _ => Ok(Self { flavour, version }),
        }
    }

    /// Whose server it is.
    #[must_use]
    pub fn flavour(self) -> Flavour {
        self.flavour
    }

    /// Its version.
    #[must_use]
    pub fn version(self) -> Version {
        self.version
    }

    /// Statement that shows the binary log's position.
    #[must_use]
    pub fn binary_log_status(self) -> &'static str {
        let new = self.flavour == Flavour::Mysql && self.version >= BINARY_LOG_STATUS;
        if new { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
    }

    /// It cuts a torn relay log at the last whole transaction when it starts, or drops all of it.
    #[must_use]
    pub fn cuts_torn_relay_logs(self) -> bool {
        self.words().drops_relay_log || self.version >= CUTS_TORN_RELAY_LOGS
    }

    /// Statement that forgets binary logs and GTIDs.
    #[must_use]
    pub fn reset_binary_logs(self) -> &'static str {
        let new = self.flavour == Flavour::Mysql && self.version >= BINARY_LOG_STATUS;
        if new { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" }
    }

    /// The flavour's column of the table.
    pub(crate) fn words(self) -> &'static Words {
        match self.flavour {
            Flavour::Mysql => &MYSQL,
            Flavour::Mariadb => &MARIADB,
        }
    }
}

/// How a server numbers transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// Sets of `uuid:first-last`.
    Sets,
    /// Positions `domain-server-number` (crate::position).
    Positions,
}

/// What one flavour says where the other says it otherwise. Aliases in the SELECT lists are the same.
#[derive(Debug)]
pub(crate) struct Words {
    /// Asked once the version is known: uuid, id, role, plugins, strict.
    pub(crate) hello: &'static str,
    /// Variables that are always there, for a reading.
    pub(crate) variables: &'static str,
    /// Those of them that a look at the channel takes.
    pub(crate) position: &'static str,
    /// How transactions are numbered.
    pub(crate) numbering: Numbering,
    /// Shows all replication channels.
    pub(crate) replica_status: &'static str,
    /// Its columns.
    pub(crate) channel: ChannelColumns,
    pub(crate) stop_replica: &'static str,
    pub(crate) stop_receiver: &'static str,
    pub(crate) start_replica: &'static str,
    pub(crate) start_applier: &'static str,
    pub(crate) start_receiver: &'static str,
    pub(crate) reset_channel: &'static str,
    /// Takes writes from everybody; with its return it is so.
    pub(crate) shut: &'static str,
    /// The semi-sync source's variables and counters.
    pub(crate) source: SourceNames,
    pub(crate) replica_enabled: &'static str,
    pub(crate) replica_status_counter: &'static str,
    /// Set before a replica acknowledges; empty where nothing is to be set.
    pub(crate) before_acknowledging: &'static str,
    /// True where the server takes this account's writes, or should be taken for one that does.
    pub(crate) writable: &'static str,
    /// The account may write though the server is read only: then a write of ours asks itself.
    pub(crate) bypasses_read_only: bool,
    /// When both threads are stopped, the start of either drops the relay log (measured).
    pub(crate) drops_relay_log: bool,
    /// An applier that is told to stop within a transaction waits a minute for the rest of it (measured).
    pub(crate) waits_for_the_rest: bool,
    /// Killing a session that waits for an ack tells it OK (measured).
    pub(crate) kill_releases_waiters: bool,
    /// CLONE.
    pub(crate) clones: bool,
}

/// Columns of a channel's status that differ in name.
#[derive(Debug)]
pub(crate) struct ChannelColumns {
    pub(crate) name: &'static str,
    pub(crate) host: &'static str,
    pub(crate) port: &'static str,
    /// A uuid, or a server id where transactions are numbered by position.
    pub(crate) source: &'static str,
    pub(crate) io: &'static str,
    pub(crate) sql: &'static str,
    pub(crate) received: &'static str,
    pub(crate) lag: &'static str,
}

/// Names of the semi-sync source.
#[derive(Debug)]
pub(crate) struct SourceNames {
    pub(crate) enabled: &'static str,
    pub(crate) timeout: &'static str,
    pub(crate) wait_no_replica: &'static str,
    pub(crate) wait_point: &'static str,
    /// None where one ack is what is waited for, always.
    pub(crate) wait_count: Option<&'static str>,
    /// Status counters, in lower case.
    pub(crate) status: &'static str,
    pub(crate) clients: &'static str,
    pub(crate) wait_sessions: &'static str,
    /// Counts acknowledged commits; read only where executed transactions do not tell.
    pub(crate) acknowledged: Option<&'static str>,
}

/// Variables are read one by one with `@@`: while an account change waits for its ack, SHOW GLOBAL
/// VARIABLES and performance_schema.global_variables hang for everybody.
const MYSQL: Words = Words {
    // SET ROLE needs no default role, and does nothing for an account that has none.
    hello: "SET ROLE ALL; SELECT @@server_uuid AS uuid, CONNECTION_ID() AS id, CURRENT_ROLE() AS role, \
        (SELECT GROUP_CONCAT(PLUGIN_NAME) FROM information_schema.PLUGINS \
         WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_NAME LIKE 'rpl_semi_sync%') AS plugins, 1 AS strict",
    variables: "@@server_uuid AS server_uuid, @@version AS version, \
        @@GLOBAL.gtid_executed AS gtid_executed, @@GLOBAL.gtid_purged AS gtid_purged, \
        @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only, \
        @@GLOBAL.offline_mode AS offline_mode, @@GLOBAL.sync_binlog AS sync_binlog, \
        @@GLOBAL.innodb_flush_log_at_trx_commit AS flush_log_at_commit, \
        @@GLOBAL.sync_relay_log AS sync_relay_log, @@GLOBAL.relay_log_recovery AS relay_log_recovery, \
        @@GLOBAL.max_connections AS max_connections",
    position: "@@GLOBAL.gtid_executed AS gtid_executed, @@GLOBAL.super_read_only AS super_read_only",
    numbering: Numbering::Sets,
    replica_status: "SHOW REPLICA STATUS",
    channel: ChannelColumns {
        name: "Channel_Name",
        host: "Source_Host",
        port: "Source_Port",
        source: "Source_UUID",
        io: "Replica_IO_Running",
        sql: "Replica_SQL_Running",
        received: "Retrieved_Gtid_Set",
        lag: "Seconds_Behind_Source",
    },
    stop_replica: "STOP REPLICA",
    stop_receiver: "STOP REPLICA IO_THREAD",
    start_replica: "START REPLICA",
    start_applier: "START REPLICA SQL_THREAD",
    start_receiver: "START REPLICA IO_THREAD",
    reset_channel: "RESET REPLICA ALL",
    shut: "SET GLOBAL super_read_only = ON",
    source: SourceNames {
        enabled: "rpl_semi_sync_source_enabled",
        timeout: "rpl_semi_sync_source_timeout",
        wait_no_replica: "rpl_semi_sync_source_wait_no_replica",
        wait_point: "rpl_semi_sync_source_wait_point",
        wait_count: Some("rpl_semi_sync_source_wait_for_replica_count"),
        status: "rpl_semi_sync_source_status",
        clients: "rpl_semi_sync_source_clients",
        wait_sessions: "rpl_semi_sync_source_wait_sessions",
        acknowledged: None,
    },
    replica_enabled: "rpl_semi_sync_replica_enabled",
    replica_status_counter: "rpl_semi_sync_replica_status",
    before_acknowledging: "",
    writable: "@@GLOBAL.super_read_only = 0",
    bypasses_read_only: false,
    drops_relay_log: false,
    waits_for_the_rest: true,
    kill_releases_waiters: false,
    clones: true,
};

/// Measured on 10.11.18 (docs/design/0011). A role is active from the login on by
/// `SET DEFAULT ROLE`; semi-sync is built in.
const MARIADB: Words = Words {
    hello: "SELECT LOWER(CONCAT(LPAD(HEX(@@GLOBAL.gtid_domain_id), 8, '0'), '-6d61-80db-8000-0000', \
            LPAD(HEX(@@GLOBAL.server_id), 8, '0'))) AS uuid, CONNECTION_ID() AS id, \
        COALESCE(CURRENT_ROLE(), 'NONE') AS role, 'rpl_semi_sync_source,rpl_semi_sync_replica' AS plugins, \
        @@GLOBAL.gtid_strict_mode = 1 AND @@GLOBAL.log_bin = 1 AND @@GLOBAL.log_slave_updates = 1 AS strict",
    variables: "LOWER(CONCAT(LPAD(HEX(@@GLOBAL.gtid_domain_id), 8, '0'), '-6d61-80db-8000-0000', \
            LPAD(HEX(@@GLOBAL.server_id), 8, '0'))) AS server_uuid, @@version AS version, \
        CONCAT_WS(',', NULLIF(@@GLOBAL.gtid_binlog_state, ''), NULLIF(@@GLOBAL.gtid_slave_pos, '')) \
            AS gtid_executed, '' AS gtid_purged, \
        @@GLOBAL.read_only AS read_only, @@GLOBAL.read_only AS super_read_only, \
        0 AS offline_mode, @@GLOBAL.sync_binlog AS sync_binlog, \
        @@GLOBAL.innodb_flush_log_at_trx_commit AS flush_log_at_commit, \
        @@GLOBAL.sync_relay_log AS sync_relay_log, @@GLOBAL.relay_log_recovery AS relay_log_recovery, \
        @@GLOBAL.max_connections AS max_connections",
    position: "CONCAT_WS(',', NULLIF(@@GLOBAL.gtid_binlog_state, ''), NULLIF(@@GLOBAL.gtid_slave_pos, '')) \
            AS gtid_executed, @@GLOBAL.read_only AS super_read_only",
    numbering: Numbering::Positions,
    replica_status: "SHOW ALL SLAVES STATUS",
    channel: ChannelColumns {
        name: "Connection_name",
        host: "Master_Host",
        port: "Master_Port",
        source: "Master_Server_Id",
        io: "Slave_IO_Running",
        sql: "Slave_SQL_Running",
        received: "Gtid_IO_Pos",
        lag: "Seconds_Behind_Master",
    },
    stop_replica: "STOP SLAVE",
    stop_receiver: "STOP SLAVE IO_THREAD",
    start_replica: "START SLAVE",
    start_applier: "START SLAVE SQL_THREAD",
    start_receiver: "START SLAVE IO_THREAD",
    reset_channel: "RESET SLAVE ALL",
    shut: "SET GLOBAL read_only = ON",
    source: SourceNames {
        enabled: "rpl_semi_sync_master_enabled",
        timeout: "rpl_semi_sync_master_timeout",
        wait_no_replica: "rpl_semi_sync_master_wait_no_slave",
        wait_point: "rpl_semi_sync_master_wait_point",
        wait_count: None,
        status: "rpl_semi_sync_master_status",
        clients: "rpl_semi_sync_master_clients",
        wait_sessions: "rpl_semi_sync_master_wait_sessions",
        acknowledged: Some("rpl_semi_sync_master_yes_tx"),
    },
    replica_enabled: "rpl_semi_sync_slave_enabled",
    replica_status_counter: "rpl_semi_sync_slave_status",
    // A receiver that stops logs in at its source to end its own dump thread there, and with a source
    // that is gone it waits for that login so many seconds; 0 would be for ever (measured).
    before_acknowledging: "SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout = 1",
    writable: "@@GLOBAL.read_only = 0",
    bypasses_read_only: true,
    drops_relay_log: true,
    waits_for_the_rest: false,
    kill_releases_waiters: true,
    clones: false,
};

fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.splitn(3, '.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        digits.parse::<u32>().ok()
    });
    Some(Version(numbers.next()??, numbers.next()??, numbers.next()??))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers_and_not_as_text() {
        assert!(parse("8.0.9").unwrap() < parse("8.0.26-0ubuntu1").unwrap());
        assert_eq!(parse("9.7.4-log"), Some(Version(9, 7, 4)));
        assert_eq!(parse("nine"), None);
        assert_eq!(parse("8.0"), None);
    }

    #[test]
    fn each_version_is_spoken_to_in_its_own_words_or_refused() {
        assert_eq!(Dialect::of("8.0.36").unwrap().binary_log_status(), "SHOW MASTER STATUS");
        assert_eq!(Dialect::of("8.4.0").unwrap().binary_log_status(), "SHOW BINARY LOG STATUS");
        assert_eq!(Dialect::of("9.7.4-2").unwrap().reset_binary_logs(), "RESET BINARY LOGS AND GTIDS");
        assert_eq!(Dialect::of("8.0.25"), Err(UnknownVersion::TooOld(Version(8, 0, 25))));
        let mariadb = Dialect::of("10.11.19-MariaDB-0+deb12u1-log").unwrap();
        assert_eq!((mariadb.flavour(), mariadb.version()), (Flavour::Mariadb, Version(10, 11, 19)));
        assert_eq!(mariadb.binary_log_status(), "SHOW MASTER STATUS");
        assert_eq!(mariadb.reset_binary_logs(), "RESET MASTER");
        let old = UnknownVersion::MariadbTooOld(Version(10, 3, 39));
        assert_eq!(Dialect::of("10.3.39-MariaDB"), Err(old));
    }

    /// Goal: no statement of one flavour's column holds the other's word, which that server would refuse.
    #[test]
    fn the_columns_of_the_table_do_not_mix() {
        let text = format!("{MYSQL:?}").to_lowercase();
        assert!(["master", "slave"].iter().all(|word| !text.contains(word)), "{text}");
        let text = format!("{MARIADB:?}").to_lowercase();
        for word in ["super_read_only =", "@@global.super_read_only", "@@server_uuid", "reset replica"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
