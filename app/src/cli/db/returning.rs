//! `db rebuild`, `db release`: the way back of a server that waits for a person.

use anyhow::Result;
use app_api::v1::{RebuildRequest, RebuildStarted, ReleaseRequest, Released};
use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::cli::Format;
use crate::cli::client::{Answer, Connect, ask};
use crate::cli::operate::{account, escape, refused};
use crate::cli::screen::out;

/// Arguments of `db rebuild`.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// The group.
    group: String,
    /// The server whose data is replaced.
    server: String,
    /// The id of the loss that was stated; it lapses when the state changes.
    #[arg(long, value_name = "ID")]
    accept_loss: Option<String>,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `db release`.
#[derive(Debug, Args)]
pub struct Release {
    /// The group.
    group: String,
    /// The server in quarantine.
    server: String,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn path(group: &str, server: &str, what: &str) -> String {
    format!("/v1/groups/{}/servers/{}/{what}", escape(group), escape(server))
}

/// Begins it, or says what it would give up.
pub fn rebuild(args: &Rebuild) -> Result<u8> {
    let request =
        RebuildRequest { accept_loss: args.accept_loss.clone(), reason: args.reason.clone(), by: account() };
    let path = path(&args.group, &args.server, "rebuild");
    match ask::<RebuildStarted>(&args.connect, Method::POST, &path, Some(&json!(request)))? {
        Answer::Ok(started) => {
            match args.output {
                Format::Json => out(json!(started)),
                Format::Text => out(format_args!(
                    "group {}: {} is copied anew from the primary, execution {}; {} transactions of its own are \
                     saved on its host first\nfollow it with: twofold status --watch",
                    started.group, started.server, started.execution, started.transactions
                )),
            }
            Ok(0)
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}

/// Orders it.
pub fn release(args: &Release) -> Result<u8> {
    let request = ReleaseRequest { reason: args.reason.clone(), by: account() };
    let path = path(&args.group, &args.server, "release");
    match ask::<Released>(&args.connect, Method::POST, &path, Some(&json!(request)))? {
        Answer::Ok(released) => {
            match args.output {
                Format::Json => out(json!(released)),
                Format::Text => out(format_args!(
                    "group {}: {} is compared with the primary again; twofold explain group {} tells what comes of it",
                    released.group, released.server, released.group
                )),
            }
            Ok(0)
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}
