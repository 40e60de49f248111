//! What all tasks of a link set share, and what each message does to it.
//!
//! One lock over table, open calls and counters; it is held for map look-ups only, never across an
//! await, and never while anything of the caller's is dropped or run (a dropped [`Replier`] answers,
//! and answering takes the lock).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use model::NodeId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::dial::Target;
use crate::links::BODY_MAX;
use crate::outbox::{Outbox, PushError};
use crate::refusal::{Problem, Refusal, RefusalLog};
use crate::table::{ConnectionId, Side, Table};
use crate::wire::{Beat, ErrorCode, Frame, Kind, Message, clipped, encode_message, set_hops};
use crate::{CallError, Endpoint, Inbound, LinkConfig, LinkCounters, LinkTiming, LinkTls, Replier, Sent};

/// Calls that may wait for their answers at once. A node has a few dozen open; thousands mean that
/// somebody asks without deadlines, and more of them would not help.
const CALLS_MAX: usize = 4096;

pub(crate) struct Shared {
    pub(crate) me: Endpoint,
    pub(crate) tls: LinkTls,
    pub(crate) timing: LinkTiming,
    /// Set once, for every task to see.
    pub(crate) stopping: watch::Sender<bool>,
    /// Whom to dial.
    pub(crate) targets: watch::Sender<Vec<Target>>,
    /// Changes when a link came up, so that the others are told before the next beat is due.
    pub(crate) news: watch::Sender<()>,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) counters: LinkCounters,
    refusals: RefusalLog,
    calls: BTreeMap<u64, OpenCall>,
    next_call: u64,
    /// Taken away by `stop`, which closes the channel.
    inbound: Option<mpsc::Sender<Inbound>>,
}

struct OpenCall {
    to: Endpoint,
    /// The node that it was given to, whose word that it could not pass it on is believed.
    relay: Option<NodeId>,
    answer: oneshot::Sender<Result<Vec<u8>, CallError>>,
}

/// A call under way; dropping it forgets the call.
pub(crate) struct CallUnderWay<'a> {
    shared: &'a Shared,
    id: u64,
    pub(crate) answer: oneshot::Receiver<Result<Vec<u8>, CallError>>,
}

impl Drop for CallUnderWay<'_> {
    fn drop(&mut self) {
        self.shared.state().calls.remove(&self.id);
    }
}

impl Shared {
    pub(crate) fn new(config: &LinkConfig, targets: Vec<Target>, inbound: mpsc::Sender<Inbound>) -> Self {
        let nodes = config.peers.keys().cloned().map(Endpoint::Node);
        let guards = config.guards.iter().cloned().map(Endpoint::Guard);
        let roster = nodes.chain(guards);
        let table = Table::new(config.me.clone(), roster, config.timing.silence, Instant::now());
        Self {
            me: config.me.clone(),
            tls: config.tls.clone(),
            timing: config.timing,
            stopping: watch::Sender::new(false),
            targets: watch::Sender::new(targets),
            news: watch::Sender::new(()),
            state: Mutex::new(State {
                table,
                counters: LinkCounters::default(),
                refusals: RefusalLog::default(),
                calls: BTreeMap::new(),
                // A restarted process must not take an answer meant for its last life.
                next_call: rand::random(),
                inbound: Some(inbound),
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves it half changed, so what a panicking holder left is sound.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Resolves when the links are being stopped.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in self, so it is not gone while we wait.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Tells every task to end, and every caller that it will get no answer.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        let (calls, inbound) = {
            let mut state = self.state();
            (std::mem::take(&mut state.calls), state.inbound.take())
        };
        drop((calls, inbound));
    }

    /// Counts a refusal and logs it when its turn has come.
    pub(crate) fn refuse(&self, who: &str, problem: &Problem) {
        let Some(refusal) = problem.refusal else { return };
        let due = {
            let mut state = self.state();
            refusal.count(&mut state.counters);
            state.refusals.due(refusal, Instant::now())
        };
        if let Some(left_out) = due {
            tracing::warn!(peer = who, like_it_unlogged = left_out, "link refused: {problem}");
        }
    }

    // ---- out ----

    /// Sends by the way that works now.
    pub(crate) fn send(self: &Arc<Self>, message: Message) -> Sent {
        if message.body.len() > BODY_MAX {
            return Sent::Busy;
        }
        if message.to == self.me {
            self.take_in(message, false);
            return Sent::Direct;
        }
        let encoded = encode_message(&message);
        self.state().send(&message.to, encoded)
    }

    /// Registers a call and sends it; the answer comes to what is returned.
    pub(crate) fn open_call(
        self: &Arc<Self>,
        to: &Endpoint,
        topic: u8,
        body: &[u8],
    ) -> Result<CallUnderWay<'_>, CallError> {
        if body.len() > BODY_MAX {
            return Err(CallError::Busy);
        }
        let (answer, receiver) = oneshot::channel();
        let id = {
            let mut state = self.state();
            if state.inbound.is_none() {
                return Err(CallError::Stopped);
            }
            if state.calls.len() >= CALLS_MAX {
                return Err(CallError::Busy);
            }
            let id = state.next_call;
            state.next_call = id.wrapping_add(1);
            state.calls.insert(id, OpenCall { to: to.clone(), relay: None, answer });
            id
        };
        let under_way = CallUnderWay { shared: self, id, answer: receiver };
        let message = self.message(to.clone(), Kind::Call { id, topic }, body.to_vec());
        let sent = if message.to == self.me {
            self.send(message)
        } else {
            let encoded = encode_message(&message);
            let mut state = self.state();
            let sent = state.send(to, encoded);
            // Under the same lock as the sending, so that the relay's word is not read before this.
            if let (Sent::Relayed(relay), Some(call)) = (&sent, state.calls.get_mut(&id)) {
                call.relay = Some(relay.clone());
            }
            sent
        };
        match sent {
            Sent::Direct | Sent::Relayed(_) => Ok(under_way),
            Sent::NoPath => Err(CallError::NoPath),
            Sent::Busy => Err(CallError::Busy),
        }
    }

    pub(crate) fn message(&self, to: Endpoint, kind: Kind, body: Vec<u8>) -> Message {
        Message { hops: 0, from: self.me.clone(), to, kind, body }
    }

    fn answer(self: &Arc<Self>, to: Endpoint, kind: Kind, body: Vec<u8>) {
        let sent = self.send(self.message(to, kind, body));
        if matches!(sent, Sent::NoPath | Sent::Busy) {
            self.state().counters.replies_lost += 1;
        }
    }

    // ---- in ----

    /// Does what a frame from an established connection asks for.
    ///
    /// # Errors
    /// The connection is to be closed, for this reason.
    pub(crate) fn receive(
        self: &Arc<Self>,
        peer: &Endpoint,
        id: ConnectionId,
        frame: Frame,
    ) -> Result<(), Problem> {
        match frame {
            Frame::Hello { .. } => Err(Problem::refused(Refusal::Garbage, "a second hello")),
            Frame::Bye { reason } => Err(Problem::plain(format!("the peer closed: {reason}"))),
            Frame::Beat(beat) => {
                self.receive_beat(peer, id, beat);
                Ok(())
            }
            Frame::Message(message) => self.receive_message(peer, message),
        }
    }

    fn receive_beat(&self, peer: &Endpoint, id: ConnectionId, beat: Beat) {
        let came_up = self.state().table.beat_on(peer, id, beat, Instant::now());
        if came_up {
            self.news.send_replace(());
        }
    }

    fn receive_message(self: &Arc<Self>, peer: &Endpoint, message: Message) -> Result<(), Problem> {
        let forged = |why: String| Err(Problem::refused(Refusal::Forged, why));
        if message.from == *peer {
            if message.to == self.me {
                self.take_in(message, false);
                return Ok(());
            }
            if message.hops == 0 || self.me.node().is_none() {
                return forged(format!("a message for {} that may not be passed on", message.to));
            }
            self.forward(message);
            return Ok(());
        }
        // Only a node vouches for another sender, and only towards the receiver itself.
        if peer.node().is_none() || message.hops != 0 || message.to != self.me {
            return forged(format!("it claims to speak for {}", message.from));
        }
        if message.from == self.me || !self.state().table.holds(&message.from) {
            // The relay's roster may be newer than ours: no reason to lose the link to it.
            let why = format!("{} passes on a message from {}", peer, message.from);
            self.refuse(&peer.to_string(), &Problem::refused(Refusal::Unknown, why));
            return Ok(());
        }
        self.take_in(message, true);
        Ok(())
    }

    /// Passes a message on to its receiver, or tells the caller at once that it cannot be.
    fn forward(self: &Arc<Self>, message: Message) {
        let (from, kind) = (message.from.clone(), message.kind);
        let mut encoded = encode_message(&message);
        set_hops(&mut encoded, 0);
        let failed = self.state().forward(&message.to, encoded);
        let Some(code) = failed else { return };
        if let Kind::Call { id, .. } = kind {
            self.answer(from, Kind::Error { id, code }, Vec::new());
        }
    }

    /// A message for this process.
    fn take_in(self: &Arc<Self>, message: Message, relayed: bool) {
        let Message { from, kind, body, .. } = message;
        let inbound = {
            let mut state = self.state();
            if let Some(counters) = state.table.counters(&from) {
                *(if relayed { &mut counters.received_relayed } else { &mut counters.received }) += 1;
            }
            state.inbound.clone()
        };
        match kind {
            Kind::Cast { topic } => {
                let cast = Inbound::Cast { from, topic, body, relayed };
                if inbound.is_none_or(|inbound| inbound.try_send(cast).is_err()) {
                    self.state().counters.inbound_casts_dropped += 1;
                }
            }
            Kind::Call { id, topic } => {
                // The place is taken first: a replier exists only for a call that is handed in.
                match inbound.as_ref().and_then(|inbound| inbound.try_reserve().ok()) {
                    Some(place) => {
                        let reply = self.replier(from.clone(), id);
                        place.send(Inbound::Call { from, topic, body, reply });
                    }
                    None => {
                        self.state().counters.inbound_calls_busy += 1;
                        self.answer(from, Kind::Error { id, code: ErrorCode::Busy }, Vec::new());
                    }
                }
            }
            Kind::Reply { id } => self.settle(&from, id, None, Ok(body)),
            Kind::Error { id, code } => {
                let error = match code {
                    ErrorCode::Remote => CallError::Remote(String::from_utf8_lossy(&body).into_owned()),
                    ErrorCode::Busy => CallError::Busy,
                    ErrorCode::NoPath => CallError::NoPath,
                };
                self.settle(&from, id, Some(code), Err(error));
            }
        }
    }

    fn replier(self: &Arc<Self>, to: Endpoint, id: u64) -> Replier {
        let shared = self.clone();
        Replier::new(move |result| match result {
            Ok(body) if body.len() <= BODY_MAX => shared.answer(to, Kind::Reply { id }, body),
            Ok(body) => {
                let why = format!("the answer of {} bytes is over the limit of {BODY_MAX}", body.len());
                shared.answer(to, Kind::Error { id, code: ErrorCode::Remote }, why.into_bytes());
            }
            Err(text) => {
                let text = clipped(&text).as_bytes().to_vec();
                shared.answer(to, Kind::Error { id, code: ErrorCode::Remote }, text);
            }
        })
    }

    /// Gives an answer to the call it belongs to. Only the callee answers; the relay that was given
    /// the call may say that it did not pass it on.
    fn settle(&self, from: &Endpoint, id: u64, code: Option<ErrorCode>, result: Result<Vec<u8>, CallError>) {
        let mut state = self.state();
        let refused_on_the_way = matches!(code, Some(ErrorCode::Busy | ErrorCode::NoPath));
        let entitled = state.calls.get(&id).is_some_and(|call| {
            call.to == *from
                || (refused_on_the_way && call.relay.as_ref() == from.node() && call.relay.is_some())
        });
        match state.calls.remove(&id).filter(|_| entitled) {
            Some(call) => {
                // Nobody waits any more when this fails; the caller's deadline has passed.
                let _ = call.answer.send(result);
            }
            None => state.counters.replies_late += 1,
        }
    }

    // ---- connections ----

    pub(crate) fn join(&self, peer: &Endpoint, side: Side, outbox: Outbox) -> ConnectionId {
        let (id, first) = {
            let mut state = self.state();
            let first = !state.table.connected(peer);
            (state.table.join(peer, side, outbox, Instant::now()), first)
        };
        if first {
            tracing::info!(%peer, "link connected");
        }
        id
    }

    pub(crate) fn leave(&self, peer: &Endpoint, id: ConnectionId, why: &Problem, silent: bool) {
        let last = {
            let mut state = self.state();
            state.table.leave(peer, id, &why.why);
            if let (true, Some(counters)) = (silent, state.table.counters(peer)) {
                counters.silent += 1;
            }
            !state.table.connected(peer)
        };
        if last && !*self.stopping.borrow() {
            tracing::info!(%peer, "link lost: {why}");
        }
    }
}

impl State {
    /// Queues an encoded message, with the hop budget that its way needs.
    fn send(&mut self, to: &Endpoint, mut encoded: Vec<u8>) -> Sent {
        let Some(way) = self.table.way(to, Instant::now()) else {
            if let Some(counters) = self.table.counters(to) {
                counters.no_path += 1;
            }
            return Sent::NoPath;
        };
        set_hops(&mut encoded, u8::from(way.relay.is_some()));
        let pushed = way.outbox.push(encoded);
        let counters = self.table.counters(to).expect("a way leads to the roster only");
        match (pushed, way.relay) {
            (Ok(()), None) => {
                counters.sent += 1;
                Sent::Direct
            }
            (Ok(()), Some(relay)) => {
                counters.sent_relayed += 1;
                Sent::Relayed(relay)
            }
            (Err(PushError::Full), _) => {
                counters.busy += 1;
                Sent::Busy
            }
            // Its writer ended this very moment.
            (Err(PushError::Closed), _) => {
                counters.no_path += 1;
                Sent::NoPath
            }
        }
    }

    /// Queues another's message for its receiver; the reason when that does not go.
    fn forward(&mut self, to: &Endpoint, encoded: Vec<u8>) -> Option<ErrorCode> {
        let failed = match self.table.direct(to, Instant::now()).map(|way| way.outbox.push(encoded)) {
            Some(Ok(())) => None,
            Some(Err(PushError::Full)) => Some(ErrorCode::Busy),
            Some(Err(PushError::Closed)) | None => Some(ErrorCode::NoPath),
        };
        *(if failed.is_some() { &mut self.counters.forward_failed } else { &mut self.counters.forwarded }) +=
            1;
        failed
    }
}
