//! A process's own certificate and the CA it believes, as rustls wants them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::CertError;
use crate::explain::explain_tls;
use crate::identity::{Identity, Kind, identity};
use crate::verify::{Admission, KnownClients, OneKind};

/// Largest certificate or key file that is read; a chain has a few kilobytes.
const FILE_MAX: u64 = 1 << 20;

/// Where a process finds its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFiles {
    /// The CA's certificate; while a CA is replaced, both.
    pub ca: PathBuf,
    /// This process's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Whether a server takes callers without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Every caller must present one: the peer port.
    Known,
    /// A caller may present none; if it does present one, it is verified all the same.
    Anyone,
}

/// A process's certificate, checked against its CA.
#[derive(Debug)]
pub struct Trust {
    files: TrustFiles,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    holder: Identity,
}

impl Trust {
    /// Reads the files of `holder` and checks that they are its own, belong together, and are
    /// vouched for by the CA at `now`.
    ///
    /// # Errors
    /// [`CertError`] names the file, what is wrong with it, and the next act.
    pub fn read(files: TrustFiles, holder: &Identity, now: SystemTime) -> Result<Self, CertError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.ca)? {
            let added = roots.add(root);
            added.map_err(|source| CertError::Tls { path: files.ca.clone(), source })?;
        }
        let chain = certificates(&files.certificate)?;
        let path = || files.certificate.clone();
        let leaf = chain.first().ok_or_else(|| CertError::Pem { path: path(), what: "certificate" })?;
        let found = identity(leaf).map_err(|source| CertError::Identity { path: path(), source })?;
        if found != *holder {
            return Err(CertError::Holder {
                path: path(),
                found: Box::new(found),
                wanted: Box::new(holder.clone()),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
            .map_err(|_| CertError::Pem { path: files.key.clone(), what: "key" })?;
        let trust = Self { roots: Arc::new(roots), chain, key, holder: found, files };
        trust.check(now)?;
        Ok(trust)
    }

    /// Who this process is.
    pub fn holder(&self) -> &Identity {
        &self.holder
    }

    /// The server's side of TLS, for callers of the kinds in `admits` and of this cluster.
    ///
    /// # Errors
    /// [`CertError::Tls`] where key and certificate do not fit.
    pub fn server(&self, admits: &[Kind], callers: Callers) -> Result<Arc<ServerConfig>, CertError> {
        let admission = Admission { cluster: self.holder.cluster.clone(), kinds: admits.to_vec() };
        let verifier = KnownClients { inner: self.client_verifier(callers)?, admission };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| self.tls(source))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|source| self.tls(source))?;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// The caller's side of TLS. It calls nodes of this cluster, by name or address, and nobody else.
    ///
    /// # Errors
    /// [`CertError::Tls`] where key and certificate do not fit.
    pub fn client(&self) -> Result<Arc<ClientConfig>, CertError> {
        self.calling(Kind::Node)
    }

    /// The same for one who calls guards of this cluster, by name, and nobody else.
    ///
    /// # Errors
    /// [`CertError::Tls`] where key and certificate do not fit.
    pub fn client_of_guards(&self) -> Result<Arc<ClientConfig>, CertError> {
        self.calling(Kind::Guard)
    }

    fn calling(&self, kind: Kind) -> Result<Arc<ClientConfig>, CertError> {
        let inner = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .map_err(|error| self.verifier(&error))?;
        let admission = Admission { cluster: self.holder.cluster.clone(), kinds: vec![kind] };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| self.tls(source))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OneKind { inner, admission }))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|source| self.tls(source))?;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// The CA vouches for the certificate now, and the key is its own.
    fn check(&self, now: SystemTime) -> Result<(), CertError> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let verifier = self.client_verifier(Callers::Known)?;
        let [leaf, others @ ..] = self.chain.as_slice() else { return Ok(()) };
        let verified = verifier.verify_client_cert(leaf, others, UnixTime::since_unix_epoch(since));
        verified.map_err(|error| CertError::Untrusted {
            path: self.files.certificate.clone(),
            why: explain_tls(&error),
        })?;
        self.client().map(|_| ())
    }

    fn client_verifier(&self, callers: Callers) -> Result<Arc<dyn ClientCertVerifier>, CertError> {
        let builder = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider());
        let builder = match callers {
            Callers::Known => builder,
            Callers::Anyone => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| self.verifier(&error))
    }

    fn tls(&self, source: rustls::Error) -> CertError {
        CertError::Tls { path: self.files.certificate.clone(), source }
    }

    fn verifier(&self, error: &VerifierBuilderError) -> CertError {
        let source = rustls::Error::General(error.to_string());
        CertError::Tls { path: self.files.ca.clone(), source }
    }
}

/// The caller's side of TLS for one who shows no certificate (a token speaks for it): it calls nodes of
/// `cluster` that the CA in `ca` vouches for, and nobody else.
///
/// # Errors
/// [`CertError`] names the CA's file.
pub fn without_certificate(ca: &Path, cluster: &str) -> Result<Arc<ClientConfig>, CertError> {
    let tls = |source| CertError::Tls { path: ca.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(tls)?;
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| tls(rustls::Error::General(error.to_string())))?;
    let admission = Admission { cluster: cluster.to_owned(), kinds: vec![Kind::Node] };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneKind { inner, admission }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// ring, by itself: whichever provider the process has installed does not matter here.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CertError::Pem { path: path.to_owned(), what: "certificate" }),
    }
}

/// A small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let done = opened.and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    match done {
        Ok(_) => Ok(bytes),
        Err(source) => Err(CertError::Read { path: path.to_owned(), source }),
    }
}
