//! `testdata/entries-v1.jsonl`: one log entry of every kind, as form 1 writes it.
//!
//! Entries stay readable for ever: the unit test of `command.rs` reads the file back to the letter.
//! Here is where it comes from. A new kind of command is added to `samples` and written with
//! `UPDATE_GOLDEN=1`; a line that changes otherwise is a new form, not an update.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use failover_core::{
    Acker, Change, Command, FencedByHand, GroupSpec, Held, Leases, Maintenance, NewConfiguration,
    PeopleChange, Primary, Reason, ServerSpec, Terms, decode, encode,
};
use model::{Generation, GroupId, Incarnation, ProcessStart, Role, TokenId, Version, WallTime};
use runbooks_core::{Evidence, ExecutionId, Outcome, Performer, StepId};

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const AT: WallTime = WallTime(1_767_225_600_000);

fn group() -> GroupId {
    "shop".parse().unwrap()
}

fn reason() -> Reason {
    Reason {
        why: "database-dead".into(),
        by: "twofold".into(),
        evidence: vec!["guard of pdc-db sees no database process for 200 ms".into()],
    }
}

fn primary() -> Primary {
    Primary { server: "pdc-db".parse().unwrap(), uuid: A.parse().unwrap(), site: "pdc".parse().unwrap() }
}

fn changes() -> Vec<Change> {
    let server = || "mdc-db".parse().unwrap();
    let extra = || format!("{A}:51-52").parse().unwrap();
    let acker = Acker { server: server(), uuid: A.parse().unwrap(), process_start: ProcessStart(77) };
    vec![
        Change::Start { primary: primary(), reason: reason() },
        Change::Begin {
            candidate: primary(),
            reason: reason(),
            fenced: None,
            kine: None,
            fill: BTreeSet::new(),
        },
        Change::Drain { candidate: primary(), reason: reason() },
        Change::Handover { execution: ExecutionId(3), candidate: primary() },
        Change::Open { execution: ExecutionId(3) },
        Change::Abort { reason: reason() },
        Change::Async { reason: reason() },
        Change::CatchUp { ackers: BTreeSet::from([acker]) },
        Change::Sync { gtid: extra() },
        Change::Route,
        Change::Rejoin { server: server(), reason: reason() },
        Change::Rebuild { server: server(), extra: extra(), reason: reason() },
        Change::Quarantine { server: server(), extra: extra(), reason: reason() },
        Change::Discard { server: server(), extra: extra(), life: ProcessStart(77), reason: reason() },
        Change::Release { server: server(), reason: reason() },
    ]
}

fn outcomes() -> Vec<Outcome> {
    let done = |evidence| Outcome::Done { evidence };
    vec![
        done(Evidence::Fenced { by: "gate shut, process gone".into() }),
        done(Evidence::Outwaited { waited_ms: 1704 }),
        done(Evidence::Reached { gtid: format!("{A}:1-52:54").parse().unwrap() }),
        done(Evidence::Attached {
            server: "pdc-db".parse().unwrap(),
            uuid: A.parse().unwrap(),
            process_start: ProcessStart(77),
        }),
        done(Evidence::Note { text: "ok".into() }),
        Outcome::Refused { why: "a newer epoch".into() },
        Outcome::Failed { why: "no answer".into() },
        Outcome::Unknown { why: "the connection was lost".into() },
    ]
}

fn samples() -> Vec<Command> {
    let spec = ServerSpec { site: "pdc".parse().unwrap() };
    let servers = BTreeMap::from([("pdc-db".parse().unwrap(), spec)]);
    let groups = BTreeMap::from([(group(), GroupSpec { servers, leases: Leases::Timed })]);
    let mut all = vec![Command::Found { incarnation: Incarnation(1), groups }];
    let change = |change| Command::Change { group: group(), expect: Version(4), change, at: AT };
    all.extend(changes().into_iter().map(change));
    let (execution, step) = (ExecutionId(3), StepId::from("fence"));
    all.push(Command::StepStarted {
        group: group(),
        execution,
        step: step.clone(),
        by: Performer { node: "mdc-1".parse().unwrap(), term: 7 },
        at: AT,
    });
    all.extend(outcomes().into_iter().map(|outcome| Command::StepEnded {
        group: group(),
        execution,
        step: step.clone(),
        outcome,
        at: AT,
    }));
    let window = Maintenance { by: "ana".into(), reason: "a disk is changed".into(), since: AT, until: AT };
    all.extend([Some(window), None].map(|maintenance| Command::Maintain {
        group: group(),
        maintenance,
        by: "ana".into(),
        reason: None,
        at: AT,
    }));
    let spec = ServerSpec { site: "pdc".parse().unwrap() };
    let servers = BTreeMap::from([("pdc-db".parse().unwrap(), spec)]);
    all.extend([(None, None), (Some(Generation(2)), Some("it was better".to_owned()))].map(
        |(restores, why)| {
            let new = NewConfiguration {
                expect: Generation(4),
                text: "version: 1\n".into(),
                changes: vec!["~ names.shop.ttl: 1s -> 2s".into()],
                restores,
                groups: BTreeMap::from([(
                    group(),
                    GroupSpec { servers: servers.clone(), leases: Leases::Timed },
                )]),
                by: "ana".into(),
                why,
            };
            Command::Configure { new, at: AT }
        },
    ));
    let held = Held {
        diagnosis: "link-cut".into(),
        because: vec!["site mdc hears nothing of pdc-db".into()],
        holds: Some("no server may take over by itself".into()),
    };
    all.extend([Some(Held { holds: None, ..held.clone() }), Some(held), None].map(|held| Command::Hold {
        group: group(),
        held,
        at: AT,
    }));
    all.extend(people().into_iter().map(|change| Command::People { change, by: "ana".into(), at: AT }));
    let fenced = FencedByHand { by: "ana".into(), seen: "pdc is without power".into() };
    let endless = ServerSpec { site: "pdc".parse().unwrap() };
    let servers = BTreeMap::from([("pdc-db".parse().unwrap(), endless)]);
    let groups = BTreeMap::from([(group(), GroupSpec { servers, leases: Leases::Endless })]);
    let candidate = Change::Begin {
        candidate: primary(),
        reason: reason(),
        fenced: Some(fenced.clone()),
        kine: None,
        fill: BTreeSet::new(),
    };
    all.push(Command::Found { incarnation: Incarnation(1), groups });
    all.push(change(candidate));
    all.push(Command::Incarnate {
        incarnation: Incarnation(1).after(7),
        voters: vec!["mdc-1".into(), "mdc-2".into()],
        fenced,
        at: AT,
    });
    all.push(change(Change::Begin {
        candidate: primary(),
        reason: reason(),
        fenced: None,
        kine: Some(7),
        fill: BTreeSet::new(),
    }));
    all.push(change(Change::Begin {
        candidate: primary(),
        reason: reason(),
        fenced: None,
        kine: None,
        fill: BTreeSet::from(["mdc-db".parse().unwrap()]),
    }));
    all
}

fn people() -> Vec<PeopleChange> {
    let token: TokenId = "ci".parse().unwrap();
    let terms = Terms {
        role: Role::Operator,
        groups: BTreeSet::from([group()]),
        expires: WallTime(AT.0 + 86_400_000),
        break_glass: false,
    };
    let reason = || Some("the release pipeline".to_owned());
    vec![
        PeopleChange::Issue { token: token.clone(), hash: "0f".repeat(32), terms, reason: reason() },
        PeopleChange::Revoke { token: token.clone(), reason: None },
        PeopleChange::BreakGlass { token: token.clone(), what: "POST /v1/groups/shop/failover".into() },
        PeopleChange::Acknowledge { token, reason: reason() },
    ]
}

/// A new variant makes this stop to compile, so that nobody forgets its sample.
fn every_variant_has_a_sample(command: &Command) {
    match command {
        Command::Found { .. }
        | Command::Maintain { .. }
        | Command::Configure { .. }
        | Command::Incarnate { .. }
        | Command::Hold { .. }
        | Command::StepStarted { .. }
        | Command::StepEnded { .. } => {}
        Command::People { change, .. } => match change {
            PeopleChange::Issue { .. }
            | PeopleChange::Revoke { .. }
            | PeopleChange::BreakGlass { .. }
            | PeopleChange::Acknowledge { .. } => {}
        },
        Command::Change { change, .. } => match change {
            Change::Start { .. }
            | Change::Begin { .. }
            | Change::Drain { .. }
            | Change::Handover { .. }
            | Change::Open { .. }
            | Change::Abort { .. }
            | Change::Async { .. }
            | Change::CatchUp { .. }
            | Change::Sync { .. }
            | Change::Route
            | Change::Rejoin { .. }
            | Change::Rebuild { .. }
            | Change::Quarantine { .. }
            | Change::Discard { .. }
            | Change::Release { .. } => {}
        },
    }
}

/// Goal: what this build writes is what the checked-in sample says. Method: encode a list of one of
/// each, compare to the letter; and decode it again.
#[test]
fn entries_are_written_as_the_sample_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/entries-v1.jsonl");
    let mut written = String::new();
    for command in samples() {
        every_variant_has_a_sample(&command);
        let bytes = encode(&command);
        assert_eq!(decode(&bytes).as_ref(), Ok(&command));
        written.push_str(&String::from_utf8(bytes).unwrap());
        written.push('\n');
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        std::fs::write(&path, &written).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written, "UPDATE_GOLDEN=1 rewrites it");
}
