//! Rights that a client's account may not hold: one table, with the reason for each.

use model::Flavour;

/// A right by which whoever holds it may undo what twofold proves of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivilegedRight {
    /// As it is granted, and as it is told.
    pub name: &'static str,
    /// Which flavour knows it; none for both.
    pub flavour: Option<Flavour>,
    /// What it would undo.
    pub why: &'static str,
    /// Where the server keeps it.
    pub(super) at: At,
}

/// Where a server keeps a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// MySQL's column of `mysql.user`, and MariaDB's bit of `access` (MariaDB, `sql/privilege.h`).
    Column(&'static str, u32),
    /// MySQL's `mysql.global_grants`, under its name.
    Dynamic,
    /// MariaDB's bit alone.
    Bit(u32),
    /// To write ([`WRITES`]) there.
    Writes(On),
}

/// Where it is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum On {
    Everything,
    Mysql,
    Twofold,
}

/// What changes a table or what is done with it: the column of `mysql.user` and `mysql.db`, the word in
/// `mysql.tables_priv`, the bit.
pub(super) const WRITES: [(&str, &str, u32); 7] = [
    ("Insert_priv", "Insert", 1),
    ("Update_priv", "Update", 2),
    ("Delete_priv", "Delete", 3),
    ("Create_priv", "Create", 4),
    ("Drop_priv", "Drop", 5),
    ("Alter_priv", "Alter", 13),
    ("Trigger_priv", "Trigger", 27),
];

const fn both(name: &'static str, why: &'static str, at: At) -> PrivilegedRight {
    PrivilegedRight { name, flavour: None, why, at }
}

const fn mysql(name: &'static str, why: &'static str) -> PrivilegedRight {
    PrivilegedRight { name, flavour: Some(Flavour::Mysql), why, at: At::Dynamic }
}

const fn mariadb(name: &'static str, bit: u32, why: &'static str) -> PrivilegedRight {
    PrivilegedRight { name, flavour: Some(Flavour::Mariadb), why, at: At::Bit(bit) }
}

/// A replication account on MySQL holds it too, so that its receivers live on under `offline_mode`.
pub(super) const CONNECTION_ADMIN: &str = "CONNECTION_ADMIN";

/// Every one, in the order in which they are told (MySQL manual, "Privileges Provided by MySQL"; MariaDB's, "GRANT").
///
/// Not among them, on purpose: SYSTEM_USER, which only shields its holder; SESSION_VARIABLES_ADMIN, REPLICATION_APPLIER
/// and BINLOG REPLAY, which change one's own session; BACKUP_ADMIN and the right to read anything; and rights in
/// schemas that are the clients' own.
pub const PRIVILEGED_RIGHTS: &[PrivilegedRight] = &[
    both("SUPER", "writes on a read-only server, and nearly all that follows", At::Column("Super_priv", 15)),
    both(
        "SHUTDOWN",
        "an orderly stop tells waiting commits OK without their acks",
        At::Column("Shutdown_priv", 7),
    ),
    both("RELOAD", "RESET throws binary logs and transaction numbers away", At::Column("Reload_priv", 6)),
    both(
        "CREATE USER",
        "changes any account's password, and takes what that account holds",
        At::Column("Create_user_priv", 25),
    ),
    both(
        "GRANT OPTION",
        "hands what it holds to accounts that nobody excepted",
        At::Column("Grant_priv", 10),
    ),
    mysql("SYSTEM_VARIABLES_ADMIN", "sets read_only, offline_mode, semi-sync and the durability settings"),
    mysql("PERSIST_RO_VARIABLES_ADMIN", "writes such settings down for the next start"),
    mysql(CONNECTION_ADMIN, "writes on a read-only server, and kills sessions, the guard's among them"),
    mysql("REPLICATION_SLAVE_ADMIN", "points a replica elsewhere, stops an acker's receiver"),
    mysql("GROUP_REPLICATION_ADMIN", "starts another replication, which sets read_only by itself"),
    mysql("BINLOG_ADMIN", "purges binary logs that a replica lacks"),
    mysql("CLONE_ADMIN", "overwrites the whole server with another"),
    mysql("INNODB_REDO_LOG_ENABLE", "switches off the log that brings commits back after a crash"),
    mysql("ROLE_ADMIN", "takes the guard's role"),
    mysql("SET_USER_ID", "runs what it likes as another account"),
    mysql("SET_ANY_DEFINER", "runs what it likes as another account"),
    mariadb("READ_ONLY ADMIN", 33, "writes on a read-only server, and sets read_only"),
    mariadb("CONNECTION ADMIN", 32, "kills sessions: a commit that waits for its ack is told OK then"),
    mariadb("BINLOG ADMIN", 36, "purges binary logs, and sets sync_binlog"),
    mariadb("REPLICATION MASTER ADMIN", 35, "switches semi-sync off"),
    mariadb("REPLICATION SLAVE ADMIN", 34, "points a replica elsewhere, stops an acker's receiver"),
    mariadb("SET USER", 30, "runs what it likes as another account"),
    both("writes on *.*", "writes itself any right, and forges twofold's marks", At::Writes(On::Everything)),
    both("writes on mysql", "writes itself any right", At::Writes(On::Mysql)),
    both("writes on twofold", "forges the marks and sentinels that prove histories", At::Writes(On::Twofold)),
];
