//! Accepts connections of peers, and keeps strangers from costing much.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::connection::{Opened, carry, prepare, welcome};
use crate::refusal::{Problem, Refusal};
use crate::shared::Shared;

/// TLS and hello of an accepted connection. Longer than the dialer's own deadline.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);
/// Handshakes under way at once. A new one pushes out the oldest, so that whoever holds
/// them all open keeps no peer out: a peer's handshake takes milliseconds.
const HANDSHAKES_MAX: usize = 64;
/// How long to wait after the system refused to accept, for want of descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The handshakes under way, by age.
#[derive(Debug, Default)]
struct Handshakes {
    next: u64,
    under_way: BTreeMap<u64, AbortHandle>,
}

/// Takes a handshake off the list when it is over, however it ends.
struct UnderWay {
    handshakes: Arc<Mutex<Handshakes>>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.handshakes).under_way.remove(&self.number);
    }
}

fn lock(handshakes: &Mutex<Handshakes>) -> MutexGuard<'_, Handshakes> {
    // A map of handles is sound whoever panicked beside it.
    handshakes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Accepts until the links are stopped, then waits for the connections to end.
pub(crate) async fn keep_listening(shared: Arc<Shared>, listener: TcpListener) {
    let handshakes = Arc::new(Mutex::new(Handshakes::default()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stopped() => break,
            Some(ended) = connections.join_next() => {
                if let Some(error) = ended.err().filter(|error| error.is_panic()) {
                    tracing::error!("the task of a peer connection failed: {error}");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((tcp, from)) => {
                    let pushed_out = spawn(&shared, &handshakes, &mut connections, tcp, from);
                    if let Some(oldest) = pushed_out {
                        oldest.abort();
                        let why = "too many handshakes at once; the oldest was dropped";
                        shared.refuse(&from.to_string(), &Problem::refused(Refusal::Slow, why));
                    }
                }
                Err(error) => {
                    tracing::warn!("a peer connection was not accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Starts the handshake; the oldest one, if there are too many now.
fn spawn(
    shared: &Arc<Shared>,
    handshakes: &Arc<Mutex<Handshakes>>,
    connections: &mut JoinSet<()>,
    tcp: TcpStream,
    from: SocketAddr,
) -> Option<AbortHandle> {
    // Held while it is spawned, so that it is not over before it is on the list.
    let mut list = lock(handshakes);
    let number = list.next;
    list.next += 1;
    let under_way = UnderWay { handshakes: handshakes.clone(), number };
    let handle = connections.spawn(serve(shared.clone(), under_way, tcp, from));
    list.under_way.insert(number, handle);
    if list.under_way.len() > HANDSHAKES_MAX {
        list.under_way.pop_first().map(|(_, oldest)| oldest)
    } else {
        None
    }
}

async fn serve(shared: Arc<Shared>, under_way: UnderWay, tcp: TcpStream, from: SocketAddr) {
    let opened = tokio::select! {
        () = shared.stopped() => return,
        opened = timeout(HANDSHAKE_DEADLINE, handshake(&shared, tcp)) => opened.unwrap_or_else(|_| {
            Err(Problem::refused(Refusal::Slow, "its handshake did not end in time"))
        }),
    };
    drop(under_way);
    match opened {
        Ok(opened) => {
            let peer = opened.peer.clone();
            let why = carry(&shared, opened).await;
            tracing::debug!(%peer, %from, "accepted connection ended: {why}");
        }
        Err(problem) => {
            tracing::debug!(%from, "handshake: {problem}");
            shared.refuse(&from.to_string(), &problem);
        }
    }
}

async fn handshake(shared: &Shared, tcp: TcpStream) -> Result<Opened, Problem> {
    prepare(&tcp, shared.timing.drop_after)?;
    let acceptor = TlsAcceptor::from(shared.tls.server.clone());
    let stream = acceptor
        .accept(tcp)
        .await
        .map_err(|error| Problem::refused(Refusal::Certificate, format!("tls handshake: {error}")))?;
    welcome(shared, TlsStream::from(stream)).await
}
