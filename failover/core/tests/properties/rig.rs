//! What surrounds a guard: a leader that grants by the rules but whose answers come late, twice or
//! never; a kernel; a disk; a database. The rig checks every effect against all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use failover_core::{
    ActEnd, ActId, Answer, Authority, CallId, DatabaseAct, Defects, Effect, Fencing, GateAct, GateRead,
    Grant, Guard, GuardConfig, HowItEnded, Input, Lane, Latch, Nonce, Order, PeerFact, Phase, Process,
    Renewal, State, Timing, Told, apply,
};
use model::{
    BootId, DatabaseReading, Epoch, GtidSet, ProcessStart, ReplicaReading, ReplicaThread, SemiSyncReading,
    ServerId, SettingsReading, Timestamp,
};
use runbooks_core::{Evidence, Outcome};

use crate::world::{COMMANDS, Op, authority, command, group_id, server, started, uuid_of};

/// A second sentinel may be sent after this long, beside the first.
const SENTINEL: Duration = Duration::from_secs(1);

/// A server with `pdc-db:1-n`, fenced, that replicates from `source`.
pub fn reading(server_id: &ServerId, source: Option<&ServerId>, n: u64) -> DatabaseReading {
    DatabaseReading {
        server_uuid: uuid_of(server_id),
        version: "9.7.0".into(),
        gtid_executed: GtidSet::interval(uuid_of(&server(0)), 1, n),
        gtid_purged: GtidSet::empty(),
        read_only: true,
        super_read_only: true,
        offline_mode: false,
        client_sessions: 0,
        connections: 1,
        max_connections: 151,
        semi_sync: SemiSyncReading {
            source_enabled: false,
            source_operating: false,
            wait_count: 1,
            clients: 0,
            waiting_sessions: 0,
            replica_enabled: false,
            acknowledged: None,
        },
        replica: source.map(|s| ReplicaReading {
            source_host: s.to_string(),
            source_port: 3306,
            source_uuid: Some(uuid_of(s)),
            io: ReplicaThread::Running,
            sql: ReplicaThread::Running,
            gtid_received: GtidSet::empty(),
            io_error: String::new(),
            sql_error: String::new(),
            io_errno: 0,
            sql_errno: 0,
            lag_seconds: Some(0),
            delay_s: 0,
            filters: vec![],
            other_channels: 0,
        }),
        opening: None,
        settings: SettingsReading {
            sync_binlog: 1,
            flush_log_at_commit: 1,
            sync_relay_log: 1,
            relay_log_recovery: false,
            semi_sync_timeout_ms: model::ACK_TIMEOUT_MS,
        },
        long_transactions: Vec::new(),
        kine: None,
        accounts: None,
    }
}

/// See the module.
pub struct Rig {
    pub guard: Guard,
    pub now: Timestamp,
    pub state: State,
    /// The leader's authorities, in order; the last one stands.
    history: Vec<Authority>,
    disk: Option<Latch>,
    boot: u32,
    /// The element in the kernel, until when it stands; none when there is none.
    kernel: Option<(Epoch, Timestamp)>,
    rules: bool,
    gate: Option<GateAct>,
    acts: BTreeMap<ActId, (DatabaseAct, Timestamp)>,
    lives: u64,
    life: Option<ProcessStart>,
    sent: BTreeMap<Nonce, (Timestamp, Renewal)>,
    /// Attempts of this guard life that no answer has settled.
    pending: BTreeSet<Nonce>,
    answers: Vec<Answer>,
    calls: BTreeMap<CallId, Order>,
    next_call: u64,
    /// Until when a lease of each epoch can run at most, by what was delivered.
    granted: BTreeMap<Epoch, Timestamp>,
    /// Highest authority that this guard life was told.
    told: Option<Authority>,
    /// Things that happened, for the test that the rig is not asleep.
    pub seen: BTreeSet<&'static str>,
}

impl Rig {
    /// A guard of pdc-db at its start. `start` says whether its host was ever gated, and who is primary.
    pub fn new(start: u8) -> Self {
        let (untouched, candidate) = (start & 1 == 1, start & 2 == 2);
        let state = started(&server(if candidate { 2 } else { 0 }));
        let history = vec![authority(&state).unwrap().clone()];
        let now = Timestamp(1_000_000_000);
        let read = if untouched { GateRead::Absent } else { GateRead::Shut };
        let guard = Guard::new(config(0), None, read, 1, now);
        Self {
            guard,
            now,
            state,
            history,
            disk: None,
            boot: 0,
            kernel: None,
            rules: !untouched,
            gate: None,
            acts: BTreeMap::new(),
            lives: 0,
            life: None,
            sent: BTreeMap::new(),
            pending: BTreeSet::new(),
            answers: Vec::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            granted: BTreeMap::new(),
            told: None,
            seen: BTreeSet::new(),
        }
    }

    /// Number of kinds that `step` knows.
    pub const KINDS: u8 = 28;

    /// Does what an op means.
    pub fn step(&mut self, op: Op) {
        match op.kind {
            0..4 => self.wait(op),
            4..7 => self.answer(op),
            7..10 => self.deliver(op),
            10 | 11 => self.tell(op),
            12..14 => self.order(op),
            14 => self.process(op),
            15..18 => self.read(op),
            18..21 => self.gate_ends(op),
            21..24 => self.act_ends(op),
            24 if op.odd < 64 => self.restart(op),
            _ => self.advance(op),
        }
        self.check();
    }

    fn wait(&mut self, op: Op) {
        let ms = if op.odd.is_multiple_of(16) { 1700 } else { u64::from(op.pick) };
        self.now = self.now + Duration::from_millis(ms);
        self.input(Input::Tick);
    }

    /// The leader answers some attempt by the state that stands, as the desk does.
    fn answer(&mut self, op: Op) {
        let Some((nonce, (_, renewal))) = pick(&self.sent, op.pick) else { return };
        let stands = self.history.last().unwrap();
        let uuid = renewal.uuid.as_ref();
        let names = uuid.is_some_and(|u| stands.names(&renewal.report.server, u));
        let held = names && stands.phase.grants() && renewal.epoch == Some(stands.epoch);
        let grant = if held { Grant::Held } else { Grant::No { why: "random".into() } };
        self.answers.push(Answer {
            nonce: *nonce,
            grant,
            authority: Some(stands.clone()),
            peers: self.peers(op),
        });
    }

    fn peers(&self, op: Op) -> Vec<PeerFact> {
        let acker = server(2);
        vec![PeerFact {
            uuid: uuid_of(&acker),
            process_start: Some(ProcessStart(u64::from(op.odd % 3))),
            held: GtidSet::interval(uuid_of(&server(0)), 1, if op.odd < 230 { 50 } else { 51 }),
            reachable: op.odd < 240,
            replica: true,
            acks: (op.odd < 250).then_some(op.odd.is_multiple_of(2)),
            server: acker,
        }]
    }

    /// Some answer arrives, perhaps again.
    fn deliver(&mut self, op: Op) {
        if self.answers.is_empty() {
            return;
        }
        // The newest most of the time: old ones are worth a try, not the rule.
        let back = if op.odd < 160 { 0 } else { usize::from(op.pick) % self.answers.len() };
        let answer = self.answers[self.answers.len() - 1 - back].clone();
        // An attempt that is settled or forgotten gives nothing more.
        let pending = self.pending.contains(&answer.nonce);
        self.pending.retain(|n| !pending || *n > answer.nonce);
        if let (true, Grant::Held, Some(a)) = (pending, &answer.grant, &answer.authority) {
            let until = self.sent[&answer.nonce].0 + Timing::METRO.lease;
            let known = self.granted.entry(a.epoch).or_insert(until);
            *known = until.max(*known);
        }
        if pending {
            self.learn(answer.authority.clone().unwrap());
        }
        self.input(Input::Answer(answer));
    }

    fn learn(&mut self, authority: Authority) {
        let floor = self.disk.as_ref().map(|l| l.seen).unwrap_or_default();
        if authority.stamp() >= floor && self.told.as_ref().is_none_or(|t| t.stamp() <= authority.stamp()) {
            self.told = Some(authority);
        }
    }

    fn tell(&mut self, op: Op) {
        let told = Told { authority: self.some_authority(op), peers: self.peers(op) };
        self.learn(told.authority.clone());
        self.input(Input::Told(told));
    }

    fn some_authority(&self, op: Op) -> Authority {
        let back = if op.odd < 200 { 0 } else { usize::from(op.pick) % self.history.len() };
        self.history[self.history.len() - 1 - back].clone()
    }

    fn order(&mut self, op: Op) {
        let authority = self.some_authority(op);
        // The epoch before, as executors order it; now and then one that is not revoked.
        let epoch = Epoch((authority.epoch.0 - u64::from(op.pick % 8 != 7)).max(1));
        let order = match op.pick % 8 {
            0..3 => Order::Fence { epoch },
            3 => Order::StopIo { no_source: epoch },
            4 => Order::Drain { life: None },
            5 => Order::Promote { epoch: authority.epoch },
            6 => Order::Gather { source: server(1), gtid: GtidSet::empty() },
            _ => Order::Rejoin { source: authority.primary.server.clone(), acks: op.odd % 2 == 1 },
        };
        self.next_call += 1;
        let call = CallId(self.next_call);
        self.calls.insert(call, order.clone());
        if authority.stamp() >= self.disk.as_ref().map(|l| l.seen).unwrap_or_default() {
            self.learn(authority.clone());
        }
        self.input(Input::Ordered { call, authority, order });
    }

    fn process(&mut self, op: Op) {
        let ended = [HowItEnded::Killed, HowItEnded::Graceful, HowItEnded::Unknown];
        let ended = Some(ended[usize::from(op.odd % 3)]);
        if op.pick < 64 && self.life.is_some() {
            self.life = None;
            self.input(Input::Process { process: Process::Gone { for_us: 0 }, ended });
            return;
        }
        if self.life.is_none() {
            self.lives += 1;
            self.life = Some(ProcessStart(self.lives));
        }
        let start = self.life.unwrap();
        self.input(Input::Process { process: Process::Running { start }, ended });
    }

    fn read(&mut self, op: Op) {
        let Some(life) = self.life else { return };
        let life = if op.odd == 7 { ProcessStart(life.0.saturating_sub(1)) } else { life };
        let source = server(2);
        let source = (op.pick & 3 == 3).then_some(&source);
        let mut reading = reading(&server(0), source, 50);
        reading.super_read_only = op.pick & 4 == 0;
        reading.read_only = reading.super_read_only;
        reading.semi_sync.source_enabled = op.pick & 8 == 0;
        reading.semi_sync.clients = u32::from(op.pick >> 4 & 3);
        reading.semi_sync.waiting_sessions = u32::from(op.pick >> 7);
        if op.odd == 9 {
            reading.server_uuid = uuid_of(&server(1));
        }
        // A look that was made before an act ended says nothing about what the act did.
        self.now = self.now + Duration::from_micros(1);
        self.input(Input::Reading { reading, life });
    }

    /// The gate act lands, or fails.
    fn gate_ends(&mut self, op: Op) {
        let Some(asked) = self.gate.take() else { return };
        if op.odd > 230 {
            let read = if op.odd > 245 { GateRead::Absent } else { GateRead::Failed };
            self.input(Input::GateRead(read));
            return;
        }
        self.land(asked);
        let read = match asked {
            GateAct::Shut => GateRead::Shut,
            GateAct::Open { epoch, left } => GateRead::Open { epoch, left },
        };
        self.input(Input::GateRead(read));
    }

    fn land(&mut self, asked: GateAct) {
        self.rules = true;
        self.kernel = match asked {
            GateAct::Shut => None,
            GateAct::Open { epoch, left } => Some((epoch, self.now + left)),
        };
    }

    fn act_ends(&mut self, op: Op) {
        let Some((id, (act, _))) = pick(&self.acts, op.pick) else { return };
        let (id, act) = (*id, act.clone());
        self.acts.remove(&id);
        let end = match op.odd {
            0..32 => ActEnd::Failed { why: "random".into() },
            32..48 => ActEnd::Unknown { why: "random".into() },
            _ => ActEnd::Done { reached: None },
        };
        if matches!(act, DatabaseAct::SetWritable { .. }) && matches!(end, ActEnd::Done { .. }) {
            self.seen.insert("writable");
        }
        self.input(Input::Ended { act: id, end });
    }

    /// The guard restarts, or the whole host does. What was under way lands or not.
    fn restart(&mut self, op: Op) {
        if let Some(asked) = self.gate.take()
            && op.pick.is_multiple_of(2)
        {
            self.land(asked);
        }
        let reboots = op.odd < 8;
        if reboots {
            self.boot += 1;
            (self.kernel, self.rules, self.life) = (None, false, None);
        }
        let read = match self.kernel {
            Some((epoch, until)) if until > self.now => {
                let left = until.since(self.now);
                let most = self.now + left.min(Timing::METRO.lease);
                let known = self.granted.entry(epoch).or_insert(most);
                *known = most.max(*known);
                self.seen.insert("adopted");
                GateRead::Open { epoch, left }
            }
            _ if self.rules => GateRead::Shut,
            _ => GateRead::Absent,
        };
        let nonce = self.sent.last_key_value().map_or(1, |(n, _)| n.0 + 1);
        self.acts.clear();
        self.calls.clear();
        self.pending.clear();
        self.told = None;
        self.guard = Guard::new(config(self.boot), self.disk.clone(), read, nonce, self.now);
        let kept = self.guard.report(self.now).latch;
        let disk = self.disk.clone().unwrap_or_default();
        assert_eq!(kept.seen, disk.seen, "a restarted guard keeps its latches");
        assert_eq!(
            (kept.fenced_through, kept.no_source, kept.g),
            (disk.fenced_through, disk.no_source, disk.g)
        );
        if let Some(start) = self.life {
            self.input(Input::Process { process: Process::Running { start }, ended: None });
        }
    }

    /// The log goes on.
    fn advance(&mut self, op: Op) {
        let op = Op { kind: op.pick % COMMANDS, pick: op.odd, odd: op.pick };
        let command = command(&self.state, op, i64::try_from(self.now.0 / 1000).unwrap());
        let _ = apply(&mut self.state, command);
        let stands = authority(&self.state).unwrap();
        if self.history.last() != Some(stands) {
            self.history.push(stands.clone());
        }
    }

    fn input(&mut self, input: Input) {
        let effects = self.guard.on(input, self.now);
        for effect in effects {
            match effect {
                Effect::Persist(latch) => self.on_persist(latch),
                Effect::Renew(renewal) => {
                    self.pending.insert(renewal.nonce);
                    let before = self.sent.insert(renewal.nonce, (self.now, *renewal));
                    assert!(before.is_none(), "every attempt has a nonce of its own");
                }
                Effect::Gate(act) => self.on_gate(act),
                Effect::Pass(_) => {}
                Effect::Act { id, act } => self.on_act(id, act),
                Effect::Watchdog(_) => unreachable!("this host has none"),
                Effect::Kill(life) => self.on_kill(life),
                Effect::Reply { call, reply } => self.on_reply(call, &reply),
            }
        }
    }

    fn on_persist(&mut self, latch: Latch) {
        let disk = self.disk.clone().unwrap_or_default();
        assert!(latch.seen >= disk.seen, "the highest authority is kept (I8)");
        assert!(latch.fenced_through >= disk.fenced_through, "a fence stays");
        assert!(latch.no_source >= disk.no_source && latch.g >= disk.g);
        if let (Some(old), Some(new)) = (&disk.opened, &latch.opened) {
            assert!(new.epoch >= old.epoch, "never opens an older epoch");
        }
        assert!(latch.opened.is_some() || disk.opened.is_none(), "an opening is not forgotten");
        self.disk = Some(latch);
    }

    fn latch(&self) -> Latch {
        self.disk.clone().unwrap_or_default()
    }

    fn on_gate(&mut self, act: GateAct) {
        assert!(self.gate.is_none(), "one gate act at a time");
        if let GateAct::Open { epoch, left } = act {
            self.seen.insert("gate open");
            assert!(epoch > self.latch().fenced_through, "never opens at or below a fence");
            assert!(left > Duration::ZERO && left <= Timing::METRO.lease, "{left:?} is more than T_H");
            let granted = self.granted.get(&epoch).copied().unwrap_or_default();
            assert!(self.now + left <= granted, "the gate outlasts every lease that was granted");
            let opened = self.latch().opened;
            let opened = opened.expect("the opening is on disk before the gate opens");
            assert_eq!((opened.epoch, Some(opened.life)), (epoch, self.life), "this very opening");
            if let Some(told) = &self.told {
                assert!(told.phase.grants() && told.epoch == epoch && told.primary.server == server(0));
            }
        }
        self.gate = Some(act);
    }

    fn on_act(&mut self, id: ActId, act: DatabaseAct) {
        for (other, since) in self.acts.values() {
            let second_sentinel = act.lane() == Lane::Sentinel && self.now.since(*since) >= SENTINEL;
            assert!(other.lane() != act.lane() || second_sentinel, "{act:?} beside {other:?}");
        }
        match &act {
            DatabaseAct::SetWritable { .. } => {
                let told = self.told.as_ref().expect("it was told who may write");
                let opened = self.latch().opened.expect("the opening is on disk first");
                assert_eq!((opened.epoch, Some(opened.life)), (told.epoch, self.life));
                assert!(told.phase == Phase::Serving && told.epoch > self.latch().fenced_through);
                assert!(self.granted.get(&told.epoch).is_some_and(|until| *until > self.now));
            }
            DatabaseAct::DropSockets => {
                assert!(
                    self.gate.is_none() && self.kernel.is_none(),
                    "sockets are destroyed behind the gate"
                );
            }
            DatabaseAct::Gather { source, .. } => {
                let told = self.told.as_ref().expect("it was told");
                let acks = told.acker_set.iter().any(|a| a.server == *source);
                let mine = told.phase == Phase::Revoked && told.primary.server == server(0);
                assert!(mine && acks, "gather {told:?}");
            }
            DatabaseAct::Promote => {
                let told = self.told.as_ref().expect("it was told");
                assert!(
                    told.phase == Phase::Promoting && told.primary.server == server(0),
                    "promote {told:?}"
                );
            }
            DatabaseAct::Rejoin { acks, .. } => {
                let told = self.told.as_ref().expect("it was told");
                let phase = told.phase == Phase::Serving || (*acks && !told.phase.grants());
                assert!(phase && told.primary.server != server(0), "rejoin {told:?}");
            }
            DatabaseAct::StartReplica | DatabaseAct::ChangePassword => {
                let told = self.told.as_ref().expect("it was told whom to receive from");
                assert!(told.epoch > self.latch().no_source, "never receives from a revoked source (6)");
            }
            DatabaseAct::StopIo => {
                assert!(self.latch().no_source > Epoch(0), "latched before the threads stop (6)");
                self.seen.insert("stop-io");
            }
            _ => {}
        }
        self.acts.insert(id, (act, self.now));
    }

    fn on_kill(&mut self, life: ProcessStart) {
        self.seen.insert("kill");
        let latch = self.latch();
        let opened = latch.opened.expect("only a life that was opened is killed");
        assert_eq!(opened.life, life);
        assert!(latch.fenced_through >= opened.epoch, "only a fence kills, mere expiry never (35)");
    }

    fn on_reply(&mut self, call: CallId, reply: &Outcome) {
        let Some(Order::Fence { epoch }) = self.calls.remove(&call) else { return };
        let Outcome::Done { evidence } = reply else { return };
        assert!(matches!(evidence, Evidence::Fenced { .. }));
        self.seen.insert("fenced");
        assert!(self.latch().fenced_through >= epoch, "latched before it is confirmed (5)");
        assert!(self.gate.is_none() && self.kernel.is_none(), "nothing may land behind the fence (30)");
        let writing = |(a, _): &(DatabaseAct, Timestamp)| matches!(a, DatabaseAct::SetWritable { .. });
        assert!(!self.acts.values().any(writing), "nor may it become writable");
    }

    /// What holds at every moment.
    fn check(&mut self) {
        if let Some(epoch) = self.guard.open_at(self.now) {
            self.seen.insert("open");
            assert!(epoch > self.latch().fenced_through);
            assert!(self.granted[&epoch] > self.now, "open means leased (I2)");
        }
        let report = self.guard.report(self.now);
        let disk = self.latch();
        assert_eq!((report.latch.seen, report.latch.fenced_through), (disk.seen, disk.fenced_through));
        assert_eq!((report.latch.no_source, report.latch.g), (disk.no_source, disk.g));
    }
}

fn config(boot: u32) -> GuardConfig {
    GuardConfig {
        group: group_id(),
        server: server(0),
        timing: Timing::METRO,
        boot: BootId(format!("boot-{boot}")),
        fencing: Fencing::Gate,
        watchdog: false,
        defects: Defects::NONE,
    }
}

fn pick<K: Ord, V>(map: &BTreeMap<K, V>, pick: u8) -> Option<(&K, &V)> {
    // The newest first: what was sent last is what matters most.
    let back = usize::from(pick) % map.len().max(1);
    map.iter().rev().nth(if pick < 128 { 0 } else { back })
}
