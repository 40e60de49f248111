//! What operators type.

mod audit;
mod cert;
mod check;
mod client;
mod configure;
mod credential;
mod db;
mod dns;
mod manual;
mod operate;
mod quorum;
mod screen;
mod show;
mod switchover;
mod token;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use app_config::Config;
use clap::{Args, Parser, Subcommand, ValueEnum};
use model::{Incarnation, NodeId, ServerId};
use tracing::warn;

use crate::daemon::First;

/// What `serve` and `guard` log.
const LOG_VARIABLE: &str = "TWOFOLD_LOG";
/// Unless it is said otherwise: libraries speak up when something is wrong.
const LOG_DEFAULT: &str = "info,hickory_server=warn,hickory_proto=warn,mysql_async=off";

/// Beneath the help of a command that runs until it is told to stop.
const RUNS: &str = "Exit codes: 0 told to stop, 1 failed, 2 usage or bad input.";

/// Keeps a platform that lives in two datacentres serving when one of them dies.
///
/// Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 refused by a rule, 4 no quorum.
#[derive(Debug, Parser)]
#[command(name = "twofold", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: voter, DNS server, prober, API.
    #[command(after_help = RUNS)]
    Serve(Serve),
    /// Run the lease holder on a database host.
    #[command(after_help = RUNS)]
    Guard(GuardArgs),
    /// Check a configuration: all problems with line and column; exit 2 if any.
    #[command(after_help = "Exit codes: 0 no problems, 2 problems, or no such file.")]
    Check(check::Check),
    /// Make the cluster's CA and the certificates of its nodes, guards and clients.
    #[command(
        subcommand,
        after_help = "Exit codes: 0 made, 1 failed (a file is there already, no CA), 2 usage or bad input."
    )]
    Cert(cert::Cert),
    /// Put another configuration in force: compared in words, held up to every node, committed.
    #[command(
        after_help = "Exit codes: 0 in force, or nothing differs (with --dry-run: nothing stands against it), 1 failed, \
                      2 usage or problems in the file, 3 refused (what a running cluster cannot take, a node that \
                      cannot use it or is not heard, another generation in force, the role), 4 no quorum."
    )]
    Apply(configure::Apply),
    /// The configuration by generation: what is in force, what was, and back.
    #[command(subcommand)]
    Config(configure::ConfigCommand),
    /// One screen: who is active, since when, may it fail over now, and if not why not.
    #[command(
        after_help = "Exit codes: 0 a quorum confirmed it, 1 failed (certificates), 2 usage or bad input, \
                      4 no quorum: one node's own view, or no answer."
    )]
    Status(operate::Status),
    /// Why something is as it is.
    #[command(
        subcommand,
        after_help = "Exit codes: 0 a quorum confirmed it, 1 failed (certificates), 2 usage or no such group, \
                      4 no quorum: one node's own view, or no answer."
    )]
    Explain(operate::Explain),
    /// Move a group to the other site without its primary's help; states the loss before.
    #[command(
        after_help = "Exit codes: 0 it begins, 1 failed, 2 usage, no such group or site, 3 refused by a rule \
                      (a loss that was not accepted, or another one than is stated now), 4 no quorum."
    )]
    Failover(operate::Failover),
    /// Move a group to the other site with its primary's help: nothing is lost, writers wait a moment.
    ///
    /// Also the way back home after a failover (failback), once the group is in Sync again.
    #[command(
        after_help = "Exit codes: 0 it is moved (with --dry-run: it could be, with --no-wait: it begins), 1 it was \
                      undone, or its end was not seen, 2 usage, no such group or site, 3 a precondition does not \
                      hold, or the role does not allow it, 4 no quorum."
    )]
    Switchover(switchover::Switchover),
    /// Keep a group from moving by itself while somebody works at it.
    #[command(subcommand)]
    Maintenance(operate::Maintenance),
    /// The databases behind the groups, server by server; and the way back of one that waits for a person.
    #[command(subcommand)]
    Db(db::Db),
    /// API tokens: who may speak to the API without a certificate, until when, and for which groups.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Who did what and what was decided: the hash-chained log of every node.
    #[command(
        after_help = "Exit codes: 0 printed, or intact, 1 tampered with, or failed (certificates), 2 usage or bad \
                      input, 4 no node answers."
    )]
    Audit(audit::Audit),
    /// The DNS responder alone: a zone from its file, tried or served without a cluster.
    #[command(subcommand)]
    Dns(dns::DnsCommand),
    /// Two datacentres on this machine.
    #[command(subcommand)]
    Lab(chaos_lab::cli::LabCommand),
    /// Deterministic simulation of the control plane.
    Sim(chaos_sim::cli::SimCommand),
    /// A quorum that is lost for good.
    #[command(subcommand)]
    Quorum(quorum::Quorum),
    /// Completions for a shell, to standard output.
    Completions(manual::Completions),
    /// The API's description in OpenAPI 3.1, to standard output; nodes serve it at /v1/openapi.json.
    Openapi,
    /// Write to the disk of a folder, a page a line of standard input: what a guard has a child do.
    #[command(name = crate::guard::disk::COMMAND, hide = true)]
    DiskProbe {
        /// The folder.
        dir: PathBuf,
    },
    /// Manual pages, one a command, into a directory: `man -l DIR/twofold.1`.
    Man(manual::Man),
}

#[derive(Debug, Args)]
struct Serve {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// This node's name in it.
    #[arg(long, value_name = "NAME")]
    node: NodeId,
    /// Make the Raft log of a node that never had one, and exit. Never for a node that lost its log:
    /// that one is replaced under a new name.
    #[arg(long, conflicts_with = "join")]
    init: bool,
    /// Make the log of a new node that is to join a cluster that runs, and exit. It votes once the others
    /// have made it a voter, which they do when the configuration that names it is applied.
    #[arg(long)]
    join: bool,
    /// With --join: the incarnation of the cluster that is joined, where it was ever forced: `twofold status`
    /// of a node that is out of the cluster names it.
    #[arg(long, value_name = "I", requires = "join", default_value_t = Incarnation(1))]
    incarnation: Incarnation,
    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Args)]
struct GuardArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The database server on this host, by its name in it.
    #[arg(long, value_name = "NAME")]
    server: ServerId,
    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Args)]
struct Log {
    /// How log lines are written (to standard error). What is written: environment TWOFOLD_LOG.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Runs the command and gives its exit code.
pub fn run(cli: Cli) -> u8 {
    let result = match cli.command {
        Command::Serve(serve) => run_serve(serve),
        Command::Guard(guard) => run_guard(guard),
        Command::Check(check) => Ok(check::run(&check)),
        Command::Cert(cert) => cert::run(&cert),
        Command::Apply(apply) => configure::apply(&apply),
        Command::Config(config) => configure::config(&config),
        Command::Status(status) => operate::status(&status),
        Command::Explain(explain) => operate::explain(&explain),
        Command::Failover(failover) => operate::failover(&failover),
        Command::Switchover(args) => switchover::run(&args),
        Command::Quorum(quorum) => quorum::run(&quorum),
        Command::Maintenance(maintenance) => operate::maintain(&maintenance),
        Command::Db(db) => db::run(&db),
        Command::Token(command) => token::run(&command),
        Command::Audit(audit) => audit::run(&audit),
        Command::Dns(command) => dns::run(&command),
        Command::Lab(lab) => Ok(chaos_lab::cli::run(lab)),
        Command::Sim(sim) => Ok(chaos_sim::cli::run_command(&sim)),
        Command::Completions(completions) => Ok(manual::completions(&completions)),
        Command::Openapi => Ok(manual::openapi()),
        Command::DiskProbe { dir } => crate::guard::disk::run(&dir),
        Command::Man(man) => manual::man(&man),
    };
    result.unwrap_or_else(|error| {
        screen::err(format_args!("twofold: {error:#}"));
        error.downcast_ref::<BadInput>().map_or(1, |_| 2)
    })
}

/// Marks an error as the caller's own: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

fn run_serve(serve: Serve) -> Result<u8> {
    let config = load(&serve.config)?;
    if !config.nodes().contains_key(&serve.node) {
        let known = list(config.nodes().keys());
        let name = serve.node.as_str();
        let why = format!("node {name:?} is not in the configuration; add it under nodes (known: {known})");
        return Err(BadInput(why).into());
    }
    if serve.init || serve.join {
        let (first, next) = if serve.init {
            (First::Founds, "start it with the others: the same command without --init")
        } else {
            (
                First::Joins,
                "start it: the same command without --join; it votes once the others made it a voter",
            )
        };
        let path = crate::daemon::init(&config, &serve.node, first, serve.incarnation)?;
        screen::out(format_args!("node {}: a new log at {}\n{next}", serve.node, path.display()));
        return Ok(0);
    }
    start_log(serve.log.log_format);
    runtime()?.block_on(crate::daemon::run(config, &serve.config, serve.node))?;
    Ok(0)
}

fn run_guard(guard: GuardArgs) -> Result<u8> {
    let config = load(&guard.config)?;
    if config.server(guard.server.as_str()).is_none() {
        let known = list(config.databases().values().flat_map(|db| db.servers.keys()));
        let name = guard.server.as_str();
        let why =
            format!("server {name:?} is not in the configuration; add it under databases (known: {known})");
        return Err(BadInput(why).into());
    }
    start_log(guard.log.log_format);
    runtime()?.block_on(crate::guard::run(config, &guard.config, guard.server))?;
    Ok(0)
}

fn list<T: std::fmt::Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")
}

/// Reads a configuration; every problem of it is printed.
pub fn load(path: &Path) -> Result<Config> {
    let (text, folder) = check::read(path)?;
    let checked = app_config::check(&text, &folder);
    match checked.config {
        Some(config) => Ok(config),
        None => {
            let shown: Vec<String> =
                checked.problems.iter().map(|p| format!("{}:{p}", path.display())).collect();
            Err(BadInput(format!(
                "{} has {} problem{} and nothing was done:\n{}",
                path.display(),
                shown.len(),
                if shown.len() == 1 { "" } else { "s" },
                shown.join("\n")
            ))
            .into())
        }
    }
}

fn start_log(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let asked = std::env::var(LOG_VARIABLE).ok().filter(|text| !text.is_empty());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let (filter, problem) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(LOG_DEFAULT), Some(error)),
        None => (EnvFilter::new(LOG_DEFAULT), None),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    if let Some(error) = problem {
        warn!(
            %error,
            value = asked,
            "{LOG_VARIABLE} is no filter and does not count; write for example info or twofold=debug"
        );
    }
}
