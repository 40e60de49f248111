//! The authoritative responder and the prober: gslb-core's answers on the wire, its observations from it.
//!
//! A query costs one pointer load and one pure call. UDP is served by plain threads ([`UdpServer`]), TCP and
//! TLS by tokio ([`TcpServer`]); both go through the same parsing, `answer()` and writing. The daemon hands snapshots
//! to [`Published`], keeps the last on disk ([`disk`]), and feeds the [`Prober`]'s observations to `Health`.
//!
//! Deliberately absent: what a name answers (`gslb-core`), what the cluster agreed on (the daemon turns it
//! into a `SnapshotSpec`), DoH (issue D).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
mod counters;
pub mod disk;
mod listen;
pub mod probe;
mod published;
mod tcp;
mod text;
mod tls;
mod udp;
pub mod wire;

pub use counters::{RCODES, Tallies, Tally};
pub use listen::{ListenError, expand};
pub use probe::{CheckKind, CheckSpec, HttpCheck, Probed, Prober, Tls, Trust};
pub use published::{Older, Publication, Published};
pub use tcp::{TcpLimits, TcpServer};
pub use text::{TextError, record_data};
pub use tls::{IdentityError, TlsIdentity};
pub use udp::{StillRunning, UdpServer};
