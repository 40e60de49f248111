//! Verifiers that ask, beyond webpki's chain, time and name, what the other end is.
//!
//! They wrap webpki's verifiers and never accept what those refuse.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use crate::identity::{Identity, IdentityError, Kind, identity};

/// Why a certificate that the CA vouches for is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It names nobody.
    #[error("the certificate names nobody: {0}")]
    Unnamed(IdentityError),
    /// Its holder belongs to another cluster.
    #[error("{found} is not of cluster {wanted:?}; issue its certificate from that cluster's CA")]
    Cluster {
        /// The holder.
        found: Identity,
        /// Our cluster.
        wanted: String,
    },
    /// Its holder is of a kind that has no business here.
    #[error("{found} is not admitted here, only a {admitted}; use the certificate that belongs to it")]
    Kind {
        /// The holder.
        found: Identity,
        /// The kinds that are.
        admitted: String,
    },
}

/// Whom a verifier admits.
#[derive(Debug)]
pub(crate) struct Admission {
    pub cluster: String,
    pub kinds: Vec<Kind>,
}

impl Admission {
    fn admit(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        self.judge(certificate).map_err(|refused| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
        })
    }

    fn judge(&self, certificate: &CertificateDer<'_>) -> Result<(), Refused> {
        let found = identity(certificate).map_err(Refused::Unnamed)?;
        if found.cluster != self.cluster {
            return Err(Refused::Cluster { found, wanted: self.cluster.clone() });
        }
        if !self.kinds.contains(&found.kind) {
            let admitted: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
            return Err(Refused::Kind { found, admitted: admitted.join(" or ") });
        }
        Ok(())
    }
}

/// A server's verifier of its callers.
#[derive(Debug)]
pub(crate) struct KnownClients {
    pub inner: Arc<dyn ClientCertVerifier>,
    pub admission: Admission,
}

impl ClientCertVerifier for KnownClients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        self.admission.admit(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A caller's verifier of whom it calls.
#[derive(Debug)]
pub(crate) struct OneKind {
    pub inner: Arc<WebPkiServerVerifier>,
    pub admission: Admission,
}

impl ServerCertVerifier for OneKind {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.admission.admit(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
