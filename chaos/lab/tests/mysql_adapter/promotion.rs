//! Reading, repointing, draining and promoting.

use std::time::{Duration, Instant};

use model::ReplicaThread;
use mysql_async::prelude::Queryable;
use replication_mysql::{
    Deadline, Outcome, Refusal, RelayLog, SourceTls, Switch, point_at_source, promote, read,
    set_super_read_only, start_applier, stop_io_thread, wait_applied, wait_drained,
};

use crate::proxy::Proxy;
use crate::server::{Pair, Server, assert_done, count, eventually, insert, patience, short};

/// A server that just started takes no writes and follows nobody, and one look tells so.
#[tokio::test]
async fn a_fresh_server_reads_as_fenced() {
    let server = Server::started().await;
    let mut admin = server.admin().await;
    let reading = read(&mut admin, patience()).await.unwrap();
    assert_eq!(reading.server_uuid, server.uuid);
    assert!(reading.version.starts_with("9."), "{}", reading.version);
    assert!(reading.super_read_only && reading.read_only && !reading.offline_mode);
    assert!(reading.gtid_executed.is_empty() && reading.replica.is_none());
    assert_eq!(reading.client_sessions, 0);
    assert_eq!((reading.settings.sync_binlog, reading.settings.flush_log_at_commit), (1, 1));
    assert_eq!((reading.settings.sync_relay_log, reading.settings.relay_log_recovery), (1, false));
    assert!(!reading.semi_sync.source_enabled && !reading.semi_sync.replica_enabled);
    let _client = server.app().await;
    assert_eq!(read(&mut admin, patience()).await.unwrap().client_sessions, 1);

    let began = Instant::now();
    for _ in 0..200 {
        read(&mut admin, patience()).await.unwrap();
    }
    eprintln!("figure: one reading takes {:?}", began.elapsed() / 200);
}

/// The way of a failover: the receiver stops, the relay log drains, the channel goes, the server stays
/// shut until somebody opens it.
#[tokio::test]
async fn a_replica_is_promoted_only_stopped_and_drained_and_stays_shut() {
    let pair = Pair::up().await;
    let mut admin = pair.replica.admin().await;
    let refusal = promote(&mut admin, patience()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::ReceiverRuns)), "{refusal}");
    assert_done(set_super_read_only(&mut admin, Switch::Off, patience()).await);
    let refusal = promote(&mut admin, patience()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::Writable)), "{refusal}");
    assert_done(set_super_read_only(&mut admin, Switch::On, patience()).await);

    // With the applier stopped, what arrives is received and not applied.
    let mut raw = pair.replica.admin_conn().await;
    raw.query_drop("STOP REPLICA SQL_THREAD").await.unwrap();
    let mut client = pair.source.app().await;
    insert(&mut client, "undrained").await.unwrap();
    let wanted = pair.source.executed().await;
    let held = crate::server::eventually_session("the row arrives", &mut admin, async |s| {
        let now = read(s, patience()).await.unwrap();
        now.gtid_held().contains(&wanted).then_some(now)
    })
    .await;
    assert!(!held.gtid_executed.contains(&wanted));
    let channel = assert_done(stop_io_thread(&mut admin, patience()).await);
    assert!(!channel.undrained().is_empty());
    // Idempotent.
    assert_done(stop_io_thread(&mut admin, patience()).await);

    let refusal = promote(&mut admin, patience()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::ApplierStopped { .. })), "{refusal}");
    let refusal = wait_applied(&mut admin, &wanted, short()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::ApplierStopped { .. })), "{refusal}");
    assert!(!admin.is_broken(), "a wait that ends by itself breaks nothing");
    let refusal =
        point_at_source(&mut admin, &pair.source.source(), RelayLog::MustBeDrained, patience()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::NotDrained { .. })), "{refusal}");

    let began = Instant::now();
    assert_done(start_applier(&mut admin, patience()).await);
    assert_done(wait_drained(&mut admin, patience()).await);
    let promoted = assert_done(promote(&mut admin, patience()).await);
    eprintln!("figure: start applier, drain and promote take {:?}", began.elapsed());
    assert!(promoted.executed.contains(&wanted));
    let after = read(&mut admin, patience()).await.unwrap();
    assert!(after.super_read_only && after.replica.is_none());
    // Idempotent.
    assert_eq!(assert_done(promote(&mut admin, patience()).await), promoted);

    let mut other = pair.replica.app().await;
    assert!(insert(&mut other, "too early").await.is_err());
    assert_done(set_super_read_only(&mut admin, Switch::Off, patience()).await);
    insert(&mut other, "open").await.unwrap();
    assert_eq!(count(&mut other, "undrained").await, 1);
}

/// After a promotion the old primary, with nothing extra, becomes its replica; also over TLS.
#[tokio::test]
async fn an_old_primary_with_nothing_extra_rejoins_by_auto_position() {
    let pair = Pair::up().await;
    let mut new = pair.replica.admin().await;
    assert_done(set_super_read_only(&mut pair.source.admin().await, Switch::On, patience()).await);
    pair.caught_up().await;
    assert_done(stop_io_thread(&mut new, patience()).await);
    assert_done(promote(&mut new, patience()).await);
    assert_done(set_super_read_only(&mut new, Switch::Off, patience()).await);

    let mut source = pair.replica.source();
    source.tls = SourceTls::Required { ca: None };
    let mut old = pair.source.admin().await;
    for _again in 0..2 {
        assert_done(point_at_source(&mut old, &source, RelayLog::MustBeDrained, patience()).await);
        assert_done(replication_mysql::start_replica(&mut old, patience()).await);
    }
    insert(&mut pair.replica.app().await, "from the new one").await.unwrap();
    let wanted = pair.replica.executed().await;
    assert_done(wait_applied(&mut old, &wanted, patience()).await);
    let reading = read(&mut old, patience()).await.unwrap();
    assert!(reading.super_read_only);
    let replica = reading.replica.unwrap();
    assert_eq!((replica.io, replica.sql), (ReplicaThread::Running, ReplicaThread::Running));
    assert_eq!(replica.source_uuid, Some(pair.replica.uuid.clone()));
    assert_eq!(replica.source_port, pair.replica.spec.port);
}

/// An acker's relay log is durable: what it received and had not applied survives its SIGKILL.
#[tokio::test]
async fn a_killed_replica_applies_what_it_had_received_without_its_source() {
    let mut pair = Pair::up().await;
    pair.replica.admin_conn().await.query_drop("STOP REPLICA SQL_THREAD").await.unwrap();
    let mut client = pair.source.app().await;
    for _ in 0..200 {
        insert(&mut client, "received").await.unwrap();
    }
    let wanted = pair.source.executed().await;
    let mut admin = pair.replica.admin().await;
    crate::server::eventually_session("all of it arrives", &mut admin, async |s| {
        read(s, patience()).await.unwrap().gtid_held().contains(&wanted).then_some(())
    })
    .await;
    pair.source.crash();
    pair.replica.crash();
    pair.replica.start().await;

    let mut admin = pair.replica.admin().await;
    let reading = read(&mut admin, patience()).await.unwrap();
    assert!(reading.gtid_held().contains(&wanted), "the position is known again from the relay log");
    assert_eq!(reading.replica.map(|r| r.io), Some(ReplicaThread::Stopped));
    assert_done(start_applier(&mut admin, patience()).await);
    assert_done(wait_applied(&mut admin, &wanted, patience()).await);
    assert_done(promote(&mut admin, patience()).await);
    assert_eq!(count(&mut pair.replica.app().await, "received").await, 200);
}

/// Goal: half a transaction at the end of the relay log, which nobody will ever send the rest of, holds
/// no promotion up. Method: the source says a part of a large transaction and no more; MySQL's applier waits for the
/// rest for a minute when it is told to stop.
#[tokio::test]
async fn half_a_transaction_in_the_relay_log_holds_no_promotion_up() {
    let pair = Pair::up().await;
    let proxy = Proxy::to(pair.source.address());
    assert_done(stop_io_thread(&mut pair.replica.admin().await, patience()).await);
    pair.follow(&pair.source.source_at(proxy.port)).await;
    // As one event it would arrive whole or not at all.
    let mut root = pair.source.root_conn().await;
    root.query_drop("SET GLOBAL binlog_transaction_compression = OFF").await.unwrap();
    let mut client = pair.source.app().await;
    client.query_drop("CREATE TABLE large (t LONGTEXT)").await.unwrap();
    pair.caught_up().await;
    let before = pair.replica.executed().await;

    proxy.stand_still_after(200_000);
    client.query_drop("START TRANSACTION").await.unwrap();
    for _ in 0..40 {
        client.query_drop("INSERT INTO large VALUES (REPEAT('x', 20000))").await.unwrap();
    }
    client.query_drop("COMMIT").await.unwrap();
    eventually("its applier has read the half that arrived", || async {
        let mut looks = pair.replica.admin_conn().await;
        let channel: mysql_async::Row = looks.query_first("SHOW REPLICA STATUS").await.unwrap().unwrap();
        let space: u64 = channel.get("Relay_Log_Space").unwrap();
        let threads: Vec<mysql_async::Row> = looks.query("SHOW PROCESSLIST").await.unwrap();
        let waits = threads.iter().any(|t| {
            let state: Option<String> = t.get("State").unwrap();
            state.is_some_and(|s| s.contains("has read all relay log"))
        });
        (space > 150_000 && waits).then_some(())
    })
    .await;

    let mut new = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut new, patience()).await);
    assert_done(wait_drained(&mut new, patience()).await);
    let promoted = promote(&mut new, Deadline::after(Duration::from_secs(15))).await;
    assert_eq!(assert_done(promoted).executed, before, "the half is nothing");
}

/// Goal: what is read of an applier that was killed for a promotion is known, since an error of an applier stands against
/// a candidate and keeps it stopped. Method: it is killed as the adapter does, while it has nothing to do.
#[tokio::test]
async fn what_a_killed_applier_tells() {
    let pair = Pair::up().await;
    insert(&mut pair.source.app().await, "one").await.unwrap();
    pair.caught_up().await;
    let mut admin = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut admin, patience()).await);
    let mut root = pair.replica.root_conn().await;
    let threads: Vec<mysql_async::Row> = root.query("SHOW PROCESSLIST").await.unwrap();
    for thread in threads {
        let (id, state): (u64, Option<String>) = (thread.get("Id").unwrap(), thread.get("State").unwrap());
        if state.is_some_and(|s| s.contains("has read all relay log")) {
            root.query_drop(format!("KILL CONNECTION {id}")).await.unwrap();
        }
    }
    let reading = eventually("it is gone", || async {
        let reading = read(&mut pair.replica.admin().await, patience()).await.unwrap();
        let replica = reading.replica.unwrap();
        (replica.sql == ReplicaThread::Stopped).then_some(replica)
    })
    .await;
    // ER_MTA_INCONSISTENT_DATA: no error of the data, and a start ends it.
    assert_eq!(reading.sql_errno, 1756, "{}", reading.sql_error);
    assert_done(start_applier(&mut admin, patience()).await);
    eventually("it applies again", || async {
        let replica = read(&mut pair.replica.admin().await, patience()).await.unwrap().replica.unwrap();
        (replica.sql == ReplicaThread::Running && replica.sql_error.is_empty()).then_some(())
    })
    .await;
}
