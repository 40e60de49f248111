//! The file of `--json`: opened before the demo begins, so that a path that cannot be written costs no
//! demo, and written at its end.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::report::Report;

/// The caller named a file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("report {} cannot be written", .path.display())]
pub struct NoReportFile {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Open for writing. Dropped unwritten, what was in it stays, and a file that is new goes.
pub struct ReportFile {
    path: PathBuf,
    file: File,
    unused: bool,
}

impl ReportFile {
    /// Opens it.
    ///
    /// # Errors
    /// [`NoReportFile`].
    pub fn open(path: &Path) -> Result<ReportFile, NoReportFile> {
        let fault = |source| NoReportFile { path: path.to_path_buf(), source };
        let fresh = !path.exists();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(fault)?;
        Ok(ReportFile { path: path.to_path_buf(), file, unused: fresh })
    }

    /// Replaces what is in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, report: &Report) -> anyhow::Result<()> {
        self.unused = false;
        // A pipe or a terminal cannot be cut short, and need not.
        let _ = self.file.set_len(0);
        let written = self.file.write_all(text(report).as_bytes());
        written.with_context(|| format!("report {}", self.path.display()))
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if self.unused {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The document.
pub fn text(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report is plain data") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Flavour;

    #[test]
    fn an_unwritten_report_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old.json"), dir.path().join("new.json"));
        std::fs::write(&old, "a longer text than nothing").unwrap();
        drop((ReportFile::open(&old).unwrap(), ReportFile::open(&new).unwrap()));
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "a longer text than nothing");
        assert!(!new.exists());
        assert!(ReportFile::open(&dir.path().join("no/such/r.json")).is_err());

        let report = Report {
            fault: "cut-link".to_owned(),
            flavour: Flavour::Mysql,
            fallback: None,
            fence: None,
            servers: 1,
            writers: None,
            runs: Vec::new(),
            notes: Vec::new(),
        };
        ReportFile::open(&old).unwrap().write(&report).unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), text(&report));
    }
}
