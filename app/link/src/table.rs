//! Who is connected, who hears whom, and by which way a message goes now. No I/O and no clock here.
//!
//! A connection is **up** when it was heard on within `silence` and the other end says in its beats
//! that it hears us on it: under a cut in one direction only, the end that still hears would
//! otherwise go on sending into the void. An endpoint's direct link is up when one of its
//! connections is. The relay is the node with an up link here whose beats name the receiver, the
//! one heard last; among equals the first by name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::NodeId;

use crate::Endpoint;
use crate::outbox::Outbox;
use crate::view::{LinkStatus, PeerCounters};
use crate::wire::Beat;

/// Connections accepted from one peer that may stand at once: a dialer races up to four attempts and
/// keeps one. A fifth pushes out the oldest, which is a leftover of a cut or of the peer's last life.
const ACCEPTED_MAX: usize = 4;
/// One part in this many of a new round-trip sample goes into the estimate (as TCP's, RFC 6298 §2.3).
const RTT_SMOOTHING: u32 = 8;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Accepted,
    Dialed,
}

/// One connection for as long as the process lives; ids are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    side: Side,
    outbox: Outbox,
    heard: Instant,
    /// As its last beat says.
    hears_me: bool,
    /// The peer's last stamp and when it came.
    stamp: Option<(u64, Instant)>,
}

#[derive(Debug, Default)]
struct Peer {
    /// In the order in which they came to stand.
    connections: Vec<Connection>,
    /// To whom it has a link that is up, as its last beat says.
    up: BTreeSet<Endpoint>,
    heard: Option<Instant>,
    rtt: Option<Duration>,
    problem: Option<String>,
    counters: PeerCounters,
}

#[derive(Debug)]
pub(crate) struct Table {
    me: Endpoint,
    silence: Duration,
    start: Instant,
    peers: BTreeMap<Endpoint, Peer>,
    connections: u64,
}

/// A way that a message may go now.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) relay: Option<NodeId>,
    pub(crate) outbox: Outbox,
}

impl Connection {
    fn up(&self, now: Instant, silence: Duration) -> bool {
        self.hears_me && self.heard_within(now, silence) && !self.outbox.closed()
    }

    fn heard_within(&self, now: Instant, silence: Duration) -> bool {
        now.saturating_duration_since(self.heard) <= silence
    }
}

impl Peer {
    /// The connection to send on: ours before theirs, the newest first.
    fn direct(&self, now: Instant, silence: Duration) -> Option<&Connection> {
        self.connections.iter().filter(|c| c.up(now, silence)).max_by_key(|c| (c.side, c.id))
    }
}

impl Table {
    pub(crate) fn new(
        me: Endpoint,
        roster: impl IntoIterator<Item = Endpoint>,
        silence: Duration,
        now: Instant,
    ) -> Self {
        let peers = roster.into_iter().filter(|e| *e != me).map(|e| (e, Peer::default())).collect();
        Self { me, silence, start: now, peers, connections: 0 }
    }

    pub(crate) fn holds(&self, endpoint: &Endpoint) -> bool {
        self.peers.contains_key(endpoint)
    }

    /// Any connection to it stands, up or not.
    pub(crate) fn connected(&self, peer: &Endpoint) -> bool {
        self.peers.get(peer).is_some_and(|entry| !entry.connections.is_empty())
    }

    /// These are the peers from now on. Who goes loses its connections: their writers see their outboxes
    /// gone and end them.
    pub(crate) fn set_roster(&mut self, roster: impl IntoIterator<Item = Endpoint>) {
        let roster: BTreeSet<Endpoint> = roster.into_iter().filter(|e| *e != self.me).collect();
        self.peers.retain(|endpoint, _| roster.contains(endpoint));
        for endpoint in roster {
            self.peers.entry(endpoint).or_default();
        }
    }

    /// A connection came to stand. Pushes out the oldest accepted one where there are too many. Where the
    /// peer left the roster during the handshake the outbox is dropped, which ends the connection.
    pub(crate) fn join(&mut self, peer: &Endpoint, side: Side, outbox: Outbox, now: Instant) -> ConnectionId {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let Some(entry) = self.peers.get_mut(peer) else { return id };
        let accepted = || entry.connections.iter().filter(|c| c.side == Side::Accepted);
        if side == Side::Accepted && accepted().count() >= ACCEPTED_MAX {
            let oldest = accepted().map(|c| c.id).min().expect("there are some");
            entry.connections.retain(|c| c.id != oldest);
        }
        entry.connections.push(Connection { id, side, outbox, heard: now, hears_me: false, stamp: None });
        entry.heard = Some(now);
        entry.problem = None;
        entry.counters.connected += 1;
        id
    }

    /// A connection ended. `why` is kept for people when it was the last one.
    pub(crate) fn leave(&mut self, peer: &Endpoint, id: ConnectionId, why: &str) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.connections.retain(|c| c.id != id);
        if entry.connections.is_empty() {
            entry.up.clear();
            entry.problem = Some(why.to_owned());
        }
    }

    /// Something went wrong with a peer that is not connected.
    pub(crate) fn problem(&mut self, peer: &Endpoint, why: &str) {
        if let Some(entry) = self.peers.get_mut(peer)
            && entry.connections.is_empty()
        {
            entry.problem = Some(why.to_owned());
        }
    }

    /// Bytes came in on a connection.
    pub(crate) fn heard_on(&mut self, peer: &Endpoint, id: ConnectionId, now: Instant) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.heard = Some(now);
        if let Some(connection) = entry.connections.iter_mut().find(|c| c.id == id) {
            connection.heard = now;
        }
    }

    /// A beat came in. True when the connection came up by it.
    pub(crate) fn beat_on(&mut self, peer: &Endpoint, id: ConnectionId, beat: Beat, now: Instant) -> bool {
        let (silence, since_start) = (self.silence, micros(now.saturating_duration_since(self.start)));
        let Some(entry) = self.peers.get_mut(peer) else { return false };
        let Some(connection) = entry.connections.iter_mut().find(|c| c.id == id) else { return false };
        let was_up = connection.up(now, silence);
        connection.hears_me = beat.hears_you;
        connection.stamp = Some((beat.stamp, now));
        let comes_up = !was_up && connection.up(now, silence);
        entry.up = beat.up.into_iter().collect();
        let sample = beat.echo.and_then(|(stamp, held)| since_start.checked_sub(stamp)?.checked_sub(held));
        if let Some(sample) = sample.map(Duration::from_micros) {
            entry.rtt = Some(match entry.rtt {
                Some(rtt) => (rtt * (RTT_SMOOTHING - 1) + sample) / RTT_SMOOTHING,
                None => sample,
            });
        }
        comes_up
    }

    /// What to tell the other end of a connection now; `None` when it was taken from the table.
    pub(crate) fn beat_for(&self, peer: &Endpoint, id: ConnectionId, now: Instant) -> Option<Beat> {
        let connection = self.peers.get(peer)?.connections.iter().find(|c| c.id == id)?;
        let held = |at: Instant| micros(now.saturating_duration_since(at));
        Some(Beat {
            hears_you: connection.heard_within(now, self.silence),
            stamp: micros(now.saturating_duration_since(self.start)),
            echo: connection.stamp.map(|(stamp, at)| (stamp, held(at))),
            // Guards pass nothing on, so they promise nothing.
            up: if self.me.node().is_some() { self.up_but(peer, now) } else { Vec::new() },
        })
    }

    fn up_but(&self, peer: &Endpoint, now: Instant) -> Vec<Endpoint> {
        let up = self.peers.iter().filter(|(e, p)| *e != peer && p.direct(now, self.silence).is_some());
        up.map(|(e, _)| e.clone()).collect()
    }

    /// The direct way to an endpoint.
    pub(crate) fn direct(&self, to: &Endpoint, now: Instant) -> Option<Way> {
        let connection = self.peers.get(to)?.direct(now, self.silence)?;
        Some(Way { relay: None, outbox: connection.outbox.clone() })
    }

    /// The way to an endpoint: direct, else through the freshest relay.
    pub(crate) fn way(&self, to: &Endpoint, now: Instant) -> Option<Way> {
        if !self.holds(to) {
            return None;
        }
        self.direct(to, now).or_else(|| {
            let relay = self.relay(to, now)?;
            let way = self.direct(&Endpoint::Node(relay.clone()), now)?;
            Some(Way { relay: Some(relay), ..way })
        })
    }

    fn relay(&self, to: &Endpoint, now: Instant) -> Option<NodeId> {
        let mut freshest: Option<(&NodeId, Instant)> = None;
        for (endpoint, peer) in &self.peers {
            let (Endpoint::Node(node), Some(heard)) = (endpoint, peer.heard) else { continue };
            let fresher = freshest.is_none_or(|(_, best)| heard > best);
            if fresher && endpoint != to && peer.up.contains(to) && peer.direct(now, self.silence).is_some() {
                freshest = Some((node, heard));
            }
        }
        freshest.map(|(node, _)| node.clone())
    }

    /// The age of what was last heard directly from an endpoint.
    pub(crate) fn heard(&self, endpoint: &Endpoint, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.peers.get(endpoint)?.heard?))
    }

    /// The endpoints heard directly within `silence`.
    pub(crate) fn hears(&self, now: Instant) -> BTreeSet<Endpoint> {
        let fresh = |e: &&Endpoint| self.heard(e, now).is_some_and(|age| age <= self.silence);
        self.peers.keys().filter(fresh).cloned().collect()
    }

    pub(crate) fn counters(&mut self, endpoint: &Endpoint) -> Option<&mut PeerCounters> {
        self.peers.get_mut(endpoint).map(|peer| &mut peer.counters)
    }

    /// Takes away every connection, which ends their writers.
    pub(crate) fn clear(&mut self) {
        for peer in self.peers.values_mut() {
            peer.connections.clear();
            peer.up.clear();
        }
    }

    pub(crate) fn view(&self, now: Instant) -> BTreeMap<Endpoint, LinkStatus> {
        self.peers
            .iter()
            .map(|(endpoint, peer)| (endpoint.clone(), self.status(endpoint, peer, now)))
            .collect()
    }

    fn status(&self, endpoint: &Endpoint, peer: &Peer, now: Instant) -> LinkStatus {
        let up = peer.direct(now, self.silence).is_some();
        let dialed = peer.connections.iter().filter(|c| c.side == Side::Dialed).count();
        LinkStatus {
            heard: self.heard(endpoint, now),
            up,
            relay: if up { None } else { self.relay(endpoint, now) },
            rtt: peer.rtt,
            dialed,
            accepted: peer.connections.len() - dialed,
            last_problem: peer.problem.clone(),
            counters: peer.counters,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Outgoing, outbox};

    const SILENCE: Duration = Duration::from_millis(350);
    const TICK: Duration = Duration::from_millis(1);

    fn node(name: &str) -> Endpoint {
        Endpoint::Node(name.parse().unwrap())
    }

    fn beat(hears_you: bool, up: &[&str]) -> Beat {
        Beat { hears_you, stamp: 0, echo: None, up: up.iter().map(|n| node(n)).collect() }
    }

    struct Bench {
        table: Table,
        now: Instant,
        writers: BTreeMap<ConnectionId, Outgoing>,
    }

    impl Bench {
        fn new(roster: &[&str]) -> Self {
            let now = Instant::now();
            let table = Table::new(node("me"), roster.iter().map(|n| node(n)), SILENCE, now);
            Self { table, now, writers: BTreeMap::new() }
        }

        fn join(&mut self, peer: &str, side: Side) -> ConnectionId {
            let (outbox, outgoing) = outbox();
            let id = self.table.join(&node(peer), side, outbox, self.now);
            self.writers.insert(id, outgoing);
            id
        }

        fn hear(&mut self, peer: &str, id: ConnectionId, beat: Beat) {
            self.table.heard_on(&node(peer), id, self.now);
            self.table.beat_on(&node(peer), id, beat, self.now);
        }

        /// The relay, and the connection that gets a message sent that way.
        fn way(&mut self, to: &str) -> Option<(Option<String>, ConnectionId)> {
            let way = self.table.way(&node(to), self.now)?;
            way.outbox.push(Vec::new()).unwrap();
            let mut got = self.writers.iter_mut().filter_map(|(id, w)| w.waiting().map(|_| *id));
            Some((way.relay.map(|r| r.to_string()), got.next().unwrap()))
        }
    }

    #[test]
    fn a_link_is_up_while_both_ends_hear_each_other() {
        let mut bench = Bench::new(&["a"]);
        assert_eq!(bench.way("a"), None);
        let id = bench.join("a", Side::Accepted);
        assert_eq!(bench.way("a"), None, "up before the peer said that it hears us");
        bench.hear("a", id, beat(true, &[]));
        assert_eq!(bench.way("a"), Some((None, id)));
        bench.hear("a", id, beat(false, &[]));
        assert_eq!(bench.way("a"), None, "up although the peer does not hear us");
        assert!(bench.table.hears(bench.now).contains(&node("a")));
        bench.hear("a", id, beat(true, &[]));
        bench.now += SILENCE + TICK;
        assert_eq!(bench.way("a"), None, "up although silent");
        assert!(bench.table.hears(bench.now).is_empty());
        bench.table.leave(&node("a"), id, "silent");
        let status = &bench.table.view(bench.now)[&node("a")];
        assert_eq!((status.up, status.accepted, status.last_problem.as_deref()), (false, 0, Some("silent")));
    }

    #[test]
    fn the_dialed_connection_is_preferred_and_the_accepted_one_stands_in() {
        let mut bench = Bench::new(&["a"]);
        let dialed = bench.join("a", Side::Dialed);
        let accepted = bench.join("a", Side::Accepted);
        bench.hear("a", accepted, beat(true, &[]));
        assert_eq!(bench.way("a"), Some((None, accepted)));
        bench.hear("a", dialed, beat(true, &[]));
        assert_eq!(bench.way("a"), Some((None, dialed)));
        bench.writers.remove(&dialed);
        assert_eq!(bench.way("a"), Some((None, accepted)), "the writer of the dialed one is gone");
        bench.table.leave(&node("a"), dialed, "closed");
        assert_eq!(bench.way("a"), Some((None, accepted)));
    }

    #[test]
    fn the_freshest_node_that_hears_the_receiver_is_the_relay() {
        let mut bench = Bench::new(&["a", "b", "c", "to"]);
        let ids: Vec<_> = ["a", "b", "c"].iter().map(|n| bench.join(n, Side::Dialed)).collect();
        bench.hear("a", ids[0], beat(true, &[]));
        assert_eq!(bench.way("to"), None, "nobody hears the receiver");
        bench.hear("b", ids[1], beat(true, &["to"]));
        bench.hear("c", ids[2], beat(true, &["to"]));
        assert_eq!(bench.way("to"), Some((Some("b".into()), ids[1])), "equals are taken by name");
        bench.now += TICK;
        bench.hear("c", ids[2], beat(true, &["to"]));
        assert_eq!(bench.way("to"), Some((Some("c".into()), ids[2])));
        bench.hear("c", ids[2], beat(false, &["to"]));
        assert_eq!(bench.way("to"), Some((Some("b".into()), ids[1])), "a relay must hear us");
        let direct = bench.join("to", Side::Accepted);
        bench.hear("to", direct, beat(true, &[]));
        assert_eq!(bench.way("to"), Some((None, direct)));
        assert_eq!(bench.way("stranger"), None);
    }

    #[test]
    fn a_fifth_accepted_connection_pushes_out_the_oldest() {
        let mut bench = Bench::new(&["a"]);
        let dialed = bench.join("a", Side::Dialed);
        let first = bench.join("a", Side::Accepted);
        for _ in 0..ACCEPTED_MAX {
            bench.join("a", Side::Accepted);
        }
        let status = bench.table.view(bench.now).remove(&node("a")).unwrap();
        assert_eq!((status.dialed, status.accepted), (1, ACCEPTED_MAX));
        assert!(bench.table.beat_for(&node("a"), first, bench.now).is_none());
        assert!(bench.table.beat_for(&node("a"), dialed, bench.now).is_some());
    }

    #[test]
    fn the_round_trip_leaves_out_what_the_peer_held() {
        let mut bench = Bench::new(&["a"]);
        let id = bench.join("a", Side::Dialed);
        bench.now += Duration::from_millis(50);
        let echo = Some((10_000, 30_000));
        bench.hear("a", id, Beat { echo, ..beat(true, &[]) });
        assert_eq!(bench.table.view(bench.now)[&node("a")].rtt, Some(Duration::from_millis(10)));
        let impossible = Some((u64::MAX, 1));
        bench.hear("a", id, Beat { echo: impossible, ..beat(true, &[]) });
        assert_eq!(bench.table.view(bench.now)[&node("a")].rtt, Some(Duration::from_millis(10)));
    }

    #[test]
    fn a_beat_names_the_links_that_are_up_both_ways_but_for_the_receiver() {
        let mut bench = Bench::new(&["a", "b", "c"]);
        let ids: Vec<_> = ["a", "b", "c"].iter().map(|n| bench.join(n, Side::Dialed)).collect();
        bench.hear("a", ids[0], beat(true, &[]));
        bench.hear("b", ids[1], beat(true, &[]));
        bench.hear("c", ids[2], beat(false, &[]));
        let told = bench.table.beat_for(&node("a"), ids[0], bench.now).unwrap();
        assert_eq!((told.hears_you, told.up), (true, vec![node("b")]));
    }
}
