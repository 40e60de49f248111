//! `twofold check FILE`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

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
    let text = std::fs::read_to_string(path)
        .map_err(|e| BadInput(format!("configuration {}: {e}; name an existing file", path.display())))?;
    let absolute = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
    let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
    Ok((text, folder))
}

/// Prints the resolved form, or every problem; exit code 2 if there is any.
pub fn run(check: &Check) -> u8 {
    let (text, folder) = match read(&check.file) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("twofold: {error:#}");
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
            println!("{}", json!({"file": shown.to_string(), "ok": config.is_some(), "problems": problems}));
        }
        (Format::Text, Some(config)) => {
            println!("{config}");
            println!("{shown}: no problems");
        }
        (Format::Text, None) => {
            for problem in &checked.problems {
                println!("{shown}:{problem}");
            }
            let n = checked.problems.len();
            println!("{shown}: {n} problem{}", if n == 1 { "" } else { "s" });
        }
    }
    if checked.config.is_some() { 0 } else { 2 }
}
