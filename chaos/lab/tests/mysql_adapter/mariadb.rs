//! MariaDB 10.11: what docs/design/0011 says of it, held against real servers.

use mysql_async::prelude::Queryable;
use replication_mysql::{
    ConnectError, Endpoint, Opening, Outcome, Refusal, RelayLog, Sentinel, Session, Switch, clone_from,
    ensure_schema, kill_client_sessions, point_at_source, promote, read, replica_semi_sync,
    semi_sync_reading, set_super_read_only, start_applier, start_replica, stop_io_thread, stop_replica,
    wait_drained, write_opening, write_sentinel,
};

use crate::server::{
    Pair, Server, assert_done, count, eventually, eventually_session, insert, mariadb_root, patience, short,
};

/// Goal: it boots fenced, is called by its server id, and is not taken for MySQL.
#[tokio::test]
async fn a_fresh_server_reads_as_fenced_and_is_not_taken_for_mysql() {
    let server = Server::started_of(mariadb_root()).await;
    let now = server.reading().await;
    assert!(now.read_only && now.super_read_only && !now.offline_mode);
    assert_eq!(now.server_uuid, server.uuid);
    assert_eq!(now.flavour(), model::Flavour::Mariadb);
    assert!(now.gtid_executed.is_empty() && now.gtid_purged.is_empty() && now.replica.is_none());
    assert!(!now.semi_sync.source_enabled && !now.semi_sync.replica_enabled);
    assert_eq!((now.settings.sync_relay_log, now.settings.relay_log_recovery), (1, false));
    let admin = server.admin().await;
    assert!(admin.has_role());
    let as_mysql: Endpoint = server.endpoint().with_flavour(model::Flavour::Mysql);
    let error = Session::connect(&as_mysql, short()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Flavour { .. }), "{error}");
    assert!(error.to_string().contains("`flavour`"), "{error}");
}

/// Goal: the account may write though the server is read only, and what the adapter writes does not.
#[tokio::test]
async fn the_adapter_writes_nothing_on_a_server_that_is_read_only() {
    let server = Server::started_of(mariadb_root()).await;
    let mut admin = server.admin().await;
    let mark = || Opening { epoch: model::Epoch(1), life: model::ProcessStart(1), nonce: 7 };
    let sentinel = || Sentinel { epoch: model::Epoch(1), g: model::SyncGeneration(1), nonce: 7 };
    let refused = |outcome: Outcome| matches!(outcome, Outcome::Refused(Refusal::ReadOnly));
    assert!(refused(ensure_schema(&mut admin, patience()).await));
    assert!(refused(write_opening(&mut admin, mark(), patience()).await));
    assert!(server.executed().await.is_empty());
    server.open().await;
    assert_done(write_opening(&mut admin, mark(), patience()).await);
    assert_done(write_sentinel(&mut admin, sentinel(), patience()).await);
    let written = server.reading().await;
    assert_eq!(written.opening.map(|m| (m.nonce, m.count)), Some((7, 1)));
    assert_done(set_super_read_only(&mut admin, Switch::On, patience()).await);
    assert!(refused(write_opening(&mut admin, mark(), patience()).await));
    assert!(refused(write_sentinel(&mut admin, sentinel(), patience()).await));
    assert_eq!(server.executed().await, written.gtid_executed);
}

/// Goal: in `Sync` a commit waits for the acker, is counted when acknowledged, and stands in the set of
/// the source before that.
#[tokio::test]
async fn an_armed_source_waits_for_its_acker_and_tells_what_was_acknowledged() {
    let pair = Pair::up_of(mariadb_root()).await;
    pair.arm().await;
    let mut app = pair.source.app().await;
    insert(&mut app, "acknowledged").await.unwrap();
    let before = pair.source.reading().await;
    assert!(before.semi_sync.source_enabled && before.semi_sync.acknowledged >= Some(1));
    assert_eq!((before.semi_sync.wait_count, before.semi_sync.clients), (1, 1));
    let mut replica = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut replica, patience()).await);
    let waiting = tokio::spawn(async move { insert(&mut app, "waits").await });
    let mut admin = pair.source.admin().await;
    eventually_session("a commit waits", &mut admin, async |s| {
        (semi_sync_reading(s, patience()).await.unwrap().waiting_sessions == 1).then_some(())
    })
    .await;
    let during = pair.source.reading().await;
    assert_eq!(during.semi_sync.acknowledged_since(&before.semi_sync), Some(false));
    assert_ne!(during.gtid_executed, before.gtid_executed);
    // No session is ended here: it would be told OK.
    let kill = kill_client_sessions(&mut admin, patience()).await;
    assert!(matches!(kill, Outcome::Refused(Refusal::KillTellsWaiters)), "{kill}");
    assert!(!set_super_read_only(&mut admin, Switch::On, short()).await.is_done());
    assert_done(start_replica(&mut replica, patience()).await);
    waiting.await.unwrap().unwrap();
    pair.caught_up().await;
    assert_eq!(count(&mut pair.replica.app().await, "waits").await, 1);
}

/// Goal: the preparations of a second sentinel do not queue behind the row of a first that waits.
#[tokio::test]
async fn a_sentinel_that_waits_does_not_hold_up_the_next_ones_preparations() {
    for root in [mariadb_root(), crate::server::root()] {
        let pair = Pair::up_of(root).await;
        pair.arm().await;
        let mut replica = pair.replica.admin().await;
        assert_done(stop_io_thread(&mut replica, patience()).await);
        let mut first = pair.source.admin().await;
        let sentinel = |nonce| Sentinel { epoch: model::Epoch(1), g: model::SyncGeneration(1), nonce };
        let waiting =
            tokio::spawn(async move { write_sentinel(&mut first, sentinel(1), patience()).await.is_done() });
        let mut admin = pair.source.admin().await;
        eventually_session("a sentinel waits", &mut admin, async |s| {
            (semi_sync_reading(s, patience()).await.unwrap().waiting_sessions == 1).then_some(())
        })
        .await;
        assert_done(ensure_schema(&mut admin, short()).await);
        assert_done(start_replica(&mut replica, patience()).await);
        assert_done(write_sentinel(&mut admin, sentinel(2), patience()).await);
        assert!(waiting.await.unwrap());
    }
}

/// Goal: a killed source's ghost is told, after its number was given out anew as well.
#[tokio::test]
async fn a_ghost_stays_visible_when_its_number_is_given_out_again() {
    let mut pair = Pair::up_of(mariadb_root()).await;
    pair.arm().await;
    let mut replica = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut replica, patience()).await);
    let held = pair.replica.reading().await.gtid_held();
    let mut app = pair.source.app().await;
    let waiting = tokio::spawn(async move { insert(&mut app, "ghost").await });
    let mut admin = pair.source.admin().await;
    eventually_session("a commit waits", &mut admin, async |s| {
        (semi_sync_reading(s, patience()).await.unwrap().waiting_sessions == 1).then_some(())
    })
    .await;
    pair.source.crash();
    assert!(waiting.await.unwrap().is_err());
    assert_done(wait_drained(&mut replica, patience()).await);
    let promoted = assert_done(promote(&mut replica, patience()).await);
    assert_eq!(promoted.executed, held);
    pair.replica.open().await;
    for n in 0..5 {
        insert(&mut pair.replica.app().await, &format!("after {n}")).await.unwrap();
    }
    pair.source.start().await;
    let old = pair.source.reading().await;
    let extra = old.gtid_held().subtract(&pair.replica.executed().await);
    assert_eq!(extra.count(), 1, "{extra}");
    assert_eq!(extra.of(&pair.source.uuid), extra);
    // Nothing copies over it, and MariaDB itself does not let it follow.
    let mut old = pair.source.admin().await;
    let donor = replication_mysql::Donor {
        address: pair.replica.address(),
        user: chaos_lab::mysqld::REPLICATION_USER.into(),
        password: chaos_lab::mysqld::PASSWORD.into(),
        ca: None,
    };
    let cloned = clone_from(&mut old, &donor, patience()).await;
    assert!(matches!(cloned, Outcome::Refused(Refusal::NoClone)), "{cloned}");
    assert_done(point_at_source(&mut old, &pair.replica.source(), RelayLog::Reset, patience()).await);
    assert_done(start_replica(&mut old, patience()).await);
    eventually_session("the receiver is refused", &mut old, async |s| {
        let now = read(s, patience()).await.unwrap();
        now.replica.filter(|r| r.io_error.contains("1236") || !r.io_error.is_empty()).map(|_| ())
    })
    .await;
}

/// Goal: an old primary without ghosts follows its successor from where it stands, and back.
#[tokio::test]
async fn a_clean_old_primary_follows_its_successor() {
    let pair = Pair::up_of(mariadb_root()).await;
    let mut replica = pair.replica.admin().await;
    let mut old = pair.source.admin().await;
    assert_done(set_super_read_only(&mut old, Switch::On, patience()).await);
    pair.caught_up().await;
    assert_done(stop_io_thread(&mut replica, patience()).await);
    assert_done(wait_drained(&mut replica, patience()).await);
    assert_done(promote(&mut replica, patience()).await);
    pair.replica.open().await;
    insert(&mut pair.replica.app().await, "from the successor").await.unwrap();
    assert_done(point_at_source(&mut old, &pair.replica.source(), RelayLog::Reset, patience()).await);
    assert_done(start_replica(&mut old, patience()).await);
    let wanted = pair.replica.executed().await;
    eventually("it has what its successor wrote", || async {
        let now = pair.source.reading().await;
        (now.gtid_executed == wanted).then_some(())
    })
    .await;
    let channel = pair.source.reading().await.replica.unwrap();
    assert_eq!(channel.source_uuid, Some(pair.replica.uuid.clone()));
    assert_eq!(count(&mut pair.source.app().await, "from the successor").await, 1);
}

/// Goal: a relay log that may be the only copy is not dropped by a start, and goes when nobody was
/// promised anything.
#[tokio::test]
async fn what_was_acknowledged_and_not_applied_is_not_dropped_by_a_start() {
    let pair = Pair::up_of(mariadb_root()).await;
    pair.arm().await;
    let mut conn = pair.replica.root_conn().await;
    conn.query_drop("STOP SLAVE SQL_THREAD").await.unwrap();
    insert(&mut pair.source.app().await, "only received").await.unwrap();
    let mut replica = pair.replica.admin().await;
    eventually_session("it is received", &mut replica, async |s| {
        let now = read(s, patience()).await.unwrap();
        now.replica.filter(|r| !r.gtid_received.subtract(&now.gtid_executed).is_empty()).map(|_| ())
    })
    .await;
    let off = replica_semi_sync(&mut replica, Switch::Off, patience()).await;
    assert!(matches!(off, Outcome::Refused(Refusal::ApplierStopped { .. })), "{off}");
    assert_done(stop_replica(&mut replica, patience()).await);
    for outcome in
        [start_applier(&mut replica, patience()).await, start_replica(&mut replica, patience()).await]
    {
        assert!(matches!(outcome, Outcome::Refused(Refusal::DropsRelayLog { .. })), "{outcome}");
    }
    let now = pair.replica.reading().await;
    assert!(!now.gtid_held().subtract(&now.gtid_executed).is_empty(), "it is still there");
    // Weakened: it acknowledges nothing any more, and asks the source again.
    assert_done(replica_semi_sync(&mut replica, Switch::Off, patience()).await);
    assert_done(start_replica(&mut replica, patience()).await);
    pair.caught_up().await;
}

/// Goal: what it acknowledged and had not applied is gone with a MariaDB server's process, and what it answers
/// afterwards looks as if there had been nothing: so its guard refuses to drain another life
/// (`candidate-forgets.txt`).
#[tokio::test]
async fn a_killed_replica_forgets_what_it_had_not_applied() {
    let mut pair = Pair::up_of(mariadb_root()).await;
    pair.arm().await;
    pair.replica.root_conn().await.query_drop("STOP SLAVE SQL_THREAD").await.unwrap();
    insert(&mut pair.source.app().await, "only received").await.unwrap();
    let wanted = pair.source.executed().await;
    pair.source.crash();
    pair.replica.crash();
    pair.replica.start().await;

    let mut replica = pair.replica.admin().await;
    let held = read(&mut replica, patience()).await.unwrap().gtid_held();
    assert!(!held.contains(&wanted), "{held} of {wanted}");
    // Nothing in the server tells that anything is missing: the order to drain names the life that acknowledged.
    assert_done(start_applier(&mut replica, patience()).await);
    let drained = assert_done(wait_drained(&mut replica, short()).await);
    assert!(!pair.replica.executed().await.contains(&wanted) && !drained.contains(&wanted), "{drained}");
    assert!(pair.replica.reading().await.restart_drops_relay_log());
}
