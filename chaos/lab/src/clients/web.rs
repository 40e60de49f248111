//! A user of the web application: resolves the published name as its TTL says, gets a page by HTTPS at a
//! steady pace, and believes only a certificate of the right name and CA.
//!
//! It keeps its connection, as browsers do, and leaves it when the name leads elsewhere, also in the
//! middle of a request that hangs. What it gets it does not try again: the next page is due soon enough.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Certificate;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::event::{Event, Events};
use super::plan::{WebAccess, WebUser};
use super::resolver::Resolver;
use crate::clock;
use crate::web::Served;

/// Between two pages of a user.
const PACE: Duration = Duration::from_millis(200);

/// A user waits no longer for a page, connecting included.
const PAGE_DEADLINE: Duration = Duration::from_secs(1);

/// Each user starts so long after the one before: their caches do not run out at one instant.
const START_STEP: Duration = Duration::from_millis(73);

/// One user, on a client host.
#[derive(Debug, Clone)]
pub struct WebClient {
    /// Its host.
    pub host: String,
    /// Who it is.
    pub user: WebUser,
}

/// A connection to be, and where it leads.
struct Line {
    client: reqwest::Client,
    address: Ipv4Addr,
}

impl WebClient {
    /// Gets pages until `stop` changes.
    pub async fn run(self, access: WebAccess, events: Events, mut stop: watch::Receiver<bool>) {
        tokio::time::sleep(START_STEP * self.user.number).await;
        let (held, mut address) = watch::channel(None);
        let mut servers = access.servers.clone();
        if access.own_site == 0 {
            // No server is nearer than another, so each user begins with another one.
            servers.rotate_left(self.user.number as usize % access.servers.len().max(1));
        }
        let resolver = Resolver::new(access.name.clone(), servers).on_behalf_of(self.user.subnet);
        let of = format!("{} web {}", self.host, self.user.number);
        let keeping = tokio::spawn(resolver.keep(of, held, events.clone()));
        let mut tick = interval(PACE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line: Option<Line> = None;
        // The first answer takes a moment, and is no failure.
        let mut resolved = false;
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                _ = tick.tick() => {}
            }
            let now = *address.borrow_and_update();
            resolved |= now.is_some();
            if resolved {
                line = self.page(&access, line, now, &mut address, &events).await;
            }
        }
        drop(address);
        let _ = keeping.await;
    }

    /// Gets one page; gives the line back, which outlives a page that failed.
    async fn page(
        &self,
        access: &WebAccess,
        line: Option<Line>,
        now: Option<Ipv4Addr>,
        name: &mut watch::Receiver<Option<Ipv4Addr>>,
        events: &Events,
    ) -> Option<Line> {
        let (user, began) = (self.user.number, clock::now());
        let fail = |address, why| {
            events.note(Event::PageFailed { user, began, at: clock::now(), address, why });
        };
        let Some(to) = now else {
            fail(None, "the name has no address".to_owned());
            return line;
        };
        let line = match line.filter(|l| l.address == to) {
            Some(line) => line,
            None => match client(access, to) {
                Ok(client) => Line { client, address: to },
                Err(why) => {
                    fail(Some(to), format!("{why:#}"));
                    return None;
                }
            },
        };
        let elsewhere = name.wait_for(|now| now.is_some_and(|a| a != to));
        let got = tokio::select! {
            // A page that is there counts, also when the name just moved.
            biased;
            got = get(&line.client, access) => got,
            _ = elsewhere => Err("the name leads elsewhere now".to_owned()),
        };
        match got {
            Ok(Served { site, host, .. }) => {
                events.note(Event::Page { user, began, at: clock::now(), address: to, site, host });
            }
            Err(why) => fail(Some(to), why),
        }
        Some(line)
    }
}

/// A client that reaches the name at this address alone.
///
/// # Errors
/// When the CA cannot be read.
pub fn client(access: &WebAccess, address: Ipv4Addr) -> anyhow::Result<reqwest::Client> {
    // reqwest takes the process's TLS provider; whoever came first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots = Certificate::from_pem_bundle(&std::fs::read(&access.ca)?)?;
    let client = reqwest::Client::builder()
        .user_agent("lab-web-user")
        .no_proxy()
        .resolve(host(access), SocketAddr::from((address, access.port)))
        .tls_certs_only(roots)
        .timeout(PAGE_DEADLINE);
    Ok(client.build()?)
}

/// Gets the page that says who served.
///
/// # Errors
/// Why not, in a line.
pub async fn get(client: &reqwest::Client, access: &WebAccess) -> Result<Served, String> {
    let url = format!("https://{}:{}/", host(access), access.port);
    let answer = client.get(url).send().await.map_err(|e| chain(&e))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    answer.json().await.map_err(|e| chain(&e))
}

/// The name as certificates have it.
fn host(access: &WebAccess) -> &str {
    access.name.trim_end_matches('.')
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
