//! DNS over TCP, RFC 7766: hickory's framing and idle timer, our own octets.
//!
//! hickory-server's TCP *listener* is not used. Its `ResponseHandler` takes records to encode, not octets,
//! so an answer would be decoded and encoded again and lose our compression, truncation and ECS; it parses
//! queries by its own rules before a handler sees them; it sets no bound on connections; and it logs two
//! lines a query. What lies beneath it is public and carries octets: hickory's `TcpStream` (framing in both
//! directions, no reading while there is something to write) and `TimeoutStream`. So the accept loop here is
//! ours, and a connection goes through the same `respond` as a datagram.
//!
//! Limits: so many connections, each of which must complete a query within the idle time, or it is closed;
//! that time also bounds how long a client may take to read its answers.
//!
//! Answers come in the order of the queries, which may be sent without waiting: answering takes microseconds, so there is
//! nothing that one of them could overtake. Clients that ask are told the idle time (RFC 7828).
//!
//! Deliberately absent: limits per client (issue D).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_proto::op::SerialMessage;
use hickory_server::net::DnsStreamHandle;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp::TcpStream;
use hickory_server::server::TimeoutStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::clock;
use crate::counters::{Counter, Tallies, Tally};
use crate::listen::{self, ListenError};
use crate::published::{Published, Reader};
use crate::tls::TlsIdentity;
use crate::wire::{Arrival, Reply, Scratch, TCP_MAX, Transport, respond};

/// Answers of one connection that may wait to be written. A query is read only when everything before it
/// is written, so there is never more than one; room for a second costs nothing.
const OUTBOUND: usize = 2;
/// First size of an answer's buffer. Few answers need more; those are written a second time.
const COMMON_ANSWER: usize = 4_096;
/// Pause after the kernel refuses to accept (no descriptors left): it would refuse again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of the TCP listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections at one time over all addresses; more are closed as soon as they are accepted.
    pub connections: usize,
    /// Time that a connection has to complete each query.
    pub idle: Duration,
}

impl Default for TcpLimits {
    /// 1,000 connections: a few per busy resolver, and some 20 MB of memory at worst. 10 s of idleness:
    /// RFC 7766 §6.2.3 wants "of the order of a few seconds".
    fn default() -> Self {
        Self { connections: 1_000, idle: Duration::from_secs(10) }
    }
}

/// Running TCP listeners. Dropping it closes them and every connection.
#[derive(Debug)]
pub struct TcpServer {
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
    counter: Counter,
}

impl TcpServer {
    /// Listens on every address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be bound; nothing is left running.
    pub fn start(
        addresses: &[SocketAddr],
        limits: TcpLimits,
        published: &Published,
    ) -> Result<Self, ListenError> {
        Self::listen(addresses, limits, published, None)
    }

    /// The same within TLS (DNS over TLS, RFC 7858): its usual port is 853. A handshake has the idle time.
    ///
    /// # Errors
    /// When an address cannot be bound; nothing is left running.
    pub fn start_tls(
        addresses: &[SocketAddr],
        limits: TcpLimits,
        published: &Published,
        identity: &TlsIdentity,
    ) -> Result<Self, ListenError> {
        Self::listen(addresses, limits, published, Some(identity))
    }

    fn listen(
        addresses: &[SocketAddr],
        limits: TcpLimits,
        published: &Published,
        tls: Option<&TlsIdentity>,
    ) -> Result<Self, ListenError> {
        let (stop, stopped) = watch::channel(false);
        let mut server =
            Self { listeners: JoinSet::new(), stop, addresses: Vec::new(), counter: Counter::new() };
        let permits = Arc::new(Semaphore::new(limits.connections));
        for wanted in listen::expand(addresses)? {
            let bind = |source| ListenError::Bind { transport: "tcp", address: wanted, source };
            let listener = TcpListener::from_std(listen::tcp(wanted)?).map_err(bind)?;
            server.addresses.push(listener.local_addr().map_err(bind)?);
            let accepting = Accepting {
                listener,
                permits: Arc::clone(&permits),
                idle: limits.idle,
                published: published.clone(),
                tls: tls.cloned(),
                counter: server.counter.clone(),
                stopped: stopped.clone(),
            };
            server.listeners.spawn(accepting.run());
        }
        Ok(server)
    }

    /// The addresses listened on, with their ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Tally {
        self.counter.read()
    }

    /// Reads them from elsewhere.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        Tallies::of([self.counter.clone()])
    }

    /// Stops: no new connections, and the open ones are closed after the query they are at. What is not done
    /// by `deadline` is cut off.
    pub async fn stop(mut self, deadline: Duration) -> Tally {
        self.stop.send_replace(true);
        let all = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            self.listeners.shutdown().await;
        }
        self.counters()
    }
}

/// One listener.
struct Accepting {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    idle: Duration,
    published: Published,
    tls: Option<TlsIdentity>,
    counter: Counter,
    stopped: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(mut self) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = asked_to_stop(&mut self.stopped) => break,
                // Ended connections are let go of as they end.
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                self.counter.add(&Tally { connections_closed: 1, ..Tally::default() });
                continue;
            };
            // Answers are small and whole: waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                peer,
                idle_tenths: u16::try_from(self.idle.as_millis() / 100).unwrap_or(u16::MAX),
                transport: if self.tls.is_some() { Transport::Encrypted } else { Transport::Stream },
                reader: self.published.reader(),
                scratch: Scratch::new(),
                counter: self.counter.clone(),
                stopped: self.stopped.clone(),
            };
            let idle = self.idle;
            match &self.tls {
                None => connections.spawn(connection.run(stream, idle, permit)),
                Some(tls) => connections.spawn(connection.run_tls(stream, tls.acceptor(), idle, permit)),
            };
        }
        while connections.join_next().await.is_some() {}
    }
}

/// Returns when the server stops, or is gone.
async fn asked_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// One client's connection.
struct Connection {
    peer: SocketAddr,
    /// What clients are told of the idle time (RFC 7828).
    idle_tenths: u16,
    transport: Transport,
    reader: Reader,
    scratch: Scratch,
    counter: Counter,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    /// The handshake, and then what follows within it.
    async fn run_tls(
        self,
        stream: tokio::net::TcpStream,
        acceptor: TlsAcceptor,
        idle: Duration,
        permit: OwnedSemaphorePermit,
    ) {
        let mut stopped = self.stopped.clone();
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(idle, acceptor.accept(stream)) => shaken,
            () = asked_to_stop(&mut stopped) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.run(stream, idle, permit).await,
            // Silence, or no TLS that we speak.
            Ok(Err(_)) | Err(_) => self.counter.add(&Tally { connections_closed: 1, ..Tally::default() }),
        }
    }

    async fn run<S>(mut self, stream: S, idle: Duration, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        let stream = AsyncIoTokioAsStd(stream);
        let (stream, mut outbound) = TcpStream::from_stream_with_buffer_size(stream, self.peer, OUTBOUND);
        let mut messages = TimeoutStream::new(stream, idle);
        let mut stopped = self.stopped.clone();
        // The newest local is dropped first: who sees the connection close finds its place free.
        let _permit = permit;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = asked_to_stop(&mut stopped) => {
                    // What is written when the stream is looked at once more is the last answer.
                    poll_fn(|cx| { let _ = messages.poll_next_unpin(cx); Poll::Ready(()) }).await;
                    return;
                }
            };
            let packet = match message {
                None => return,
                Some(Ok(message)) => message.into_parts().0,
                Some(Err(error)) => {
                    let silent = u64::from(error.kind() == std::io::ErrorKind::TimedOut);
                    self.counter.add(&Tally { connections_closed: silent, ..Tally::default() });
                    return;
                }
            };
            // A stream that carries something else than queries cannot be followed any further.
            let Some(response) = self.answer(&packet) else { return };
            if outbound.send(SerialMessage::new(response, self.peer)).is_err() {
                return;
            }
        }
    }

    /// The response's octets; `None` when there is none to give.
    fn answer(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (reader, scratch, peer) = (&mut self.reader, &mut self.scratch, self.peer);
        let (idle_tenths, transport) = (self.idle_tenths, self.transport);
        let written = catch_unwind(AssertUnwindSafe(|| {
            let (snapshot, terms) = reader.snapshot();
            let arrival =
                Arrival { sender: peer, transport, idle_tenths, now: clock::now(), wall_s: clock::wall_s() };
            let mut out = vec![0; COMMON_ANSWER];
            let mut reply = respond(snapshot, terms, packet, &arrival, scratch, &mut out);
            if matches!(reply, Reply::Sent { truncated: true, .. }) {
                out.resize(TCP_MAX, 0);
                reply = respond(snapshot, terms, packet, &arrival, scratch, &mut out);
            }
            (reply, out)
        }));
        let mut tally = Tally::default();
        let response = match written {
            Ok((reply, mut out)) => {
                tally.count(&reply);
                match reply {
                    Reply::Dropped | Reply::Limited => None,
                    Reply::Sent { length, .. } => {
                        out.truncate(length);
                        Some(out)
                    }
                }
            }
            Err(_) => {
                tally.queries += 1;
                tally.panicked += 1;
                None
            }
        };
        self.counter.add(&tally);
        response
    }
}
