//! Random logs through `apply`.

use failover_core::{Authority, Change, Command, Durability, Group, Phase, State, apply};
use model::Epoch;
use proptest::prelude::*;
use runbooks_core::Evidence;

use crate::config;
use crate::world::{COMMANDS, Op, authority, command, founded, group, ops};

/// The log that these ops write: each command is made for the state that it meets.
fn log(ops: &[Op]) -> (Vec<Command>, State) {
    let mut state = founded();
    let mut log = Vec::new();
    for (at, op) in (1..).zip(ops) {
        let command = command(&state, *op, at);
        log.push(command.clone());
        let _ = apply(&mut state, command);
    }
    (log, state)
}

fn round_trip(state: &State) -> State {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

/// What is never lowered, whatever happens.
fn nothing_goes_down(before: &Group, after: &Group) {
    assert!(after.next_execution >= before.next_execution);
    assert!(after.finished.len() <= 16 && after.epochs.len() <= 256, "what is remembered is bounded");
    let routed = |g: &Group| g.route.as_ref().map_or(Epoch(0), |r| r.epoch);
    assert!(routed(after) >= routed(before), "names never follow an older epoch");
    let Some(old) = &before.authority else { return };
    let new = after.authority.as_ref().expect("an authority is never taken back");
    assert!(new.epoch >= old.epoch && new.epoch.0 <= old.epoch.0 + 1, "epochs go up one by one");
    assert!(new.g >= old.g && new.incarnation >= old.incarnation);
    if new == old {
        return;
    }
    assert!(new.version > old.version, "every change raises the version");
}

/// What holds of every state.
fn is_sound(group: &Group) {
    let Some(a) = &group.authority else { return };
    assert_eq!(a.acker_set.is_empty(), matches!(a.durability, Durability::Async { .. }), "{a:?}");
    if !a.phase.grants() {
        let revoked = group.revoked.as_ref().expect("what was revoked is on record");
        let served = group.epochs.range(..a.epoch).rev().find(|(_, record)| record.served);
        assert_eq!(served.map(|(epoch, _)| *epoch), Some(revoked.epoch), "whoever wrote last is left");
        let again = revoked.epoch.next() != a.epoch;
        assert!(!again || revoked.durability == Durability::Sync && a.primary != revoked.primary);
        assert_eq!(revoked.durability, a.durability, "the durability at revocation counts");
        assert!(group.execution.is_some(), "somebody is at work, or its failure is on record");
        assert_eq!(group.epochs[&revoked.epoch].ended, Some(revoked.durability));
        assert!(!group.epochs[&a.epoch].served, "a promised epoch wrote nothing");
    } else {
        let in_own_site = |s| group.site_of(s) == Some(&a.primary.site);
        assert!(a.acker_set.iter().all(|k| !in_own_site(&k.server)), "ackers are of the other site");
        assert!(group.epochs[&a.epoch].served && group.epochs[&a.epoch].ended.is_none());
    }
    assert!(!group.returns.contains_key(&a.primary.server), "who waits for a person is no primary");
}

/// I4 and I5 as far as `apply` sees to them: how an epoch comes to serve.
fn opened_rightly(before: &Group, old: &Authority, new: &Authority) {
    let opened = new.phase == Phase::Serving && !old.phase.grants();
    if !opened {
        return;
    }
    let revoked = before.revoked.as_ref().expect("something was revoked");
    match new.durability {
        Durability::Async { .. } => {}
        Durability::CatchUp { .. } => {
            let attached = before.running().and_then(|e| e.done("await-acker"));
            assert!(matches!(attached, Some(Evidence::Attached { .. })), "whoever acknowledges is on record");
            assert_eq!((new.g, new.acker_set.len()), (old.g.next(), 1));
        }
        Durability::Sync => panic!("durability starts over"),
    }
    if new.epoch == old.epoch.next() {
        assert_eq!(new.primary, revoked.primary, "an abort gives it back");
        return;
    }
    assert_eq!((new.epoch, &new.primary), (old.epoch, &old.primary));
    let execution = before.running().expect("an Open belongs to an execution");
    assert_eq!(execution.epoch, new.epoch);
    for step in ["stop-ackers", "drain", "promote"] {
        assert!(execution.done(step).is_some(), "{step} was not done");
    }
    match execution.done("fence") {
        Some(Evidence::Fenced { .. }) => {}
        Some(Evidence::Outwaited { .. }) => assert_eq!(revoked.durability, Durability::Sync, "W alone"),
        other => panic!("opened on {other:?}"),
    }
}

/// Weakening and strengthening go their ways only.
fn durability_moves_rightly(old: &Authority, new: &Authority) {
    if new.durability == old.durability || new.epoch != old.epoch || new.phase != old.phase {
        return;
    }
    assert!(new.phase.grants());
    match (old.durability, new.durability) {
        (Durability::Async { .. }, Durability::CatchUp { .. }) => assert_eq!(new.g, old.g.next()),
        (Durability::CatchUp { .. }, Durability::Sync) => {
            assert_eq!((new.g, &new.acker_set), (old.g, &old.acker_set), "what was armed was proven");
        }
        (_, Durability::Async { .. }) => {}
        (from, to) => panic!("durability went from {from} to {to}"),
    }
}

proptest! {
    #![proptest_config(config())]

    /// Goal: I4, I5, I8 as rules of the log. Method: check every state against the one before.
    #[test]
    fn numbers_never_go_down_and_epochs_open_only_by_the_rule(ops in ops(COMMANDS, 120)) {
        let mut state = founded();
        for (at, op) in (1..).zip(&ops) {
            let before = state.clone();
            if apply(&mut state, command(&before, *op, at)).is_err() {
                assert_eq!(state, before, "a refusal changes nothing");
                continue;
            }
            let (old, new) = (group(&before), group(&state));
            nothing_goes_down(old, new);
            is_sound(new);
            if let (Some(old_authority), Some(new_authority)) = (&old.authority, &new.authority) {
                opened_rightly(old, old_authority, new_authority);
                durability_moves_rightly(old_authority, new_authority);
            }
        }
    }

    /// Goal: S5, and a snapshot is as good as the log. Method: replay the same log, once whole and once
    /// cut short anywhere and resumed from what a snapshot would hold.
    #[test]
    fn the_same_log_gives_the_same_state_also_from_a_snapshot(
        ops in ops(COMMANDS, 80),
        cut in any::<prop::sample::Index>(),
    ) {
        let (log, end) = log(&ops);
        let cut = cut.index(log.len());
        let mut whole = founded();
        let mut resumed = founded();
        for (index, command) in log.into_iter().enumerate() {
            if index == cut {
                resumed = round_trip(&resumed);
            }
            let first = apply(&mut whole, command.clone());
            let second = apply(&mut resumed, command);
            assert_eq!(first, second, "events and refusals are the same too");
            assert_eq!(round_trip(&whole), whole);
        }
        assert_eq!(&whole, &end);
        assert_eq!(&resumed, &end);
    }
}

/// Goal: the generator reaches what the properties speak of; else they would hold of nothing.
#[test]
fn random_logs_reach_every_phase_and_durability() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..400 {
        let ops = ops(COMMANDS, 120).new_tree(&mut runner).unwrap().current();
        let mut state = founded();
        for (at, op) in (1..).zip(&ops) {
            let command = command(&state, *op, at);
            let hands_over = matches!(&command, Command::Change { change: Change::Handover { .. }, .. });
            if apply(&mut state, command).is_ok() && hands_over {
                seen.insert("a handover".into());
            }
            seen.extend(authority(&state).map(|a| format!("{} {}", a.phase, a.durability)));
            if authority(&state).is_some_and(|a| a.epoch.0 >= 4) {
                seen.insert("a second failover".into());
            }
        }
    }
    let expected = [
        "a handover",
        "a second failover",
        "draining async",
        "draining catch-up",
        "draining sync",
        "promoting async",
        "promoting catch-up",
        "promoting sync",
        "revoked async",
        "revoked catch-up",
        "revoked sync",
        "serving async",
        "serving catch-up",
        "serving sync",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
