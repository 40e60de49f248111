//! What a killed primary comes back with, and how it is made a replica again.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use replication_mysql::{
    Donor, Ending, RelayLog, Rescue, Switch, client_sessions, clone_from, clone_progress, extra_transactions,
    how_it_ended, point_at_source, promote, read, save_extra_transactions, set_super_read_only,
    start_replica, stop_io_thread,
};

use crate::server::{Pair, Server, assert_done, count, eventually_session, insert, patience, root};

/// A commit nobody acknowledged is there after SIGKILL and restart; it is found, saved, and gone once
/// the server is rebuilt from the new primary, which it then follows.
#[tokio::test]
async fn a_killed_primary_returns_with_ghosts_and_is_rebuilt() {
    let mut pair = Pair::up_in_sync().await;
    insert(&mut pair.source.app().await, "acknowledged").await.unwrap();
    let mut new = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut new, patience()).await);
    let mut client = pair.source.app().await;
    let waiter = tokio::spawn(async move { insert(&mut client, "ghost").await });
    let mut old = pair.source.admin().await;
    eventually_session("the ghost waits", &mut old, async |s| {
        let all = client_sessions(s, patience()).await.unwrap();
        all.iter().any(|c| c.state.contains("semi-sync ACK")).then_some(())
    })
    .await;
    let pid = pair.source.pid();
    pair.source.crash();
    assert!(waiter.await.unwrap().is_err());
    assert_eq!(how_it_ended(&pair.source.spec.error_log, pid, false), Ending::Crashed);

    assert_done(replication_mysql::wait_drained(&mut new, patience()).await);
    let promoted = assert_done(promote(&mut new, patience()).await);
    assert_done(set_super_read_only(&mut new, Switch::Off, patience()).await);
    insert(&mut pair.replica.app().await, "from the new one").await.unwrap();

    pair.source.start().await;
    assert_eq!(how_it_ended(&pair.source.spec.error_log, pid, false), Ending::Crashed);
    assert_eq!(how_it_ended(&pair.source.spec.error_log, pair.source.pid(), true), Ending::NotYet);
    let mut old = pair.source.admin().await;
    let returned = read(&mut old, patience()).await.unwrap();
    assert!(returned.super_read_only, "it boots fenced");
    let extra = extra_transactions(&returned.gtid_held(), &promoted.executed);
    assert_eq!(extra.count(), 1, "{extra}");
    assert_eq!(extra, extra.of(&pair.source.uuid));
    assert_eq!(count(&mut pair.source.app().await, "ghost").await, 1);

    let folder = tempfile::tempdir().unwrap();
    let rescue = Rescue {
        index: pair.source.spec.data_dir.join("binlog.index"),
        extra: extra.clone(),
        into: folder.path().join("rescue"),
        mysqlbinlog: root().mysqlbinlog(),
    };
    std::fs::create_dir(folder.path().join("rescue.part")).unwrap();
    let saved = save_extra_transactions(&rescue, patience()).await.unwrap();
    let sql = std::fs::read_to_string(saved.sql.as_ref().unwrap()).unwrap();
    assert!(sql.contains("ghost") && !sql.contains("acknowledged"), "{sql}");
    assert!(!saved.binary_logs.is_empty());
    assert_eq!(save_extra_transactions(&rescue, patience()).await.unwrap(), saved);

    let began = Instant::now();
    let donor = Donor {
        address: pair.replica.address(),
        user: chaos_lab::mysqld::REPLICATION_USER.into(),
        password: chaos_lab::mysqld::PASSWORD.into(),
        ca: None,
    };
    assert_done(clone_from(&mut old, &donor, patience()).await);
    let cloned = pair.source.pid();
    let code = pair.source.ended().await;
    assert_eq!(how_it_ended(&pair.source.spec.error_log, cloned, false), Ending::Restarted);
    pair.source.start().await;
    eprintln!("figure: clone, end with {code:?} and start take {:?}", began.elapsed());
    let mut old = pair.source.admin().await;
    let rebuilt = read(&mut old, patience()).await.unwrap();
    assert_eq!(rebuilt.server_uuid, pair.source.uuid, "a rebuild keeps the identity");
    assert!(rebuilt.super_read_only);
    let now = pair.replica.executed().await;
    assert!(extra_transactions(&rebuilt.gtid_held(), &now).is_empty());

    let source = pair.replica.source();
    assert_done(point_at_source(&mut old, &source, RelayLog::Reset, patience()).await);
    assert_done(start_replica(&mut old, patience()).await);
    insert(&mut pair.replica.app().await, "to the rebuilt one").await.unwrap();
    let wanted = pair.replica.executed().await;
    assert_done(replication_mysql::wait_applied(&mut old, &wanted, patience()).await);
    let mut app = pair.source.app().await;
    for (value, rows) in
        [("ghost", 0), ("acknowledged", 1), ("from the new one", 1), ("to the rebuilt one", 1)]
    {
        assert_eq!(count(&mut app, value).await, rows, "{value}");
    }
}

/// A donor that is itself a replica hands its channel on; reset, the rebuilt server follows whom it is
/// told to.
#[tokio::test]
async fn a_rebuilt_server_does_not_follow_its_donors_source() {
    let mut pair = Pair::up().await;
    // The replica is the donor, the third server is rebuilt from it.
    let mut third = crate::server::Server::started().await;
    let mut admin = third.admin().await;
    let donor = Donor {
        address: pair.replica.address(),
        user: chaos_lab::mysqld::REPLICATION_USER.into(),
        password: chaos_lab::mysqld::PASSWORD.into(),
        ca: None,
    };
    assert_done(clone_from(&mut admin, &donor, patience()).await);
    third.ended().await;
    third.start().await;
    let mut admin = third.admin().await;
    let inherited = read(&mut admin, patience()).await.unwrap();
    let channel = inherited.replica.expect("CLONE brings the channel along");
    assert_eq!(channel.source_port, pair.source.spec.port);
    pair.source.crash();
    let source = pair.replica.source();
    assert_done(point_at_source(&mut admin, &source, RelayLog::Reset, patience()).await);
    let now = read(&mut admin, patience()).await.unwrap().replica.unwrap();
    assert_eq!(now.source_port, pair.replica.spec.port);
    assert_done(start_replica(&mut admin, patience()).await);
    eventually_session("it follows its donor", &mut admin, async |s| {
        let r = read(s, patience()).await.unwrap().replica.unwrap();
        (r.io == model::ReplicaThread::Running && r.source_uuid == Some(pair.replica.uuid.clone()))
            .then_some(())
    })
    .await;
}

/// Goal: how far a clone came is told where performance_schema counts it. Method: the server keeps the figures of its
/// last clone over its restart, so nothing need be caught on its way.
#[tokio::test]
async fn a_clone_tells_how_far_it_came_where_it_is_counted() {
    let (donor, mut server) = (Server::started().await, Server::lay());
    let mut cnf = std::fs::read_to_string(&server.spec.cnf).unwrap();
    cnf.push_str("\nperformance_schema = ON\n");
    std::fs::write(&server.spec.cnf, cnf).unwrap();
    donor.open().await;
    let right = "GRANT SELECT ON performance_schema.clone_progress TO 'twofold_agent'";
    donor.root_conn().await.query_drop(right).await.unwrap();
    server.start().await;
    let copied = Donor {
        address: donor.address(),
        user: chaos_lab::mysqld::REPLICATION_USER.into(),
        password: chaos_lab::mysqld::PASSWORD.into(),
        ca: None,
    };
    assert_done(clone_from(&mut server.admin().await, &copied, patience()).await);
    server.ended().await;
    server.start().await;
    let told = clone_progress(&mut server.admin().await, patience()).await.unwrap().unwrap();
    assert!(told.copied && told.bytes > 0 && told.expected > 0, "{told:?}");
}

/// A graceful stop tells waiters OK without an ack, and the log tells that it was one.
#[tokio::test]
async fn a_graceful_stop_is_told_from_a_crash() {
    let mut pair = Pair::up_in_sync().await;
    assert_done(stop_io_thread(&mut pair.replica.admin().await, patience()).await);
    let mut client = pair.source.app().await;
    let waiter = tokio::spawn(async move { insert(&mut client, "told without an ack").await });
    let mut admin = pair.source.admin().await;
    eventually_session("it waits", &mut admin, async |s| {
        let all = client_sessions(s, patience()).await.unwrap();
        all.iter().any(|c| c.state.contains("semi-sync ACK")).then_some(())
    })
    .await;
    let pid = pair.source.pid();
    let began = Instant::now();
    pair.source.stop().await;
    let told = tokio::time::timeout(Duration::from_secs(60), waiter).await.unwrap().unwrap();
    eprintln!("figure: a graceful stop took {:?}; the waiter was told {told:?}", began.elapsed());
    assert_eq!(how_it_ended(&pair.source.spec.error_log, pid, false), Ending::Graceful);
    pair.source.start().await;
    assert_eq!(how_it_ended(&pair.source.spec.error_log, pid, false), Ending::Graceful);
    let mut raw = pair.source.admin_conn().await;
    let _: Option<u64> = raw.query_first("SELECT 1").await.unwrap();
}
