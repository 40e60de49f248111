//! Decisions not to act go to the audit: once each, when they have stood for a moment, and again when all
//! is well. What is acted on tells itself.

use std::collections::BTreeMap;
use std::time::Duration;

use failover_core::{Command, Decision, Held, State};
use model::{GroupId, Timestamp};
use tracing::debug;

use super::{Brain, News};
use crate::clock;

/// So long a decision not to act stands before it is noted: what passes sooner is a beginning.
const NOTED_AFTER: Duration = Duration::from_secs(2);
/// Between two notes of a group; a link that flaps fills no log.
const NOTED_EVERY: Duration = Duration::from_secs(10);

/// What this part of the brain remembers.
#[derive(Default)]
pub struct Holding {
    groups: BTreeMap<GroupId, Standing>,
}

struct Standing {
    held: Option<Held>,
    since: Timestamp,
    noted: Option<Timestamp>,
    noting: bool,
}

impl Brain {
    pub(super) fn note_what_is_held(&mut self, state: &State, decision: &Decision, now: Timestamp) {
        for (id, explanation) in &decision.groups {
            let Some(group) = state.groups.get(id) else { continue };
            let held = explanation.held();
            let standing = self.holding.groups.entry(id.clone()).or_insert_with(|| Standing {
                held: held.clone(),
                since: now,
                noted: None,
                noting: false,
            });
            if !alike(standing.held.as_ref(), held.as_ref()) {
                standing.since = now;
            }
            standing.held = held.clone();
            let due = now.since(standing.since) >= NOTED_AFTER
                && standing.noted.is_none_or(|at| now.since(at) >= NOTED_EVERY);
            if alike(group.held.as_ref(), held.as_ref()) || !due || standing.noting {
                continue;
            }
            standing.noting = true;
            standing.noted = Some(now);
            let command = Command::Hold { group: id.clone(), held, at: clock::wall() };
            let (shared, news, group) = (self.shared.clone(), self.news.clone(), id.clone());
            tokio::spawn(async move {
                let fate = shared.propose(&command).await;
                debug!(group = %group, ?fate, "a decision not to act is noted");
                let _ = news.send(News::Noted { group }).await;
            });
        }
    }

    pub(super) fn noted(&mut self, group: &GroupId) {
        if let Some(standing) = self.holding.groups.get_mut(group) {
            standing.noting = false;
        }
    }
}

fn alike(a: Option<&Held>, b: Option<&Held>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.is_like(b),
        _ => false,
    }
}
