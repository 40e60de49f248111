//! Prints how fast five replicas run in one thread: ticks of 50 ms, heartbeats of 100 ms, messages
//! delivered after 1 ms, a proposal now and then. An event is a tick or a delivered message.
//!
//! `cargo run -p failover-raft --example cluster_speed`
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::time::Instant;

use failover_raft::{Message, Recovered, Replica, ReplicaConfig, Role};

const NODES: u64 = 5;
const TICK_MS: u64 = 50;

struct Cluster {
    replicas: Vec<Replica>,
    /// In order, since every message takes equally long.
    on_the_way: VecDeque<(u64, Message)>,
    events: u64,
    works: u64,
}

impl Cluster {
    fn work(&mut self, node: usize, now_ms: u64) {
        while let Some(work) = self.replicas[node].ready() {
            self.works += 1;
            for message in work.send_before.into_iter().chain(work.send_after) {
                self.on_the_way.push_back((now_ms + 1, message));
            }
            self.replicas[node].persisted();
        }
    }
}

fn run(name: &str, seconds: u64, proposals_per_second: u64) {
    let voters: Vec<u64> = (1..=NODES).collect();
    let replica = |&id: &u64| {
        let config = ReplicaConfig {
            id,
            election_ticks_min: 5,
            election_ticks_max: 10,
            heartbeat_ticks: 2,
            priority: 0,
        };
        Replica::new(&config, Recovered::genesis(&voters, Vec::new()), id).unwrap()
    };
    let replicas = voters.iter().map(replica).collect();
    let mut cluster = Cluster { replicas, on_the_way: VecDeque::new(), events: 0, works: 0 };
    let begun = Instant::now();
    let mut proposed = 0;
    for now_ms in 0..seconds * 1_000 {
        while cluster.on_the_way.front().is_some_and(|(at, _)| *at <= now_ms) {
            let (_, message) = cluster.on_the_way.pop_front().unwrap();
            let node = message.to as usize - 1;
            cluster.replicas[node].step(message).unwrap();
            cluster.events += 1;
            cluster.work(node, now_ms);
        }
        for node in 0..NODES as usize {
            if now_ms % TICK_MS == node as u64 * 10 {
                cluster.replicas[node].tick();
                cluster.events += 1;
                cluster.work(node, now_ms);
            }
        }
        if proposals_per_second > 0 && now_ms % (1_000 / proposals_per_second) == 0 {
            let leader = cluster.replicas.iter().position(|replica| replica.current().role == Role::Leader);
            if let Some(leader) = leader {
                cluster.replicas[leader].propose(vec![7; 64]).unwrap();
                proposed += 1;
                cluster.work(leader, now_ms);
                let applied = cluster.replicas[leader].applied();
                if applied > cluster.replicas[leader].image().snapshot_index() + 4_096 {
                    for replica in &mut cluster.replicas {
                        let _ = replica.snapshot_taken(replica.applied(), vec![0; 4_096]);
                    }
                }
            }
        }
    }
    let took = begun.elapsed();
    let per_second = cluster.events as f64 / took.as_secs_f64();
    println!(
        "{name:<22} {seconds:>5} s simulated in {:>7.3} s: {:>9} events, {per_second:>10.0} events/s, \
         {:.0} ns each, {} works, {proposed} proposals",
        took.as_secs_f64(),
        cluster.events,
        1e9 / per_second,
        cluster.works
    );
}

fn main() {
    run("idle", 3_600, 0);
    run("10 proposals a second", 1_200, 10);
    run("200 proposals a second", 200, 200);
    let voters = [1, 2, 3];
    let config = ReplicaConfig {
        id: 4,
        election_ticks_min: 5,
        election_ticks_max: 10,
        heartbeat_ticks: 2,
        priority: 0,
    };
    // Not a voter: it never campaigns, so its ticks are all no-ops.
    let mut replica = Replica::new(&config, Recovered::genesis(&voters, Vec::new()), 1).unwrap();
    while replica.ready().is_some() {
        replica.persisted();
    }
    let (begun, ticks) = (Instant::now(), 50_000_000_u64);
    for _ in 0..ticks {
        replica.tick();
        assert!(replica.ready().is_none());
    }
    println!("a tick of no consequence takes {:.1} ns", begun.elapsed().as_nanos() as f64 / ticks as f64);
}
