//! The least rights each act needs, so that an account can be made and checked by list.

/// One act and the rights its account needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActGrants {
    /// The function's name.
    pub act: &'static str,
    /// Privileges `ON *.*` unless a schema or a table is named after `ON`.
    pub grants: &'static [&'static str],
}

const STOPS: &[&str] = &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT", "PROCESS", "CONNECTION_ADMIN"];
const STOPS_AND_RESETS: &[&str] =
    &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT", "PROCESS", "CONNECTION_ADMIN", "RELOAD"];

/// Each act with its rights (MySQL manual, "Privileges Provided by MySQL").
pub const ACTS: &[ActGrants] = &[
    ActGrants { act: "read", grants: &["PROCESS", "REPLICATION CLIENT", "SELECT ON twofold"] },
    ActGrants { act: "client_sessions", grants: &["PROCESS"] },
    ActGrants { act: "long_transactions", grants: &["PROCESS"] },
    // SYSTEM_USER ends the sessions of those who have it too, such as a forgotten root's.
    ActGrants { act: "kill_client_sessions", grants: &["PROCESS", "CONNECTION_ADMIN", "SYSTEM_USER"] },
    // super_read_only also wants CONNECTION_ADMIN, or one's own transactions would be refused first.
    ActGrants { act: "set_super_read_only", grants: &["SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN"] },
    ActGrants {
        act: "drain_writes",
        grants: &["SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN", "REPLICATION CLIENT"],
    },
    ActGrants { act: "set_offline_mode", grants: &["SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN"] },
    ActGrants { act: "stop_io_thread", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    // An applier that waits for the rest of a transaction is killed before it is told to stop.
    ActGrants { act: "stop_replica", grants: STOPS },
    ActGrants { act: "start_replica", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "start_applier", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "start_receiver", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "wait_applied", grants: &["REPLICATION CLIENT"] },
    ActGrants { act: "wait_drained", grants: &["REPLICATION CLIENT"] },
    ActGrants { act: "promote", grants: STOPS_AND_RESETS },
    ActGrants { act: "leave_source", grants: STOPS_AND_RESETS },
    ActGrants { act: "point_at_source", grants: STOPS_AND_RESETS },
    ActGrants { act: "change_password", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "arm_source_semi_sync", grants: &["SYSTEM_VARIABLES_ADMIN"] },
    ActGrants { act: "disarm_source_semi_sync", grants: &["SYSTEM_VARIABLES_ADMIN"] },
    ActGrants {
        act: "replica_semi_sync",
        grants: &["SYSTEM_VARIABLES_ADMIN", "REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"],
    },
    ActGrants {
        act: "ensure_schema",
        grants: &["SELECT ON twofold", "CREATE ON twofold", "DELETE ON twofold"],
    },
    ActGrants { act: "write_opening", grants: &["CREATE ON twofold", "INSERT ON twofold"] },
    ActGrants { act: "write_sentinel", grants: &["INSERT ON twofold"] },
    ActGrants { act: "read_sentinels", grants: &["SELECT ON twofold"] },
    ActGrants {
        act: "clone_from",
        grants: &[
            "CLONE_ADMIN",
            "SYSTEM_VARIABLES_ADMIN",
            "CONNECTION_ADMIN",
            "REPLICATION_SLAVE_ADMIN",
            "REPLICATION CLIENT",
            "PROCESS",
        ],
    },
    // Without it a clone is shown without its share.
    ActGrants { act: "clone_progress", grants: &[CLONE_PROGRESS] },
    ActGrants { act: "accounts", grants: &ACCOUNTS },
];

const CLONE_PROGRESS: &str = "SELECT ON performance_schema.clone_progress";

/// To look at the accounts: of `mysql.user` the columns that hold rights, and no password's hash.
const ACCOUNTS: [&str; 5] = [
    "SELECT (Host, User, account_locked, Super_priv, Shutdown_priv, Reload_priv, Create_user_priv, Grant_priv, \
     Insert_priv, Update_priv, Delete_priv, Create_priv, Drop_priv, Alter_priv, Trigger_priv) ON mysql.user",
    "SELECT ON mysql.role_edges",
    "SELECT ON mysql.global_grants",
    "SELECT ON mysql.db",
    "SELECT ON mysql.tables_priv",
];

/// The same on MariaDB, which keeps rights and hashes in one column.
const MARIADB_ACCOUNTS: [&str; 4] = [
    "SELECT ON mysql.global_priv",
    "SELECT ON mysql.roles_mapping",
    "SELECT ON mysql.db",
    "SELECT ON mysql.tables_priv",
];

/// Rights of the admin account on MariaDB, everywhere: PROCESS and REPLICA MONITOR to read, READ_ONLY ADMIN
/// to shut and open, the replication rights for the channel and for either side of semi-sync; PROCESS, RELOAD and
/// BINLOG MONITOR are also what mariadb-backup needs to copy the server for another one. A role is
/// active from the login on, one at a time. SUPER and CONNECTION ADMIN are not among them: no session
/// is ever killed there.
pub const MARIADB_GRANTS: [&str; 7] = [
    "PROCESS",
    "RELOAD",
    "BINLOG MONITOR",
    "REPLICA MONITOR",
    "READ_ONLY ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION MASTER ADMIN",
];

/// Everything the admin account needs on MySQL, each once, sorted.
#[must_use]
pub fn grants() -> Vec<&'static str> {
    let mut all: Vec<_> = ACTS.iter().flat_map(|act| act.grants.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The role the rights are given to.
pub const ROLE: &str = "twofold_agent";

/// Statements that give them to `account`, written as in `'twofold'@'localhost'`: through a role, so
/// that they hold also while the server cannot look up accounts
/// ([`Session::has_role`](crate::Session::has_role)).
#[must_use]
pub fn grant_statements(account: &str) -> Vec<String> {
    let (here, global): (Vec<_>, Vec<_>) = grants().into_iter().partition(|g| g.contains(" ON "));
    let schema = here.into_iter().filter(|g| g.ends_with(&format!(" ON {}", crate::SCHEMA)));
    let on_schema: Vec<_> = schema.map(|g| g.split(" ON ").next().expect("split yields one")).collect();
    let mut all = vec![
        format!("CREATE ROLE IF NOT EXISTS '{ROLE}'"),
        format!("GRANT {} ON *.* TO '{ROLE}'", global.join(", ")),
        format!("GRANT {} ON `{}`.* TO '{ROLE}'", on_schema.join(", "), crate::SCHEMA),
    ];
    all.extend(ACCOUNTS.map(|right| format!("GRANT {right} TO '{ROLE}'")));
    all.push(format!("GRANT {CLONE_PROGRESS} TO '{ROLE}'"));
    all.push(format!("GRANT '{ROLE}' TO {account}"));
    all.push(format!("SET DEFAULT ROLE '{ROLE}' TO {account}"));
    all
}

/// The same for MariaDB.
#[must_use]
pub fn mariadb_grant_statements(account: &str) -> Vec<String> {
    let mut all = vec![
        format!("CREATE ROLE IF NOT EXISTS {ROLE}"),
        format!("GRANT {} ON *.* TO {ROLE}", MARIADB_GRANTS.join(", ")),
        format!("GRANT SELECT, INSERT, DELETE, CREATE ON `{}`.* TO {ROLE}", crate::SCHEMA),
    ];
    all.extend(MARIADB_ACCOUNTS.map(|right| format!("GRANT {right} TO {ROLE}")));
    all.push(format!("GRANT {ROLE} TO {account}"));
    all.push(format!("SET DEFAULT ROLE {ROLE} FOR {account}"));
    all
}

/// Lets the admin account see how far K3s's objects got, and leave a gap in their revisions. On the schema, since the
/// table is K3s's to make.
#[must_use]
pub fn kine_grant_statement(schema: &str) -> String {
    format!("GRANT SELECT, INSERT ON `{schema}`.* TO {ROLE}")
}

/// Gives the replication account what it needs; on MySQL that is also what a clone takes from its donor.
#[must_use]
pub fn replication_grant_statement(flavour: model::Flavour, account: &str) -> String {
    let rights = match flavour {
        model::Flavour::Mysql => "REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN",
        model::Flavour::Mariadb => "REPLICATION SLAVE",
    };
    format!("GRANT {rights} ON *.* TO {account}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::Flavour;

    use super::*;

    /// Rights of a `GRANT … ON … TO …`, with what they are on and for whom.
    fn given(statement: &str) -> Option<(String, BTreeSet<String>)> {
        let text = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let (rights, whom) = text.strip_prefix("GRANT ")?.trim_end_matches(';').split_once(" ON ")?;
        Some((whom.to_owned(), rights.split(", ").map(str::to_owned).collect()))
    }

    /// Goal: who follows install.md gives what the statements give. Method: every GRANT of rights in the
    /// page's blocks of SQL, compared as sets.
    #[test]
    fn the_manual_gives_the_same_rights() {
        let page = include_str!("../../../docs/guide/install.md");
        let blocks =
            page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().expect("split yields one"));
        let said: BTreeSet<_> =
            blocks.flat_map(|sql| sql.split(";\n")).filter_map(|s| given(&s[s.rfind("GRANT ")?..])).collect();
        let mut ours = grant_statements("'twofold'@'localhost'");
        ours.extend(mariadb_grant_statements("'twofold'@'localhost'"));
        let both = [Flavour::Mysql, Flavour::Mariadb];
        ours.extend(both.map(|flavour| replication_grant_statement(flavour, "'repl'@'%'")));
        ours.push(kine_grant_statement("kubernetes").replace(ROLE, &format!("'{ROLE}'")));
        assert_eq!(said, ours.iter().filter_map(|s| given(s)).collect());
    }

    #[test]
    fn mariadbs_statements_name_every_right_and_no_super() {
        let statements = mariadb_grant_statements("'twofold'@'localhost'").join("\n");
        assert!(MARIADB_GRANTS.iter().all(|right| statements.contains(right)), "{statements}");
        for never in ["SUPER", "ALL PRIVILEGES", "CONNECTION ADMIN"] {
            assert!(!statements.contains(never), "{never}");
        }
    }

    #[test]
    fn the_statements_name_every_right_once_and_no_super() {
        let statements = grant_statements("'twofold'@'localhost'").join("\n");
        for right in grants() {
            let word = right.split(" ON ").next().unwrap();
            assert!(statements.contains(word), "{right} is missing");
        }
        assert!(!statements.contains("SUPER") && !statements.contains("ALL PRIVILEGES"));
    }
}
