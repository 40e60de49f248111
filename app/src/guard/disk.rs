//! Writes a little to the disk under the database's data, once a second, and tells how that went.
//!
//! A write to a disk that hangs cannot be ended, and a process with one under way cannot even be killed. So the
//! writes are a child's: the guard stays killable, and its supervisor starts it again whatever the disk does. The
//! child ends when its standard input does.

use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use failover_core::{DiskRefusal, DiskWrite};
use nix::errno::Errno;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Local;
use super::host::Host;
use crate::clock;
use crate::outage::Outage;

/// The hidden command that the child is.
pub const COMMAND: &str = "disk-probe";

/// Between two writes.
const EVERY: Duration = Duration::from_secs(1);
/// A write that takes longer is told in the log.
const LONG: Duration = Duration::from_secs(3);
/// What is written, in bytes: a page.
const BYTES: usize = 4096;
/// With less room than this the disk is full for the database, whatever is kept for root: it grows its files
/// by a megabyte and more at a time.
const ROOM_MIN: u64 = 1 << 20;
/// In the database's own folder, and only while a write is under way.
const FILE: &str = ".twofold-disk-probe";

/// Starts writing; ends with the guard. While no database runs nothing is written: its folder may be being made anew.
pub fn start(host: Arc<Host>, local: mpsc::Sender<Local>) {
    tokio::spawn(watch(host, local));
}

async fn watch(host: Arc<Host>, local: mpsc::Sender<Local>) {
    let mut writer: Option<Writer> = None;
    let mut trouble = Outage::default();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let outcome = if host.life().is_none() {
            Ok(DiskWrite::Unknown)
        } else {
            if local.send(Local::Disk(DiskWrite::Began)).await.is_err() {
                return;
            }
            write_once(&mut writer, &host.files.data_dir).await
        };
        let write = match &outcome {
            Ok(write) => *write,
            Err(_) => DiskWrite::Unknown,
        };
        if local.send(Local::Disk(write)).await.is_err() {
            return;
        }
        let why = match outcome {
            Ok(DiskWrite::Refused { why: DiskRefusal::Full, free }) => {
                format!("it is full, {free} bytes are left")
            }
            Ok(DiskWrite::Refused { why: DiskRefusal::Failing, .. }) => "it cannot be written to".to_owned(),
            Err(error) => format!("{error:#}"),
            Ok(_) => {
                if trouble.works() {
                    info!("the disk under the database's data takes writes again");
                }
                continue;
            }
        };
        if trouble.fails(clock::now()) {
            let dir = host.files.data_dir.display();
            warn!(why, %dir, "a write to the disk under the database's data did not succeed");
        }
    }
}

/// One write by the child, which is started when there is none. Waits for as long as the disk takes.
async fn write_once(writer: &mut Option<Writer>, dir: &Path) -> Result<DiskWrite> {
    if writer.is_none() {
        *writer = Some(Writer::start(dir)?);
    }
    let open = writer.as_mut().expect("it was just started");
    let answer = open.ask().await;
    if answer.is_err() {
        *writer = None;
    }
    answer
}

/// The child.
struct Writer {
    _child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(dir: &Path) -> Result<Writer> {
        let program = std::env::current_exe().context("this program's own path")?;
        let mut child = Command::new(program)
            .arg(COMMAND)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the writer")?;
        let ask = child.stdin.take().context("the writer's input")?;
        let answers = BufReader::new(child.stdout.take().context("the writer's output")?).lines();
        Ok(Writer { _child: child, ask, answers })
    }

    async fn ask(&mut self) -> Result<DiskWrite> {
        self.ask.write_all(b"\n").await.context("the writer ended")?;
        let line = tokio::time::timeout(LONG, self.answers.next_line()).await;
        let line = match line {
            Ok(line) => line,
            Err(_) => {
                warn!("a write to the disk under the database's data has not come back for {LONG:?}");
                self.answers.next_line().await
            }
        };
        understood(&line.context("the writer's answer")?.context("the writer ended")?)
    }
}

fn told(write: DiskWrite) -> String {
    match write {
        DiskWrite::Done { free } => format!("done {free}"),
        DiskWrite::Refused { why: DiskRefusal::Full, free } => format!("full {free}"),
        DiskWrite::Refused { why: DiskRefusal::Failing, free } => format!("failing {free}"),
        DiskWrite::Began | DiskWrite::Unknown => "unknown".to_owned(),
    }
}

fn understood(line: &str) -> Result<DiskWrite> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let free = || rest.parse().with_context(|| format!("the writer said {line:?}"));
    Ok(match word {
        "done" => DiskWrite::Done { free: free()? },
        "full" => DiskWrite::Refused { why: DiskRefusal::Full, free: free()? },
        "failing" => DiskWrite::Refused { why: DiskRefusal::Failing, free: free()? },
        _ => anyhow::bail!("{line}"),
    })
}

/// The child itself: one write a line of standard input, one line of standard output each.
///
/// # Errors
/// Standard input or output that cannot be used.
pub fn run(dir: &Path) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        line?;
        let said = write(dir).map_or_else(|e| format!("unknown: {e}"), told);
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(0)
}

/// Writes a page there, syncs it, and takes it away.
fn write(dir: &Path) -> std::io::Result<DiskWrite> {
    let path: PathBuf = dir.join(FILE);
    let written = write_page(&path);
    let removed = std::fs::remove_file(&path);
    // Not a matter of the disk's being frozen: the numbers are in memory.
    let stat = nix::sys::statvfs::statvfs(dir)?;
    let free = stat.blocks_available() * stat.fragment_size();
    let refusal = match written.and(removed) {
        Ok(()) => (free < ROOM_MIN).then_some(DiskRefusal::Full),
        Err(error) => Some(refusal(&error).ok_or(error)?),
    };
    Ok(refusal.map_or(DiskWrite::Done { free }, |why| DiskWrite::Refused { why, free }))
}

fn write_page(path: &Path) -> std::io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o644).open(path)?;
    file.write_all(&[b'.'; BYTES])?;
    file.sync_data()
}

/// What the error says of the disk, if it says anything.
fn refusal(error: &std::io::Error) -> Option<DiskRefusal> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::ENOSPC | Errno::EDQUOT => Some(DiskRefusal::Full),
        Errno::EIO | Errno::EROFS | Errno::EUCLEAN => Some(DiskRefusal::Failing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_leaves_nothing_behind_and_tells_the_room() {
        let dir = tempfile::tempdir().unwrap();
        let DiskWrite::Done { free } = write(dir.path()).unwrap() else { panic!("it is not full") };
        assert!(free > ROOM_MIN);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_says_nothing_of_the_disk() {
        write(Path::new("/nowhere/data")).unwrap_err();
        assert!(understood("unknown: No such file or directory (os error 2)").is_err());
    }

    #[test]
    fn errors_say_what_they_say() {
        let cases = [
            (Errno::ENOSPC, Some(DiskRefusal::Full)),
            (Errno::EDQUOT, Some(DiskRefusal::Full)),
            (Errno::EIO, Some(DiskRefusal::Failing)),
            (Errno::EROFS, Some(DiskRefusal::Failing)),
            (Errno::EACCES, None),
            (Errno::ENOENT, None),
        ];
        for (errno, want) in cases {
            assert_eq!(refusal(&std::io::Error::from(errno)), want, "{errno}");
        }
    }

    #[test]
    fn what_the_child_says_is_understood() {
        let full = DiskWrite::Refused { why: DiskRefusal::Full, free: 0 };
        let failing = DiskWrite::Refused { why: DiskRefusal::Failing, free: 12 };
        for write in [DiskWrite::Done { free: 1 << 40 }, full, failing] {
            assert_eq!(understood(&told(write)).unwrap(), write);
        }
    }
}
