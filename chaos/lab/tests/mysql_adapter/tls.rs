//! Replication and CLONE over TLS: who is not who it should be is not received from.

use chaos_lab::mysqld::{MysqlRoot, PASSWORD, REPLICATION_USER};
use model::ReplicaThread;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use replication_mysql::{
    Donor, Outcome, RelayLog, Source, SourceTls, clone_from, point_at_source, read, start_replica,
    stop_io_thread,
};

use crate::server::{Server, assert_done, eventually_session, mariadb_root, patience, root};

/// Points a replica at a source under an authority, and gives back what becomes of its receiver: `Ok` when it
/// receives, else its error.
async fn receives(replica: &Server, source: &Source) -> Result<(), String> {
    let mut admin = replica.admin().await;
    assert_done(point_at_source(&mut admin, source, RelayLog::Reset, patience()).await);
    assert_done(start_replica(&mut admin, patience()).await);
    let end = eventually_session("it receives, or says why not", &mut admin, async |s| {
        let receiver = read(s, patience()).await.unwrap().replica.unwrap();
        match receiver.io {
            ReplicaThread::Running => Some(Ok(())),
            _ if !receiver.io_error.is_empty() => Some(Err(receiver.io_error)),
            _ => None,
        }
    })
    .await;
    assert_done(stop_io_thread(&mut admin, patience()).await);
    end
}

async fn only_the_right_one_is_received_from(root: &'static MysqlRoot) {
    let mut source = Server::lay_of(root);
    let right = source.certify("127.0.0.1");
    source.start().await;
    source.open().await;
    let mut stranger = Server::lay_of(root);
    let wrong = stranger.certify("10.99.0.1");
    stranger.start().await;
    stranger.open().await;

    let replica = Server::started_of(root).await;
    let under = |ca: &str, of: &Server| Source {
        tls: SourceTls::Required { ca: Some(ca.to_owned()) },
        ..of.source()
    };
    assert_eq!(receives(&replica, &under(&right, &source)).await, Ok(()));
    let mut conn = replica.admin_conn().await;
    let of_mariadb = root.flavour() == chaos_lab::cli::Flavour::Mariadb;
    let show = if of_mariadb { "SHOW SLAVE STATUS" } else { "SHOW REPLICA STATUS" };
    let row: Row = conn.query_first(show).await.unwrap().unwrap();
    let word = if of_mariadb { "Master_SSL_Verify_Server_Cert" } else { "Source_SSL_Verify_Server_Cert" };
    assert_eq!(row.get::<String, _>(word).unwrap(), "Yes");

    let unsigned = receives(&replica, &under(&wrong, &source)).await.unwrap_err();
    assert!(unsigned.to_lowercase().contains("ssl"), "{unsigned}");
    // Signed well, for another address.
    let misnamed = receives(&replica, &under(&wrong, &stranger)).await.unwrap_err();
    assert!(misnamed.to_lowercase().contains("ssl"), "{misnamed}");
}

/// Goal: a replica receives from a source whose certificate its authority signed for that address, and from
/// no other. Method: the same server under its own authority and under another's, and one whose certificate is for
/// another address.
#[tokio::test]
async fn a_replica_receives_from_the_source_that_proves_itself() {
    only_the_right_one_is_received_from(root()).await;
}

/// The same on MariaDB.
#[tokio::test]
async fn a_mariadb_replica_receives_from_the_source_that_proves_itself() {
    only_the_right_one_is_received_from(mariadb_root()).await;
}

/// Goal: a copy is taken from a donor that the authority signed, and nothing is thrown away for another.
#[tokio::test]
async fn a_copy_is_taken_from_a_donor_that_proves_itself() {
    let mut donor = Server::lay();
    let right = donor.certify("127.0.0.1");
    donor.start().await;
    donor.open().await;
    let mut stranger = Server::lay();
    let wrong = stranger.certify("127.0.0.1");
    let mut copied = Server::started().await;
    let identity = copied.uuid.clone();
    let from = |ca: &str| Donor {
        address: donor.address(),
        user: REPLICATION_USER.into(),
        password: PASSWORD.into(),
        ca: Some(ca.to_owned()),
    };
    let mut admin = copied.admin().await;
    let before = copied.executed().await;
    let refused = clone_from(&mut admin, &from(&wrong), patience()).await;
    assert!(!matches!(refused, Outcome::Done(())), "{refused:?}");
    assert_eq!(copied.executed().await, before, "it still has what it had");

    assert_done(clone_from(&mut admin, &from(&right), patience()).await);
    copied.ended().await;
    copied.start().await;
    assert!(copied.executed().await.contains(&donor.executed().await));
    assert_eq!(copied.reading().await.server_uuid, identity);
}
