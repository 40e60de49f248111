//! Two histories under the same transaction numbers (docs/design/0007).

use std::process::Command;

use model::{DatabaseReading, Epoch, OpeningMark, ProcessStart};
use replication_mysql::{
    Opening, RelayLog, Switch, point_at_source, read, set_super_read_only, start_replica, stop_replica,
    write_opening,
};

use crate::server::{Pair, assert_done, count, eventually_session, insert, mariadb_root, patience};

fn mark(nonce: u64) -> Opening {
    Opening { epoch: Epoch(3), life: ProcessStart(u64::MAX), nonce }
}

/// A source is put back to an older snapshot of itself, opens, and gives numbers out again; the replica
/// reconnects by itself, runs, and its GTIDs say that it has everything.
/// Goal: MySQL does not notice; the mark does.
#[tokio::test]
async fn a_replica_with_other_transactions_under_the_same_numbers_lacks_the_mark() {
    let mut pair = Pair::up().await;
    let mut source = pair.source.admin().await;
    assert_done(write_opening(&mut source, mark(1), patience()).await);
    pair.caught_up().await;
    let first = pair.source.reading().await.opening;
    assert_eq!((newest(first), pair.replica.reading().await.opening), (1, first));

    // The snapshot, and three rows after it that only the replica will keep.
    let data = pair.source.spec.data_dir.clone();
    let snapshot = data.with_extension("snapshot");
    drop(source);
    pair.source.stop().await;
    copy(&data, &snapshot);
    pair.source.start().await;
    pair.source.open().await;
    for _ in 0..3 {
        insert(&mut pair.source.app().await, "kept by the replica alone").await.unwrap();
    }
    pair.caught_up().await;
    let kept = pair.replica.executed().await;
    let mut replica = pair.replica.admin().await;
    assert_done(stop_replica(&mut replica, patience()).await);
    pair.source.crash();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&snapshot, &data).unwrap();
    pair.source.start().await;

    // It opens: the mark first, then clients, past the replica's numbers.
    let mut source = pair.source.admin().await;
    assert_done(set_super_read_only(&mut source, Switch::Off, patience()).await);
    assert_done(write_opening(&mut source, mark(2), patience()).await);
    let covered = read(&mut source, patience()).await.unwrap().gtid_executed;
    assert!(kept.contains(&covered), "the mark took a number of the lost tail");
    for _ in 0..5 {
        insert(&mut pair.source.app().await, "under numbers given out again").await.unwrap();
    }

    assert_done(start_replica(&mut replica, patience()).await);
    let all = pair.source.executed().await;
    let reading: DatabaseReading =
        eventually_session("the replica has every number", &mut replica, async |s| {
            let reading = read(s, patience()).await.unwrap();
            reading.gtid_executed.contains(&all).then_some(reading)
        })
        .await;
    let channel = reading.replica.unwrap();
    assert_eq!((channel.io_error.as_str(), channel.sql_error.as_str()), ("", ""), "MySQL sees nothing wrong");
    assert_eq!(reading.opening, first, "it never got the second mark");
    assert_eq!(newest(pair.source.reading().await.opening), 2);

    // The next opening's mark arrives; that an earlier one is missing is still told.
    assert_done(write_opening(&mut source, mark(3), patience()).await);
    pair.caught_up().await;
    let (ours, theirs) = (pair.source.reading().await.opening, pair.replica.reading().await.opening);
    assert_eq!((newest(ours), newest(theirs)), (3, 3));
    assert_ne!(ours, theirs, "all marks count, not the newest alone");
}

fn newest(opening: Option<OpeningMark>) -> u64 {
    opening.unwrap().nonce
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Goal: a server whose disk lied, or whose volume was put back to an older state, gets its own transactions back from whoever
/// received them: MySQL would ignore them by their server id, and they would be missing for ever, with nothing to tell it
/// by but a gap (`replicate_same_server_id`). Method: its data as they were before the tail, and its replica as its source.
#[tokio::test]
async fn a_server_gets_its_own_lost_transactions_back() {
    assert_eq!(gets_back(Pair::up().await).await, 1);
}

/// Goal: what MariaDB does, which has no such setting beside `log_slave_updates`: it passes over them, and says that it has
/// them. So a server that lost what it wrote itself is never put back by twofold (`mariadb-return.txt`).
#[tokio::test]
async fn a_mariadb_server_says_that_it_has_what_it_lost() {
    assert_eq!(gets_back(Pair::up_of(mariadb_root()).await).await, 0);
}

/// How many rows that the source wrote last and lost are there, once it says that it has their transactions.
async fn gets_back(mut pair: Pair) -> u64 {
    insert(&mut pair.source.app().await, "kept").await.unwrap();
    pair.caught_up().await;
    pair.source.stop().await;
    let data = pair.source.spec.data_dir.clone();
    let before = data.with_extension("before");
    copy(&data, &before);
    pair.source.start().await;
    pair.source.open().await;
    insert(&mut pair.source.app().await, "lost").await.unwrap();
    pair.caught_up().await;
    pair.source.crash();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&before, &data).unwrap();

    pair.source.start().await;
    let lost = pair.replica.executed().await.subtract(&pair.source.executed().await);
    assert!(!lost.is_empty());
    let mut admin = pair.source.admin().await;
    assert_done(point_at_source(&mut admin, &pair.replica.source(), RelayLog::Reset, patience()).await);
    assert_done(start_replica(&mut admin, patience()).await);
    eventually_session("what it lost is back", &mut admin, async |s| {
        read(s, patience()).await.unwrap().gtid_executed.contains(&lost).then_some(())
    })
    .await;
    count(&mut pair.source.app().await, "lost").await
}
