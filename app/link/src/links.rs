//! The handle through which a process sends, calls, looks at its links, and stops them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::{NodeId, ServerId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::dial::{Target, keep_dialing};
use crate::listen::keep_listening;
use crate::shared::Shared;
use crate::wire::{FRAME_MAX, Kind};
use crate::{CallError, Endpoint, Inbound, LinkConfig, LinkTls, LinkView, Sent, StartError};

/// The longest body of a message, bytes. With its envelope it fits a frame.
pub const BODY_MAX: usize = FRAME_MAX - 1024;
/// Messages that may wait to be taken in. The process takes them off at once and hands them on; when
/// it does not, casts are dropped and calls answered busy, which the senders can see.
const INBOUND_QUEUE: usize = 1024;
/// How long the tasks may take to end before they are cut off.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// All links of this process; clones are the same links. They stop when the last clone is dropped,
/// but only [`Links::stop`] waits for that.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

/// The one task that all others are children of.
struct Running {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    root: Mutex<Option<AbortHandle>>,
    /// Closed when the root task has ended.
    over: watch::Receiver<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Links {
    /// Listens (a node), dials every peer, and hands out what comes in. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, or the configuration contradicts itself; then nothing runs.
    pub async fn start(config: LinkConfig) -> Result<(Self, mpsc::Receiver<Inbound>), StartError> {
        config.timing.check()?;
        let is_node = config.me.node().is_some();
        if is_node != config.listen.is_some() {
            return Err(StartError::Role(config.me));
        }
        if !is_node && !config.guards.is_empty() {
            return Err(StartError::Guards(config.me));
        }
        let targets = targets(&config.me, &config.tls, &config.peers)?;
        let listener = match config.listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let address = listener.as_ref().and_then(|l| l.local_addr().ok());

        let (inbound, received) = mpsc::channel(INBOUND_QUEUE);
        let shared = Arc::new(Shared::new(&config, targets, inbound));
        let (ended, over) = watch::channel(());
        let root = tokio::spawn(run(shared.clone(), listener, ended));
        let root = Mutex::new(Some(root.abort_handle()));
        let running = Arc::new(Running { shared: shared.clone(), address, root, over });
        Ok((Self { shared, running }, received))
    }

    /// The address listened on, with the port the system chose where 0 was asked for.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.running.address
    }

    /// Changes whom these links know: every node with its address, and the guards that may connect. Who
    /// stays keeps its connections; who goes loses them and is refused from then on.
    ///
    /// # Errors
    /// A name that is no server name, or guards for a guard; then nothing changes.
    pub fn set_roster(
        &self,
        peers: &BTreeMap<NodeId, SocketAddr>,
        guards: &BTreeSet<ServerId>,
    ) -> Result<(), StartError> {
        let me = &self.shared.me;
        if me.node().is_none() && !guards.is_empty() {
            return Err(StartError::Guards(me.clone()));
        }
        let targets = targets(me, &self.shared.tls, peers)?;
        let nodes = peers.keys().cloned().map(Endpoint::Node);
        self.shared.state().table.set_roster(nodes.chain(guards.iter().cloned().map(Endpoint::Guard)));
        self.shared.targets.send_replace(targets);
        Ok(())
    }

    /// Queues a message and returns at once. A message to `me` is handed in locally.
    pub fn cast(&self, to: &Endpoint, topic: u8, body: &[u8]) -> Sent {
        if body.len() > BODY_MAX {
            return Sent::Busy;
        }
        self.shared.send(self.shared.message(to.clone(), Kind::Cast { topic }, body.to_vec()))
    }

    /// Sends a message and waits for its answer, at most `within`. A call that finds no path or a full
    /// queue fails at once. Dropping the future forgets the call.
    ///
    /// # Errors
    /// See [`CallError`]: after `NoPath` and `Busy` the peer surely did not get it.
    pub async fn call(
        &self,
        to: &Endpoint,
        topic: u8,
        body: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let mut under_way = self.shared.open_call(to, topic, body)?;
        match timeout(within, &mut under_way.answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::Stopped),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    /// The age of what was last heard directly from an endpoint; `None` when nothing ever was.
    pub fn heard(&self, endpoint: &Endpoint) -> Option<Duration> {
        self.shared.state().table.heard(endpoint, Instant::now())
    }

    /// The endpoints heard directly within `silence`. They need not hear us: see [`LinkView`] for that.
    pub fn hears(&self) -> BTreeSet<Endpoint> {
        self.shared.state().table.hears(Instant::now())
    }

    /// All links at this moment.
    pub fn view(&self) -> LinkView {
        let state = self.shared.state();
        LinkView {
            me: self.shared.me.clone(),
            links: state.table.view(Instant::now()),
            counters: state.counters,
        }
    }

    /// Says goodbye on every connection and ends every task, within two seconds. Calls that wait
    /// end with [`CallError::Stopped`]; the inbound channel closes. Calling it again does no harm.
    pub async fn stop(&self) {
        self.shared.stop();
        let mut over = self.running.over.clone();
        // It never changes: it is closed when the root task is over.
        let ended = timeout(STOP_DEADLINE, over.changed()).await;
        let root = self.running.root.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let (Err(_), Some(root)) = (ended, root) {
            tracing::warn!("links did not stop within {STOP_DEADLINE:?} and are cut off");
            // Its children are in task sets of its own, which end with it.
            root.abort();
        }
        self.shared.state().table.clear();
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

fn targets(
    me: &Endpoint,
    tls: &LinkTls,
    peers: &BTreeMap<NodeId, SocketAddr>,
) -> Result<Vec<Target>, StartError> {
    let others = peers.iter().filter(|(node, _)| me.node() != Some(node));
    let target = |(node, address): (&NodeId, &SocketAddr)| {
        let name = (tls.server_name)(node).map_err(|_| StartError::ServerName(node.clone()))?;
        Ok(Target { node: node.clone(), address: *address, name })
    };
    others.map(target).collect()
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// The root task: everything else runs under it. `ended` is dropped with it.
async fn run(shared: Arc<Shared>, listener: Option<TcpListener>, ended: watch::Sender<()>) {
    let mut tasks = JoinSet::new();
    if let Some(listener) = listener {
        tasks.spawn(keep_listening(shared.clone(), listener));
    }
    let mut targets = shared.targets.subscribe();
    let mut dialing: Vec<(Target, AbortHandle)> = Vec::new();
    loop {
        let wanted = targets.borrow_and_update().clone();
        dialing.retain(|(target, task)| {
            let stays = wanted.contains(target);
            if !stays {
                task.abort();
            }
            stays
        });
        for target in wanted {
            if !dialing.iter().any(|(known, _)| *known == target) {
                let task = tasks.spawn(keep_dialing(shared.clone(), target.clone()));
                dialing.push((target, task));
            }
        }
        tokio::select! {
            () = shared.stopped() => break,
            // The sender lives in shared.
            _ = targets.changed() => {}
            Some(task) = tasks.join_next() => told_of(task),
        }
    }
    while let Some(task) = tasks.join_next().await {
        told_of(task);
    }
    drop(ended);
}

fn told_of(task: Result<(), tokio::task::JoinError>) {
    if let Some(error) = task.err().filter(tokio::task::JoinError::is_panic) {
        tracing::error!("a link task failed: {error}");
    }
}
