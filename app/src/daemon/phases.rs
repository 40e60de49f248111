//! Where the time of an execution went: how long each step of the newest ended run of each runbook took.
//!
//! Deliberately absent: times of steps that ended before this node started; they are in the audit log.

use std::collections::BTreeMap;

use failover_core::Event;

/// One step of the newest ended run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepTime {
    pub group: String,
    pub runbook: String,
    pub step: String,
    /// From its first intent to its last outcome, by the clocks of those who proposed them.
    pub millis: u64,
}

/// First intent and last outcome of each step.
type Times = BTreeMap<String, (i64, Option<i64>)>;

#[derive(Default)]
struct Run {
    runbook: String,
    steps: Times,
}

/// Read from events, oldest first. A run whose beginning is not among them is not told: half of its steps
/// would look like all.
pub fn steps<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<StepTime> {
    let (mut running, mut ended) = (BTreeMap::<_, Run>::new(), BTreeMap::new());
    for event in events {
        match event {
            Event::ExecutionStarted { group, execution, runbook, .. } => {
                let run = Run { runbook: runbook.clone(), ..Run::default() };
                running.insert((group.to_string(), execution.0), run);
            }
            Event::StepStarted { group, execution, step, at, .. } => {
                if let Some(run) = running.get_mut(&(group.to_string(), execution.0)) {
                    run.steps.entry(step.0.clone()).or_insert((at.0, None));
                }
            }
            Event::StepEnded { group, execution, step, at, .. } => {
                let run = running.get_mut(&(group.to_string(), execution.0));
                if let Some(times) = run.and_then(|run| run.steps.get_mut(&step.0.clone())) {
                    times.1 = Some(at.0);
                }
            }
            Event::ExecutionEnded { group, execution, .. } => {
                if let Some(run) = running.remove(&(group.to_string(), execution.0)) {
                    ended.insert((group.to_string(), run.runbook), run.steps);
                }
            }
            _ => {}
        }
    }
    let of_run = |((group, runbook), steps): ((String, String), Times)| {
        steps.into_iter().filter_map(move |(step, (from, to))| {
            // Two leaders' clocks may differ by more than a step takes.
            let millis = u64::try_from(to? - from).unwrap_or(0);
            Some(StepTime { group: group.clone(), runbook: runbook.clone(), step, millis })
        })
    };
    ended.into_iter().flat_map(of_run).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, execution: u64, further: serde_json::Value) -> Event {
        let mut event = json!({ "event": name, "group": "shop", "execution": execution });
        event.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    }

    fn begin(execution: u64) -> Event {
        let further = json!({ "runbook": "failover", "subject": "mdc-db", "at": 0 });
        event("execution-started", execution, further)
    }

    fn step(execution: u64, step: &str, from: i64, to: i64) -> [Event; 2] {
        let outcome = json!({ "outcome": "failed", "why": "no answer" });
        [
            event("step-started", execution, json!({ "step": step, "by": "mdc-1", "at": from })),
            event("step-ended", execution, json!({ "step": step, "outcome": outcome, "at": to })),
        ]
    }

    fn end(execution: u64) -> Event {
        let status = json!(runbooks_core::ExecutionStatus::Succeeded);
        event("execution-ended", execution, json!({ "status": status, "at": 900 }))
    }

    /// Goal: the newest ended run's steps are told, tries counted together, and half a run never.
    #[test]
    fn the_newest_ended_run_is_told_step_by_step() {
        let run = |id, fence: i64| {
            let mut all = vec![begin(id)];
            all.extend(step(id, "fence", 10, 40));
            all.extend(step(id, "fence", 50, 10 + fence));
            all.extend(step(id, "promote", 900, 800));
            all.push(end(id));
            all
        };
        let told = |events: &[Event]| {
            let all = steps(events);
            all.into_iter().map(|s| (s.step, s.millis)).collect::<Vec<_>>()
        };
        let (first, second) = (run(1, 300), run(2, 700));
        assert_eq!(told(&first), [("fence".to_owned(), 300), ("promote".to_owned(), 0)]);
        assert_eq!(told(&[first.clone(), second.clone()].concat())[0].1, 700);
        // One that still runs, and one whose beginning fell out.
        assert_eq!(told(&[&first[..], &second[..3]].concat())[0].1, 300);
        assert_eq!(told(&first[1..]), []);
    }
}
