//! The authority protocol holds in every reachable state within the small bounds, and no rule of it can be
//! taken out unnoticed.
//!
//! Method: stateright walks the model breadth first; for a mutant it stops at the first invariant broken,
//! which must be the one that the rule protects.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use chaos_model::{Bounds, Invariant, Limits, Mutant, Protocol, check};

/// Goal: I1–I5, I8 and no lost write hold, and moves of every kind are reachable, so they do not hold of
/// nothing. Method: all states.
#[test]
fn every_state_within_the_small_bounds_keeps_every_invariant() {
    let protocol = Protocol { bounds: Bounds::SMALL, mutant: None, unseen: vec![] };
    let finding = check(protocol, &Limits { threads: 2, generated_max: None, time_max: None });
    println!("{} states, depth {}, {:?}", finding.states, finding.depth, finding.took);
    assert!(finding.broken.is_empty(), "{:#?}", finding.broken);
    assert!(finding.unseen.is_empty(), "never reached: {:?}", finding.unseen);
    assert!(finding.whole);
}
