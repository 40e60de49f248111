//! Dying on purpose at a step's boundary, for the test that every boundary can be died at. Release
//! builds have none of it.

use std::path::Path;

use runbooks_core::StepId;

/// The file in a node's folder that says where to die: a step's name and one of the moments.
#[cfg(debug_assertions)]
const FILE: &str = "die-at";

/// A moment of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its intent is committed, nothing is done yet.
    Begun,
    /// It is done, its outcome is in no journal.
    Performed,
}

/// Ends this process without a word when the file says so. The file goes first: once is enough.
#[cfg(debug_assertions)]
pub fn point(folder: &Path, step: &StepId, moment: Moment) {
    let path = folder.join(FILE);
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    let wanted = match moment {
        Moment::Begun => format!("{step} begun"),
        Moment::Performed => format!("{step} performed"),
    };
    if text.trim() == wanted && std::fs::remove_file(&path).is_ok() {
        tracing::warn!(%step, ?moment, "dying here, as told");
        std::process::abort();
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub fn point(_folder: &Path, _step: &StepId, _moment: Moment) {}
