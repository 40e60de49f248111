//! `twofold db`: the databases behind the groups, server by server.

use anyhow::Result;
use app_api::v1::{Code, Status};
use clap::{Args, Subcommand, ValueEnum};
use model::Flavour;
use reqwest::Method;
use serde_json::{Value, json};

use super::Format;
use super::client::{Answer, Connect, ask};
use super::operate::refused;
use super::screen::out;

pub mod render;
mod returning;

/// The databases.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Every server: role, writable or shut, positions, lag, connections, diagnoses with the next act.
    #[command(after_help = CODES)]
    Status(Look),
    /// Sites and servers as a picture: who replicates from whom, and what is the matter.
    #[command(after_help = CODES)]
    Topology(Look),
    /// Transactions of servers that their primary never had.
    #[command(after_help = CODES)]
    Errant(Look),
    /// The least rights of the accounts as SQL statements; needs no cluster.
    #[command(after_help = "Exit codes: 0 printed, 2 usage.")]
    Grants(Grants),
    /// Copy a server that is not the primary anew, from the primary; says first what that gives up.
    ///
    /// What the server has and its primary has not is saved on its host before, as binary logs and SQL.
    #[command(
        after_help = "Exit codes: 0 it begins, 1 failed (certificates), 2 usage, no such group or server, \
                            3 refused by a rule (a loss that was not accepted, or another one than is stated \
                            now), or the role does not allow it, 4 no quorum."
    )]
    Rebuild(returning::Rebuild),
    /// Take a server out of quarantine as it is: it is compared again, and joins if nothing is extra any more.
    #[command(
        after_help = "Exit codes: 0 it is released, 1 failed (certificates), 2 usage, no such group or \
                            server, 3 it is not quarantined, or the role does not allow it, 4 no quorum."
    )]
    Release(returning::Release),
}

/// Beneath the help of those that look.
const CODES: &str = "Exit codes: 0 a quorum confirmed it, 1 failed (certificates), 2 usage or bad input, \
                     4 no quorum: one node's own view (without diagnoses), or no answer.";

/// Arguments of those that look.
#[derive(Debug, Args)]
pub struct Look {
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `db grants`.
#[derive(Debug, Args)]
pub struct Grants {
    /// Whose servers.
    #[arg(long, value_enum, default_value_t)]
    flavour: Kind,
    /// The guard's account, as the server writes it.
    #[arg(long, value_name = "ACCOUNT", default_value = "'twofold'@'localhost'")]
    account: String,
    /// The replication account.
    #[arg(long, value_name = "ACCOUNT", default_value = "'repl'@'%'")]
    replication: String,
    /// The schema of K3s's objects, as in the configuration's `kine`.
    #[arg(long, value_name = "SCHEMA")]
    kine: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Whose servers.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Kind {
    /// MySQL.
    #[default]
    Mysql,
    /// MariaDB.
    Mariadb,
}

/// Does it.
pub fn run(db: &Db) -> Result<u8> {
    match db {
        Db::Status(args) => look(args, render::status, |status| json!(status.groups)),
        Db::Topology(args) => look(args, render::topology, render::topology_json),
        Db::Errant(args) => look(args, render::errant, render::errant_json),
        Db::Grants(args) => {
            grants(args);
            Ok(0)
        }
        Db::Rebuild(args) => returning::rebuild(args),
        Db::Release(args) => returning::release(args),
    }
}

fn look(args: &Look, text: fn(&Status) -> String, document: fn(&Status) -> Value) -> Result<u8> {
    match ask::<Status>(&args.connect, Method::GET, "/v1/status", None)? {
        Answer::Ok(status) => {
            match args.output {
                Format::Json => out(document(&status)),
                Format::Text => out(text(&status)),
            }
            Ok(if status.quorum { 0 } else { Code::NoQuorum.exit_code() })
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}

fn grants(args: &Grants) {
    let (flavour, mut statements) = match args.flavour {
        Kind::Mysql => (Flavour::Mysql, replication_mysql::grant_statements(&args.account)),
        Kind::Mariadb => (Flavour::Mariadb, replication_mysql::mariadb_grant_statements(&args.account)),
    };
    statements.extend(args.kine.as_deref().map(replication_mysql::kine_grant_statement));
    statements.push(replication_mysql::replication_grant_statement(flavour, &args.replication));
    match args.output {
        Format::Json => out(json!(statements)),
        Format::Text => statements.iter().for_each(|statement| out(format_args!("{statement};"))),
    }
}
