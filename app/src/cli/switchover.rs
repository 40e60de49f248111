//! `switchover`: plans a planned move with the evidence of each precondition, begins it, and follows it
//! to its end.

use std::time::{Duration, Instant};

use anyhow::Result;
use app_api::v1::{Code, GroupStatus, Status, StepStatus, SwitchoverPlan, SwitchoverRequest};
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::client::{Answer, Connect, ask};
use super::operate::{account, escape, refused};
use super::screen::{err, out};
use super::{Format, show};

/// Between two looks at a switchover under way.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// It is followed for so long: opening may take two minutes, everything else seconds.
const FOLLOW_FOR: Duration = Duration::from_secs(180);

/// Arguments of `switchover`.
#[derive(Debug, Args)]
pub struct Switchover {
    /// The group.
    group: String,
    /// Site to move to.
    #[arg(long, value_name = "SITE")]
    to: String,
    /// Show every precondition with its evidence, and the steps; begin nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not wait for its end.
    #[arg(long, conflicts_with = "dry_run")]
    no_wait: bool,
    #[command(flatten)]
    connect: Connect,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Plans or runs it.
pub fn run(args: &Switchover) -> Result<u8> {
    let request = SwitchoverRequest {
        to: args.to.clone(),
        dry_run: args.dry_run,
        reason: args.reason.clone(),
        by: account(),
    };
    let path = format!("/v1/groups/{}/switchover", escape(&args.group));
    let plan = match ask::<SwitchoverPlan>(&args.connect, Method::POST, &path, Some(&json!(request)))? {
        Answer::Ok(plan) => plan,
        Answer::Problem(problem) => return Ok(refused(&problem, args.output)),
    };
    if args.dry_run || args.no_wait {
        match args.output {
            Format::Json => out(json!(plan)),
            Format::Text => out(show::switchover(&plan)),
        }
        return Ok(if plan.ready { 0 } else { Code::Refused.exit_code() });
    }
    if args.output == Format::Text {
        out(show::switchover(&plan));
    }
    follow(args, &plan)
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The other site serves.
    Moved,
    /// It came to nothing; the words of the execution.
    Undone(String),
}

/// Looks at it until it is over, and the group serves again.
fn follow(args: &Switchover, plan: &SwitchoverPlan) -> Result<u8> {
    let until = Instant::now() + FOLLOW_FOR;
    let mut told = Vec::new();
    let mut last = "no node answered".to_owned();
    while Instant::now() < until {
        match ask::<Status>(&args.connect, Method::GET, "/v1/status", None) {
            Ok(Answer::Ok(status)) if status.quorum => {
                if let Some(group) = status.groups.iter().find(|g| g.name == plan.group) {
                    if args.output == Format::Text {
                        tell(group, plan, &mut told);
                    }
                    if let Some(end) = ended(group, plan) {
                        return Ok(say(args, plan, group, &end));
                    }
                    last = format!("the group is {}", group.phase);
                }
            }
            // A leader may be lost meanwhile; whoever comes after goes on.
            Ok(Answer::Ok(_)) => last = "no quorum".to_owned(),
            Ok(Answer::Problem(problem)) => last = problem.title,
            Err(error) => last = format!("{error:#}"),
        }
        std::thread::sleep(LOOK_EVERY);
    }
    err(format_args!(
        "twofold: the switchover is not over within {} s ({last}); it is finished or undone without this command",
        FOLLOW_FOR.as_secs()
    ));
    err(format_args!("  follow it with: twofold status --watch"));
    Ok(1)
}

/// Steps that are over and were not told yet.
fn tell(group: &GroupStatus, plan: &SwitchoverPlan, told: &mut Vec<String>) {
    let execution = group.execution.as_ref().filter(|e| Some(e.id) == plan.execution);
    for step in execution.iter().flat_map(|e| &e.steps).filter(|s| is_over(s)) {
        if !told.contains(&step.name) {
            told.push(step.name.clone());
            let detail = step.detail.as_deref().unwrap_or_default();
            out(format_args!("  {:<12} {:<8} {detail}", step.name, step.state));
        }
    }
}

fn is_over(step: &StepStatus) -> bool {
    matches!(step.state.as_str(), "done" | "skipped" | "refused")
}

/// Over means that it ended and that the group serves, be it where it was before.
fn ended(group: &GroupStatus, plan: &SwitchoverPlan) -> Option<End> {
    if group.phase != "serving" || !group.open {
        return None;
    }
    let finished = group.finished.iter().find(|f| Some(f.id) == plan.execution)?;
    match finished.status.as_str() {
        "succeeded" => Some(End::Moved),
        other => Some(End::Undone(other.to_owned())),
    }
}

fn say(args: &Switchover, plan: &SwitchoverPlan, group: &GroupStatus, end: &End) -> u8 {
    let primary = group.primary.as_deref().unwrap_or("?");
    let (moved, how) = match end {
        End::Moved => (true, "succeeded"),
        End::Undone(how) => (false, how.as_str()),
    };
    match args.output {
        Format::Json => out(json!({
            "group": plan.group, "moved": moved, "status": how, "primary": primary, "epoch": group.epoch,
            "execution": plan.execution,
        })),
        Format::Text if moved => out(format_args!(
            "group {} is served by {primary} in {} at epoch {}; durability {}",
            plan.group,
            plan.to,
            group.epoch,
            group.durability.as_deref().unwrap_or("?")
        )),
        Format::Text => {
            err(format_args!("twofold: the switchover of group {} ended otherwise: {how}", plan.group));
            err(format_args!("  {primary} serves at epoch {}; nothing acknowledged is lost", group.epoch));
            err(format_args!("  see: twofold explain group {}", plan.group));
        }
    }
    u8::from(!moved)
}
