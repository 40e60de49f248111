//! Accounts that hold too much, as real servers keep them.

use model::AccountsReading;
use mysql_async::prelude::Queryable;
use replication_mysql::{PRIVILEGED_RIGHTS, accounts};

use crate::server::{Server, mariadb_root, patience};

async fn run(server: &Server, statements: &[&str]) {
    let mut root = server.root_conn().await;
    root.query_drop("SET GLOBAL read_only = OFF").await.unwrap();
    for statement in statements {
        root.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// Each as `account: right right`.
async fn told(server: &Server) -> Vec<String> {
    match accounts(&mut server.admin().await, patience()).await.unwrap() {
        AccountsReading::Read { privileged, more: 0 } => {
            privileged.iter().map(|p| format!("{}: {}", p.account, p.rights.join(", "))).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Goal: who holds too much is named, and nobody else. Method: one account for each way to hold a right, and
/// one for each way to be harmless.
#[tokio::test]
async fn accounts_that_hold_too_much_are_told_by_name() {
    let server = Server::started().await;
    assert_eq!(told(&server).await, Vec::<String>::new(), "the lab's own accounts hold what they need");
    run(
        &server,
        &[
            "CREATE USER 'dba'@'10.0.0.%' IDENTIFIED BY 'p'",
            "GRANT SUPER, SHUTDOWN, CONNECTION_ADMIN ON *.* TO 'dba'@'10.0.0.%'",
            "CREATE ROLE 'inner', 'outer', 'of_all'",
            "GRANT BINLOG_ADMIN ON *.* TO 'inner'",
            "GRANT 'inner' TO 'outer'",
            "CREATE USER 'by_role'@'%' IDENTIFIED BY 'p'",
            "GRANT 'outer' TO 'by_role'@'%'",
            "CREATE USER 'forger'@'%' IDENTIFIED BY 'p', 'hand'@'%' IDENTIFIED BY 'p'",
            "GRANT INSERT ON `two%`.* TO 'forger'@'%'",
            "GRANT UPDATE (authentication_string) ON mysql.user TO 'hand'@'%'",
            "CREATE USER 'anywhere'@'%' IDENTIFIED BY 'p'",
            "GRANT UPDATE ON *.* TO 'anywhere'@'%'",
            // Harmless, each in its way.
            "CREATE USER 'locked'@'%' IDENTIFIED BY 'p' ACCOUNT LOCK",
            "GRANT ALL ON *.* TO 'locked'@'%'",
            "CREATE USER 'here'@'127.0.0.1' IDENTIFIED BY 'p', 'reader'@'%' IDENTIFIED BY 'p'",
            "GRANT ALL ON *.* TO 'here'@'127.0.0.1'",
            "GRANT SELECT, PROCESS, SYSTEM_USER, SESSION_VARIABLES_ADMIN, BACKUP_ADMIN ON *.* TO 'reader'@'%'",
            "GRANT SELECT ON mysql.* TO 'reader'@'%'",
        ],
    )
    .await;
    assert_eq!(
        told(&server).await,
        [
            "anywhere@%: writes on *.*",
            "by_role@%: BINLOG_ADMIN",
            "dba@10.0.0.%: SUPER, SHUTDOWN, CONNECTION_ADMIN",
            "forger@%: writes on twofold",
            "hand@%: writes on mysql",
        ]
    );
    run(
        &server,
        &[
            "DROP USER 'anywhere'@'%', 'dba'@'10.0.0.%', 'forger'@'%', 'hand'@'%'",
            "REVOKE 'outer' FROM 'by_role'@'%'",
        ],
    )
    .await;
    assert_eq!(told(&server).await, Vec::<String>::new());
    run(&server, &["GRANT RELOAD ON *.* TO 'of_all'", "SET GLOBAL mandatory_roles = 'of_all'"]).await;
    let everybody = told(&server).await;
    for account in ["app@%", "reader@%", "repl@%"] {
        assert!(everybody.contains(&format!("{account}: RELOAD")), "{everybody:?}");
    }
}

/// Goal: each right of the table is found where the server keeps it. Method: each alone to an account of its own.
#[tokio::test]
async fn each_right_of_mysql_is_found() {
    each_is_found(&Server::started().await, model::Flavour::Mysql).await;
}

#[tokio::test]
async fn each_right_of_mariadb_is_found() {
    each_is_found(&Server::started_of(mariadb_root()).await, model::Flavour::Mariadb).await;
}

async fn each_is_found(server: &Server, flavour: model::Flavour) {
    let known = PRIVILEGED_RIGHTS.iter().filter(|right| right.flavour.is_none_or(|f| f == flavour));
    let mut root = server.root_conn().await;
    root.query_drop("SET GLOBAL read_only = OFF").await.unwrap();
    // Gone since MySQL 9, and there before.
    let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
    for (number, right) in known.enumerate() {
        let user = format!("'u{number:02}'@'%'");
        root.query_drop(format!("CREATE USER {user} IDENTIFIED BY 'p'")).await.unwrap();
        let grant = match right.name.strip_prefix("writes on ") {
            Some("*.*") => format!("GRANT DROP ON *.* TO {user}"),
            Some(schema) => format!("GRANT DELETE ON `{schema}`.* TO {user}"),
            None if right.name == "GRANT OPTION" => {
                format!("GRANT PROCESS ON *.* TO {user} WITH GRANT OPTION")
            }
            None => format!("GRANT {} ON *.* TO {user}", right.name),
        };
        match root.query_drop(&grant).await {
            Ok(()) => wanted.push(format!("u{number:02}@%: {}", right.name)),
            Err(_) => unknown.push(right.name),
        }
    }
    assert!(unknown.is_empty() || unknown == ["SET_USER_ID"], "{unknown:?}");
    assert_eq!(told(server).await, wanted);
}

/// Goal: the same on MariaDB, whose roles and locks are kept otherwise.
#[tokio::test]
async fn so_they_are_on_mariadb() {
    let server = Server::started_of(mariadb_root()).await;
    assert_eq!(told(&server).await, Vec::<String>::new(), "the lab's own accounts hold what they need");
    run(
        &server,
        &[
            "CREATE USER 'dba'@'10.0.0.%' IDENTIFIED BY 'p'",
            "GRANT READ_ONLY ADMIN, CONNECTION ADMIN ON *.* TO 'dba'@'10.0.0.%'",
            "CREATE ROLE inner_role",
            "CREATE ROLE outer_role",
            "GRANT BINLOG ADMIN ON *.* TO inner_role",
            "GRANT inner_role TO outer_role",
            "CREATE USER 'by_role'@'%' IDENTIFIED BY 'p'",
            "GRANT outer_role TO 'by_role'@'%'",
            "CREATE USER 'forger'@'%' IDENTIFIED BY 'p', 'hand'@'%' IDENTIFIED BY 'p'",
            "GRANT INSERT ON `two%`.* TO 'forger'@'%'",
            "GRANT UPDATE ON mysql.global_priv TO 'hand'@'%'",
            "CREATE USER 'locked'@'%' IDENTIFIED BY 'p' ACCOUNT LOCK",
            "GRANT ALL ON *.* TO 'locked'@'%'",
            "CREATE USER 'here'@'127.0.0.1' IDENTIFIED BY 'p', 'reader'@'%' IDENTIFIED BY 'p'",
            "GRANT ALL ON *.* TO 'here'@'127.0.0.1'",
            "GRANT SELECT, PROCESS, BINLOG REPLAY, BINLOG MONITOR, REPLICA MONITOR ON *.* TO 'reader'@'%'",
        ],
    )
    .await;
    assert_eq!(
        told(&server).await,
        [
            "by_role@%: BINLOG ADMIN",
            "dba@10.0.0.%: READ_ONLY ADMIN, CONNECTION ADMIN",
            "forger@%: writes on twofold",
            "hand@%: writes on mysql",
        ]
    );
    run(&server, &["REVOKE outer_role FROM 'by_role'@'%'", "ALTER USER 'dba'@'10.0.0.%' ACCOUNT LOCK"]).await;
    assert_eq!(told(&server).await, ["forger@%: writes on twofold", "hand@%: writes on mysql"]);
    // Granted to everybody (10.11).
    run(&server, &["GRANT RELOAD ON *.* TO PUBLIC"]).await;
    let everybody = told(&server).await;
    assert!(everybody.contains(&"app@%: RELOAD".to_owned()), "{everybody:?}");
}

/// Goal: without its rights the look says that it cannot, which is no error; the reading goes on.
#[tokio::test]
async fn without_its_rights_the_look_says_that_it_cannot() {
    for (root, table) in [(crate::server::root(), "role_edges"), (mariadb_root(), "global_priv")] {
        let server = Server::started_of(root).await;
        let revoke = format!("REVOKE SELECT ON mysql.{table} FROM {}", replication_mysql::ROLE);
        run(&server, &[&revoke]).await;
        let mut admin = server.admin().await;
        assert_eq!(accounts(&mut admin, patience()).await.unwrap(), AccountsReading::Unreadable);
        assert!(!admin.is_broken(), "the session goes on");
        server.reading().await;
    }
}
