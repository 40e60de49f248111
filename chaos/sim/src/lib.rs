//! The whole system in one thread and virtual time, from one seed (DESIGN §4, STYLE §10).
//!
//! What runs is what production runs: real raft-rs replicas, `apply`, `decide`, the desk, the guard,
//! the executor's `next`, `perform` and `verify`, and the answers of `gslb-core`. What is modelled is
//! the world around them: network, disks, clocks, the kernel's gate, database servers, clients, and
//! everything that can go wrong with those. I1–I9 are checked as things happen; a seed and a commit
//! reproduce a run to the last event.
//!
//! Deliberately absent: real time, threads within a run, real databases (`chaos-lab` has them).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chance;
pub mod cli;
mod client;
mod clock;
mod dns;
mod event;
mod fault;
mod gate;
mod guard;
mod invariants;
mod ladder;
mod manual;
mod mysql;
mod net;
mod node;
mod options;
mod place;
mod queue;
mod replay;
mod truth;
mod world;

pub use fault::Kind;
pub use options::{Invariant, MINUTES, Mutant, Options, Outcome, Sites, Violation};
pub use replay::{Replay, ReplayError};
pub use world::run;
