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
    /// It restarted itself after a CLONE or a RESTART.
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
            let started = line.split_ascii_whitespace().next().unwrap_or_default().to_owned();
            lives.push(Life { pid, started, ending: Ending::NotYet });
        } else if let Some(ending) = ending(line)
            && let Some(last) = lives.last_mut().filter(|life| life.ending == Ending::NotYet)
        {
            last.ending = ending;
        }
    }
    lives
}

/// MY-010116: `… /usr/sbin/mysqld (mysqld 9.7.4) starting as process 1234`.
fn starting(line: &str) -> Option<u32> {
    let (_, after) = line.split_once(") starting as process ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// MY-013172 `Received SHUTDOWN from user …`, MY-013105 is its older form; MY-010910 `Shutdown complete`;
/// MY-013462 `… restarting` comes before the end of a CLONE or RESTART.
fn ending(line: &str) -> Option<Ending> {
    if line.contains("Received RESTART") {
        Some(Ending::Restarted)
    } else if line.contains("Received SHUTDOWN") || line.contains(": Shutdown complete") {
        Some(Ending::Graceful)
    } else {
        None
    }
}
