//! The least rights each act needs, so that an account can be made and checked by list.

/// One act and the rights its account needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActGrants {
    /// The function's name.
    pub act: &'static str,
    /// Privileges `ON *.*` unless a schema is named after `ON`.
    pub grants: &'static [&'static str],
}

/// Each act with its rights (MySQL manual, "Privileges Provided by MySQL").
pub const ACTS: &[ActGrants] = &[
    ActGrants { act: "read", grants: &["PROCESS", "REPLICATION CLIENT", "SELECT ON twofold"] },
    ActGrants { act: "client_sessions", grants: &["PROCESS"] },
    // SYSTEM_USER ends the sessions of those who have it too, such as a forgotten root's.
    ActGrants { act: "kill_client_sessions", grants: &["PROCESS", "CONNECTION_ADMIN", "SYSTEM_USER"] },
    // super_read_only also wants CONNECTION_ADMIN, or one's own transactions would be refused first.
    ActGrants { act: "set_super_read_only", grants: &["SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN"] },
    ActGrants { act: "set_offline_mode", grants: &["SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN"] },
    ActGrants { act: "stop_io_thread", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "stop_replica", grants: &["REPLICATION_SLAVE_ADMIN"] },
    ActGrants { act: "start_replica", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "start_applier", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "start_receiver", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT"] },
    ActGrants { act: "wait_applied", grants: &["REPLICATION CLIENT"] },
    ActGrants { act: "wait_drained", grants: &["REPLICATION CLIENT"] },
    ActGrants { act: "promote", grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT", "RELOAD"] },
    ActGrants {
        act: "point_at_source",
        grants: &["REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT", "RELOAD"],
    },
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
        grants: &["CLONE_ADMIN", "SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN", "REPLICATION_SLAVE_ADMIN"],
    },
];

/// Everything the admin account needs, each once, sorted.
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
    let (schema, global): (Vec<_>, Vec<_>) = grants().into_iter().partition(|g| g.contains(" ON "));
    let on_schema: Vec<_> =
        schema.iter().map(|g| g.split(" ON ").next().expect("split yields one")).collect();
    vec![
        format!("CREATE ROLE IF NOT EXISTS '{ROLE}'"),
        format!("GRANT {} ON *.* TO '{ROLE}'", global.join(", ")),
        format!("GRANT {} ON `{}`.* TO '{ROLE}'", on_schema.join(", "), crate::SCHEMA),
        format!("GRANT '{ROLE}' TO {account}"),
        format!("SET DEFAULT ROLE '{ROLE}' TO {account}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

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
