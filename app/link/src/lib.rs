//! The transport between twofold processes: nodes (voters) and guards (one on each database host).
//!
//! Every node dials every other node and guards dial every node, over mutual TLS; a connection
//! carries messages both ways. Messages are casts and calls on a `topic`, of bytes this crate does
//! not read. Beats tell on each connection that it lives, whether the other end hears us on it, and
//! to whom the other end has a link, so that a message whose direct link is down goes one hop
//! through a node that hears both ends (DESIGN §4 "Transport"): a cut between two sites that
//! both see the witness isolates nobody.
//!
//! Invariants: sending never waits for the network; every queue is bounded; a dead peer delays
//! nobody else's messages; the sender of a message is what a certificate named, or what an
//! authenticated node vouches for; nothing a peer sends makes this process panic.
//!
//! Order is kept among messages that take the same connection. Delivery is at most once and not
//! promised: whoever must know calls, and calls again. A frame is written whole, so a body of
//! megabytes delays what is queued behind it on the same connection: send large things in pieces.
//!
//! Deliberately absent: retries, storage, the meaning of topics, leases and clocks of leases, more
//! than one hop, and changing the roster of a running link set.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod connection;
mod dial;
mod endpoint;
mod frames;
mod links;
mod listen;
mod message;
mod outbox;
mod refusal;
mod shared;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod wire;

pub use config::{LinkConfig, LinkTiming, LinkTls, StartError, node_server_name};
pub use endpoint::{Endpoint, EndpointError};
pub use links::{BODY_MAX, Links};
pub use message::{CallError, Inbound, Replier, Sent};
pub use view::{LinkCounters, LinkStatus, LinkView, PeerCounters};
