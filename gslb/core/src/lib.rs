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

mod name;
mod record;
mod spec;

pub use name::{LABEL_MAX, NAME_MAX, Name, NameBuf, NameError};
pub use record::{RecordData, RecordType};
pub use spec::{
    AllDown, BoundSpec, Freshness, NameKind, NameSpec, NoQuorum, Policy, PoolMember, PoolShare, PoolSpec,
    PooledSpec, RecordSpec, SnapshotSpec, SoaSpec, Verdicts, ZoneSpec,
};
