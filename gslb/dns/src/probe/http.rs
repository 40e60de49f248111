//! The HTTP check: one GET on a connection of its own, its status and the beginning of its body looked at.
//!
//! With https the certificate must be valid for the check's host and chain to a trusted root; there is no
//! way to switch that off.

use std::error::Error;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Url};

use super::{HttpCheck, Scheme};

/// How much of a body is searched. Health pages are short; a member that sends a film must not fill memory.
const BODY_MAX: usize = 64 << 10;

/// One check's client and request.
pub(super) struct Client {
    client: reqwest::Client,
    url: Url,
    status: Vec<RangeInclusive<u16>>,
    body: Option<String>,
}

impl Client {
    /// Sets the check up, or says why it can never work.
    pub(super) fn new(check: &HttpCheck, address: SocketAddr) -> Result<Self, String> {
        // reqwest takes the process's TLS provider; the daemon installs ring first of all, tests may not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scheme = match check.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let written = format!("{scheme}://{}:{}{}", check.host, address.port(), check.path);
        let url = Url::parse(&written).map_err(|e| format!("url {written:?}: {e}"))?;
        let mut builder = reqwest::Client::builder()
            .user_agent("twofold-check")
            .resolve(&check.host, address)
            .no_proxy()
            .redirect(Policy::none())
            // A kept connection would go on working where new clients are refused.
            .pool_max_idle_per_host(0);
        if let Some(pem) = &check.trust {
            let trusted =
                Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| format!("trust: {}", chain(&e)))?;
            builder = builder.tls_certs_only(trusted);
        }
        let client = builder.build().map_err(|e| format!("http client: {}", chain(&e)))?;
        Ok(Self { client, url, status: check.status.clone(), body: check.body.clone() })
    }

    pub(super) async fn probe(&self) -> Result<(), String> {
        let response = self.client.get(self.url.clone()).send().await.map_err(|e| chain(&e))?;
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

async fn search(mut response: reqwest::Response, wanted: &str) -> Result<(), String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e))? {
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

/// An error with its sources: reqwest's own text stops before the reason.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// `200` or `200-299`.
fn shown(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}
