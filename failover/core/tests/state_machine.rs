//! The state machine of a group's authority as a table: phase × change → what becomes of it.
//!
//! The diagram above `Phase` is drawn from this. `-` is a refusal; its words are in `refusals.txt`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use failover_core::{
    Acker, Change, Command, Group, GroupSpec, Perform, Primary, Reason, ServerSpec, State, apply, perform,
};
use model::{GroupId, GtidSet, Incarnation, ProcessStart, ServerUuid, Version, WallTime};
use runbooks_core::{Evidence, ExecutionId, Outcome, Performer};

const AT: WallTime = WallTime(1);

fn group_id() -> GroupId {
    "shop".parse().unwrap()
}

fn uuid(letter: &str) -> ServerUuid {
    [8, 4, 4, 4, 12].map(|n| letter.repeat(n)).join("-").parse().unwrap()
}

fn primary(site: &str) -> Primary {
    let letter = if site == "pdc" { "a" } else { "b" };
    Primary { server: format!("{site}-db").parse().unwrap(), uuid: uuid(letter), site: site.parse().unwrap() }
}

fn reason() -> Reason {
    Reason { why: "test".into(), by: "test".into(), evidence: vec![] }
}

fn commit(state: &mut State, change: Change) -> bool {
    let group = group_id();
    let expect = authority_version(state);
    apply(state, Command::Change { group, expect, change, at: AT }).is_ok()
}

fn authority_version(state: &State) -> Version {
    state.groups[&group_id()].authority.as_ref().map_or(Version(0), |a| a.version)
}

fn execution(state: &State) -> ExecutionId {
    state.groups[&group_id()].execution.as_ref().map_or(ExecutionId(1), |e| e.id)
}

fn begin_step(state: &mut State, step: &str) -> bool {
    let (group, execution, step) = (group_id(), execution(state), step.into());
    let by = Performer { node: "mdc-1".parse().unwrap(), term: 1 };
    apply(state, Command::StepStarted { group, execution, step, by, at: AT }).is_ok()
}

fn end_step(state: &mut State, step: &str) -> bool {
    let evidence = Evidence::Fenced { by: "test".into() };
    let (group, execution, step) = (group_id(), execution(state), step.into());
    let outcome = Outcome::Done { evidence };
    apply(state, Command::StepEnded { group, execution, step, outcome, at: AT }).is_ok()
}

fn acker() -> Acker {
    Acker { server: "mdc-db".parse().unwrap(), uuid: uuid("b"), process_start: ProcessStart(1) }
}

/// The rows: a state for each phase and, where it matters, durability and progress.
fn rows() -> Vec<(&'static str, State)> {
    let mut rows = Vec::new();
    let mut state = State::default();
    let servers = ["pdc", "mdc"].map(|site| {
        let id = format!("{site}-db").parse().unwrap();
        (id, ServerSpec { site: site.parse().unwrap() })
    });
    let groups = BTreeMap::from([(
        group_id(),
        GroupSpec { servers: BTreeMap::from(servers), leases: failover_core::Leases::Timed },
    )]);
    apply(&mut state, Command::Found { incarnation: Incarnation(1), groups }).unwrap();
    rows.push(("not started", state.clone()));
    assert!(commit(&mut state, Change::Start { primary: primary("pdc"), reason: reason() }));
    rows.push(("serving, async", state.clone()));
    assert!(commit(&mut state, Change::CatchUp { ackers: BTreeSet::from([acker()]) }));
    rows.push(("serving, catch-up", state.clone()));
    assert!(commit(&mut state, Change::Sync { gtid: GtidSet::empty() }));
    rows.push(("serving, sync", state.clone()));
    let mut draining = state.clone();
    assert!(commit(&mut draining, Change::Drain { candidate: primary("mdc"), reason: reason() }));
    rows.push(("draining, sync", draining.clone()));
    for step in ["block", "catch-up"] {
        assert!(begin_step(&mut draining, step) && end_step(&mut draining, step));
    }
    rows.push(("draining, caught up", draining));
    assert!(commit(
        &mut state,
        Change::Begin {
            candidate: primary("mdc"),
            reason: reason(),
            fenced: None,
            kine: None,
            fill: BTreeSet::new()
        }
    ));
    rows.push(("revoked", state.clone()));
    for step in ["stop-ackers", "fence", "drain"] {
        assert!(begin_step(&mut state, step) && end_step(&mut state, step));
    }
    rows.push(("revoked, fenced", state.clone()));
    assert!(begin_step(&mut state, "promote"));
    rows.push(("promoting", state.clone()));
    assert!(end_step(&mut state, "promote"));
    rows.push(("promoting, done", state.clone()));
    rows
}

type Column = (&'static str, fn(&mut State) -> bool);

/// The columns: every change, and the one step that changes the phase.
fn columns() -> Vec<Column> {
    vec![
        ("start", |s| commit(s, Change::Start { primary: primary("pdc"), reason: reason() })),
        ("begin", |s| {
            commit(
                s,
                Change::Begin {
                    candidate: primary("mdc"),
                    reason: reason(),
                    fenced: None,
                    kine: None,
                    fill: BTreeSet::new(),
                },
            )
        }),
        ("drain", |s| commit(s, Change::Drain { candidate: primary("mdc"), reason: reason() })),
        ("handover", |s| {
            let execution = execution(s);
            commit(s, Change::Handover { execution, candidate: primary("mdc") })
        }),
        ("step promote", |s| begin_step(s, "promote")),
        ("open", |s| {
            let execution = execution(s);
            commit(s, Change::Open { execution })
        }),
        ("abort", |s| commit(s, Change::Abort { reason: reason() })),
        ("async", |s| commit(s, Change::Async { reason: reason() })),
        ("catch-up", |s| commit(s, Change::CatchUp { ackers: BTreeSet::from([acker()]) })),
        ("sync", |s| commit(s, Change::Sync { gtid: GtidSet::empty() })),
        ("route", |s| commit(s, Change::Route)),
        ("rejoin", |s| commit(s, Change::Rejoin { server: "mdc-db".parse().unwrap(), reason: reason() })),
        ("rebuild", |s| {
            let server = "mdc-db".parse().unwrap();
            commit(s, Change::Rebuild { server, extra: GtidSet::empty(), reason: reason() })
        }),
        ("quarantine", |s| {
            let server = "mdc-db".parse().unwrap();
            commit(s, Change::Quarantine { server, extra: GtidSet::empty(), reason: reason() })
        }),
        ("discard", |s| {
            let server = "mdc-db".parse().unwrap();
            commit(
                s,
                Change::Discard { server, extra: GtidSet::empty(), life: ProcessStart(1), reason: reason() },
            )
        }),
        ("release", |s| commit(s, Change::Release { server: "mdc-db".parse().unwrap(), reason: reason() })),
    ]
}

fn cell(before: &Group, after: &Group) -> String {
    let Some(new) = &after.authority else { return "taken".into() };
    let Some(old) = &before.authority else { return format!("{} at {}", new.phase, new.epoch) };
    let mut parts = Vec::new();
    if new.phase != old.phase {
        parts.push(new.phase.to_string());
    }
    if new.epoch != old.epoch {
        parts.push(format!("epoch +{}", new.epoch.0 - old.epoch.0));
    }
    if new.durability != old.durability {
        parts.push(new.durability.to_string());
    }
    if new.g != old.g {
        parts.push("g +1".into());
    }
    if after.execution != before.execution && after.running().is_some() && before.running().is_none() {
        parts.push("execution".into());
    }
    if parts.is_empty() { "taken".into() } else { parts.join(", ") }
}

fn table() -> String {
    let (rows, columns) = (rows(), columns());
    let mut out = String::new();
    for (name, state) in &rows {
        writeln!(out, "{name}").unwrap();
        for (change, run) in &columns {
            let mut after = state.clone();
            let taken = run(&mut after);
            assert!(taken || after == *state, "{name} × {change}: a refusal changes nothing");
            let group = group_id();
            let cell = if taken { cell(&state.groups[&group], &after.groups[&group]) } else { "-".into() };
            writeln!(out, "    {change:<14}{cell}").unwrap();
        }
    }
    out
}

/// Goal: the state machine is what the checked-in table says. Method: try every change in every phase.
#[test]
fn the_state_machine_is_what_its_table_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/phase-by-change.table");
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        std::fs::write(&path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), table, "UPDATE_GOLDEN=1 rewrites it");
}

/// Goal: an opening that is committed is not proposed a second time when its step is begun again,
/// because the leader that committed it died before it could tell. Method: the state after `Open`.
#[test]
fn a_step_that_is_in_place_has_nothing_left_to_do() {
    let (_, mut state) = rows().pop().unwrap();
    let todo = |state: &State| {
        let group = &state.groups[&group_id()];
        let execution = group.running().unwrap();
        perform(group, execution, &execution.step(&"open".into()).unwrap().action)
    };
    assert!(begin_step(&mut state, "open"));
    assert!(matches!(todo(&state), Perform::Propose(Change::Open { .. })));
    let id = execution(&state);
    assert!(commit(&mut state, Change::Open { execution: id }));
    assert!(matches!(todo(&state), Perform::Nothing(_)), "it would be refused, and the failover would fail");
}
