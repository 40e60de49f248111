//! Random inputs through a guard.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::config;
use crate::rig::Rig;
use crate::world::ops;

proptest! {
    #![proptest_config(config())]

    /// Goal: I2, I8, and rows 5, 6, 29, 30, 31, 35 of the interleavings as properties. Method: the rig
    /// checks every effect; restarts come anywhere, so every sequence is also cut short and resumed.
    #[test]
    fn a_guard_opens_only_by_the_rule_and_never_forgets_a_latch(
        start in any::<u8>(),
        ops in ops(Rig::KINDS, 200),
    ) {
        let mut rig = Rig::new(start);
        for op in ops {
            rig.step(op);
        }
    }
}

/// Goal: the rig gets a guard to do what the property speaks of; else it would hold of nothing.
#[test]
fn random_inputs_open_fence_kill_and_adopt() {
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let mut seen = std::collections::BTreeSet::new();
    for start in 0..=255 {
        let mut rig = Rig::new(start);
        for op in ops(Rig::KINDS, 400).new_tree(&mut runner).unwrap().current() {
            rig.step(op);
        }
        seen.extend(rig.seen);
    }
    let expected = ["adopted", "fenced", "gate open", "kill", "open", "stop-io", "writable"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
