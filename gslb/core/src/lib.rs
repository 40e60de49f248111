//! What a name answers, decided by pure functions: `answer` for every query, `observe` for every probe.
//!
//! The daemon turns committed state into a [`SnapshotSpec`]; [`Snapshot::build`] checks it and encodes
//! every answer it can give; `gslb-dns` swaps snapshots whole and copies the encoded sections out.
//!
//! Invariants: a bound name follows the committed route only, a pooled name follows verdicts only
//! (STYLE S3); whatever is not known to be true is answered SERVFAIL or open, as the name's policy says.
//!
//! Deliberately absent: sockets, clocks, threads, random sources, the text forms of record data
//! (`gslb-dns` has them), and everything that decides where a group should be.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod explain;
mod health;
mod name;
mod problem;
mod question;
mod record;
mod rendezvous;
mod rrset;
mod snapshot;
mod spec;
mod steering;
pub mod v1;
mod zone;

pub use answer::{Answer, Authority, Link, Rcode, Why, answer};
pub use explain::{Explained, explain};
pub use health::{Health, MemberCheck, Opinion, VerdictChange, observe};
pub use name::{LABEL_MAX, NAME_MAX, Name, NameBuf, NameError};
pub use problem::SnapshotProblem;
pub use question::{CLASS_IN, CLIENT_PREFIX_V4, CLIENT_PREFIX_V6, Client, Question};
pub use record::{RecordData, RecordType, RecordTypeError};
pub use rrset::{Glue, Rrset};
pub use snapshot::Snapshot;
pub use spec::{
    AllDown, BoundSpec, Freshness, NameKind, NameSpec, NoQuorum, Policy, PoolMember, PoolShare, PoolSpec,
    PooledSpec, RecordSpec, SnapshotSpec, SoaSpec, Verdicts, ZoneSpec,
};
pub use zone::CHAIN_MAX;
