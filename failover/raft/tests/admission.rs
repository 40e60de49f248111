//! Goal: nothing that a peer can send makes raft-rs panic. Method: replicas in every role are fed
//! messages whose fields are drawn around their own state and at the edges of their range, between
//! messages of a cluster that runs; all that comes out of it is thrown away.
#![allow(clippy::unwrap_used)]

mod network;

use failover_raft::{Entry, Message, MessageType, Refused, Snapshot};
use network::{CALM, Cluster};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const KINDS: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// A number near `around`, mostly; else one at an edge.
fn near(random: &mut StdRng, around: u64) -> u64 {
    match random.random_range(0..60) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - 1,
        3 => 1 << 48,
        4 => around + 1_000,
        _ => (around + random.random_range(0..6)).saturating_sub(3),
    }
}

fn nonsense(random: &mut StdRng, to: u64, term: u64, last: u64) -> Message {
    let mut message = Message::default();
    message.set_msg_type(KINDS[random.random_range(0..KINDS.len())]);
    message.to = if random.random_bool(0.95) { to } else { random.random_range(0..7) };
    message.from =
        if random.random_bool(0.9) { random.random_range(1..=3) } else { random.random_range(0..7) };
    message.term = near(random, term);
    message.index = near(random, last);
    message.log_term = near(random, term);
    message.commit = near(random, last);
    message.commit_term = near(random, term);
    message.reject = random.random_bool(0.3);
    message.reject_hint = near(random, last);
    if random.random_bool(0.05) {
        message.request_snapshot = near(random, last);
    }
    if random.random_bool(0.2) {
        message.set_context(b"CampaignTransfer".to_vec().into());
    }
    let sound = random.random_bool(0.8);
    for step in 0..random.random_range(0..4) {
        let index = if sound { message.index.wrapping_add(1 + step) } else { near(random, last) };
        let term = if sound { message.term.min(term) } else { near(random, term) };
        let entry = Entry { index, term, data: vec![1].into(), ..Entry::default() };
        message.mut_entries().push(entry);
    }
    if message.get_msg_type() == MessageType::MsgSnapshot || random.random_bool(0.02) {
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = near(random, last);
        metadata.term = near(random, term);
        let voters = [vec![1, 2, 3], vec![1, 2], vec![], vec![0, 1], vec![1, 1, 2], vec![7, 8]];
        metadata.mut_conf_state().set_voters(voters[random.random_range(0..voters.len())].clone());
        if random.random_bool(0.1) {
            metadata.mut_conf_state().set_voters_outgoing(vec![1, 2, 3]);
        }
        message.set_snapshot(snapshot);
    }
    message
}

#[test]
fn no_message_from_a_peer_makes_a_replica_panic() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..1_500 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut cluster = Cluster::new(3, seed, CALM);
        cluster.snapshot_every = 30;
        cluster.run_for(random.random_range(0..2_000));
        for number in 0..random.random_range(0..60_u64) {
            if let Some(leader) = cluster.leader() {
                cluster.propose(leader, &number.to_le_bytes());
            }
            cluster.run_for(10);
        }
        for _ in 0..150 {
            let to = random.random_range(1..=3);
            let term = cluster.current(to).term;
            let last = cluster.nodes[&to].replica.as_ref().unwrap().status().last_index;
            let message = nonsense(&mut random, to, term, last);
            let replica = cluster.replica(to);
            match replica.step(message) {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            // What it answers is lost, and so is what it would apply: a forger can break promises.
            while cluster.replica(to).ready().is_some() {
                cluster.replica(to).persisted();
            }
            cluster.replica(to).tick();
            while cluster.replica(to).ready().is_some() {
                cluster.replica(to).persisted();
            }
        }
    }
    assert!(taken > 20_000 && refused > 20_000, "{taken} taken, {refused} refused");
}

#[test]
fn what_only_the_node_itself_may_say_is_refused_by_kind() {
    let mut cluster = Cluster::new(3, 1, CALM);
    cluster.run_for(2_000);
    for kind in KINDS {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.from, message.to, message.term) = (2, 1, cluster.current(1).term);
        message.mut_entries().push(Entry::default());
        let outcome = cluster.replica(1).step(message);
        let own = [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
            MessageType::MsgTransferLeader,
            MessageType::MsgReadIndex,
            MessageType::MsgReadIndexResp,
        ];
        assert_eq!(outcome == Err(Refused::NotBetweenPeers { kind }), own.contains(&kind), "{kind:?}");
        while cluster.replica(1).ready().is_some() {
            cluster.replica(1).persisted();
        }
    }
}

#[test]
fn a_node_that_lost_its_log_is_named_by_both_sides() {
    let mut cluster = Cluster::new(3, 5, CALM);
    cluster.run_for(2_000);
    let leader = cluster.leader().unwrap();
    for number in 0..10_u64 {
        cluster.propose(leader, &number.to_le_bytes()).unwrap();
    }
    cluster.run_for(500);
    let lost = *cluster.nodes.keys().find(|id| **id != leader).unwrap();
    let fresh = failover_raft::Recovered::genesis(&[1, 2, 3], network::encode_state(&[]));
    cluster.nodes.get_mut(&lost).unwrap().disk = fresh;
    cluster.crash(lost);
    cluster.run_for(5_000);
    assert!(
        cluster.refusals.iter().any(|words| words.contains("replace that node")),
        "{:?}",
        cluster.refusals
    );
    assert_eq!(cluster.leader(), Some(leader), "the others go on");
}
