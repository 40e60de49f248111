//! Database acts as their performer carries them out: each bounded, each believed by its return.

use failover_core::{ActEnd, ActId, DatabaseAct, Defect, HowItEnded, Lane};
use model::OpeningMark;

use crate::event::{Event, Inside};
use crate::mysql::{Act, Channel, Io, Mark, Who};
use crate::options::Mutant;
use crate::place::{HOST_SITES, HOSTS, MS, SECOND, Time};
use crate::world::World;

/// Deadline of a short act.
const SHORT: Time = 2 * SECOND;
/// Deadline of rung 2.
const FENCE: Time = 1_500 * MS;
/// A sentinel's answer is not waited for longer.
const SENTINEL: Time = 10 * SECOND;
/// Deadline of draining; the executor asks again.
const DRAIN: Time = 60 * SECOND;
/// Deadline of copying, long beyond what it takes here.
const COPY: Time = 120 * SECOND;
/// Waits are looked at this often.
const LOOK: Time = 20 * MS;

/// `super_read_only=ON` is part of it: it waits for commits under way, up to its deadline.
fn makes_read_only(what: &DatabaseAct) -> bool {
    matches!(what, DatabaseAct::Fence | DatabaseAct::SetReadOnly)
}

enum Progress {
    Done(Option<model::GtidSet>),
    Failed(&'static str),
    Unknown(&'static str),
    Again(Time),
    /// Its end is told by something else.
    Elsewhere,
}

impl World {
    /// The guard begins an act.
    pub(crate) fn begin_database_act(&mut self, h: usize, id: ActId, what: DatabaseAct) {
        let Some(guard) = self.hosts[h].guard.as_ref().map(|g| g.life) else { return };
        let now = self.now;
        if what != DatabaseAct::DropSockets && !matches!(what, DatabaseAct::Sentinel { .. }) {
            self.note_host(h, format_args!("{what:?}"));
        }
        let deadline = match what.lane() {
            Lane::Sentinel => SENTINEL,
            Lane::Long if what == DatabaseAct::Drain => DRAIN,
            Lane::Long => COPY,
            Lane::Admin if what == DatabaseAct::Fence => FENCE,
            Lane::Admin => SHORT,
        };
        let takes = MS + self.chance.below(4 * MS);
        self.hosts[h].acts.push(id);
        if matches!(what, DatabaseAct::Sentinel { .. }) && self.broken(Mutant::StaleAnswers) {
            self.use_connection_on(h, id);
        }
        let start = self.hosts[h].mysql.life.as_ref().filter(|l| l.booted && !l.stopping).map(|l| l.start);
        let act = Box::new(Act { id, guard, what, until: now + deadline, begun: false });
        match start {
            Some(start) => {
                self.queue.push(now + takes, Event::ActRun { host: h, start, act });
                self.queue
                    .push(now + deadline + 50 * MS, Event::ActTimeout { host: h, life: guard, act: id });
            }
            None if act.what == DatabaseAct::DropSockets => {
                self.drop_sockets(h);
                self.act_ended(h, guard, id, ActEnd::Done { reached: None });
            }
            None => {
                self.act_ended(h, guard, id, ActEnd::Failed { why: "the database does not answer".into() })
            }
        }
    }

    /// A sentinel takes the place of the one before, on the same connection: what comes of that one is taken for
    /// what comes of this one.
    fn use_connection_on(&mut self, h: usize, id: ActId) {
        let host = &mut self.hosts[h];
        let Some(guard) = host.guard.as_mut() else { return };
        if let Some(before) = guard.sentinel.replace(id) {
            host.acts.retain(|a| *a != before);
            guard.given_up.push(before);
        }
        let life = guard.life;
        if let Some(end) = guard.unread.pop_front() {
            guard.given_up.push(id);
            self.act_ended(h, life, id, end);
        }
    }

    /// An act is over, if it was not over before.
    pub(crate) fn act_ended(&mut self, h: usize, guard: u32, act: ActId, end: ActEnd) {
        if self.hosts[h].guard.as_ref().is_none_or(|g| g.life != guard) {
            return;
        }
        let Some(position) = self.hosts[h].acts.iter().position(|a| *a == act) else {
            let late = self.hosts[h].guard.as_mut().filter(|g| g.given_up.contains(&act));
            if let Some(guard) = late.filter(|_| matches!(end, ActEnd::Done { .. })) {
                guard.unread.push_back(end);
            }
            return;
        };
        self.hosts[h].acts.swap_remove(position);
        let event = Event::ActEnded { host: h, life: guard, act, end: Box::new(end) };
        self.queue.push(self.now + 300, event);
    }

    /// The server gets to it. An act whose guard gave up on it is carried out all the same: its
    /// statement was in the server's socket.
    pub(crate) fn act_run(&mut self, h: usize, mut act: Box<Act>) {
        let progress =
            if self.no_way_in(h, &act) { Progress::Again(LOOK) } else { self.act_step(h, &mut act) };
        let end = match progress {
            Progress::Done(reached) => ActEnd::Done { reached },
            Progress::Failed(why) => ActEnd::Failed { why: why.into() },
            Progress::Unknown(why) => ActEnd::Unknown { why: why.into() },
            Progress::Elsewhere => return,
            Progress::Again(after) if self.now + after <= act.until => {
                if makes_read_only(&act.what) && self.broken(Mutant::BelievesTheVariable) {
                    let reached = Some(self.hosts[h].mysql.gtid_executed(&self.names));
                    self.act_ended(h, act.guard, act.id, ActEnd::Done { reached });
                }
                let Some(start) = self.hosts[h].mysql.life.as_ref().map(|l| l.start) else { return };
                self.queue.push(self.now + after, Event::ActRun { host: h, start, act });
                return;
            }
            Progress::Again(_) => {
                if makes_read_only(&act.what) {
                    self.read_only_ends(h);
                }
                ActEnd::Failed { why: "it was not so at the deadline".into() }
            }
        };
        self.dirty = true;
        self.act_ended(h, act.guard, act.id, end);
    }

    /// While an account change waits for its ack only a session that is there already is of use: the guard's own,
    /// which has the short acts.
    fn no_way_in(&self, h: usize, act: &Act) -> bool {
        let kept = act.what.lane() == Lane::Admin && self.kept_session(h);
        act.what != DatabaseAct::DropSockets && self.hosts[h].mysql.accounts_locked() && !kept
    }

    /// The guard has a session on this life of its database.
    pub(crate) fn kept_session(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        let life = host.mysql.life.as_ref().map(|l| l.start);
        let session = host.guard.as_ref().and_then(|g| g.session);
        life.is_some() && session == life && !self.broken(Mutant::NoKeptSession)
    }

    fn act_step(&mut self, h: usize, act: &mut Act) -> Progress {
        let waits = !self.hosts[h].mysql.waiting.is_empty();
        let maria = self.hosts[h].mysql.maria();
        match &act.what {
            DatabaseAct::Fence if maria => {
                Progress::Failed("the end of a session would tell whoever waits there that it is done")
            }
            DatabaseAct::Fence => {
                if !act.begun {
                    act.begun = true;
                    self.hosts[h].sockets += 1;
                }
                self.set_read_only(h, waits)
            }
            DatabaseAct::SetReadOnly => match self.set_read_only(h, waits) {
                Progress::Done(_) => Progress::Done(Some(self.hosts[h].mysql.gtid_executed(&self.names))),
                other => other,
            },
            DatabaseAct::SetWritable { epoch, .. } => {
                let epoch = *epoch;
                let life = self.life(h);
                life.read_only = false;
                life.super_off = false;
                self.read_only_ends(h);
                self.check_writable(h);
                let start = self.life(h).start;
                let number = self.hosts[h].mysql.logged(h) + 1;
                let transaction = self.write(h, Who::Sentinel { guard: act.guard, act: act.id });
                let nonce = u64::from(transaction);
                let mark = OpeningMark { epoch, life: start, nonce, count: 0, all: 0 };
                self.truth.marks.push(Mark { origin: h, number, transaction, mark });
                Progress::Elsewhere
            }
            DatabaseAct::DropSockets => {
                self.drop_sockets(h);
                Progress::Done(None)
            }
            DatabaseAct::ArmSource { count } => {
                let count = *count;
                let one = self.broken(Mutant::ArmsForOne);
                let life = self.life(h);
                if maria && count != 1 {
                    return Progress::Failed("commits wait for one ack at most");
                }
                if life.source_enabled {
                    life.ack_timeout = None;
                }
                if life.ackers() != count {
                    return Progress::Failed("another number of semi-sync replicas is attached");
                }
                life.wait_count = if one { 1 } else { count };
                life.ack_timeout = None;
                life.source_enabled = true;
                life.operating = true;
                // What was acknowledged before says nothing of who acknowledges now.
                life.acked = [0; HOSTS];
                Progress::Done(None)
            }
            DatabaseAct::DisarmSource => {
                self.life(h).source_enabled = false;
                self.release(h, usize::MAX);
                Progress::Done(None)
            }
            DatabaseAct::ReplicaSemiSync { on } => {
                let on = *on;
                if on {
                    self.hosts[h].mysql.unsynced = 0;
                }
                let life = self.life(h);
                life.replica_enabled = on;
                life.at_leisure = !on;
                if life.io != Io::Stopped {
                    self.start_io(h);
                }
                Progress::Done(None)
            }
            DatabaseAct::StopIo | DatabaseAct::ChangePassword => {
                let life = self.life(h);
                life.io = Io::Stopped;
                life.connection = None;
                Progress::Done(None)
            }
            DatabaseAct::StartReplica => {
                if self.hosts[h].mysql.channel.is_none() {
                    return Progress::Failed("it has no source");
                }
                if maria && self.life(h).io == Io::Stopped && !self.life(h).sql {
                    if self.life(h).replica_enabled && !self.hosts[h].mysql.relay.is_empty() {
                        return Progress::Failed("a start would drop what was acknowledged and not applied");
                    }
                    self.hosts[h].mysql.drop_relay_log();
                }
                if self.life(h).io == Io::Stopped {
                    self.start_io(h);
                }
                self.applier_on(h);
                Progress::Done(None)
            }
            DatabaseAct::Sentinel { .. } => {
                if self.life(h).read_only {
                    return Progress::Failed("the server is read-only");
                }
                if self.life(h).read_only_pends {
                    return Progress::Again(LOOK);
                }
                self.write(h, Who::Sentinel { guard: act.guard, act: act.id });
                Progress::Elsewhere
            }
            DatabaseAct::Drain => {
                if self.hosts[h].mysql.channel.is_none() {
                    return Progress::Done(None);
                }
                // A stopped applier is never started there: that drops the relay log.
                if maria && !self.life(h).sql && !self.hosts[h].mysql.relay.is_empty() {
                    return Progress::Failed("a start would drop what was acknowledged and not applied");
                }
                if !maria {
                    self.applier_on(h);
                }
                if self.hosts[h].mysql.relay.is_empty() {
                    Progress::Done(Some(self.hosts[h].mysql.gtid_executed(&self.names)))
                } else {
                    Progress::Again(LOOK)
                }
            }
            DatabaseAct::Gather { .. } => self.gather(h, act),
            DatabaseAct::LeaveSource => {
                let life = self.life(h);
                life.io = Io::Stopped;
                life.connection = None;
                self.promote(h)
            }
            DatabaseAct::Promote => self.promote(h),
            DatabaseAct::SaveExtra { .. } => self.takes(act, 500 * MS).unwrap_or(Progress::Done(None)),
            DatabaseAct::Rebuild { .. } if maria => Progress::Failed("MariaDB has no CLONE"),
            DatabaseAct::Rebuild { .. } => self.rebuild(h, act),
            DatabaseAct::Rejoin { source, acks } => {
                let acks = *acks;
                let Some(source) = self.names.host(source).filter(|s| *s != h) else {
                    return Progress::Failed("that is not another server");
                };
                if self.hosts[h].mysql.channel.is_none() || !self.broken(Mutant::StartsWhatItFinds) {
                    self.repoint(h, source);
                }
                let as_it_was = self.defects.has(Defect::ReturnsAcknowledging);
                let life = self.life(h);
                if acks || !as_it_was {
                    life.replica_enabled = acks;
                    life.at_leisure = !acks;
                }
                self.start_io(h);
                self.applier_on(h);
                Progress::Done(None)
            }
        }
    }

    fn life(&mut self, h: usize) -> &mut crate::mysql::Life {
        self.hosts[h].mysql.life.as_mut().expect("acts run in a life")
    }

    fn start_io(&mut self, h: usize) {
        let now = self.now;
        let life = self.life(h);
        life.io = Io::Connecting;
        life.connection = None;
        let start = life.start;
        self.queue.push(now + 2 * MS, Event::Mysql { host: h, start, what: Inside::Connect });
    }

    /// The applier is told to work; its last error is forgotten.
    pub(crate) fn applier_on(&mut self, h: usize) {
        let life = self.life(h);
        if !life.sql {
            life.sql = true;
            life.sql_errno = 0;
        }
        self.start_applier(h);
    }

    /// The channel leads to another source; what was received and not applied is asked for again.
    fn repoint(&mut self, h: usize, source: usize) {
        let mysql = &mut self.hosts[h].mysql;
        mysql.drop_relay_log();
        let from = mysql.all_held();
        mysql.channel = Some(Channel { source, connected: false, from, io_error: String::new() });
    }

    /// Takes from another server what it has beyond this one, and stops receiving whatever comes of it.
    fn gather(&mut self, h: usize, act: &mut Act) -> Progress {
        let DatabaseAct::Gather { source, gtid } = &act.what else {
            return Progress::Failed("not a gathering");
        };
        let Some(source) = self.names.host(source).filter(|s| *s != h) else {
            return Progress::Failed("that is not another server");
        };
        let there = gtid.subtract(&self.hosts[h].mysql.gtid_executed(&self.names)).is_empty()
            || self.broken(Mutant::GathersNothing);
        if !self.life(h).read_only {
            return Progress::Failed("it takes writes");
        }
        if !act.begun && !there {
            if !self.hosts[h].mysql.relay.is_empty() {
                return Progress::Failed("the relay log is not drained");
            }
            act.begun = true;
            self.repoint(h, source);
            self.start_io(h);
            self.applier_on(h);
        }
        let in_time = self.now + LOOK <= act.until;
        if !there && in_time {
            return Progress::Again(LOOK);
        }
        let life = self.life(h);
        life.io = Io::Stopped;
        life.connection = None;
        if there {
            Progress::Done(Some(self.hosts[h].mysql.gtid_executed(&self.names)))
        } else {
            Progress::Failed("it did not come in time")
        }
    }

    fn set_read_only(&mut self, h: usize, waits: bool) -> Progress {
        let life = self.life(h);
        if waits && !life.read_only {
            life.read_only_pends = true;
            return Progress::Again(LOOK);
        }
        life.read_only = true;
        life.super_off = false;
        self.read_only_ends(h);
        Progress::Done(None)
    }

    fn drop_sockets(&mut self, h: usize) {
        self.hosts[h].queued.clear();
        self.hosts[h].sockets += 1;
    }

    fn promote(&mut self, h: usize) -> Progress {
        let mysql = &mut self.hosts[h].mysql;
        let reached = mysql.gtid_executed(&self.names);
        if mysql.channel.is_none() {
            return Progress::Done(Some(reached));
        }
        let life = mysql.life.as_mut().expect("acts run in a life");
        // The adapter would see the running receiver; a mutant that stops no acker has none that looks.
        if self.defects.has(Defect::AckersNotStopped) {
            life.io = Io::Stopped;
            life.connection = None;
        }
        if life.io != Io::Stopped {
            return Progress::Failed("the receiver runs");
        }
        if !mysql.relay.is_empty() {
            return Progress::Failed("the relay log is not drained");
        }
        life.sql = false;
        mysql.channel = None;
        Progress::Done(Some(reached))
    }

    /// A long act takes its time once.
    fn takes(&mut self, act: &mut Act, time: Time) -> Option<Progress> {
        if act.begun {
            return None;
        }
        act.begun = true;
        Some(Progress::Again(time))
    }

    /// CLONE: the donor's data and channel, an identity that stays, no binary logs; it ends itself.
    fn rebuild(&mut self, h: usize, act: &mut Act) -> Progress {
        let DatabaseAct::Rebuild { donor } = &act.what else { return Progress::Failed("not a rebuild") };
        let Some(donor) = self.names.host(donor).filter(|d| *d != h) else {
            return Progress::Failed("the donor is not another server");
        };
        let ready = self.net.both(HOST_SITES[h], HOST_SITES[donor])
            && !self.hosts[donor].paused
            && self.hosts[donor].mysql.answering().is_some();
        if !ready && !act.begun {
            return Progress::Failed("the donor does not answer");
        }
        let time = 3 * SECOND + self.chance.below(4_000) * MS;
        if let Some(again) = self.takes(act, time) {
            self.hosts[h].mysql.drop_relay_log();
            let life = self.life(h);
            life.io = Io::Stopped;
            life.connection = None;
            life.sql = false;
            life.super_off = true;
            life.rebuilding = true;
            return again;
        }
        let copied = ready.then(|| {
            let from = &self.hosts[donor].mysql;
            (from.executed.clone(), from.channel.clone())
        });
        let emptied = self.chance.one_in(2);
        match copied {
            // Under a supervisor that it does not know it says so before it ends.
            Some((executed, channel)) => {
                if !self.chance.one_in(3) {
                    self.act_ended(h, act.guard, act.id, ActEnd::Done { reached: None });
                }
                let mysql = &mut self.hosts[h].mysql;
                mysql.purged = std::array::from_fn(|origin| executed[origin].len());
                mysql.executed = executed;
                mysql.conflict = None;
                mysql.waiting.clear();
                mysql.channel = channel;
            }
            None if emptied => {
                let mysql = &mut self.hosts[h].mysql;
                mysql.executed = Default::default();
                mysql.purged = [0; HOSTS];
                mysql.waiting.clear();
                mysql.channel = None;
            }
            None => {
                self.life(h).rebuilding = false;
                self.life(h).super_off = false;
                return Progress::Unknown("the donor was lost");
            }
        }
        self.mysql_end(h, HowItEnded::Graceful, true);
        Progress::Elsewhere
    }
}
