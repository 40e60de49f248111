//! A stub resolver that honours the TTL: it asks its servers in order, the nearest first, goes on
//! to the next after a failure, keeps the answer for its TTL and then asks again.
//!
//! What it holds is published on a watch channel. When the TTL is over and no server answers, it
//! holds nothing: a client that honours the TTL may not go on with the old address.

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::sync::watch;

use super::dns;
use super::event::{Event, Events};
use super::plan::NameServer;

/// After so long without an answer the next server is asked.
const SERVER_DEADLINE: Duration = Duration::from_millis(200);

/// The pause after a round in which no server had an answer.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A TTL of zero means "ask each time"; asking more often than this would only be load.
const TTL_MIN: Duration = Duration::from_millis(50);

/// A stub resolver for one name.
pub struct Resolver {
    name: String,
    servers: Vec<NameServer>,
    /// Whose question it passes on, as a shared resolver does; its own unless given.
    subnet: Option<Ipv4Addr>,
    /// Which server answered last: the first to be asked next time, as resolvers do.
    preferred: usize,
    sent: u64,
    failed: u64,
}

/// One resolved name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// The address.
    pub address: Ipv4Addr,
    /// For how long it may be used.
    pub ttl: Duration,
}

impl Resolver {
    /// A resolver with its servers, the nearest first.
    #[must_use]
    pub fn new(name: String, servers: Vec<NameServer>) -> Resolver {
        Resolver { name, servers, subnet: None, preferred: 0, sent: 0, failed: 0 }
    }

    /// The same for a client elsewhere, of whose /24 the servers are told.
    #[must_use]
    pub fn on_behalf_of(mut self, subnet: Option<Ipv4Addr>) -> Resolver {
        self.subnet = subnet;
        self
    }

    /// Asks one server after the other, each at most once; none when no server had an address.
    pub async fn resolve(&mut self) -> Option<Resolution> {
        for step in 0..self.servers.len() {
            let index = (self.preferred + step) % self.servers.len();
            self.sent += 1;
            let answer = dns::ask(&self.servers[index], &self.name, self.subnet, SERVER_DEADLINE).await;
            if let Ok(dns::Answer { address: Some(address), ttl, code: ResponseCode::NoError }) = answer {
                self.preferred = index;
                let ttl = Duration::from_secs(u64::from(ttl)).max(TTL_MIN);
                return Some(Resolution { address, ttl });
            }
            self.failed += 1;
        }
        None
    }

    /// Keeps `held` as the TTL says, until nobody watches it any more.
    pub async fn keep(mut self, of: String, held: watch::Sender<Option<Ipv4Addr>>, events: Events) {
        let mut expired = tokio::time::Instant::now();
        while !held.is_closed() {
            let resolution = self.resolve().await;
            events.note(Event::Queries { of: of.clone(), sent: self.sent, failed: self.failed });
            let pause = match resolution {
                Some(Resolution { address, ttl }) => {
                    expired = tokio::time::Instant::now() + ttl;
                    publish(&held, Some(address));
                    ttl
                }
                None => {
                    if tokio::time::Instant::now() >= expired {
                        publish(&held, None);
                    }
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = held.closed() => {}
            }
        }
    }
}

/// Wakes watchers only when something changed.
fn publish(held: &watch::Sender<Option<Ipv4Addr>>, address: Option<Ipv4Addr>) {
    held.send_if_modified(|now| std::mem::replace(now, address) != address);
}
