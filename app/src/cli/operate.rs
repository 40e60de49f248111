//! `status`, `explain`, `failover`.

use anyhow::Result;
use app_api::v1::{
    Code, DnsExplanation, Explanation, FailoverRequest, FailoverStarted, MaintenanceRequest, Problem,
    Status as Screen,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Connect, ask};
use super::screen::{err, out};
use super::{Format, show, watch};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Keep the screen up to date, with the last events, until q is pressed. NO_COLOR is heeded.
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,
}

/// What to explain.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Why one node's DNS answers a question as it does.
    #[command(
        after_help = "Exit codes: 0 explained, 1 failed (certificates), 2 usage, bad input, or a node without DNS, \
                      4 no node answers."
    )]
    Dns {
        /// The name; it is taken as fully qualified.
        name: String,
        /// The record type.
        #[arg(long = "type", value_name = "TYPE", default_value = "A")]
        record_type: String,
        /// The client to answer, which may decide between pools; 127.0.0.1 unless given.
        #[arg(long = "client", value_name = "IP")]
        asker: Option<std::net::IpAddr>,
        #[command(flatten)]
        connect: Connect,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Why a protection group did or did not fail over.
    #[command(
        after_help = "Exit codes: 0 a quorum confirmed it, 1 failed (certificates), 2 usage or no such group, \
                      4 no quorum: one node's own view, or no answer."
    )]
    Group {
        /// The group.
        name: String,
        #[command(flatten)]
        connect: Connect,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Arguments of `failover`.
#[derive(Debug, Args)]
pub struct Failover {
    /// The group.
    group: String,
    /// Site to move to.
    #[arg(long, value_name = "SITE")]
    to: String,
    /// The id of the loss that was stated; it lapses when the state changes.
    #[arg(long, value_name = "ID")]
    accept_loss: Option<String>,
    /// What was seen of the primary's host, and by whom: it is off, or cut off for good. For a host whose
    /// guard is not heard; the audit keeps it. Without a witness nothing else can confirm the fence.
    #[arg(long, value_name = "TEXT")]
    fenced: Option<String>,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What to do with a group's maintenance.
#[derive(Debug, Subcommand)]
pub enum Maintenance {
    /// Keep a group from moving by itself for a while, or for longer than before.
    #[command(after_help = "Exit codes: 0 it stands, 1 failed (certificates), 2 usage or no such group, \
                            3 the role does not allow it, 4 no quorum.")]
    Begin {
        /// The group.
        group: String,
        /// For how long from now: 90s, 30m, 2h, up to 7d.
        #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
        lasts_s: u64,
        /// Why, for whoever looks at the group meanwhile.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        connect: Connect,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// End it before its time.
    #[command(after_help = "Exit codes: 0 it is ended, 1 failed (certificates), 2 usage or no such group, \
                            3 the group is in none, or the role does not allow it, 4 no quorum.")]
    End {
        /// The group.
        group: String,
        /// Why, for the audit.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        connect: Connect,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// A number and its unit, in seconds.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let wanted = || "write a number and s, m, h or d, for example 2h".to_owned();
    let unit = text.chars().next_back().ok_or_else(wanted)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wanted()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wanted())?;
    count.checked_mul(seconds).filter(|s| *s > 0).ok_or_else(wanted)
}

/// Begins or ends maintenance.
pub fn maintain(args: &Maintenance) -> Result<u8> {
    let (group, connect, output) = match args {
        Maintenance::Begin { group, connect, output, .. }
        | Maintenance::End { group, connect, output, .. } => (group, connect, *output),
    };
    let path = format!("/v1/groups/{}/maintenance", escape(group));
    let answer = match args {
        Maintenance::Begin { lasts_s, reason, .. } => {
            let request = MaintenanceRequest { for_s: *lasts_s, reason: reason.clone(), by: account() };
            ask::<Value>(connect, Method::POST, &path, Some(&json!(request)))?
        }
        Maintenance::End { reason, .. } => {
            let why = reason.as_ref().map_or(String::new(), |r| format!("?reason={}", escape(r)));
            ask::<Value>(connect, Method::DELETE, &format!("{path}{why}"), None)?
        }
    };
    match answer {
        Answer::Ok(done) => {
            match (output, done["until-ms"].as_i64()) {
                (Format::Json, _) => out(done),
                (Format::Text, Some(until)) => out(format_args!(
                    "group {group} does not move by itself until {}\nto end it: twofold maintenance end {group}",
                    show::time(until)
                )),
                (Format::Text, None) => out(format_args!("group {group} is in maintenance no more")),
            }
            Ok(0)
        }
        Answer::Problem(problem) => Ok(refused(&problem, output)),
    }
}

/// The account that the command runs under, as the system knows it: who used sudo, else the name of
/// the user id; the number where no name is known. What `USER` says is anyone's to set, and unset under cron.
pub fn account() -> String {
    let uid = nix::unistd::getuid();
    std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| {
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        user.map_or_else(|| format!("uid {uid}"), |user| user.name)
    })
}

/// Prints the screen; exit code 4 when no quorum confirmed it.
pub fn status(args: &Status) -> Result<u8> {
    if args.watch {
        return watch::run(&args.connect);
    }
    match ask::<Screen>(&args.connect, Method::GET, "/v1/status", None)? {
        Answer::Ok(screen) => {
            match args.output {
                Format::Json => out(json!(screen)),
                Format::Text => out(show::status(&screen)),
            }
            Ok(if screen.quorum { 0 } else { Code::NoQuorum.exit_code() })
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}

/// Prints the explanation; exit code 4 when no quorum confirmed it.
pub fn explain(args: &Explain) -> Result<u8> {
    let (name, connect, output) = match args {
        Explain::Group { name, connect, output } => (name, connect, output),
        Explain::Dns { name, record_type, asker, connect, output } => {
            return explain_dns(name, record_type, *asker, connect, *output);
        }
    };
    let path = format!("/v1/groups/{}/explain", escape(name));
    match ask::<Explanation>(connect, Method::GET, &path, None)? {
        Answer::Ok(explanation) => {
            match output {
                Format::Json => out(json!(explanation)),
                Format::Text => out(show::explanation(&explanation)),
            }
            Ok(if explanation.quorum { 0 } else { Code::NoQuorum.exit_code() })
        }
        Answer::Problem(problem) => Ok(refused(&problem, *output)),
    }
}

/// Prints the way of one question through the rules of the first node that answers.
fn explain_dns(
    name: &str,
    record_type: &str,
    asker: Option<std::net::IpAddr>,
    connect: &Connect,
    output: Format,
) -> Result<u8> {
    let mut path = format!("/v1/dns/explain?name={}&type={}", escape(name), escape(record_type));
    if let Some(client) = asker {
        path += &format!("&client={client}");
    }
    match ask::<DnsExplanation>(connect, Method::GET, &path, None)? {
        Answer::Ok(explanation) => {
            match output {
                Format::Json => out(json!(explanation)),
                Format::Text => out(show::dns(&explanation)),
            }
            Ok(0)
        }
        Answer::Problem(problem) => Ok(refused(&problem, output)),
    }
}

/// Asks for a failover.
pub fn failover(args: &Failover) -> Result<u8> {
    let request = FailoverRequest {
        to: args.to.clone(),
        accept_loss: args.accept_loss.clone(),
        fenced: args.fenced.clone(),
        reason: args.reason.clone(),
        by: account(),
    };
    let path = format!("/v1/groups/{}/failover", escape(&args.group));
    match ask::<FailoverStarted>(&args.connect, Method::POST, &path, Some(&json!(request)))? {
        Answer::Ok(started) => {
            match args.output {
                Format::Json => out(json!(started)),
                Format::Text => out(format_args!(
                    "group {}: failover to {} begins at epoch {}; loss: {}\nfollow it with: twofold explain group {}",
                    started.group,
                    started.candidate,
                    started.epoch,
                    show::loss(&started.loss),
                    started.group
                )),
            }
            Ok(0)
        }
        Answer::Problem(problem) => Ok(refused(&problem, args.output)),
    }
}

pub fn refused(problem: &Problem, output: Format) -> u8 {
    match output {
        Format::Json => out(json!(problem)),
        Format::Text => {
            err(format_args!("twofold: {}", problem.title));
            if let Some(loss) = &problem.loss {
                err(format_args!("  loss {}: {}", loss.id, show::loss(loss)));
            }
            for line in &problem.detail {
                err(format_args!("  {line}"));
            }
        }
    }
    problem.code.exit_code()
}

/// A path segment, percent-encoded (RFC 3986 §2.1).
pub fn escape(segment: &str) -> String {
    segment
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(parse_time(text), Ok(seconds));
        }
        for text in ["", "2", "h", "0h", "-1h", "2w", "1.5h", "99999999999999999999d", "2é"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
