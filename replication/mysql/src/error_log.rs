//! How a server's lives ended, as its error log tells.
//!
//! It matters because a shutdown tells commits that wait for a semi-sync ack that they are done,
//! without the ack; a crash tells nobody anything (DESIGN §4, Return). A shutdown that had only begun
//! when the process was killed counts as graceful: it may have told already.
//!
//! The log is not flushed to the disk line by line: after a loss of power its last lines may be
//! missing, so an ending read from it says nothing about a host that went down with its server.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at the end of the log that are read. A start writes about 4 KiB, so this is hundreds of
/// lives; what lies before is `Unknown`.
const TAIL_BYTES_MAX: u64 = 2 << 20;

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It has not, or it ended at the end of the log without a word.
    NotYet,
    /// Without a word: SIGKILL, a fault, the host.
    Crashed,
    /// It was told to stop, whether or not it came to an end by itself.
    Graceful,
    /// It replaced its data by a CLONE, or was told to RESTART, and ended itself to come back.
    Restarted,
    /// The log does not reach back to its start.
    Unknown,
}

/// One life in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its pid.
    pub pid: u32,
    /// When it started, as the log writes it.
    pub started: String,
    /// How it ended.
    pub ending: Ending,
}

/// The lives that the end of the log tells of, oldest first.
pub fn lives(error_log: &Path) -> io::Result<Vec<Life>> {
    let mut file = File::open(error_log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(lives_in(&String::from_utf8_lossy(&bytes)))
}

/// How the life with `pid` ended: the latest of that pid, since pids are used again. `alive` is
/// whether it lives now; a life at the log's end that does not live has crashed. `Unknown` when the
/// log cannot be read or does not know it.
#[must_use]
pub fn how_it_ended(error_log: &Path, pid: u32, alive: bool) -> Ending {
    let Ok(lives) = lives(error_log) else { return Ending::Unknown };
    match lives.iter().rev().find(|life| life.pid == pid).map(|life| life.ending) {
        None => Ending::Unknown,
        Some(Ending::NotYet) if !alive => Ending::Crashed,
        Some(ending) => ending,
    }
}

fn lives_in(log: &str) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for line in log.lines() {
        if let Some(pid) = starting(line) {
            if let Some(last) = lives.last_mut().filter(|life| life.ending == Ending::NotYet) {
                last.ending = Ending::Crashed;
            }
            let mut words = line.split_ascii_whitespace();
            let date = words.next().unwrap_or_default();
            // One word in MySQL's log (RFC 3339), two in MariaDB's.
            let time = words.next().filter(|time| !date.contains('T') && time.contains(':'));
            let started = time.map_or(date.to_owned(), |time| format!("{date} {time}"));
            lives.push(Life { pid, started, ending: Ending::NotYet });
        } else if let Some(ending) = ending(line)
            && let Some(last) = lives.last_mut().filter(|life| life.ending == Ending::NotYet)
        {
            last.ending = ending;
        }
    }
    lives
}

/// MY-010116: `… /usr/sbin/mysqld (mysqld 9.7.4) starting as process 1234`; MariaDB: `[Note] Starting
/// MariaDB 10.11.18-… source revision … as process 1234`.
fn starting(line: &str) -> Option<u32> {
    let mysql = line.split_once(") starting as process ");
    let mariadb = || line.split_once("] Starting MariaDB ")?.1.split_once(" as process ");
    let (_, after) = mysql.or_else(mariadb)?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// MY-013172 `Received SHUTDOWN from user …`; MY-010910 `Shutdown complete`; MY-013460 `Clone removing all
/// user data …`, after which the server ends itself with the words of a shutdown. MariaDB: `mariadbd
/// (initiated by: unknown): Normal shutdown`.
fn ending(line: &str) -> Option<Ending> {
    if line.contains("Received RESTART") || line.contains("Clone removing all user data") {
        Some(Ending::Restarted)
    } else if line.contains("Received SHUTDOWN")
        || line.contains(": Shutdown complete")
        || line.contains("): Normal shutdown")
    {
        Some(Ending::Graceful)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        format!("2026-11-22T17:23:22.466541Z 0 [System] [MY-010116] [Server] {text}\n")
    }

    fn start(pid: u32) -> String {
        line(&format!("/opt/mysqld (mysqld 9.7.4-2) starting as process {pid}"))
            + &line("/opt/mysqld: ready for connections. Version: '9.7.4-2'  socket: '/x'  port: 1.")
    }

    #[test]
    fn each_life_is_told_how_it_ended() {
        let log = start(10)
            + &start(11)
            + &line("Received SHUTDOWN from user <via user signal>. Shutting down mysqld (Version: 9.7.4-2).")
            + &line("/opt/mysqld: Shutdown complete (mysqld 9.7.4-2)  (Debian).")
            + &start(12)
            // Killed in the middle of a shutdown: it may have told waiters already.
            + &line("Received SHUTDOWN from user root. Shutting down mysqld (Version: 9.7.4-2).")
            + &start(13)
            + &line("Clone removing all user data for provisioning: Started")
            + &line("/opt/mysqld: Shutdown complete (mysqld 9.7.4-2)  (Debian).")
            + &start(14);
        let endings: Vec<_> = lives_in(&log).into_iter().map(|life| (life.pid, life.ending)).collect();
        assert_eq!(
            endings,
            [
                (10, Ending::Crashed),
                (11, Ending::Graceful),
                (12, Ending::Graceful),
                (13, Ending::Restarted),
                (14, Ending::NotYet)
            ]
        );
    }

    #[test]
    fn mariadbs_lives_are_told_as_well() {
        let line = |text: &str| format!("2026-11-23  0:05:12 0 [Note] {text}\n");
        let start = |pid| {
            line(&format!(
                "Starting MariaDB 10.11.18-MariaDB-log source revision 19 server_uid x= as process {pid}"
            )) + &line("mariadbd: ready for connections.")
        };
        let log = start(10)
            + &start(11)
            + &line("/usr/sbin/mariadbd (initiated by: unknown): Normal shutdown")
            + &line("/usr/sbin/mariadbd: Shutdown complete")
            + &start(12);
        let lives = lives_in(&log);
        let endings: Vec<_> = lives.iter().map(|life| (life.pid, life.ending)).collect();
        assert_eq!(endings, [(10, Ending::Crashed), (11, Ending::Graceful), (12, Ending::NotYet)]);
        assert_eq!(lives[0].started, "2026-11-23 0:05:12");
    }

    #[test]
    fn a_life_is_looked_up_by_its_pid_and_silence_at_the_end_is_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        assert_eq!(how_it_ended(&path, 10, false), Ending::Unknown);
        // A rotated log may begin in the middle of a life.
        let log = line("Received SHUTDOWN from user root.") + &start(10) + &start(10);
        std::fs::write(&path, log).unwrap();
        assert_eq!(how_it_ended(&path, 10, true), Ending::NotYet);
        assert_eq!(how_it_ended(&path, 10, false), Ending::Crashed);
        assert_eq!(how_it_ended(&path, 9, false), Ending::Unknown);
        assert_eq!(lives(&path).unwrap()[0].started, "2026-11-22T17:23:22.466541Z");
    }
}
