//! `decide`: what the leader would do now about each group, and why; also why it does nothing.
//!
//! It is a pure function of the replicated state, the leader's facts and the policy. Dwell needs no
//! memory: every fact carries its own age. At most one act for a group comes out of a call; the
//! caller proposes it and calls again when the state has changed.

mod accounts;
mod anew;
mod candidate;
mod diagnose;
mod disk;
mod durability;
mod exposure;
mod given_up;
mod held;
mod ordered;
mod planned;
mod receivers;
mod returning;
mod servers;
mod start;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Epoch, GroupId, ServerId, Timestamp, Version};

use crate::command::TWOFOLD;
use crate::{Change, Defect, Facts, FailoverMode, Group, GroupPolicy, Phase, Policy, Reason, State};

pub use candidate::Candidacy;
pub use diagnose::Diagnosis;
pub use exposure::{Exposure, exposure};
pub use given_up::{GivenUp, discard_of, release_of};
pub use held::Held;
pub use ordered::{LossStatement, fenced_by_hand, loss_of};
pub use planned::{Precondition, SwitchoverPlan, plan_switchover};
pub use servers::{ServerDiagnosis, ServerFinding};

/// A switchover is called off when the group has been drained for so long, whatever its steps do: no
/// writer waits longer for one that nobody drives.
const DRAINING_MAX: Duration = Duration::from_secs(8);

/// One thing to propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The version it was decided on.
    pub expect: Version,
    /// What.
    pub change: Change,
}

/// What was decided about one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What is the matter.
    pub diagnosis: Diagnosis,
    /// The inputs, as a person reads them.
    pub because: Vec<String>,
    /// What is to be done; none when it holds still.
    pub act: Option<Act>,
    /// Why it holds still though something is the matter.
    pub holds: Option<String>,
    /// Whether a failover would work now, server by server.
    pub candidates: Vec<Candidacy>,
    /// What is the matter with each server; it moves nothing.
    pub servers: Vec<ServerFinding>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// By group.
    pub groups: BTreeMap<GroupId, Explanation>,
}

/// Everything that a rule looks at.
struct View<'a> {
    id: &'a GroupId,
    group: &'a Group,
    facts: &'a Facts,
    policy: &'a Policy,
    own: &'a GroupPolicy,
    now: Timestamp,
}

/// Decides about every group. `now` is the leader's CLOCK_BOOTTIME.
#[must_use]
pub fn decide(state: &State, facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    let mut groups = BTreeMap::new();
    for (id, group) in &state.groups {
        let Some(own) = policy.groups.get(id) else { continue };
        let view = View { id, group, facts, policy, own, now };
        groups.insert(id.clone(), decide_group(&view));
    }
    Decision { groups }
}

/// The first rule that has something to do wins; the order is the order of goods: safety first,
/// then serving, then being able to lose a site again, then names and leftovers.
fn decide_group(view: &View) -> Explanation {
    let finding = diagnose::diagnose(view);
    let candidates = candidate::all(view);
    let mut out = Explanation {
        diagnosis: finding.diagnosis,
        because: finding.because,
        act: None,
        holds: None,
        candidates,
        servers: servers::findings(view),
    };
    let Some(authority) = &view.group.authority else {
        match start::start(view) {
            Ok(change) => out.act = Some(Act { expect: Version(0), change }),
            Err(why) => out.holds = Some(why),
        }
        return out;
    };
    let act = |change| Some(Act { expect: authority.version, change });
    if !authority.phase.grants() {
        let off = anew::begun(view, called_off(view).or_else(|| unfit(view)));
        match off.or_else(|| durability::weakened_while_moving(view, authority)) {
            Some(change) => out.act = act(change),
            None => out.holds = Some("the failover is under way".into()),
        }
        return out;
    }
    if finding.move_now {
        match move_away(view, (out.diagnosis, &out.because), &out.candidates) {
            Ok(change) => out.act = act(change),
            Err(why) => out.holds = Some(why),
        }
        if out.act.is_some() {
            return out;
        }
    }
    if authority.phase == Phase::Draining {
        out.act = durability::durability(view).or_else(|| undrained(view)).and_then(act);
        if out.act.is_none() && out.holds.is_none() {
            out.holds = Some("the switchover is under way".into());
        }
        return out;
    }
    if let Some(change) =
        durability::durability(view).or_else(|| route(view)).or_else(|| returning::returning(view))
    {
        out.act = act(change);
    }
    out
}

/// A switchover that cannot go on, or takes too long, is undone: the same primary serves the next epoch.
fn undrained(view: &View) -> Option<Change> {
    let why = match view.group.running() {
        None => called_off_because(view),
        Some(_) => {
            let drained_ms = view.facts.wall.0.saturating_sub(view.group.since.0);
            if drained_ms < i64::try_from(DRAINING_MAX.as_millis()).expect("seconds fit") {
                return None;
            }
            format!("the group was draining for {drained_ms} ms")
        }
    };
    Some(abort("switchover-called-off", why))
}

fn abort(why: &str, evidence: String) -> Change {
    Change::Abort { reason: Reason { why: why.into(), by: TWOFOLD.into(), evidence: vec![evidence] } }
}

fn called_off_because(view: &View) -> String {
    match view.group.execution.as_ref().map(|e| &e.status) {
        Some(runbooks_core::ExecutionStatus::Failed { step, why }) => format!("step {step} failed: {why}"),
        other => format!("no operation is under way ({other:?})"),
    }
}

/// A failover that cannot go on is called off: the old primary gets the epoch after the next.
fn called_off(view: &View) -> Option<Change> {
    if view.group.running().is_some() || never_called_off(view) {
        return None;
    }
    let name = view.group.execution.as_ref().map_or("failover", |e| e.runbook.name.as_str());
    Some(abort(&format!("{name}-called-off"), called_off_because(view)))
}

/// The candidate is looked at again before each step, with the eyes of before Begin: one that has turned unfit is
/// not waited for until the step's own patience ends, which for draining is ten minutes.
fn unfit(view: &View) -> Option<Change> {
    if never_called_off(view) {
        return None;
    }
    let name = &view.group.running()?.runbook.name;
    let why = candidate::turned(view);
    (!why.is_empty()).then(|| abort(&format!("{name}-called-off"), why.join("; ")))
}

/// Two of the rules that the simulator removes on purpose.
fn never_called_off(view: &View) -> bool {
    let never = [Defect::NeverCalledOff, Defect::CandidateUnchecked];
    never.into_iter().any(|d| view.policy.defects.has(d))
}

/// An automatic failover, if every condition for it holds.
fn move_away(
    view: &View,
    (diagnosis, because): (Diagnosis, &[String]),
    candidates: &[Candidacy],
) -> Result<Change, String> {
    if view.group.authority.as_ref().is_some_and(|a| !a.leases.is_timed()) {
        return Err("its lease does not run out: a person confirms the fence: twofold failover".into());
    }
    if view.own.failover == FailoverMode::Manual {
        return Err("the group's policy leaves failovers to a person: twofold failover".into());
    }
    let Some(best) = candidates.iter().find(|c| c.automatic) else {
        let reasons: Vec<String> =
            candidates.iter().map(|c| format!("{}: {}", c.server, c.against.join("; "))).collect();
        return Err(format!("no server may take over by itself ({})", reasons.join(" | ")));
    };
    let primary = candidate::as_primary(view, &best.server).ok_or("the candidate's identity is unknown")?;
    Ok(Change::Begin {
        candidate: primary,
        reason: Reason {
            why: diagnosis.name().into(),
            by: TWOFOLD.into(),
            evidence: because.iter().cloned().chain(kine_told(view)).collect(),
        },
        fenced: None,
        kine: kine(view),
        fill: candidate::fill(view, &best.server).0,
    })
}

/// The newest revision of K3s's objects that any server of the group was last heard to have, however long ago.
fn kine(view: &View) -> Option<u64> {
    kines(view).map(|(_, revision)| revision).max()
}

/// The same for the record, server by server.
fn kine_told(view: &View) -> Option<String> {
    let each: Vec<String> = kines(view).map(|(server, revision)| format!("{revision} on {server}")).collect();
    (!each.is_empty()).then(|| format!("newest revision of kine: {}", each.join(", ")))
}

fn kines<'a>(view: &'a View) -> impl Iterator<Item = (&'a ServerId, u64)> {
    view.group.servers.keys().filter_map(|server| Some((server, *view.facts.kine.get(server)?)))
}

/// Bound names of a group that is open but was routed elsewhere, or nowhere, and is not moving.
fn route(view: &View) -> Option<Change> {
    let authority = view.group.authority.as_ref()?;
    if authority.phase != Phase::Serving || view.group.running().is_some() {
        return None;
    }
    let routed = view.group.route.as_ref().map_or(Epoch(0), |r| r.epoch);
    let open = view.report(&authority.primary.server)?.open;
    (routed < authority.epoch && open == Some(authority.epoch)).then_some(Change::Route)
}

impl View<'_> {
    /// A server's report, if it is fresh.
    fn report(&self, server: &ServerId) -> Option<&crate::GuardReport> {
        self.facts.report(server, self.policy.timing.fresh(), self.now)
    }

    /// A server's reading, if report and reading are fresh.
    fn reading(&self, server: &ServerId) -> Option<&model::DatabaseReading> {
        self.report(server)?.fresh_reading(self.policy.timing.fresh())
    }
}
