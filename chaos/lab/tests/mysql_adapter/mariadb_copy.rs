//! A MariaDB server is copied over by another one's data (docs/design/0026), held against real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::Queryable;
use replication_mysql::{
    Backup, CopyError, CopyPlace, DonorStates, Exchange, Exchanged, MysqldProcess, Receiving, RelayLog,
    Sending, exchange, mariadb_grant_statements, mark_copy, point_at_source, prepare, promote,
    set_super_read_only, settle, stand_still, start_replica, still_stands, stop_io_thread, wait_applied,
    wait_drained,
};

use crate::server::{Pair, Server, assert_done, count, insert, mariadb_root, patience, short};

fn backup(server: &Server, folder: &std::path::Path) -> Backup {
    Backup {
        admin: server.endpoint(),
        data_dir: server.spec.data_dir.clone(),
        program: mariadb_root().mariadb_backup(),
        folder: folder.to_owned(),
    }
}

/// The whole stream from one to the other, as the guards carry it.
async fn copied(backup: &Backup, place: &CopyPlace) -> DonorStates {
    let mut sending = Sending::start(backup, patience()).await.unwrap();
    let mut receiving = Receiving::start(place, &mariadb_root().mbstream()).await.unwrap();
    let mut bytes = vec![0; 64 << 10];
    let mut all = 0;
    loop {
        let count = sending.next(&mut bytes).await.unwrap();
        if count == 0 {
            break;
        }
        receiving.take(&bytes[..count]).await.unwrap();
        all += count as u64;
    }
    assert!(all > sending.expected() / 4, "{all} bytes where {} were expected", sending.expected());
    receiving.end(patience()).await.unwrap();
    sending.end(patience()).await.unwrap()
}

/// A source whose replica took over while it wrote two rows that nobody else has.
async fn diverged() -> Pair {
    let pair = Pair::up_of(mariadb_root()).await;
    insert(&mut pair.source.app().await, "before").await.unwrap();
    pair.caught_up().await;
    let mut replica = pair.replica.admin().await;
    assert_done(stop_io_thread(&mut replica, patience()).await);
    for _ in 0..2 {
        insert(&mut pair.source.app().await, "extra").await.unwrap();
    }
    let mut old = pair.source.admin().await;
    assert_done(set_super_read_only(&mut old, replication_mysql::Switch::On, patience()).await);
    assert_done(wait_drained(&mut replica, patience()).await);
    assert_done(promote(&mut replica, patience()).await);
    pair.replica.open().await;
    pair
}

/// Goal: a diverged server is rebuilt from its successor while that takes writes. At its first reading it has exactly the
/// transactions of one moment of the donor, of every server's lane, and the rows that belong to them; it follows, and nothing
/// of its own is left. The account has the listed rights and no others.
#[tokio::test]
async fn a_diverged_server_is_copied_anew_under_writes_and_follows() {
    let mut pair = diverged().await;
    let mut root = pair.replica.root_conn().await;
    root.query_drop("CREATE USER 'least'@'localhost' IDENTIFIED BY 'p\"#w'").await.unwrap();
    root.query_drop("DROP ROLE twofold_agent").await.unwrap();
    // The adapter's own account as well: it reads this server.
    for account in ["'least'@'localhost'", "'twofold'@'localhost'"] {
        for statement in mariadb_grant_statements(account) {
            root.query_drop(statement).await.unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut backup = backup(&pair.replica, folder.path());
    (backup.admin.user, backup.admin.password) = ("least".into(), "p\"#w".into());

    let stop = Arc::new(AtomicBool::new(false));
    let (mut writer, told) = (pair.replica.app().await, stop.clone());
    let load = tokio::spawn(async move {
        let mut rows = 0;
        while !told.load(Ordering::Relaxed) {
            insert(&mut writer, "load").await.unwrap();
            rows += 1;
        }
        rows
    });
    let place = CopyPlace::of(&pair.source.spec.data_dir).unwrap();
    let mut old = pair.source.admin().await;
    let standing = stand_still(&mut old, &place, patience()).await.unwrap();
    let states = copied(&backup, &place).await;
    assert!(!folder.path().join("backup.cnf").exists(), "the account's file is gone");
    assert_ne!(states.before, states.after, "it wrote meanwhile");
    let state =
        prepare(&place, &mariadb_root().mariadb_backup(), &standing.logs, &states, patience()).await.unwrap();
    still_stands(&mut old, &standing, patience()).await.unwrap();

    let copy = Exchange { place: place.clone(), mark: 7, state: state.clone() };
    mark_copy(&copy).unwrap();
    let process = MysqldProcess::find(&pair.source.files()).unwrap().unwrap();
    let (pid_file, admin) = (pair.source.spec.pid_file.clone(), pair.source.endpoint());
    // Written down and not done: it is called off, and the server goes on.
    assert_eq!(settle(&copy, &pid_file, &admin, short()).await.unwrap(), Exchanged::No);
    process.pause(patience()).await.unwrap();
    assert_eq!(settle(&copy, &pid_file, &admin, short()).await.unwrap(), Exchanged::No);
    assert_eq!(pair.source.reading().await.gtid_executed.count(), standing_count(&standing, &pair).await);

    exchange(&process, &copy).await.unwrap();
    assert!(place.beside.is_dir(), "the old data is kept until a server runs on the copy");
    let early = settle(&copy, &pid_file, &admin, short()).await;
    assert!(matches!(early, Err(CopyError::Timeout { .. })), "{early:?}");
    assert!(place.beside.is_dir());
    pair.source.ended().await;
    pair.source.start().await;
    let first = pair.source.reading().await;
    assert_eq!(first.gtid_executed, state, "what it says first is what the donor had");
    assert!(first.super_read_only && first.replica.is_none());
    assert_eq!(first.server_uuid, pair.source.uuid, "it keeps its name");
    assert_eq!(settle(&copy, &pid_file, &admin, patience()).await.unwrap(), Exchanged::Done);
    assert!(!place.beside.exists());
    // Called again, there is nothing to do.
    assert_eq!(settle(&copy, &pid_file, &admin, patience()).await.unwrap(), Exchanged::No);

    let mut new = pair.source.admin().await;
    assert_done(point_at_source(&mut new, &pair.replica.source(), RelayLog::Reset, patience()).await);
    assert_done(start_replica(&mut new, patience()).await);
    stop.store(true, Ordering::Relaxed);
    let rows = load.await.unwrap();
    let wanted = pair.replica.executed().await;
    assert_done(wait_applied(&mut new, &wanted, patience()).await);
    assert_eq!(pair.source.executed().await, wanted);
    let mut app = pair.source.app().await;
    for (value, wanted) in [("before", 1), ("extra", 0), ("load", rows)] {
        assert_eq!(count(&mut app, value).await, wanted, "{value}");
    }
    // It comes back from a crash as what it is.
    pair.source.crash();
    pair.source.start().await;
    assert_eq!(pair.source.executed().await, wanted);
}

async fn standing_count(standing: &replication_mysql::Standing, pair: &Pair) -> u64 {
    still_stands(&mut pair.source.admin().await, standing, patience()).await.unwrap();
    pair.source.executed().await.count()
}

/// Goal: a copy that breaks off leaves the old data as it was, is never taken for whole, and is made again.
#[tokio::test]
async fn a_copy_that_breaks_off_leaves_the_old_data_and_is_made_again() {
    let pair = diverged().await;
    let folder = tempfile::tempdir().unwrap();
    let backup = backup(&pair.replica, folder.path());
    let place = CopyPlace::of(&pair.source.spec.data_dir).unwrap();
    let mut old = pair.source.admin().await;
    let standing = stand_still(&mut old, &place, patience()).await.unwrap();

    let mut sending = Sending::start(&backup, patience()).await.unwrap();
    let mut receiving = Receiving::start(&place, &mariadb_root().mbstream()).await.unwrap();
    let mut bytes = vec![0; 64 << 10];
    let count_of_bytes = sending.next(&mut bytes).await.unwrap();
    receiving.take(&bytes[..count_of_bytes.min(bytes.len()) / 2]).await.unwrap();
    // Both guards die; or the stream ends in the middle of a file.
    drop(sending);
    let ended = receiving.end(patience()).await;
    assert!(matches!(ended, Err(CopyError::Ended { .. })), "{ended:?}");
    still_stands(&mut old, &standing, patience()).await.unwrap();
    assert_eq!(count(&mut pair.source.app().await, "extra").await, 2);
    // The donor is not held up by what was left behind.
    insert(&mut pair.replica.app().await, "after").await.unwrap();

    let states = copied(&backup, &place).await;
    let tool = mariadb_root().mariadb_backup();
    // Of another donor, or of another time.
    let other = DonorStates { after: model::GtidSet::empty(), ..states.clone() };
    let refused = prepare(&place, &tool, &standing.logs, &other, patience()).await;
    assert!(matches!(refused, Err(CopyError::State(_))), "{refused:?}");
    let state = prepare(&place, &tool, &standing.logs, &states, patience()).await.unwrap();
    assert_eq!(state, pair.replica.executed().await);

    // Somebody wrote to it meanwhile: it is not what a person gave up.
    pair.source.root_conn().await.query_drop("SET GLOBAL read_only = OFF").await.unwrap();
    let changed = still_stands(&mut old, &standing, patience()).await;
    assert!(matches!(changed, Err(CopyError::Changed { .. })), "{changed:?}");
    let refused = stand_still(&mut old, &place, patience()).await;
    assert!(matches!(refused, Err(CopyError::Changed { .. })), "{refused:?}");
    assert_eq!(count(&mut pair.source.app().await, "extra").await, 2);
}

/// Goal: the tool's own failure is told with its words, and nothing of it is left.
#[tokio::test]
async fn a_donor_that_cannot_be_copied_says_why() {
    let server = Server::started_of(mariadb_root()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut root = server.root_conn().await;
    root.query_drop("CREATE USER 'none'@'localhost' IDENTIFIED BY 'p'").await.unwrap();
    let mut backup = backup(&server, folder.path());
    (backup.admin.user, backup.admin.password) = ("none".into(), "p".into());
    let mut sending = Sending::start(&backup, patience()).await.unwrap();
    let mut bytes = vec![0; 64 << 10];
    while sending.next(&mut bytes).await.unwrap() > 0 {}
    let error = sending.end(patience()).await.unwrap_err();
    assert!(matches!(error, CopyError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("RELOAD"), "{error}");
    assert!(!folder.path().join("backup.cnf").exists());
}
