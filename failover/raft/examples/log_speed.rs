//! Prints how long a synced append of one entry takes, in a directory given or the current one.
//!
//! `cargo run -p failover-raft --example log_speed -- /var/lib/twofold`
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Instant;

use failover_raft::{Entry, HardState, Identity, Persist, Recovered, Store};

const APPENDS: usize = 2_000;

fn main() {
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let directory = tempfile::tempdir_in(directory).unwrap();
    let identity = Identity { cluster: "speed".to_owned(), node: 1, incarnation: 1 };
    let genesis = Recovered::genesis(&[1], Vec::new());
    let mut store = Store::create(&directory.path().join("raft.redb"), &identity, &genesis).unwrap();
    let mut took: Vec<_> = (0..APPENDS as u64)
        .map(|number| {
            let index = 2 + number;
            let entry = Entry { index, term: 1, data: vec![7; 256].into(), ..Entry::default() };
            let persist = Persist {
                hard_state: Some(HardState { term: 1, commit: index - 1, ..HardState::default() }),
                entries: vec![entry],
                snapshot: None,
                must_sync: true,
            };
            let begun = Instant::now();
            store.write(&persist).unwrap();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |part: f64| took[((APPENDS - 1) as f64 * part) as usize];
    println!("synced append of 256 B: p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0));
}
