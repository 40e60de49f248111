//! What an administrator set on a replica stays when it is pointed elsewhere.

use mysql_async::prelude::Queryable;
use replication_mysql::{RelayLog, point_at_source};

use crate::server::{Pair, assert_done, mariadb_root, patience};

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
