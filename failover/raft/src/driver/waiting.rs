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

    /// This node leads in a new term: the round of the old one is lost, and who waited for it
    /// waits for one that begins later still.
    pub(super) fn round_lost(&mut self) {
        if let Some((_, answers)) = self.round.take() {
            self.waiting.extend(answers);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(reads: &mut Reads) -> oneshot::Receiver<Result<u64, ReadError>> {
        let (answer, answered) = oneshot::channel();
        reads.add(answer);
        answered
    }

    #[test]
    fn reads_share_a_round_and_late_ones_wait_for_the_next() {
        let mut reads = Reads::default();
        assert_eq!(reads.next_round(), None, "nobody asked");
        let (mut one, mut two) = (ask(&mut reads), ask(&mut reads));
        let first = reads.next_round().unwrap();
        reads.begun();
        let mut late = ask(&mut reads);
        assert_eq!(reads.next_round(), None, "one round at a time");
        reads.confirmed(&first, 7);
        reads.applied(6);
        assert!(one.try_recv().is_err(), "not applied yet");
        reads.applied(7);
        assert_eq!((one.try_recv(), two.try_recv()), (Ok(Ok(7)), Ok(Ok(7))));
        assert!(late.try_recv().is_err(), "the first round says nothing about it");
        let second = reads.next_round().unwrap();
        assert_ne!(first, second);
        reads.begun();
        reads.confirmed(&first, 8);
        reads.applied(8);
        assert!(late.try_recv().is_err(), "an old context confirms nothing");
        reads.confirmed(&second, 8);
        reads.applied(8);
        assert_eq!(late.try_recv(), Ok(Ok(8)));
    }

    #[test]
    fn a_round_is_not_begun_for_those_who_have_left() {
        let mut reads = Reads::default();
        drop(ask(&mut reads));
        assert_eq!(reads.next_round(), None);
    }

    #[test]
    fn lost_leadership_fails_reads_that_no_quorum_confirmed_and_only_those() {
        let mut reads = Reads::default();
        let mut confirmed = ask(&mut reads);
        let context = reads.next_round().unwrap();
        reads.begun();
        reads.confirmed(&context, 3);
        let mut in_round = ask(&mut reads);
        reads.next_round().unwrap();
        reads.begun();
        let mut waiting = ask(&mut reads);
        reads.fail_unconfirmed(&ReadError::NoLeader);
        assert_eq!(in_round.try_recv(), Ok(Err(ReadError::NoLeader)));
        assert_eq!(waiting.try_recv(), Ok(Err(ReadError::NoLeader)));
        reads.applied(3);
        assert_eq!(confirmed.try_recv(), Ok(Ok(3)));
    }

    #[test]
    fn another_terms_entry_at_the_index_is_not_the_proposal() {
        let mut proposals = Proposals::default();
        let mut ask = |position| {
            let (answer, answered) = oneshot::channel();
            proposals.add(position, answer);
            answered
        };
        let mut kept = ask(Position { index: 4, term: 2 });
        let mut lost = ask(Position { index: 5, term: 2 });
        proposals.applied(Position { index: 4, term: 2 });
        proposals.applied(Position { index: 5, term: 3 });
        assert_eq!(kept.try_recv(), Ok(Ok(Proposed { index: 4 })));
        assert_eq!(lost.try_recv(), Ok(Err(ProposeError::Unknown)));
    }
}
