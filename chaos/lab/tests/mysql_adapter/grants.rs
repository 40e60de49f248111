//! The listed rights are enough for every act, and the lab's account has them.

use model::{AccountsReading, Epoch, ProcessStart, SyncGeneration};
use mysql_async::prelude::Queryable;
use replication_mysql::{
    Endpoint, Opening, Outcome, RelayLog, Sentinel, Session, Switch, accounts, client_sessions,
    clone_progress, disarm_source_semi_sync, ensure_schema, grant_statements, grants, kill_client_sessions,
    point_at_source, promote, read, read_sentinels, replica_semi_sync, set_offline_mode, set_super_read_only,
    start_applier, start_receiver, start_replica, stop_io_thread, stop_replica, wait_applied, wait_drained,
    write_opening, write_sentinel,
};

use crate::server::{Server, assert_done, patience};

/// An account with `grant_statements` and nothing else performs every act.
#[tokio::test]
async fn the_listed_grants_are_enough_for_every_act() {
    let (server, other) = (Server::started().await, Server::started().await);
    let mut root = server.root_conn().await;
    root.query_drop("SET GLOBAL read_only = OFF").await.unwrap();
    root.query_drop("CREATE USER 'least'@'localhost' IDENTIFIED BY 'p'").await.unwrap();
    root.query_drop("DROP ROLE 'twofold_agent'").await.unwrap();
    for statement in grant_statements("'least'@'localhost'") {
        root.query_drop(statement).await.unwrap();
    }
    let mut least = Endpoint::socket(&server.spec.socket, "least", "p");
    least.replication_users = vec!["repl".to_owned()];
    let mut s = Session::connect(&least, patience()).await.unwrap();
    assert!(s.has_role());

    read(&mut s, patience()).await.unwrap();
    assert!(matches!(accounts(&mut s, patience()).await.unwrap(), AccountsReading::Read { .. }));
    assert_done(ensure_schema(&mut s, patience()).await);
    assert_done(ensure_schema(&mut s, patience()).await);
    let sentinel = Sentinel { epoch: Epoch(1), g: SyncGeneration(2), nonce: u64::MAX };
    assert_done(write_sentinel(&mut s, sentinel, patience()).await);
    assert_eq!(read_sentinels(&mut s, patience()).await.unwrap(), [sentinel]);
    let mark = Opening { epoch: Epoch(1), life: ProcessStart(2), nonce: u64::MAX };
    assert_done(write_opening(&mut s, mark, patience()).await);
    let marked = read(&mut s, patience()).await.unwrap().opening.unwrap();
    assert_eq!(
        (marked.epoch, marked.life, marked.nonce, marked.count, marked.all),
        (mark.epoch, mark.life, u64::MAX, 1, u64::MAX)
    );
    let _client = server.app().await;
    assert_eq!(client_sessions(&mut s, patience()).await.unwrap().len(), 2, "root and the client");
    assert_eq!(assert_done(kill_client_sessions(&mut s, patience()).await).killed, 2);
    assert_done(set_super_read_only(&mut s, Switch::On, patience()).await);
    assert!(matches!(ensure_schema(&mut s, patience()).await, Outcome::Refused(_)));
    assert_done(set_offline_mode(&mut s, Switch::On, patience()).await);
    assert_done(set_offline_mode(&mut s, Switch::Off, patience()).await);
    assert!(matches!(start_replica(&mut s, patience()).await, Outcome::Refused(_)));
    assert_done(stop_io_thread(&mut s, patience()).await);
    assert_done(point_at_source(&mut s, &other.source(), RelayLog::MustBeDrained, patience()).await);
    assert_done(point_at_source(&mut s, &other.source(), RelayLog::Reset, patience()).await);
    assert_done(start_applier(&mut s, patience()).await);
    assert_done(start_receiver(&mut s, patience()).await);
    assert_done(start_replica(&mut s, patience()).await);
    assert_done(replica_semi_sync(&mut s, Switch::On, patience()).await);
    assert_done(replica_semi_sync(&mut s, Switch::Off, patience()).await);
    assert_done(stop_io_thread(&mut s, patience()).await);
    assert_done(wait_drained(&mut s, patience()).await);
    let executed = read(&mut s, patience()).await.unwrap().gtid_executed;
    assert_done(wait_applied(&mut s, &executed, patience()).await);
    assert_done(promote(&mut s, patience()).await);
    assert_done(stop_replica(&mut s, patience()).await);
    assert_done(disarm_source_semi_sync(&mut s, patience()).await);
    // A donor that is not there: the right to clone was enough to ask it.
    let donor = replication_mysql::Donor {
        address: "127.0.0.1:9".parse().unwrap(),
        user: "repl".into(),
        password: "x".into(),
        ca: None,
    };
    let outcome = replication_mysql::clone_from(&mut s, &donor, patience()).await;
    assert!(outcome.to_string().contains("3862"), "the donor could not be reached: {outcome}");
    assert!(read(&mut s, patience()).await.unwrap().super_read_only, "it is shut again");
    assert_eq!(clone_progress(&mut s, patience()).await.unwrap(), None, "performance_schema is off there");
}

/// The template's role is written by hand; it has what the adapter lists.
#[tokio::test]
async fn the_labs_account_has_every_listed_grant() {
    let server = Server::started().await;
    let rows: Vec<String> = server.root_conn().await.query("SHOW GRANTS FOR 'twofold_agent'").await.unwrap();
    let all = rows.join("\n");
    for right in grants() {
        let word = right.split(" ON ").next().and_then(|words| words.split(" (").next()).unwrap();
        assert!(all.contains(word), "{right} is missing in\n{all}");
    }
}
