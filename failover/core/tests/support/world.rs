//! Everything that a script acts on, and the clock that all of it shares.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use failover_core::{
    Act, Answer, AsyncFailover, Authority, Command, Defects, Desk, FailoverMode, GroupPolicy, Policy,
    Promotion, State, Timing,
};
use model::{ServerId, Timestamp, Version, WallTime};

use super::host::Host;
use super::line::{Line, duration};
use super::names;
use super::scene::scene;

/// One script's world: a leader, the state, and a host for each server that has a guard.
pub struct World {
    pub now: Timestamp,
    pub state: State,
    /// Proposed, not applied yet.
    pub log: VecDeque<Command>,
    /// Every authority that ever stood, so that a late message can carry an old one.
    pub history: BTreeMap<Version, Authority>,
    pub desk: Desk,
    pub policy: Policy,
    /// The act of the last `decide` or `loss`.
    pub decided: Option<Act>,
    pub hosts: BTreeMap<ServerId, Host>,
    pub current: Option<ServerId>,
    /// Answers that are on their way.
    pub answers: BTreeMap<ServerId, Answer>,
    pub sequence: u64,
    pub calls: u64,
    pub hide_renewals: bool,
}

impl World {
    pub fn new() -> Self {
        let own = GroupPolicy {
            fence_max: Duration::ZERO,
            failover: FailoverMode::Automatic,
            async_failover: AsyncFailover::Refuse,
            prefer: None,
            privileged_accounts: BTreeSet::new(),
            promotion: Default::default(),
        };
        Self {
            // Late enough that any age in a script lies behind it.
            now: Timestamp(1_000_000_000),
            state: State::default(),
            log: VecDeque::new(),
            history: BTreeMap::new(),
            desk: Desk::new(Timing::METRO, BTreeMap::new(), Defects::NONE),
            policy: Policy {
                timing: Timing::METRO,
                groups: BTreeMap::from([(names::group(), own)]),
                sites: 3,
                alone: BTreeSet::new(),
                defects: Defects::NONE,
            },
            decided: None,
            hosts: BTreeMap::new(),
            current: None,
            answers: BTreeMap::new(),
            sequence: 0,
            calls: 0,
            hide_renewals: true,
        }
    }

    /// Does one command and returns what it prints. `at=+300ms` on any command moves the clock first.
    pub fn run(&mut self, place: String, text: &str) -> String {
        let mut line = Line::new(place, text);
        if let Some(at) = line.take("at") {
            let step = at.strip_prefix('+').and_then(duration);
            self.now = self.now + step.unwrap_or_else(|| line.fail("at=+DURATION"));
        }
        let mut out = String::new();
        match line.word().as_str() {
            "wait" => {
                let word = line.word();
                self.now = self.now + duration(&word).unwrap_or_else(|| line.fail("wait DURATION"));
            }
            "scene" => {
                let name = line.word();
                let commands = scene(&name).unwrap_or_else(|| line.fail("there is no such scene"));
                for command in commands {
                    self.run(format!("scene {name}: {command}"), command);
                }
            }
            "show-renewals" => self.hide_renewals = false,
            "policy" => self.set_policy(&mut line),
            "found" => self.found(&mut line, &mut out),
            "propose" => self.propose(&mut line, &mut out),
            "apply" => self.apply_all(&mut out),
            "commit" => self.commit(&mut line, &mut out),
            "try" => self.try_all(&mut out),
            "state" => self.print_state(&mut out),
            "next" => self.print_next(&mut line, &mut out),
            "perform" => self.print_perform(&mut line, &mut out),
            "verify" => self.print_verify(&mut line, &mut out),
            "report" => self.report(&mut line),
            "forget" => self.forget(&mut line),
            "vantage" => self.vantage(&mut line),
            "renewed" => self.renewed(&mut line, &mut out),
            "peers" => self.peers_told(&mut line, &mut out),
            "decide" => self.decide(&mut line, &mut out),
            "loss" => self.loss(&mut line, &mut out),
            "exposure" => self.exposure(&mut out),
            "discard" => self.discard(&mut line, &mut out),
            "release" => self.release(&mut line, &mut out),
            "plan" => self.plan(&mut line, &mut out),
            "await" => self.print_await(&mut line, &mut out),
            "desk" => self.desk(&mut line, &mut out),
            "guard" => self.guard(&mut line, &mut out),
            other => line.fail(&format!("no such command {other:?}")),
        }
        line.finish();
        names::short(&out)
    }

    fn set_policy(&mut self, line: &mut Line) {
        let own = self.policy.groups.get_mut(&names::group()).expect("the one group");
        match line.take("failover").as_deref() {
            Some("manual") => own.failover = FailoverMode::Manual,
            Some("automatic") => own.failover = FailoverMode::Automatic,
            _ => {}
        }
        match line.take("async").as_deref() {
            Some("allow") => own.async_failover = AsyncFailover::Allow,
            Some("refuse") => own.async_failover = AsyncFailover::Refuse,
            _ => {}
        }
        if let Some(account) = line.take("except") {
            own.privileged_accounts = BTreeSet::from([account]);
        }
        for text in line.all("promotion") {
            let (server, wanted) = text.split_once(':').unwrap_or_else(|| line.fail("promotion=SERVER:WORD"));
            let wanted = match wanted {
                "prefer" => Promotion::Prefer,
                "neutral" => Promotion::Neutral,
                "must-not" => Promotion::MustNot,
                other => line.fail(&format!("promotion={other}")),
            };
            own.promotion.insert(server.parse().unwrap(), wanted);
        }
        if let Some(site) = line.take("alone") {
            self.policy.alone = BTreeSet::from([site.parse().unwrap()]);
        }
        let own = self.policy.groups.get_mut(&names::group()).expect("the one group");
        if let Some(site) = line.take("prefer") {
            own.prefer = Some(site.parse().unwrap());
        }
    }

    /// The wall clock of the records.
    pub fn wall(&self) -> WallTime {
        WallTime(i64::try_from(self.now.0 / 1000).expect("scripts are short"))
    }

    /// The authority that stands.
    pub fn authority(&self) -> Option<&Authority> {
        self.state.groups.get(&names::group())?.authority.as_ref()
    }

    /// The authority that stands, or the one that stood at `version=N`; as if of another `incarnation=N`.
    pub fn authority_at(&self, line: &mut Line) -> Authority {
        let rival = line.number("incarnation").map(model::Incarnation);
        let found = match line.number("version") {
            Some(v) => self.history.get(&Version(v)).cloned(),
            None => self.authority().cloned(),
        };
        let found = found.unwrap_or_else(|| line.fail("there is no such authority"));
        Authority { incarnation: rival.unwrap_or(found.incarnation), ..found }
    }

    pub fn ago(&self, age: Option<Duration>) -> Timestamp {
        self.now - age.unwrap_or_default()
    }
}

/// One line of output.
pub fn say(out: &mut String, text: impl std::fmt::Display) {
    writeln!(out, "{text}").unwrap();
}
