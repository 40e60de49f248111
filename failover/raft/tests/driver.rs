//! Goal: the real thing holds together: threads, clocks, redb files. Method: clusters in one
//! process, whose network is a map from node to handle; faults are nodes stopped and links cut.
//! Deadlines are generous and nothing is asserted about time.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use failover_raft::{
    Driver, DriverConfig, Handle, Identity, ProposeError, RaftStatus, ReadError, Recovered, ReplicaConfig,
    Role, StartError, StateMachine, StepError, Store, TransferError,
};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Every applied value, in order; shared with the test.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<Vec<u64>>>);

impl StateMachine for Values {
    fn apply(&mut self, _index: u64, data: &[u8]) {
        assert_ne!(data, b"poison", "told to panic");
        self.0.lock().unwrap().push(u64::from_le_bytes(data.try_into().unwrap()));
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn restore(&mut self, data: &[u8]) {
        let values = data.chunks_exact(8).map(|value| u64::from_le_bytes(value.try_into().unwrap()));
        *self.0.lock().unwrap() = values.collect();
    }
}

#[derive(Clone, Default)]
struct Network {
    handles: Arc<Mutex<BTreeMap<u64, Handle>>>,
    cut: Arc<Mutex<BTreeSet<u64>>>,
}

struct Cluster {
    network: Network,
    machines: BTreeMap<u64, Values>,
    directory: tempfile::TempDir,
    size: u64,
    starts: u64,
}

impl Cluster {
    fn new(size: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster =
            Self { network: Network::default(), machines: BTreeMap::new(), directory, size, starts: 0 };
        for id in 1..=size {
            let voters: Vec<u64> = (1..=size).collect();
            let genesis = Recovered::genesis(&voters, Vec::new());
            drop(Store::create(&cluster.path(id), &identity(id), &genesis).unwrap());
            cluster.start(id);
        }
        cluster
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.path().join(format!("node-{id}.redb"))
    }

    fn start(&mut self, id: u64) -> Handle {
        self.starts += 1;
        let store = Store::open(&self.path(id), &identity(id)).unwrap();
        let machine = Values::default();
        self.machines.insert(id, machine.clone());
        let network = self.network.clone();
        let outbound = move |to, bytes: Vec<u8>| {
            let cut = network.cut.lock().unwrap();
            if cut.contains(&id) || cut.contains(&to) {
                return;
            }
            let handle = network.handles.lock().unwrap().get(&to).cloned();
            if let Some(handle) = handle {
                let _ = handle.step(id, &bytes);
            }
        };
        let handle = Driver::start(config(id, self.starts), store, machine, outbound).unwrap();
        self.network.handles.lock().unwrap().insert(id, handle.clone());
        handle
    }

    async fn stop(&self, id: u64) {
        let handle = self.network.handles.lock().unwrap().remove(&id).unwrap();
        handle.stop(soon()).await.unwrap();
    }

    fn handle(&self, id: u64) -> Handle {
        self.network.handles.lock().unwrap()[&id].clone()
    }

    fn running(&self) -> Vec<u64> {
        self.network.handles.lock().unwrap().keys().copied().collect()
    }

    /// The leader, once a running node says that it leads.
    async fn leader(&self) -> u64 {
        let mut watchers: Vec<_> = self.running().into_iter().map(|id| self.handle(id).status()).collect();
        let deadline = soon();
        loop {
            for watcher in &mut watchers {
                let status = watcher.borrow_and_update();
                if status.role == Role::Leader && status.stopped.is_none() {
                    return status.id;
                }
            }
            assert!(Instant::now() < deadline, "no leader");
            let changes = watchers.iter_mut().map(|watcher| Box::pin(watcher.changed()));
            any(changes.collect()).await;
        }
    }

    /// Proposes wherever the leader is until it is confirmed. A value may be committed twice.
    async fn propose(&self, value: u64) {
        let deadline = soon();
        loop {
            let leader = self.leader().await;
            let soon = Instant::now() + Duration::from_secs(5);
            match self.handle(leader).propose(value.to_le_bytes().to_vec(), soon).await {
                Ok(_) => return,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    }

    /// Waits until `id` has applied `value`.
    async fn applied(&self, id: u64, value: u64) {
        let values = self.machines[&id].clone();
        wait(&self.handle(id), move |_| values.0.lock().unwrap().contains(&value)).await;
    }

    async fn stop_all(&self) {
        for id in self.running() {
            self.stop(id).await;
        }
    }
}

/// Done when the first of them is.
async fn any<F: Future + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        let done = futures.iter_mut().any(|future| std::pin::Pin::new(future).poll(context).is_ready());
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn wait(handle: &Handle, mut done: impl FnMut(&RaftStatus) -> bool) -> RaftStatus {
    let mut status = handle.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(|status| done(status))).await;
    found.expect("in time").expect("the thread publishes its end").clone()
}

fn identity(node: u64) -> Identity {
    Identity { cluster: "test".to_owned(), node, incarnation: 1 }
}

fn config(id: u64, seed: u64) -> DriverConfig {
    let begun = Instant::now();
    DriverConfig {
        replica: ReplicaConfig {
            id,
            election_ticks_min: 10,
            election_ticks_max: 20,
            heartbeat_ticks: 2,
            priority: 0,
        },
        tick: Duration::from_millis(20),
        snapshot_every: 50,
        seed,
        clock: Box::new(move || 1 + begun.elapsed().as_micros() as u64),
    }
}

#[tokio::test]
async fn three_nodes_commit_and_followers_name_the_leader() {
    let cluster = Cluster::new(3);
    cluster.propose(1).await;
    for id in cluster.running() {
        cluster.applied(id, 1).await;
    }
    let leader = cluster.leader().await;
    let status = cluster.handle(leader).status().borrow().clone();
    assert!(status.elected_at.is_some_and(|at| at > 0));
    assert_eq!(status.progress.len(), 3);
    let other = cluster.running().into_iter().find(|id| *id != leader).unwrap();
    wait(&cluster.handle(other), |status| status.leader == Some(leader)).await;
    assert_eq!(
        cluster.handle(other).propose(vec![0; 8], soon()).await,
        Err(ProposeError::NotLeader { leader })
    );
    assert_eq!(cluster.handle(other).read_index(soon()).await, Err(ReadError::NotLeader { leader }));
    assert_eq!(
        cluster.handle(other).transfer_leader(leader, soon()).await,
        Err(TransferError::NotLeader { leader })
    );
    assert_eq!(
        cluster.handle(leader).propose(Vec::new(), soon()).await,
        Err(ProposeError::Size { bytes: 0 })
    );
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_read_index_covers_all_that_was_confirmed_before_it() {
    let cluster = Cluster::new(3);
    for value in 0..20 {
        let leader = cluster.leader().await;
        let handle = cluster.handle(leader);
        let Ok(proposed) = handle.propose(u64::to_le_bytes(value).to_vec(), soon()).await else { continue };
        let reads = (0..10).map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.read_index(soon()).await })
        });
        for read in reads.collect::<Vec<_>>() {
            // Leadership may be lost on a busy machine; a confirmed read must still be right.
            if let Ok(index) = read.await.unwrap() {
                assert!(index >= proposed.index);
                assert!(cluster.machines[&leader].0.lock().unwrap().contains(&value));
            }
        }
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_cluster_that_was_stopped_goes_on_where_it_was() {
    let mut cluster = Cluster::new(3);
    // Enough for snapshots and for entries behind them.
    for value in 0..130 {
        cluster.propose(value).await;
    }
    cluster.stop_all().await;
    for id in 1..=cluster.size {
        cluster.start(id);
    }
    cluster.propose(1_000).await;
    for id in cluster.running() {
        cluster.applied(id, 1_000).await;
        let mut values = cluster.machines[&id].0.lock().unwrap().clone();
        values.dedup();
        assert_eq!(values.len(), 131);
        assert!(values.is_sorted());
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_node_that_was_away_catches_up_by_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.propose(0).await;
    let leader = cluster.leader().await;
    let away = cluster.running().into_iter().find(|id| *id != leader).unwrap();
    cluster.stop(away).await;
    for value in 1..=200 {
        cluster.propose(value).await;
    }
    cluster.start(away);
    cluster.applied(away, 200).await;
    let status = cluster.handle(away).status().borrow().clone();
    assert!(status.snapshot_index > 50, "entries that far back are trimmed elsewhere");
    let mut values = cluster.machines[&away].0.lock().unwrap().clone();
    values.dedup();
    assert_eq!(values, (0..=200).collect::<Vec<u64>>());
    cluster.stop_all().await;
}

#[tokio::test]
async fn without_a_quorum_every_call_ends_by_its_deadline() {
    let cluster = Cluster::new(3);
    cluster.propose(0).await;
    let leader = cluster.leader().await;
    for id in cluster.running().into_iter().filter(|id| *id != leader) {
        cluster.stop(id).await;
    }
    let handle = cluster.handle(leader);
    let deadline = || Instant::now() + Duration::from_millis(200);
    let proposed = handle.propose(vec![1; 8], deadline()).await;
    let unconfirmed = [ProposeError::TimedOut, ProposeError::Unknown, ProposeError::NoLeader];
    assert!(unconfirmed.iter().any(|error| proposed == Err(error.clone())), "{proposed:?}");
    let read = handle.read_index(deadline()).await;
    assert!([Err(ReadError::TimedOut), Err(ReadError::NoLeader)].contains(&read), "{read:?}");
    // It finds out that it leads nobody.
    wait(&handle, |status| status.role != Role::Leader).await;
    assert_eq!(handle.propose(vec![1; 8], soon()).await, Err(ProposeError::NoLeader));
    assert_eq!(handle.read_index(soon()).await, Err(ReadError::NoLeader));
    cluster.stop_all().await;
}

#[tokio::test]
async fn proposals_on_their_way_are_unknown_when_leadership_is_lost() {
    let cluster = Cluster::new(3);
    cluster.propose(0).await;
    let leader = cluster.leader().await;
    let handle = cluster.handle(leader);
    cluster.network.cut.lock().unwrap().insert(leader);
    let proposed = handle.propose(7_u64.to_le_bytes().to_vec(), soon()).await;
    assert!(matches!(proposed, Err(ProposeError::Unknown | ProposeError::NoLeader)), "{proposed:?}");
    cluster.network.cut.lock().unwrap().clear();
    cluster.propose(8).await;
    cluster.applied(leader, 8).await;
    cluster.stop_all().await;
}

#[tokio::test]
async fn leadership_moves_on_request() {
    let cluster = Cluster::new(3);
    cluster.propose(0).await;
    let deadline = soon();
    let to = 2;
    loop {
        let leader = cluster.leader().await;
        if leader == to {
            break;
        }
        assert!(Instant::now() < deadline);
        if cluster.handle(leader).transfer_leader(to, soon()).await.is_ok() {
            wait(&cluster.handle(leader), |status| status.role != Role::Leader || status.term > 1).await;
        }
        cluster.propose(1).await;
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_panic_in_the_state_machine_ends_raft_and_says_why() {
    let cluster = Cluster::new(1);
    cluster.leader().await;
    let handle = cluster.handle(1);
    let proposed = handle.propose(b"poison".to_vec(), soon()).await;
    assert!(
        matches!(&proposed, Err(ProposeError::Stopped { why }) if why.contains("told to panic")),
        "{proposed:?}"
    );
    let status = wait(&handle, |status| status.ended).await;
    assert!(status.stopped.unwrap().why.contains("told to panic"));
    assert!(matches!(handle.propose(vec![0; 8], soon()).await, Err(ProposeError::Stopped { .. })));
    assert!(matches!(handle.read_index(soon()).await, Err(ReadError::Stopped { .. })));
    handle.stop(soon()).await.unwrap();
}

#[tokio::test]
async fn stopping_is_said_and_may_be_asked_twice() {
    let cluster = Cluster::new(1);
    let handle = cluster.handle(1);
    handle.stop(soon()).await.unwrap();
    handle.stop(soon()).await.unwrap();
    assert_eq!(handle.status().borrow().stopped.as_ref().unwrap().why, "it was asked to");
    // The file is free again.
    drop(Store::open(&cluster.path(1), &identity(1)).unwrap());
}

#[tokio::test]
async fn messages_that_make_no_sense_are_refused_and_counted() {
    let cluster = Cluster::new(3);
    cluster.propose(0).await;
    let handle = cluster.handle(1);
    assert!(matches!(handle.step(2, b"\xff\xff\xff"), Err(StepError::Wire { from: 2, .. })));
    let mut message = failover_raft::Message::default();
    (message.from, message.to, message.term) = (3, 1, 1);
    message.set_msg_type(failover_raft::MessageType::MsgHup);
    let bytes = failover_raft::wire::encode(&message).unwrap();
    assert!(matches!(handle.step(2, &bytes), Err(StepError::Sender { from: 2, claimed: 3 })));
    handle.step(3, &bytes).unwrap();
    let status = wait(&handle, |status| status.refused > 0).await;
    assert!(status.refused_last.unwrap().contains("does not come from peers"));
    cluster.stop_all().await;
}

/// A state machine that waits in `apply` for the test.
struct Gate(std::sync::mpsc::Receiver<()>);

impl StateMachine for Gate {
    fn apply(&mut self, _index: u64, _data: &[u8]) {
        let _ = self.0.recv();
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _data: &[u8]) {}
}

#[tokio::test]
async fn a_thread_that_does_not_keep_up_is_busy_and_nobody_waits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.redb");
    let store = Store::create(&path, &identity(1), &Recovered::genesis(&[1], Vec::new())).unwrap();
    let (open, gate) = std::sync::mpsc::channel();
    let handle = Driver::start(config(1, 1), store, Gate(gate), |_, _| {}).unwrap();
    wait(&handle, |status| status.role == Role::Leader).await;
    // The first is applied, which waits; the others wait in the queue.
    let mut waiting = Vec::new();
    let mut busy = false;
    for _ in 0..20_000 {
        let mut proposal = Box::pin({
            let handle = handle.clone();
            async move { handle.propose(vec![0; 8], soon()).await }
        });
        let first =
            std::future::poll_fn(|context| std::task::Poll::Ready(proposal.as_mut().poll(context))).await;
        match first {
            std::task::Poll::Ready(outcome) => {
                assert_eq!(outcome, Err(ProposeError::Busy));
                busy = true;
                break;
            }
            std::task::Poll::Pending => waiting.push(proposal),
        }
    }
    assert!(busy);
    assert_eq!(handle.read_index(soon()).await, Err(ReadError::Busy));
    // Its callers have gone, so what waits in the queue is not proposed at all.
    drop(waiting);
    drop(open);
    handle.stop(soon()).await.unwrap();
}

#[test]
fn a_log_of_another_node_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.redb");
    let store = Store::create(&path, &identity(1), &Recovered::genesis(&[1, 2], Vec::new())).unwrap();
    let started = Driver::start(config(2, 1), store, Values::default(), |_, _| {});
    assert!(matches!(started, Err(StartError::Node { store: 1, replica: 2 })));
}
