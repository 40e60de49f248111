//! The invariants of DESIGN §4, each in a file of its own, checked whenever something happens that
//! can touch it, against what an observer who sees everything knows.

mod i1;
mod i2;
mod i3;
mod i4;
mod i5;
mod i6;
mod i7;
mod i8;
mod i9;
mod liveness;
mod lost;
mod manual;
mod rules;
mod service;

use failover_core::{Change, Command, Group};
use model::Incarnation;

use crate::world::World;

pub use i9::Ordered;
pub use manual::Survivor;
pub use service::Service;

pub(crate) use service::LOOK;

impl World {
    /// The one group, as committed.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.truth.state.groups.get(&self.names.group)
    }

    /// A server's OK to a client leaves its host: what waits behind a shut gate tells nobody.
    pub(crate) fn check_told(&mut self, h: usize, transaction: u32) {
        let known = &mut self.truth.transactions[transaction as usize];
        known.told = true;
        let (number, gone) = (known.number, known.given_up);
        // Without a gate nothing keeps an answer in the kernel of a process that is gone: it was true when it was given, and
        // is in the stated loss.
        if gone && !self.ladder.alone {
            let text = format!(
                "{} tells a client OK for its transaction {number}, which was given up",
                self.names.servers[h]
            );
            self.violate(crate::options::Invariant::Lost, text);
        }
        self.check_told_by_the_one(h, transaction);
        self.check_told_in_sync(h, transaction);
    }

    /// An entry is applied by some node, perhaps for the first time anywhere.
    pub(crate) fn check_committed(&mut self, life: Incarnation, index: u64, command: &Command) {
        if life != self.truth.life || index <= self.truth.applied {
            return;
        }
        if let Some(text) = self.truth.forked.take() {
            self.violate(crate::options::Invariant::I8, text);
        }
        let before = self.group().cloned();
        let Some(events) = self.truth.follow(self.defects, index, command) else { return };
        for event in &events {
            self.truth.count(kind(event));
            self.note(format_args!("committed: {}", line(event)));
            self.check_failure(event);
        }
        self.check_intent(command, before.as_ref());
        self.check_numbers(before.as_ref());
        if let Command::Change { change, .. } = command {
            self.check_not_needless(change, before.as_ref());
            match change {
                Change::Open { .. } => {
                    self.truth.failovers += 1;
                    if self.opened_in_site() {
                        self.truth.count("in-site");
                    }
                    self.check_open_is_safe();
                    self.check_candidate_is_whole();
                }
                Change::Start { .. } => self.check_first_is_whole(),
                Change::Async { .. } => self.check_weakened_for_a_cause(before.as_ref()),
                Change::Sync { .. } => {
                    self.check_sync_is_true();
                    self.spring();
                }
                Change::Quarantine { reason, .. } if reason.why == "return-other-history" => {
                    self.check_histories_differ();
                }
                Change::Route => self.check_routed(before.as_ref()),
                _ => {}
            }
        }
    }

    /// What was opened last stands in the site of the one before.
    fn opened_in_site(&self) -> bool {
        let sites =
            self.group().and_then(|g| Some((&g.authority.as_ref()?.primary, &g.revoked.as_ref()?.primary)));
        sites.is_some_and(|(new, old)| new.site == old.site && new.server != old.server)
    }

    /// The end of a run, after healing.
    pub(crate) fn check_end(&mut self) {
        self.check_converged();
        self.check_nothing_lost();
    }
}

/// What a committed event counts as.
fn kind(event: &failover_core::Event) -> &'static str {
    use failover_core::{Durability, Event as E, Phase};
    use runbooks_core::{ExecutionStatus, Outcome};
    match event {
        E::Authority { from: Some((_, Phase::Draining)), to: (_, Phase::Revoked), .. } => "handover-or-begin",
        E::Authority { from: Some((_, Phase::Draining)), to: (_, Phase::Serving), .. } => "undrained",
        E::Authority { to: (_, Phase::Revoked), .. } => "begin",
        E::Authority { to: (_, Phase::Promoting), .. } => "promoting",
        E::Authority { from: Some((_, Phase::Promoting)), to, .. } if to.1 == Phase::Serving => {
            "open-or-abort"
        }
        E::Authority { from: Some((_, Phase::Revoked)), .. } => "abort-early",
        E::Authority { .. } => "authority-other",
        E::Durability { to: Durability::Sync, .. } => "sync",
        E::Durability { to: Durability::CatchUp { .. }, .. } => "catch-up",
        E::Durability { .. } => "async",
        E::ExecutionStarted { runbook, .. } if runbook == "rebuild" => "rebuild",
        E::ExecutionStarted { runbook, .. } if runbook == "rejoin" => "rejoin",
        E::ExecutionStarted { runbook, .. } if runbook == "switchover" => "switchover",
        E::ExecutionStarted { .. } => "failover",
        E::StepEnded { outcome: Outcome::Failed { .. }, .. } => "step-failed",
        E::StepEnded { outcome: Outcome::Unknown { .. }, .. } => "step-unknown",
        E::StepEnded { outcome: Outcome::Refused { .. }, .. } => "step-refused",
        E::ExecutionEnded { status: ExecutionStatus::Failed { .. }, .. } => "execution-failed",
        E::ExecutionEnded { status: ExecutionStatus::Superseded, .. } => "execution-superseded",
        other => other.name(),
    }
}

fn line(event: &failover_core::Event) -> String {
    use failover_core::Event as E;
    match event {
        E::Authority { from, to, primary, version, .. } => {
            let from = from.map_or("nothing".to_owned(), |(e, p)| format!("{e} {p}"));
            format!("{from} -> {} {} of {primary}, version {version}", to.0, to.1)
        }
        E::Durability { from, to, reason, .. } => {
            let why = reason.as_ref().map(|r| format!(" because {:?}", r.evidence)).unwrap_or_default();
            format!("{from} -> {to}{why}")
        }
        E::Routed { site, epoch, .. } => format!("names point at {site}, epoch {epoch}"),
        E::ExecutionStarted { execution, runbook, subject, .. } => {
            format!("execution {execution}: {runbook} of {subject}")
        }
        E::StepStarted { step, by, .. } => format!("step {step} begun by {by}"),
        E::StepEnded { step, outcome, .. } => format!("step {step}: {outcome:?}"),
        E::ExecutionEnded { execution, status, .. } => format!("execution {execution}: {status:?}"),
        E::Quarantined { server, reason, .. } => format!("{server} quarantined: {:?}", reason.evidence),
        E::Released { server, reason, .. } => format!("{server} released by {}", reason.by),
        E::Maintenance { by, .. } => format!("maintenance by {by}"),
        E::Held { held, .. } => format!("held still at {}", held.diagnosis),
        E::HeldNoMore { .. } => "held no more".to_owned(),
        E::TokenIssued { token, .. }
        | E::TokenRevoked { token, .. }
        | E::BreakGlassUsed { token, .. }
        | E::BreakGlassAcknowledged { token, .. } => format!("token {token}"),
        E::Founded { .. } => "founded".to_owned(),
        E::Incarnated { from, incarnation, .. } => format!("incarnation {from} -> {incarnation}"),
        E::Configured { generation, by, .. } => format!("configuration {generation} by {by}"),
    }
}
