//! A node's audit lines on disk, in segments of bounded size and number. What is there already is not
//! written again when the log is replayed at a start; what came in a snapshot is marked as a gap.
//!
//! Nothing here stops the node: deciding goes on when a disk is full, and the gap is marked later.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use app_config::AuditLimits;
use tracing::{error, info, warn};

use crate::audit::{Head, Line};
use crate::audit_segments::{Folder, Tail, text_of};

/// How much is kept, asked anew at every line: the configuration may change.
pub type Limits = Box<dyn Fn() -> AuditLimits + Send>;

/// See the module.
pub struct AuditFile {
    folder: Folder,
    limits: Limits,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// The number that the file is closed under.
    number: u64,
    /// Where the file begins, and where it stands.
    begin: Head,
    end: Head,
    told: bool,
}

impl AuditFile {
    /// Opens or makes it. A line that was being written when the node died is taken back, a rotation that
    /// was under way is finished; a file whose end is no audit line is put aside.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        let folder = Folder::of(path);
        if let Err(why) = folder.anchor() {
            error!(%why, "it is not known where the audit log begins");
        }
        folder.finish().with_context(|| format!("finish the rotation of the audit log {path:?}"))?;
        let opened = read_end(path).with_context(|| format!("open the audit log {path:?}"))?;
        let (file, tail) = match opened {
            (file, length, Some(end)) => (file, (length, end)),
            (_, _, None) => {
                let aside = path.with_extension(format!("unreadable-{}", crate::clock::wall().0));
                error!(aside = %aside.display(), "the audit log's end is no audit line; it is put aside, and a new one begins");
                std::fs::rename(path, &aside).with_context(|| format!("put {path:?} aside"))?;
                folder.finish().with_context(|| format!("make the audit log {path:?}"))?;
                let (file, length, end) =
                    read_end(path).with_context(|| format!("make the audit log {path:?}"))?;
                (file, (length, end.unwrap_or_default()))
            }
        };
        let number = folder.number().with_context(|| format!("list the segments beside {path:?}"))?;
        let ((length, end), told) = (tail, false);
        // A file of nothing but its first line stands where it began, and is not closed for its size.
        let begin = folder.begins().unwrap_or_default();
        Ok(Self { folder, limits, file, length, number, begin, end, told })
    }

    /// Writes `line`, which leads from `before` to `after`.
    pub fn put(&mut self, line: &Line, before: &Head, after: &Head) {
        if after.entries <= self.end.entries {
            // Told again by a log that is replayed.
            if after.entries == self.end.entries && after.hash != self.end.hash && !self.told {
                self.told = true;
                error!(
                    path = %self.folder.active().display(), entry = after.entries,
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
        let text = text_of(line);
        let limits = (self.limits)();
        if self.end != self.begin && self.length + text.len() as u64 > limits.segment_bytes {
            self.rotate(limits.segments);
        }
        match self.file.write_all(text.as_bytes()) {
            Ok(()) => {
                self.length += text.len() as u64;
                self.end = after.clone();
            }
            Err(error) => {
                warn!(%error, path = %self.folder.active().display(), "an audit line is not written");
                // A part of a line would break the chain for good.
                let _ = self.file.set_len(self.length);
            }
        }
    }

    /// Closes the file and begins the next. Where that fails the old one grows on, under whichever name
    /// it has by then, and the next line tries again.
    fn rotate(&mut self, segments: usize) {
        let rotated = self.folder.rotation(self.number, &self.end, segments).and_then(|moves| {
            moves.iter().try_for_each(|one| self.folder.make(one))?;
            read_end(self.folder.active())
        });
        match rotated {
            Ok((file, length, Some(end))) if end == self.end => {
                info!(segment = self.number, entries = end.entries, "a segment of the audit log is closed");
                (self.file, self.length, self.number) = (file, length, self.number + 1);
                self.begin = end;
            }
            Ok(_) => warn!("the audit log's next segment is not what was written; the last one grows on"),
            Err(error) => warn!(
                %error, path = %self.folder.active().display(),
                "the audit log is not rotated and grows beyond its bound; make room on the disk"
            ),
        }
    }

    /// On the disk, all of it.
    pub fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            warn!(%error, path = %self.folder.active().display(), "the audit log is not synced");
        }
    }
}

/// The file that is written, the bytes of whole lines that it is cut to, and where it ends; none where
/// that is no audit line, and it is not cut then.
fn read_end(path: &Path) -> io::Result<(File, u64, Option<Head>)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let tail = Tail::read(&mut file)?;
    if tail.end.is_some() {
        file.set_len(tail.length)?;
    }
    Ok((file, tail.length, tail.end))
}

#[cfg(test)]
mod tests;
