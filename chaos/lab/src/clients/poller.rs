//! Asks one DNS server for the published name every 20 ms and notes when its answer changes; and
//! the flip client, which notes when a client that honours the TTL sees a change.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::dns;
use super::event::{Event, Events};
use super::plan::{DatabaseAccess, NameServer};
use super::resolver::Resolver;
use crate::clock;

/// DESIGN §7: "each of the zone's servers asked every 20 ms".
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A question without an answer for so long has failed. It is two and a half WAN round trips of the
/// slowest lab and bounds the open questions to ten.
const QUESTION_DEADLINE: Duration = Duration::from_millis(200);

/// Questions between two notes of the counts: one note a second.
const COUNT_EVERY: u64 = 50;

/// One poller's memory.
struct Poller {
    server: NameServer,
    open: BTreeMap<u16, Instant>,
    last: Option<(Option<Ipv4Addr>, String)>,
    sent: u64,
    failed: u64,
    events: Events,
}

/// Polls one server until `stop` changes.
///
/// # Errors
/// When no socket can be made or the name is no name.
pub async fn poll(
    name: String,
    server: NameServer,
    events: Events,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(SocketAddr::from((server.address, server.port))).await?;
    let mut poller = Poller { server, open: BTreeMap::new(), last: None, sent: 0, failed: 0, events };
    let mut tick = interval(POLL_EVERY);
    // Late ticks are not caught up: a burst would measure nothing.
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut buffer = [0u8; dns::DATAGRAM_BYTES_MAX];
    let mut id: u16 = rand::random();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            received = socket.recv(&mut buffer) => match received {
                Ok(length) => poller.on_datagram(&buffer[..length]),
                // Port unreachable: the host lives, the server does not. The open questions expire.
                Err(_) => tokio::task::yield_now().await,
            },
            _ = tick.tick() => {
                poller.expire();
                id = id.wrapping_add(1);
                poller.open.insert(id, Instant::now());
                poller.sent += 1;
                // A question that cannot be sent expires like one that is lost.
                let _ = socket.send(&dns::question(id, &name, None)?).await;
                if poller.sent.is_multiple_of(COUNT_EVERY) {
                    poller.note_counts();
                }
            }
        }
    }
    poller.note_counts();
    Ok(())
}

impl Poller {
    fn on_datagram(&mut self, datagram: &[u8]) {
        let Some((id, answer)) = dns::read_answer(datagram) else { return };
        if self.open.remove(&id).is_none() {
            return;
        }
        if answer.address.is_none() || answer.code != ResponseCode::NoError {
            self.failed += 1;
        }
        self.saw(answer.address, answer.code.to_str().to_owned());
    }

    fn expire(&mut self) {
        let before = self.open.len();
        self.open.retain(|_, asked| asked.elapsed() < QUESTION_DEADLINE);
        let expired = before - self.open.len();
        if expired > 0 {
            self.failed += expired as u64;
            self.saw(None, "timeout".to_owned());
        }
    }

    fn saw(&mut self, address: Option<Ipv4Addr>, code: String) {
        let now = (address, code);
        if self.last.as_ref() == Some(&now) {
            return;
        }
        self.last = Some(now.clone());
        let (address, code) = now;
        self.events.note(Event::Answered {
            server: self.server.name.clone(),
            at: clock::now(),
            address,
            code,
        });
    }

    fn note_counts(&self) {
        self.events.note(Event::Queries {
            of: self.server.name.clone(),
            sent: self.sent,
            failed: self.failed,
        });
    }
}

/// Resolves as the TTL says and notes every change, until `stop` changes.
pub async fn flip_client(
    client: String,
    access: &DatabaseAccess,
    events: Events,
    mut stop: watch::Receiver<bool>,
) {
    let (held, mut seen) = watch::channel(None);
    let resolver = Resolver::new(access.name.clone(), access.servers.clone());
    let keeping = tokio::spawn(resolver.keep(format!("{client} flip"), held, events.clone()));
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            changed = seen.changed() => {
                if changed.is_err() {
                    break;
                }
                let address = *seen.borrow_and_update();
                events.note(Event::Resolved { at: clock::now(), address });
            }
        }
    }
    drop(seen);
    // Ends within one round of servers, since nobody watches any more.
    let _ = keeping.await;
}
