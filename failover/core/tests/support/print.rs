//! The one-line forms of everything that a script prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use failover_core::{
    Answer, Await, CallId, Change, Command, DatabaseAct, Durability, Effect, Event, Explanation, GateAct,
    GateReport, Grant, Group, GuardReport, Latch, Order, Perform, Process, Reason, Terms, Verified,
};
use model::Epoch;
use runbooks_core::{Evidence, Execution, ExecutionStatus, Next, Outcome, StepState};

use super::host::act_name;
use super::names;

/// `1.6s`, `300ms`: to the millisecond, since looks at a database take microseconds here.
pub fn short_time(d: Duration) -> String {
    if d.as_micros() >= u128::from(u64::MAX) {
        return "endless".into();
    }
    match (d.as_micros() + 500) / 1000 {
        ms if ms < 1000 => format!("{ms}ms"),
        ms => format!("{}s", ms as f64 / 1e3),
    }
}

fn reason(r: &Reason) -> String {
    let evidence =
        if r.evidence.is_empty() { String::new() } else { format!(" [{}]", r.evidence.join("; ")) };
    format!("{} by {}{evidence}", r.why, r.by)
}

fn because(r: Option<&Reason>) -> String {
    r.map_or(String::new(), |r| format!(": {}", reason(r)))
}

pub fn event(event: &Event) -> String {
    match event {
        Event::Founded { groups } => {
            let names: Vec<&str> = groups.iter().map(model::GroupId::as_str).collect();
            format!("founded {}", names.join(", "))
        }
        Event::Authority { from, to, version, primary, site, reason: r, .. } => {
            let from = from.map_or("nothing".into(), |(e, p)| format!("epoch {e} {p}"));
            let to = format!("epoch {} {}", to.0, to.1);
            format!("authority {from} -> {to}, {primary} in {site}, version {version}{}", because(r.as_ref()))
        }
        Event::Durability { from, to, reason: r, .. } => {
            format!("durability {from} -> {to}{}", because(r.as_ref()))
        }
        Event::Incarnated { from, incarnation, voters, fenced, .. } => {
            let voters = voters.join(", ");
            format!("incarnation {from} -> {incarnation} of {voters}, by {}: {}", fenced.by, fenced.seen)
        }
        Event::Configured { generation, changes, restores, by, why, .. } => {
            let restores = restores.map_or(String::new(), |g| format!(", generation {g} again"));
            let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            format!("configuration {generation} by {by}{restores}{why}: {}", changes.join("; "))
        }
        Event::Held { held, .. } => {
            let holds = held.holds.as_deref().unwrap_or("no move is asked for");
            format!("held still at {} ({}): {holds}", held.diagnosis, held.because.join("; "))
        }
        Event::HeldNoMore { .. } => "held no more".into(),
        Event::Maintenance { maintenance, by, .. } => match maintenance {
            Some(m) => format!("maintenance by {by} until {}: {}", m.until.0, m.reason),
            None => format!("maintenance ended by {by}"),
        },
        Event::Routed { site, epoch, .. } => format!("names follow {site}, epoch {epoch}"),
        Event::ExecutionStarted { execution, runbook, subject, .. } => {
            format!("execution {execution} started: {runbook} of {subject}")
        }
        Event::StepStarted { step, by, .. } => format!("step {step} started by {by}"),
        Event::StepEnded { step, outcome: o, .. } => format!("step {step} ended: {}", outcome(o)),
        Event::ExecutionEnded { execution, status: s, .. } => {
            format!("execution {execution} {}", status_of(s))
        }
        Event::Quarantined { server, reason: r, .. } => format!("quarantined {server}: {}", reason(r)),
        Event::Released { server, reason: r, .. } => format!("released {server}: {}", reason(r)),
        Event::TokenIssued { token, terms: t, by, reason, .. } => {
            format!("token {token} issued by {by}: {}{}", terms(t), said(reason.as_ref()))
        }
        Event::TokenRevoked { token, before, by, reason, .. } => {
            format!("token {token} revoked by {by}: was {}{}", terms(before), said(reason.as_ref()))
        }
        Event::BreakGlassUsed { token, what, by, .. } => {
            format!("BREAK-GLASS token {token} used by {by}: {what}")
        }
        Event::BreakGlassAcknowledged { token, before, by, reason, .. } => {
            let said = said(reason.as_ref());
            format!("{} uses of token {token} acknowledged by {by}, last {}{said}", before.uses, before.what)
        }
    }
}

fn terms(t: &Terms) -> String {
    let groups: Vec<&str> = t.groups.iter().map(model::GroupId::as_str).collect();
    let groups = if groups.is_empty() { "all groups".into() } else { groups.join(",") };
    let glass = if t.break_glass { ", breaks the glass" } else { "" };
    format!("{} of {groups} until {}{glass}", t.role, t.expires.0)
}

fn said(reason: Option<&String>) -> String {
    reason.map_or(String::new(), |r| format!(" ({r})"))
}

fn status_of(status: &ExecutionStatus) -> String {
    match status {
        ExecutionStatus::Running => "running".into(),
        ExecutionStatus::Succeeded => "succeeded".into(),
        ExecutionStatus::Failed { step, why } => format!("failed at {step}: {why}"),
        ExecutionStatus::Superseded => "superseded".into(),
    }
}

fn evidence(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Fenced { by } => format!("fenced ({by})"),
        Evidence::Outwaited { waited_ms } => format!("outwaited ({waited_ms} ms)"),
        Evidence::Reached { gtid } => format!("reached {}", names::set(gtid)),
        Evidence::Attached { server, process_start, .. } => format!("{server}@{process_start} acknowledges"),
        Evidence::Note { text } => text.clone(),
    }
}

pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { evidence: e } => format!("done, {}", evidence(e)),
        Outcome::Refused { why } => format!("refused, {why}"),
        Outcome::Failed { why } => format!("failed, {why}"),
        Outcome::Unknown { why } => format!("unknown, {why}"),
    }
}

pub fn change(change: &Change) -> String {
    let list = |ackers: &std::collections::BTreeSet<failover_core::Acker>| {
        ackers.iter().map(|a| format!("{}@{}", a.server, a.process_start)).collect::<Vec<_>>().join(" ")
    };
    match change {
        Change::Start { primary, reason: r } => format!("start {}: {}", primary.server, reason(r)),
        Change::Begin { candidate, reason: r, fenced, kine, fill } => {
            let word = fenced.as_ref().map_or(String::new(), |f| format!(", fenced by the word of {}", f.by));
            let beyond = kine.map_or(String::new(), |kine| format!(", beyond kine's {kine}"));
            let from: Vec<String> = fill.iter().map(|s| format!(", filled from {s}")).collect();
            format!("begin {}: {} by {}{word}{beyond}{}", candidate.server, r.why, r.by, from.concat())
        }
        Change::Drain { candidate, reason: r } => {
            format!("drain for {}: {} by {}", candidate.server, r.why, r.by)
        }
        Change::Handover { execution, candidate } => {
            format!("handover to {} for execution {execution}", candidate.server)
        }
        Change::Open { execution } => format!("open for execution {execution}"),
        Change::Abort { reason: r } => format!("abort: {}", reason(r)),
        Change::Async { reason: r } => format!("async: {}", reason(r)),
        Change::CatchUp { ackers } => format!("catch-up with {}", list(ackers)),
        Change::Sync { gtid } => format!("sync, sentinel in {}", names::set(gtid)),
        Change::Route => "route".into(),
        Change::Rejoin { server, reason: r } => format!("rejoin {server}: {}", reason(r)),
        Change::Rebuild { server, extra, reason: r } => {
            format!("rebuild {server}, extra {}: {}", names::set(extra), reason(r))
        }
        Change::Quarantine { server, extra, reason: r } => {
            format!("quarantine {server}, extra {}: {}", names::set(extra), reason(r))
        }
        Change::Discard { server, extra, reason: r, .. } => {
            format!("discard of {server}, extra {}: {}", names::set(extra), reason(r))
        }
        Change::Release { server, reason: r } => format!("release {server}: {}", reason(r)),
    }
}

pub fn command(command: &Command) -> String {
    match command {
        Command::Found { .. } => "found".into(),
        Command::Change { expect, change: c, .. } => format!("{} (expects version {expect})", change(c)),
        Command::Configure { new, .. } => format!("configuration (expects generation {})", new.expect),
        Command::Hold { held, .. } => format!("hold {}", held.as_ref().map_or("no more", |h| &h.diagnosis)),
        Command::Maintain { maintenance, .. } => format!("maintenance {}", maintenance.is_some()),
        Command::People { .. } => "people".into(),
        Command::StepStarted { step, .. } => format!("start of step {step}"),
        Command::Incarnate { incarnation, .. } => format!("incarnation {incarnation}"),
        Command::StepEnded { step, outcome: o, .. } => format!("end of step {step}: {}", outcome(o)),
    }
}

pub fn group(group: &Group) -> String {
    let mut out = String::new();
    let Some(a) = &group.authority else { return "not started\n".into() };
    let ackers: Vec<String> =
        a.acker_set.iter().map(|k| format!("{}@{}", k.server, k.process_start)).collect();
    let ackers = if ackers.is_empty() { "no ackers".into() } else { format!("ackers {}", ackers.join(" ")) };
    writeln!(
        out,
        "epoch {} {}, {} in {}, version {}; {} g{}, {ackers}",
        a.epoch, a.phase, a.primary.server, a.primary.site, a.version, a.durability, a.g
    )
    .unwrap();
    if let Some(r) = &group.revoked {
        writeln!(out, "last revoked: epoch {} of {}, {}", r.epoch, r.primary.server, r.durability).unwrap();
    }
    let route = group.route.as_ref().map_or("nowhere".into(), |r| format!("{}, epoch {}", r.site, r.epoch));
    writeln!(out, "names follow {route}").unwrap();
    for (epoch, r) in &group.epochs {
        let served = if r.served { "served" } else { "promised" };
        let ended = r.ended.map_or(String::new(), |d: Durability| format!(", revoked in {d}"));
        writeln!(out, "record: epoch {epoch} {served} by {}{ended}", r.primary.server).unwrap();
    }
    if let Some(e) = &group.execution {
        out.push_str(&execution(e));
    }
    for (server, r) in &group.returns {
        writeln!(out, "waits for a person: {server}, {} ({})", names::set(&r.extra), r.reason.why).unwrap();
    }
    out
}

fn execution(e: &Execution) -> String {
    let mut out = String::new();
    writeln!(out, "execution {}: {} of {}, {}", e.id, e.runbook.name, e.subject, status_of(&e.status))
        .unwrap();
    for record in &e.records {
        let state = match &record.state {
            StepState::Pending => continue,
            StepState::Started { by } => format!("started by {}", by.node),
            StepState::Done { evidence: ev } => format!("done, {}", evidence(ev)),
            StepState::Failed { why } => format!("failed, {why}"),
            StepState::Unknown { why } => format!("unknown, {why}"),
            StepState::Refused { why } => format!("refused, {why}"),
            StepState::Skipped { why } => format!("skipped, {why}"),
        };
        writeln!(out, "  {}: {state} (attempt {})", record.step, record.attempts).unwrap();
    }
    out
}

pub fn next(next: &Next) -> String {
    match next {
        Next::Run { step } => format!("run {step}"),
        Next::Verify { step } => format!("verify {step}"),
        Next::Wait { step } => format!("wait for {step}"),
        Next::Ended => "ended".into(),
    }
}

fn order(order: &Order) -> String {
    match order {
        Order::Fence { epoch } => format!("fence through epoch {epoch}"),
        Order::StopIo { no_source } => format!("stop IO, no source through epoch {no_source}"),
        Order::Drain { life: None } => "drain".into(),
        Order::Drain { life: Some(life) } => format!("drain what life {life} acknowledged"),
        Order::Gather { source, gtid } => format!("gather {} from {source}", names::set(gtid)),
        Order::Promote { epoch } => format!("promote for epoch {epoch}"),
        Order::SaveExtra { extra } => format!("save {}", names::set(extra)),
        Order::Rebuild { donor } => format!("rebuild from {donor}"),
        Order::Rejoin { source, acks: false } => format!("rejoin {source}"),
        Order::Rejoin { source, acks: true } => format!("rejoin {source}, acknowledging"),
    }
}

pub fn perform(perform: &Perform) -> String {
    match perform {
        Perform::Order(orders) => {
            let each: Vec<String> = orders.iter().map(|(s, o)| format!("{s}: {}", order(o))).collect();
            format!("order {}", each.join("; "))
        }
        Perform::FenceOrOutwait { server, epoch, wait_suffices } => {
            let wait = if *wait_suffices { "W suffices" } else { "only a confirmed fence will do" };
            format!("fence {server} through epoch {epoch}; {wait}")
        }
        Perform::Propose(c) => format!("propose {}", change(c)),
        Perform::Await(Await::Open { server, epoch }) => format!("await {server} open at epoch {epoch}"),
        Perform::Await(Await::Replica { server }) => format!("await {server} as a replica"),
        Perform::Await(Await::Drained { server, epoch }) => {
            format!("await {server} drained in epoch {epoch}")
        }
        Perform::Await(Await::CaughtUp { server, source }) => {
            format!("await {server} to have applied all of {source}")
        }
        Perform::Await(Await::Compared { server, source, epoch }) => {
            format!("compare {server} with {source}, fenced through epoch {epoch}")
        }
        Perform::Await(Await::Acker { server }) => format!("await {server} as an acker"),
        Perform::Nothing(e) => format!("nothing, {}", evidence(e)),
    }
}

pub fn verified(verified: &Verified) -> String {
    match verified {
        Verified::Done(e) => format!("done, {}", evidence(e)),
        Verified::NotDone(why) => format!("not done, {why}"),
    }
}

pub fn explanation(e: &Explanation, brief: bool) -> String {
    let mut out = String::new();
    writeln!(out, "{}", e.diagnosis.name()).unwrap();
    for line in &e.because {
        writeln!(out, "  because {line}").unwrap();
    }
    for c in e.candidates.iter().filter(|_| !brief) {
        let standing = match (c.automatic, c.possible) {
            (true, _) => "may take over by itself",
            (false, true) => "only by a person's word",
            (false, false) => "cannot take over",
        };
        let against =
            if c.against.is_empty() { String::new() } else { format!(": {}", c.against.join("; ")) };
        writeln!(out, "  {} {standing}{against}", c.server).unwrap();
    }
    if let Some(why) = &e.holds {
        writeln!(out, "  holds still: {why}").unwrap();
    }
    if let Some(act) = &e.act {
        writeln!(out, "  act: {} (expects version {})", change(&act.change), act.expect).unwrap();
    }
    out
}

pub fn answer(answer: &Answer) -> String {
    let grant = match &answer.grant {
        Grant::Held => "held".into(),
        Grant::No { why } => format!("not held ({why})"),
    };
    let authority = answer.authority.as_ref().map_or("no authority".into(), |a| {
        format!("epoch {} {} of {}, version {}", a.epoch, a.phase, a.primary.server, a.version)
    });
    let peers: Vec<String> = answer
        .peers
        .iter()
        .map(|p| {
            let reach = if p.reachable { "" } else { " unreachable" };
            let replica = if p.replica { "" } else { " no-replica" };
            format!("{} {}{reach}{replica}", p.server, names::set(&p.held))
        })
        .collect();
    let peers = if peers.is_empty() { String::new() } else { format!("; peers {}", peers.join(", ")) };
    format!("answer: {grant}; {authority}{peers}")
}

pub fn gate_act(act: GateAct) -> String {
    match act {
        GateAct::Shut => "gate shut".into(),
        GateAct::Open { epoch, left } => format!("gate open for epoch {epoch}, {}", short_time(left)),
    }
}

fn act(act: &DatabaseAct) -> String {
    let name = act_name(act);
    match act {
        DatabaseAct::ArmSource { count } => format!("{name} for {count}"),
        DatabaseAct::SetWritable { kine: Some(beyond), .. } => format!("{name} beyond kine's {beyond}"),
        DatabaseAct::ReplicaSemiSync { on } => format!("{name} {}", if *on { "on" } else { "off" }),
        DatabaseAct::Sentinel { epoch, g } => format!("{name} of epoch {epoch}, g{g}"),
        DatabaseAct::Gather { source, gtid } => format!("{name} {} from {source}", names::set(gtid)),
        DatabaseAct::SaveExtra { extra } => format!("{name} {}", names::set(extra)),
        DatabaseAct::Rebuild { donor } => format!("{name} from {donor}"),
        DatabaseAct::Rejoin { source, acks } => {
            format!("{name} from {source}, {}", if *acks { "acknowledging" } else { "silent" })
        }
        _ => name.into(),
    }
}

/// The first life of the cluster is not named.
fn incarnation(stamp: failover_core::Stamp) -> String {
    if stamp.incarnation.0 > 1 { format!("incarnation {} ", stamp.incarnation) } else { String::new() }
}

/// What changed in the latches.
fn latched(before: &Latch, after: &Latch) -> String {
    let mut parts = Vec::new();
    if before.seen != after.seen {
        let life = incarnation(after.seen);
        parts.push(format!("seen {life}version {} epoch {}", after.seen.version, after.seen.epoch));
    }
    if before.fenced_through != after.fenced_through {
        parts.push(format!("fenced through {}", after.fenced_through));
    }
    if before.no_source != after.no_source {
        parts.push(format!("no source through {}", after.no_source));
    }
    if before.opened != after.opened {
        let o = after.opened.as_ref().expect("an opening is never forgotten");
        let waits = if o.waits { ", clients may wait" } else { "" };
        parts.push(format!("opens life {} at epoch {}{waits}", o.life, o.epoch));
    }
    if before.opened_ended != after.opened_ended {
        parts.push(
            after.opened_ended.map_or("no end yet".into(), |e| format!("it ended {e:?}").to_lowercase()),
        );
    }
    if before.g != after.g {
        parts.push(format!("g {}", after.g));
    }
    if before.lease != after.lease {
        parts.push(after.lease.as_ref().map_or("no lease".into(), |l| format!("lease of epoch {}", l.epoch)));
    }
    if before.promoted != after.promoted {
        let with = after.promoted.as_ref().map(|set| format!("promoted with {}", names::set(set)));
        parts.push(with.unwrap_or_else(|| "no promotion".into()));
    }
    if parts.is_empty() { "nothing new".into() } else { parts.join(", ") }
}

pub fn effect(effect: &Effect, disk: Option<&Latch>, calls: &BTreeMap<CallId, &'static str>) -> String {
    match effect {
        Effect::Persist(latch) => {
            format!("persist {}", latched(&disk.cloned().unwrap_or_default(), latch))
        }
        Effect::Renew(r) => {
            let asks = r.epoch.map_or("reports only".into(), |e: Epoch| format!("asks for epoch {e}"));
            format!("renew, attempt {}: {asks}", r.nonce.0)
        }
        Effect::Gate(a) => gate_act(*a),
        Effect::Pass(None) => "servers that pass the gate: all".into(),
        Effect::Pass(Some(servers)) => {
            let names: Vec<&str> = servers.iter().map(model::ServerId::as_str).collect();
            format!("servers that pass the gate: {}", names.join(", "))
        }
        Effect::Act { act: a, .. } => format!("act {}", act(a)),
        Effect::Watchdog(a) => format!("watchdog: {a:?}").to_lowercase(),
        Effect::Kill(life) => format!("SIGKILL {life}"),
        Effect::Reply { call, reply } => {
            format!("reply to {}: {}", calls.get(call).unwrap_or(&"nobody"), outcome(reply))
        }
    }
}

pub fn marked(marked: Option<&failover_core::Marked>) -> String {
    match marked {
        None => "its opening is not marked".into(),
        Some(m) => {
            format!("marked at epoch {}, life {}: in {}", m.mark.epoch, m.mark.life, names::set(&m.covered))
        }
    }
}

pub fn status(r: &GuardReport, lease: Option<(Epoch, Duration)>) -> String {
    let mut out = String::new();
    let process = match r.process {
        Process::Unseen => "process unseen".into(),
        Process::Gone { .. } => "process gone".into(),
        Process::Running { start } => format!("process {start}"),
    };
    let gate = match r.gate {
        GateReport::Untouched => "gate untouched".into(),
        GateReport::Shut => "gate shut".into(),
        GateReport::Open { epoch, left_us } => {
            format!("gate open for epoch {epoch}, {}", short_time(Duration::from_micros(left_us)))
        }
        GateReport::Unknown => "gate unknown".into(),
        GateReport::None => "no gate".into(),
    };
    let lease = lease.map_or("no lease".into(), |(e, d)| format!("lease of epoch {e}, {}", short_time(d)));
    let open = r.open.map_or("not open".into(), |e| format!("open at epoch {e}"));
    writeln!(out, "{open}; {process}, {gate}, {lease}").unwrap();
    let l = &r.latch;
    writeln!(
        out,
        "latches: seen {}version {} epoch {}, fenced through {}, no source through {}, opened {}, g {}",
        incarnation(l.seen),
        l.seen.version,
        l.seen.epoch,
        l.fenced_through,
        l.no_source,
        l.opened,
        l.g
    )
    .unwrap();
    let mut facts = Vec::new();
    facts.extend(r.opened_ended.map(|e| format!("the opened life ended {e:?}").to_lowercase()));
    facts.extend(r.armed.map(|g| format!("armed g{g}")));
    facts.extend(r.proven.map(|g| format!("proven g{g}")));
    if r.waiting_us > 0 {
        facts.push(format!("waiting {}", short_time(Duration::from_micros(r.waiting_us))));
    }
    if r.absent_us > 0 {
        facts.push(format!("an acker absent {}", short_time(Duration::from_micros(r.absent_us))));
    }
    if let Some(disk) = r.disk.filter(|d| d.waiting_us > 0) {
        facts.push(format!("the disk waits {}", short_time(Duration::from_micros(disk.waiting_us))));
    }
    facts.extend(r.shut_because.as_ref().map(|why| format!("shut because {why}")));
    if !facts.is_empty() {
        writeln!(out, "{}", facts.join("; ")).unwrap();
    }
    out
}
