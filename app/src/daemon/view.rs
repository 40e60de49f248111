//! What operators are shown: the state and the facts, as `app-api` has them.

use app_api::v1::{
    CandidateStatus, EventLine, ExecutionStatus, Explanation, ExposureStatus, FailoverStatus,
    FinishedExecution, GroupStatus, MaintenanceStatus, NodeStatus, PlannedStep, Precondition, ServerStatus,
    Status, StepStatus, SwitchoverPlan,
};
use app_link::{Endpoint, LinkView};
use failover_core::{Authority, Decision, Durability, Event, Facts, Group, Phase};
use model::{Flavour, GroupId, NodeId, ServerId, SiteId, Timestamp};
use runbooks_core::{Evidence, ExecutionStatus as Run, StepState};

mod server;

use super::configure;
use super::shared::Shared;
use super::tokens;
use crate::clock;

/// The screen. `quorum` says that a read index confirmed it just now.
pub fn status(shared: &Shared, quorum: bool) -> Status {
    let raft = shared.raft_status();
    let links = shared.links.view();
    let now = clock::now();
    let leader = raft.leader.and_then(|n| shared.settings().roster.node(n).cloned());
    let nodes = nodes(shared, leader.as_ref(), &links);
    let state = shared.state();
    let desk = shared.desk();
    let decision = shared.decision.lock().expect("no holder of this lock panics").clone();
    let groups = state
        .groups
        .iter()
        .map(|(id, g)| group(shared, id, g, desk.facts(), &decision, quorum, now))
        .collect();
    let trouble = trouble(shared, &raft, leader.is_some(), quorum).or_else(|| not_in_force(shared));
    Status {
        cluster: shared.start.cluster().to_string(),
        answered_by: shared.own.id.to_string(),
        at_ms: clock::wall().0,
        leader: leader.map(|l| l.to_string()),
        quorum,
        confirmed_ms: confirmed(shared, quorum, now),
        incarnation: shared.incarnation.0,
        log_end: (raft.last_term, raft.last_index),
        term: raft.term,
        applied: raft.applied,
        trouble,
        nodes,
        groups,
        break_glass: tokens::alarms(&state),
        break_glass_uses: state.people.break_glass_uses,
    }
}

/// Every node of the roster, also such as join or leave.
fn nodes(shared: &Shared, leader: Option<&NodeId>, links: &LinkView) -> Vec<NodeStatus> {
    let settings = shared.settings();
    let configured = configure::nodes(shared);
    let one = |node: &NodeId| {
        let own = *node == shared.own.id;
        let link = links.links.get(&Endpoint::Node(node.clone()));
        let config = configured.iter().find(|c| c.node == node.as_str());
        NodeStatus {
            name: node.to_string(),
            site: settings.roster.site(node).map(ToString::to_string).unwrap_or_default(),
            up: own || link.is_some_and(|l| l.reachable()),
            leader: leader == Some(node),
            via: link.filter(|l| !l.up).and_then(|l| l.relay.as_ref()).map(ToString::to_string),
            heard_ms: if own { Some(0) } else { link.and_then(|l| l.heard).map(ms) },
            member: config.map(|c| c.member.clone()).unwrap_or_default(),
            generation: config.and_then(|c| c.generation),
            drift: config.and_then(|c| c.file.clone()).filter(|file| file != "same"),
        }
    };
    let mut nodes: Vec<NodeStatus> = settings.roster.nodes().map(one).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn not_in_force(shared: &Shared) -> Option<String> {
    shared.not_in_force.lock().expect("no holder of this lock panics").clone()
}

/// Age of the state that is shown.
fn confirmed(shared: &Shared, quorum: bool, now: Timestamp) -> Option<u64> {
    if quorum { Some(0) } else { shared.answers.confirmed_ago(now).map(ms) }
}

fn trouble(shared: &Shared, raft: &failover_raft::RaftStatus, leader: bool, quorum: bool) -> Option<String> {
    if let Some(stopped) = &raft.stopped {
        return Some(format!("consensus has stopped on this node: {stopped:?}"));
    }
    let endless = |g: &Group| g.authority.as_ref().is_some_and(|a| !a.leases.is_timed());
    if !leader && shared.state().groups.values().any(endless) {
        return Some(
            "no leader is known: fewer than half of the voters can be reached, or an election is under way. The \
             primary writes on if its site lives; nothing can be moved. Bring voters back, or where they are lost \
             for good, fence them and see: twofold quorum force --help"
                .into(),
        );
    }
    if !leader {
        return Some(
            "no leader is known: fewer than half of the voters can be reached, or an election is under way. \
             Nothing fails over and, once leases run out, nothing is writable. Bring voters back"
                .into(),
        );
    }
    (!quorum).then(|| {
        "no quorum confirmed this view: it is this node's own and may be old. Bring voters back or ask another node"
            .into()
    })
}

fn ms(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn group(
    shared: &Shared,
    id: &GroupId,
    g: &Group,
    facts: &Facts,
    decision: &Decision,
    leads: bool,
    now: Timestamp,
) -> GroupStatus {
    let authority = g.authority.as_ref();
    let primary = authority.map(|a| &a.primary.server);
    let primary_facts = primary.and_then(|p| facts.servers.get(p));
    let fresh_within = shared.timing.fresh();
    let fresh = primary_facts.filter(|f| now.since(f.received) <= fresh_within);
    let open = fresh.is_some_and(|f| f.report.open.is_some() && f.report.open == authority.map(|a| a.epoch));
    let explained = decision.groups.get(id).filter(|_| leads);
    // The primary first: that is what a person looks for.
    let mut names: Vec<&ServerId> = g.servers.keys().collect();
    names.sort_by_key(|s| (primary != Some(*s), (*s).clone()));
    let policy = shared.policy();
    let own = policy.groups.get(id);
    let servers = names
        .into_iter()
        .map(|s| ServerStatus {
            promotion: own.and_then(|own| server::promotion(own.promotion(s))),
            diagnoses: server::diagnoses(explained, s),
            ..server::shown(g, s, facts, fresh_within, now)
        })
        .collect();
    let (mode, since) = match authority.map(|a| a.durability) {
        None => (None, None),
        Some(Durability::Sync) => (Some("sync"), None),
        Some(Durability::Async { since }) => (Some("async"), Some(since.0)),
        Some(Durability::CatchUp { since }) => (Some("catch-up"), Some(since.0)),
    };
    GroupStatus {
        name: id.to_string(),
        incarnation: authority.map_or(0, |a| a.incarnation.0),
        epoch: authority.map_or(0, |a| a.epoch.0),
        version: authority.map_or(0, |a| a.version.0),
        phase: authority.map_or("not-started".into(), |a| a.phase.to_string()),
        since_ms: g.since.0,
        active_site: authority.map(|a| a.primary.site.to_string()),
        primary: primary.map(ToString::to_string),
        open,
        shut_because: match fresh {
            Some(f) if !open => f.report.shut_because.clone(),
            None => primary.map(|p| format!("the guard of {p} is not heard")),
            _ => None,
        },
        lease_left_ms: fresh
            .map(|f| f.report.lease_us)
            .filter(|us| *us > 0 && *us < u64::MAX)
            .map(|us| us / 1_000),
        lease_endless: fresh.is_some_and(|f| f.report.lease_us == u64::MAX),
        durability: mode.map(str::to_owned),
        durability_since_ms: since,
        ackers: authority
            .map(|a| a.acker_set.iter().map(|x| x.server.to_string()).collect())
            .unwrap_or_default(),
        exposure: exposure(g, facts),
        except: except(shared, id),
        route: g.route.as_ref().map(|r| r.site.to_string()),
        names: shared.answers.names(id),
        servers,
        maintenance: g.maintained(clock::wall()).map(|m| MaintenanceStatus {
            by: m.by.clone(),
            reason: m.reason.clone(),
            until_ms: m.until.0,
        }),
        failover: failover(authority, explained),
        diagnosis: explained.map_or("unknown".into(), |e| e.diagnosis.name().to_owned()),
        because: explained.map(|e| e.because.clone()).unwrap_or_default(),
        holds: explained.and_then(|e| e.holds.clone()),
        execution: g.running().map(execution),
        finished: g
            .finished
            .iter()
            .rev()
            .map(|f| FinishedExecution {
                id: f.id.0,
                runbook: f.runbook.clone(),
                subject: f.subject.to_string(),
                reason: f.reason.clone(),
                status: run_status(&f.status),
                started_ms: f.started.0,
                ended_ms: f.ended.0,
            })
            .collect(),
    }
}

fn exposure(g: &Group, facts: &Facts) -> Option<ExposureStatus> {
    let told = failover_core::exposure(g, facts)?;
    let unprotected = told.since.map_or(0, |since| clock::wall().0 - since.0);
    Some(ExposureStatus {
        transactions: told.missing.map(|missing| missing.count()),
        unprotected_ms: u64::try_from(unprotected).unwrap_or(0),
        server: told.best.map(|server| server.to_string()),
    })
}

fn failover(authority: Option<&Authority>, explained: Option<&failover_core::Explanation>) -> FailoverStatus {
    let Some(explained) = explained else {
        let against = vec!["only the leader, confirmed by a quorum, can tell".to_owned()];
        return FailoverStatus { automatic: false, to: None, against };
    };
    if authority.is_none_or(|a| a.phase != Phase::Serving) {
        let against = vec!["the group is not serving: see its phase and execution".to_owned()];
        return FailoverStatus { automatic: false, to: None, against };
    }
    let best = explained.candidates.iter().max_by_key(|c| (c.automatic, c.possible));
    match best {
        Some(c) => FailoverStatus {
            automatic: c.automatic,
            to: Some(c.server.to_string()),
            against: c.against.clone(),
        },
        None => FailoverStatus {
            automatic: false,
            to: None,
            against: vec!["the other site has no server of this group".into()],
        },
    }
}

/// Whose acknowledged writes a failover in `Sync` may lose all the same (docs/design/0011).
pub fn except(shared: &Shared, id: &GroupId) -> Option<String> {
    let config = shared.config();
    let group = config.groups().get(id)?;
    match config.databases().get(&group.database)?.flavour {
        Flavour::Mysql => None,
        Flavour::Mariadb => {
            Some("those of sessions that were killed while they waited (MariaDB tells them OK)".into())
        }
    }
}

fn execution(e: &runbooks_core::Execution) -> ExecutionStatus {
    let steps = e
        .records
        .iter()
        .map(|r| {
            let (state, detail) = match &r.state {
                StepState::Pending => ("pending", None),
                StepState::Started { by } => ("started", Some(format!("by {} in term {}", by.node, by.term))),
                StepState::Done { evidence } => {
                    ("done", Some(evidence_text(evidence)).filter(|text| !text.is_empty()))
                }
                StepState::Failed { why } => ("failed", Some(why.clone())),
                StepState::Unknown { why } => ("unknown", Some(why.clone())),
                StepState::Refused { why } => ("refused", Some(why.clone())),
                StepState::Skipped { why } => ("skipped", Some(why.clone())),
            };
            StepStatus {
                name: r.step.to_string(),
                state: state.into(),
                detail,
                attempts: r.attempts,
                started_ms: r.started.map(|t| t.0),
                ended_ms: r.ended.map(|t| t.0),
            }
        })
        .collect();
    ExecutionStatus {
        id: e.id.0,
        runbook: e.runbook.name.clone(),
        subject: e.subject.to_string(),
        reason: e.reason.clone(),
        status: run_status(&e.status),
        started_ms: e.started.0,
        steps,
    }
}

fn evidence_text(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Fenced { by } => format!("fenced: {by}"),
        Evidence::Outwaited { waited_ms } => format!("lease outwaited: {waited_ms} ms"),
        Evidence::Reached { gtid } if gtid.is_empty() => String::new(),
        Evidence::Reached { gtid } => format!("reached {gtid}"),
        Evidence::Attached { server, process_start, .. } => {
            format!("{server} acknowledges, process {process_start}")
        }
        Evidence::Note { text } => text.clone(),
    }
}

/// A plan of a switchover, as it leaves the process.
pub fn plan(group: &str, to: &SiteId, epoch: u64, plan: &failover_core::SwitchoverPlan) -> SwitchoverPlan {
    let steps = plan.runbook.iter().flat_map(|r| &r.steps);
    SwitchoverPlan {
        group: group.to_owned(),
        from: plan.from.to_string(),
        to: to.to_string(),
        candidate: plan.candidate.as_ref().map(ToString::to_string),
        epoch,
        ready: plan.act.is_some(),
        preconditions: plan
            .preconditions
            .iter()
            .map(|p| Precondition {
                name: p.name.to_owned(),
                holds: p.holds,
                evidence: p.evidence.clone(),
                next: p.next.clone(),
            })
            .collect(),
        steps: steps
            .map(|s| PlannedStep {
                name: s.id.to_string(),
                needs: s.needs.iter().map(ToString::to_string).collect(),
                timeout_ms: s.timeout_ms,
                attempts: s.attempts,
            })
            .collect(),
        execution: None,
    }
}

fn run_status(status: &Run) -> String {
    match status {
        Run::Running => "running".into(),
        Run::Succeeded => "succeeded".into(),
        Run::Failed { step, why } => format!("failed at {step}: {why}"),
        Run::Superseded => "superseded".into(),
    }
}

/// Why a group did or did not fail over.
pub fn explain(shared: &Shared, id: &GroupId, quorum: bool) -> Option<Explanation> {
    let state = shared.state();
    let g = state.groups.get(id)?;
    let decision = shared.decision.lock().expect("no holder of this lock panics").clone();
    let now = clock::now();
    let raft = shared.raft_status();
    let group = group(shared, id, g, shared.desk().facts(), &decision, quorum, now);
    let explained = decision.groups.get(id).filter(|_| quorum);
    let candidates = explained
        .map(|e| {
            e.candidates
                .iter()
                .map(|c| CandidateStatus {
                    server: c.server.to_string(),
                    possible: c.possible,
                    automatic: c.automatic,
                    against: c.against.clone(),
                })
                .collect()
        })
        .unwrap_or_default();
    let events = shared.applied.borrow().events.clone();
    let events = events.iter().filter_map(|e| line(e, id)).collect();
    let act = explained.and_then(|e| e.act.as_ref()).map(|a| format!("{:?}", a.change));
    Some(Explanation {
        answered_by: shared.own.id.to_string(),
        quorum,
        confirmed_ms: confirmed(shared, quorum, now),
        trouble: trouble(shared, &raft, raft.leader.is_some(), quorum),
        group,
        candidates,
        act,
        events,
    })
}

/// An event of the group as a line.
fn line(event: &Event, id: &GroupId) -> Option<EventLine> {
    let at_ms = event.at()?.0;
    let (group, text) = match event {
        Event::Founded { .. }
        | Event::Configured { .. }
        | Event::TokenIssued { .. }
        | Event::TokenRevoked { .. }
        | Event::BreakGlassUsed { .. }
        | Event::BreakGlassAcknowledged { .. } => return None,
        // It is of every group.
        Event::Incarnated { from, incarnation, voters, fenced, .. } => (
            id,
            format!(
                "incarnation {from} → {incarnation} of {}, by the word of {}: {}",
                voters.join(", "),
                fenced.by,
                fenced.seen
            ),
        ),
        Event::Authority { group, from, to, primary, site, reason, .. } => {
            let from = from.map_or("nothing".into(), |(e, p)| format!("epoch {e} {p}"));
            let why = reason.as_ref().map_or(String::new(), |r| {
                format!(" because {} (by {}; {})", r.why, r.by, r.evidence.join("; "))
            });
            (group, format!("{from} → epoch {} {}: {primary} in {site}{why}", to.0, to.1))
        }
        Event::Durability { group, from, to, reason, .. } => {
            let why =
                reason.as_ref().map_or(String::new(), |r| format!(" because {}", r.evidence.join("; ")));
            (group, format!("durability {from} → {to}{why}"))
        }
        Event::Routed { group, site, epoch, .. } => (group, format!("names answer {site} (epoch {epoch})")),
        Event::Maintenance { group, maintenance: Some(m), by, .. } => {
            (group, format!("maintenance by {by} for {} min: {}", (m.until.0 - at_ms) / 60_000, m.reason))
        }
        Event::Maintenance { group, maintenance: None, by, reason, .. } => {
            let why = reason.as_ref().map_or(String::new(), |r| format!(": {r}"));
            (group, format!("maintenance ended by {by}{why}"))
        }
        Event::Held { group, held, .. } => {
            let why = held.holds.as_ref().map_or(String::new(), |why| format!("; it holds still: {why}"));
            (group, format!("{} ({}){why}", held.diagnosis, held.because.join("; ")))
        }
        Event::HeldNoMore { group, .. } => (group, "what it held still at is over".to_owned()),
        Event::ExecutionStarted { group, execution, runbook, subject, .. } => {
            (group, format!("execution {execution}: {runbook} of {subject} begins"))
        }
        Event::StepStarted { group, execution, step, by, .. } => {
            (group, format!("execution {execution}: {step} begins on {by}"))
        }
        Event::StepEnded { group, execution, step, outcome, .. } => {
            (group, format!("execution {execution}: {step} ends: {}", outcome_text(outcome)))
        }
        Event::ExecutionEnded { group, execution, status, .. } => {
            (group, format!("execution {execution}: {}", run_status(status)))
        }
        Event::Quarantined { group, server, reason, .. } => {
            (group, format!("{server} is quarantined: {}", reason.evidence.join("; ")))
        }
        Event::Released { group, server, reason, .. } => {
            (group, format!("{} ended the quarantine of {server}: {}", reason.by, reason.evidence.join("; ")))
        }
    };
    (group == id).then(|| EventLine { at_ms, name: event.name().into(), text })
}

fn outcome_text(outcome: &runbooks_core::Outcome) -> String {
    match outcome {
        runbooks_core::Outcome::Done { evidence } => match evidence_text(evidence).as_str() {
            "" => "done".into(),
            text => format!("done, {text}"),
        },
        runbooks_core::Outcome::Refused { why } => format!("refused, {why}"),
        runbooks_core::Outcome::Failed { why } => format!("failed, {why}"),
        runbooks_core::Outcome::Unknown { why } => format!("unknown, {why}"),
    }
}
