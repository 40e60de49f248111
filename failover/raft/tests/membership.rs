//! Goal: members come, go and are replaced while the cluster commits, whatever fails meanwhile. Method:
//! the replicas of `network/`, with losses, crashes between any two acts, cuts, and targets that change.
#![allow(clippy::unwrap_used)]

mod network;

use std::collections::BTreeSet;

use failover_raft::{MemberStep, StepRefused};
use network::{CALM, Cluster, Faults};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn set(ids: &[u64]) -> BTreeSet<u64> {
    ids.iter().copied().collect()
}

fn elected(size: u64, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(size, seed, CALM);
    assert!(cluster.run_until(5_000, |c| c.leader().is_some()));
    cluster.run_for(500);
    cluster
}

/// Steers for at most 20 s of calm.
fn settles(cluster: &mut Cluster, target: &BTreeSet<u64>) -> bool {
    (0..200).any(|_| {
        cluster.run_for(100);
        cluster.steer(target)
    })
}

/// Takes those away that are no members any more, as a supervisor would.
fn power_off(cluster: &mut Cluster, target: &BTreeSet<u64>) {
    cluster.nodes.retain(|id, _| target.contains(id));
}

#[test]
fn a_node_that_is_replaced_goes_and_the_new_one_has_everything() {
    let mut cluster = elected(3, 1);
    for n in 0..20_u8 {
        let leader = cluster.leader().unwrap();
        cluster.propose(leader, &[n]).unwrap();
        cluster.run_for(20);
    }
    cluster.join(4);
    let target = set(&[1, 2, 4]);
    assert!(settles(&mut cluster, &target), "the replacement did not settle");
    power_off(&mut cluster, &target);
    cluster.heal_and_converge().unwrap();
    for id in [1, 2, 4] {
        let members = cluster.replica(id).members();
        assert_eq!((&members.voters, members.joint()), (&target, false), "as node {id} sees it");
    }
    assert!(cluster.nodes[&4].applied.len() >= 20, "it was sent what was before it");
    // The new one counts: with one of the old ones away it makes the quorum.
    let leader = cluster.leader().unwrap();
    let away = [1, 2].into_iter().find(|id| *id != leader).unwrap();
    cluster.isolate(away);
    let committed = cluster.committed.len();
    cluster.run_for(3_000);
    let leader = cluster.leader().unwrap();
    cluster.propose(leader, b"with the new one").unwrap();
    cluster.run_for(1_000);
    assert!(cluster.committed.len() > committed);
}

#[test]
fn a_learner_has_no_vote_and_an_empty_node_elects_nobody() {
    let mut cluster = elected(3, 2);
    cluster.join(4);
    let leader = cluster.leader().unwrap();
    cluster.replica(leader).change_members(&MemberStep::AddLearners(set(&[4]))).unwrap();
    cluster.work(leader);
    cluster.run_for(2_000);
    assert!(!cluster.replica(4).members().votes(4) && cluster.replica(4).members().holds(4));
    // Two of three voters gone: the learner beside the third makes no quorum.
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    for id in &others {
        cluster.isolate(*id);
    }
    cluster.run_for(10_000);
    assert_ne!(cluster.current(4).role, failover_raft::Role::Leader);
    assert_eq!(cluster.leader(), None, "nobody leads without a quorum of voters");
    assert_eq!(cluster.current(4).term, cluster.current(leader).term, "and a learner never asked for votes");
}

#[test]
fn the_leader_that_is_replaced_hands_over_first() {
    let mut cluster = elected(3, 3);
    let leader = cluster.leader().unwrap();
    cluster.join(9);
    let mut target: BTreeSet<u64> = (1..=3).filter(|id| *id != leader).collect();
    target.insert(9);
    assert!(settles(&mut cluster, &target));
    assert!(target.contains(&cluster.leader().unwrap()));
    power_off(&mut cluster, &target);
    cluster.heal_and_converge().unwrap();
}

#[test]
fn a_change_within_a_change_is_refused() {
    let mut cluster = elected(3, 4);
    cluster.join(4);
    let leader = cluster.leader().unwrap();
    let replica = cluster.replica(leader);
    replica.change_members(&MemberStep::AddLearners(set(&[4]))).unwrap();
    let again = replica.change_members(&MemberStep::RemoveLearners(set(&[4])));
    assert_eq!(again, Err(StepRefused::Pending));
    cluster.run_for(2_000);
    let replica = cluster.replica(leader);
    let enter = MemberStep::Enter { add: set(&[4]), remove: set(&[]) };
    replica.change_members(&enter).unwrap();
    cluster.work(leader);
    cluster.run_for(1_000);
    assert!(cluster.replica(leader).members().joint());
    let more = cluster.replica(leader).change_members(&MemberStep::AddLearners(set(&[5])));
    assert!(matches!(more, Err(StepRefused::Rule { .. })), "{more:?}");
}

/// Five of seven nodes are the members, another five every few seconds; a node that goes is powered off
/// only when the change is settled, and never comes back.
fn storm(seed: u64) -> Result<u64, String> {
    let faults =
        Faults { drop: 0.02, double: 0.01, delay_ms_max: 15, crash: 0.0004, send_before_persist: false };
    let mut cluster = Cluster::new(3, seed, faults);
    let mut random = StdRng::seed_from_u64(seed ^ 0xfeed);
    let mut target = set(&[1, 2, 3]);
    let mut next_id = 4;
    let mut changes = 0;
    let mut changed_ms = 0;
    while cluster.now_ms < 60_000 {
        cluster.run_for(50);
        if let Some(leader) = cluster.leader() {
            cluster.propose(leader, &cluster.now_ms.to_le_bytes());
        }
        if random.random_bool(0.01) {
            let all: Vec<u64> = cluster.nodes.keys().copied().collect();
            cluster.isolate(all[random.random_range(0..all.len())]);
        }
        if random.random_bool(0.03) {
            cluster.heal();
        }
        let settled = cluster.steer(&target);
        if settled && cluster.now_ms - changed_ms > 1_500 {
            power_off(&mut cluster, &target);
            changed_ms = cluster.now_ms;
            changes += 1;
            let gone = *target.iter().nth(random.random_range(0..target.len())).unwrap();
            if target.len() > 2 && random.random_bool(0.7) {
                target.remove(&gone);
            }
            if target.len() < 5 {
                target.insert(next_id);
                cluster.join(next_id);
                next_id += 1;
            }
        }
    }
    cluster.faults = CALM;
    cluster.heal();
    if !settles(&mut cluster, &target) {
        return Err(format!("the members did not settle: {:?}", cluster.violations.first()));
    }
    power_off(&mut cluster, &target);
    cluster.heal_and_converge()?;
    Ok(changes)
}

#[test]
fn no_promise_is_broken_while_members_come_and_go() {
    let mut changes = 0;
    for seed in 0..40 {
        changes += storm(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    assert!(changes > 200, "only {changes} changes were made: the storm is too strong to prove anything");
}
