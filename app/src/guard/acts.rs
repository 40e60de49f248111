//! Performs database acts. Short ones run one after another on an admin session that is kept open
//! always: while an account change waits for an ack no new connection gets in (interleaving 23).
//! Long ones and sentinels have sessions of their own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use failover_core::{ActEnd, ActId, DatabaseAct, Lane};
use replication_mysql::{
    Channel, Deadline, Donor, KineGap, Opening, Outcome, Rescue, Sentinel, Session, Source, SourceTls,
    Switch, arm_source_semi_sync, change_password, client_sessions, clone_from, disarm_source_semi_sync,
    drain_writes, ensure_schema, follow, gather, kill_client_sessions, leave_source, promote,
    replica_semi_sync, save_extra_transactions, set_offline_mode, set_super_read_only, start_applier,
    start_replica, stop_io_thread, wait_drained, write_opening, write_opening_and_gap, write_sentinel,
};
use tokio::process::Command;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::host::{Host, address_of};
use super::{Local, copy, progress};

/// Deadline of a short act: ten times what the slowest took when measured.
const SHORT: Duration = Duration::from_secs(2);
/// Deadline of taking writes from everybody. The server bounds its own wait in whole seconds beneath it: two
/// of them, since a switchover waits for three and a half.
const BLOCK: Duration = Duration::from_millis(2_900);
/// Deadline of rung 2. The ladder does not wait for it: it goes on when its own time is over.
const FENCE: Duration = Duration::from_millis(1_500);
/// A sentinel's answer is not waited for longer: a second one is written then.
const SENTINEL: Duration = Duration::from_secs(10);
/// Deadline of draining a relay log; the executor asks again.
const DRAIN: Duration = Duration::from_secs(60);
/// Deadline of gathering; the executor asks again.
const GATHER: Duration = Duration::from_secs(60);
/// Deadline of copying binary logs and writing SQL.
const SAVE: Duration = Duration::from_secs(600);
/// Deadline of a clone.
const CLONE: Duration = Duration::from_secs(3_000);
/// Between two looks at the admin session while nothing is to be done.
const KEEP_OPEN: Duration = Duration::from_millis(500);
/// One act a lane is under way, so this never fills.
const QUEUE: usize = 8;

/// See the module.
pub struct Acts {
    admin: mpsc::Sender<(ActId, DatabaseAct)>,
    host: Arc<Host>,
    local: mpsc::Sender<Local>,
}

impl Acts {
    /// Starts the owner of the admin session.
    pub fn start(host: Arc<Host>, local: mpsc::Sender<Local>) -> Self {
        let (admin, queue) = mpsc::channel(QUEUE);
        tokio::spawn(own_admin(host.clone(), local.clone(), queue));
        Self { admin, host, local }
    }

    /// Begins an act; its end comes as `Local::Ended`.
    pub fn begin(&self, id: ActId, act: DatabaseAct) {
        if !matches!(act, DatabaseAct::Sentinel { .. }) {
            info!(?act, "act begins");
        }
        if act.lane() == Lane::Admin {
            if self.admin.try_send((id, act)).is_err() {
                let end = ActEnd::Failed { why: "the admin session's queue is full".into() };
                let local = self.local.clone();
                tokio::spawn(async move { local.send(Local::Ended { act: id, end }).await });
            }
            return;
        }
        let (host, local) = (self.host.clone(), self.local.clone());
        tokio::spawn(async move {
            let end = match act {
                DatabaseAct::Rebuild { .. } => progress::told(&host, &local, own_session(&host, &act)).await,
                _ => own_session(&host, &act).await,
            };
            tell(&act, &end);
            let _ = local.send(Local::Ended { act: id, end }).await;
        });
    }
}

fn tell(act: &DatabaseAct, end: &ActEnd) {
    match end {
        ActEnd::Done { .. } => info!(?act, "act done"),
        ActEnd::Failed { why } | ActEnd::Unknown { why } => warn!(?act, why, "act not done"),
    }
}

async fn own_admin(
    host: Arc<Host>,
    local: mpsc::Sender<Local>,
    mut queue: mpsc::Receiver<(ActId, DatabaseAct)>,
) {
    let mut session: Option<Session> = None;
    let mut life = None;
    loop {
        let next = tokio::time::timeout(KEEP_OPEN, queue.recv()).await;
        // A session of a life that is over looks whole until it is used, and an act would end in doubt.
        let runs = host.life();
        if runs != life || session.as_ref().is_none_or(Session::is_broken) {
            session = Session::connect(&host.admin(), Deadline::after(SHORT)).await.ok();
            life = runs;
        }
        let (id, act) = match next {
            Ok(Some(asked)) => asked,
            Ok(None) => return,
            Err(_) => continue,
        };
        let end = match session.as_mut() {
            None => ActEnd::Failed { why: "the database does not answer".into() },
            Some(session) => short(&host, session, &act).await,
        };
        tell(&act, &end);
        if local.send(Local::Ended { act: id, end }).await.is_err() {
            return;
        }
    }
}

async fn short(host: &Host, session: &mut Session, act: &DatabaseAct) -> ActEnd {
    let deadline = Deadline::after(SHORT);
    match act {
        DatabaseAct::Fence => fence(host, session).await,
        DatabaseAct::SetReadOnly => match drain_writes(session, Deadline::after(BLOCK)).await {
            Outcome::Done(executed) => ActEnd::Done { reached: Some(executed) },
            other => end(other),
        },
        DatabaseAct::SetWritable { epoch, life, kine } => {
            let mark = Opening { epoch: *epoch, life: *life, nonce: rand::random() };
            set_writable(host, session, mark, *kine, deadline).await
        }
        DatabaseAct::DropSockets => drop_sockets(host).await,
        DatabaseAct::ArmSource { count } => end(arm_source_semi_sync(session, *count, deadline).await),
        DatabaseAct::DisarmSource => end(disarm_source_semi_sync(session, deadline).await),
        DatabaseAct::ReplicaSemiSync { on } => {
            let to = if *on { Switch::On } else { Switch::Off };
            end(replica_semi_sync(session, to, deadline).await)
        }
        DatabaseAct::StopIo => end::<Channel>(stop_io_thread(session, deadline).await),
        DatabaseAct::StartReplica => end(start_replica(session, deadline).await),
        DatabaseAct::ChangePassword => {
            let (_, password) = host.replication();
            end(change_password(session, &password, deadline).await)
        }
        DatabaseAct::LeaveSource => end(leave_source(session, deadline).await),
        DatabaseAct::Promote => match promote(session, deadline).await {
            Outcome::Done(done) => ActEnd::Done { reached: Some(done.executed) },
            other => end(other),
        },
        DatabaseAct::Rejoin { source, acks } => match address_of(host, source) {
            Ok(address) => rejoin(host, session, address, *acks).await,
            Err(error) => ActEnd::Failed { why: format!("{error:#}") },
        },
        other => ActEnd::Failed { why: format!("{other:?} is no short act") },
    }
}

/// Makes the server writable, marks the opening, and lets clients in. A mark that is refused keeps nobody out:
/// without it `Sync` is not proven, and that is all.
async fn set_writable(
    host: &Host,
    session: &mut Session,
    mark: Opening,
    kine: Option<u64>,
    deadline: Deadline,
) -> ActEnd {
    if let other @ (Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_)) =
        set_super_read_only(session, Switch::Off, deadline).await
    {
        return end(other);
    }
    match mark_opening(host, session, mark, kine, deadline).await {
        ActEnd::Failed { why } => warn!(
            why,
            "the opening is not marked, so Sync cannot be proven; see the grants of the admin account"
        ),
        ActEnd::Unknown { why } => return ActEnd::Unknown { why },
        ActEnd::Done { .. } => {}
    }
    match host.flavour {
        // A server behind no gate boots with it on (docs/design/0010).
        model::Flavour::Mysql => end(set_offline_mode(session, Switch::Off, deadline).await),
        model::Flavour::Mariadb => ActEnd::Done { reached: None },
    }
}

async fn mark_opening(
    host: &Host,
    session: &mut Session,
    mark: Opening,
    kine: Option<u64>,
    deadline: Deadline,
) -> ActEnd {
    if let (Some(beyond), Some(schema)) = (kine, &host.kine_schema) {
        let gap = KineGap { schema: schema.clone(), beyond };
        match write_opening_and_gap(session, mark, &gap, deadline).await {
            Outcome::Done(left) => {
                if let Some(revision) = left {
                    info!(revision, beyond, "K3s's revisions go on beyond a gap");
                    let mut newest = host.kine.lock().expect("no holder of this lock panics");
                    if let Some(newest) = newest.as_mut() {
                        newest.revision = newest.revision.max(revision);
                    }
                }
                return ActEnd::Done { reached: None };
            }
            Outcome::Unknown(why) => return ActEnd::Unknown { why: why.to_string() },
            // Its other clients are not kept out for it. Whoever starts K3s looks for the gap.
            left => warn!(
                why = %left,
                next = "start no K3s server: a revision that was seen would be given out again",
                "no gap is left in K3s's revisions"
            ),
        }
    }
    end(write_opening(session, mark, deadline).await)
}

/// Rung 2: no session, and super_read_only believed by its return; proven by the process list.
async fn fence(host: &Host, session: &mut Session) -> ActEnd {
    let deadline = Deadline::after(FENCE);
    // A session whose socket is destroyed ends by itself, and its client learns at once: for hundreds of
    // them several times as fast as telling each to end. Whoever is left is told.
    if let Err(why) = client_sockets(host, "-K", FENCE / 5).await {
        warn!(why, "the clients' sockets could not be destroyed; their sessions are ended one by one");
    }
    if let other @ (Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_)) =
        kill_client_sessions(session, deadline).await
    {
        return end(other);
    }
    if let other @ (Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_)) =
        set_super_read_only(session, Switch::On, deadline).await
    {
        return end(other);
    }
    match client_sessions(session, deadline).await {
        Ok(left) if left.is_empty() => ActEnd::Done { reached: None },
        Ok(left) => ActEnd::Failed { why: format!("{} client sessions are left", left.len()) },
        Err(error) => ActEnd::Unknown { why: error.to_string() },
    }
}

/// How this server logs in where it is to receive from.
fn source_at(host: &Host, address: SocketAddr) -> Source {
    let (user, password) = host.replication();
    Source {
        host: address.ip().to_string(),
        port: address.port(),
        user,
        password,
        tls: match &host.replication_ca {
            Some(ca) => SourceTls::Required { ca: Some(ca.clone()) },
            None => SourceTls::PublicKey,
        },
    }
}

/// Takes from another replica what it holds, and receives no more.
async fn gather_from(
    host: &Host,
    session: &mut Session,
    address: SocketAddr,
    gtid: &model::GtidSet,
) -> ActEnd {
    match gather(session, &source_at(host, address), gtid, Deadline::after(GATHER)).await {
        Outcome::Done(executed) => ActEnd::Done { reached: Some(executed) },
        other => end(other),
    }
}

async fn rejoin(host: &Host, session: &mut Session, source: SocketAddr, acks: bool) -> ActEnd {
    let deadline = Deadline::after(SHORT * 2);
    let source = source_at(host, source);
    // A returning server's channel is an old one or what CLONE brought along; all it had applied is
    // in gtid_executed, which was compared.
    let acks = if acks { Switch::On } else { Switch::Off };
    end(follow(session, &source, acks, deadline).await)
}

async fn own_session(host: &Host, act: &DatabaseAct) -> ActEnd {
    let connect = Session::connect(&host.admin(), Deadline::after(SHORT)).await;
    let mut session = match connect {
        Ok(session) => session,
        Err(error) => return ActEnd::Failed { why: error.to_string() },
    };
    match act {
        DatabaseAct::Sentinel { epoch, g } => {
            let deadline = Deadline::after(SENTINEL);
            let sentinel = Sentinel { epoch: *epoch, g: *g, nonce: rand::random() };
            match ensure_schema(&mut session, deadline).await {
                Outcome::Done(()) => end(write_sentinel(&mut session, sentinel, deadline).await),
                other => end(other),
            }
        }
        DatabaseAct::Drain => {
            let deadline = Deadline::after(DRAIN);
            // The applier never stops in a fence; after a restart it may not have been started.
            if let Outcome::Unknown(why) = start_applier(&mut session, deadline).await {
                return ActEnd::Unknown { why: why.to_string() };
            }
            match wait_drained(&mut session, deadline).await {
                Outcome::Done(set) => ActEnd::Done { reached: Some(set) },
                // Already promoted: nothing is received any more, so nothing is left to apply.
                Outcome::Refused(replication_mysql::Refusal::NoSource) => ActEnd::Done { reached: None },
                other => end(other),
            }
        }
        DatabaseAct::Gather { source, gtid } => match address_of(host, source) {
            Ok(address) => gather_from(host, &mut session, address, gtid).await,
            Err(error) => ActEnd::Failed { why: format!("{error:#}") },
        },
        DatabaseAct::SaveExtra { extra } => {
            let rescue = Rescue {
                index: host.binlog_index.clone(),
                extra: extra.clone(),
                into: host.rescue_dir.join(folder_of(extra)),
                mysqlbinlog: match host.flavour {
                    model::Flavour::Mysql => host.mysqlbinlog.clone(),
                    model::Flavour::Mariadb => vec![],
                },
            };
            match save_extra_transactions(&rescue, Deadline::after(SAVE)).await {
                Ok(saved) => {
                    info!(into = %rescue.into.display(), sql = saved.sql.is_some(), "binary logs are saved");
                    ActEnd::Done { reached: Some(extra.clone()) }
                }
                Err(error) => ActEnd::Failed { why: chain(&error) },
            }
        }
        DatabaseAct::Rebuild { donor } if host.copies.is_some() => copy::rebuild(host, donor).await,
        DatabaseAct::Rebuild { donor } => match address_of(host, donor) {
            Ok(address) => {
                let (user, password) = host.replication();
                let donor = Donor { address, user, password, ca: host.replication_ca.clone() };
                end(clone_from(&mut session, &donor, Deadline::after(CLONE)).await)
            }
            Err(error) => ActEnd::Failed { why: format!("{error:#}") },
        },
        other => ActEnd::Failed { why: format!("{other:?} has no session of its own") },
    }
}

/// A folder's name for a set: its text, shortened, safe in a path.
fn folder_of(extra: &model::GtidSet) -> String {
    let safe: String = extra
        .to_string()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    safe.chars().take(200).collect()
}

/// Destroys what is left of client sockets of earlier lives and epochs, and proves that none is left:
/// an answer queued in the kernel outlives the process that wrote it (ss(8), `--kill`). Behind a shut
/// gate none may be left; without one, none of those that were there, since new clients come at any time.
async fn drop_sockets(host: &Host) -> ActEnd {
    let looked = async {
        let dropped = client_sockets(host, "-K", SHORT).await?;
        let mut left = client_sockets(host, "-n", SHORT).await?;
        left.retain(|s| host.gated || dropped.contains(s));
        Ok(left.len())
    };
    match looked.await {
        Ok(0) => ActEnd::Done { reached: None },
        Ok(left) => ActEnd::Failed { why: format!("{left} client sockets are left") },
        Err(why) => ActEnd::Failed { why },
    }
}

/// What ss tells of the clients' sockets of the gated ports, once it has done `action` to them.
async fn client_sockets(
    host: &Host,
    action: &str,
    within: Duration,
) -> Result<BTreeSet<(String, String)>, String> {
    let ports: Vec<String> = host.gate.ports.iter().map(|port| format!("sport = :{port}")).collect();
    let mut filter = format!("( {} )", ports.join(" or "));
    for address in &host.gate.exempt {
        let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        filter += &format!(" and not dst {address}");
    }
    let mut command = Command::new("ss");
    command.args(["-tnH", action, "state", "connected", "exclude", "time-wait", &filter]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(within, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(ends_of).collect())
        }
        Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Ok(Err(error)) => Err(format!("run ss: {error}; install iproute2")),
        Err(_) => Err("ss was not done in time".into()),
    }
}

/// Both ends of a socket in a line of ss (ss(8)): state, two queues, local, peer.
fn ends_of(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace().skip(3);
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

fn end<T>(outcome: Outcome<T>) -> ActEnd {
    match outcome {
        Outcome::Done(_) => ActEnd::Done { reached: None },
        Outcome::Refused(why) => ActEnd::Failed { why: chain(&why) },
        Outcome::Failed(why) => ActEnd::Failed { why: chain(&why) },
        Outcome::Unknown(why) => ActEnd::Unknown { why: chain(&why) },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}
