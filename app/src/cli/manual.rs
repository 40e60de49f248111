//! Completions and manual pages, from the same description that `--help` prints; and the API's.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::screen::out;
use super::{BadInput, Cli};

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// A directory that is there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Prints the completions.
pub fn completions(args: &Completions) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "twofold", &mut text);
    out(String::from_utf8_lossy(&text));
    0
}

/// Prints the API's description.
pub fn openapi() -> u8 {
    out(openapi_text());
    0
}

fn openapi_text() -> String {
    serde_json::to_string_pretty(&app_api::openapi::document()).expect("a document is representable")
}

/// Writes the pages and says where.
pub fn man(args: &Man) -> Result<u8> {
    if !args.dir.is_dir() {
        let why = format!("{} is no directory; make it, then ask again", args.dir.display());
        return Err(BadInput(why).into());
    }
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .with_context(|| format!("write manual pages into {}", args.dir.display()))?;
    out(format_args!("manual pages are in {0}: man -l {0}/twofold.1", args.dir.display()));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the checked-in description is what the types say. Method: generate it, compare to the letter;
    /// `UPDATE_GOLDEN=1` rewrites it, and the difference is the review of a change of the API.
    #[test]
    fn the_checked_in_description_of_the_api_is_what_the_types_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
        let text = openapi_text() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
            std::fs::write(path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == text,
            "docs/reference/openapi.json is stale: UPDATE_GOLDEN=1 cargo test -p twofold manual"
        );
    }

    /// Goal: every command has a page, and every shell a script that names the commands.
    #[test]
    fn pages_and_completions_cover_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(man(&Man { dir: folder.path().to_owned() }).unwrap(), 0);
        for page in ["twofold.1", "twofold-status.1", "twofold-explain-group.1", "twofold-lab-cut.1"] {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains(".TH"), "{page}");
        }
        assert!(man(&Man { dir: folder.path().join("nowhere") }).is_err());
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "twofold", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("failover") && text.contains("accept-loss"), "{shell}");
        }
    }
}
