//! The hosts: `guard [SERVER] WORD …`. Without a server it is the last one named.

use std::collections::BTreeMap;
use std::time::Duration;

use failover_core::{
    ActEnd, ActId, Answer, CallId, DatabaseAct, Defects, ENDLESS, Effect, Fencing, GateAct, GateRead, Grant,
    Guard, GuardConfig, Input, Nonce, Order, PeerFact, Process, Told,
};
use model::{BootId, ProcessStart, ServerId};

use super::host::{Host, act_name, read_words, reading_at_boot};
use super::line::{Line, duration};
use super::world::{World, say};
use super::{desk, names, print};

/// Rounds after which `settle` says that the host never comes to rest. A whole opening takes eight.
const ROUNDS_MAX: usize = 30;

impl World {
    pub fn host(&self, server: &ServerId, line: &Line) -> &Host {
        self.hosts.get(server).unwrap_or_else(|| line.fail(&format!("{server} has no guard")))
    }

    fn host_mut(&mut self, server: &ServerId) -> &mut Host {
        self.hosts.get_mut(server).expect("the script was checked")
    }

    pub fn guard(&mut self, line: &mut Line, out: &mut String) {
        let mut word = line.word();
        if word.contains("-db") {
            self.current = Some(word.parse().unwrap());
            word = line.word();
        }
        let server = self.current.clone().unwrap_or_else(|| line.fail("guard SERVER …"));
        if word == "new" {
            return self.new_guard(&server, line);
        }
        self.host(&server, line);
        match word.as_str() {
            "tick" => self.input(&server, Input::Tick, out),
            "password" => self.input(&server, Input::ReplicationPassword, out),
            "process" => self.process(&server, line, out),
            "reading" => {
                let host = self.host_mut(&server);
                read_words(&mut host.reading, line);
                self.read(&server, out);
            }
            word @ ("unanswered" | "refused") => {
                let life = self.host_mut(&server).life.unwrap_or_else(|| line.fail("it has no process"));
                self.input(&server, Input::Knocked { life, answered: word == "refused" }, out);
            }
            "will-read" => read_words(&mut self.host_mut(&server).reading, line),
            "gate" => self.gate(&server, line, out),
            "watchdog" => {
                let armed = line.flag("armed");
                line.flag("failed");
                self.input(&server, Input::Watchdog { armed }, out);
            }
            "ended" => self.ended(&server, line, out),
            "answer" => self.answer(&server, line, out),
            "told" => {
                let told = Told { authority: self.authority_at(line), peers: peers(line) };
                self.input(&server, Input::Told(told), out);
            }
            "order" => self.order(&server, line, out),
            "settle" => self.settle(&server, line, out),
            "status" => {
                let now = self.now;
                let guard = &self.host(&server, line).guard;
                let report = guard.report(now);
                if line.flag("marks") {
                    say(out, print::marked(report.marked.as_ref()));
                } else {
                    out.push_str(&print::status(&report, guard.lease_left(now)));
                }
            }
            other => line.fail(&format!("no such word {other:?}")),
        }
    }

    /// `new [gate=absent|shut|open:EPOCH:LEFT] [boot=…] [wiped] [ladder] [watchdog]`: a guard starts; the
    /// disk stays.
    fn new_guard(&mut self, server: &ServerId, line: &mut Line) {
        let gate = match line.take("gate").unwrap_or_else(|| "absent".into()).as_str() {
            "absent" => GateRead::Absent,
            "shut" => GateRead::Shut,
            text => gate_open(text, line),
        };
        let old = self.hosts.remove(server);
        let wiped = line.flag("wiped");
        let nonces = old.as_ref().and_then(|h| h.renewals.last_key_value()).map_or(0, |(n, _)| n.0);
        let boot =
            line.take("boot").or(old.as_ref().map(|h| h.boot.clone())).unwrap_or_else(|| "boot-a".into());
        let latch = old.as_ref().and_then(|h| h.latch.clone()).filter(|_| !wiped);
        let config = GuardConfig {
            group: names::group(),
            server: server.clone(),
            timing: self.policy.timing,
            boot: BootId(boot.clone()),
            fencing: if line.flag("ladder") { Fencing::Ladder } else { Fencing::Gate },
            watchdog: line.flag("watchdog"),
            defects: Defects::NONE,
        };
        let guard = Guard::new(config, latch.clone(), gate, nonces + 1, self.now);
        let host = Host {
            guard,
            latch,
            boot,
            life: None,
            life_before: old.as_ref().and_then(|h| h.life_before),
            reading: old.map_or_else(|| reading_at_boot(server), |h| h.reading),
            gate: None,
            acts: BTreeMap::new(),
            kills: vec![],
            renewals: BTreeMap::new(),
            calls: BTreeMap::new(),
        };
        self.hosts.insert(server.clone(), host);
    }

    /// `process LIFE|gone [ended=killed|graceful|unknown]`.
    fn process(&mut self, server: &ServerId, line: &mut Line, out: &mut String) {
        let word = line.word();
        let ended = line.take("ended").map(|t| desk::how_ended(&t, line));
        let (life, process) = match word.as_str() {
            "gone" => (None, Process::Gone { for_us: 0 }),
            n => {
                let start = ProcessStart(n.parse().unwrap_or_else(|_| line.fail("process LIFE|gone")));
                (Some(start), Process::Running { start })
            }
        };
        self.host_mut(server).lives(life);
        self.input(server, Input::Process { process, ended }, out);
    }

    /// A look at the database. It takes a microsecond: one that was made before an act ended says
    /// nothing about what the act did.
    fn read(&mut self, server: &ServerId, out: &mut String) {
        self.now = self.now + Duration::from_micros(1);
        let host = self.host_mut(server);
        let Some(life) = host.life else { return };
        self.replicate_mark(server);
        let reading = self.host_mut(server).reading.clone();
        self.input(server, Input::Reading { reading, life }, out);
    }

    /// A replica has its source's mark, unless the script says otherwise.
    fn replicate_mark(&mut self, server: &ServerId) {
        let source = self.host_mut(server).reading.replica.as_ref().and_then(|r| r.source_uuid.clone());
        let mark = self.hosts.values().find(|h| Some(&h.reading.server_uuid) == source.as_ref());
        let mark = mark.and_then(|h| h.reading.opening);
        let host = self.host_mut(server);
        if mark.is_some() && host.reading.opening != Some(super::host::OTHER_MARK) {
            host.reading.opening = mark;
        }
    }

    /// `gate done|failed|absent`: the gate act under way is over.
    fn gate(&mut self, server: &ServerId, line: &mut Line, out: &mut String) {
        let asked = self.host_mut(server).gate.take();
        let asked = asked.unwrap_or_else(|| line.fail("no gate act is under way"));
        let read = match line.word().as_str() {
            "done" => gate_done(asked),
            "failed" => GateRead::Failed,
            "absent" => GateRead::Absent,
            other => line.fail(&format!("no such word {other:?}")),
        };
        self.input(server, Input::GateRead(read), out);
    }

    /// `ended ACT done|failed=WHY|unknown=WHY`: a database act is over.
    fn ended(&mut self, server: &ServerId, line: &mut Line, out: &mut String) {
        let name = line.word();
        let act = self.host(server, line).act(&name, line);
        let end = match (line.take("failed"), line.take("unknown"), line.gtid("reached")) {
            (Some(why), _, _) => ActEnd::Failed { why },
            (_, Some(why), _) => ActEnd::Unknown { why },
            (_, _, reached) => {
                line.flag("done");
                ActEnd::Done { reached }
            }
        };
        self.end_act(server, act, end, out);
    }

    fn end_act(&mut self, server: &ServerId, id: ActId, end: ActEnd, out: &mut String) {
        let host = self.host_mut(server);
        let act = host.acts.remove(&id).expect("it is under way");
        if matches!(end, ActEnd::Done { .. }) {
            host.perform(&act);
        }
        self.input(server, Input::Ended { act: id, end }, out);
    }

    /// `answer`: what `desk renew` answered arrives, perhaps again. `answer held|no=WHY
    /// [version=N] [attempt=N] [peer=…]` makes one up.
    fn answer(&mut self, server: &ServerId, line: &mut Line, out: &mut String) {
        let held = line.flag("held");
        let no = line.take("no");
        let answer = if held || no.is_some() {
            let authority = Some(self.authority_at(line));
            let attempt = line.number("attempt").map(Nonce);
            let nonce = self.host(server, line).renewal(attempt, line).nonce;
            let grant = no.map_or(Grant::Held, |why| Grant::No { why });
            Answer { nonce, grant, authority, peers: peers(line) }
        } else {
            self.answers.get(server).cloned().unwrap_or_else(|| line.fail("desk renew SERVER first"))
        };
        self.input(server, Input::Answer(answer), out);
    }

    /// `order fence epoch=N | stop-io no-source=N | drain [life=N] | gather SERVER [gtid=…] | promote epoch=N | save-extra extra=… |
    /// rebuild SERVER | rejoin SERVER`, under the authority that stands or stood at `version=N`.
    fn order(&mut self, server: &ServerId, line: &mut Line, out: &mut String) {
        let (name, order) = match line.word().as_str() {
            "fence" => ("fence", Order::Fence { epoch: line.epoch("epoch").unwrap() }),
            "stop-io" => ("stop-io", Order::StopIo { no_source: line.epoch("no-source").unwrap() }),
            "drain" => ("drain", Order::Drain { life: line.number("life").map(ProcessStart) }),
            "gather" => {
                let gtid = line.gtid("gtid").unwrap_or_default();
                ("gather", Order::Gather { source: line.server(), gtid })
            }
            "promote" => ("promote", Order::Promote { epoch: line.epoch("epoch").unwrap() }),
            "save-extra" => ("save-extra", Order::SaveExtra { extra: line.gtid("extra").unwrap() }),
            "rebuild" => ("rebuild", Order::Rebuild { donor: line.server() }),
            "rejoin" => ("rejoin", Order::Rejoin { source: line.server(), acks: line.flag("acks") }),
            other => line.fail(&format!("no such order {other:?}")),
        };
        let authority = self.authority_at(line);
        self.calls += 1;
        let call = CallId(self.calls);
        self.host_mut(server).calls.insert(call, name);
        self.input(server, Input::Ordered { call, authority, order }, out);
    }

    /// `settle [but=ACT]…`: the host does all that it is asked, and is read again, until nothing is
    /// left; `but=sentinel` leaves that act under way.
    fn settle(&mut self, server: &ServerId, line: &mut Line, out: &mut String) {
        let but = line.all("but");
        for _ in 0..ROUNDS_MAX {
            let host = self.host_mut(server);
            if let Some(life) = host.kills.pop() {
                if host.life == Some(life) {
                    host.lives(None);
                    say(out, format!("> process {life} is gone"));
                    let ended = Some(failover_core::HowItEnded::Killed);
                    self.input(server, Input::Process { process: Process::Gone { for_us: 0 }, ended }, out);
                }
            } else if let Some(asked) = host.gate.take() {
                say(out, format!("> {} done", print::gate_act(asked)));
                self.input(server, Input::GateRead(gate_done(asked)), out);
            } else if let Some(id) = host.next_act(&but) {
                let act = host.acts[&id].clone();
                let reached = match act {
                    DatabaseAct::Drain => Some(host.reading.gtid_held()),
                    DatabaseAct::SetReadOnly | DatabaseAct::Promote => {
                        Some(host.reading.gtid_executed.clone())
                    }
                    _ => None,
                };
                say(out, format!("> {} done", act_name(&act)));
                host.perform(&act);
                self.read(server, out);
                self.end_act(server, id, ActEnd::Done { reached }, out);
            } else {
                let before = out.len();
                self.read(server, out);
                if out.len() == before {
                    return;
                }
            }
        }
        line.fail("the host never comes to rest");
    }

    fn input(&mut self, server: &ServerId, input: Input, out: &mut String) {
        let (now, hide) = (self.now, self.hide_renewals);
        let host = self.host_mut(server);
        for effect in host.guard.on(input, now) {
            let line = print::effect(&effect, host.latch.as_ref(), &host.calls);
            let hidden = hide && matches!(effect, Effect::Renew(_));
            if !hidden {
                say(out, line);
            }
            match effect {
                Effect::Persist(latch) => host.latch = Some(latch),
                Effect::Renew(renewal) => {
                    host.renewals.insert(renewal.nonce, *renewal);
                }
                Effect::Gate(act) => {
                    assert!(host.gate.is_none(), "two gate acts at once");
                    host.gate = Some(act);
                }
                Effect::Act { id, act } => {
                    host.acts.insert(id, act);
                }
                Effect::Kill(life) => host.kills.push(life),
                Effect::Watchdog(_) | Effect::Reply { .. } | Effect::Pass(_) => {}
            }
        }
    }
}

fn gate_done(asked: GateAct) -> GateRead {
    match asked {
        GateAct::Shut => GateRead::Shut,
        GateAct::Open { epoch, left } => GateRead::Open { epoch, left },
    }
}

fn gate_open(text: &str, line: &Line) -> GateRead {
    let parts: Vec<&str> = text.split(':').collect();
    let ["open", epoch, left] = parts[..] else { line.fail("gate=absent|shut|open:EPOCH:LEFT") };
    let left = match left {
        "endless" => ENDLESS,
        left => duration(left).unwrap_or_else(|| line.fail("open:EPOCH:LEFT")),
    };
    GateRead::Open { epoch: model::Epoch(epoch.parse().unwrap()), left }
}

/// `peer=SERVER/HELD[/LIFE][/unreachable][/no-replica][/acks|/unread]`.
fn peers(line: &mut Line) -> Vec<PeerFact> {
    line.all("peer")
        .iter()
        .map(|text| {
            let mut parts = text.split('/');
            let server: ServerId = parts.next().expect("a server").parse().unwrap();
            let held = names::gtid(parts.next().expect("what it holds"));
            let mut peer = PeerFact {
                uuid: names::uuid(&server),
                server,
                process_start: Some(ProcessStart(1)),
                held,
                reachable: true,
                replica: true,
                acks: Some(false),
            };
            for word in parts {
                match word {
                    "unreachable" => peer.reachable = false,
                    "unread" => peer.acks = None,
                    "acks" => peer.acks = Some(true),
                    "no-replica" => peer.replica = false,
                    life => peer.process_start = Some(ProcessStart(life.parse().unwrap())),
                }
            }
            peer
        })
        .collect()
}
