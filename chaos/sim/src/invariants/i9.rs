//! I9: intent is committed before an act and outcome after; an unknown outcome, or an intent whose
//! performer is gone, is settled by the step's verify reading and never by trying again blindly.

use failover_core::{Command, DatabaseAct, Event, Group, in_place};
use runbooks_core::{Action, ExecutionStatus, StepState};

use crate::options::Invariant;
use crate::world::World;

/// What a guard does only because a step says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ordered {
    Drain,
    Gather,
    Promote,
    SaveExtra,
    Rebuild,
    Rejoin,
}

impl World {
    /// A step's intent was committed; `before` is the group as it stood then.
    pub(crate) fn check_intent(&mut self, command: &Command, before: Option<&Group>) {
        let Command::StepStarted { execution, step, by, .. } = command else { return };
        let Some(running) = before.and_then(Group::running).filter(|e| e.id == *execution) else { return };
        let Some(definition) = running.step(step) else { return };
        let blind = match running.record(step).map(|r| &r.state) {
            Some(StepState::Unknown { .. }) => true,
            Some(StepState::Started { by: other }) => other != by,
            _ => false,
        };
        let intended = match &definition.action {
            Action::DrainRelay { server } => Some((server.clone(), Ordered::Drain)),
            Action::Gather { server, .. } => Some((server.clone(), Ordered::Gather)),
            Action::Promote { server } => Some((server.clone(), Ordered::Promote)),
            Action::SaveExtra { server, .. } => Some((server.clone(), Ordered::SaveExtra)),
            Action::Rebuild { server, .. } => Some((server.clone(), Ordered::Rebuild)),
            Action::Rejoin { server } | Action::Reverse { server } => Some((server.clone(), Ordered::Rejoin)),
            _ => None,
        };
        if let Some((server, ordered)) = intended
            && let Some(h) = self.names.host(&server)
        {
            self.truth.intended.insert((h, ordered));
        }
        if blind {
            let text = format!("step {step} is begun again without its verify reading");
            self.violate(Invariant::I9, text);
        }
    }

    /// A committed event; an execution does not fail at a step that is in place.
    pub(crate) fn check_failure(&mut self, event: &Event) {
        let Event::ExecutionEnded { execution, status: ExecutionStatus::Failed { step, why }, .. } = event
        else {
            return;
        };
        let Some(group) = self.group() else { return };
        let failed = group.execution.as_ref().filter(|e| e.id == *execution);
        let in_place = failed
            .and_then(|e| e.step(step).map(|s| (e, s)))
            .is_some_and(|(e, s)| in_place(group, e, &s.action));
        if in_place {
            let text = format!("execution {execution} fails at {step}, which is in place: {why}");
            self.violate(Invariant::I9, text);
        }
    }

    /// A guard begins an act.
    pub(crate) fn check_act(&mut self, h: usize, act: &DatabaseAct) {
        let ordered = match act {
            DatabaseAct::Drain => Ordered::Drain,
            DatabaseAct::Gather { .. } => Ordered::Gather,
            DatabaseAct::Promote => Ordered::Promote,
            DatabaseAct::SaveExtra { .. } => Ordered::SaveExtra,
            DatabaseAct::Rebuild { .. } => Ordered::Rebuild,
            DatabaseAct::Rejoin { .. } => Ordered::Rejoin,
            _ => return,
        };
        if !self.truth.intended.contains(&(h, ordered)) {
            let text = format!("{} does {act:?}, which no committed intent names", self.names.servers[h]);
            self.violate(Invariant::I9, text);
        }
    }
}
