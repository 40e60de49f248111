//! What an administrator set on a replica stays when it is pointed elsewhere.

use chaos_lab::mysqld::{MysqlRoot, REPLICATION_USER};
use mysql_async::prelude::Queryable;
use replication_mysql::{RelayLog, change_password, point_at_source, start_replica};

use crate::server::{Pair, assert_done, insert, mariadb_root, patience, root};

/// A delayed replica that filters is no candidate and no acker; whoever repoints it may not make it one.
#[tokio::test]
async fn delay_and_filters_outlive_a_change_of_the_source() {
    let pair = Pair::up().await;
    let mut root = pair.replica.root_conn().await;
    for statement in [
        "STOP REPLICA",
        "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 7",
        "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (logs), \
         REPLICATE_WILD_IGNORE_TABLE = ('shop.tmp%'), REPLICATE_REWRITE_DB = ((a, b))",
        "START REPLICA",
    ] {
        root.query_drop(statement).await.unwrap();
    }
    let before = pair.replica.reading().await.replica.unwrap();
    assert_eq!(before.delay_s, 7);
    let mut admin = pair.replica.admin().await;
    for relay_log in [RelayLog::Reset, RelayLog::MustBeDrained] {
        assert_done(point_at_source(&mut admin, &pair.source.source(), relay_log, patience()).await);
        let after = pair.replica.reading().await.replica.unwrap();
        assert_eq!((after.delay_s, &after.filters), (7, &before.filters), "{relay_log:?}");
    }
    assert_eq!(
        before.filters,
        [
            "Replicate_Ignore_DB: logs",
            "Replicate_Wild_Ignore_Table: shop.tmp%",
            "Replicate_Rewrite_DB: (a,b)",
        ]
    );
}

#[tokio::test]
async fn so_they_do_on_mariadb() {
    let pair = Pair::up_of(mariadb_root()).await;
    let mut root = pair.replica.root_conn().await;
    for statement in [
        "STOP SLAVE",
        "CHANGE MASTER TO MASTER_DELAY = 7, IGNORE_SERVER_IDS = (77, 78), IGNORE_DOMAIN_IDS = (5)",
        "SET GLOBAL replicate_ignore_db = 'logs'",
        "START SLAVE",
    ] {
        root.query_drop(statement).await.unwrap();
    }
    let before = pair.replica.reading().await.replica.unwrap();
    assert_eq!(before.delay_s, 7);
    assert_eq!(
        before.filters,
        [
            "Replicate_Ignore_DB: logs",
            "Replicate_Ignore_Server_Ids: 77, 78",
            "Replicate_Ignore_Domain_Ids: 5"
        ]
    );
    let mut admin = pair.replica.admin().await;
    for relay_log in [RelayLog::Reset, RelayLog::MustBeDrained] {
        assert_done(point_at_source(&mut admin, &pair.source.source(), relay_log, patience()).await);
        let after = pair.replica.reading().await.replica.unwrap();
        assert_eq!((after.delay_s, &after.filters), (7, &before.filters), "{relay_log:?}");
    }
}

async fn a_new_password_is_given(root: &'static MysqlRoot) {
    let pair = Pair::up_of(root).await;
    pair.source
        .root_conn()
        .await
        .query_drop("CREATE TABLE app.before_it (id INT PRIMARY KEY)")
        .await
        .unwrap();
    let before = pair.replica.reading().await.replica.unwrap();
    let change = format!("ALTER USER '{REPLICATION_USER}'@'%' IDENTIFIED BY 'another'");
    pair.source.root_conn().await.query_drop(change).await.unwrap();
    let mut admin = pair.replica.admin().await;
    assert_done(change_password(&mut admin, "another", patience()).await);
    assert_done(change_password(&mut admin, "another", patience()).await);
    assert_done(start_replica(&mut admin, patience()).await);
    insert(&mut pair.source.app().await, "behind the change").await.unwrap();
    pair.caught_up().await;
    let after = pair.replica.reading().await.replica.unwrap();
    assert_eq!((after.source_host, after.source_port), (before.source_host, before.source_port));
    let quote = change_password(&mut admin, "it's", patience()).await;
    assert!(matches!(quote, replication_mysql::Outcome::Refused(_)), "{quote}");
}

/// Goal: a channel goes on with a new password, and nothing else of it changes.
#[tokio::test]
async fn a_channel_goes_on_with_a_new_password() {
    a_new_password_is_given(root()).await;
}

#[tokio::test]
async fn so_it_does_on_mariadb() {
    a_new_password_is_given(mariadb_root()).await;
}
