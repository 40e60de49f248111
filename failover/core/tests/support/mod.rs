//! The script runner: what the words of `testdata/*.txt` do and print.
//!
//! `commands` has the replicated side (propose, apply, state), `desk` the leader's side (reports,
//! decide, renewals), `guards` the hosts, `print` the one-line forms of everything.

mod commands;
mod desk;
mod guards;
mod host;
mod line;
pub mod names;
pub mod print;
mod scene;
pub mod script;
mod world;

pub use world::World;
