//! `twofold switchover`, as the person who types it sees it: in the lab, with real servers.

mod lab;

use std::time::{Duration, Instant};

use lab::{Lab, PATIENCE, said};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

/// A session of an application on a site's own server, through its socket.
async fn session(lab: &Lab, site: &str) -> Conn {
    let socket = lab.dir().join(format!("hosts/{site}-db/mysqld.sock"));
    let options = OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some(chaos_lab::mysqld::APPLICATION_USER))
        .pass(Some(chaos_lab::mysqld::PASSWORD))
        .db_name(Some(chaos_lab::mysqld::APPLICATION_SCHEMA))
        .stmt_cache_size(0);
    Conn::new(options).await.expect("the server is up")
}

fn other(site: &str) -> &'static str {
    if site == "pdc" { "mdc" } else { "pdc" }
}

/// Goal: what a person sees and gets: a dry run that begins nothing; a move there and back home, each in
/// the next epoch and back in `Sync`; a transaction that is open for long is named, and refused; a
/// statement that cannot be waited for has the move undone, in `Sync`, with its row kept.
#[test]
fn a_switchover_moves_the_group_or_leaves_it_as_it_was() {
    let lab = Lab::up();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let first = lab.settled();
    let (_, home) = lab.leader_and_active();
    let away = other(&home);

    let planned = lab.inside_cli(&["switchover", "shop", "--to", away, "--dry-run"]);
    assert!(planned.status.success(), "{}", said(&planned));
    assert!(said(&planned).contains("ready: nothing was begun"), "{}", said(&planned));
    assert_eq!(lab.settled(), first, "a dry run begins nothing");
    let nowhere = lab.inside_cli(&["switchover", "shop", "--to", &home]);
    assert_eq!(nowhere.status.code(), Some(3), "{}", said(&nowhere));
    let unknown = lab.inside_cli(&["switchover", "shop", "--to", "atlantis"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(said(&unknown).contains("known: mdc, pdc, wit"), "{}", said(&unknown));

    let moved = lab.inside_cli(&["switchover", "shop", "--to", away]);
    assert!(moved.status.success(), "{}", said(&moved));
    assert_eq!((lab.settled(), lab.leader_and_active().1.as_str()), (first + 1, away));

    // Home again, which a transaction that somebody forgot stands against, by name.
    let mut forgotten = runtime.block_on(session(&lab, away));
    runtime.block_on(async {
        forgotten.query_drop("CREATE TABLE kept (n INT PRIMARY KEY)").await.expect("it is open");
        forgotten.query_drop("BEGIN").await.expect("a transaction");
        forgotten.query_drop("INSERT INTO kept VALUES (1)").await.expect("a row");
    });
    until(|| {
        let planned = lab.inside_cli(&["switchover", "shop", "--to", &home, "--dry-run"]);
        let refused =
            planned.status.code() == Some(3) && said(&planned).contains("NOT SO  no-long-transaction");
        if refused { Ok(()) } else { Err(said(&planned)) }
    });
    let named = lab.inside_cli(&["switchover", "shop", "--to", &home]);
    assert_eq!(named.status.code(), Some(3), "{}", said(&named));
    let line = said(&named);
    assert!(line.contains("no-long-transaction: session ") && line.contains("KILL "), "{line}");
    assert_eq!(lab.settled(), first + 1, "nothing was begun");
    runtime.block_on(forgotten.query_drop("COMMIT")).expect("it is still open");
    until(|| {
        let planned = lab.inside_cli(&["switchover", "shop", "--to", &home, "--dry-run"]);
        if planned.status.success() { Ok(()) } else { Err(said(&planned)) }
    });

    // A statement that runs: writes cannot be taken from everybody, so it is undone.
    let mut busy = runtime.block_on(session(&lab, away));
    let running = runtime.spawn(async move {
        let ran = busy.query_drop("INSERT INTO kept SELECT 2 + SLEEP(20)").await;
        (busy, ran)
    });
    let undone = lab.inside_cli(&["switchover", "shop", "--to", &home]);
    assert_eq!(undone.status.code(), Some(1), "{}", said(&undone));
    assert!(said(&undone).contains("failed at block"), "{}", said(&undone));
    let (_, site) = lab.leader_and_active();
    assert_eq!((lab.settled(), site.as_str()), (first + 2, away), "the same site, one epoch on, in Sync");
    drop(running);

    let back = until(|| {
        let back = lab.inside_cli(&["switchover", "shop", "--to", &home]);
        if back.status.success() { Ok(back) } else { Err(said(&back)) }
    });
    assert!(said(&back).contains(&format!("is served by {home}-db")), "{}", said(&back));
    assert_eq!(lab.leader_and_active().1, home);
    lab.settled();
    let rows: Vec<i64> = runtime.block_on(async {
        let mut conn = session(&lab, &home).await;
        conn.query("SELECT n FROM kept ORDER BY n").await.expect("the table was moved along")
    });
    assert_eq!(rows.first(), Some(&1), "what was committed is there");
}

/// Tries until it is so.
fn until<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
