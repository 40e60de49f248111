//! What is wrong with a file, where, and what to do next.

use std::fmt;

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
