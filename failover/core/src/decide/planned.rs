//! A switchover that a person asks for: every precondition with its evidence, and the act that begins it.

use model::{GroupId, ServerId, SiteId, Timestamp};
use runbooks_core::{Handover, Runbook, switchover};

use super::{Act, View, candidate};
use crate::apply::unacknowledged;
use crate::{Authority, Change, Durability, Facts, FailoverMode, Phase, Policy, Reason, State};

/// A candidate that has more than this to apply would keep writers waiting: at a thousand transactions
/// a second it is behind by a second.
const UNAPPLIED_MAX: u64 = 1_000;

/// One thing that must be so before a switchover begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// Stable name.
    pub name: &'static str,
    /// It is so.
    pub holds: bool,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What to do where it is not so.
    pub next: Option<String>,
}

/// What a switchover would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchoverPlan {
    /// The primary now.
    pub from: ServerId,
    /// Who would take over; none when the site has nobody who could.
    pub candidate: Option<ServerId>,
    /// Everything that must be so.
    pub preconditions: Vec<Precondition>,
    /// The steps.
    pub runbook: Option<Runbook>,
    /// What begins it; none unless every precondition holds.
    pub act: Option<Act>,
}

impl SwitchoverPlan {
    /// The preconditions that do not hold.
    pub fn broken(&self) -> impl Iterator<Item = &Precondition> {
        self.preconditions.iter().filter(|p| !p.holds)
    }
}

/// Plans moving `group` to `site`, on what is known now.
///
/// # Errors
/// When there is nothing to plan: no such group or site, not started, active there already.
pub fn plan_switchover(
    state: &State,
    facts: &Facts,
    policy: &Policy,
    id: &GroupId,
    to: &SiteId,
    by: &str,
    now: Timestamp,
) -> Result<SwitchoverPlan, String> {
    let group = state.groups.get(id).ok_or_else(|| format!("there is no group {:?}", id.as_str()))?;
    let own = policy.groups.get(id).ok_or_else(|| format!("group {:?} has no policy", id.as_str()))?;
    let view = View { id, group, facts, policy, own, now };
    let authority = group.authority.as_ref().ok_or("the group has not been started")?;
    let standings = candidate::all(&view);
    let best = candidate::best_in(&view, &standings, to)?;
    let server = &best.server;
    let preconditions = vec![
        serving(&view, authority),
        alone(&view),
        able(&view, server),
        durable(&view, authority),
        caught_up(&view, authority, server),
        no_long_transaction(&view, authority),
        way_back(&view, authority),
    ];
    let all = preconditions.iter().all(|p| p.holds);
    let taker = candidate::as_primary(&view, server);
    let runbook = taker.as_ref().map(|c| {
        let ackers = authority.acker_set.iter().map(|a| a.server.clone()).chain([server.clone()]).collect();
        let planned = switchover(&Handover {
            old: authority.primary.server.clone(),
            epoch: authority.epoch,
            candidate: server.clone(),
            uuid: c.uuid.clone(),
            site: c.site.clone(),
            ackers,
        });
        let acknowledged = group.leases.is_timed() && c.site != authority.primary.site;
        if acknowledged { planned } else { unacknowledged(planned) }
    });
    let evidence = preconditions.iter().map(|p| format!("{}: {}", p.name, p.evidence.join("; "))).collect();
    let reason = Reason { why: "operator-switchover".into(), by: by.to_owned(), evidence };
    let act = taker
        .filter(|_| all)
        .map(|candidate| Act { expect: authority.version, change: Change::Drain { candidate, reason } });
    Ok(SwitchoverPlan {
        from: authority.primary.server.clone(),
        candidate: Some(server.clone()),
        preconditions,
        runbook,
        act,
    })
}

fn is_so(name: &'static str, holds: bool, evidence: Vec<String>, next: &str) -> Precondition {
    let next = (!holds).then(|| next.to_owned());
    Precondition { name, holds, evidence, next }
}

fn serving(view: &View, authority: &Authority) -> Precondition {
    let primary = &authority.primary.server;
    let open = view.report(primary).is_some_and(|r| r.open == Some(authority.epoch));
    let text = match view.report(primary) {
        None => format!("the guard of {primary} is not heard"),
        Some(r) if r.open == Some(authority.epoch) => {
            format!("{primary} is open at epoch {}", authority.epoch)
        }
        Some(r) => {
            format!("{primary} is shut: {}", r.shut_because.as_deref().unwrap_or("it does not say why"))
        }
    };
    let phase = format!("the group is {}", authority.phase);
    let holds = open && authority.phase == Phase::Serving;
    is_so("serving", holds, vec![phase, text], "a group that does not serve is moved by: twofold failover")
}

fn alone(view: &View) -> Precondition {
    match view.group.running() {
        Some(e) => {
            let text = format!("{} {} is under way", e.runbook.name, e.id);
            is_so("no-other-operation", false, vec![text], "wait for its end: twofold status --watch")
        }
        None => is_so("no-other-operation", true, vec!["nothing is under way".into()], ""),
    }
}

/// Nothing stands against the server itself, and both threads run.
fn able(view: &View, server: &ServerId) -> Precondition {
    let mut against = candidate::against(view, server);
    let replica = view.reading(server).and_then(|r| r.replica.as_ref());
    if let Some(r) = replica {
        use model::ReplicaThread::Running;
        if r.io != Running || r.sql != Running {
            let error = [&r.io_error, &r.sql_error].into_iter().find(|e| !e.is_empty());
            let why = error.map_or(String::new(), |e| format!(": {e}"));
            against.push(format!("{server} does not receive and apply{why}"));
        }
    }
    let holds = against.is_empty();
    if holds {
        against.push(format!("{server} receives and applies, and nothing stands against it"));
    }
    is_so("candidate", holds, against, "see what a promotion would need: twofold explain group")
}

fn durable(view: &View, authority: &Authority) -> Precondition {
    let manual = view.own.failover == FailoverMode::Manual;
    let holds = match authority.durability {
        Durability::Sync => true,
        // Two sites without a witness are never in `Sync`: drained and compared it loses nothing either.
        Durability::Async { .. } => manual,
        Durability::CatchUp { .. } => false,
    };
    let ackers: Vec<String> = authority.acker_set.iter().map(|a| a.server.to_string()).collect();
    let text = match ackers.as_slice() {
        [] => format!("{}, nobody acknowledges", authority.durability),
        some => format!("{}, {} acknowledges", authority.durability, some.join(" and ")),
    };
    is_so("durability", holds, vec![text], "wait until it is sync: twofold status shows what keeps it")
}

fn caught_up(view: &View, authority: &Authority, server: &ServerId) -> Precondition {
    const NEXT: &str = "wait until it has caught up, or find out why it applies slowly";
    let (Some(primary), Some(mine)) = (view.reading(&authority.primary.server), view.reading(server)) else {
        let text = "one of the two servers has not been read lately".to_owned();
        return is_so("caught-up", false, vec![text], NEXT);
    };
    let unapplied = primary.gtid_executed.subtract(&mine.gtid_executed).count();
    let text = format!("{server} has {unapplied} transactions to apply, {UNAPPLIED_MAX} are let pass");
    is_so("caught-up", unapplied <= UNAPPLIED_MAX, vec![text], NEXT)
}

fn no_long_transaction(view: &View, authority: &Authority) -> Precondition {
    let primary = &authority.primary.server;
    let long = view.reading(primary).map_or(&[][..], |r| &r.long_transactions);
    let evidence = match long {
        [] => vec![format!("no transaction on {primary} has been open for long")],
        some => some.iter().map(ToString::to_string).collect(),
    };
    let kills: Vec<String> = long.iter().map(|t| format!("KILL {}", t.session)).collect();
    let next =
        format!("they would be lost, and writers wait for them: wait, or on {primary}: {}", kills.join("; "));
    is_so("no-long-transaction", long.is_empty(), evidence, &next)
}

/// The primary can become an acker of its successor.
fn way_back(view: &View, authority: &Authority) -> Precondition {
    let primary = &authority.primary.server;
    let Some(reading) = view.reading(primary) else {
        let text = format!("{primary} has not been read lately");
        return is_so("way-back", false, vec![text], "see: twofold status");
    };
    let mut weak = candidate::weak_settings(reading);
    let holds = weak.is_empty();
    if holds {
        weak.push(format!("the settings of {primary} let it acknowledge as a replica"));
    }
    is_so("way-back", holds, weak, "set them in its option file, and restart it as a replica")
}
