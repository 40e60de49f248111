//! The guard: the holder of a server's lease, as a pure machine (DESIGN §4, Guard and lease).
//!
//! ```text
//!   Input (tick, answer, reading, order …) ─► on() ─► [Effect]   performed in the order given
//! ```
//! It is the one writer of gate and latches of its host. Goals are derived from the authority it
//! knows and from what it reads, not from a log of commands, so a guard that missed everything in
//! between does the right thing (interleaving 20).
//!
//! Invariants kept here: a server opens only by the one rule (I2, I4); a fence is latched on disk
//! before it is confirmed (interleaving 5); the highest authority seen is kept and less refused
//! (I8). Effects are performed one after another and `Persist` returns after the fsync, so whatever
//! stands behind a `Persist` never precedes it.
//!
//! Deliberately absent: sessions, nft, files: `app` performs the effects, the simulator models them.

mod disk;
mod fence;
mod goals;
mod latch;
mod lease;
mod open;
mod orders;
mod strangers;
mod tell;
mod types;
mod unanswered;
mod watchdog;

use std::collections::VecDeque;
use std::time::Duration;

use model::{BootId, DatabaseReading, Epoch, ProcessStart, SyncGeneration, Timestamp};

use crate::{
    Authority, CopyReport, Defect, Defects, Drained, Durability, HowItEnded, Marked, PeerFact, Phase,
    Process, Stamp, Timing,
};

pub use disk::DiskWrite;
pub use latch::{Latch, LeaseOnDisk, Opened};
pub use strangers::Passing;
pub use types::{
    ActEnd, ActId, CallId, DatabaseAct, Effect, GateAct, GateRead, Input, Lane, Nonce, Order, Reply, Told,
};
pub use watchdog::WatchdogAct;

/// What a guard is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardConfig {
    /// The group its server belongs to.
    pub group: model::GroupId,
    /// Its server.
    pub server: model::ServerId,
    /// Timing.
    pub timing: Timing,
    /// Boot of this host.
    pub boot: BootId,
    /// What keeps clients from a server that may not write.
    pub fencing: Fencing,
    /// A watchdog resets the host when the guard does not feed it.
    pub watchdog: bool,
    /// Rules removed on purpose; `NONE` outside the simulator.
    pub defects: Defects,
}

/// What keeps clients from a server that may not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fencing {
    /// The kernel's gate, whose timeout is the lease; the ladder's other rungs for what it cannot do.
    Gate,
    /// The ladder alone: a lease that ran out is followed by SIGKILL, and `F_max` is part of `T_H`.
    Ladder,
}

/// Orders that may wait at once; the executor sends a handful, so more is a fault of the sender.
const ORDERS_MAX: usize = 32;
/// Attempts remembered; with one a tick that is more than a T_H of them.
const ATTEMPTS_MAX: usize = 64;

/// For so long after a change of the authority a move is waited for, not longer: a move that is stuck
/// shall not keep everybody busy.
const HURRY: Duration = Duration::from_secs(10);

/// Samples of the past, one a renewal: more than two, so that one is always a full two renewals old.
const PAST_MAX: usize = 4;

/// How long an element of the gate stands that has no timeout: until somebody takes it away, or the boot.
pub const ENDLESS: Duration = Duration::MAX;

/// The end of an endless lease: no clock gets there.
const FOREVER: Timestamp = Timestamp(u64::MAX);

/// See the module.
#[derive(Debug, Clone)]
pub struct Guard {
    config: GuardConfig,
    latch: Latch,
    known: Option<Authority>,
    peers: Vec<PeerFact>,
    lease: Option<Lease>,
    attempts: VecDeque<(Nonce, Timestamp)>,
    next_renewal: Timestamp,
    next_nonce: u64,
    process: Process,
    gone_since: Option<Timestamp>,
    reading: Option<Seen>,
    gate: Gate,
    gate_busy: bool,
    bars: strangers::Bars,
    /// Until when the open act under way lets clients in.
    gate_asked: Option<Timestamp>,
    /// A gate act that failed is tried again then, not in a tight loop.
    gate_retry: Timestamp,
    /// An element without a timeout, and a gate that is shut, are asserted again then: whoever flushed the rules is not
    /// noticed else.
    gate_again: Timestamp,
    lanes: [Option<Doing>; 3],
    next_act: u64,
    retry_at: [Timestamp; 3],
    orders: VecDeque<Waiting>,
    fence: Option<fence::Ladder>,
    watchdog: watchdog::Watchdog,
    /// Life whose sessions and writability were taken away, proven.
    fenced_life: Option<ProcessStart>,
    sockets_clear: Option<(Epoch, ProcessStart)>,
    writable: Option<(Epoch, ProcessStart)>,
    /// Writes were taken from everybody for a switchover, in this life.
    drained: Option<(ProcessStart, Drained, Timestamp)>,
    armed: Option<(SyncGeneration, ProcessStart)>,
    proven: Option<SyncGeneration>,
    /// The highest arming that was ever proven here, in whatever life of the database: the leader may have committed
    /// `Sync` for it, heard of here or not. A guard that was restarted does not know, and takes it for proven.
    proved: SyncGeneration,
    /// The channel still logs in with the password of before; from then on it is given the new one.
    password_due: Option<Timestamp>,
    progress: Progress,
    unanswered: unanswered::Unanswered,
    /// When the attempt was sent that was answered last, whatever the answer.
    heard: Option<Timestamp>,
    /// The mark of this life's opening, once it was read.
    marked: Option<Marked>,
    /// What this life had executed a moment ago, and a moment before that.
    past: VecDeque<(Timestamp, model::GtidSet)>,
    attached: Option<Attached>,
    /// When the last admin act ended: readings from before it say nothing about its goal any more.
    acted_at: Timestamp,
    /// Since when this life of the database, or none, is seen.
    lives_since: Timestamp,
    /// Somebody waits for what this server does: it is read and told more often until then.
    hurry_until: Timestamp,
    /// What the last renewal told; a change of it is told at once.
    told: Option<Worth>,
    shut_since: Option<Timestamp>,
    shut_because: Option<String>,
    disk: disk::Disk,
    /// How far the copy under way has come; for people.
    copy: Option<CopyReport>,
}

/// The right to write, for one epoch, until a moment on this host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    epoch: Epoch,
    until: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    at: Timestamp,
    life: ProcessStart,
    reading: DatabaseReading,
}

/// What is believed of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Untouched,
    Shut,
    Open { epoch: Epoch, until: Timestamp },
    Unknown,
}

/// How the ackers of an arming have come nearer since they attached, and while it is not armed.
#[derive(Debug, Clone, PartialEq)]
struct Attached {
    g: SyncGeneration,
    since: Timestamp,
    /// How many transactions each acker held, in the set's order.
    held: VecDeque<(Timestamp, Vec<u64>)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Doing {
    id: ActId,
    act: DatabaseAct,
    life: Option<ProcessStart>,
    /// The epoch this server was named for when it began; what it did counts for that one only.
    epoch: Option<Epoch>,
    call: Option<CallId>,
    since: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
struct Waiting {
    call: CallId,
    order: Order,
    epoch: Epoch,
}

/// What the leader is told at once when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Worth {
    open: Option<Epoch>,
    life: Option<ProcessStart>,
    proven: Option<SyncGeneration>,
    drained: bool,
}

/// Since when commits wait without progress, and since when ackers are missing.
#[derive(Debug, Clone, Default, PartialEq)]
struct Progress {
    waiting_since: Option<Timestamp>,
    absent_since: Option<Timestamp>,
}

impl Guard {
    /// A guard at its start. `gate` is what was read back from the kernel: an element that is still
    /// there is this host's own lease of this boot, and is adopted for at most T_H.
    #[must_use]
    pub fn new(
        config: GuardConfig,
        latch: Option<Latch>,
        gate: GateRead,
        nonce: u64,
        now: Timestamp,
    ) -> Self {
        let fresh = latch.is_none();
        let latch = latch.unwrap_or_default();
        let proved = latch.g;
        let again = config.timing.lease;
        let kept = latch.lease_left(&config, now);
        // No rules at all under a boot that is the latch's: the network namespace is another one, as when a
        // container is started anew, or somebody flushed them. Either way an endless lease is over.
        let standing = gate != GateRead::Absent || config.fencing == Fencing::Ladder;
        let endless = kept.filter(|l| l.until == FOREVER && standing);
        let mut lease = endless;
        let gate = match gate {
            _ if config.fencing == Fencing::Ladder => {
                lease = kept;
                if fresh { Gate::Untouched } else { Gate::Shut }
            }
            // Rules that somebody saved are in the kernel after a boot as well, and an element without a
            // timeout with them: only the latch tells that it is of this boot.
            GateRead::Open { epoch, left } if endless.is_some_and(|l| l.epoch == epoch) => {
                Gate::Open { epoch, until: now + left }
            }
            // Nor is one with a timeout believed in another boot: saved rules bring it back with its full time.
            GateRead::Open { epoch, left }
                if epoch > latch.fenced_through && left < ENDLESS && latch.opened_in(&config) =>
            {
                let until = now + left.min(config.timing.lease);
                lease = Some(Lease { epoch, until });
                Gate::Open { epoch, until }
            }
            GateRead::Absent if fresh => Gate::Untouched,
            _ => Gate::Unknown,
        };
        let watchdog =
            if config.watchdog { watchdog::Watchdog::Off { retry: now } } else { watchdog::Watchdog::None };
        let mut guard = Self {
            config,
            latch,
            known: None,
            peers: Vec::new(),
            lease,
            attempts: VecDeque::new(),
            next_renewal: now,
            next_nonce: nonce,
            process: Process::Unseen,
            gone_since: None,
            reading: None,
            gate,
            gate_busy: false,
            bars: strangers::Bars::default(),
            gate_asked: None,
            gate_retry: now,
            gate_again: now + again,
            lanes: [None, None, None],
            next_act: 1,
            retry_at: [now; 3],
            orders: VecDeque::new(),
            fence: None,
            watchdog,
            fenced_life: None,
            sockets_clear: None,
            writable: None,
            drained: None,
            armed: None,
            proven: None,
            proved,
            password_due: None,
            progress: Progress::default(),
            unanswered: unanswered::Unanswered::default(),
            heard: None,
            marked: None,
            past: VecDeque::new(),
            attached: None,
            acted_at: now,
            lives_since: now,
            hurry_until: now,
            told: None,
            shut_since: None,
            shut_because: None,
            disk: disk::Disk::default(),
            copy: None,
        };
        guard.adopt_open_life();
        guard
    }

    /// A lease adopted from the kernel, or from disk, belongs to the life that was opened.
    fn adopt_open_life(&mut self) {
        if let (Some(lease), Some(opened)) = (self.lease, &self.latch.opened)
            && opened.epoch == lease.epoch
            && opened.boot == self.config.boot
        {
            self.sockets_clear = Some((opened.epoch, opened.life));
            self.writable = Some((opened.epoch, opened.life));
        }
    }

    /// Takes one input and says what is to be done, in this order.
    pub fn on(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Tick => {}
            Input::Answer(answer) => self.on_answer(answer, now, &mut out),
            Input::Told(told) => {
                // A late one says nothing about the present peers (interleavings 31, 32).
                let stamp = told.authority.stamp();
                self.learn(told.authority, now, &mut out);
                if !self.refuses(stamp) {
                    self.peers = told.peers;
                }
            }
            Input::Process { process, ended } => self.on_process(process, ended, now, &mut out),
            Input::Reading { reading, life } => self.on_reading(reading, life, now),
            Input::Knocked { life, answered } => self.on_knocked(life, answered, now, &mut out),
            Input::GateRead(read) => self.on_gate(read, now),
            Input::Watchdog { armed } => self.on_watchdog(armed, now),
            Input::Disk(write) => self.disk.on(write, now),
            Input::Copy(copy) => self.copy = copy,
            Input::ReplicationPassword => self.password_due = Some(now),
            Input::Ended { act, end } => self.on_ended(act, end, now, &mut out),
            Input::Ordered { call, authority, order } => self.on_order(call, authority, order, now, &mut out),
        }
        self.settle(now, &mut out);
        once(&mut out);
        out
    }

    /// Derives what is to be done from what is known: fence before anything else, then opening, then
    /// durability and replication, then the next renewal.
    fn settle(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.expire(now);
        self.see_strangers();
        self.fence_goal(now, out);
        self.open_goal(now, out);
        self.gate_goal(now, out);
        self.database_goals(now, out);
        self.start_orders(now, out);
        self.watchdog_goal(now, out);
        self.tell_at_once(now);
        self.renew(now, out);
    }

    /// The leader hears of an opening, of a drain, of the process's comings and goings and of a proof without
    /// waiting for the next renewal.
    fn tell_at_once(&mut self, now: Timestamp) {
        let worth = Worth {
            open: self.open_at(now),
            life: self.process.start(),
            proven: self.proven_now(),
            drained: self.drained_now().is_some(),
        };
        if self.told != Some(worth) && self.process != Process::Unseen {
            self.told = Some(worth);
            self.next_renewal = now;
        }
    }

    /// Remembers a higher authority; a lower one is ignored (I8).
    fn learn(&mut self, authority: Authority, now: Timestamp, out: &mut Vec<Effect>) {
        if self.refuses(authority.stamp()) {
            return;
        }
        let newer = authority.stamp() > self.latch.seen || self.passes(authority.stamp());
        if newer {
            self.latch.seen = authority.stamp();
            out.push(Effect::Persist(self.latch.clone()));
            // A change that makes this server the one to open is worth a renewal at once.
            self.next_renewal = now;
            self.hurry_until = now + HURRY;
        }
        let older = self.config.defects.has(Defect::AcceptsOlder);
        if older || newer || self.known.as_ref().is_none_or(|k| k.stamp() <= authority.stamp()) {
            self.known = Some(authority);
        }
    }

    /// Lower than what was seen, or of another life than the one that is followed, where neither comes
    /// after the other: whichever was heard first is stuck to.
    fn refuses(&self, stamp: Stamp) -> bool {
        if self.config.defects.has(Defect::AcceptsOlder) {
            return false;
        }
        if self.config.defects.has(Defect::OtherLivesPass) {
            return (stamp.version, stamp.epoch) < (self.latch.seen.version, self.latch.seen.epoch);
        }
        stamp < self.latch.seen || stamp.incarnation.is_rival_of(self.latch.seen.incarnation)
    }

    /// The defect: of another life, and not lower by its version.
    fn passes(&self, stamp: Stamp) -> bool {
        self.config.defects.has(Defect::OtherLivesPass) && stamp.incarnation != self.latch.seen.incarnation
    }

    fn on_process(
        &mut self,
        process: Process,
        ended: Option<HowItEnded>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let before = self.process.start();
        match process {
            Process::Gone { .. } => {
                self.gone_since.get_or_insert(now);
            }
            _ => self.gone_since = None,
        }
        self.process = process;
        let life = self.process.start();
        if life != before {
            self.lives_since = now;
            self.reading = None;
            self.armed = None;
            self.proven = None;
            self.progress = Progress::default();
            self.unanswered = unanswered::Unanswered::default();
            self.marked = None;
            self.past.clear();
            self.attached = None;
        }
        let opened_is_gone = self.latch.opened.as_ref().is_some_and(|o| !self.lives(o));
        if opened_is_gone && self.latch.opened_ended.is_none() && !matches!(self.process, Process::Unseen) {
            self.latch.opened_ended = Some(ended.unwrap_or(HowItEnded::Unknown));
            out.push(Effect::Persist(self.latch.clone()));
        }
    }

    /// True when the life that was opened is the one that runs.
    fn lives(&self, opened: &Opened) -> bool {
        self.process.start() == Some(opened.life) && opened.boot == self.config.boot
    }

    fn on_reading(&mut self, reading: DatabaseReading, life: ProcessStart, now: Timestamp) {
        if self.process.start() != Some(life) {
            return;
        }
        self.unanswered = unanswered::Unanswered::default();
        let semi = &reading.semi_sync;
        let moved = self.reading.as_ref().is_none_or(|s| {
            let acknowledged = semi.acknowledged_since(&s.reading.semi_sync);
            acknowledged.unwrap_or(s.reading.gtid_executed != reading.gtid_executed)
        });
        // A waiter counts only while nothing gets through: acks that arrive let others wait shortly.
        if semi.waiting_sessions == 0 || moved {
            self.progress.waiting_since = None;
        }
        if semi.waiting_sessions > 0 {
            self.progress.waiting_since.get_or_insert(now);
        }
        // After a restart the source is not armed, and cannot be without them: that is absence as well.
        let serving = |k: &&Authority| k.primary.server == self.config.server && k.phase.grants();
        let wanted = match self.known.as_ref().filter(serving) {
            Some(k) if !matches!(k.durability, Durability::Async { .. }) => {
                u32::try_from(k.acker_set.len()).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        // Whoever is attached and is none of them would give acks that stand for theirs: a server that stood still when the
        // ackers changed (interleaving 47).
        let counts = !self.config.defects.has(Defect::StrangersAcknowledge);
        let strangers = counts && wanted > 0 && semi.clients > wanted;
        let wanted = if semi.source_enabled { wanted.max(semi.wait_count) } else { wanted };
        if semi.clients < wanted || strangers || self.waits_for_cover(&reading, now) {
            self.progress.absent_since.get_or_insert(now);
        } else {
            self.progress.absent_since = None;
        }
        self.see_mark(&reading, life);
        self.see_read_only(&reading, life);
        let spaced = self.past.back().is_none_or(|(at, _)| now.since(*at) >= self.config.timing.renew);
        if spaced {
            self.past.push_back((now, reading.gtid_executed.clone()));
            while self.past.len() > PAST_MAX {
                self.past.pop_front();
            }
        }
        self.reading = Some(Seen { at: now, life, reading });
        if self.hurried(now) {
            self.next_renewal = now;
        }
    }

    /// A move is under way and steps of it wait for what is read here: look often, and tell at once.
    #[must_use]
    pub fn hurried(&self, now: Timestamp) -> bool {
        let moving = self.known.as_ref().is_some_and(|k| k.phase != Phase::Serving);
        let opening = self.named().is_some() && self.open_at(now).is_none();
        now < self.hurry_until && (moving || opening)
    }

    /// The mark of the opening that stands, with a set that surely holds it. A reading looks at the set
    /// before it looks for the mark, so the set is taken from a look that began after one that had found
    /// the mark, and after the opening had ended.
    fn see_mark(&mut self, reading: &DatabaseReading, life: ProcessStart) {
        let Some(mark) = reading.opening.filter(|m| m.life == life) else { return };
        let opened = self.writable == Some((mark.epoch, life));
        let before = self
            .reading
            .as_ref()
            .is_some_and(|s| s.life == life && s.reading.opening == Some(mark) && s.at > self.acted_at);
        if opened && before && self.marked.as_ref().is_none_or(|known| known.mark != mark) {
            self.marked = Some(Marked { mark, covered: reading.gtid_executed.clone() });
        }
    }

    /// What was made writable is read-only again: a statement of an earlier guard outlived its session, as one does that waits
    /// for a commit, or somebody set it. It is made writable anew. The look before tells that this one began behind the opening.
    fn see_read_only(&mut self, reading: &DatabaseReading, life: ProcessStart) {
        let before = self
            .reading
            .as_ref()
            .is_some_and(|s| s.life == life && s.reading.read_only && s.at > self.acted_at);
        let quiet = self.lanes[Lane::Admin as usize].is_none();
        let opened = self.writable.is_some_and(|(_, opened)| opened == life);
        let stays = self.config.defects.has(Defect::ReadOnlyStays);
        if reading.read_only && before && quiet && opened && !stays {
            self.writable = None;
        }
    }

    /// The reading of the life that runs, if it is young enough to act on.
    fn fresh(&self, now: Timestamp) -> Option<&DatabaseReading> {
        let seen = self.reading.as_ref()?;
        let young = now.since(seen.at) <= self.config.timing.fresh();
        (young && self.process.start() == Some(seen.life)).then_some(&seen.reading)
    }

    /// The authority names this server, by name and identity.
    fn named(&self) -> Option<&Authority> {
        let known = self.known.as_ref()?;
        let uuid = &self.reading.as_ref()?.reading.server_uuid;
        if self.config.defects.has(Defect::LeaseForAnybody) {
            return Some(known);
        }
        known.names(&self.config.server, uuid).then_some(known)
    }

    /// It is primary of a group that is being drained, and this life served its epoch.
    fn draining(&self) -> Option<&Authority> {
        let known = self.named().filter(|k| k.phase == Phase::Draining)?;
        let served = self.latch.opened.as_ref().is_some_and(|o| o.epoch == known.epoch && self.lives(o));
        served.then_some(known)
    }

    /// What is drained, if it is what the authority asks for.
    fn drained_now(&self) -> Option<&Drained> {
        let epoch = self.draining()?.epoch;
        let life = self.process.start()?;
        self.drained.as_ref().filter(|(l, d, _)| *l == life && d.epoch == epoch).map(|(_, d, _)| d)
    }

    /// The life that was opened and may still answer a client's write.
    fn may_be_writable(&self) -> Option<&Opened> {
        self.latch.opened.as_ref().filter(|o| self.lives(o) && self.fenced_life != Some(o.life))
    }
}

/// Of writes that follow one another only the last is made: it holds what those before it held, and
/// nothing stands between them that could precede it.
fn once(out: &mut Vec<Effect>) {
    let mut index = 1;
    while index < out.len() {
        match (&out[index - 1], &out[index]) {
            (Effect::Persist(_), Effect::Persist(_)) => {
                out.remove(index - 1);
            }
            _ => index += 1,
        }
    }
}
