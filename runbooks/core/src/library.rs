//! The runbooks that twofold starts by itself, as values.

use std::collections::BTreeSet;

use model::{Epoch, GtidSet, ProcessStart, ServerId, ServerUuid, SiteId};

use crate::{Action, OnFailure, Runbook, Step, StepId};

/// Deadline of steps that only talk to one host, milliseconds: ten times what they take.
const SHORT_MS: u64 = 5_000;
/// Deadline of the fence: W and a few tries of FENCE fit in. After it the failover is called off.
const FENCE_MS: u64 = 10_000;
/// Attempts of the fence: it spans two lost leaders; then the group goes back to its old primary.
const FENCE_ATTEMPTS: u32 = 3;
/// Deadline of opening, which is only watched: reading and arming may take their time.
const WATCH_MS: u64 = 120_000;
/// Deadline of joining, which is only watched. A replica that was restarted before it ever connected
/// does not start by itself: it is told again.
const JOIN_MS: u64 = 10_000;
/// Deadline of one attempt of draining. A guard that is at it goes on, and the next attempt takes its
/// answer: a lost answer costs one attempt and not the whole wait.
const DRAIN_MS: u64 = 5_000;
/// Attempts of draining: ten minutes of lag. Received is not applied.
const DRAIN_ATTEMPTS: u32 = 120;
/// Attempts of gathering: what a replica lacks of what another one has received is little. After a minute the move is
/// called off, and another server may be chosen.
const GATHER_ATTEMPTS: u32 = 12;
/// Deadline of one attempt of copying, as for draining.
const COPY_MS: u64 = 15_000;
/// Attempts of rejoining after a copy: five minutes for the server to stop and start again.
const REJOIN_ATTEMPTS: u32 = 20;
/// Attempts of saving for a person to read, while other servers' return waits: two minutes.
const SAVE_ATTEMPTS: u32 = 8;
/// Attempts of copying: an hour.
const COPY_ATTEMPTS: u32 = 240;
/// Deadline of taking writes from everybody: writers wait meanwhile. After it the switchover is undone.
const BLOCK_MS: u64 = 3_500;
/// Deadline of applying what was written until then, from the same moment on.
const CATCH_UP_MS: u64 = 6_000;
/// Deadline of a fenced server's look at what it has, in one attempt; several span a lost leader.
const COMPARE_MS: u64 = 2_000;
const COMPARE_ATTEMPTS: u32 = 3;
/// Deadline of turning replication round: a server that was killed for want of a gentler fence starts
/// again within it.
const REVERSE_MS: u64 = 6_000;
/// Attempts of it; the wait for the acker beside it ends the matter.
const REVERSE_ATTEMPTS: u32 = 3;
/// Attempts of what is safe to undo: one that a lost leader left behind, and one more.
const TWICE: u32 = 2;
/// Attempts of a step whose act is idempotent: enough to span a lost leader or two.
const ATTEMPTS: u32 = 10;

fn step(id: &str, action: Action, needs: &[&str], timeout_ms: u64, attempts: u32) -> Step {
    Step {
        id: id.into(),
        action,
        needs: needs.iter().map(|n| StepId::from(*n)).collect(),
        timeout_ms,
        attempts,
        on_failure: OnFailure::Stop,
    }
}

/// Unplanned move: `old` held `revoked`; `candidate` takes the epoch after it. Where it is no acker itself, `fill` are
/// those that it takes what was acknowledged from.
#[must_use]
pub fn failover(
    old: &ServerId,
    revoked: Epoch,
    candidate: &ServerId,
    ackers: BTreeSet<ServerId>,
    fill: &BTreeSet<ServerId>,
) -> Runbook {
    let server = candidate.clone();
    let (filling, filled) = filling(candidate, fill);
    let mut steps = vec![
        step("stop-ackers", Action::StopAckers { servers: ackers, epoch: revoked }, &[], SHORT_MS, ATTEMPTS),
        step(
            "fence",
            Action::FenceOrOutwait { server: old.clone(), epoch: revoked },
            &[],
            FENCE_MS,
            FENCE_ATTEMPTS,
        ),
        step(
            "drain",
            Action::DrainRelay { server: server.clone() },
            &["stop-ackers"],
            DRAIN_MS,
            DRAIN_ATTEMPTS,
        ),
    ];
    steps.extend(filling);
    let needs: Vec<&str> =
        ["fence", "drain"].into_iter().chain(filled.iter().map(|id| id.0.as_str())).collect();
    steps.extend([
        step("promote", Action::Promote { server: server.clone() }, &needs, SHORT_MS, ATTEMPTS),
        step("open", Action::Open, &["promote"], SHORT_MS, ATTEMPTS),
        step("await-open", Action::AwaitOpen { server }, &["open"], WATCH_MS, ATTEMPTS),
        step("route", Action::Route, &["await-open"], SHORT_MS, ATTEMPTS),
    ]);
    Runbook { name: "failover".into(), steps }
}

/// For each of `fill`: it applies what it has received, and hands it on; one after the other. With it the steps that
/// a promotion waits for.
fn filling(candidate: &ServerId, fill: &BTreeSet<ServerId>) -> (Vec<Step>, Vec<StepId>) {
    let mut steps = Vec::new();
    let mut filled: Vec<StepId> = Vec::new();
    for source in fill {
        let settle = settle_step(source);
        let action = Action::DrainRelay { server: source.clone() };
        steps.push(step(&settle.0, action, &["stop-ackers"], DRAIN_MS, DRAIN_ATTEMPTS));
        let needs: Vec<&str> =
            ["drain", settle.0.as_str()].into_iter().chain(filled.iter().map(|id| id.0.as_str())).collect();
        let id = format!("gather-{source}");
        let action = Action::Gather { server: candidate.clone(), source: source.clone() };
        steps.push(step(&id, action, &needs, DRAIN_MS, GATHER_ATTEMPTS));
        filled.push(StepId(id));
    }
    (steps, filled)
}

/// The step in which a candidate's source applies all it has.
#[must_use]
pub fn settle_step(source: &ServerId) -> StepId {
    StepId(format!("settle-{source}"))
}

/// Who hands over to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The primary.
    pub old: ServerId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Who takes the epoch after it.
    pub candidate: ServerId,
    /// Identity of the candidate's data.
    pub uuid: ServerUuid,
    /// Where it is.
    pub site: SiteId,
    /// Whose acks count now, and the candidate.
    pub ackers: BTreeSet<ServerId>,
}

/// Planned move. Until the handover it is undone by opening the old primary again; behind it, as a
/// failover is. The old primary acknowledges to the new one before that takes writes.
#[must_use]
pub fn switchover(plan: &Handover) -> Runbook {
    let (old, new) = (|| plan.old.clone(), || plan.candidate.clone());
    let handover = Action::Handover { server: new(), uuid: plan.uuid.clone(), site: plan.site.clone() };
    let stop = Action::StopAckers { servers: plan.ackers.clone(), epoch: plan.epoch };
    let fence = Action::FenceOrOutwait { server: old(), epoch: plan.epoch };
    let reverse = step(
        "reverse",
        Action::Reverse { server: old() },
        &["fence", "stop-ackers"],
        REVERSE_MS,
        REVERSE_ATTEMPTS,
    );
    let steps = vec![
        step("block", Action::AwaitDrained { server: old() }, &[], BLOCK_MS, 1),
        step("catch-up", Action::AwaitCaughtUp { server: new(), source: old() }, &[], CATCH_UP_MS, 1),
        step("handover", handover, &["block", "catch-up"], SHORT_MS, TWICE),
        step("stop-ackers", stop, &["handover"], SHORT_MS, ATTEMPTS),
        step("fence", fence, &["handover"], FENCE_MS, FENCE_ATTEMPTS),
        step("drain", Action::DrainRelay { server: new() }, &["stop-ackers"], DRAIN_MS, DRAIN_ATTEMPTS),
        step(
            "compare",
            Action::Compare { server: new(), source: old() },
            &["fence", "drain"],
            COMPARE_MS,
            COMPARE_ATTEMPTS,
        ),
        step("promote", Action::Promote { server: new() }, &["fence", "drain"], SHORT_MS, ATTEMPTS),
        Step { on_failure: OnFailure::GoOn, ..reverse },
        step("await-acker", Action::AwaitAcker { server: old() }, &["fence", "stop-ackers"], REVERSE_MS, 1),
        step("open", Action::Open, &["compare", "promote", "await-acker"], SHORT_MS, ATTEMPTS),
        step("await-open", Action::AwaitOpen { server: new() }, &["open"], WATCH_MS, ATTEMPTS),
        step("route", Action::Route, &["await-open"], SHORT_MS, ATTEMPTS),
    ];
    Runbook { name: "switchover".into(), steps }
}

/// A server without anything extra comes back as a replica.
#[must_use]
pub fn rejoin(server: &ServerId) -> Runbook {
    let steps = vec![
        step("rejoin", Action::Rejoin { server: server.clone() }, &[], SHORT_MS, ATTEMPTS),
        step("await-replica", Action::AwaitReplica { server: server.clone() }, &["rejoin"], JOIN_MS, 3),
    ];
    Runbook { name: "rejoin".into(), steps }
}

/// What a server has and nobody else is saved, and the server is left as it is: a person decides.
#[must_use]
pub fn quarantine(server: &ServerId, extra: GtidSet) -> Runbook {
    let action = Action::SaveExtra { server: server.clone(), extra };
    let save = step("save-extra", action, &[], COPY_MS, SAVE_ATTEMPTS);
    Runbook { name: "quarantine".into(), steps: vec![Step { on_failure: OnFailure::GoOn, ..save }] }
}

/// A server whose extra transactions nobody was ever told of, or which a person gave up, is saved, cloned and rejoined.
#[must_use]
pub fn rebuild(server: &ServerId, extra: GtidSet, life: Option<ProcessStart>) -> Runbook {
    let s = || server.clone();
    let save = (!extra.is_empty())
        .then(|| step("save-extra", Action::SaveExtra { server: s(), extra }, &[], COPY_MS, COPY_ATTEMPTS));
    let saved: &[&str] = if save.is_some() { &["save-extra"] } else { &[] };
    let mut steps: Vec<Step> = save.into_iter().collect();
    steps.extend([
        step("rebuild", Action::Rebuild { server: s(), life }, saved, COPY_MS, COPY_ATTEMPTS),
        step("rejoin", Action::Rejoin { server: s() }, &["rebuild"], COPY_MS, REJOIN_ATTEMPTS),
        step("await-replica", Action::AwaitReplica { server: s() }, &["rejoin"], JOIN_MS, 3),
    ]);
    Runbook { name: "rebuild".into(), steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Execution, ExecutionId, ExecutionStatus, Next, Outcome, Performer, next};
    use model::WallTime;

    fn performer(node: &str, term: u64) -> Performer {
        Performer { node: node.parse().unwrap(), term }
    }

    fn execution() -> Execution {
        let runbook = failover(
            &"pdc-db".parse().unwrap(),
            Epoch(1),
            &"mdc-db".parse().unwrap(),
            BTreeSet::from(["mdc-db".parse().unwrap()]),
            &BTreeSet::new(),
        );
        let subject = "mdc-db".parse().unwrap();
        Execution::new(ExecutionId(1), runbook, Epoch(2), subject, "test".into(), WallTime(0))
    }

    /// Goal: the order of a failover. Method: always do the first thing offered and print it.
    #[test]
    fn a_failover_stops_ackers_and_fences_before_it_promotes_opens_and_routes() {
        let mut e = execution();
        let me = performer("mdc-1", 3);
        assert_eq!(next(&e, &me).len(), 2, "stop-ackers and fence run side by side");
        let mut order = Vec::new();
        while e.status == ExecutionStatus::Running {
            let Some(Next::Run { step }) = next(&e, &me).into_iter().find(|n| matches!(n, Next::Run { .. }))
            else {
                panic!("nothing to run: {:?}", next(&e, &me));
            };
            e.begin(&step, &me, WallTime(1)).unwrap();
            assert!(next(&e, &me).contains(&Next::Wait { step: step.clone() }));
            e.end(&step, Outcome::done("ok"), WallTime(2)).unwrap();
            order.push(step.0);
        }
        assert_eq!(order, ["stop-ackers", "fence", "drain", "promote", "open", "await-open", "route"]);
        assert_eq!(next(&e, &me), [Next::Ended]);
    }

    /// Goal: a candidate that is no acker has all that was acknowledged before it is promoted. Method: the steps, and
    /// what each needs, with two ackers to take from.
    #[test]
    fn a_candidate_beside_the_primary_gathers_from_every_acker_first() {
        let server = |name: &str| -> ServerId { name.parse().unwrap() };
        let fill = BTreeSet::from([server("mdc-db"), server("mdc-db-2")]);
        let ackers = fill.iter().cloned().chain([server("pdc-db-2")]).collect();
        let runbook = failover(&server("pdc-db"), Epoch(1), &server("pdc-db-2"), ackers, &fill);
        let lines: Vec<String> = runbook
            .steps
            .iter()
            .map(|s| {
                format!("{} < {}", s.id, s.needs.iter().map(|n| n.0.as_str()).collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "stop-ackers < ",
                "fence < ",
                "drain < stop-ackers",
                "settle-mdc-db < stop-ackers",
                "gather-mdc-db < drain settle-mdc-db",
                "settle-mdc-db-2 < stop-ackers",
                "gather-mdc-db-2 < drain settle-mdc-db-2 gather-mdc-db",
                "promote < fence drain gather-mdc-db gather-mdc-db-2",
                "open < promote",
                "await-open < open",
                "route < await-open",
            ]
        );
    }

    #[test]
    fn an_orphaned_intent_is_verified_and_a_refusal_ends_the_execution() {
        let mut e = execution();
        let (old, new) = (performer("pdc-1", 3), performer("mdc-1", 4));
        let stop = StepId::from("stop-ackers");
        e.begin(&stop, &old, WallTime(1)).unwrap();
        assert!(next(&e, &new).contains(&Next::Verify { step: stop.clone() }));
        assert!(e.begin(&stop, &old, WallTime(1)).is_err(), "its own attempt is under way");
        e.end(&stop, Outcome::Failed { why: "verified: not done".into() }, WallTime(2)).unwrap();
        assert!(next(&e, &new).contains(&Next::Run { step: stop.clone() }));
        let promote = StepId::from("promote");
        assert!(e.begin(&promote, &new, WallTime(3)).is_err(), "its needs are not met");
        e.begin(&stop, &new, WallTime(3)).unwrap();
        e.end(&stop, Outcome::Refused { why: "newer epoch".into() }, WallTime(4)).unwrap();
        assert!(matches!(e.status, ExecutionStatus::Failed { .. }));
        assert!(e.begin(&stop, &new, WallTime(5)).is_err(), "it is over");
    }
}
