//! Replication: the dump thread, the receiver, the applier.

use crate::event::{Event, Inside};
use crate::mysql::{Attached, Connection, Io, Life};
use crate::place::{HOST_SITES, HOSTS, MS, SECOND, Time};
use crate::world::World;

/// Relay log and fsync before an ack leaves.
const RELAY_SYNC: Time = 300;
/// `replica_net_timeout`.
const NET_TIMEOUT: Time = 4 * SECOND;
/// `SOURCE_CONNECT_RETRY`.
const CONNECT_RETRY: Time = SECOND;
/// A stuck connection is looked at this often.
const STALL_LOOK: Time = 300 * MS;
/// Transactions on their way on one connection; more follow as they arrive.
const IN_FLIGHT_MAX: usize = 64;

const TWO: &str = "a server replicates from another one";

impl World {
    /// Sends what the replicas lack, as far as their connections take it.
    pub(crate) fn stream(&mut self, source: usize) {
        let Some(life) = self.hosts[source].mysql.life.as_ref() else { return };
        for attached in life.attached.clone() {
            self.stream_to(source, attached);
        }
    }

    fn stream_to(&mut self, source: usize, attached: Attached) {
        let replica = attached.host;
        let now = self.now;
        let link = self.replicates(source, replica);
        let [from, to] = self.hosts.get_disjoint_mut([source, replica]).expect(TWO);
        if from.mysql.life.as_ref().is_none_or(|l| l.doomed) {
            return;
        }
        let held = to.mysql.all_held();
        let connected = to
            .mysql
            .life
            .as_mut()
            .and_then(|l| Some((l.start, l.connection.as_mut().filter(|c| c.id == attached.id)?)));
        let Some((start, connection)) = connected else {
            // The dump thread learns at its next send that nobody listens.
            if let Some(life) = from.mysql.life.as_mut().filter(|_| link) {
                life.attached.retain(|a| a.id != attached.id);
            }
            return;
        };
        if connection.stalled.is_some() {
            return;
        }
        let logged: [usize; HOSTS] = std::array::from_fn(|origin| from.mysql.logged(origin));
        // A log has an order, in which transactions are numbered that were written one after the other, whoever wrote them:
        // a former primary has its own before those of its successor.
        loop {
            let next = (0..HOSTS)
                .filter(|origin| connection.sent[*origin] < logged[*origin])
                .min_by_key(|origin| from.mysql.transaction(*origin, connection.sent[*origin] + 1));
            let Some(origin) = next.filter(|o| connection.sent[*o] < held[*o] + IN_FLIGHT_MAX) else {
                return;
            };
            if !link {
                connection.stalled = Some(now);
                let what = Inside::Stalled { connection: connection.id };
                self.queue.push(now + STALL_LOOK, Event::Mysql { host: replica, start, what });
                return;
            }
            connection.sent[origin] += 1;
            let number = connection.sent[origin];
            let passage = self.net.passage(HOST_SITES[source], HOST_SITES[replica]);
            let latency = passage.map_or(1_000, |p| p.latency + p.slow / 4 * 3);
            connection.last = (now + latency).max(connection.last + self.bandwidth);
            let what = Inside::Ship { connection: connection.id, origin, number };
            self.queue.push(connection.last, Event::Mysql { host: replica, start, what });
        }
    }

    /// Packets of replication get from one to the other and back.
    fn replicates(&self, source: usize, replica: usize) -> bool {
        self.net.both(HOST_SITES[source], HOST_SITES[replica]) && self.lets_replicate(source, replica)
    }

    /// Where a host's receiver receives from.
    fn source_of(&self, h: usize) -> Option<usize> {
        Some(self.hosts[h].mysql.life.as_ref()?.connection?.source)
    }

    /// A transaction comes in.
    pub(crate) fn mysql_ship(&mut self, h: usize, id: u32, origin: usize, number: usize) {
        let now = self.now;
        let Some(source) = self.source_of(h) else { return };
        let link = self.replicates(source, h);
        let transaction = self.hosts[source].mysql.transaction(origin, number);
        let source_start = self.hosts[source].mysql.life.as_ref().map(|l| l.start);
        let mysql = &mut self.hosts[h].mysql;
        // What waits for its ack here is owned by its session: it is not applied a second time.
        let held = mysql.held(origin) + if origin == h { mysql.waiting.len() } else { 0 };
        let Some(life) = mysql.life.as_mut() else { return };
        let start = life.start;
        let Some(connection) = life.connection.as_mut().filter(|c| c.id == id) else { return };
        if !link || transaction.is_none() {
            if connection.stalled.is_none() {
                connection.stalled = Some(now);
                let what = Inside::Stalled { connection: id };
                self.queue.push(now + STALL_LOOK, Event::Mysql { host: h, start, what });
            }
            return;
        }
        if connection.stalled.is_some() || number != held + 1 {
            return;
        }
        let (semi, at_leisure) = (connection.semi, life.at_leisure);
        mysql.relay.push_back((origin, transaction.expect("seen above")));
        mysql.relayed[origin] += 1;
        mysql.received = now;
        let lost = mysql.loses_acks && id.is_multiple_of(2);
        // One sync puts all of the file on the disk.
        mysql.unsynced = if at_leisure { mysql.unsynced + 1 } else { 0 };
        self.start_applier(h);
        if semi && origin == source {
            if lost {
                return self.drop_connection(h);
            }
            self.send_ack(h, source, Inside::Ack { connection: id, number }, source_start);
        }
        if number.is_multiple_of(16) || self.hosts[h].mysql.relay.is_empty() {
            self.stream(source);
        }
    }

    fn send_ack(&mut self, h: usize, source: usize, what: Inside, start: Option<model::ProcessStart>) {
        let Some(start) = start else { return };
        let Some(passage) = self.net.passage(HOST_SITES[h], HOST_SITES[source]) else { return };
        let at = self.now + RELAY_SYNC + passage.latency + passage.slow / 2;
        self.queue.push(at, Event::Mysql { host: source, start, what });
    }

    /// Has the applier work if it is on and there is something.
    pub(crate) fn start_applier(&mut self, h: usize) {
        let mysql = &mut self.hosts[h].mysql;
        let (lag, some) = (mysql.lag, !mysql.relay.is_empty());
        let Some(life) = mysql.life.as_mut() else { return };
        if life.sql && !life.applying && some {
            life.applying = true;
            let start = life.start;
            self.queue.push(self.now + lag, Event::Mysql { host: h, start, what: Inside::Apply });
        }
    }

    /// The applier is done with one.
    pub(crate) fn mysql_apply(&mut self, h: usize) {
        let mysql = &mut self.hosts[h].mysql;
        let Some(life) = mysql.life.as_mut() else { return };
        life.applying = false;
        if !life.sql {
            return;
        }
        if let Some(errno) = mysql.conflict.filter(|_| !mysql.relay.is_empty()) {
            life.sql = false;
            life.sql_errno = errno;
            return;
        }
        if let Some((origin, transaction)) = mysql.relay.pop_front() {
            mysql.relayed[origin] -= 1;
            mysql.unsynced = mysql.unsynced.min(mysql.relay.len());
            mysql.executed[origin].push(transaction);
        }
        self.start_applier(h);
    }

    /// The receiver tries to connect.
    pub(crate) fn mysql_connect(&mut self, h: usize) {
        let now = self.now;
        let connection_id = self.next_connection;
        let Some(source) = self.hosts[h].mysql.channel.as_ref().map(|c| c.source) else {
            if let Some(life) = self.hosts[h].mysql.life.as_mut().filter(|l| l.io == Io::Connecting) {
                life.io = Io::Stopped;
            }
            return;
        };
        if source == h {
            self.follows_itself(h);
            return;
        }
        let link = self.replicates(source, h);
        let [to, from] = self.hosts.get_disjoint_mut([h, source]).expect(TWO);
        let held = to.mysql.all_held();
        let own_log = from.mysql.logged(source);
        let purged = from.mysql.purged;
        let Some(life) = to.mysql.life.as_mut() else { return };
        if life.io != Io::Connecting {
            return;
        }
        let channel = to.mysql.channel.as_mut().expect("it has a source");
        let answers = !from.paused && from.mysql.answering().is_some() && !from.mysql.accounts_locked();
        if !link || !answers {
            let (start, what) = (life.start, Inside::Connect);
            self.queue.push(self.now + CONNECT_RETRY, Event::Mysql { host: h, start, what });
            return;
        }
        channel.connected = true;
        let behind = (0..HOSTS).any(|o| purged[o] > held[o]);
        let ahead = held[source] > own_log;
        if behind || ahead {
            channel.io_error = "1236: the source and this replica have no common point".into();
            life.io = Io::Stopped;
            return;
        }
        channel.io_error.clear();
        self.next_connection += 1;
        let semi = life.replica_enabled;
        life.io = Io::Running;
        life.connection =
            Some(Connection { source, id: connection_id, semi, sent: held, last: self.now, stalled: None });
        // A dump thread of the same replica that is still there is ended.
        let attached = &mut from.mysql.life.as_mut().expect("it answers").attached;
        attached.retain(|a| a.host != h);
        attached.push(Attached { host: h, id: connection_id, semi, since: now });
        self.stream(source);
        self.dirty = true;
    }

    /// A channel that leads back to its own server is refused.
    fn follows_itself(&mut self, h: usize) {
        let mysql = &mut self.hosts[h].mysql;
        if let (Some(channel), Some(life)) = (mysql.channel.as_mut(), mysql.life.as_mut()) {
            channel.io_error = "1593: the source has the same identity as this replica".into();
            life.io = Io::Stopped;
        }
    }

    /// A stuck connection goes on, or is given up.
    pub(crate) fn mysql_stalled(&mut self, h: usize, id: u32) {
        let Some(source) = self.source_of(h) else { return };
        let link = self.replicates(source, h);
        let listens = |l: &Life| l.attached.iter().any(|a| a.id == id);
        let attached = self.hosts[source].mysql.answering().is_some_and(listens);
        let source_start = self.hosts[source].mysql.life.as_ref().map(|l| l.start);
        let now = self.now;
        let mysql = &mut self.hosts[h].mysql;
        let held = mysql.all_held();
        let Some(life) = mysql.life.as_mut() else { return };
        let start = life.start;
        let Some(connection) = life.connection.as_mut().filter(|c| c.id == id) else { return };
        let Some(since) = connection.stalled else { return };
        if link && attached {
            // The same connection: TCP sends again what was lost, acks included.
            connection.stalled = None;
            connection.sent = held;
            let semi = connection.semi;
            if semi && held[source] > 0 {
                let what = Inside::Ack { connection: id, number: held[source] };
                self.send_ack(h, source, what, source_start);
            }
            self.stream(source);
        } else if now - since >= NET_TIMEOUT {
            self.drop_connection(h);
        } else {
            let what = Inside::Stalled { connection: id };
            self.queue.push(now + STALL_LOOK, Event::Mysql { host: h, start, what });
        }
    }

    /// The receiver gives its connection up and tries again.
    fn drop_connection(&mut self, h: usize) {
        let Some(life) = self.hosts[h].mysql.life.as_mut() else { return };
        life.connection = None;
        life.io = Io::Connecting;
        let start = life.start;
        self.queue.push(self.now + CONNECT_RETRY, Event::Mysql { host: h, start, what: Inside::Connect });
    }

    /// The receiver learns, by a reset or by silence, that its source is gone.
    pub(crate) fn mysql_source_gone(&mut self, h: usize, id: u32) {
        let Some(source) = self.source_of(h).map(|s| &self.hosts[s]) else { return };
        let listens = |l: &Life| l.attached.iter().any(|a| a.id == id);
        let stands = !source.paused && source.mysql.answering().is_some_and(listens);
        let mine = self.hosts[h].mysql.life.as_ref().and_then(|l| l.connection).is_some_and(|c| c.id == id);
        if mine && !stands {
            self.drop_connection(h);
        }
    }

    /// Its replicas' receivers will notice that this server is gone: at once by a reset, or when nothing was
    /// heard for long.
    pub(crate) fn tell_replicas(&mut self, gone: usize, reset: bool) {
        for replica in 0..self.hosts.len() {
            if self.source_of(replica) == Some(gone) {
                self.tell_replica(gone, replica, reset);
            }
        }
    }

    pub(crate) fn tell_replica(&mut self, gone: usize, replica: usize, reset: bool) {
        let reset = reset && self.net.both(HOST_SITES[gone], HOST_SITES[replica]);
        let Some(life) = self.hosts[replica].mysql.life.as_ref() else { return };
        let Some(connection) = life.connection else { return };
        let start = life.start;
        let what = Inside::SourceGone { connection: connection.id };
        let at = self.now + if reset { 5 * MS } else { NET_TIMEOUT };
        self.queue.push(at, Event::Mysql { host: replica, start, what });
    }
}
