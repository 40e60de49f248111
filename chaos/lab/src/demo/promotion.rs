//! How long a promotion took by itself: from the committed intent of the step `promote` to its committed outcome.
//!
//! Its intent is committed when fence and drain are done, so what the step needs holds by then. The journal is the
//! only witness of that moment, so this one figure is the cluster's own word: its audit log, asked for as an operator
//! would. What clients notice of it is part of their write gap.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde_json::Value;

use crate::cluster;
use crate::inside;
use crate::layout::{Host, Lab};
use crate::spec::LabSpec;

/// A log of some thousand lines from a node that answers.
const DEADLINE: Duration = Duration::from_secs(20);

/// The runbooks that promote.
const MOVES: [&str; 2] = ["failover", "switchover"];

/// Milliseconds of the last promotion that was begun since `since`; none where nothing was promoted.
///
/// # Errors
/// When no node gives its audit log.
pub fn last_ms(lab: &Lab, spec: &LabSpec, since: SystemTime) -> anyhow::Result<Option<f64>> {
    let text = |p: &Path| p.to_string_lossy().into_owned();
    let mut command = vec![text(&spec.twofold)];
    command.extend(["audit", "-o", "json", "--config"].map(str::to_owned));
    command.push(text(&lab.config_file()));
    command.extend(["--api".to_owned(), cluster::apis()]);
    let host = Host::named("cli").expect("the table of hosts has it");
    let output = inside::output(lab, spec, &host, &command, DEADLINE)?;
    anyhow::ensure!(
        output.status.success(),
        "`twofold audit` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let since = since.duration_since(SystemTime::UNIX_EPOCH).context("the wall clock is before 1970")?;
    let since = i64::try_from(since.as_millis()).context("the wall clock is out of all bounds")?;
    Ok(promotion(&String::from_utf8_lossy(&output.stdout), since))
}

fn promotion(log: &str, since: i64) -> Option<f64> {
    let events: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|mut line| line["event"].take())
        .filter(|event| event["at"].as_i64().is_some_and(|at| at >= since))
        .collect();
    let moved = events
        .iter()
        .rev()
        .find(|e| e["event"] == "execution-started" && MOVES.iter().any(|name| e["runbook"] == **name))?;
    let step = |kind: &str| {
        let (kind, execution) = (kind.to_owned(), moved["execution"].clone());
        events
            .iter()
            .filter(move |e| e["event"] == *kind && e["execution"] == execution && e["step"] == "promote")
    };
    let began = step("step-started").next()?["at"].as_i64()?;
    let ended = step("step-ended").rfind(|e| e["outcome"]["outcome"] == "done")?["at"].as_i64()?;
    Some((ended - began) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the promotion of this run is found among others, and a tried one counts from its first intent.
    #[test]
    fn the_last_promotion_counts_from_its_first_intent_to_what_it_did() {
        let log = r#"{"v":1,"entry":1,"index":9,"event":{"event":"execution-started","group":"shop","execution":1,"runbook":"failover","subject":"a","at":100},"hash":""}
{"v":1,"entry":2,"index":9,"event":{"event":"step-started","group":"shop","execution":1,"step":"promote","by":"n","at":110},"hash":""}
{"v":1,"entry":3,"index":9,"event":{"event":"step-ended","group":"shop","execution":1,"step":"promote","outcome":{"outcome":"done","evidence":{}},"at":200},"hash":""}
{"v":1,"entry":4,"index":9,"event":{"event":"execution-started","group":"shop","execution":2,"runbook":"switchover","subject":"a","at":1000},"hash":""}
{"v":1,"entry":5,"index":9,"event":{"event":"step-started","group":"shop","execution":2,"step":"fence","by":"n","at":1001},"hash":""}
{"v":1,"entry":6,"index":9,"event":{"event":"step-started","group":"shop","execution":2,"step":"promote","by":"n","at":1010},"hash":""}
{"v":1,"entry":7,"index":9,"event":{"event":"step-ended","group":"shop","execution":2,"step":"promote","outcome":{"outcome":"failed","why":"x"},"at":1030},"hash":""}
{"v":1,"entry":8,"index":9,"event":{"event":"step-started","group":"shop","execution":2,"step":"promote","by":"n","at":1031},"hash":""}
{"v":1,"entry":9,"index":9,"event":{"event":"step-ended","group":"shop","execution":2,"step":"promote","outcome":{"outcome":"done","evidence":{}},"at":1055},"hash":""}
{"v":1,"entry":10,"index":9,"event":{"event":"execution-started","group":"shop","execution":3,"runbook":"rejoin","subject":"a","at":2000},"hash":""}"#;
        assert_eq!(promotion(log, 0), Some(45.0));
        assert_eq!(promotion(log, 500), Some(45.0));
        assert_eq!(promotion(log, 1500), None, "a rejoin promotes nobody");
        assert_eq!(promotion("", 0), None);
    }
}
