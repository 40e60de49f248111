//! A node's audit lines on disk. What is there already is not written again when the log is replayed
//! at a start; what came in a snapshot is marked as a gap.
//!
//! Nothing here stops the node: deciding goes on when a disk is full, and the gap is marked later.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tracing::{error, warn};

use crate::audit::{Head, Line, end_of};

/// So much of the file's end surely holds the last line: an event is a few kilobytes.
const TAIL_BYTES: u64 = 1 << 20;

/// See the module.
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// Where the file stands.
    end: Head,
    told: bool,
}

impl AuditFile {
    /// Opens or makes it. A line that was being written when the node died is taken back; a file whose
    /// end is no audit line is put aside.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = Self::read_end(path).with_context(|| format!("open the audit log {path:?}"))?;
        if let Some(audit) = opened {
            return Ok(audit);
        }
        let aside = path.with_extension(format!("unreadable-{}", crate::clock::wall().0));
        error!(aside = %aside.display(), "the audit log's end is no audit line; it is put aside, and a new one begins");
        std::fs::rename(path, &aside).with_context(|| format!("put {path:?} aside"))?;
        Self::read_end(path)?.with_context(|| format!("make the audit log {path:?}"))
    }

    fn read_end(path: &Path) -> io::Result<Option<Self>> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let before = tail[..whole.saturating_sub(1)].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let length = from + whole as u64;
        let end = match &tail[before..whole] {
            [] => Head::default(),
            last => match std::str::from_utf8(last).ok().and_then(|text| end_of(text.trim_end())) {
                Some(end) => end,
                None => return Ok(None),
            },
        };
        file.set_len(length)?;
        Ok(Some(Self { path: path.to_path_buf(), file, length, end, told: false }))
    }

    /// Writes `line`, which leads from `before` to `after`.
    pub fn put(&mut self, line: &Line, before: &Head, after: &Head) {
        if after.entries <= self.end.entries {
            // Told again by a log that is replayed.
            if after.entries == self.end.entries && after.hash != self.end.hash && !self.told {
                self.told = true;
                error!(
                    path = %self.path.display(), entry = after.entries,
                    "the audit log on disk is not what was committed: twofold audit --verify"
                );
            }
            return;
        }
        self.skip_to(before);
        if before.entries == self.end.entries {
            self.append(line, after);
        }
    }

    /// Marks what this node has not got.
    pub fn skip_to(&mut self, to: &Head) {
        if to.entries > self.end.entries {
            let line = self.end.skip_to(to);
            self.append(&line, to);
        }
    }

    fn append(&mut self, line: &Line, after: &Head) {
        let text = format!("{}\n", serde_json::json!(line));
        match self.file.write_all(text.as_bytes()) {
            Ok(()) => {
                self.length += text.len() as u64;
                self.end = after.clone();
            }
            Err(error) => {
                warn!(%error, path = %self.path.display(), "an audit line is not written");
                // A part of a line would break the chain for good.
                let _ = self.file.set_len(self.length);
            }
        }
    }

    /// On the disk, all of it.
    pub fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            warn!(%error, path = %self.path.display(), "the audit log is not synced");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::walk;

    fn put(file: &mut AuditFile, head: &mut Head, n: u64) {
        let (line, after) = head.seal(n, json!({ "event": "routed", "n": n }));
        file.put(&line, head, &after);
        *head = after;
    }

    /// Goal: a replayed log writes nothing twice, a torn line is taken back, a gap is marked, and the
    /// file is a chain that holds throughout.
    #[test]
    fn restarts_torn_lines_and_snapshots_leave_a_chain_that_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut head = Head::default();
        let mut file = AuditFile::open(&path).unwrap();
        (1..=3).for_each(|n| put(&mut file, &mut head, n));
        drop(file);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"v\":1,\"en").unwrap();

        let mut file = AuditFile::open(&path).unwrap();
        let mut replayed = Head::default();
        (1..=4).for_each(|n| put(&mut file, &mut replayed, n));
        let mut elsewhere = replayed.clone();
        for n in 5..=8 {
            elsewhere = elsewhere.seal(n, json!({ "event": "routed", "n": n })).1;
        }
        file.skip_to(&elsewhere);
        put(&mut file, &mut elsewhere, 9);
        let text = std::fs::read_to_string(&path).unwrap();
        let chain = walk(text.lines()).unwrap();
        assert_eq!((chain.hashes.len(), chain.gaps.as_slice()), (6, &[(5, 8)][..]));

        // Whatever its end is, it is not overwritten.
        std::fs::write(&path, "somebody's notes\n").unwrap();
        let mut file = AuditFile::open(&path).unwrap();
        put(&mut file, &mut elsewhere, 10);
        let kept = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(kept, 2, "put aside");
        assert_eq!(walk(std::fs::read_to_string(&path).unwrap().lines()).unwrap().gaps, [(1, 9)]);
    }
}
