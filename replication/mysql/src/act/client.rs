//! The sessions of clients: listing them, which confirms a fence, and ending them.

use crate::deadline::Deadline;
use crate::outcome::{Outcome, Refusal, Stop};
use crate::read::ReadError;
use crate::row::Row;
use crate::session::Session;

/// One line of the process list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its connection number.
    pub id: u64,
    /// Its account's name.
    pub user: String,
    /// Where it comes from, with the port.
    pub host: String,
    /// What it does: `Query`, `Sleep`, `Binlog Dump GTID`, `Killed`, ….
    pub command: String,
    /// The server's word for how far it is, such as `Waiting for semi-sync ACK from replica`.
    pub state: String,
    /// Whose it is.
    pub kind: SessionKind,
}

/// Whose a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// A client's. One that has not logged in yet counts too: it may be a client in a moment.
    Client,
    /// A replica that takes the binary log, or is about to.
    Replication,
    /// The account this adapter uses.
    Agent,
    /// The server's own threads.
    System,
}

/// What `kill_client_sessions` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KilledSessions {
    /// Sessions that were told to end. One that waits for a semi-sync ack goes on waiting, without
    /// a client: it cannot acknowledge any more, and stays in the list as `Killed`.
    pub killed: u32,
}

/// Sessions that are ended in one round trip; one that is gone costs a round trip for each of its like.
const AT_ONCE: usize = 32;

/// ER_NO_SUCH_THREAD: it ended by itself in between.
pub(crate) const GONE: u16 = 1094;

/// Lists the sessions that are neither the agent's, nor replication's, nor the server's own. A fence
/// is confirmed when the list is empty (DESIGN §4).
pub async fn client_sessions(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Vec<SessionInfo>, ReadError> {
    let sets = session.ask("list the sessions", "SHOW PROCESSLIST", deadline).await?;
    let mut clients = Vec::new();
    for row in sets.first().map_or(&[][..], Vec::as_slice) {
        let info = classify(session, row)?;
        if info.kind == SessionKind::Client {
            clients.push(info);
        }
    }
    Ok(clients)
}

/// Tells all clients' sessions to end, and no other. On MySQL a commit that waits for an ack is not
/// released by it; where it is (MariaDB), the call is refused. Call it behind a shut gate only: what it ends may come back at once.
pub async fn kill_client_sessions(session: &mut Session, deadline: Deadline) -> Outcome<KilledSessions> {
    kill(session, deadline).await.into()
}

async fn kill(session: &mut Session, deadline: Deadline) -> Result<KilledSessions, Stop> {
    if session.words().kill_releases_waiters {
        return Err(Refusal::KillTellsWaiters.into());
    }
    let clients = client_sessions(session, deadline).await?;
    let ids: Vec<u64> = clients.iter().filter(|c| c.command != "Killed").map(|c| c.id).collect();
    let mut refused = None;
    for some in ids.chunks(AT_ONCE) {
        let all: Vec<String> = some.iter().map(|id| format!("KILL CONNECTION {id}")).collect();
        match session.run("end clients' sessions", &all.join("; "), deadline).await {
            Ok(()) => continue,
            Err(error) if error.code().is_none() => return Err(error.into()),
            // One of them is gone, or may not be ended: the others go one by one.
            Err(_) => {}
        }
        for one in &all {
            match session.run("end a client's session", one, deadline).await {
                Ok(()) => {}
                Err(error) if error.code() == Some(GONE) => {}
                // One that may not be ended must not save those after it.
                Err(error) if error.code().is_some() => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
    }
    let killed = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    refused.map_or(Ok(KilledSessions { killed }), |error| Err(error.into()))
}

/// Reads one line of the process list.
pub(crate) fn classify(session: &Session, row: &Row) -> Result<SessionInfo, ReadError> {
    let user = row.maybe("User")?.unwrap_or_default();
    let command = row.maybe("Command")?.unwrap_or_default();
    let kind = kind_of(session.user(), session.replication_users(), &user, &command);
    Ok(SessionInfo {
        id: row.parse("Id", "a connection number")?,
        host: row.maybe("Host")?.unwrap_or_default(),
        state: row.maybe("State")?.unwrap_or_default(),
        user,
        command,
        kind,
    })
}

/// The names of the server's own threads as the process list gives them. No account can have them:
/// the server shows an account's real name, and these hold a space or belong to the scheduler.
const SYSTEM_USERS: [&str; 2] = ["system user", "event_scheduler"];

fn kind_of(agent: &str, replication: &[String], user: &str, command: &str) -> SessionKind {
    if SYSTEM_USERS.contains(&user) {
        SessionKind::System
    } else if command.starts_with("Binlog Dump") || replication.iter().any(|r| r == user) {
        SessionKind::Replication
    } else if user == agent {
        SessionKind::Agent
    } else {
        SessionKind::Client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_clients_unless_it_is_known_to_be_another() {
        let replication = ["repl".to_owned()];
        for (user, command, kind) in [
            ("system user", "Query", SessionKind::System),
            ("event_scheduler", "Daemon", SessionKind::System),
            ("twofold", "Query", SessionKind::Agent),
            ("repl", "Query", SessionKind::Replication),
            ("other", "Binlog Dump GTID", SessionKind::Replication),
            ("app", "Query", SessionKind::Client),
            ("app", "Killed", SessionKind::Client),
            ("unauthenticated user", "Connect", SessionKind::Client),
            ("root", "Sleep", SessionKind::Client),
        ] {
            assert_eq!(kind_of("twofold", &replication, user, command), kind, "{user} {command}");
        }
    }
}
