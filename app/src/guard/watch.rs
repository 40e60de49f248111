//! Watches the database of this host: its process by pidfd, its state ten times a second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use failover_core::{HowItEnded, Process};
use model::{AccountsReading, ProcessStart, Timestamp};
use replication_mysql::{
    ConnectError, Deadline, Ending, MysqldProcess, Session, accounts, how_it_ended, kine, long_transactions,
    read,
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::Local;
use super::host::Host;
use crate::clock;
use crate::outage::Outage;

/// Between two readings while a move waits for what they tell.
const READ_IN_A_HURRY: Duration = Duration::from_millis(20);
/// Otherwise one in so many: 100 ms.
const READ_ONE_IN: u32 = 5;
/// Between two looks at what nobody is in a hurry to know.
const LEISURE: Duration = Duration::from_secs(1);
/// Between two looks at the accounts, which people change now and then.
const ACCOUNTS_EVERY: Duration = Duration::from_secs(10);
/// Deadline of one reading, connecting included. Longer than any of a server that serves.
const READ_WITHIN: Duration = Duration::from_millis(1_000);
/// Between two looks for a process that is not there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A wait for the process's end is renewed this often, so that it can be ended itself.
const EXIT_WAIT: Duration = Duration::from_secs(10);

/// Starts both watchers; they end with the process.
pub fn start(host: Arc<Host>, local: mpsc::Sender<Local>) {
    let (life, lives) = watch::channel(None);
    tokio::spawn(watch_process(host.clone(), local.clone(), life));
    tokio::spawn(look_at_leisure(host.clone(), local.clone(), lives.clone()));
    tokio::spawn(read_always(host, local, lives));
}

async fn watch_process(
    host: Arc<Host>,
    local: mpsc::Sender<Local>,
    life: watch::Sender<Option<ProcessStart>>,
) {
    let mut last_pid = last_pid(&host);
    let mut told_gone = false;
    let mut absent = Outage::default();
    loop {
        let found = match MysqldProcess::find(&host.files) {
            Ok(found) => found,
            Err(error) => {
                // Not seen is not gone: a fence must not be confirmed on a look that failed.
                warn!(%error, "the database's process cannot be looked for");
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
        };
        let Some(process) = found else {
            if !told_gone {
                let ended = last_pid.map(|pid| ended(&host, pid));
                let gone = Local::Process { process: Process::Gone { for_us: 0 }, ended };
                if local.send(gone).await.is_err() {
                    return;
                }
                told_gone = true;
                life.send_replace(None);
            }
            if absent.fails(clock::now()) {
                warn!(
                    pid_file = %host.files.pid_file.display(),
                    data_dir = %host.files.data_dir.display(),
                    next = "does its supervisor start mysqld, and are both paths the server's?",
                    "no database process is found"
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        told_gone = false;
        let start = process.start();
        if absent.works() {
            info!(process = %start, "the database process is there");
        }
        let previous = last_pid.filter(|pid| *pid != process.pid()).map(|pid| ended(&host, pid));
        last_pid = Some(process.pid());
        *host.process.lock().expect("no holder of this lock panics") = Some(process);
        let running = Local::Process { process: Process::Running { start }, ended: previous };
        if local.send(running).await.is_err() {
            return;
        }
        life.send_replace(Some(start));
        wait_for_end(&host, start).await;
        host.process.lock().expect("no holder of this lock panics").take();
    }
}

async fn wait_for_end(host: &Host, start: ProcessStart) {
    loop {
        let process = match MysqldProcess::find(&host.files) {
            Ok(Some(process)) => process,
            Ok(None) => return,
            Err(_) => {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
        };
        if process.start() != start {
            return;
        }
        if process.exited(Deadline::after(EXIT_WAIT)).await.is_ok() {
            return;
        }
    }
}

/// The last life in the error log that is not the one running now: the life whose end this guard did
/// not see, because it was not running itself.
fn last_pid(host: &Host) -> Option<u32> {
    let running = MysqldProcess::find(&host.files).ok().flatten().map(|p| p.pid());
    let lives = replication_mysql::lives(&host.error_log).ok()?;
    lives.iter().rev().map(|life| life.pid).find(|pid| Some(*pid) != running)
}

fn ended(host: &Host, pid: u32) -> HowItEnded {
    match how_it_ended(&host.error_log, pid, false) {
        Ending::Crashed => HowItEnded::Killed,
        // A restart after CLONE is an orderly shutdown too; the data that it served is gone by then.
        Ending::Graceful | Ending::Restarted => HowItEnded::Graceful,
        Ending::NotYet | Ending::Unknown => HowItEnded::Unknown,
    }
}

async fn read_always(
    host: Arc<Host>,
    local: mpsc::Sender<Local>,
    mut lives: watch::Receiver<Option<ProcessStart>>,
) {
    let mut session: Option<Session> = None;
    let mut silent = Outage::default();
    let mut every = tokio::time::interval(READ_IN_A_HURRY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut skipped = 0;
    loop {
        every.tick().await;
        skipped += 1;
        if skipped < READ_ONE_IN && !host.hurry.load(Ordering::Relaxed) {
            continue;
        }
        skipped = 0;
        let Some(life) = *lives.borrow_and_update() else {
            session = None;
            continue;
        };
        let deadline = Deadline::after(READ_WITHIN);
        if session.as_ref().is_none_or(Session::is_broken) {
            session = match Session::connect(&host.admin(), deadline).await {
                Ok(session) => Some(session),
                Err(error) => {
                    tell_silence(&mut silent, &host, &error);
                    let answered = !matches!(error, ConnectError::Timeout { .. });
                    if *lives.borrow() == Some(life)
                        && local.send(Local::Knocked { life, answered }).await.is_err()
                    {
                        return;
                    }
                    continue;
                }
            };
        }
        let Some(open) = session.as_mut() else { continue };
        match read(open, deadline).await {
            Ok(mut reading) => {
                reading
                    .long_transactions
                    .clone_from(&host.long.lock().expect("no holder of this lock panics"));
                reading.kine = *host.kine.lock().expect("no holder of this lock panics");
                reading.accounts = Some(host.accounts_of(life));
                if silent.works() {
                    info!("the database answers");
                }
                // A life that ended in between is told by the process watcher, and dropped there.
                if *lives.borrow() == Some(life)
                    && local.send(Local::Reading { reading: Box::new(reading), life }).await.is_err()
                {
                    return;
                }
            }
            Err(error) => {
                tell_silence(&mut silent, &host, &error);
                session = None;
            }
        }
    }
}

/// Looks for clients' transactions that have been open for long, how far K3s's objects got, and who holds too many
/// rights, on a session of its own: what it asks for is not as cheap as a reading, and no move waits for it.
async fn look_at_leisure(
    host: Arc<Host>,
    local: mpsc::Sender<Local>,
    lives: watch::Receiver<Option<ProcessStart>>,
) {
    let mut session: Option<Session> = None;
    let mut unread = Outage::default();
    let mut looked = None;
    let mut unseen = Outage::default();
    let mut every = tokio::time::interval(LEISURE);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let reads = host.clone();
        if tokio::task::spawn_blocking(move || reads.read_passwords()).await.unwrap_or(false) {
            info!("the replication account's password is another: the channel is given it");
            if local.send(Local::ReplicationPassword).await.is_err() {
                return;
            }
        }
        let deadline = Deadline::after(READ_WITHIN);
        if lives.borrow().is_none() {
            session = None;
        } else if session.as_ref().is_none_or(Session::is_broken) {
            session = Session::connect(&host.admin(), deadline).await.ok();
        }
        let found = match session.as_mut() {
            Some(open) => match long_transactions(open, deadline).await {
                Ok(found) => found,
                Err(error) => {
                    debug!(why = chain(&error), "long transactions are not looked for");
                    session = None;
                    Vec::new()
                }
            },
            None => Vec::new(),
        };
        *host.long.lock().expect("no holder of this lock panics") = found;
        if let (Some(open), Some(schema)) = (session.as_mut(), &host.kine_schema) {
            look_at_kine(&host, open, schema, deadline, &mut unread).await;
        }
        let life = *lives.borrow();
        if let Some(life) = life.filter(|life| accounts_are_due(&host, looked, *life)) {
            if looked.is_none_or(|(seen, _)| seen != life) {
                unseen = Outage::default();
            }
            looked = Some((life, clock::now()));
            look_at_accounts(&host, life, &mut unseen).await;
        }
    }
}

async fn look_at_kine(
    host: &Host,
    session: &mut Session,
    schema: &str,
    deadline: Deadline,
    unread: &mut Outage,
) {
    match kine(session, schema, deadline).await {
        Ok(found) => {
            unread.works();
            *host.kine.lock().expect("no holder of this lock panics") = found;
        }
        Err(error) if unread.fails(clock::now()) => warn!(
            why = chain(&error),
            schema,
            next = "give the admin account its rights: twofold db grants",
            "kine's table is not read, so nobody knows which revisions a failover must leave out"
        ),
        Err(_) => {}
    }
}

/// At each tick until they are known in this life, and then now and then.
fn accounts_are_due(host: &Host, looked: Option<(ProcessStart, Timestamp)>, life: ProcessStart) -> bool {
    let recent = looked.is_some_and(|(_, at)| clock::now().since(at) < ACCOUNTS_EVERY);
    !recent || host.accounts_of(life) == AccountsReading::Awaited
}

/// On a session for this look alone: while an account change waits for its ack, questions about accounts hang, and
/// the sessions that are open must go on. What was found before in this life stands while they do not come; where
/// nothing was, they are awaited until that has lasted for long enough to be told.
async fn look_at_accounts(host: &Host, life: ProcessStart, unseen: &mut Outage) {
    let deadline = Deadline::after(READ_WITHIN);
    let answer = match Session::connect(&host.admin(), deadline).await {
        Ok(mut session) => accounts(&mut session, deadline).await.map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    let refused = || "the admin account may not read them, or they are too many".to_owned();
    let why = match &answer {
        Ok(AccountsReading::Unreadable) => Some(refused()),
        Ok(_) => None,
        Err(why) => Some(why.clone()),
    };
    let tell = match &why {
        Some(_) => unseen.fails(clock::now()),
        None => {
            unseen.works();
            false
        }
    };
    let found = match (answer, host.accounts_of(life)) {
        (Ok(found), _) => found,
        (Err(_), AccountsReading::Awaited) if tell => AccountsReading::Unreadable,
        (Err(_), known) => known,
    };
    *host.known_accounts.lock().expect("no holder of this lock panics") = Some((life, found));
    if let Some(why) = why.filter(|_| tell) {
        warn!(
            why,
            next = "give the admin account its rights: twofold db grants",
            "the accounts are not read, so nobody knows which of them could undo what is proven here"
        );
    }
}

fn tell_silence(silent: &mut Outage, host: &Host, error: &(dyn std::error::Error + 'static)) {
    let why = chain(error);
    if silent.fails(clock::now()) {
        warn!(
            why,
            socket = %host.admin().address,
            next = "is this mysqld's socket, and may the admin account log in with its rights?",
            "the database is not read, so nothing is done with it"
        );
    } else {
        debug!(why, "the database is not read");
    }
}

/// An error with all that lies beneath it, each said once: some layers print those below as well.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(&format!(": {said}"));
        }
        below = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("connect to /run/x.sock")]
        Plain(#[source] Box<Layer>),
        #[error("input/output: {0}")]
        PrintsBelow(#[source] Box<Layer>),
        #[error("no such file")]
        Last,
    }

    #[test]
    fn each_layer_of_an_error_is_said_once() {
        let error = Layer::Plain(Box::new(Layer::PrintsBelow(Box::new(Layer::Last))));
        assert_eq!(chain(&error), "connect to /run/x.sock: input/output: no such file");
    }
}
