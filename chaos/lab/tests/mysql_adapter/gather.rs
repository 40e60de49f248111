//! A candidate that is no acker takes what was acknowledged from one that is.

use model::{GtidSet, ReplicaThread};
use replication_mysql::{
    Deadline, Outcome, Refusal, Switch, gather, point_at_source, promote, set_super_read_only, start_replica,
    stop_io_thread, stop_replica, wait_drained,
};
use std::time::Duration;

use chaos_lab::mysqld::MysqlRoot;

use crate::server::{
    Pair, Server, assert_done, count, eventually_session, insert, mariadb_root, patience, root,
};

/// A third server that follows the pair's source, and has caught up.
async fn beside(pair: &Pair) -> Server {
    let server = Server::started_of(pair.source.root).await;
    let mut admin = server.admin().await;
    let source = pair.source.source();
    let how = replication_mysql::RelayLog::MustBeDrained;
    assert_done(point_at_source(&mut admin, &source, how, patience()).await);
    assert_done(start_replica(&mut admin, patience()).await);
    let wanted = pair.source.executed().await;
    eventually_session("the third server catches up", &mut admin, async |s| {
        let now = replication_mysql::read(s, patience()).await.unwrap();
        now.gtid_executed.contains(&wanted).then_some(())
    })
    .await;
    server
}

/// The primary dies; what it had acknowledged is on the acker of the other site, and not on the server beside it.
async fn what_was_acknowledged_is_gathered(root: &'static MysqlRoot) {
    let mut pair = Pair::up_of(root).await;
    let candidate = beside(&pair).await;
    let mut mine = candidate.admin().await;
    assert_done(stop_replica(&mut mine, patience()).await);
    let mut app = pair.source.app().await;
    for _ in 0..5 {
        insert(&mut app, "acknowledged").await.unwrap();
    }
    pair.caught_up().await;
    pair.source.crash();

    let mut acker = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut acker, patience()).await);
    let received = assert_done(wait_drained(&mut acker, patience()).await);
    let held = pair.replica.executed().await;
    assert!(held.contains(&received));
    let lacks = held.subtract(&candidate.executed().await);
    assert!(!lacks.is_empty(), "the candidate lacks what was acknowledged");

    let reached = assert_done(gather(&mut mine, &pair.replica.source(), &held, patience()).await);
    assert!(reached.contains(&held), "{reached} lacks some of {held}");
    let channel = candidate.reading().await.replica.unwrap();
    assert_eq!(channel.io, ReplicaThread::Stopped, "it receives no more");
    // Again, as after a lost answer: nothing is missing, and nothing is begun.
    let again = assert_done(gather(&mut mine, &pair.replica.source(), &held, patience()).await);
    assert_eq!(again, reached);

    assert_done(promote(&mut mine, patience()).await);
    assert_done(set_super_read_only(&mut mine, Switch::Off, patience()).await);
    assert_eq!(count(&mut candidate.app().await, "acknowledged").await, 5);
    // The acker follows it, with nothing that it has not.
    pair.source = candidate;
    pair.follow(&pair.source.source()).await;
    insert(&mut pair.source.app().await, "behind the move").await.unwrap();
    pair.caught_up().await;
}

#[tokio::test]
async fn a_server_beside_the_primary_gathers_what_was_acknowledged() {
    what_was_acknowledged_is_gathered(root()).await;
}

#[tokio::test]
async fn so_it_does_on_mariadb() {
    what_was_acknowledged_is_gathered(mariadb_root()).await;
}

/// Goal: nothing is gathered into a server that takes writes; what does not come fails at the deadline, with the
/// receiver stopped, and is named.
#[tokio::test]
async fn what_does_not_come_is_named_and_the_receiver_stopped() {
    let mut pair = Pair::up().await;
    let candidate = beside(&pair).await;
    let mut mine = candidate.admin().await;
    pair.source.crash();
    let nobody_has = GtidSet::interval(pair.replica.uuid.clone(), 1, 3);
    let soon = || Deadline::after(Duration::from_millis(1_500));
    let outcome = gather(&mut mine, &pair.replica.source(), &nobody_has, soon()).await;
    let text = outcome.to_string();
    assert!(matches!(outcome, Outcome::Failed(_)) && text.contains(&nobody_has.to_string()), "{text}");
    assert_eq!(candidate.reading().await.replica.unwrap().io, ReplicaThread::Stopped);

    assert_done(set_super_read_only(&mut pair.replica.admin().await, Switch::Off, patience()).await);
    let writable = gather(&mut pair.replica.admin().await, &candidate.source(), &nobody_has, soon()).await;
    assert!(matches!(writable, Outcome::Refused(Refusal::Writable)), "{writable}");
}
