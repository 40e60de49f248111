//! Who waits for what: proposals by position, reads by round.
//!
//! Reads are batched: one Safe round is on its way at a time, and whoever asks after it began
//! waits for the next, since only a round that began later proves that the node still led then.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::handle::{ProposeError, Proposed, ReadError};
use crate::replica::Position;

/// Proposals that wait for their commit. Beyond it callers hear `Busy`; raft-rs has a bound in
/// bytes besides.
const PROPOSALS_MAX: usize = 8_192;
/// Reads that wait for their round. A renewal by every guard and a query by every client of the
/// API are far fewer; beyond it callers hear `Busy`.
const READS_MAX: usize = 16_384;

pub(super) type ProposeAnswer = oneshot::Sender<Result<Proposed, ProposeError>>;
pub(super) type ReadAnswer = oneshot::Sender<Result<u64, ReadError>>;

/// Proposals in the log that are not applied yet.
#[derive(Default)]
pub(super) struct Proposals {
    by_index: BTreeMap<u64, (u64, ProposeAnswer)>,
}

impl Proposals {
    pub(super) fn full(&self) -> bool {
        self.by_index.len() >= PROPOSALS_MAX
    }

    pub(super) fn add(&mut self, position: Position, answer: ProposeAnswer) {
        self.by_index.insert(position.index, (position.term, answer));
    }

    /// The entry at `position` is applied.
    pub(super) fn applied(&mut self, position: Position) {
        if let Some((term, answer)) = self.by_index.remove(&position.index) {
            let outcome = if term == position.term {
                Ok(Proposed { index: position.index })
            } else {
                Err(ProposeError::Unknown)
            };
            // Whoever asked may have gone at its deadline.
            let _ = answer.send(outcome);
        }
    }

    pub(super) fn fail_all(&mut self, error: &ProposeError) {
        for (_, answer) in std::mem::take(&mut self.by_index).into_values() {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

/// Reads, from asked to answered.
#[derive(Default)]
pub(super) struct Reads {
    /// Wait for a round to begin.
    waiting: Vec<ReadAnswer>,
    /// The round on its way: its context and who waits for it.
    round: Option<(u64, Vec<ReadAnswer>)>,
    /// Confirmed at an index that is not applied yet.
    confirmed: Vec<(u64, Vec<ReadAnswer>)>,
    /// Contexts are never used twice in the life of a process; a restarted leader has a new term.
    rounds_begun: u64,
}

impl Reads {
    pub(super) fn full(&self) -> bool {
        self.waiting.len() >= READS_MAX
    }

    pub(super) fn add(&mut self, answer: ReadAnswer) {
        self.waiting.push(answer);
    }

    /// The context of a round that ought to begin now.
    pub(super) fn next_round(&mut self) -> Option<Vec<u8>> {
        if self.round.is_some() {
            return None;
        }
        self.waiting.retain(|answer| !answer.is_closed());
        (!self.waiting.is_empty()).then(|| (self.rounds_begun + 1).to_le_bytes().to_vec())
    }

    /// The round that [`Reads::next_round`] named has begun.
    pub(super) fn begun(&mut self) {
        self.rounds_begun += 1;
        self.round = Some((self.rounds_begun, std::mem::take(&mut self.waiting)));
    }

    /// A quorum confirmed the round with this context.
    pub(super) fn confirmed(&mut self, context: &[u8], index: u64) {
        match self.round.take() {
            Some((round, answers)) if round.to_le_bytes() == context => {
                self.confirmed.push((index, answers));
            }
            other => self.round = other,
        }
    }

    /// Answers what is confirmed up to `applied`.
    pub(super) fn applied(&mut self, applied: u64) {
        let mut index_after = 0;
        while index_after < self.confirmed.len() {
            if self.confirmed[index_after].0 > applied {
                index_after += 1;
                continue;
            }
            let (index, answers) = self.confirmed.remove(index_after);
            for answer in answers {
                let _ = answer.send(Ok(index));
            }
        }
    }

    /// Leadership is lost: rounds on their way end without a word. What a quorum confirmed stays.
    pub(super) fn fail_unconfirmed(&mut self, error: &ReadError) {
        let in_round = self.round.take().map(|(_, answers)| answers).unwrap_or_default();
        for answer in std::mem::take(&mut self.waiting).into_iter().chain(in_round) {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
