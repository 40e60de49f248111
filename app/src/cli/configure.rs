//! `apply` and `config`: the configuration by generation.

use std::path::PathBuf;

use anyhow::Result;
use app_api::v1::{Code, ConfigGeneration, ConfigPlan, ConfigRequest, ConfigStatus};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::client::{Answer, Connect, ask};
use super::operate::{account, refused};
use super::screen::{err, out};
use super::{BadInput, Format, check, show};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The configuration to put in force. It also says where the cluster is, unless --config does.
    file: PathBuf,
    #[command(flatten)]
    how: How,
    /// The configuration that says where the cluster is and who asks; the file itself unless given.
    #[arg(long, env = "TWOFOLD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Nodes to ask, instead of the configuration's: https://ADDRESS:PORT, comma-separated.
    #[arg(long, env = "TWOFOLD_API", value_delimiter = ',', value_name = "URL", value_parser = super::client::parse_api)]
    api: Vec<String>,
    /// Name of the client's certificate in `tls.dir`.
    #[arg(long = "identity", env = "TWOFOLD_CLIENT", default_value = "client", value_name = "NAME")]
    client: String,
    /// A file with an API token, instead of the certificate; else the environment's TWOFOLD_TOKEN.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
}

/// How it is applied.
#[derive(Debug, Args)]
pub struct How {
    /// Say what would change and what every node says of it, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history and the audit.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// A node that need not be heard. It takes the configuration when it is back.
    #[arg(long, value_name = "NODE")]
    without: Vec<String>,
    /// Only if this generation is in force.
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// What is in force, who made it, and what every node goes by and has on its disk.
    #[command(
        after_help = "Exit codes: 0 all nodes go by it, 1 failed, 2 usage, 3 a node differs (drift), 4 no quorum."
    )]
    Show {
        #[command(flatten)]
        connect: Connect,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// The text of a generation, as it was applied: the one in force unless a number is given.
    #[command(after_help = "Exit codes: 0 printed, 1 failed, 2 usage or not remembered, 4 no quorum.")]
    Get {
        /// The generation.
        generation: Option<u64>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Every generation that is remembered: number, when, who, why and what differed.
    #[command(after_help = "Exit codes: 0 printed, 1 failed, 2 usage, 4 no quorum.")]
    History {
        #[command(flatten)]
        connect: Connect,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Take up the text of an earlier generation again, as a new one.
    #[command(after_help = "Exit codes: as of apply.")]
    Rollback {
        /// The generation.
        generation: u64,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        connect: Connect,
    },
    /// The JSON Schema of twofold.yaml, for editors.
    #[command(after_help = "Exit codes: 0 printed.")]
    Schema,
}

/// Applies a file.
pub fn apply(args: &Apply) -> Result<u8> {
    let (text, _) = check::read(&args.file)?;
    let connect = Connect {
        config: args.config.clone().unwrap_or_else(|| args.file.clone()),
        api: args.api.clone(),
        client: args.client.clone(),
        token_file: args.token_file.clone(),
    };
    request(&connect, &args.how, Some(text), None)
}

fn request(connect: &Connect, how: &How, text: Option<String>, restores: Option<u64>) -> Result<u8> {
    let request = ConfigRequest {
        text,
        restores,
        expect: how.expect,
        dry_run: how.dry_run,
        why: how.why.clone(),
        without: how.without.clone(),
        by: account(),
    };
    match ask::<ConfigPlan>(connect, Method::POST, "/v1/config", Some(&json!(request)))? {
        Answer::Ok(plan) => {
            match how.output {
                Format::Json => out(json!(plan)),
                Format::Text => out(told(&plan)),
            }
            Ok(if plan.ready { 0 } else { Code::Refused.exit_code() })
        }
        Answer::Problem(problem) => Ok(refused(&problem, how.output)),
    }
}

/// What would change or has, what every node says, and how it ended.
fn told(plan: &ConfigPlan) -> String {
    if plan.changes.is_empty() {
        return format!("nothing differs from generation {}, which is in force", plan.base);
    }
    let mut lines = vec![format!("against generation {}:", plan.base)];
    for change in &plan.changes {
        lines.push(match (&change.before, &change.after) {
            (Some(before), Some(after)) => format!("  ~ {}: {before} -> {after}", change.path),
            (None, Some(after)) => format!("  + {}: {after}", change.path),
            (Some(before), None) => format!("  - {}: {before}", change.path),
            (None, None) => format!("    {}", change.path),
        });
        if let Some(why) = &change.refused {
            lines.push(format!("      cannot change while the cluster runs: {why}"));
        }
    }
    lines.push("nodes:".to_owned());
    for node in &plan.nodes {
        lines.push(format!("  {:<12} {}", node.node, node.verdict));
        lines.extend(node.detail.iter().map(|detail| format!("      {detail}")));
    }
    lines.push(match (plan.applied, plan.ready) {
        (true, _) => format!("generation {} is in force; see twofold config show", plan.generation),
        (false, true) => format!("nothing stands against it; it would be generation {}", plan.generation),
        (false, false) => "it would be refused; nothing was changed".to_owned(),
    });
    lines.join("\n")
}

/// The configuration by generation.
pub fn config(command: &ConfigCommand) -> Result<u8> {
    match command {
        ConfigCommand::Schema => {
            out(format_args!("{:#}", app_config::json_schema()));
            Ok(0)
        }
        ConfigCommand::Rollback { generation, how, connect } => {
            request(connect, how, None, Some(*generation))
        }
        ConfigCommand::Show { connect, output } => with_status(connect, *output, |status| {
            match output {
                Format::Json => out(json!(status)),
                Format::Text => out(shown(status)),
            }
            let current = status.current.as_ref().map(|c| c.generation);
            let differs = status.nodes.iter().any(|n| {
                n.generation.is_some_and(|g| Some(g) != current)
                    || n.file.as_deref().is_some_and(|f| f != "same")
            });
            Ok(match (status.quorum, differs) {
                (false, _) => Code::NoQuorum.exit_code(),
                (true, true) => Code::Refused.exit_code(),
                (true, false) => 0,
            })
        }),
        ConfigCommand::History { connect, output } => with_status(connect, *output, |status| {
            match output {
                Format::Json => out(json!(all(status).collect::<Vec<_>>())),
                Format::Text => out(all(status).map(line).collect::<Vec<_>>().join("\n")),
            }
            Ok(if status.quorum { 0 } else { Code::NoQuorum.exit_code() })
        }),
        ConfigCommand::Get { generation, connect } => with_status(connect, Format::Text, |status| {
            let wanted = all(status).find(|c| generation.is_none_or(|g| g == c.generation));
            let Some(found) = wanted else {
                let known: Vec<String> = all(status).map(|c| c.generation.to_string()).collect();
                let why = format!(
                    "generation {} is not remembered (known: {})",
                    generation.unwrap_or(0),
                    known.join(", ")
                );
                return Err(BadInput(why).into());
            };
            out(found.text.trim_end_matches('\n'));
            Ok(if status.quorum { 0 } else { Code::NoQuorum.exit_code() })
        }),
    }
}

fn with_status(
    connect: &Connect,
    output: Format,
    then: impl FnOnce(&ConfigStatus) -> Result<u8>,
) -> Result<u8> {
    match ask::<ConfigStatus>(connect, Method::GET, "/v1/config", None)? {
        Answer::Ok(status) => {
            if !status.quorum {
                err(format_args!(
                    "twofold: no quorum confirmed this; it is what node {} knows",
                    status.answered_by
                ));
            }
            then(&status)
        }
        Answer::Problem(problem) => Ok(refused(&problem, output)),
    }
}

fn all(status: &ConfigStatus) -> impl Iterator<Item = &ConfigGeneration> {
    status.current.iter().chain(&status.earlier)
}

fn line(c: &ConfigGeneration) -> String {
    let restores = c.restores.map_or(String::new(), |g| format!(", generation {g} again"));
    let why = c.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let head = format!("{:>4}  {}  {}{restores}{why}", c.generation, show::time(c.at_ms), c.by);
    std::iter::once(head)
        .chain(c.changes.iter().map(|change| format!("        {change}")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn shown(status: &ConfigStatus) -> String {
    let Some(current) = &status.current else {
        return "no configuration is committed yet; the leader proposes its own file within seconds"
            .to_owned();
    };
    let mut lines = vec!["in force:".to_owned(), line(current), "nodes:".to_owned()];
    for node in &status.nodes {
        let generation = node.generation.map_or("not heard".to_owned(), |g| format!("generation {g}"));
        let file = match node.file.as_deref() {
            None => String::new(),
            Some("same") => ", its file is the same".to_owned(),
            Some(words) => format!(", its file {words}"),
        };
        lines.push(format!("  {:<12} {:<8} {generation}{file}", node.node, node.member));
    }
    if status.nodes.iter().any(|n| n.file.as_deref().is_some_and(|f| f != "same")) {
        lines.push("a file on disk does not count until it is applied: twofold apply FILE; or make it anew: twofold config get > FILE".to_owned());
    }
    lines.join("\n")
}
