//! Who calls the API: the name and the role of the certificate that the handshake verified.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use app_cert::{Role, identity, role};
use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tower_layer::Layer;

/// The longest account name that is kept: Linux has at most 32 characters (useradd(8)).
const SAID_MAX: usize = 32;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The certificate's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// How the audit names whoever is behind a request: the certificate's name, which was proven, and
    /// the account that the command says it ran under, which was not.
    pub fn for_person(&self, said: &str) -> String {
        let said: String = said.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
        if said.is_empty() || said == self.name {
            self.name.clone()
        } else {
            format!("{} ({said})", self.name)
        }
    }
}

/// Accepts TLS and hands each request its caller.
#[derive(Clone)]
pub struct KnowsCallers {
    inner: RustlsAcceptor<DefaultAcceptor>,
    cluster: Arc<str>,
}

impl KnowsCallers {
    /// Over the given TLS, which must ask for certificates.
    pub fn new(tls: RustlsConfig, cluster: &str) -> Self {
        Self { inner: RustlsAcceptor::new(tls), cluster: cluster.into() }
    }
}

impl<I, S> Accept<I, S> for KnowsCallers
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = TlsStream<I>;
    type Service = AddExtension<<RustlsAcceptor<DefaultAcceptor> as Accept<I, S>>::Service, Caller>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepting = self.inner.accept(stream, service);
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            // The handshake admits nobody without one; whoever came all the same may do nothing here.
            let shown = shown.ok_or_else(|| io::Error::other("the caller shows no certificate"))?;
            let name = identity(shown).map_err(io::Error::other)?.name;
            let caller = Caller { name, role: role(shown, &cluster) };
            Ok((stream, Extension(caller).layer(service)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proven_name_comes_first_and_what_was_said_is_kept_short() {
        let caller = Caller { name: "ana".into(), role: Role::Operator };
        for (said, person) in [("root", "ana (root)"), ("ana", "ana"), ("", "ana"), ("a\nb", "ana (ab)")] {
            assert_eq!(caller.for_person(said), person);
        }
        assert!(caller.for_person(&"x".repeat(500)).len() < 50);
    }
}
