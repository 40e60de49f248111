//! Arming semi-sync, what an ack proves, and what stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::{ACK_TIMEOUT_MS, Epoch, SyncGeneration};
use mysql_async::prelude::Queryable;
use replication_mysql::{
    Deadline, Outcome, Refusal, Sentinel, Switch, arm_source_semi_sync, disarm_source_semi_sync, read,
    read_sentinels, replica_semi_sync, semi_sync_reading, start_receiver, start_replica, stop_io_thread,
    write_sentinel,
};

use crate::proxy::Proxy;
use crate::server::{Pair, Server, assert_done, count, eventually_session, insert, patience, short};

fn sentinel(nonce: u64) -> Sentinel {
    Sentinel { epoch: Epoch(3), g: SyncGeneration(7), nonce }
}

/// Armed without an acker, the next commit would hang: refused. With more ackers than counted, a count
/// proves nothing: refused too.
#[tokio::test]
async fn semi_sync_is_armed_only_with_exactly_its_ackers_attached() {
    let pair = Pair::up().await;
    let mut source = pair.source.admin().await;
    let refusal = arm_source_semi_sync(&mut source, 1, patience()).await;
    assert!(
        matches!(refusal, Outcome::Refused(Refusal::SemiSyncClients { wanted: 1, connected: 0 })),
        "{refusal}"
    );
    pair.arm().await;
    let refusal = arm_source_semi_sync(&mut source, 2, patience()).await;
    assert!(
        matches!(refusal, Outcome::Refused(Refusal::SemiSyncClients { wanted: 2, connected: 1 })),
        "{refusal}"
    );
    // Idempotent, and with terms that never degrade in silence.
    let armed = assert_done(arm_source_semi_sync(&mut source, 1, patience()).await);
    assert!(armed.source_enabled && armed.source_operating && armed.wait_count == 1);
    let reading = read(&mut source, patience()).await.unwrap();
    assert_eq!(reading.settings.semi_sync_timeout_ms, ACK_TIMEOUT_MS);
    insert(&mut pair.source.app().await, "acknowledged").await.unwrap();

    // Somebody sets a timeout by hand: it goes, also where nothing else may be done.
    let mut root = pair.source.root_conn().await;
    let by_hand =
        "SET GLOBAL rpl_semi_sync_source_timeout = 10000, GLOBAL rpl_semi_sync_source_wait_no_replica = OFF";
    root.query_drop(by_hand).await.unwrap();
    assert!(!read(&mut source, patience()).await.unwrap().settings.waits_for_acks());
    let refusal = arm_source_semi_sync(&mut source, 2, patience()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::SemiSyncClients { .. })), "{refusal}");
    assert!(read(&mut source, patience()).await.unwrap().settings.waits_for_acks());

    assert_done(disarm_source_semi_sync(&mut source, patience()).await);
    assert_done(disarm_source_semi_sync(&mut source, patience()).await);
    assert!(!semi_sync_reading(&mut source, patience()).await.unwrap().source_enabled);
}

/// An acker attaches while its applier and receiver are behind; the sentinel's commit returns only when
/// the acker holds everything before it.
#[tokio::test]
async fn a_sentinel_is_acknowledged_exactly_when_the_acker_holds_everything() {
    let pair = Pair::up().await;
    let mut replica = pair.replica.admin().await;
    let mut source = pair.source.admin().await;
    for round in 0..3 {
        assert_done(stop_io_thread(&mut replica, patience()).await);
        let mut client = pair.source.app().await;
        for _ in 0..300 {
            insert(&mut client, "backlog").await.unwrap();
        }
        assert_done(replica_semi_sync(&mut replica, Switch::On, patience()).await);
        assert!(read(&mut replica, patience()).await.unwrap().semi_sync.replica_enabled);
        assert_done(start_receiver(&mut replica, patience()).await);
        pair.attached().await;
        assert_done(arm_source_semi_sync(&mut source, 1, patience()).await);
        let before = read(&mut source, patience()).await.unwrap().gtid_executed;
        let mut writer = pair.source.admin().await;
        assert_done(write_sentinel(&mut writer, sentinel(round), patience()).await);
        let held = read(&mut replica, patience()).await.unwrap().gtid_held();
        assert!(held.contains(&before), "lacks {}", before.subtract(&held));
        assert!(read_sentinels(&mut source, patience()).await.unwrap().contains(&sentinel(round)));
        assert_done(disarm_source_semi_sync(&mut source, patience()).await);
    }
}

/// The clock-free fence: once the acker's receiver is stopped, no client is told OK any more.
#[tokio::test]
async fn nothing_is_acknowledged_after_the_receiver_stopped() {
    let pair = Pair::up_in_sync().await;
    let acks = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for _ in 0..8 {
        let mut client = pair.source.app().await;
        let (acks, over) = (acks.clone(), over.clone());
        writers.push(tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) && insert(&mut client, "load").await.is_ok() {
                acks.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    let mut source = pair.source.admin().await;
    eventually_session("load is on", &mut source, async |_| {
        (acks.load(Ordering::SeqCst) > 200).then_some(())
    })
    .await;

    let mut replica = pair.replica.admin().await;
    let began = Instant::now();
    let stopped = assert_done(stop_io_thread(&mut replica, patience()).await);
    eprintln!("figure: stop_io_thread takes {:?} under load", began.elapsed());
    // Acks that were on their way when it stopped are counted on this machine's other tasks a moment
    // later; all of them are held by the acker, which is what counts.
    eventually_session("every writer waits", &mut source, async |s| {
        let first = acks.load(Ordering::SeqCst);
        let waiting = semi_sync_reading(s, patience()).await.unwrap().waiting_sessions;
        tokio::time::sleep(Duration::from_millis(50)).await;
        (waiting >= 1 && acks.load(Ordering::SeqCst) == first).then_some(())
    })
    .await;
    let told = acks.load(Ordering::SeqCst);
    let executed = read(&mut source, patience()).await.unwrap().gtid_executed;
    assert!(stopped.executed.union(&stopped.replica.unwrap().gtid_received).contains(&executed));
    let mut waits = pair.source.admin().await;
    let outcome = write_sentinel(&mut waits, sentinel(1), short()).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome}");
    assert_eq!(acks.load(Ordering::SeqCst), told, "a commit was acknowledged with no acker attached");

    over.store(true, Ordering::SeqCst);
    assert_done(start_receiver(&mut replica, patience()).await);
    for writer in writers {
        tokio::time::timeout(crate::server::PATIENCE, writer).await.unwrap().unwrap();
    }
    assert!(acks.load(Ordering::SeqCst) >= told);
}

/// The acker has the transaction, its ack was lost, it attaches again: the waiter stays stuck until a
/// later commit is acknowledged.
#[tokio::test]
async fn a_second_sentinel_frees_a_waiter_whose_ack_was_lost() {
    let pair = Pair::up().await;
    let proxy = Proxy::to(pair.source.address());
    assert_done(stop_io_thread(&mut pair.replica.admin().await, patience()).await);
    pair.follow(&pair.source.source_at(proxy.port)).await;
    pair.caught_up().await;
    pair.arm().await;

    proxy.swallow_acks();
    let before = pair.source.executed().await;
    let mut client = pair.source.app().await;
    let waiter = tokio::spawn(async move { insert(&mut client, "ack lost").await });
    let mut replica = pair.replica.admin().await;
    eventually_session("the row arrives", &mut replica, async |s| {
        let held = read(s, patience()).await.unwrap().gtid_held();
        (!held.subtract(&before).is_empty()).then_some(())
    })
    .await;
    assert!(!waiter.is_finished());
    proxy.cut_and_heal();
    pair.attached().await;
    // It is attached and has everything, and yet nobody tells the waiter.
    let mut source = pair.source.admin().await;
    eventually_session("the replica runs again", &mut replica, async |s| {
        let r = read(s, patience()).await.unwrap().replica.unwrap();
        (r.io == model::ReplicaThread::Running).then_some(())
    })
    .await;
    assert!(semi_sync_reading(&mut source, patience()).await.unwrap().waiting_sessions >= 1);
    assert!(!waiter.is_finished());

    let mut writer = pair.source.admin().await;
    assert_done(write_sentinel(&mut writer, sentinel(2), patience()).await);
    tokio::time::timeout(crate::server::PATIENCE, waiter).await.unwrap().unwrap().unwrap();
    assert_eq!(count(&mut pair.source.app().await, "ack lost").await, 1);
}

/// A replica's semi-sync is switched without starting a receiver that somebody stopped.
#[tokio::test]
async fn switching_the_replicas_semi_sync_never_starts_a_stopped_receiver() {
    let pair = Pair::up().await;
    let mut replica = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut replica, patience()).await);
    assert_done(replica_semi_sync(&mut replica, Switch::On, patience()).await);
    let reading = read(&mut replica, patience()).await.unwrap();
    assert!(reading.semi_sync.replica_enabled);
    assert_eq!(reading.replica.unwrap().io, model::ReplicaThread::Stopped);

    // And one that runs is attached anew, both ways.
    assert_done(start_receiver(&mut replica, patience()).await);
    pair.attached().await;
    assert_done(replica_semi_sync(&mut replica, Switch::Off, patience()).await);
    let mut source = pair.source.admin().await;
    eventually_session("the acker is gone", &mut source, async |s| {
        (semi_sync_reading(s, patience()).await.unwrap().clients == 0).then_some(())
    })
    .await;
}

/// Without the plugins the acts say what is missing instead of an error number.
#[tokio::test]
async fn a_server_without_the_plugins_is_refused_by_name() {
    let mut server = Server::lay();
    let cnf = std::fs::read_to_string(&server.spec.cnf).unwrap();
    let bare: String = cnf.lines().filter(|l| !l.contains("semi")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&server.spec.cnf, bare).unwrap();
    server.start().await;
    let mut admin = server.admin().await;
    let reading = read(&mut admin, patience()).await.unwrap();
    assert!(!reading.semi_sync.source_enabled);
    let refusal = arm_source_semi_sync(&mut admin, 1, patience()).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::Plugin { .. })), "{refusal}");
    let refusal = replica_semi_sync(&mut admin, Switch::On, Deadline::after(crate::server::PATIENCE)).await;
    assert!(matches!(refusal, Outcome::Refused(Refusal::Plugin { .. })), "{refusal}");
    assert_done(disarm_source_semi_sync(&mut admin, patience()).await);
}

/// Goal: what an acker received before is synced, and every event from then on; one that acknowledges
/// nothing syncs at leisure and receives several times faster, and so does one whose source makes one event of the
/// rows of a transaction. The figures are printed, not judged.
#[tokio::test]
async fn only_an_acker_syncs_every_event() {
    let pair = Pair::up().await;
    let mut replica = pair.replica.admin().await;
    let mut took = Vec::new();
    for (to, compression) in [(Switch::On, "OFF"), (Switch::On, "ON"), (Switch::Off, "OFF")] {
        let mut root = pair.source.root_conn().await;
        let set = format!("SET GLOBAL binlog_transaction_compression = {compression}");
        mysql_async::prelude::Queryable::query_drop(&mut root, set).await.unwrap();
        assert_done(replica_semi_sync(&mut replica, to, patience()).await);
        let reading = eventually_session("it goes on receiving", &mut replica, async |s| {
            let now = read(s, patience()).await.unwrap();
            now.replica.as_ref().is_some_and(|r| r.io == model::ReplicaThread::Running).then_some(now)
        })
        .await;
        let synced = reading.settings.sync_relay_log == 1;
        assert_eq!((reading.semi_sync.replica_enabled, synced), (to == Switch::On, to == Switch::On));

        assert_done(stop_io_thread(&mut replica, patience()).await);
        let mut client = pair.source.app().await;
        for _ in 0..500 {
            insert(&mut client, "backlog").await.unwrap();
        }
        let all = pair.source.executed().await;
        let began = Instant::now();
        assert_done(start_receiver(&mut replica, patience()).await);
        eventually_session("all is received", &mut replica, async |s| {
            read(s, patience()).await.unwrap().gtid_held().contains(&all).then_some(())
        })
        .await;
        took.push(began.elapsed());
    }
    eprintln!(
        "figure: 500 transactions are received in {:?} synced event by event, {:?} where a transaction is two of them, \
         {:?} at leisure",
        took[0], took[1], took[2]
    );
}

/// A power cut tears a relay log that is synced at leisure.
/// Goal: the server cuts it at the last whole transaction when it starts, and asks for the rest again.
#[tokio::test]
async fn a_torn_relay_log_is_cut_and_the_rest_asked_for_again() {
    let mut pair = Pair::up().await;
    let mut replica = pair.replica.admin().await;
    let mut root = pair.replica.root_conn().await;
    mysql_async::prelude::Queryable::query_drop(&mut root, "STOP REPLICA SQL_THREAD").await.unwrap();
    for _ in 0..20 {
        insert(&mut pair.source.app().await, "received and not applied").await.unwrap();
    }
    let all = pair.source.executed().await;
    eventually_session("all is received", &mut replica, async |s| {
        read(s, patience()).await.unwrap().gtid_held().contains(&all).then_some(())
    })
    .await;
    pair.replica.crash();
    let files = std::fs::read_dir(&pair.replica.spec.data_dir).unwrap().map(|entry| entry.unwrap().path());
    let log =
        files.filter(|path| path.with_extension("").ends_with("relay") && !path.ends_with("relay.index"));
    let file = std::fs::OpenOptions::new().write(true).open(log.max().unwrap()).unwrap();
    let length = file.metadata().unwrap().len();
    // A block that never reached the disk reads as zeros.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 700], length - 1_500).unwrap();
    pair.replica.start().await;

    let mut replica = pair.replica.admin().await;
    let held = read(&mut replica, patience()).await.unwrap().gtid_held();
    assert!(!held.contains(&all), "what was torn does not count as held");
    assert_done(start_replica(&mut replica, patience()).await);
    pair.caught_up().await;
}
