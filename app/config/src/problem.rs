//! What is wrong with a file, where, and what to do next.

use std::fmt;

use crate::tree::Place;

/// Most problems that are reported of one file; a person mends the first ones first. One more says
/// that there are more.
const PROBLEMS_MAX: usize = 200;

/// One mistake. `check` returns all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The way to the node: `groups.shop.database`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The next act.
    pub hint: Option<String>,
}

/// `LINE:COLUMN: PATH: MESSAGE`, and the hint on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    left_out: bool,
    /// Readers are asked what they take (`schema.rs`): nothing is a problem.
    pub(crate) describing: bool,
    /// What the reader that was asked last takes.
    pub(crate) described: Option<serde_json::Value>,
}

impl Problems {
    /// Adds one; an empty `hint` is none.
    pub fn add(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        if self.describing {
            return;
        }
        if self.list.len() >= PROBLEMS_MAX {
            self.left_out = true;
            return;
        }
        let hint: String = hint.into();
        self.list.push(Problem {
            line: place.line,
            column: place.column,
            path: place.path.clone(),
            message: message.into(),
            hint: Some(hint).filter(|text| !text.is_empty()),
        });
    }

    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.list.len() + usize::from(self.left_out)
    }

    /// All of them in the order of the file.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        if self.left_out {
            let (line, column) = self.list.last().map_or((1, 1), |last| (last.line, last.column));
            self.list.push(Problem {
                line,
                column,
                path: String::new(),
                message: "there are more problems than are shown".to_owned(),
                hint: Some("mend these and check again".to_owned()),
            });
        }
        self.list
    }
}
