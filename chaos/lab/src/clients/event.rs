//! What the clients saw, one JSON line each.

use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Events waiting for the reader: five minutes of a whole lab's load. One that does not fit is
/// counted in the goodbye, which makes the measurement void.
const PENDING_MAX: usize = 1 << 16;

/// So long a written line may stay in the buffer.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// What is known of a write that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The server said no.
    Refused,
    /// No answer in time, or the connection broke: it may be there.
    Unknown,
}

/// What a client saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A writer has a new connection.
    Connected {
        /// The writer.
        writer: u32,
        /// When.
        at: Timestamp,
        /// To which address.
        address: Ipv4Addr,
        /// To which server (`@@server_uuid`).
        server: String,
    },
    /// A writer got no connection.
    ConnectFailed {
        /// The writer.
        writer: u32,
        /// When it began.
        began: Timestamp,
        /// When it gave up.
        at: Timestamp,
        /// The address, if the name had one.
        address: Option<Ipv4Addr>,
        /// Why.
        why: String,
    },
    /// A commit returned.
    Ack {
        /// The writer.
        writer: u32,
        /// The row.
        seq: u64,
        /// When it was sent.
        began: Timestamp,
        /// When it returned.
        at: Timestamp,
        /// From which address.
        address: Ipv4Addr,
    },
    /// A commit did not return.
    WriteFailed {
        /// The writer.
        writer: u32,
        /// The row.
        seq: u64,
        /// When it was sent.
        began: Timestamp,
        /// When it was given up.
        at: Timestamp,
        /// To which address.
        address: Ipv4Addr,
        /// What is known of it.
        outcome: Outcome,
        /// Why.
        why: String,
    },
    /// A swapper read a register.
    Looked {
        /// The register.
        register: u32,
        /// What it held.
        value: u64,
        /// When it was asked for.
        began: Timestamp,
        /// When the answer came.
        at: Timestamp,
    },
    /// A swapper asks for a swap; what became of it stands in another event, or is not known.
    SwapBegan {
        /// The register.
        register: u32,
        /// What it must hold.
        from: u64,
        /// What it is to hold: a value that is asked for once.
        to: u64,
        /// When it was sent.
        at: Timestamp,
    },
    /// It was swapped.
    Swapped {
        /// The register.
        register: u32,
        /// What it holds.
        to: u64,
        /// When the answer came.
        at: Timestamp,
    },
    /// It was not: the register held something else.
    NotSwapped {
        /// The register.
        register: u32,
        /// What it was to hold.
        to: u64,
        /// When the answer came.
        at: Timestamp,
    },
    /// A user of the web application got a page.
    Page {
        /// The user.
        user: u32,
        /// When it asked.
        began: Timestamp,
        /// When it had it.
        at: Timestamp,
        /// From which entry.
        address: Ipv4Addr,
        /// The site that served.
        site: String,
        /// The web host behind the entry.
        host: String,
    },
    /// A user got no page.
    PageFailed {
        /// The user.
        user: u32,
        /// When it asked.
        began: Timestamp,
        /// When it gave up.
        at: Timestamp,
        /// The entry, if the name had one.
        address: Option<Ipv4Addr>,
        /// Why.
        why: String,
    },
    /// What the flip client believes has changed.
    Resolved {
        /// When.
        at: Timestamp,
        /// The address, if any server gave one.
        address: Option<Ipv4Addr>,
    },
    /// What a polled DNS server answers has changed.
    Answered {
        /// The server.
        server: String,
        /// When.
        at: Timestamp,
        /// The address, if it gave one.
        address: Option<Ipv4Addr>,
        /// Its response code, or `timeout`.
        code: String,
    },
    /// The counts of one DNS client since its start.
    Queries {
        /// A polled server, or the name of the resolving client.
        of: String,
        /// Queries sent.
        sent: u64,
        /// Of those, not answered with an address.
        failed: u64,
    },
    /// The end of the stream.
    Goodbye {
        /// When.
        at: Timestamp,
        /// Events that did not fit.
        lost: u64,
        /// 99 of 100 wakes of an idle thread of the client were late by no more milliseconds.
        late_ms: Option<u64>,
    },
}

impl Event {
    /// When it happened; counts have no instant.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Event::Connected { at, .. }
            | Event::ConnectFailed { at, .. }
            | Event::Ack { at, .. }
            | Event::WriteFailed { at, .. }
            | Event::Looked { at, .. }
            | Event::SwapBegan { at, .. }
            | Event::Swapped { at, .. }
            | Event::NotSwapped { at, .. }
            | Event::Page { at, .. }
            | Event::PageFailed { at, .. }
            | Event::Resolved { at, .. }
            | Event::Answered { at, .. }
            | Event::Goodbye { at, .. } => Some(*at),
            Event::Queries { .. } => None,
        }
    }
}

/// Where clients put their events. Never blocks.
#[derive(Clone)]
pub struct Events {
    queue: SyncSender<Event>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// The mouth of a stream into `out`, and the thread that writes it until all mouths are gone.
    pub fn into_writer(out: impl Write + Send + 'static) -> (Events, JoinHandle<()>) {
        let (queue, events) = sync_channel(PENDING_MAX);
        let writer = std::thread::spawn(move || write_lines(&events, out));
        (Events { queue, lost: Arc::new(AtomicU64::new(0)) }, writer)
    }

    /// Notes an event.
    pub fn note(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that did not fit until now.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Writes lines until all senders are gone or nobody reads any more.
fn write_lines(events: &Receiver<Event>, out: impl Write) {
    let mut out = BufWriter::new(out);
    loop {
        let written = match events.recv_timeout(FLUSH_AFTER) {
            Ok(event) => {
                let line = serde_json::to_string(&event).expect("events are plain data");
                writeln!(out, "{line}")
            }
            Err(RecvTimeoutError::Timeout) => out.flush(),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = out.flush();
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}
