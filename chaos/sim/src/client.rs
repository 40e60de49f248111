//! Clients that write through the bound name: they resolve it as its TTL says, write, and wait for
//! the answer until they give up.

use crate::event::{ClientEvent, Event, Inside};
use crate::place::{HOST_SITES, MDC, MS, NODE_SITES, NODES, OUTSIDE, PDC, SECOND, Time};
use crate::world::World;

/// Clients: where each is, how often it writes, how long it waits for an answer.
const CLIENTS: [(usize, Time, Time); 5] = [
    (PDC, 200 * MS, 3 * SECOND),
    (MDC, 230 * MS, 5 * SECOND),
    (OUTSIDE, 170 * MS, 2 * SECOND),
    (OUTSIDE, 250 * MS, 20 * SECOND),
    // Nobody has told it to give up.
    (OUTSIDE, 400 * MS, 120 * SECOND),
];

/// A connection that is held up by the lock of all accounts is looked at again after this long.
const ACCOUNTS_LOOK: Time = 5 * MS;
/// A client that has nothing to write looks again after this long.
const QUIET_LOOK: Time = 500 * MS;

/// One client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where it is.
    pub place: usize,
    pace: Time,
    patience: Time,
    /// What it resolved, and until when it believes that.
    resolved: Option<(usize, Time)>,
    /// Its present attempt.
    pub attempt: u32,
    /// The host it waits on.
    pub at: Option<usize>,
}

impl Client {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let new =
            |(place, pace, patience)| Self { place, pace, patience, resolved: None, attempt: 0, at: None };
        CLIENTS.into_iter().map(new).collect()
    }
}

impl World {
    pub(crate) fn client_event(&mut self, c: usize, what: ClientEvent) {
        let attempt = match what {
            ClientEvent::Next { attempt }
            | ClientEvent::Arrive { attempt, .. }
            | ClientEvent::Ok { attempt, .. }
            | ClientEvent::No { attempt }
            | ClientEvent::Timeout { attempt } => attempt,
        };
        if self.clients[c].attempt != attempt {
            return;
        }
        match what {
            ClientEvent::Next { .. } => self.client_writes(c),
            ClientEvent::Arrive { host, .. } => self.client_arrives(c, host),
            ClientEvent::Ok { transaction, .. } => {
                self.truth.acknowledged(transaction);
                let pace = self.clients[c].pace;
                let jitter = self.chance.below(pace / 4);
                self.client_again(c, pace + jitter);
            }
            ClientEvent::No { .. } => {
                let wait = 100 * MS + self.chance.below(100 * MS);
                self.client_again(c, wait);
            }
            ClientEvent::Timeout { .. } => {
                if let Some(h) = self.clients[c].at {
                    self.driver_kills(h, c, attempt);
                }
                self.client_again(c, 10 * MS);
            }
        }
    }

    fn client_again(&mut self, c: usize, after: Time) {
        let client = &mut self.clients[c];
        client.attempt += 1;
        client.at = None;
        let what = ClientEvent::Next { attempt: client.attempt };
        self.queue.push(self.now + after, Event::Client { client: c, what });
    }

    fn client_writes(&mut self, c: usize) {
        let now = self.now;
        if self.quiet {
            return self.client_again(c, QUIET_LOOK);
        }
        let known = self.clients[c].resolved.filter(|(_, until)| *until > now).map(|(host, _)| host);
        let Some(host) = known.or_else(|| self.resolve(c)) else {
            let wait = 150 * MS + self.chance.below(100 * MS);
            return self.client_again(c, wait);
        };
        let client = &mut self.clients[c];
        client.at = Some(host);
        let attempt = client.attempt;
        let give_up = Event::Client { client: c, what: ClientEvent::Timeout { attempt } };
        self.queue.push(now + client.patience, give_up);
        if let Some(passage) = self.net.passage(client.place, HOST_SITES[host]) {
            let arrive = Event::Client { client: c, what: ClientEvent::Arrive { attempt, host } };
            self.queue.push(now + passage.latency + passage.slow / 2, arrive);
        }
    }

    /// Asks one of the zone's servers.
    fn resolve(&mut self, c: usize) -> Option<usize> {
        let n = self.chance.below(self.nodes.len() as u64) as usize;
        let node = &self.nodes[n];
        let run = node.run.as_ref().filter(|_| !node.paused)?;
        if !self.net.both(self.clients[c].place, NODE_SITES[n]) {
            return None;
        }
        if !self.believed(n) {
            return None;
        }
        let host = self.dns.ask(&run.dns, self.fresh(n))?;
        self.check_answered(n, host);
        self.clients[c].resolved = Some((host, self.now + Time::from(crate::dns::TTL) * SECOND));
        Some(host)
    }

    /// Its packets reach the host: the gate, then the server.
    fn client_arrives(&mut self, c: usize, h: usize) {
        let host = &self.hosts[h];
        if !host.up || host.paused || !self.passes(h) {
            return;
        }
        // Its connection is a new one: while an account is being made it gets no further.
        if host.mysql.accounts_locked() {
            let attempt = self.clients[c].attempt;
            let again = Event::Client { client: c, what: ClientEvent::Arrive { attempt, host: h } };
            self.queue.push(self.now + ACCOUNTS_LOOK, again);
            return;
        }
        let attempt = self.clients[c].attempt;
        let Some(life) = host.mysql.life.as_ref().filter(|l| l.booted && !l.stopping && !host.mysql.flooded)
        else {
            return self.refuse_client(h, c, attempt);
        };
        let (start, sockets) = (life.start, host.sockets);
        let takes = 500 + self.chance.below(1_500) + self.slow_disk(NODES + h);
        let what = Inside::Commit { client: c, attempt, sockets };
        self.queue.push(self.now + takes, Event::Mysql { host: h, start, what });
    }

    /// Clients begin a little apart.
    pub(crate) fn clients_begin(&mut self) {
        for client in 0..self.clients.len() {
            let at = self.now + self.chance.below(300) * MS;
            let what = ClientEvent::Next { attempt: 0 };
            self.queue.push(at, Event::Client { client, what });
        }
    }
}
