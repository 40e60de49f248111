//! A site that dies in `Async`: what a person does then, as an operator would do it, through the command line.
//!
//! The link to the standby goes first, and clients write on until the group is in `Async` on record. Then the active
//! site loses its power: nothing moves by itself, since writes that clients were told of are on that site alone. A
//! person asks for a failover, reads what it would lose and the id of that statement, and accepts it with the word
//! that the old site is without power.

use std::time::Duration;

use serde_json::Value;

use super::{FaultError, Healed, Injected, Scene, link, site};
use crate::clock;
use crate::cluster;
use crate::inside;
use crate::interrupt::Interrupted;
use crate::layout::{Host, LabSite};
use crate::status_view::ClusterStatus;

/// `sync_timeout` is 5 s in the lab's profile, and the leader commits `Async` right after it.
const ASYNC_DEADLINE: Duration = Duration::from_secs(30);

/// Writes go on for so long in `Async`: the load is steady again, and what is lost is more than a blink's worth.
const ASYNC_FOR: Duration = Duration::from_secs(4);

/// A leader is elected, the silence is seen, the loss is stated and accepted. A statement lapses when it changes, and
/// is read again then.
const ORDER_DEADLINE: Duration = Duration::from_secs(30);

/// The command has deadlines of its own; this one only bounds a broken binary.
const COMMAND_DEADLINE: Duration = Duration::from_secs(20);

/// What the person saw of the old site.
const SEEN: &str = "the lab took the power from the whole site, and nothing of it runs";

/// What the command stated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    id: String,
    /// What is known to be lost, and what at most was acknowledged unseen.
    transactions: u64,
}

/// See the module.
pub fn async_failover(scene: &Scene<'_>) -> Result<Injected, FaultError> {
    let active = scene.target.active;
    link::cut_data_sites(scene.lab)?;
    let durability = in_async(scene)?;
    scene.interrupt.sleep(ASYNC_FOR)?;
    let off = site::power_off(scene.lab, active)?;
    let to = active.peer().expect("groups are active in data sites alone");
    let stated = ordered(scene, to)?;
    let what = format!(
        "link pdc-mdc cut until the group was {durability}, then site {active} without power; a person moved the group \
         to {to} and accepted loss {} of {} transactions at most",
        stated.id, stated.transactions
    );
    Ok(Injected {
        durability: Some(durability),
        stated_loss: Some(stated.transactions),
        ..Injected::new(off.began, clock::now(), what)
    })
}

/// Power and links are given back; what the old primary has beyond the new one is kept for a person.
pub fn heal(scene: &Scene<'_>) -> Result<Healed, FaultError> {
    link::mend(scene.lab)?;
    site::power_on(scene.lab, scene.target.active)
}

/// Waits until the group is in `Async`, by its own word.
fn in_async(scene: &Scene<'_>) -> Result<String, FaultError> {
    let seen = scene.interrupt.wait_for(ASYNC_DEADLINE, || {
        // Nobody to ask, or no quorum: asked again.
        let Ok(status) = ClusterStatus::ask(scene.lab, scene.spec) else { return Ok(None) };
        let group = status.group(cluster::GROUP);
        Ok(group.filter(|g| g.durability() == "async").map(|_| "Async".to_owned()))
    });
    seen.map_err(|_| Interrupted)?.ok_or(FaultError::NotAsync(ASYNC_DEADLINE))
}

/// Asks what a failover would lose until it is stated, and accepts that.
fn ordered(scene: &Scene<'_>, to: LabSite) -> Result<Statement, FaultError> {
    let mut last = "nobody answered".to_owned();
    let done = scene.interrupt.wait_for(ORDER_DEADLINE, || {
        let (_, answer) = match failover(scene, to, &[]) {
            Ok(answered) => answered,
            Err(why) => {
                last = why;
                return Ok(None);
            }
        };
        let Some(stated) = statement(&answer) else {
            last = format!("no loss was stated: {answer}");
            return Ok(None);
        };
        match failover(scene, to, &["--accept-loss", &stated.id, "--fenced", SEEN]) {
            Ok((true, _)) => Ok(Some(stated)),
            Ok((false, answer)) => {
                last = format!("loss {} was not taken: {answer}", stated.id);
                Ok(None)
            }
            Err(why) => {
                last = why;
                Ok(None)
            }
        }
    });
    done.map_err(|_| Interrupted)?.ok_or(FaultError::Ordered(last))
}

/// `twofold failover GROUP --to SITE …` from the outside client host: whether it began, and the document.
fn failover(scene: &Scene<'_>, to: LabSite, more: &[&str]) -> Result<(bool, Value), String> {
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let mut command = vec![text(&scene.spec.twofold)];
    command.extend(
        ["failover", cluster::GROUP, "--to", to.name(), "-o", "json", "--identity", cluster::APPROVER]
            .map(str::to_owned),
    );
    command.extend(more.iter().map(|word| (*word).to_owned()));
    command.extend([
        "--config".to_owned(),
        text(&scene.lab.config_file()),
        "--api".to_owned(),
        cluster::apis(),
    ]);
    let host = Host::named("cli").expect("the table of hosts has it");
    let output = inside::output(scene.lab, scene.spec, &host, &command, COMMAND_DEADLINE)
        .map_err(|e| format!("{e:#}"))?;
    let answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
    Ok((output.status.success(), answer))
}

/// The statement in a refusal. One that says nothing of what was not seen states no bound.
fn statement(answer: &Value) -> Option<Statement> {
    let loss = &answer["loss"];
    let transactions = loss["transactions"].as_u64()? + loss["unseen"].as_u64()?;
    Some(Statement { id: loss["id"].as_str()?.to_owned(), transactions })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stated_loss_is_what_is_known_and_what_was_not_seen() {
        let refusal = json!({"code": "refused", "title": "…", "detail": [],
            "loss": {"id": "a1", "none": false, "transactions": 700, "unseen": 220, "unknown-ms": 300}});
        let stated = Statement { id: "a1".to_owned(), transactions: 920 };
        assert_eq!(statement(&refusal), Some(stated));
        assert_eq!(statement(&json!({"title": "the guard of mdc-db is not heard"})), None);
        let no_bound = json!({"loss": {"id": "a1", "none": false, "transactions": 700, "unknown-ms": null}});
        assert_eq!(statement(&no_bound), None, "no bound is no statement that could be kept");
    }
}
