//! A report that is made in several sittings (`--resume`): what is in the file stays, the missing runs are
//! made, and the file is written after each of them.
//!
//! Invariants: no run of the file is changed or left out, failed ones neither; the file is replaced as a
//! whole, so that a `kill -9` costs the run under way and no other; a file that was made under other
//! conditions is refused before a lab is touched.
//!
//! Deliberately absent: a last audit of earlier sittings' rows, which went with their labs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::report_file;
use crate::cli::{DemoArgs, Fault, Fence, Flavour};
use crate::report::{Report, Run};

/// Said in each report of several sittings.
pub const NOTE: &str = "made in several sittings (--resume): rows live in their own lab only, so the audit of all runs \
     after the last one looked at the runs of its sitting alone, and not at those of a sitting that broke off";

/// What is wrong with the file that is to be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is no file, or the system refuses it.
    #[error("report {} cannot be gone on with", .path.display())]
    File {
        /// It.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Its text is no report.
    #[error("report {} is damaged, or none; name another --json", .path.display())]
    Damaged {
        /// It.
        path: PathBuf,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// Its runs were made under other conditions.
    #[error("report {} was made with {made}, and {asked} is asked for; name another --json", .path.display())]
    Foreign {
        /// It.
        path: PathBuf,
        /// As the file says.
        made: String,
        /// As it is asked for.
        asked: String,
    },
}

/// What all runs of a report have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// The database; none where anything that can be had will do.
    pub flavour: Option<Flavour>,
    /// What keeps clients from a database that may not write.
    pub fence: Fence,
    /// Database servers of a site.
    pub servers: u32,
    /// Clients that write.
    pub writers: u32,
}

impl Conditions {
    /// What is asked for.
    pub fn of(args: &DemoArgs) -> Conditions {
        let DemoArgs { flavour, fence, servers, writers, .. } = *args;
        Conditions { flavour, fence, servers, writers }
    }
}

/// The file, and what was in it.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    earlier: Option<Report>,
}

impl Record {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn open(path: &Path, asked: Conditions) -> Result<Record, RecordError> {
        let file = |source| RecordError::File { path: path.to_path_buf(), source };
        // A link stays one: what it leads to is replaced.
        let place = match path.canonicalize() {
            Ok(place) => place,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => path.to_path_buf(),
            Err(e) => return Err(file(e)),
        };
        let there = place.metadata().ok();
        if there.as_ref().is_some_and(|m| !m.is_file()) {
            return Err(file(std::io::Error::other("it is no regular file")));
        }
        let earlier = match there {
            Some(_) => read(path, &std::fs::read_to_string(&place).map_err(file)?, asked)?,
            None => None,
        };
        let record = Record { path: place, earlier };
        // A folder that takes no file costs no demo.
        File::create(record.beside()).and_then(|_| std::fs::remove_file(record.beside())).map_err(file)?;
        Ok(record)
    }

    /// What was in it.
    pub fn earlier(&self) -> Option<&Report> {
        self.earlier.as_ref()
    }

    /// Replaces it as a whole.
    ///
    /// # Errors
    /// When it cannot be written; then what was there stays.
    pub fn write(&self, report: &Report) -> anyhow::Result<()> {
        let beside = self.beside();
        let replaced = || {
            let mut file = File::create(&beside)?;
            file.write_all(report_file::text(report).as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)
        };
        replaced().with_context(|| format!("report {}", self.path.display()))
    }

    /// The file that takes its place.
    fn beside(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".part");
        PathBuf::from(name)
    }
}

/// The report in a text; none in an empty one.
fn read(path: &Path, text: &str, asked: Conditions) -> Result<Option<Report>, RecordError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let damaged = |source| RecordError::Damaged { path: path.to_path_buf(), source };
    let report: Report = serde_json::from_str(text).map_err(damaged)?;
    match differs(&report, asked) {
        Some((made, asked)) => Err(RecordError::Foreign { path: path.to_path_buf(), made, asked }),
        None => Ok(Some(report)),
    }
}

/// The first condition in which a report differs from what is asked for, as it was and as it should be.
fn differs(report: &Report, asked: Conditions) -> Option<(String, String)> {
    let pairs = [
        asked.flavour.map(|a| (format!("--flavour {}", report.flavour), format!("--flavour {a}"))),
        Some((said("--fence", report.fence.map(Fence::name)), said("--fence", Some(asked.fence.name())))),
        Some((said("--servers", Some(report.servers)), said("--servers", Some(asked.servers)))),
        Some((said("--writers", report.writers), said("--writers", Some(asked.writers)))),
    ];
    pairs.into_iter().flatten().find(|(made, asked)| made != asked)
}

fn said(option: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| format!("an unknown {option}"), |v| format!("{option} {v}"))
}

/// The faults of the runs that are still to be made, in their order: each fault `runs` times, less those
/// that are there, whatever came of them.
pub fn missing(asked: &[Fault], runs: u32, made: &[Run]) -> Vec<Fault> {
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for run in made {
        *there.entry(run.fault.as_str()).or_default() += 1;
    }
    let mut wanted = Vec::new();
    for fault in (0..runs).flat_map(|_| asked) {
        match there.get_mut(fault.name().as_str()) {
            Some(left) if *left > 0 => *left -= 1,
            _ => wanted.push(*fault),
        }
    }
    wanted
}

/// The number of the next run.
pub fn next_number(made: &[Run]) -> u32 {
    made.iter().map(|r| r.run).max().unwrap_or(0) + 1
}

/// The names of what is injected, those of the file first, each once.
pub fn fault_names(earlier: Option<&Report>, asked: &[Fault]) -> String {
    let before = earlier.map_or("", |report| report.fault.as_str());
    let names = before.split(',').map(str::to_owned).chain(asked.iter().map(|f| f.name()));
    let mut seen = BTreeSet::new();
    let names: Vec<_> = names.filter(|n| !n.is_empty() && seen.insert(n.clone())).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Conditions = Conditions { flavour: None, fence: Fence::Nftables, servers: 1, writers: 10 };

    fn run(run: u32, fault: Fault) -> Run {
        Run { run, fault: fault.name(), ..Run::default() }
    }

    fn report(runs: Vec<Run>) -> Report {
        Report {
            fault: "kill-site".to_owned(),
            flavour: Flavour::Mysql,
            fence: Some(Fence::Nftables),
            servers: 1,
            writers: Some(10),
            fallback: None,
            runs,
            notes: Vec::new(),
        }
    }

    #[test]
    fn only_the_runs_that_the_file_lacks_are_made_and_failed_ones_count() {
        use Fault::{CutLink, KillPrimary, KillSite};
        let failed = Run { failures: vec!["it broke off".to_owned()], ..run(1, KillSite) };
        let made = [failed, run(2, CutLink), run(4, KillSite)];
        assert_eq!(missing(&[KillSite, CutLink], 3, &made), [CutLink, KillSite, CutLink]);
        assert_eq!(missing(&[KillSite], 2, &made), []);
        assert_eq!(missing(&[KillSite], 1, &made), [], "more than asked for are there");
        assert_eq!(missing(&[KillPrimary, CutLink], 1, &made), [KillPrimary]);
        assert_eq!(missing(&[KillSite, CutLink], 2, &[]), [KillSite, CutLink, KillSite, CutLink]);
        assert_eq!((next_number(&made), next_number(&[])), (5, 1));
    }

    #[test]
    fn the_faults_of_all_sittings_are_named_once_each() {
        let earlier = report(Vec::new());
        assert_eq!(fault_names(Some(&earlier), &[Fault::CutLink, Fault::KillSite]), "kill-site,cut-link");
        assert_eq!(fault_names(None, &[Fault::CutLink, Fault::KillSite]), "cut-link,kill-site");
    }

    #[test]
    fn a_file_of_other_conditions_is_refused_and_says_which() {
        let made = report(vec![run(1, Fault::KillSite)]);
        assert_eq!(differs(&made, ASKED), None);
        assert_eq!(differs(&made, Conditions { flavour: Some(Flavour::Mysql), ..ASKED }), None);
        for (asked, said) in [
            (Conditions { flavour: Some(Flavour::Mariadb), ..ASKED }, "--flavour mysql/--flavour mariadb"),
            (Conditions { fence: Fence::Ladder, ..ASKED }, "--fence nftables/--fence ladder"),
            (Conditions { servers: 2, ..ASKED }, "--servers 1/--servers 2"),
            (Conditions { writers: 20, ..ASKED }, "--writers 10/--writers 20"),
        ] {
            let (was, should) = differs(&made, asked).unwrap();
            assert_eq!(format!("{was}/{should}"), said);
        }
        // A file of a version that did not say cannot be told from a foreign one.
        let old = Report { writers: None, ..report(Vec::new()) };
        assert_eq!(differs(&old, ASKED).unwrap().0, "an unknown --writers");
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written_and_what_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        let record = Record::open(&path, ASKED).unwrap();
        assert!(record.earlier().is_none() && !path.exists(), "a look leaves nothing");
        let written = report(vec![run(1, Fault::KillSite), run(2, Fault::KillSite)]);
        record.write(&written).unwrap();
        assert_eq!(Record::open(&path, ASKED).unwrap().earlier(), Some(&written));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing lies beside it");

        let refused = |path: &Path| Record::open(path, ASKED).unwrap_err().to_string();
        let ladder = Conditions { fence: Fence::Ladder, ..ASKED };
        let foreign = Record::open(&path, ladder).unwrap_err().to_string();
        assert!(foreign.contains("made with --fence nftables, and --fence ladder is asked for"), "{foreign}");
        std::fs::write(&path, "{\"runs\"").unwrap();
        assert!(refused(&path).contains("is damaged"));
        assert!(refused(dir.path()).contains("cannot be gone on with"));
        assert!(refused(&dir.path().join("no/such/r.json")).contains("cannot be gone on with"));
        std::fs::write(&path, "").unwrap();
        assert!(Record::open(&path, ASKED).unwrap().earlier().is_none());
    }
}
