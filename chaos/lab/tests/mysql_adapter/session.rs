//! Sessions: bounded, and never used again after a call that did not end.

use std::time::Duration;

use model::{Epoch, SyncGeneration};
use replication_mysql::{
    ConnectError, Deadline, Endpoint, Outcome, Sentinel, Session, SqlError, Tls, read, write_sentinel,
};

use crate::server::{Pair, Server, assert_done, patience, short};

fn sentinel(nonce: u64) -> Sentinel {
    Sentinel { epoch: Epoch(1), g: SyncGeneration(1), nonce }
}

/// A call that timed out leaves an answer on its way; the session is broken for good, so that answer
/// is never taken for another's.
#[tokio::test]
async fn a_session_is_broken_by_a_call_that_timed_out_or_was_cancelled() {
    let pair = Pair::up_in_sync().await;
    assert_done(replication_mysql::stop_io_thread(&mut pair.replica.admin().await, patience()).await);

    let mut waits = pair.source.admin().await;
    let outcome = write_sentinel(&mut waits, sentinel(1), short()).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome}");
    assert!(waits.is_broken());
    let again = write_sentinel(&mut waits, sentinel(2), short()).await;
    assert!(matches!(again, Outcome::Failed(_)), "nothing was sent, so surely not done: {again}");
    let error = read(&mut waits, patience()).await.unwrap_err();
    assert!(matches!(error, replication_mysql::ReadError::Sql(SqlError::Broken { .. })), "{error}");

    let mut cancelled = pair.source.admin().await;
    let call = write_sentinel(&mut cancelled, sentinel(3), patience());
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
    assert!(cancelled.is_broken());

    // Another session is as good as ever, and sees both waiters.
    let mut fresh = pair.source.admin().await;
    assert!(read(&mut fresh, patience()).await.unwrap().semi_sync.waiting_sessions >= 1);
}

/// An error that the server answers with breaks nothing.
#[tokio::test]
async fn a_refused_statement_leaves_the_session_usable() {
    let server = Server::started().await;
    let mut admin = server.admin().await;
    let refused = write_sentinel(&mut admin, sentinel(1), patience()).await;
    assert!(matches!(refused, Outcome::Failed(_) | Outcome::Refused(_)), "{refused}");
    assert!(!admin.is_broken());
    assert!(read(&mut admin, patience()).await.is_ok());
}

/// One round trip carries five statements; an error of the last is not taken for an empty answer.
#[tokio::test]
async fn a_reading_without_the_right_to_it_is_an_error_and_not_an_empty_one() {
    let server = Server::started().await;
    let app = Endpoint::tcp(server.address(), "app", chaos_lab::mysqld::PASSWORD);
    let mut session = Session::connect(&app, patience()).await.unwrap();
    let error = read(&mut session, patience()).await.unwrap_err();
    assert!(error.to_string().contains("1227"), "{error}");
    assert!(!session.is_broken());
}

/// Every way in ends with a clear error by the deadline.
#[tokio::test]
async fn connecting_fails_clearly() {
    let server = Server::started().await;
    let wrong = Endpoint::socket(&server.spec.socket, "twofold", "wrong");
    let error = Session::connect(&wrong, patience()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { code: 1045, .. }), "{error}");

    let nobody = Endpoint::socket(server.spec.data_dir.join("none"), "twofold", "x");
    let error = Session::connect(&nobody, patience()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io { .. }), "{error}");

    // The server's own authority names no address, so it cannot be verified: never a silent plain text.
    let mut unverified = Endpoint::tcp(server.address(), "app", chaos_lab::mysqld::PASSWORD);
    unverified.tls = Tls::Required { ca: server.spec.data_dir.join("ca.pem") };
    let error = Session::connect(&unverified, patience()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io { .. }), "{error}");

    // A listener that never says a word, as a stopped mysqld's kernel does for it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = Endpoint::tcp(silent.local_addr().unwrap(), "twofold", "x");
    let error = Session::connect(&mute, Deadline::after(Duration::from_millis(200))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
}
