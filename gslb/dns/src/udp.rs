//! DNS over UDP: plain threads, each with a socket of its own that shares the address (SO_REUSEPORT), so
//! that the kernel spreads clients over them.
//!
//! A thread takes up to [`BATCH`] datagrams with one system call, looks at the published snapshot once,
//! writes every response into its own buffers and sends them with one more. After the start it allocates
//! nothing and takes no lock. A panic in the answer path costs that one answer and is counted.
//!
//! Receiving goes through nix and sending through rustix: nix has the only safe recvmmsg, but its sendmmsg
//! does not tell how many messages were taken, and one that the kernel refuses must not lose those after it.
//!
//! Deliberately absent: pinning to cores (issue D).

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use socket2::Socket;

use crate::clock;
use crate::counters::{Counter, Tallies, Tally};
use crate::listen::{self, ListenError};
use crate::published::{Published, Reader};
use crate::wire::{Arrival, Reply, Scratch, Transport, UDP_MAX, respond};

/// Datagrams per system call. Past 64 the cost of the call is spread thin enough (research: 0.05 µs a
/// query), and more would only add to the time the first of a batch waits.
const BATCH: usize = 64;
/// Octets kept of a datagram. No query of any use is longer; what is cut off is answered FORMERR.
const RECEIVE: usize = 4_096;
/// How long a thread without queries sleeps before it looks whether to stop.
const WAKE: Duration = Duration::from_millis(100);
/// Receive errors in a row after which a thread gives up: errors of single datagrams (ICMP) come and go, a
/// socket that only fails is broken, and spinning on it would take the core from those that work.
const ERRORS_MAX: u32 = 1_000;

/// Running UDP listeners. Dropping it asks the threads to stop without waiting for them.
#[derive(Debug)]
pub struct UdpServer {
    stop: Arc<AtomicBool>,
    workers: Vec<Worker>,
    addresses: Vec<SocketAddr>,
    /// Every thread holds a sender until it ends; nothing is ever sent.
    ended: mpsc::Receiver<()>,
    ending: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Worker {
    thread: JoinHandle<()>,
    counter: Counter,
}

/// Threads that did not stop in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{running} udp threads did not stop within {deadline:?}")]
pub struct StillRunning {
    /// How many.
    pub running: usize,
    /// The time they had.
    pub deadline: Duration,
}

impl UdpServer {
    /// Listens on every address with `threads` threads each (at least one). Port 0 takes a free one, the
    /// same for all threads of the address.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread not started; nothing is left running.
    pub fn start(
        addresses: &[SocketAddr],
        threads: usize,
        published: &Published,
    ) -> Result<Self, ListenError> {
        let (ending, ended) = mpsc::channel();
        let mut server =
            Self { stop: Arc::default(), workers: Vec::new(), addresses: Vec::new(), ended, ending };
        // All sockets before any thread: an address that is taken is found before anybody is answered.
        let mut sockets = Vec::new();
        for wanted in listen::expand(addresses)? {
            let first = listen::udp(wanted)?;
            let bound = first.local_addr().ok().and_then(|a| a.as_socket()).unwrap_or(wanted);
            server.addresses.push(bound);
            sockets.push((bound, first));
            for _ in 1..threads.max(1) {
                sockets.push((bound, listen::udp(bound)?));
            }
        }
        for (address, socket) in sockets {
            server.spawn(address, socket, published.reader())?;
        }
        Ok(server)
    }

    fn spawn(&mut self, address: SocketAddr, socket: Socket, reader: Reader) -> Result<(), ListenError> {
        let thread_error = |source| ListenError::Thread { address, source };
        socket.set_read_timeout(Some(WAKE)).map_err(thread_error)?;
        let counter = Counter::new();
        let stop = Arc::clone(&self.stop);
        let mut loop_ = Loop { address, socket, reader, counter: counter.clone(), stop };
        let builder = std::thread::Builder::new().name(format!("dns-udp-{}", self.workers.len()));
        let ending = self.ending.clone();
        let work = move || {
            loop_.run();
            // Whoever waits for the end must find the address free.
            drop(loop_);
            drop(ending);
        };
        let thread = builder.spawn(work).map_err(thread_error)?;
        self.workers.push(Worker { thread, counter });
        Ok(())
    }

    /// The addresses listened on, with their ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What happened so far on all threads.
    #[must_use]
    pub fn counters(&self) -> Tally {
        self.workers.iter().map(|w| w.counter.read()).sum()
    }

    /// Reads them from elsewhere.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        Tallies::of(self.workers.iter().map(|w| w.counter.clone()))
    }

    /// True while every thread answers. One that has given up on its socket leaves its share of clients
    /// unanswered, so the process should be restarted.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.workers.iter().all(|w| !w.thread.is_finished())
    }

    /// Stops: what the sockets hold is still answered. Blocks for at most `deadline`; a tenth of a second
    /// is the usual need.
    ///
    /// # Errors
    /// [`StillRunning`] when threads are left; they end by themselves later.
    pub fn stop(mut self, deadline: Duration) -> Result<Tally, StillRunning> {
        self.stop.store(true, Ordering::Relaxed);
        // With our own sender gone the channel closes when the last thread has dropped its one.
        self.ending = mpsc::channel().0;
        match self.ended.recv_timeout(deadline) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let running = self.workers.iter().filter(|w| !w.thread.is_finished()).count();
                Err(StillRunning { running, deadline })
            }
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Ok(self.counters()),
        }
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One thread's everything.
struct Loop {
    address: SocketAddr,
    socket: Socket,
    reader: Reader,
    counter: Counter,
    stop: Arc<AtomicBool>,
}

/// A response in its buffer.
#[derive(Clone, Copy)]
struct Outgoing {
    slot: usize,
    length: usize,
}

impl Loop {
    fn run(&mut self) {
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut received = vec![0u8; BATCH * RECEIVE];
        let mut responses = vec![0u8; BATCH * UDP_MAX];
        let mut scratch = Scratch::new();
        let mut errors = 0;
        loop {
            // After the wish to stop one more round empties the socket without waiting.
            let last = self.stop.load(Ordering::Relaxed);
            let flags = if last { MsgFlags::MSG_DONTWAIT } else { MsgFlags::MSG_WAITFORONE };
            let mut datagrams = [None; BATCH];
            let count = match receive(&self.socket, &mut headers, &mut received, flags, &mut datagrams) {
                Ok(count) => count,
                Err(Errno::EAGAIN | Errno::EINTR) if last => return,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => {
                    errors += 1;
                    if last || errors >= ERRORS_MAX {
                        tracing::error!(address = %self.address, %error, "a dns thread gives up on its socket");
                        return;
                    }
                    continue;
                }
            };
            errors = 0;
            let mut tally = Tally::default();
            self.batch(&received, &datagrams[..count], &mut responses, &mut scratch, &mut tally);
            self.counter.add(&tally);
        }
    }

    /// Answers one batch.
    fn batch(
        &mut self,
        received: &[u8],
        datagrams: &[Option<(SocketAddr, usize)>],
        responses: &mut [u8],
        scratch: &mut Scratch,
        tally: &mut Tally,
    ) {
        let (snapshot, terms) = self.reader.snapshot();
        let (now, wall_s) = (clock::now(), clock::wall_s());
        let mut outgoing = [Outgoing { slot: 0, length: 0 }; BATCH];
        let mut ready = 0;
        for (slot, datagram) in datagrams.iter().enumerate() {
            let Some((sender, length)) = *datagram else {
                tally.count(&Reply::Dropped);
                continue;
            };
            let packet = &received[slot * RECEIVE..][..length];
            let out = &mut responses[slot * UDP_MAX..][..UDP_MAX];
            let reply = catch_unwind(AssertUnwindSafe(|| {
                let arrival = Arrival { sender, transport: Transport::Udp, idle_tenths: 0, now, wall_s };
                respond(snapshot, terms, packet, &arrival, scratch, out)
            }));
            let Ok(reply) = reply else {
                tally.queries += 1;
                tally.panicked += 1;
                continue;
            };
            tally.count(&reply);
            if let Reply::Sent { length, .. } = reply {
                outgoing[ready] = Outgoing { slot, length };
                ready += 1;
            }
        }
        send(&self.socket, responses, datagrams, &outgoing[..ready], tally);
    }
}

/// Receives a batch; each entry of `datagrams` gets the sender and the octets kept.
fn receive(
    socket: &Socket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    received: &mut [u8],
    flags: MsgFlags,
    datagrams: &mut [Option<(SocketAddr, usize)>; BATCH],
) -> Result<usize, Errno> {
    let mut chunks = received.chunks_exact_mut(RECEIVE);
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(chunks.next().expect("the buffer has BATCH chunks"))]);
    let results = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
    let mut count = 0;
    for result in results {
        let sender = result.address.as_ref().and_then(socket_address);
        datagrams[count] = sender.map(|s| (s, result.bytes));
        count += 1;
    }
    Ok(count)
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into())))
}

/// Sends the responses. What the kernel will not take is counted and skipped: a full buffer or an
/// unreachable client is no reason to keep the next query waiting.
fn send(
    socket: &Socket,
    responses: &[u8],
    datagrams: &[Option<(SocketAddr, usize)>],
    outgoing: &[Outgoing],
    tally: &mut Tally,
) {
    let message = |index: usize| outgoing.get(index).copied().unwrap_or(Outgoing { slot: 0, length: 0 });
    let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|index| {
        let Outgoing { slot, length } = message(index);
        [IoSlice::new(&responses[slot * UDP_MAX..][..length])]
    });
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    let addresses: [SocketAddrAny; BATCH] = std::array::from_fn(|index| {
        let sender = datagrams.get(message(index).slot).copied().flatten();
        sender.map_or(nobody, |(sender, _)| sender).as_any()
    });
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH] =
        std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut controls = controls.iter_mut();
    let mut messages: [MMsgHdr<'_>; BATCH] = std::array::from_fn(|index| {
        let control = controls.next().expect("there are BATCH of them");
        MMsgHdr::new_with_addr(&addresses[index], &slices[index], control)
    });
    let mut sent = 0;
    while sent < outgoing.len() {
        match sendmmsg(socket, &mut messages[sent..outgoing.len()], SendFlags::DONTWAIT) {
            Ok(more) if more > 0 => sent += more,
            Err(rustix::io::Errno::INTR) => {}
            // The first of them was refused; those after it get their turn.
            _ => {
                tally.unsent += 1;
                sent += 1;
            }
        }
    }
}
