//! K3s's objects behind a promotion: kine's table, the gap, and a watch across it.
//!
//! The watch here is kine's (`pkg/logstructured/sqllog`, `After` and `poll`): rows beyond a revision in their order,
//! without those that fill a gap. A running poll takes no step over a revision that is missing; one that starts
//! begins at the newest.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use replication_mysql::{
    KineGap, Opening, Outcome, Session, Switch, kine, promote, set_super_read_only, stop_replica,
    write_opening_and_gap,
};

use crate::server::{Pair, Server, assert_done, mariadb_root, patience, root};
use chaos_lab::mysqld::{KINE_SCHEMA, MysqlRoot};

/// The table and its first row.
async fn make(conn: &mut Conn) {
    for statement in &chaos_lab::ready::TABLES[3..] {
        conn.query_drop(*statement).await.unwrap();
    }
}

/// What kine's `Create` does; the revision it is given.
async fn create(conn: &mut Conn, name: &str) -> u64 {
    let insert = format!(
        "INSERT INTO {KINE_SCHEMA}.kine (name, created, deleted, create_revision, prev_revision, lease, value, \
         old_value) VALUES ('{name}', 1, 0, 0, 0, 0, 'x', '')"
    );
    conn.query_drop(insert).await.unwrap();
    conn.last_insert_id().unwrap()
}

/// kine's `After` for every name, and what a watcher is told of it.
async fn after(conn: &mut Conn, revision: u64) -> Vec<(u64, String)> {
    let sql = format!(
        "SELECT id, name FROM {KINE_SCHEMA}.kine WHERE name LIKE '%' AND id > {revision} ORDER BY id"
    );
    let rows: Vec<(u64, String)> = conn.query(sql).await.unwrap();
    rows.into_iter().filter(|(_, name)| !name.starts_with("gap-")).collect()
}

/// `CurrentRevision`, where a kine that starts begins to poll.
async fn newest(conn: &mut Conn) -> u64 {
    conn.query_first(format!("SELECT MAX(id) FROM {KINE_SCHEMA}.kine")).await.unwrap().unwrap()
}

/// Transactions of the server's own, or on MariaDB, where they are numbered across servers, the last number.
async fn last_number(server: &Server) -> u64 {
    let now = server.reading().await;
    match now.flavour() {
        model::Flavour::Mysql => now.gtid_executed.last_of(&now.server_uuid),
        model::Flavour::Mariadb => {
            now.gtid_executed.last_numbers().map(|(_, number)| number).max().unwrap_or(0)
        }
    }
}

fn mark(epoch: u64, nonce: u64) -> Opening {
    Opening { epoch: model::Epoch(epoch), life: model::ProcessStart(1), nonce }
}

fn beyond(revision: u64) -> KineGap {
    KineGap { schema: KINE_SCHEMA.into(), beyond: revision }
}

async fn a_lossy_promotion_spans_a_watch(root: &'static MysqlRoot) {
    let mut pair = Pair::up_of(root).await;
    let mut k3s = pair.source.app().await;
    make(&mut k3s).await;
    let first = create(&mut k3s, "/registry/pods/kept").await;
    pair.caught_up().await;
    let mut replica = pair.replica.admin().await;
    assert_done(stop_replica(&mut replica, patience()).await);
    // Replicated to nobody; its watcher saw it all the same.
    let lost = create(&mut k3s, "/registry/pods/lost").await;
    assert_eq!(lost, first + 1);
    let heard = kine(&mut pair.source.admin().await, KINE_SCHEMA, patience()).await.unwrap().unwrap();
    assert_eq!((heard.revision, heard.wide), (lost, true));
    pair.source.crash();

    assert_done(promote(&mut replica, patience()).await);
    assert_done(set_super_read_only(&mut replica, Switch::Off, patience()).await);
    let before = last_number(&pair.replica).await;
    let opened = write_opening_and_gap(&mut replica, mark(2, 1), &beyond(lost), patience()).await;
    let Outcome::Done(Some(gap)) = opened else { panic!("{opened}") };
    assert_eq!(gap, lost + model::KINE_GAP);
    assert_eq!(last_number(&pair.replica).await, before + 1, "the mark and the gap are one transaction");
    assert_eq!(pair.replica.reading().await.opening.map(|m| (m.nonce, m.count)), Some((1, 1)));

    // A K3s that starts now polls from the gap; a client's watch goes on from what it saw last.
    let mut k3s = pair.replica.app().await;
    assert_eq!(newest(&mut k3s).await, gap);
    let next = create(&mut k3s, "/registry/pods/next").await;
    assert_eq!(next, gap + 1, "the one revision after the gap, which a poll from there takes at once");
    assert_eq!(after(&mut k3s, lost).await, [(next, "/registry/pods/next".to_owned())]);
    assert_eq!(after(&mut k3s, gap).await, [(next, "/registry/pods/next".to_owned())]);

    // Opened again in the same epoch, under a K3s that counts: no second gap.
    let again = write_opening_and_gap(&mut replica, mark(2, 2), &beyond(lost), patience()).await;
    assert!(matches!(again, Outcome::Done(None)), "{again}");
    assert_eq!(newest(&mut k3s).await, next);
}

/// Goal: no revision that was seen is given out again, and a watch goes on across the gap.
#[tokio::test]
async fn a_watch_goes_on_beyond_a_lossy_promotion() {
    a_lossy_promotion_spans_a_watch(root()).await;
}

/// Goal: the same on MariaDB, where the account may write though the server is read only.
#[tokio::test]
async fn so_it_does_on_mariadb() {
    a_lossy_promotion_spans_a_watch(mariadb_root()).await;
}

/// Goal: where no gap can be left nothing is half done, and where there is no table the mark alone is written.
#[tokio::test]
async fn without_a_table_or_its_right_nothing_is_half_done() {
    let server = Server::started().await;
    server.open().await;
    let mut admin = server.admin().await;
    assert_eq!(kine(&mut admin, KINE_SCHEMA, patience()).await.unwrap(), None);
    let alone = write_opening_and_gap(&mut admin, mark(2, 1), &beyond(5), patience()).await;
    assert!(matches!(alone, Outcome::Done(None)), "{alone}");

    let mut root = server.root_conn().await;
    root.query_drop(format!("USE {KINE_SCHEMA}")).await.unwrap();
    make(&mut root).await;
    root.query_drop(format!("REVOKE INSERT ON {KINE_SCHEMA}.* FROM {}", replication_mysql::ROLE))
        .await
        .unwrap();
    let mut admin: Session = server.admin().await;
    let refused = write_opening_and_gap(&mut admin, mark(3, 2), &beyond(5), patience()).await;
    assert!(matches!(refused, Outcome::Failed(_)), "{refused}");
    let now = server.reading().await.opening.unwrap();
    assert_eq!((now.epoch, now.count), (model::Epoch(2), 1), "neither row is there");
    assert_eq!(newest(&mut root).await, 1);

    // An early K3s's table ends at 2^31, and says so.
    root.query_drop("ALTER TABLE kine MODIFY id INTEGER AUTO_INCREMENT").await.unwrap();
    let narrow = kine(&mut admin, KINE_SCHEMA, patience()).await.unwrap().unwrap();
    assert!(!narrow.wide && narrow.revision == 1);
}
