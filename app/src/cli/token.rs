//! `token create|list|revoke|acknowledge`: API tokens, and what became of those that break the glass.

use anyhow::Result;
use app_api::v1::{AcknowledgeRequest, IssuedToken, TokenAnswer, TokenList, TokenRequest, TokenStatus};
use app_cert::Role;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::client::{Answer, Connect, ask};
use super::operate::{account, escape, parse_time, refused};
use super::screen::{err, out};
use super::{Format, show};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Issue a token; its secret is printed this once and kept nowhere.
    #[command(
        after_help = "Exit codes: 0 it stands, 1 failed (certificates), 2 usage or no such group, 3 the role \
                            does not allow it, or a rule stands against it, 4 no quorum."
    )]
    Create(Create),
    /// The tokens that stand, expired ones too, and alarms that nobody has acknowledged.
    #[command(
        after_help = "Exit codes: 0 a quorum confirmed it, 1 failed (certificates), 2 usage, 3 the role does not \
                      allow it, 4 no quorum: one node's own view, or no answer."
    )]
    List(List),
    /// Revoke a token: nobody orders anything with it from then on.
    #[command(
        after_help = "Exit codes: 0 it stands no more, 1 failed (certificates), 2 usage or no such token, \
                            3 the role does not allow it, 4 no quorum."
    )]
    Revoke(Named),
    /// Acknowledge the uses of a break-glass token, which ends its alarm.
    #[command(
        after_help = "Exit codes: 0 acknowledged, 1 failed (certificates), 2 usage or no such token, 3 there \
                            is nothing to acknowledge, or the role does not allow it, 4 no quorum."
    )]
    Acknowledge(Named),
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name, by which the audit names whoever uses it.
    name: String,
    /// What its bearer may do: viewer, operator, approver or admin.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// A group that it is for; may be repeated. Without it: all groups, and the cluster.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// For how long from now: 12h, 30d, up to 366d.
    #[arg(long = "expires", value_name = "TIME", value_parser = parse_time)]
    expires_s: u64,
    /// For the envelope: role admin, and every use of it raises an alarm.
    #[arg(long, conflicts_with = "group")]
    break_glass: bool,
    /// What for, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `token list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `token revoke` and `token acknowledge`.
#[derive(Debug, Args)]
pub struct Named {
    /// The token.
    name: String,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Does it.
pub fn run(command: &TokenCommand) -> Result<u8> {
    match command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::List(args) => list(args),
        TokenCommand::Revoke(args) => {
            let reason = args.reason.as_ref().map_or(String::new(), |r| format!("?reason={}", escape(r)));
            let path = format!("/v1/tokens/{}{reason}", escape(&args.name));
            let answer = ask::<TokenAnswer>(&args.connect, Method::DELETE, &path, None)?;
            Ok(done(answer, args.output, |name| format!("token {name} stands no more")))
        }
        TokenCommand::Acknowledge(args) => {
            let path = format!("/v1/tokens/{}/acknowledge", escape(&args.name));
            let request = AcknowledgeRequest { reason: args.reason.clone(), by: account() };
            let answer = ask::<TokenAnswer>(&args.connect, Method::POST, &path, Some(&json!(request)))?;
            Ok(done(answer, args.output, |name| {
                format!("the uses of break-glass token {name} are acknowledged\n{}", AFTERWARDS)
            }))
        }
    }
}

/// What is to be done once somebody has looked.
const AFTERWARDS: &str = "revoke it and seal a new one: twofold token create NAME --role admin --break-glass";

fn done(answer: Answer<TokenAnswer>, output: Format, said: impl Fn(&str) -> String) -> u8 {
    match answer {
        Answer::Ok(done) => {
            match output {
                Format::Json => out(json!(done)),
                Format::Text => out(said(&done.token)),
            }
            0
        }
        Answer::Problem(problem) => refused(&problem, output),
    }
}

fn create(args: &Create) -> Result<u8> {
    let request = TokenRequest {
        name: args.name.clone(),
        role: args.role.into(),
        groups: args.group.clone(),
        expires_s: args.expires_s,
        break_glass: args.break_glass,
        reason: args.reason.clone(),
        by: account(),
    };
    match ask::<IssuedToken>(&args.connect, Method::POST, "/v1/tokens", Some(&json!(request)))? {
        Answer::Ok(issued) => {
            match args.output {
                Format::Json => out(json!(issued)),
                // The secret alone on standard output, for a pipe into a store of secrets.
                Format::Text => {
                    err(line(&issued.token));
                    err("the secret is shown this once; whoever has it may do the above:");
                    out(&issued.secret);
                }
            }
            Ok(0)
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}

fn list(args: &List) -> Result<u8> {
    match ask::<TokenList>(&args.connect, Method::GET, "/v1/tokens", None)? {
        Answer::Ok(list) => {
            match args.output {
                Format::Json => out(json!(list)),
                Format::Text => out(screen(&list)),
            }
            Ok(if list.quorum { 0 } else { app_api::v1::Code::NoQuorum.exit_code() })
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}

fn screen(list: &TokenList) -> String {
    let mut lines = Vec::new();
    if !list.quorum {
        lines.push(format!(
            "NO QUORUM: {}'s own view; the cluster may have moved without it",
            list.answered_by
        ));
    }
    lines.extend(list.break_glass.iter().map(|alarm| format!("!! {}", show::break_glass(alarm))));
    lines.extend(list.tokens.iter().map(line));
    if list.tokens.is_empty() {
        lines.push("no tokens; one is made with: twofold token create NAME --role ROLE --expires 30d".into());
    }
    lines.join("\n")
}

fn line(token: &TokenStatus) -> String {
    let groups = if token.groups.is_empty() { "all groups".into() } else { token.groups.join(", ") };
    let word = if token.expired { "EXPIRED" } else { "until" };
    let glass = if token.break_glass { "   BREAK-GLASS" } else { "" };
    format!(
        "{:<16} {:<9} {groups}   {word} {}   issued by {} {}{glass}",
        token.name,
        app_cert::Role::from(token.role).as_str(),
        show::time(token.expires_ms),
        token.by,
        show::time(token.issued_ms),
    )
}
