//! A certificate authority and processes whose every link leads through a proxy of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::proxy::{Pass, Proxy};
use crate::{CallError, Endpoint, Inbound, LinkConfig, LinkTiming, LinkTls, Links, node_server_name};

/// Far beyond anything a test waits for, on a busy machine too.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Of one call that is tried again when it fails.
pub(super) const ATTEMPT: Duration = Duration::from_secs(2);

pub(super) fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

/// The clockwork of tests that cut links.
pub(super) fn brisk() -> LinkTiming {
    LinkTiming {
        beat: Duration::from_millis(50),
        silence: Duration::from_millis(400),
        drop_after: Duration::from_secs(1),
        redial: Duration::from_millis(100),
    }
}

/// The clockwork of tests in which no link may go down, however busy the machine.
pub(super) fn calm() -> LinkTiming {
    LinkTiming { silence: Duration::from_secs(20), drop_after: Duration::from_secs(30), ..brisk() }
}

/// Waits for a condition.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn certificate(&self, endpoint: &Endpoint) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![endpoint.name().to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("twofold={endpoint};"));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }

    /// Trusts this authority and presents its certificate for an endpoint.
    pub(super) fn tls(&self, endpoint: &Endpoint) -> LinkTls {
        self.tls_presenting(self, endpoint)
    }

    /// Trusts this authority and presents nothing when it dials.
    pub(super) fn tls_presenting_nothing(&self) -> LinkTls {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        LinkTls { client: Arc::new(client), ..self.tls(&endpoint("node/nobody")) }
    }

    /// Trusts this authority, but presents a certificate of another.
    pub(super) fn tls_presenting(&self, other: &Authority, endpoint: &Endpoint) -> LinkTls {
        let provider = Arc::new(ring::default_provider());
        let (chain, key) = other.certificate(endpoint);
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider.clone());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain.clone(), key.clone_key())
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, key)
            .unwrap();
        LinkTls {
            server: Arc::new(server),
            client: Arc::new(client),
            name_peer,
            server_name: node_server_name,
        }
    }
}

/// The tests' certificates carry their holder in the common name, between these marks.
fn name_peer(certificate: &CertificateDer<'_>) -> Result<Endpoint, String> {
    let text = String::from_utf8_lossy(certificate);
    let (_, rest) = text.split_once("twofold=").ok_or("no endpoint in it")?;
    let (name, _) = rest.split_once(';').ok_or("no end of the endpoint in it")?;
    name.parse().map_err(|error: crate::EndpointError| error.to_string())
}

/// Sender, body, and whether it came through a relay.
pub(super) type Casts = Arc<Mutex<Vec<(Endpoint, Vec<u8>, bool)>>>;

/// One process: it answers calls with its own name and the body, and keeps casts.
pub(super) struct Process {
    pub(super) links: Links,
    pub(super) casts: Casts,
    _tasks: JoinSet<()>,
}

/// Several processes; node `b` is dialed by `a` through the proxy `(a, b)`.
pub(super) struct Lab {
    pub(super) authority: Authority,
    timing: LinkTiming,
    nodes: Vec<Endpoint>,
    guards: Vec<Endpoint>,
    proxies: BTreeMap<(Endpoint, Endpoint), Proxy>,
    processes: BTreeMap<Endpoint, Process>,
}

impl Lab {
    /// Starts all processes, and waits until every link is up.
    pub(super) async fn start(timing: LinkTiming, endpoints: &[&str]) -> Self {
        let mut lab = Self::prepare(timing, endpoints).await;
        for name in endpoints {
            lab.boot(name).await;
        }
        for from in endpoints {
            for to in endpoints {
                if from < to && (lab.is_node(from) || lab.is_node(to)) {
                    lab.until_direct(from, to).await;
                }
            }
        }
        lab
    }

    /// The roster and the proxies; nothing runs yet.
    pub(super) async fn prepare(timing: LinkTiming, endpoints: &[&str]) -> Self {
        let (nodes, guards): (Vec<_>, Vec<_>) =
            endpoints.iter().map(|text| endpoint(text)).partition(|e| e.node().is_some());
        let mut proxies = BTreeMap::new();
        for from in nodes.iter().chain(&guards) {
            for to in nodes.iter().filter(|to| *to != from) {
                proxies.insert((from.clone(), to.clone()), Proxy::start().await);
            }
        }
        let processes = BTreeMap::new();
        Self { authority: Authority::new(), timing, nodes, guards, proxies, processes }
    }

    pub(super) fn config(&self, name: &str) -> LinkConfig {
        let me = endpoint(name);
        let address = |to: &Endpoint| self.proxies[&(me.clone(), to.clone())].address;
        let others = self.nodes.iter().filter(|to| **to != me);
        let peers = others.map(|to| (to.node().unwrap().clone(), address(to))).collect();
        let guards: BTreeSet<_> = self
            .guards
            .iter()
            .filter_map(|guard| match guard {
                Endpoint::Guard(id) => Some(id.clone()),
                Endpoint::Node(_) => None,
            })
            .collect();
        let is_node = me.node().is_some();
        LinkConfig {
            tls: self.authority.tls(&me),
            listen: is_node.then(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            peers,
            guards: if is_node { guards } else { BTreeSet::new() },
            timing: self.timing,
            me,
        }
    }

    /// Starts one process and leads the proxies to it.
    pub(super) async fn boot(&mut self, name: &str) {
        let config = self.config(name);
        self.boot_with(name, config).await;
    }

    pub(super) async fn boot_with(&mut self, name: &str, config: LinkConfig) {
        let (links, inbound) = Links::start(config).await.unwrap();
        self.lead_to(name, &links);
        let casts = Casts::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(answer(name.to_owned(), inbound, casts.clone()));
        self.processes.insert(endpoint(name), Process { links, casts, _tasks: tasks });
    }

    /// Starts one process whose inbound channel nobody empties.
    pub(super) async fn boot_deaf(&mut self, name: &str) -> (Links, mpsc::Receiver<Inbound>) {
        let (links, inbound) = Links::start(self.config(name)).await.unwrap();
        self.lead_to(name, &links);
        (links, inbound)
    }

    fn lead_to(&self, name: &str, links: &Links) {
        let me = endpoint(name);
        for ((_, to), proxy) in &self.proxies {
            if let (true, Some(address)) = (*to == me, links.local_addr()) {
                proxy.lead_to(address);
            }
        }
    }

    /// Stops one process.
    pub(super) async fn halt(&mut self, name: &str) {
        let process = self.processes.remove(&endpoint(name)).unwrap();
        process.links.stop().await;
    }

    pub(super) async fn halt_all(&mut self) {
        for process in std::mem::take(&mut self.processes).into_values() {
            process.links.stop().await;
        }
    }

    fn is_node(&self, name: &str) -> bool {
        endpoint(name).node().is_some()
    }

    pub(super) fn process(&self, name: &str) -> &Process {
        &self.processes[&endpoint(name)]
    }

    pub(super) fn links(&self, name: &str) -> &Links {
        &self.process(name).links
    }

    /// What becomes of bytes between two processes, whoever dialed.
    pub(super) fn set(&self, from: &str, to: &str, there: Pass, back: Pass) {
        let (from, to) = (endpoint(from), endpoint(to));
        if let Some(proxy) = self.proxies.get(&(from.clone(), to.clone())) {
            proxy.set(there, back);
        }
        if let Some(proxy) = self.proxies.get(&(to, from)) {
            proxy.set(back, there);
        }
    }

    pub(super) fn cut(&self, a: &str, b: &str) {
        self.set(a, b, Pass::Swallow, Pass::Swallow);
    }

    pub(super) fn heal(&self, a: &str, b: &str) {
        self.set(a, b, Pass::Through, Pass::Through);
    }

    pub(super) fn up(&self, from: &str, to: &str) -> bool {
        self.links(from).view().links[&endpoint(to)].up
    }

    pub(super) fn relay(&self, from: &str, to: &str) -> Option<String> {
        let view = self.links(from).view();
        view.links[&endpoint(to)].relay.as_ref().map(ToString::to_string)
    }

    pub(super) async fn until_direct(&self, a: &str, b: &str) {
        until(&format!("{a} and {b} linked"), async || self.up(a, b) && self.up(b, a)).await;
    }

    pub(super) async fn call(&self, from: &str, to: &str, body: &str) -> Result<String, CallError> {
        let answer = self.links(from).call(&endpoint(to), 1, body.as_bytes(), ATTEMPT).await?;
        Ok(String::from_utf8(answer).unwrap())
    }

    /// Calls until it is answered.
    pub(super) async fn until_answered(&self, from: &str, to: &str) {
        until(&format!("{to} answers {from}"), async || {
            self.call(from, to, "hello").await == Ok(format!("{to} heard hello"))
        })
        .await;
    }
}

/// `drop` is answered by dropping the replier, `fail` by an error, all else by an echo.
async fn answer(name: String, mut inbound: mpsc::Receiver<Inbound>, casts: Casts) {
    while let Some(message) = inbound.recv().await {
        match message {
            Inbound::Cast { from, body, relayed, .. } => casts.lock().unwrap().push((from, body, relayed)),
            Inbound::Call { body, reply, .. } => match body.as_slice() {
                b"drop" => drop(reply),
                b"fail" => reply.error("asked to fail"),
                body => reply.ok([name.as_bytes(), b" heard ", body].concat()),
            },
        }
    }
}
