//! The lab's clients: they put load on the platform and are its only measuring instruments.
//!
//! One process a client host, inside that host's namespace:
//!
//! ```text
//!  resolver (honours TTL) ─► writer ×n ──┐
//!  resolver (honours TTL) ─► swapper ────┤
//!  resolver (honours TTL) ─► web user ×n─┤
//!  flip client (a resolver alone)        ├─► events ─► standard output, one JSON line each
//!  poller, one a DNS server, 20 ms ──────┘
//! ```
//!
//! Every event carries the lab's clock. A client stops when its standard input ends, lets what is
//! under way come to its end, and says goodbye; a stream without a goodbye is a broken measurement.
//!
//! Deliberately absent: any judgement. Runs are judged by `measure` and `registers`.

pub mod dns;
pub mod event;
mod lateness;
pub mod plan;
mod poller;
mod process;
pub mod resolver;
pub mod swap;
pub mod web;
pub mod writer;

pub use event::{Event, Outcome};
pub use plan::{ClientPlan, DatabaseAccess, NameServer, PlanError, WebAccess, WebUser};
pub use process::run;
