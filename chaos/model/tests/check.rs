//! The authority protocol holds in every reachable state within the small bounds, and no rule of it can be
//! taken out unnoticed.
//!
//! Method: stateright walks the model breadth first; for a mutant it stops at the first invariant broken,
//! which must be the one that the rule protects.
#![allow(clippy::unwrap_used)]

use chaos_model::{Bounds, Invariant, Limits, Mutant, Protocol, check};

/// Goal: I1–I5, I8 and no lost write hold, and moves of every kind are reachable, so they do not hold of
/// nothing. Method: all states.
#[test]
fn every_state_within_the_small_bounds_keeps_every_invariant() {
    let protocol = Protocol::new(Bounds::SMALL, &[]);
    let finding = check(protocol, &Limits { threads: 2, generated_max: None, time_max: None });
    println!("{} states, depth {}, {:?}", finding.states, finding.depth, finding.took);
    assert!(finding.broken.is_empty(), "{:#?}", finding.broken);
    assert!(finding.unseen.is_empty(), "never reached: {:?}", finding.unseen);
    assert!(finding.whole);
}

/// How far a mutant has to be followed before it is missed.
const NEAR: Bounds = Bounds { epochs: 2, transactions: 1, armings: 1, faults: 1 };
const NO_FAULT: Bounds = Bounds { faults: 0, ..NEAR };
const ONE_EPOCH: Bounds = Bounds { epochs: 1, armings: 2, ..NEAR };
const THREE_EPOCHS: Bounds = Bounds { epochs: 3, faults: 0, ..NEAR };

/// A mutant, the bounds to look within, what it breaks first, and what stands behind that: broken too when the
/// first is not looked at.
type Row = (Mutant, Bounds, Invariant, &'static [Invariant]);

const ROWS: &[Row] = &[
    (Mutant::NoCompareAndSet, ONE_EPOCH, Invariant::I3, &[]),
    (Mutant::AckersNotStopped, NO_FAULT, Invariant::I4, &[]),
    (Mutant::NoWait, NO_FAULT, Invariant::I4, &[]),
    (Mutant::WaitAlone, NEAR, Invariant::I4, &[Invariant::I1]),
    (Mutant::FenceDoesNotLatch, NO_FAULT, Invariant::I4, &[Invariant::Lost, Invariant::I1]),
    (Mutant::ReportTakenForFence, NEAR, Invariant::I4, &[Invariant::Lost, Invariant::I1]),
    (Mutant::WeakensBeforeCommit, NO_FAULT, Invariant::I3, &[Invariant::I5]),
    (Mutant::SyncBeforeSentinel, NO_FAULT, Invariant::I3, &[Invariant::I5]),
    (Mutant::NoSourceNotLatched, NO_FAULT, Invariant::I4, &[]),
    (Mutant::LateGateAdd, NEAR, Invariant::Lost, &[Invariant::I1]),
    (Mutant::OlderAccepted, NEAR, Invariant::I8, &[]),
    (Mutant::AckerRestartUnnoticed, NEAR, Invariant::I5, &[]),
    (Mutant::RestartAfterBeginUnnoticed, NEAR, Invariant::I5, &[]),
    (Mutant::RelayNotDrained, NO_FAULT, Invariant::I5, &[]),
    (Mutant::ErrantCandidate, NO_FAULT, Invariant::I5, &[]),
    (Mutant::OpensUnarmed, NEAR, Invariant::I3, &[]),
    (Mutant::OpensUncovered, NEAR, Invariant::I3, &[]),
    (Mutant::OpensInCatchUp, NEAR, Invariant::I3, &[Invariant::I5]),
    (Mutant::OpensWhileDraining, NEAR, Invariant::I5, &[]),
    (Mutant::AbortWithoutFence, THREE_EPOCHS, Invariant::I4, &[]),
    (Mutant::BootsWritable, NEAR, Invariant::I3, &[]),
    (Mutant::StopsGracefully, NEAR, Invariant::I3, &[]),
];

/// Far above what any row takes; a mutant that nobody misses shall not walk for ever.
const GENERATED_MAX: usize = 20_000_000;

fn first_broken(mutants: &[Mutant], bounds: Bounds, unseen: Vec<Invariant>) -> Vec<Invariant> {
    let mut protocol = Protocol::new(bounds, mutants);
    protocol.unseen = unseen;
    let limits = Limits { threads: 1, generated_max: Some(GENERATED_MAX), time_max: None };
    let finding = check(protocol, &limits);
    let steps = finding.broken.first().map_or(0, |b| b.actions.len());
    let broken: Vec<Invariant> = finding.broken.iter().map(|b| b.invariant).collect();
    println!("{mutants:?}: {broken:?} in {steps} steps, {} states, {:?}", finding.states, finding.took);
    broken
}

/// Goal: no rule can be taken out without an invariant being broken, and by name the one that it protects.
/// Method: each alone; then the same again without looking at what broke first.
#[test]
fn every_rule_that_is_taken_out_is_missed() {
    let mut wrong = Vec::new();
    for (mutant, bounds, first, behind) in ROWS {
        let mut unseen = vec![];
        for expected in std::iter::once(first).chain(*behind) {
            let broken = first_broken(&[*mutant], *bounds, unseen.clone());
            if !broken.contains(expected) {
                wrong.push(format!("{mutant} without {unseen:?}: {broken:?}, not {expected}"));
            }
            unseen.extend(broken);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Goal: it is known which rules another one stands behind, and that it is that one. Method: either alone is
/// not missed, but for I8 itself; both together are.
#[test]
fn where_two_rules_stand_behind_each_other_both_must_go() {
    let twice = Bounds { armings: 2, ..NEAR };
    let alone = [
        (Mutant::OlderAccepted, vec![Invariant::I8], Bounds { epochs: 1, ..twice }),
        (Mutant::LowerGenerationAccepted, vec![], Bounds { epochs: 1, ..twice }),
        (Mutant::NotComparedAfterFence, vec![], NEAR),
    ];
    for (mutant, unseen, bounds) in alone {
        assert_eq!(first_broken(&[mutant], bounds, unseen), [], "{mutant}");
    }
    let both = [Mutant::OlderAccepted, Mutant::LowerGenerationAccepted];
    let broken = first_broken(&both, Bounds { epochs: 1, ..twice }, vec![Invariant::I8]);
    assert_eq!(broken, [Invariant::I3]);
    let both = [Mutant::OlderAccepted, Mutant::NotComparedAfterFence];
    assert_eq!(first_broken(&both, NEAR, vec![Invariant::I8]), [Invariant::I5]);
}
