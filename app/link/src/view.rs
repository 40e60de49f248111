//! What the links look like from here at one moment: for `status`, metrics and decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use model::NodeId;

use crate::Endpoint;

/// All links of this process at one moment.
#[derive(Debug, Clone)]
pub struct LinkView {
    /// This process.
    pub me: Endpoint,
    /// Every endpoint of the roster but `me`.
    pub links: BTreeMap<Endpoint, LinkStatus>,
    /// What was refused or dropped, over all links.
    pub counters: LinkCounters,
}

/// The link to one endpoint.
#[derive(Debug, Clone, Default)]
pub struct LinkStatus {
    /// Age of what was last heard directly from it; `None` when nothing ever was.
    pub heard: Option<Duration>,
    /// A connection is up: heard within `silence`, and the other end says that it hears us on it too.
    pub up: bool,
    /// When not up: the node through which a message would go now.
    pub relay: Option<NodeId>,
    /// Round trip as beats measure it, smoothed.
    pub rtt: Option<Duration>,
    /// Connections that stand, up or not: dialed by us, and accepted.
    pub dialed: usize,
    /// See `dialed`.
    pub accepted: usize,
    /// The last thing that went wrong with it, for people.
    pub last_problem: Option<String>,
    /// Since start.
    pub counters: PeerCounters,
}

impl LinkStatus {
    /// A message sent now would have a way.
    pub fn reachable(&self) -> bool {
        self.up || self.relay.is_some()
    }
}

/// Messages (beats are not counted) with one endpoint, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Sent on a direct link.
    pub sent: u64,
    /// Sent through a relay.
    pub sent_relayed: u64,
    /// Received directly.
    pub received: u64,
    /// Received through a relay.
    pub received_relayed: u64,
    /// Not sent: the outgoing queue was full.
    pub busy: u64,
    /// Not sent: neither the direct link nor a relay was up.
    pub no_path: u64,
    /// Connections that came to stand.
    pub connected: u64,
    /// Connections that were closed because nothing was heard on them.
    pub silent: u64,
}

/// What was refused, dropped or passed on, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// TLS handshakes that failed, certificates that name nobody, or none at all.
    pub refused_certificate: u64,
    /// A valid certificate of an endpoint that the roster does not hold.
    pub refused_unknown: u64,
    /// A peer that is another than the one dialed, or that meant another than us.
    pub refused_misdirected: u64,
    /// Handshakes that did not end in time, or were pushed out by newer ones.
    pub refused_slow: u64,
    /// Connections closed because of an unknown envelope version.
    pub refused_version: u64,
    /// Connections closed because of bytes that are no frame or no envelope.
    pub refused_garbage: u64,
    /// Connections closed because of a frame over the limit.
    pub refused_oversize: u64,
    /// Messages that claimed a sender or a route that their connection does not allow.
    pub refused_forged: u64,
    /// Casts that came in while the inbound queue was full.
    pub inbound_casts_dropped: u64,
    /// Calls answered busy because the inbound queue was full.
    pub inbound_calls_busy: u64,
    /// Messages passed on for others.
    pub forwarded: u64,
    /// Messages of others that could not be passed on.
    pub forward_failed: u64,
    /// Replies that came when nobody waited for them any more.
    pub replies_late: u64,
    /// Replies that found no way back.
    pub replies_lost: u64,
}
