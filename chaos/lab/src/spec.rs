//! The lab's own description (`lab.json`): what `up` decided and everything after it reads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::{Flavour, Shape};
use crate::layout::{Host, HostKind, Lab};

/// One process of a host, kept running as systemd would (Restart=always).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessSpec {
    /// The host it runs on.
    pub host: String,
    /// Its name on that host: `node`, `mysqld`, `guard`, `web`.
    pub name: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Variables added to its environment.
    pub environment: BTreeMap<String, String>,
    /// Milliseconds between its end and its next start (RestartSec).
    pub restart_after_ms: u64,
}

impl ProcessSpec {
    /// `HOST/NAME`, as `lab kill` takes it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }

    /// The pause before it is started again.
    #[must_use]
    pub fn restart_after(&self) -> Duration {
        Duration::from_millis(self.restart_after_ms)
    }
}

/// Where a process of a host stands on the machine.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In its host's control group, if the machine has them, and its starter's session.
    Group(Option<&'a std::path::Path>),
    /// In no group, so no power switch reaches it, and a session of its own: an instrument.
    OwnSession,
}

/// Which command made a lab. A demo takes away what a demo left, and nothing that a person brought up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// `lab up`; also of descriptions that do not say.
    #[default]
    Up,
    /// `lab demo`.
    Demo,
}

/// What a lab has besides, for faults that need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Equipment {
    /// The databases' data lie on file systems of their own.
    pub disks: bool,
    /// The daemons have wall clocks of their own.
    pub clocks: bool,
}

/// What a lab is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LabSpec {
    /// The program that runs the lab's hidden commands.
    pub program: PathBuf,
    /// The twofold binary of its hosts.
    pub twofold: PathBuf,
    /// Its database.
    pub flavour: Flavour,
    /// Why it is MariaDB though nobody asked for it: MySQL could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// How many places it has.
    #[serde(default)]
    pub shape: Shape,
    /// How many database servers each data site has.
    #[serde(default = "one")]
    pub servers: u32,
    /// Which command made it.
    #[serde(default)]
    pub maker: Maker,
    /// What it has besides.
    #[serde(default)]
    pub equipment: Equipment,
    /// Everything that runs on its hosts.
    pub processes: Vec<ProcessSpec>,
}

/// What a description that does not say means.
fn one() -> u32 {
    1
}

/// Why the description could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// There is none.
    #[error("no lab is up in {}; `twofold lab up` brings one up, --dir names another", .dir.display())]
    Absent {
        /// The lab's directory.
        dir: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("lab description {file:?} cannot be read or written")]
    File {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a description of this version.
    #[error("lab description {file:?} is damaged or of another version; `lab down` removes the lab")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
}

impl LabSpec {
    /// Reads a lab's description.
    ///
    /// # Errors
    /// [`SpecError`].
    pub fn read(lab: &Lab) -> Result<LabSpec, SpecError> {
        let file = lab.spec_file();
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(SpecError::Absent { dir: lab.dir().to_path_buf() });
            }
            Err(source) => return Err(SpecError::File { file, source }),
        };
        serde_json::from_slice(&text).map_err(|source| SpecError::Damaged { file, source })
    }

    /// Writes a lab's description.
    ///
    /// # Errors
    /// [`SpecError::File`].
    pub fn write(&self, lab: &Lab) -> Result<(), SpecError> {
        let file = lab.spec_file();
        let text = serde_json::to_vec_pretty(self).expect("a description is plain data");
        std::fs::write(&file, text).map_err(|source| SpecError::File { file, source })
    }

    /// Whether its sites have entries, by which web clients come in; labs of tests may have none.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        let entry = |p: &ProcessSpec| Host::named(&p.host).is_some_and(|h| h.kind == HostKind::Entry);
        self.processes.iter().any(entry)
    }

    /// The command line that runs `command` as a process of `host`.
    #[must_use]
    pub fn inside(&self, lab: &Lab, host: &Host, place: &Place<'_>, command: &[String]) -> Vec<String> {
        let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let mut line = vec![text(&self.program), "lab".into(), "enter".into()];
        line.extend(["--netns".into(), text(&lab.netns_file(host))]);
        match place {
            Place::OwnSession => line.push("--own-session".into()),
            Place::Group(Some(group)) => line.extend(["--cgroup".into(), text(group)]),
            Place::Group(None) => {}
        }
        line.push("--".into());
        line.extend_from_slice(command);
        line
    }
}
