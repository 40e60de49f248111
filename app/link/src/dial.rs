//! Keeps one connection of our own to a node.
//!
//! While there is none an attempt begins every `redial`, whatever became of the one before: under
//! a silent cut an attempt hangs until its deadline, its lost SYN or handshake bytes are repeated by
//! TCP a second later at best, and a healed link would be found that much later. The first
//! attempt that gets through is kept and the others are dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::NodeId;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::Endpoint;
use crate::connection::{Opened, carry, greet, prepare};
use crate::refusal::{Problem, Refusal};
use crate::shared::Shared;

/// Connect, TLS and hello of one attempt.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Attempts under way at once: as many as begin within the deadline at the default `redial`.
const ATTEMPTS_MAX: usize = 4;

/// A node to dial.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) name: ServerName<'static>,
}

/// Dials until the links are stopped.
pub(crate) async fn keep_dialing(shared: Arc<Shared>, target: Target) {
    let peer = Endpoint::Node(target.node.clone());
    let mut turn = interval(shared.timing.redial);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut attempts = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stopped() => break,
            _ = turn.tick(), if attempts.len() < ATTEMPTS_MAX => {
                attempts.spawn(attempt(shared.clone(), target.clone()));
            }
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(opened)) => {
                    attempts.shutdown().await;
                    let why = carry(&shared, opened).await;
                    tracing::debug!(%peer, "dialed connection ended: {why}");
                    turn.reset();
                }
                Ok(Err(problem)) => {
                    tracing::debug!(%peer, address = %target.address, "dialing: {problem}");
                    shared.state().table.problem(&peer, &problem.why);
                    shared.refuse(&peer.to_string(), &problem);
                }
                Err(error) => tracing::error!(%peer, "an attempt to dial failed: {error}"),
            }
        }
    }
    attempts.shutdown().await;
}

async fn attempt(shared: Arc<Shared>, target: Target) -> Result<Opened, Problem> {
    let opening = async {
        let tcp = TcpStream::connect(target.address).await?;
        prepare(&tcp, shared.timing.drop_after)?;
        let connector = TlsConnector::from(shared.tls.client.clone());
        let stream = connector.connect(target.name.clone(), tcp).await.map_err(|error| {
            // rustls wraps its own refusals, a wrong certificate for one, as invalid data.
            let why = format!("tls with {}: {error}", target.address);
            match error.kind() {
                std::io::ErrorKind::InvalidData => Problem::refused(Refusal::Certificate, why),
                _ => Problem::plain(why),
            }
        })?;
        greet(&shared, TlsStream::from(stream), &Endpoint::Node(target.node.clone())).await
    };
    timeout(CONNECT_DEADLINE, opening)
        .await
        .unwrap_or_else(|_| Err(Problem::plain(format!("{} did not answer in time", target.address))))
}
