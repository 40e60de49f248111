//! A later life of the cluster that a node heard of. It is written down, so that no restart forgets it: a
//! node of an earlier incarnation takes part in nothing again (I8).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use model::Incarnation;
use serde::{Deserialize, Serialize};

/// What was heard, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[error("its log is of incarnation {own}, and the cluster lives on as incarnation {heard}, as {from} said")]
pub struct Superseded {
    /// This node's own.
    pub own: Incarnation,
    /// The later one.
    pub heard: Incarnation,
    /// The node or guard that it was heard from.
    pub from: String,
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("superseded.json")
}

/// Writes it down; on the disk when it returns.
pub fn remember(folder: &Path, superseded: &Superseded) -> Result<()> {
    let (path, part) = (file_in(folder), folder.join("superseded.json.part"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec(superseded).expect("it is representable"))?;
        file.sync_all()?;
        fs::rename(&part, &path)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// What was heard in an earlier run of a node whose log is of `own`.
///
/// # Errors
/// There is something, and it cannot be read: it is not known whether this node may take part.
pub fn heard(folder: &Path, own: Incarnation) -> Result<Option<Superseded>> {
    let path = file_in(folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let heard: Superseded = serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is damaged: look at what incarnation the other nodes are of: twofold status",
            path.display()
        )
    })?;
    // A log that was put in place since is of the life that was heard, or of a later one.
    Ok((heard.heard.count() > own.count()).then_some(heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no restart forgets it, a later log is not held back by it, and damage is no good news.
    #[test]
    fn a_later_life_is_remembered_until_the_log_is_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = Incarnation(1);
        assert_eq!(heard(folder.path(), own).unwrap(), None);
        let later = Superseded { own, heard: own.after(7), from: "mdc-1".into() };
        remember(folder.path(), &later).unwrap();
        assert_eq!(heard(folder.path(), own).unwrap(), Some(later));
        assert_eq!(heard(folder.path(), own.after(7)).unwrap(), None);
        fs::write(file_in(folder.path()), "{").unwrap();
        assert!(heard(folder.path(), own).is_err());
    }
}
