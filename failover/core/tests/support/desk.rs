//! The leader's side: what it is told, what it decides, what it answers.

use failover_core::{
    DiskRefusal, DiskReport, Drained, Grant, GuardReport, HowItEnded, LatchReport, Marked, Nonce, Process,
    Renewal, Stamp, Vantage, decide, discard_of, exposure, loss_of, plan_switchover, release_of,
};
use model::{BootId, Epoch, OpeningMark, SyncGeneration};

use super::host::{self, read_words};
use super::line::Line;
use super::world::{World, say};
use super::{names, print};

impl World {
    /// `report SERVER …`: a guard's report by words, received `age=` ago.
    pub fn report(&mut self, line: &mut Line) {
        let server = line.server();
        self.sequence += 1;
        let stamp = self.authority().map(failover_core::Authority::stamp).unwrap_or_default();
        let received = self.ago(line.duration("age"));
        let mut reading = host::reading_at_boot(&server);
        let silent = line.flag("no-reading");
        // Its guard made an acker ready to acknowledge, unless the script says otherwise.
        let acker = self.authority().is_some_and(|a| a.acker_set.iter().any(|k| k.server == server));
        if acker {
            reading.semi_sync.replica_enabled = true;
            reading.settings.sync_relay_log = 1;
        }
        read_words(&mut reading, line);
        // All have the one mark, unless the script says otherwise.
        let mark = OpeningMark { epoch: Epoch(1), life: model::ProcessStart(1), nonce: 1, count: 1, all: 1 };
        reading.opening = reading.opening.or(Some(mark));
        let covered = reading.gtid_executed.clone();
        let gone = line.micros("gone");
        let start = line.life("start").unwrap_or(model::ProcessStart(1));
        let process = match gone {
            Some(for_us) => Process::Gone { for_us },
            None if line.flag("unseen") => Process::Unseen,
            None => Process::Running { start },
        };
        let seen = line.epoch("seen").map_or(stamp, |epoch| Stamp { epoch, ..stamp });
        let open = line.epoch("open");
        let report = GuardReport {
            server,
            sequence: self.sequence,
            boot: BootId(line.take("boot").unwrap_or_else(|| "boot-1".into())),
            process,
            reading: (!silent && gone.is_none()).then_some(reading),
            reading_age_us: line.micros("read-age").unwrap_or(10_000),
            gate: failover_core::GateReport::Unknown,
            lease_us: 0,
            open,
            opened_ended: line.take("ended").map(|t| how_ended(&t, line)),
            latch: LatchReport {
                seen,
                fenced_through: line.epoch("fenced").unwrap_or_default(),
                no_source: line.epoch("no-source").unwrap_or_default(),
                opened: line.epoch("opened").or(open).unwrap_or(Epoch(0)),
                g: SyncGeneration(0),
            },
            armed: line.number("armed").map(SyncGeneration),
            proven: line.number("proven").map(SyncGeneration),
            drained: line.gtid("drained").map(|executed| Drained { epoch: stamp.epoch, executed }),
            marked: (open.is_some() && !line.flag("unmarked")).then_some(Marked { mark, covered }),
            waiting_us: line.micros("waiting").unwrap_or(0),
            absent_us: line.micros("absent").unwrap_or(0),
            shut_us: line.micros("shut").unwrap_or(0),
            shut_because: line.take("because"),
            disk: disk(line),
            copy: line.flag("copied").then_some(failover_core::CopyReport {
                phase: failover_core::CopyPhase::Copying,
                bytes: 0,
                expected: 0,
            }),
            promoted: line.gtid("promoted"),
        };
        self.desk.on_report(report, received);
    }

    /// `forget`: a new leader that has heard nothing yet.
    pub fn forget(&mut self, _: &mut Line) {
        self.desk = self.policy.desk();
    }

    /// `vantage SITE hears=SERVER,… [age=…]`: what the nodes of a site hear; `hears=nobody`.
    pub fn vantage(&mut self, line: &mut Line) {
        let site = line.word().parse().unwrap();
        let heard = self.ago(line.duration("age"));
        let hears = line.take("hears").unwrap_or_else(|| line.fail("hears=SERVER,… or hears=nobody"));
        let hears = hears.split(',').filter(|s| *s != "nobody").map(|s| s.parse().unwrap()).collect();
        self.desk.on_vantage(site, Vantage { heard, hears });
    }

    /// `renewed SERVER [age=…]`: the leader answered a renewal of the present epoch then.
    pub fn renewed(&mut self, line: &mut Line, out: &mut String) {
        let server = line.server();
        let received = self.ago(line.duration("age"));
        let Some(facts) = self.desk.facts().servers.get(&server) else { line.fail("report it first") };
        let renewal = Renewal {
            group: names::group(),
            nonce: Nonce(0),
            uuid: Some(names::uuid(&server)),
            epoch: line.epoch("epoch").or(self.authority().map(|a| a.epoch)),
            report: facts.report.clone(),
        };
        let answer = self.desk.on_renewal(&self.state, &renewal, received, self.now);
        if let Grant::No { why } = answer.grant {
            say(out, format!("not granted: {why}"));
        }
    }

    /// `peers SERVER`: what the leader tells its guard of what the others hold.
    pub fn peers_told(&self, line: &mut Line, out: &mut String) {
        let server = line.server();
        for peer in self.desk.peers(&self.state.groups[&names::group()], &server, self.now) {
            let counts = if peer.replica { "" } else { ", which does not count: no replica" };
            say(out, format!("{} holds {}{counts}", peer.server, names::set(&peer.held)));
        }
    }

    /// `decide [brief|servers]`: what the leader would do now, and why. `brief` leaves the candidates out;
    /// `servers` tells instead what is the matter with each.
    pub fn decide(&mut self, line: &mut Line, out: &mut String) {
        let (brief, servers) = (line.flag("brief"), line.flag("servers"));
        self.desk.on_wall(self.wall());
        let decision = decide(&self.state, self.desk.facts(), &self.policy, self.now);
        let explanation = &decision.groups[&names::group()];
        if servers {
            for f in &explanation.servers {
                say(out, format!("{} {}: {}", f.server, f.diagnosis.name(), f.because));
            }
            say(out, format!("act: {}", if explanation.act.is_some() { "some" } else { "none" }));
        } else {
            out.push_str(&print::explanation(explanation, brief));
        }
        self.decided = explanation.act.clone();
    }

    /// `loss SITE [by=WHO] [id]`: what a failover by hand would lose; `commit decided` does it.
    pub fn loss(&mut self, line: &mut Line, out: &mut String) {
        let site = line.word().parse().unwrap();
        let by = line.take("by").unwrap_or_else(|| "ana".into());
        let facts = self.desk.facts();
        match loss_of(&self.state, facts, &self.policy, &names::group(), &site, &by, self.now) {
            Ok((loss, act)) => {
                let age = loss.reading_age_us.map_or("never read".into(), |us| {
                    format!("read {} ago", print::short_time(std::time::Duration::from_micros(us)))
                });
                let verdict = if loss.none { "nothing acknowledged can be lost" } else { "may lose" };
                let more = match loss.unseen {
                    Some(0) => String::new(),
                    Some(unseen) => format!(", at most {unseen} more unseen"),
                    None => ", more without a bound".into(),
                };
                let missing = names::set(&loss.missing);
                let id = if line.flag("id") { format!("; id {}", loss.id) } else { String::new() };
                say(out, format!("{verdict}: known missing {missing}{more} (primary {age}){id}"));
                self.decided = Some(act);
            }
            Err(why) => say(out, format!("impossible: {why}")),
        }
    }

    /// `exposure`: what the loss of the primary's site would cost, as last seen.
    pub fn exposure(&self, out: &mut String) {
        let told = exposure(&self.state.groups[&names::group()], self.desk.facts());
        let text = match told {
            None => "no authority".to_owned(),
            Some(told) => {
                let best = told.best.as_ref().map_or("-", |s| s.as_str());
                let missing = told.missing.as_ref().map_or("unknown".to_owned(), names::set);
                let kept = if told.since.is_some() { "one site" } else { "both sites" };
                format!("kept on {kept}; {missing} beyond {best}")
            }
        };
        say(out, text);
    }

    /// `discard SERVER`: what copying it anew gives up; `commit decided` does it.
    pub fn discard(&mut self, line: &mut Line, out: &mut String) {
        let server = line.server();
        let facts = self.desk.facts();
        match discard_of(&self.state, facts, &self.policy, &names::group(), &server, "ana", self.now) {
            Ok((given_up, act)) => {
                let verdict = if given_up.none { "gives up nothing" } else { "gives up" };
                say(out, format!("{verdict}: {}", names::set(&given_up.extra)));
                self.decided = Some(act);
            }
            Err(why) => say(out, format!("impossible: {why}")),
        }
    }

    /// `release SERVER`: out of quarantine; `commit decided` does it.
    pub fn release(&mut self, line: &mut Line, out: &mut String) {
        let server = line.server();
        let facts = self.desk.facts();
        match release_of(&self.state, facts, &self.policy, &names::group(), &server, "ana", self.now) {
            Ok(act) => self.decided = Some(act),
            Err(why) => say(out, format!("impossible: {why}")),
        }
    }

    /// `plan SITE [by=NAME]`: a switchover there, with its preconditions; `commit decided` begins it.
    pub fn plan(&mut self, line: &mut Line, out: &mut String) {
        let site = line.word().parse().unwrap();
        let by = line.take("by").unwrap_or_else(|| "ana".into());
        let facts = self.desk.facts();
        match plan_switchover(&self.state, facts, &self.policy, &names::group(), &site, &by, self.now) {
            Ok(plan) => {
                for p in &plan.preconditions {
                    let holds = if p.holds { "ok" } else { "NOT SO" };
                    let next = p.next.as_ref().map_or(String::new(), |n| format!(" ({n})"));
                    say(out, format!("{holds} {}: {}{next}", p.name, p.evidence.join("; ")));
                }
                say(out, if plan.act.is_some() { "ready" } else { "not ready" });
                self.decided = plan.act;
            }
            Err(why) => say(out, format!("impossible: {why}")),
        }
    }

    /// `desk elected|deposed|withhold|resume|outwaited|renew SERVER`.
    pub fn desk(&mut self, line: &mut Line, out: &mut String) {
        let group = names::group();
        match line.word().as_str() {
            "elected" => {
                let at = self.ago(line.duration("age"));
                self.desk.on_elected(at);
            }
            "deposed" => self.desk.on_deposed(),
            "withhold" => self.desk.withhold(&group),
            "resume" => self.desk.resume(&group),
            "outwaited" => match self.desk.outwaited(&group, self.now) {
                Ok(waited) => say(out, format!("outwaited: {}", print::short_time(waited))),
                Err(left) => say(out, format!("not yet: {} left", print::short_time(left))),
            },
            "hand-over" => match self.desk.may_hand_over(&self.state, &self.policy.timing, self.now) {
                Ok(()) => say(out, "leadership may be handed over"),
                Err(why) => say(out, format!("stays: {why}")),
            },
            "renew" => {
                let server = line.server();
                let nonce = line.number("attempt").map(Nonce);
                let received = self.ago(line.duration("age"));
                let renewal = self.host(&server, line).renewal(nonce, line).clone();
                self.desk.on_report(renewal.report.clone(), received);
                let answer = self.desk.on_renewal(&self.state, &renewal, received, self.now);
                say(out, print::answer(&answer));
                self.answers.insert(server, answer);
            }
            other => line.fail(&format!("no such word {other:?}")),
        }
    }
}

/// `killed`, `graceful`, `unknown`.
pub fn how_ended(text: &str, line: &Line) -> HowItEnded {
    match text {
        "killed" => HowItEnded::Killed,
        "graceful" => HowItEnded::Graceful,
        "unknown" => HowItEnded::Unknown,
        other => line.fail(&format!("{other:?} is no end of a process")),
    }
}

/// `disk-waits=`, `disk-full=` and `disk-failing=`, each for so long, and `disk-well`.
fn disk(line: &mut Line) -> Option<DiskReport> {
    let full = line.micros("disk-full").map(|us| (DiskRefusal::Full, us));
    let failing = line.micros("disk-failing").map(|us| (DiskRefusal::Failing, us));
    let (waits, refused) = (line.micros("disk-waits"), full.or(failing));
    let known = line.flag("disk-well") || waits.is_some() || refused.is_some();
    known.then(|| DiskReport {
        waiting_us: waits.unwrap_or(0),
        refused: refused.map(|(why, _)| why),
        refused_us: refused.map_or(0, |(_, us)| us),
        free: if full.is_some() { 0 } else { 1 << 30 },
    })
}
