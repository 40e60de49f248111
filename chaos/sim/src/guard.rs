//! A guard's process: it feeds the pure guard and performs its effects in order. Latches are
//! written before anything behind them; everything may stop between two effects.

use std::collections::VecDeque;
use std::rc::Rc;

use failover_core::{
    ActEnd, ActId, ENDLESS, Effect, GateRead, Grant, Guard, GuardConfig, Input, Latch, Process, Renewal,
    Timing, Told,
};
use model::{BootId, Incarnation, ProcessStart};
use runbooks_core::{Evidence, Outcome};

use crate::event::{Event, Message, Unit};
use crate::mysql::{Disk, Life};
use crate::options::Mutant;
use crate::place::{MS, NODES, Time};
use crate::world::World;

/// Between two readings of the database.
const READ_EVERY: Time = 100 * MS;
/// While a move waits for what is read.
const READ_IN_A_HURRY: Time = 20 * MS;
/// Inputs that wait behind a write; beyond it they are lost, as in a full channel.
const INPUTS_MAX: usize = 256;
/// Renewals remembered with the moment they were sent, for the checks.
const SENT_MAX: usize = 128;

/// The end of an endless lease, far beyond any run, with room behind it for what is added.
const ENDLESS_LEASE: u64 = u64::MAX / 2;

/// The process.
pub struct GuardProcess {
    /// Which life of it.
    pub life: u32,
    /// The pure machine.
    pub guard: Guard,
    /// SIGSTOPped.
    pub paused: bool,
    /// The nft that it called waits for it too.
    pub nft_stalls: bool,
    /// Effects not performed yet.
    pub effects: VecDeque<Effect>,
    /// A write is under way.
    pub writing: Option<Box<Latch>>,
    /// Inputs that came meanwhile.
    pub inputs: VecDeque<Input>,
    /// What the watcher last told.
    pub told: Option<Process>,
    /// Callers that wait for a reply: their node and number, by ours.
    pub calls: Vec<(u64, usize, u64)>,
    /// Number of the next call.
    pub next_call: u64,
    /// When each renewal was sent, on the host's clock.
    pub sent: VecDeque<(u64, u64)>,
    /// The life of the database that its session is on, once it has one.
    pub session: Option<ProcessStart>,
    /// The sentinel whose answer it waits for.
    pub sentinel: Option<ActId>,
    /// Earlier ones, given up while their connection is used on.
    pub given_up: Vec<ActId>,
    /// What came of those: it lies on the connection, and is read by whoever asks next.
    pub unread: VecDeque<ActEnd>,
    /// How it last found the disk, and whether a database ran.
    pub probed: Option<(Disk, bool)>,
    /// What it last said of being open.
    pub open: Option<model::Epoch>,
}

/// The authority in an input, as the guard is told one.
fn told_by(input: &Input) -> Option<Told> {
    match input {
        Input::Told(told) => Some(told.clone()),
        Input::Answer(answer) => {
            let authority = answer.authority.clone()?;
            Some(Told { authority, peers: answer.peers.clone() })
        }
        _ => None,
    }
}

impl World {
    /// A supervisor starts the guard.
    pub(crate) fn guard_start(&mut self, h: usize) {
        let now = self.now;
        let unnoticed = self.broken(Mutant::BootUnnoticed);
        let host = &mut self.hosts[h];
        if !host.up || host.guard.is_some() {
            return;
        }
        host.guard_lives += 1;
        let life = host.guard_lives;
        let clock = host.clock.read(now);
        let read = match host.gate.element.filter(|(_, until)| *until > now) {
            _ if !host.gate.rules => GateRead::Absent,
            Some((epoch, until)) => {
                let left = if until == Time::MAX { ENDLESS } else { host.clock.read(until).since(clock) };
                GateRead::Open { epoch, left }
            }
            None => GateRead::Shut,
        };
        // The kernel keeps to what the one before said, until this one asserts the gate.
        host.passing = None;
        host.stretched = host.gate.tainted && matches!(read, GateRead::Open { .. });
        let config = GuardConfig {
            group: self.names.group.clone(),
            server: self.names.servers[h].clone(),
            timing: self.policy.timing,
            fencing: self.ladder.fencing(),
            watchdog: self.ladder.watchdog,
            boot: BootId(format!("boot-{h}-{}", if unnoticed { 1 } else { host.boot })),
            defects: self.defects,
        };
        let nonce = self.chance.next();
        let guard = Guard::new(config, host.latch.clone(), read, nonce, clock);
        let host = &mut self.hosts[h];
        host.guard = Some(Box::new(GuardProcess {
            life,
            guard,
            paused: false,
            nft_stalls: false,
            effects: VecDeque::new(),
            writing: None,
            inputs: VecDeque::new(),
            told: None,
            calls: Vec::new(),
            next_call: 1,
            sent: VecDeque::new(),
            session: None,
            sentinel: None,
            given_up: Vec::new(),
            unread: VecDeque::new(),
            probed: None,
            open: None,
        }));
        host.acts.clear();
        let tick = self.chance.below(20 * MS);
        self.queue.push(now + tick, Event::GuardTick { host: h, life });
        let look = self.chance.below(15 * MS);
        self.queue.push(now + look, Event::Look { host: h, life });
        self.queue.push(now + look + 5 * MS, Event::Read { host: h, life });
        if let Some(told) = self.hosts[h].told.clone().filter(|_| unnoticed) {
            self.guard_input(h, Input::Told(told));
        }
    }

    /// It dies. What nft was asked for may or may not come to pass.
    pub(crate) fn guard_end(&mut self, h: usize) {
        let lucky = self.chance.one_in(2);
        let forgets = self.broken(Mutant::LatchForgotten);
        let again = 100 * MS + self.chance.below(900) * MS;
        let host = &mut self.hosts[h];
        let Some(guard) = host.guard.take() else { return };
        self.gate_unguarded(h);
        let host = &mut self.hosts[h];
        if let Some(latch) = guard.writing.filter(|_| lucky) {
            host.latch = Some(*latch);
        }
        if forgets {
            host.latch = None;
        }
        host.acts.clear();
        host.stash_guard.clear();
        self.note_host(h, format_args!("guard ends"));
        if self.hosts[h].up {
            self.queue.push(self.now + again, Event::Start { what: Unit::Guard(h), life: guard.life });
        }
    }

    /// SIGSTOP and SIGCONT.
    pub(crate) fn guard_pause(&mut self, h: usize, paused: bool) {
        if self.hosts[h].guard.is_none() {
            return;
        }
        let stalls = self.chance.one_in(2);
        let guard = self.hosts[h].guard.as_mut().expect("seen above");
        guard.nft_stalls = stalls;
        guard.paused = paused;
        self.gate_unguarded(h);
        if !paused {
            self.hosts[h].resumed = self.now;
            let stash = std::mem::take(&mut self.hosts[h].stash_guard);
            self.unstash(stash);
            self.perform(h);
        }
    }

    /// The watcher will look soon.
    pub(crate) fn look_soon(&mut self, h: usize) {
        if let Some(life) = self.hosts[h].guard.as_ref().map(|g| g.life) {
            let at = self.now + MS + self.chance.below(40 * MS);
            self.queue.push(at, Event::Look { host: h, life });
        }
    }

    /// The watcher looks at the process.
    pub(crate) fn look(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let Some(guard) = host.guard.as_mut() else { return };
        let process = match &host.mysql.life {
            Some(life) => Process::Running { start: life.start },
            None => Process::Gone { for_us: 0 },
        };
        if guard.told == Some(process) {
            return;
        }
        guard.told = Some(process);
        let ended = host.mysql.ended;
        self.guard_input(h, Input::Process { process, ended });
    }

    /// A reading is taken.
    pub(crate) fn read_database(&mut self, h: usize) {
        let now = self.now;
        let clock = self.hosts[h].clock.read(now);
        let Some(guard) = self.hosts[h].guard.as_ref() else { return };
        let life = guard.life;
        let every = if guard.guard.hurried(clock) { READ_IN_A_HURRY } else { READ_EVERY };
        let next = now + self.hosts[h].clock.stretch(every);
        self.queue.push(next, Event::Read { host: h, life });
        self.probe_disk(h);
        let mysql = &self.hosts[h].mysql;
        let Some(start) = mysql.life.as_ref().map(|l| l.start) else { return };
        // A new connection gets in only while no account change waits.
        let way_in = self.kept_session(h) || !mysql.accounts_locked();
        let reading = mysql.reading(&self.names, &self.truth.marks).filter(|_| way_in);
        let Some(reading) = reading else {
            // It accepts connections, and answers none.
            let accepts = |l: &Life| l.booted && !l.stopping && (l.paused || !way_in);
            let hides = self.broken(Mutant::NoKeptSession);
            if !hides && mysql.life.as_ref().is_some_and(accepts) {
                self.guard_input(h, Input::Knocked { life: start, answered: false });
            }
            return;
        };
        self.hosts[h].guard.as_mut().expect("it reads").session = Some(start);
        if self.chance.below(32) == 0 {
            let at = now + MS + self.chance.below(250 * MS);
            let reading = Box::new(reading);
            self.queue.push(at, Event::Reading { host: h, life, start, reading });
        } else {
            self.guard_input(h, Input::Reading { reading, life: start });
        }
    }

    /// The guard ticks.
    pub(crate) fn guard_tick(&mut self, h: usize) {
        let host = &self.hosts[h];
        let Some(guard) = host.guard.as_ref() else { return };
        let (life, next) = (guard.life, self.now + host.clock.span(Timing::METRO.tick));
        self.queue.push(next, Event::GuardTick { host: h, life });
        // Ticks are not queued behind a write.
        if self.hosts[h].guard.as_ref().is_some_and(|g| g.writing.is_none()) {
            self.guard_input(h, Input::Tick);
        }
    }

    /// The guard takes an input, now or after what is under way.
    pub(crate) fn guard_input(&mut self, h: usize, input: Input) {
        let Some(guard) = self.hosts[h].guard.as_mut() else { return };
        if guard.inputs.len() < INPUTS_MAX {
            guard.inputs.push_back(input);
        }
        self.perform(h);
    }

    /// Takes inputs and performs effects until a write is under way or nothing is left.
    pub(crate) fn perform(&mut self, h: usize) {
        let remembers = self.broken(Mutant::BootUnnoticed);
        loop {
            let now = self.now;
            let host = &mut self.hosts[h];
            let Some(guard) = host.guard.as_mut() else { return };
            if guard.paused || host.paused {
                return;
            }
            if guard.writing.is_some() {
                break;
            }
            if let Some(effect) = guard.effects.pop_front() {
                self.effect(h, effect);
                continue;
            }
            let Some(input) = guard.inputs.pop_front() else { break };
            let clock = host.clock.read(now);
            if remembers && let Some(told) = told_by(&input) {
                host.told = Some(told);
            }
            if let Input::Answer(answer) = &input
                && answer.grant == Grant::Held
                && let Some((_, sent)) = guard.sent.iter().find(|(n, _)| *n == answer.nonce.0)
            {
                let timed = answer.authority.as_ref().is_none_or(|a| a.leases.is_timed());
                let until = if timed { sent + Timing::METRO.lease.as_micros() as u64 } else { ENDLESS_LEASE };
                host.lease_until = host.lease_until.max(until);
                host.stretched = false;
            }
            let effects = guard.guard.on(input, clock);
            guard.effects.extend(effects);
        }
        self.tell_opening(h);
    }

    fn effect(&mut self, h: usize, effect: Effect) {
        match effect {
            Effect::Persist(latch) => {
                self.check_latch(h, &latch);
                let at = self.now + self.fsync(NODES + h);
                let guard = self.hosts[h].guard.as_mut().expect("it performs");
                guard.writing = Some(Box::new(latch));
                let life = guard.life;
                self.queue.push(at, Event::GuardDisk { host: h, life });
            }
            Effect::Renew(renewal) => self.renew(h, *renewal),
            Effect::Pass(passing) => self.pass(h, &passing),
            Effect::Gate(act) => self.begin_gate_act(h, act),
            Effect::Watchdog(act) => self.watchdog_act(h, act),
            Effect::Act { id, act } => {
                self.check_act(h, &act);
                self.check_opens_by_the_rule(h, &act);
                self.begin_database_act(h, id, act);
            }
            Effect::Kill(start) => {
                if self.hosts[h].mysql.life.as_ref().is_some_and(|l| l.start == start) {
                    self.check_kill(h, start);
                    self.mysql_end(h, failover_core::HowItEnded::Killed, true);
                }
            }
            Effect::Reply { call, reply } => {
                if matches!(&reply, Outcome::Done { evidence: Evidence::Fenced { .. } }) {
                    self.fence_confirmed(h);
                }
                let guard = self.hosts[h].guard.as_mut().expect("it performs");
                let Some(position) = guard.calls.iter().position(|(c, _, _)| *c == call.0) else { return };
                let (_, node, number) = guard.calls.swap_remove(position);
                let message = Message::Reply { call: number, outcome: Rc::new(reply) };
                self.send(NODES + h, node, message);
            }
        }
    }

    /// The latches are on disk.
    pub(crate) fn guard_disk(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let Some(guard) = host.guard.as_mut() else { return };
        if let Some(latch) = guard.writing.take() {
            self.truth.latches[h] = Some((*latch).clone());
            host.latch = Some(*latch);
        }
        self.perform(h);
    }

    fn renew(&mut self, h: usize, renewal: Renewal) {
        let host = &mut self.hosts[h];
        let sent = host.clock.read(self.now).0;
        let guard = host.guard.as_mut().expect("it performs");
        if guard.sent.len() == SENT_MAX {
            guard.sent.pop_front();
        }
        guard.sent.push_back((renewal.nonce.0, sent));
        let renewal = Rc::new(renewal);
        for node in 0..self.nodes.len() {
            let message = Message::Renewal { host: h, via: None, renewal: Rc::clone(&renewal) };
            self.send(NODES + h, node, message);
        }
    }

    fn tell_opening(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let clock = host.clock.read(self.now);
        let Some(guard) = host.guard.as_mut() else { return };
        let open = guard.guard.open_at(clock);
        let open_before = guard.open;
        guard.open = open;
        if open.is_some() {
            self.check_holds_open(h);
        }
        if open != open_before {
            self.note_opening(h, open);
        }
    }

    fn note_opening(&mut self, h: usize, open: Option<model::Epoch>) {
        match open {
            Some(epoch) => {
                let life = self.hosts[h].latch.as_ref().map_or(Incarnation(0), |l| l.seen.incarnation);
                self.truth.opened(h, life, epoch);
                self.note_host(h, format_args!("open at epoch {epoch}"));
            }
            None => {
                let clock = self.hosts[h].clock.read(self.now);
                let report = self.hosts[h].guard.as_ref().map(|g| g.guard.report(clock).shut_because);
                self.note_host(h, format_args!("shut ({:?})", report.flatten()));
            }
        }
    }

    /// A message for the guard.
    pub(crate) fn guard_message(&mut self, h: usize, from: usize, message: Message) {
        match message {
            Message::Answer { answer, .. } => self.guard_input(h, Input::Answer((*answer).clone())),
            Message::Told(told) => self.guard_input(h, Input::Told((*told).clone())),
            Message::Order { call, authority, order } => {
                let Some(guard) = self.hosts[h].guard.as_mut() else { return };
                let number = guard.next_call;
                guard.next_call += 1;
                guard.calls.push((number, from, call));
                let input = Input::Ordered {
                    call: failover_core::CallId(number),
                    authority: (*authority).clone(),
                    order: (*order).clone(),
                };
                self.guard_input(h, input);
            }
            _ => {}
        }
    }
}
