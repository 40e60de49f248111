//! What a responder shows within TLS: a certificate with its key, read from PEM files, and read again while it runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;

/// The ALPN of DNS over TLS, RFC 7858 §3.1 with IANA's registry.
const DOT: &[u8] = b"dot";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error("{path:?} cannot be read; name a PEM file there")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No certificate in it.
    #[error("{0:?} has no certificate in it (PEM, the server's first, then those that signed it)")]
    NoCertificate(PathBuf),
    /// No key in it.
    #[error("{0:?} has no private key in it (PEM)")]
    NoKey(PathBuf),
    /// They do not belong together, or nothing can be done with them.
    #[error("{certificate:?} and {key:?} cannot be used together")]
    Refused {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

/// A certificate and its key; clones show the same, also after another one was read.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsIdentity {
    /// Reads both files.
    ///
    /// # Errors
    /// [`IdentityError`] names the file and what is wrong with it.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        Ok(Self { config: Arc::new(Mutex::new(config(certificate, key)?)) })
    }

    /// Reads both files again; connections from now on see what is in them. Those that are open stay.
    ///
    /// # Errors
    /// The same; what was read before stays.
    pub fn read_again(&self, certificate: &Path, key: &Path) -> Result<(), IdentityError> {
        let config = config(certificate, key)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, IdentityError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })
    };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| IdentityError::NoCertificate(certificate.to_owned()))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private = private.map_err(|_| IdentityError::NoKey(key.to_owned()))?;
    let refused =
        |source| IdentityError::Refused { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(refused)?;
    config.alpn_protocols = vec![DOT.to_vec()];
    Ok(Arc::new(config))
}
