//! The cluster's certificates: made by `twofold cert`, and believed by both ends of every connection.
//!
//! A cluster has one CA. Each process has a certificate that names what it is: a node, a guard or
//! a client, of this cluster. Who may connect where is decided within the TLS handshake, by kind and
//! cluster ([`Trust::server`], [`Trust::client`]); so a guard's certificate never serves as a
//! node's, nor another cluster's as ours, even under one CA.
//!
//! Invariants: an existing file is never overwritten; keys are readable by their owner alone; TLS is
//! 1.3 on ring, and every connection is verified afresh (no resumption).
//!
//! Deliberately absent: revocation lists. A lost key is answered with a new CA, since a cluster has
//! a dozen certificates and not a million; `ca.pem` may hold the old and the new one for the time
//! between.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod explain;
mod identity;
mod issue;
mod role;
mod trust;
mod verify;

pub use error::CertError;
pub use explain::{explain, explain_tls};
pub use identity::{Identity, IdentityError, Kind, identity};
pub use issue::{CA_DAYS, IssuedFiles, LEAF_DAYS, Request, create_ca, issue};
pub use model::{Role, RoleError};
pub use role::role;
pub use trust::{Callers, Trust, TrustFiles, without_certificate};
pub use verify::Refused;
