//! The one way across: from text to a [`Config`] or to all of its problems.

use std::path::Path;

use crate::config::Config;
use crate::problem::{Problem, Problems};
use crate::resolve::resolve;
use crate::tree;
use crate::v1::ConfigFile;

/// What became of a text.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Checked {
    /// What it means; `Some` exactly if there are no problems.
    pub config: Option<Config>,
    /// All problems, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads `text`, the contents of a `twofold.yaml` that lies in `folder`; relative paths in it are
/// joined to that folder, so give it absolute. Never panics, whatever the text.
pub fn check(text: &str, folder: &Path) -> Checked {
    let mut problems = Problems::default();
    let config = tree::parse(text, &mut problems)
        .and_then(|root| ConfigFile::read(&root, &mut problems))
        .and_then(|file| resolve(&file, folder, &mut problems));
    let mut problems = problems.into_sorted();
    let config = config.filter(|_| problems.is_empty());
    if config.is_none() && problems.is_empty() {
        // A reader that returns nothing has said why; should one not, a reload must still refuse.
        problems.push(Problem {
            line: 1,
            column: 1,
            path: String::new(),
            message: "the file was refused and no reason recorded".to_owned(),
            hint: Some("this is a mistake of twofold; report it with the file".to_owned()),
        });
    }
    Checked { config, problems }
}
