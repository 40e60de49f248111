//! A file that holds what a run needs to happen again: seed and options, and the commit they belong
//! to, since another commit may draw and do other things.

use std::path::Path;

use model::Flavour;
use serde::{Deserialize, Serialize};

use crate::options::{Options, Sites};

/// The form of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Replay {
    /// Version of the form.
    pub v: u32,
    /// The seed.
    pub seed: u64,
    /// Simulated minutes.
    pub minutes: u64,
    /// Without a witness.
    #[serde(default)]
    pub two_sites: bool,
    /// Kinds of faults to draw from; all when none is named.
    #[serde(default)]
    pub faults: Vec<crate::Kind>,
    /// Whose the database servers were.
    #[serde(default = "mysql")]
    pub flavour: Flavour,
    /// No faults.
    #[serde(default)]
    pub calm: bool,
    /// It ended when everything had come together.
    #[serde(default)]
    pub until_settled: bool,
    /// The version of the program that wrote it.
    pub commit: String,
}

fn mysql() -> Flavour {
    Flavour::Mysql
}

/// Why a replay file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read or written.
    #[error("replay file {0:?} cannot be read or written")]
    Io(String, #[source] std::io::Error),
    /// It is no replay.
    #[error("replay file {0:?} is not a replay of form 1: {1}")]
    Form(String, String),
}

impl Replay {
    /// What would make this run happen again.
    #[must_use]
    pub fn of(seed: u64, options: &Options) -> Self {
        Self {
            v: 1,
            seed,
            minutes: options.minutes,
            two_sites: options.sites == Sites::Two,
            faults: options.faults.iter().copied().collect(),
            flavour: options.flavour,
            calm: options.calm,
            until_settled: options.until_settled,
            commit: option_env!("TWOFOLD_COMMIT").unwrap_or(env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The options it names; nothing of the log is dropped.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            minutes: self.minutes,
            sites: if self.two_sites { Sites::Two } else { Sites::WithWitness },
            faults: self.faults.iter().copied().collect(),
            servers: (self.flavour == Flavour::Mariadb).then_some(2),
            flavour: self.flavour,
            calm: self.calm,
            until_settled: self.until_settled,
            verbose: true,
            ..Options::default()
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is of another form.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ReplayError::Io(name.clone(), e))?;
        let replay: Self =
            serde_json::from_str(&text).map_err(|e| ReplayError::Form(name.clone(), e.to_string()))?;
        if replay.v != 1 {
            return Err(ReplayError::Form(name, format!("it has form {}", replay.v)));
        }
        Ok(replay)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReplayError> {
        let name = path.display().to_string();
        let text = serde_json::to_string_pretty(self).expect("a replay is representable");
        std::fs::write(path, text).map_err(|e| ReplayError::Io(name, e))
    }
}
