//! `twofold.yaml`: from its text to a [`Config`] or to all of its mistakes.
//!
//! Two types, always: what is written (`v1`, every value with its place) and [`Config`], what is
//! meant. `check` is the only way across. It is pure: text and the folder's name go in, values come
//! out; the files and variables that hold passwords are looked up by the caller
//! ([`Account::unlock`]).
//!
//! Invariants: a [`Config`] exists only if there is no [`Problem`]; every reference in it holds and
//! its timing satisfies DESIGN §4. Reading is bounded in size, depth and number of problems.
//!
//! Deliberately absent: I/O, clocks, the environment, defaults that depend on the machine.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod config;
mod database;
mod diff;
mod fields;
mod name;
mod print;
mod problem;
mod resolve;
mod scalar;
mod schema;
mod secret;
mod timing;
mod tree;
mod v1;
mod zone;

pub use check::{Checked, check};
pub use config::{AuditLimits, Config, IdentityFiles, Node, Role, Site, Tls};
pub use database::{
    AsyncFailover, Copying, Database, Failover, Fence, Flavour, Group, Promotion, Restart, Server, Watchdog,
};
pub use diff::{Difference, differences};
pub use name::{CheckId, ClusterName, DatabaseId, DnsName, DnsNameError};
pub use problem::Problem;
pub use schema::json_schema;
pub use secret::{Account, Credentials, Password, SecretError, SecretSource};
pub use timing::{RtoBound, Timing};
pub use zone::{
    AllDown, Bound, Check, Follows, HttpProbe, Member, NoQuorum, Policy, Pool, PoolShare, Pooled, Probe,
    Record, RecordData, Soa, TlsProbe, VirtualName, Zone, ZoneTls,
};
