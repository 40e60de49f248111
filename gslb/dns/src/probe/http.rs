//! The HTTP check: one GET on a connection of its own, its status and the beginning of its body looked at.
//!
//! With https the certificate must be valid now, for the check's name, and chain to a trusted root; there
//! is no way to switch that off. How long it stays valid is read from every answer, good or not.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use model::WallTime;
use reqwest::Url;
use reqwest::header::{HOST, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::tls::TlsInfo;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::failure::{chain, told};
use super::{HttpCheck, Seen, Tls, Trust};

/// How much of a body is searched. Health pages are short; a member that sends a film must not fill memory.
const BODY_MAX: usize = 64 << 10;

/// One check's client and request.
pub(super) struct Client {
    client: reqwest::Client,
    url: Url,
    host: HeaderValue,
    status: Vec<RangeInclusive<u16>>,
    body: Option<String>,
}

impl Client {
    /// Sets the check up, or says why it can never work.
    pub(super) fn new(check: &HttpCheck, address: SocketAddr) -> Result<Self, String> {
        // reqwest takes the process's TLS provider; the daemon installs ring first of all, tests may not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent("twofold-check")
            .no_proxy()
            .redirect(Policy::none())
            // The Host header is ours, and HTTP/2 has none.
            .http1_only()
            // A kept connection would go on working where new clients are refused.
            .pool_max_idle_per_host(0);
        let (scheme, authority) = match &check.tls {
            None => ("http", address.to_string()),
            Some(tls) => ("https", authority(tls, address)),
        };
        if let Some(tls) = &check.tls {
            builder = builder.tls_info(true).tls_backend_preconfigured(config(&tls.trust)?);
            if let Some(name) = &tls.server_name {
                builder = builder.resolve(name, address);
            }
        }
        let client = builder.build().map_err(|e| format!("http client: {}", chain(&e)))?;
        let written = format!("{scheme}://{authority}{}", check.path);
        let url = Url::parse(&written).map_err(|e| format!("url {written:?}: {e}"))?;
        let host = host(check.host.as_deref(), scheme, address);
        let host = HeaderValue::from_str(&host).map_err(|e| format!("host {host:?}: {e}"))?;
        Ok(Self { client, url, host, status: check.status.clone(), body: check.body.clone() })
    }

    pub(super) async fn probe(&self) -> Seen {
        let request = self.client.get(self.url.clone()).header(HOST, self.host.clone());
        match request.send().await {
            Err(error) => Seen::without_tls(Err(told(&error))),
            Ok(response) => Seen { certificate_ends: end_of(&response), result: self.judge(response).await },
        }
    }

    async fn judge(&self, response: reqwest::Response) -> Result<(), String> {
        let status = response.status().as_u16();
        if !self.status.iter().any(|good| good.contains(&status)) {
            let good: Vec<String> = self.status.iter().map(shown).collect();
            return Err(format!("status {status} where {} is good", good.join(", ")));
        }
        match &self.body {
            None => Ok(()),
            Some(wanted) => search(response, wanted).await,
        }
    }
}

/// Where to connect as a URL has it: the name is what is sent by SNI and verified, and leads to the
/// check's address all the same.
fn authority(tls: &Tls, address: SocketAddr) -> String {
    match &tls.server_name {
        Some(name) => format!("{name}:{}", address.port()),
        None => address.to_string(),
    }
}

/// The Host header: as written, with the port that was connected to unless it names one, or unless it is
/// the scheme's own (RFC 9110 §4.2).
fn host(written: Option<&str>, scheme: &str, address: SocketAddr) -> String {
    let usual = if scheme == "https" { 443 } else { 80 };
    let with_port = |host: &str| match address.port() {
        port if port == usual => host.to_owned(),
        port => format!("{host}:{port}"),
    };
    match written {
        None if address.is_ipv6() => with_port(&format!("[{}]", address.ip())),
        None => with_port(&address.ip().to_string()),
        // A colon outside of brackets begins a port.
        Some(host) if host.rsplit(']').next().is_some_and(|rest| rest.contains(':')) => host.to_owned(),
        Some(host) => with_port(host),
    }
}

/// How certificates are verified: each time anew, since a resumed session presents none, so that one
/// which has ended meanwhile would pass.
fn config(trust: &Trust) -> Result<ClientConfig, String> {
    let tls = |error: rustls::Error| format!("tls: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(tls)?;
    let builder = match trust {
        Trust::System => builder.with_platform_verifier().map_err(tls)?,
        Trust::Pem(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Broken(why) => return Err(why.clone()),
    };
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("ca: {e}"))?;
        roots.add(certificate).map_err(|e| format!("ca: {e}"))?;
    }
    if roots.is_empty() { Err("ca: it holds no certificate in PEM".to_owned()) } else { Ok(roots) }
}

/// When the server's own certificate ends; those of its issuers end later, or are not valid together.
fn end_of(response: &reqwest::Response) -> Option<WallTime> {
    let leaf = response.extensions().get::<TlsInfo>()?.peer_certificate()?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    Some(WallTime(certificate.validity().not_after.timestamp().saturating_mul(1_000)))
}

async fn search(mut response: reqwest::Response, wanted: &str) -> Result<(), String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| told(&e))? {
        let room = BODY_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if contains(&body, wanted.as_bytes()) {
            return Ok(());
        }
        if body.len() == BODY_MAX {
            break;
        }
    }
    if contains(&body, wanted.as_bytes()) { Ok(()) } else { Err(format!("body does not contain {wanted:?}")) }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|w| w == wanted)
}

/// `200` or `200-299`.
fn shown(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_is_as_written_and_names_the_port_once() {
        for (written, scheme, address, wanted) in [
            (None, "http", "192.0.2.1:80", "192.0.2.1"),
            (None, "http", "192.0.2.1:8080", "192.0.2.1:8080"),
            (None, "https", "[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            (None, "https", "[2001:db8::1]:443", "[2001:db8::1]"),
            (Some("shop.example"), "https", "192.0.2.1:443", "shop.example"),
            (Some("shop.example"), "https", "192.0.2.1:80", "shop.example:80"),
            (Some("shop.example:8443"), "http", "192.0.2.1:8080", "shop.example:8443"),
            (Some("[2001:db8::1]"), "http", "192.0.2.1:8080", "[2001:db8::1]:8080"),
            (Some("[2001:db8::1]:9"), "http", "192.0.2.1:8080", "[2001:db8::1]:9"),
        ] {
            assert_eq!(host(written, scheme, address.parse().unwrap()), wanted, "{written:?} {address}");
        }
    }

    #[test]
    fn a_ca_without_a_certificate_is_no_ca() {
        assert!(roots("").unwrap_err().starts_with("ca: "));
        assert!(roots("hello").unwrap_err().starts_with("ca: "));
        let broken = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert!(roots(broken).unwrap_err().starts_with("ca: "));
    }
}
