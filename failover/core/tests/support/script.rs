//! The form of a script: a command on a line of its own, what it prints indented beneath it; `#`
//! lines are comments.
//!
//! It is etcd's rafttest with less ceremony: a scenario is a page that anybody can read, and rewrite
//! with `UPDATE_GOLDEN=1`.

use std::fmt::Write as _;

/// What output is indented by.
const INDENT: &str = "    ";

/// One part of a script.
pub enum Part {
    /// A comment or blank line, kept as it is.
    Text(String),
    /// A command and the number of its line.
    Command { line: usize, text: String },
}

/// The comments and commands of a script; what is printed is left out, since it is compared whole.
pub fn parse(text: &str) -> Vec<Part> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with(INDENT))
        .map(|(index, line)| {
            if line.trim().is_empty() || line.starts_with('#') {
                Part::Text(line.to_owned())
            } else {
                Part::Command { line: index + 1, text: line.to_owned() }
            }
        })
        .collect()
}

/// The script as it reads when `run` prints for each command.
pub fn replay(parts: &[Part], mut run: impl FnMut(usize, &str) -> String) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(line) => writeln!(out, "{line}").unwrap(),
            Part::Command { line, text } => {
                writeln!(out, "{text}").unwrap();
                run(*line, text).lines().for_each(|l| writeln!(out, "{INDENT}{l}").unwrap());
            }
        }
    }
    out
}
