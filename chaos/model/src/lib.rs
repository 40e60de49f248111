//! The authority protocol (DESIGN §4) as a finite model, every reachable state of which is looked at.
//!
//! ```text
//!   State ──actions──► Action ──perform──► State      stateright walks all of it, breadth first
//!     └─ properties: I1–I5, I8, no acknowledged write lost
//! ```
//! Two sites with one database server each; consensus is one authority, changed by compare and set. The
//! model is written from the design, not from the cores: where the two differ, one of them is wrong.
//! What is left out, and why that is sound, stands in docs/design/0021-model.md.
//!
//! Deliberately absent: Raft, wall-clock time, DNS, memberships, more than one acker.

#![forbid(unsafe_code)]

mod action;
mod authority;
mod bounds;
mod check;
mod database;
mod executor;
mod fault;
mod forget;
mod guard;
mod mutant;
mod perform;
mod property;
mod state;

pub use action::Action;
pub use authority::Change;
pub use bounds::Bounds;
pub use check::{Broken, Finding, Limits, check};
pub use mutant::Mutant;
pub use perform::Protocol;
pub use property::{Invariant, Sight};
pub use state::{Authority, Durability, Phase, Server, Site, State};
