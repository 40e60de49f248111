//! The latch file: written whole beside, fsynced, renamed, folder fsynced. A damaged one stops the
//! guard: whoever forgets what it fenced may open it again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use failover_core::Latch;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    v: u32,
    latch: Latch,
}

/// `latch.json` in the guard's folder.
pub struct LatchFile {
    folder: PathBuf,
    path: PathBuf,
    /// Held for the life of the process: two guards on one folder would overwrite one another.
    _lock: nix::fcntl::Flock<File>,
}

impl LatchFile {
    /// Takes the folder for this process alone.
    pub fn open(folder: &Path) -> Result<Self> {
        let lock_path = folder.join("guard.lock");
        let lock = File::create(&lock_path).with_context(|| format!("create {}", lock_path.display()))?;
        let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| e)
            .with_context(|| {
                format!("{} is held by another guard; end that one first", lock_path.display())
            })?;
        Ok(Self { folder: folder.to_owned(), path: folder.join("latch.json"), _lock: lock })
    }

    /// The latches; none when the guard never ran here.
    pub fn read(&self) -> Result<Option<Latch>> {
        let shown = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("read {shown}")),
        };
        let document: Document = serde_json::from_str(&text).with_context(|| {
            format!(
                "latch file {shown} is damaged, so it is not known what this server was fenced from; \
                 keep the database stopped, move the file aside and rebuild the server from its primary"
            )
        })?;
        if document.v != 1 {
            bail!("latch file {shown} has form {}; this binary reads form 1: upgrade this guard", document.v);
        }
        Ok(Some(document.latch))
    }

    /// Writes and syncs. When it returns, a crash keeps it.
    pub fn write(&self, latch: &Latch) -> Result<()> {
        let part = self.folder.join("latch.json.part");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&part)?;
            let document = Document { v: 1, latch: latch.clone() };
            file.write_all(&serde_json::to_vec_pretty(&document).expect("latches are representable"))?;
            file.sync_all()?;
            fs::rename(&part, &self.path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().with_context(|| {
            format!("write {}; the guard stops, and its lease runs out", self.path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latches_are_read_back_and_a_damaged_file_is_no_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = LatchFile::open(folder.path()).unwrap();
        assert_eq!(file.read().unwrap(), None);
        let latch = Latch { fenced_through: model::Epoch(7), ..Latch::default() };
        file.write(&latch).unwrap();
        assert_eq!(file.read().unwrap(), Some(latch));
        let second = LatchFile::open(folder.path()).err().expect("one guard a folder");
        assert!(format!("{second:#}").contains("another guard"));
        for damage in ["", "{\"v\":1}", "\0\0\0\0"] {
            fs::write(folder.path().join("latch.json"), damage).unwrap();
            let error = format!("{:#}", file.read().expect_err("damage is told"));
            assert!(error.contains("is damaged") && error.contains("rebuild"), "{error}");
        }
    }
}
