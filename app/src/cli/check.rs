//! `twofold check FILE`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::screen::{err, out};
use super::{BadInput, Format};

/// Arguments.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration.
    pub file: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// The text and the folder that relative paths in it are joined to.
pub fn read(path: &Path) -> Result<(String, PathBuf)> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::InvalidData => "it is not text (UTF-8); name a configuration in YAML".to_owned(),
            ErrorKind::IsADirectory => "it is a folder; name the file in it".to_owned(),
            ErrorKind::PermissionDenied => format!("{error}; run as a user who may read it"),
            _ => format!("{error}; name an existing file"),
        };
        BadInput(format!("configuration {}: {why}", path.display()))
    })?;
    let absolute = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
    let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
    Ok((text, folder))
}

/// Prints the resolved form, or every problem; exit code 2 if there is any.
pub fn run(check: &Check) -> u8 {
    let (text, folder) = match read(&check.file) {
        Ok(read) => read,
        Err(error) => {
            err(format_args!("twofold: {error:#}"));
            return 2;
        }
    };
    let checked = app_config::check(&text, &folder);
    let shown = check.file.display();
    match (check.output, &checked.config) {
        (Format::Json, config) => {
            let problems: Vec<_> = checked
                .problems
                .iter()
                .map(|p| {
                    json!({"line": p.line, "column": p.column, "path": p.path, "message": p.message, "hint": p.hint})
                })
                .collect();
            out(json!({"file": shown.to_string(), "ok": config.is_some(), "problems": problems}));
        }
        (Format::Text, Some(config)) => {
            out(config);
            out(format_args!("{shown}: no problems"));
        }
        (Format::Text, None) => {
            for problem in &checked.problems {
                out(format_args!("{shown}:{problem}"));
            }
            let n = checked.problems.len();
            out(format_args!("{shown}: {n} problem{}", if n == 1 { "" } else { "s" }));
        }
    }
    if checked.config.is_some() { 0 } else { 2 }
}
