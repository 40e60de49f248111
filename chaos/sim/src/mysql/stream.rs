//! Replication: the dump thread, the receiver, the applier.

use crate::event::{Event, Inside};
use crate::mysql::{Attached, Connection, Io};
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

impl World {
    /// Sends what the replica lacks, as far as the connection takes it.
    pub(crate) fn stream(&mut self, source: usize) {
        let replica = 1 - source;
        let now = self.now;
        let link = self.net.both(HOST_SITES[source], HOST_SITES[replica]);
        let (one, two) = self.hosts.split_at_mut(1);
        let (from, to) = if source == 0 { (&mut one[0], &mut two[0]) } else { (&mut two[0], &mut one[0]) };
        let Some(life) = from.mysql.life.as_mut() else { return };
        let Some(attached) = life.attached else { return };
        let held = [to.mysql.held(0), to.mysql.held(1)];
        let connected = to
            .mysql
            .life
            .as_mut()
            .and_then(|l| Some((l.start, l.connection.as_mut().filter(|c| c.id == attached.id)?)));
        let Some((start, connection)) = connected else {
            // The dump thread learns at its next send that nobody listens.
            if link {
                life.attached = None;
            }
            return;
        };
        if connection.stalled.is_some() {
            return;
        }
        let other = 1 - source;
        for origin in [other, source] {
            let logged = from.mysql.logged(origin);
            while connection.sent[origin] < logged && connection.sent[origin] < held[origin] + IN_FLIGHT_MAX {
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
    }

    /// A transaction comes in.
    pub(crate) fn mysql_ship(&mut self, h: usize, id: u32, origin: usize, number: usize) {
        let now = self.now;
        let source = 1 - h;
        let link = self.net.both(HOST_SITES[h], HOST_SITES[source]);
        let transaction = self.hosts[source].mysql.transaction(origin, number);
        let source_start = self.hosts[source].mysql.life.as_ref().map(|l| l.start);
        let mysql = &mut self.hosts[h].mysql;
        let held = mysql.held(origin);
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
        // One sync puts all of the file on the disk.
        mysql.unsynced = if at_leisure { mysql.unsynced + 1 } else { 0 };
        self.start_applier(h);
        if semi && origin == source {
            self.send_ack(h, id, number, source_start);
        }
        if number.is_multiple_of(16) || self.hosts[h].mysql.relay.is_empty() {
            self.stream(source);
        }
    }

    fn send_ack(&mut self, h: usize, connection: u32, number: usize, start: Option<model::ProcessStart>) {
        let source = 1 - h;
        let Some(start) = start else { return };
        let Some(passage) = self.net.passage(HOST_SITES[h], HOST_SITES[source]) else { return };
        let at = self.now + RELAY_SYNC + passage.latency + passage.slow / 2;
        let what = Inside::Ack { connection, number };
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
        if let Some((origin, transaction)) = mysql.relay.pop_front() {
            mysql.relayed[origin] -= 1;
            mysql.unsynced = mysql.unsynced.min(mysql.relay.len());
            mysql.executed[origin].push(transaction);
        }
        self.start_applier(h);
    }

    /// The receiver tries to connect.
    pub(crate) fn mysql_connect(&mut self, h: usize) {
        let source = 1 - h;
        let link = self.net.both(HOST_SITES[h], HOST_SITES[source]);
        let connection_id = self.next_connection;
        let (one, two) = self.hosts.split_at_mut(1);
        let (to, from) = if h == 0 { (&mut one[0], &mut two[0]) } else { (&mut two[0], &mut one[0]) };
        let held = [to.mysql.held(0), to.mysql.held(1)];
        let own_log = from.mysql.logged(source);
        let purged = from.mysql.purged;
        let Some(life) = to.mysql.life.as_mut() else { return };
        if life.io != Io::Connecting {
            return;
        }
        let Some(channel) = to.mysql.channel.as_mut() else {
            life.io = Io::Stopped;
            return;
        };
        let answers = !from.paused && from.mysql.life.as_ref().is_some_and(|l| l.booted && !l.paused);
        if !link || !answers || channel.source != source {
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
            Some(Connection { id: connection_id, semi, sent: held, last: self.now, stalled: None });
        let source_life = from.mysql.life.as_mut().expect("it answers");
        source_life.attached = Some(Attached { id: connection_id, semi });
        self.stream(source);
        self.dirty = true;
    }

    /// A stuck connection goes on, or is given up.
    pub(crate) fn mysql_stalled(&mut self, h: usize, id: u32) {
        let source = 1 - h;
        let link = self.net.both(HOST_SITES[h], HOST_SITES[source]);
        let attached = self.hosts[source].mysql.answering().and_then(|l| l.attached);
        let source_start = self.hosts[source].mysql.life.as_ref().map(|l| l.start);
        let now = self.now;
        let mysql = &mut self.hosts[h].mysql;
        let held = [mysql.held(0), mysql.held(1)];
        let Some(life) = mysql.life.as_mut() else { return };
        let start = life.start;
        let Some(connection) = life.connection.as_mut().filter(|c| c.id == id) else { return };
        let Some(since) = connection.stalled else { return };
        if link && attached.is_some_and(|a| a.id == id) {
            // The same connection: TCP sends again what was lost, acks included.
            connection.stalled = None;
            connection.sent = held;
            let semi = connection.semi;
            if semi && held[source] > 0 {
                self.send_ack(h, id, held[source], source_start);
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
        let source = &self.hosts[1 - h];
        let stands =
            !source.paused && source.mysql.answering().and_then(|l| l.attached).is_some_and(|a| a.id == id);
        let mine = self.hosts[h].mysql.life.as_ref().and_then(|l| l.connection).is_some_and(|c| c.id == id);
        if mine && !stands {
            self.drop_connection(h);
        }
    }

    /// The other server's receiver will notice that this one is gone: at once by a reset, or when
    /// nothing was heard for long.
    pub(crate) fn tell_replica(&mut self, gone: usize, reset: bool) {
        let replica = 1 - gone;
        let reset = reset && self.net.both(HOST_SITES[gone], HOST_SITES[replica]);
        let Some(life) = self.hosts[replica].mysql.life.as_ref() else { return };
        let Some(connection) = life.connection else { return };
        let start = life.start;
        let what = Inside::SourceGone { connection: connection.id };
        let at = self.now + if reset { 5 * MS } else { NET_TIMEOUT };
        self.queue.push(at, Event::Mysql { host: replica, start, what });
    }
}
