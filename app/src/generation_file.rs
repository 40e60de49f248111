//! The committed configuration as a process keeps it on its disk: `configuration.json`, beside a node's
//! log and in a guard's folder. What a process read at its first start is the person's file; from the
//! first commit on it goes by this one, and the person's file counts only when it is applied.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use app_config::Config;
use model::Generation;
use serde::{Deserialize, Serialize};

/// A committed generation, for the disk and for the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Committed {
    /// Form of this document: 1.
    pub v: u32,
    /// Its number.
    pub generation: Generation,
    /// The text.
    pub text: String,
}

/// What a process starts from.
#[derive(Debug)]
pub struct Start {
    /// What is meant.
    pub config: Config,
    /// 0 where nothing was committed yet, so that it is the person's file.
    pub generation: Generation,
}

impl Committed {
    /// Form 1.
    pub fn new(generation: Generation, text: &str) -> Self {
        Self { v: 1, generation, text: text.to_owned() }
    }

    /// What it means; paths in it are joined to `folder`, where the person's file lies.
    pub fn resolve(&self, folder: &Path) -> Result<Config, Vec<String>> {
        let checked = app_config::check(&self.text, folder);
        checked.config.ok_or_else(|| checked.problems.iter().map(ToString::to_string).collect())
    }
}

/// Where it lies in a process's own folder.
pub fn path_in(folder: &Path) -> PathBuf {
    folder.join("configuration.json")
}

/// What a process starts from: the committed generation in `own`, its own folder, else the person's file.
pub fn start(file: Config, folder: &Path, own: &Path) -> Result<Start> {
    let path = path_in(own);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Start { config: file, generation: Generation(0) });
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let committed: Committed = serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "{} is damaged; move it away, and the process starts from the file until it hears the others",
            path.display()
        )
    })?;
    let generation = committed.generation;
    let config = committed.resolve(folder).map_err(|problems| {
        anyhow::anyhow!(
            "generation {generation} in {} cannot be used by this twofold; upgrade it: {}",
            path.display(),
            problems.join("; ")
        )
    })?;
    Ok(Start { config, generation })
}

/// Puts it on disk, whole or not at all.
pub fn save(own: &Path, committed: &Committed) -> Result<()> {
    let path = path_in(own);
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(committed).expect("it is representable"))?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        std::fs::File::open(own)?.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../config/testdata/smallest.yaml");

    fn file() -> Config {
        app_config::check(TEXT, Path::new("/etc/twofold")).config.unwrap()
    }

    #[test]
    fn the_committed_generation_goes_before_the_file_and_a_damaged_one_is_said() {
        let own = tempfile::tempdir().unwrap();
        let start = || start(file(), Path::new("/etc/twofold"), own.path());
        assert_eq!(start().unwrap().generation, Generation(0));
        let text = TEXT.replace("main: {bound: main}", "main: {bound: main, ttl: 3s}");
        save(own.path(), &Committed::new(Generation(7), &text)).unwrap();
        let began = start().unwrap();
        assert_eq!(began.generation, Generation(7));
        assert_ne!(began.config, file());
        save(own.path(), &Committed::new(Generation(8), "version: 2")).unwrap();
        assert!(format!("{:#}", start().unwrap_err()).contains("generation 8"));
        std::fs::write(path_in(own.path()), "{").unwrap();
        assert!(format!("{:#}", start().unwrap_err()).contains("is damaged; move it away"));
    }
}
