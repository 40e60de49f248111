//! What can go wrong with certificates on disk.

use std::io;
use std::path::PathBuf;

use crate::identity::{Identity, IdentityError};

/// Why a certificate was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A name that cannot stand in a certificate.
    #[error(
        "{what} name {name:?} cannot stand in a certificate; use lower-case letters, digits and inner hyphens"
    )]
    Name {
        /// Whose name.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule it breaks.
        #[source]
        source: model::IdError,
    },
    /// A life of no days or of too many.
    #[error("a certificate cannot live {days} days; give it 1 to {most}")]
    Days {
        /// The days asked for.
        days: u32,
        /// The most there are.
        most: u32,
    },
    /// A file that is there already.
    #[error("{path} is there already and is never overwritten; move it away, or write into another folder")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file that could not be read.
    #[error("{path} cannot be read; make it with `twofold cert`, or mend tls in the configuration")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that could not be written.
    #[error("{path} cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file without what is looked for.
    #[error("{path} holds no {what} in PEM; make it anew with `twofold cert`")]
    Pem {
        /// The file.
        path: PathBuf,
        /// A certificate or a key.
        what: &'static str,
    },
    /// A CA's certificate and key that do not belong together.
    #[error("{key} is not the key of {certificate}; put the pair of one CA into the folder")]
    CaPair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A CA of another cluster.
    #[error("{path} is the CA of cluster {found:?}, not of {wanted:?}; use the CA of that cluster")]
    CaCluster {
        /// The CA's certificate.
        path: PathBuf,
        /// Its cluster.
        found: String,
        /// The cluster asked for.
        wanted: String,
    },
    /// A CA past its end.
    #[error("{path} has expired and can sign nothing; create a new CA and issue all certificates anew")]
    CaExpired {
        /// The CA's certificate.
        path: PathBuf,
    },
    /// A certificate that could not be made.
    #[error("the certificate of {holder} could not be made")]
    Make {
        /// Whose.
        holder: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate that names nobody.
    #[error("{path} names no holder")]
    Identity {
        /// The certificate.
        path: PathBuf,
        /// Why not.
        #[source]
        source: IdentityError,
    },
    /// Another's certificate.
    #[error("{path} belongs to {found}, and {wanted} is wanted; put the right file there")]
    Holder {
        /// The certificate.
        path: PathBuf,
        /// Its holder.
        found: Box<Identity>,
        /// The holder it should have.
        wanted: Box<Identity>,
    },
    /// A certificate that the cluster's CA does not vouch for now.
    #[error("{path} is not to be used: {why}")]
    Untrusted {
        /// The certificate.
        path: PathBuf,
        /// Why not, with the next act.
        why: String,
    },
    /// A certificate and key that TLS does not take.
    #[error("{path} cannot be used for TLS")]
    Tls {
        /// The certificate.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
}
