//! One run of the checker, and what came of it.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::action::Action;
use crate::perform::Protocol;
use crate::property::{Invariant, Sight};

/// How long, and how far, a run may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub threads: usize,
    /// States generated, seen before or not.
    pub generated_max: Option<usize>,
    pub time_max: Option<Duration>,
}

/// An invariant that does not hold, and how it comes to that.
#[derive(Debug, Clone)]
pub struct Broken {
    pub invariant: Invariant,
    pub actions: Vec<Action>,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// States that differ.
    pub states: usize,
    /// States generated, seen before or not.
    pub generated: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    pub took: Duration,
    /// All states within the bounds were looked at.
    pub whole: bool,
    /// What was broken first.
    pub broken: Vec<Broken>,
    /// What was never seen.
    pub unseen: Vec<Sight>,
}

/// Walks the model breadth first, until an invariant is broken, all is seen, or a limit is reached. With
/// one thread, the way to what is broken is a shortest one.
#[must_use]
pub fn check(mut protocol: Protocol, limits: &Limits) -> Finding {
    let started = Instant::now();
    protocol.until = limits.time_max.map(|time| started + time);
    let over = protocol.over.clone();
    let mut builder = protocol.checker().threads(limits.threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(count) = limits.generated_max {
        builder = builder.target_state_count(count);
    }
    let checker = builder.spawn_bfs().join();
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let took = started.elapsed();
    let mut found = checker.discoveries();
    let unseen: Vec<Sight> = Sight::ALL.into_iter().filter(|s| found.remove(s.name()).is_none()).collect();
    let broken: Vec<Broken> = Invariant::ALL
        .into_iter()
        .filter_map(|invariant| {
            let actions = found.remove(invariant.name())?.into_actions();
            Some(Broken { invariant, actions })
        })
        .collect();
    let within_count = limits.generated_max.is_none_or(|max| checker.state_count() < max);
    let within_time = limits.time_max.is_none_or(|max| took < max);
    Finding {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took,
        whole: broken.is_empty() && within_count && within_time,
        broken,
        unseen,
    }
}
