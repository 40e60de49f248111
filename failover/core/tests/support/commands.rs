//! The replicated side: found, propose, apply, commit, try, state, next, perform, verify.

use std::collections::{BTreeMap, BTreeSet};

use failover_core::{
    Acker, Act, Change, Command, FencedByHand, GroupSpec, Held, Leases, Maintenance, NewConfiguration,
    PeopleChange, Perform, Primary, Reason, ServerSpec, Terms, apply, awaited, perform, verify,
};
use model::{Generation, GtidSet, Incarnation, ProcessStart, ServerId, TokenId, Version, WallTime};
use runbooks_core::{Evidence, ExecutionId, Outcome, Performer, StepId, next};

use super::line::Line;
use super::world::{World, say};
use super::{names, print};

impl World {
    /// `found SERVER… [endless]`: the group and its servers. `incarnation=N`, 1 when not given.
    pub fn found(&mut self, line: &mut Line, out: &mut String) {
        let incarnation = Incarnation(line.number("incarnation").unwrap_or(1));
        let leases = if line.flag("endless") { Leases::Endless } else { Leases::Timed };
        let mut servers = BTreeMap::new();
        while let Some(word) = line.word_maybe() {
            let server: ServerId = word.parse().unwrap();
            servers.insert(server.clone(), ServerSpec { site: names::site(&server) });
        }
        let groups = BTreeMap::from([(names::group(), GroupSpec { servers, leases })]);
        self.fold(Command::Found { incarnation, groups }, out);
    }

    /// `propose WORD …`: into the log, with the version that stands now; `expect=N` overrides it.
    pub fn propose(&mut self, line: &mut Line, out: &mut String) {
        for command in self.commands(line) {
            say(out, format!("proposed {}", print::command(&command)));
            self.log.push_back(command);
        }
    }

    /// `apply`: all that was proposed, in order.
    pub fn apply_all(&mut self, out: &mut String) {
        while let Some(command) = self.log.pop_front() {
            self.fold(command, out);
        }
    }

    /// `commit WORD …`: propose and apply. `commit decided` takes the act of the last decision.
    pub fn commit(&mut self, line: &mut Line, out: &mut String) {
        for command in self.commands(line) {
            self.fold(command, out);
        }
    }

    fn fold(&mut self, command: Command, out: &mut String) {
        match apply(&mut self.state, command) {
            Ok(events) => events.iter().for_each(|e| say(out, print::event(e))),
            Err(refusal) => say(out, format!("refused: {refusal}")),
        }
        if let Some(authority) = self.authority().cloned() {
            self.history.insert(authority.version, authority);
        }
    }

    fn commands(&mut self, line: &mut Line) -> Vec<Command> {
        let word = line.word();
        let running = self.state.groups.get(&names::group()).and_then(|g| g.execution.as_ref()).map(|e| e.id);
        let execution = line.number("execution").map(ExecutionId).or(running).unwrap_or(ExecutionId(1));
        let (group, at) = (names::group(), self.wall());
        let by = performer(line);
        let start = |step: StepId| Command::StepStarted { group: group.clone(), execution, step, by, at };
        let end = |step, outcome| Command::StepEnded { group: group.clone(), execution, step, outcome, at };
        match word.as_str() {
            "step" => {
                let step = StepId(line.word());
                let outcome = outcome(line);
                vec![start(step.clone()), end(step, outcome)]
            }
            "maintain" => {
                let since = at;
                let until =
                    model::WallTime(at.0 + i64::try_from(line.micros("for").unwrap_or(0) / 1_000).unwrap());
                let m = Maintenance { by: "ana".into(), reason: "a disk is changed".into(), since, until };
                let maintenance = (!line.flag("end")).then_some(m);
                vec![Command::Maintain { group, maintenance, by: "ana".into(), reason: None, at }]
            }
            "incarnate" => {
                let incarnation = line.number("incarnation").map(Incarnation);
                let incarnation = incarnation.unwrap_or_else(|| line.fail("incarnation=N is missing"));
                let fenced = FencedByHand { by: "ana".into(), seen: "pdc is without power".into() };
                vec![Command::Incarnate { incarnation, voters: vec!["mdc-1".into()], fenced, at }]
            }
            "token" => vec![people(line, at)],
            "configure" => {
                let expect = line.number("expect").map(Generation);
                let expect = expect.unwrap_or_else(|| self.state.configuration.generation());
                let leases = if line.flag("endless") { Leases::Endless } else { Leases::Timed };
                let mut groups: BTreeMap<_, _> = self
                    .state
                    .groups
                    .iter()
                    .map(|(id, g)| (id.clone(), GroupSpec { servers: g.servers.clone(), leases }))
                    .collect();
                if line.flag("without-group") {
                    groups.clear();
                }
                if line.flag("without-server") {
                    groups.values_mut().for_each(|g| drop(g.servers.pop_last()));
                }
                if line.flag("another-group") {
                    groups.insert("second".parse().unwrap(), GroupSpec { servers: BTreeMap::new(), leases });
                }
                let long = line.number("bytes").map(|n| "x".repeat(usize::try_from(n).unwrap()));
                let restores = line.number("restores").map(Generation);
                let text = line.take("text").unwrap_or_else(|| line.fail("text=… is missing"));
                let new = NewConfiguration {
                    expect,
                    text: long.unwrap_or_else(|| text.clone()).into(),
                    changes: vec![format!("~ names.shop: {text}")],
                    restores,
                    groups,
                    by: "ana".into(),
                    why: None,
                };
                vec![Command::Configure { new, at }]
            }
            "hold" => {
                let held = (!line.flag("end")).then(|| Held {
                    diagnosis: line.word(),
                    because: line.all("because"),
                    holds: line.take("holds"),
                });
                vec![Command::Hold { group, held, at }]
            }
            "step-start" => vec![start(StepId(line.word()))],
            "step-end" => {
                let step = StepId(line.word());
                vec![end(step, outcome(line))]
            }
            _ => {
                let now = self.authority().map_or(Version(0), |a| a.version);
                let act = match word.as_str() {
                    "decided" => self.decided.take().unwrap_or_else(|| line.fail("nothing was decided")),
                    other => Act { expect: now, change: change(other, line, execution) },
                };
                let expect = line.number("expect").map_or(act.expect, Version);
                vec![Command::Change { group, expect, change: act.change, at }]
            }
        }
    }

    /// `try`: every change against this state, without keeping the result.
    pub fn try_all(&mut self, out: &mut String) {
        let group = names::group();
        let version = self.authority().map_or(Version(0), |a| a.version);
        for text in EVERY_CHANGE {
            let mut line = Line::new("try".into(), text);
            let word = line.word();
            let running = self.state.groups[&group].execution.as_ref().map_or(ExecutionId(1), |e| e.id);
            let execution = line.number("execution").map_or(running, ExecutionId);
            let change = change(&word, &mut line, execution);
            let mut state = self.state.clone();
            let command = Command::Change { group: group.clone(), expect: version, change, at: self.wall() };
            let result = match apply(&mut state, command) {
                Ok(events) => events.iter().map(print::event).collect::<Vec<_>>().join("; "),
                Err(refusal) => {
                    assert_eq!(state, self.state, "a refusal changes nothing");
                    format!("refused: {refusal}")
                }
            };
            say(out, format!("{text}: {result}"));
        }
    }

    pub fn print_state(&self, out: &mut String) {
        match self.state.groups.get(&names::group()) {
            Some(group) => out.push_str(&print::group(group)),
            None => say(out, "not founded"),
        }
    }

    /// `next [by=NODE/TERM]`: what this performer may do.
    pub fn print_next(&self, line: &mut Line, out: &mut String) {
        let execution = self.state.groups[&names::group()].execution.as_ref();
        let execution = execution.unwrap_or_else(|| line.fail("there is no execution"));
        for one in next(execution, &performer(line)) {
            say(out, print::next(&one));
        }
    }

    /// `perform STEP`: how the step is performed.
    pub fn print_perform(&self, line: &mut Line, out: &mut String) {
        let group = &self.state.groups[&names::group()];
        let execution = group.execution.as_ref().unwrap_or_else(|| line.fail("there is no execution"));
        let step = StepId(line.word());
        let action = &execution.step(&step).unwrap_or_else(|| line.fail("no such step")).action;
        say(out, print::perform(&perform(group, execution, action)));
    }

    /// `await STEP [since=DURATION]`: whether what the step waits for has come, in a wait that began so
    /// long ago.
    pub fn print_await(&self, line: &mut Line, out: &mut String) {
        let group = &self.state.groups[&names::group()];
        let execution = group.execution.as_ref().unwrap_or_else(|| line.fail("there is no execution"));
        let step = StepId(line.word());
        let since = self.ago(line.duration("since"));
        let action = &execution.step(&step).unwrap_or_else(|| line.fail("no such step")).action;
        let Perform::Await(wait) = perform(group, execution, action) else { line.fail("it is no wait") };
        let (facts, timing) = (self.desk.facts(), &self.policy.timing);
        say(out, print::verified(&awaited(&wait, group, facts, timing, since, self.now)));
    }

    /// `verify STEP`: what the verify reading tells.
    pub fn print_verify(&self, line: &mut Line, out: &mut String) {
        let group = &self.state.groups[&names::group()];
        let execution = group.execution.as_ref().unwrap_or_else(|| line.fail("there is no execution"));
        let step = StepId(line.word());
        let action = &execution.step(&step).unwrap_or_else(|| line.fail("no such step")).action;
        let facts = self.desk.facts();
        say(out, print::verified(&verify(group, execution, action, facts, &self.policy.timing, self.now)));
    }
}

/// What `try` tries.
pub const EVERY_CHANGE: [&str; 19] = [
    "start pdc-db",
    "begin mdc-db",
    "begin pdc-db",
    "begin elsewhere",
    "drain mdc-db",
    "handover mdc-db",
    "open",
    "open execution=99",
    "abort",
    "async",
    "catch-up mdc-db@1",
    "catch-up pdc-db2@1",
    "sync",
    "route",
    "rejoin mdc-db2",
    "rebuild pdc-db2 extra=C:1",
    "quarantine mdc-db extra=A:51",
    "discard mdc-db extra=A:51",
    "release mdc-db",
];

/// `token issue|revoke|break-glass|acknowledge NAME …`; a secret's hash is made of one digit.
fn people(line: &mut Line, at: WallTime) -> Command {
    let (word, name) = (line.word(), line.word());
    let Ok(token) = name.parse::<TokenId>() else { line.fail("no name of a token") };
    let reason = line.take("reason");
    let change = match word.as_str() {
        "issue" => {
            let role = line.take("role").unwrap_or_else(|| "viewer".into());
            let lasts = line.micros("for").unwrap_or(0) / 1_000;
            let terms = Terms {
                role: role.parse().unwrap(),
                groups: line.all("group").iter().map(|g| g.parse().unwrap()).collect(),
                expires: WallTime(at.0 + i64::try_from(lasts).unwrap()),
                break_glass: line.flag("break-glass"),
            };
            let hash = line.take("hash").unwrap_or_else(|| "a".repeat(64));
            PeopleChange::Issue { token, hash, terms, reason }
        }
        "revoke" => PeopleChange::Revoke { token, reason },
        "break-glass" => {
            let what = line.take("what").unwrap_or_default();
            PeopleChange::BreakGlass { token, what }
        }
        "acknowledge" => PeopleChange::Acknowledge { token, reason },
        other => line.fail(&format!("{other:?} is nothing that tokens do")),
    };
    Command::People { change, by: line.take("who").unwrap_or_else(|| "ana".into()), at }
}

fn performer(line: &mut Line) -> Performer {
    let text = line.take("by").unwrap_or_else(|| "mdc-1/3".into());
    let (node, term) = text.split_once('/').unwrap_or_else(|| line.fail("by=NODE/TERM"));
    Performer { node: node.parse().unwrap(), term: term.parse().unwrap() }
}

fn primary(server: &ServerId) -> Primary {
    let known = server.as_str().contains("-db");
    let uuid = if known { names::uuid(server) } else { names::uuid_of_letter("F").unwrap() };
    Primary { server: server.clone(), uuid, site: names::site(server) }
}

/// `mdc-db@2`: the life 2 of mdc-db as an acker.
pub fn acker(text: &str) -> Acker {
    let (server, life) = text.split_once('@').expect("SERVER@LIFE");
    let server: ServerId = server.parse().unwrap();
    Acker { uuid: names::uuid(&server), server, process_start: ProcessStart(life.parse().unwrap()) }
}

fn change(word: &str, line: &mut Line, execution: ExecutionId) -> Change {
    let why = line.take("why").unwrap_or_else(|| "test".into());
    let reason = Reason { why, by: "ana".into(), evidence: vec![] };
    let extra = |line: &mut Line| line.gtid("extra").unwrap_or_default();
    match word {
        "start" => Change::Start { primary: primary(&line.server()), reason },
        "begin" => {
            let fenced = line.take("fenced").map(|seen| FencedByHand { by: "ana".into(), seen });
            let kine = line.number("kine");
            let mut fill = BTreeSet::new();
            while let Some(server) = line.take("fill") {
                fill.insert(server.parse().unwrap());
            }
            let reason = match line.flag("by-itself") {
                true => Reason { by: "twofold".into(), ..reason },
                false => reason,
            };
            Change::Begin { candidate: primary(&line.server()), reason, fenced, kine, fill }
        }
        "drain" => Change::Drain { candidate: primary(&line.server()), reason },
        "handover" => Change::Handover { execution, candidate: primary(&line.server()) },
        "open" => Change::Open { execution },
        "abort" => Change::Abort { reason },
        "async" => Change::Async { reason },
        "catch-up" => {
            let mut ackers = BTreeSet::new();
            while let Some(word) = line.word_maybe() {
                ackers.insert(acker(&word));
            }
            Change::CatchUp { ackers }
        }
        "sync" => Change::Sync { gtid: GtidSet::empty() },
        "route" => Change::Route,
        "rejoin" => Change::Rejoin { server: line.server(), reason },
        "rebuild" => Change::Rebuild { server: line.server(), extra: extra(line), reason },
        "quarantine" => Change::Quarantine { server: line.server(), extra: extra(line), reason },
        "discard" => {
            let (server, extra) = (line.server(), extra(line));
            let life = ProcessStart(line.number("life").unwrap_or(1));
            Change::Discard { server, extra, life, reason }
        }
        "release" => Change::Release { server: line.server(), reason },
        other => line.fail(&format!("no such change {other:?}")),
    }
}

/// `done`, `fenced`, `attached=SERVER@LIFE`, `outwaited=MS`, `reached=GTID`, `failed=WHY`, `refused=WHY`, `unknown=WHY`.
fn outcome(line: &mut Line) -> Outcome {
    if line.flag("done") {
        return Outcome::done("ok");
    }
    if line.flag("fenced") {
        let by = "gate shut, process gone".into();
        return Outcome::Done { evidence: Evidence::Fenced { by } };
    }
    if let Some(text) = line.take("attached") {
        let Acker { server, uuid, process_start } = acker(&text);
        return Outcome::Done { evidence: Evidence::Attached { server, uuid, process_start } };
    }
    if let Some(waited_ms) = line.number("outwaited") {
        return Outcome::Done { evidence: Evidence::Outwaited { waited_ms } };
    }
    if let Some(gtid) = line.gtid("reached") {
        return Outcome::Done { evidence: Evidence::Reached { gtid } };
    }
    if let Some(why) = line.take("failed") {
        return Outcome::Failed { why };
    }
    if let Some(why) = line.take("refused") {
        return Outcome::Refused { why };
    }
    if let Some(why) = line.take("unknown") {
        return Outcome::Unknown { why };
    }
    line.fail("a step ends in some outcome")
}
