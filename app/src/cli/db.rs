//! `db`: the databases of a group.

use anyhow::Result;
use app_api::v1::{RebuildRequest, RebuildStarted, ReleaseRequest, Released};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::Format;
use super::client::{Answer, Connect, ask};
use super::operate::{account, escape, refused};
use super::screen::out;

/// What to do with a group's databases.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Copy a server that is not the primary anew, from the primary; says first what that gives up.
    ///
    /// What the server has and its primary has not is saved on its host before, as binary logs and SQL.
    #[command(
        after_help = "Exit codes: 0 it begins, 1 failed (certificates), 2 usage, no such group or server, \
                            3 refused by a rule (a loss that was not accepted, or another one than is stated \
                            now), or the role does not allow it, 4 no quorum."
    )]
    Rebuild(Rebuild),
    /// Take a server out of quarantine as it is: it is compared again, and joins if nothing is extra any more.
    #[command(
        after_help = "Exit codes: 0 it is released, 1 failed (certificates), 2 usage, no such group or \
                            server, 3 it is not quarantined, or the role does not allow it, 4 no quorum."
    )]
    Release(Release),
}

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

/// Runs it.
pub fn run(args: &Db) -> Result<u8> {
    match args {
        Db::Rebuild(args) => rebuild(args),
        Db::Release(args) => release(args),
    }
}

fn path(group: &str, server: &str, what: &str) -> String {
    format!("/v1/groups/{}/servers/{}/{what}", escape(group), escape(server))
}

fn rebuild(args: &Rebuild) -> Result<u8> {
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

fn release(args: &Release) -> Result<u8> {
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
