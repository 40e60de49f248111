//! Checks of pool members: probes sent at intervals, observations out.
//!
//! Every check is a task of its own: it waits, takes one of a bounded number of permits, probes within its
//! timeout, and hands what it [`Probed`] to the channel. Probes of one check never overlap. The time between
//! two starts is at least the check's interval, since TTLs are computed from it, and at most a tenth more:
//! the jitter keeps the checks of many nodes from marching in step.
//!
//! Deliberately absent: judging what was seen (`gslb_core::observe`), and checks other than TCP and HTTP
//! (issue D).

mod failure;
mod http;
mod tcp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use model::{MemberId, Observation, PoolId, SiteId, WallTime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock;

/// Probes under way at one time. Each holds one socket; 256 leave most of a usual limit of 1,024
/// descriptors to everything else. More wait, and their intervals grow.
const PROBES_MAX: usize = 256;
/// The first probes of a set are spread over at most this, so that a node that starts knows soon.
const FIRST_SPREAD: Duration = Duration::from_millis(500);
/// Shortest interval: below it a check is an attack.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// One member's check, from one vantage site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// The pool whose check it is.
    pub pool: PoolId,
    /// The member.
    pub member: MemberId,
    /// This node's site.
    pub vantage: SiteId,
    /// Where to connect.
    pub address: SocketAddr,
    /// What to try.
    pub kind: CheckKind,
    /// Time from the start of a probe to the start of the next; at least 50 ms.
    pub interval: Duration,
    /// Time a probe may take, all in all.
    pub timeout: Duration,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// Connects and closes.
    Tcp,
    /// Sends one GET and looks at the answer.
    Http(HttpCheck),
}

/// What an HTTP check asks, and what it wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// TLS with a verified certificate, or in the clear.
    pub tls: Option<Tls>,
    /// The Host header; the check's address unless given.
    pub host: Option<String>,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Status codes that are good. Redirects are not followed.
    pub status: Vec<RangeInclusive<u16>>,
    /// What the first 64 KiB of the body must contain.
    pub body: Option<String>,
}

/// What must be true of a certificate, beside that it is valid now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What is sent by SNI and what the certificate must be for. Without one nothing is sent, and it must be
    /// for the check's address.
    pub server_name: Option<String>,
    /// Who may have issued it.
    pub trust: Trust,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those of the CAs that the system trusts.
    System,
    /// Those of these CAs alone, in PEM.
    Pem(String),
    /// Nobody's: the CAs cannot be had, and every probe says why.
    Broken(String),
}

/// What one probe brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// For the verdict.
    pub observation: Observation,
    /// When the certificate ends that the member presented, if it did and it was verified.
    pub certificate_ends: Option<WallTime>,
}

/// Runs checks until it is stopped or dropped.
#[derive(Debug)]
pub struct Prober {
    running: BTreeMap<(PoolId, MemberId), Running>,
    tasks: JoinSet<()>,
    permits: Arc<Semaphore>,
    observations: mpsc::Sender<Probed>,
}

#[derive(Debug)]
struct Running {
    spec: CheckSpec,
    task: tokio::task::AbortHandle,
}

impl Prober {
    /// Starts a task for each check. Of two checks of one member the later counts. Must be called within a
    /// tokio runtime. When the receiver is gone the checks end by themselves; while it is full they wait.
    #[must_use]
    pub fn start(checks: Vec<CheckSpec>, observations: mpsc::Sender<Probed>) -> Self {
        let permits = Arc::new(Semaphore::new(PROBES_MAX));
        let mut prober = Self { running: BTreeMap::new(), tasks: JoinSet::new(), permits, observations };
        prober.replace(checks);
        prober
    }

    /// Runs these checks instead. One that is exactly as before goes on undisturbed; the others are stopped
    /// at once or started. An observation made before may still be in the channel.
    pub fn replace(&mut self, checks: Vec<CheckSpec>) {
        while self.tasks.try_join_next().is_some() {}
        let mut before = std::mem::take(&mut self.running);
        for spec in checks {
            let key = (spec.pool.clone(), spec.member.clone());
            let running = match before.remove(&key) {
                Some(running) if running.spec == spec => running,
                other => {
                    if let Some(running) = other {
                        running.task.abort();
                    }
                    self.spawn(spec)
                }
            };
            if let Some(replaced) = self.running.insert(key, running) {
                replaced.task.abort();
            }
        }
        for removed in before.into_values() {
            removed.task.abort();
        }
    }

    fn spawn(&mut self, spec: CheckSpec) -> Running {
        let check = Check {
            spec: spec.clone(),
            permits: Arc::clone(&self.permits),
            observations: self.observations.clone(),
        };
        Running { spec, task: self.tasks.spawn(check.run()) }
    }

    /// How many checks run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// True when no check runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Stops every check and waits until their sockets are closed.
    pub async fn stop(mut self) {
        // Tasks that are aborted end at the point where they wait; none of them blocks.
        self.tasks.shutdown().await;
    }
}

struct Check {
    spec: CheckSpec,
    permits: Arc<Semaphore>,
    observations: mpsc::Sender<Probed>,
}

impl Check {
    async fn run(self) {
        let probe = Probe::new(&self.spec);
        let interval = self.spec.interval.max(INTERVAL_MIN);
        tokio::time::sleep(FIRST_SPREAD.min(interval).mul_f64(rand::random())).await;
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            let started = Instant::now();
            let before = clock::now();
            let seen = match tokio::time::timeout(self.spec.timeout, probe.once(&self.spec)).await {
                Ok(seen) => seen,
                Err(_) => Seen::without_tls(Err(format!("no answer within {:?}", self.spec.timeout))),
            };
            drop(permit);
            let at = clock::now();
            let latency = u64::try_from(at.since(before).as_micros()).unwrap_or(u64::MAX);
            let observation = Observation {
                pool: self.spec.pool.clone(),
                member: self.spec.member.clone(),
                vantage: self.spec.vantage.clone(),
                at,
                result: seen.result.map(|()| latency),
            };
            let probed = Probed { observation, certificate_ends: seen.certificate_ends };
            if self.observations.send(probed).await.is_err() {
                return;
            }
            let jitter = interval.mul_f64(0.1 * rand::random::<f64>());
            tokio::time::sleep_until(started + interval + jitter).await;
        }
    }
}

/// What is set up once for all probes of a check.
enum Probe {
    Tcp,
    Http(http::Client),
    /// The check can never succeed; every probe says why.
    Broken(String),
}

impl Probe {
    fn new(spec: &CheckSpec) -> Self {
        match &spec.kind {
            CheckKind::Tcp => Probe::Tcp,
            CheckKind::Http(check) => match http::Client::new(check, spec.address) {
                Ok(client) => Probe::Http(client),
                Err(why) => Probe::Broken(why),
            },
        }
    }

    async fn once(&self, spec: &CheckSpec) -> Seen {
        match self {
            Probe::Tcp => Seen::without_tls(tcp::probe(spec.address).await),
            Probe::Http(client) => client.probe().await,
            Probe::Broken(why) => Seen::without_tls(Err(why.clone())),
        }
    }
}

/// What one probe saw.
struct Seen {
    result: Result<(), String>,
    /// When the certificate ends that was presented.
    certificate_ends: Option<WallTime>,
}

impl Seen {
    fn without_tls(result: Result<(), String>) -> Self {
        Self { result, certificate_ends: None }
    }
}
