//! Who votes, who listens, and the next step from there to who ought to.
//!
//! A new member is a **learner** first: it gets the log and has no vote, so nothing waits for it and
//! its empty start is harmless. Once it has caught up, one **joint** change makes it a voter and takes
//! away whoever goes; both majorities count until the change is left (Raft thesis §4.3). Leaving is a
//! change of its own here: raft-rs's automatic one is lost with a leader that falls in between.
//!
//! [`next_step`] looks at what stands and not at what was begun, so any later leader goes on where the
//! last one fell. Pure.

use std::collections::BTreeSet;

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::replica::Progress;

/// Entries that a learner may lack and count as caught up: a commit or two under load, sent again at
/// the latest with the next heartbeat.
const CAUGHT_UP_WITHIN: u64 = 64;

/// The members as they stand in one node's applied log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes now; in a joint configuration the incoming half.
    pub voters: BTreeSet<u64>,
    /// Who voted before, while a joint configuration stands; empty otherwise.
    pub outgoing: BTreeSet<u64>,
    /// Who only listens.
    pub learners: BTreeSet<u64>,
}

/// A step of a change of members. Each is one entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberStep {
    /// These get the log and no vote.
    AddLearners(BTreeSet<u64>),
    /// These go that never voted.
    RemoveLearners(BTreeSet<u64>),
    /// Begins a joint configuration: `add` were learners, `remove` were voters.
    Enter {
        /// Who will vote.
        add: BTreeSet<u64>,
        /// Who will not.
        remove: BTreeSet<u64>,
    },
    /// Ends it.
    Leave,
}

/// What a leader should do next towards `target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the voters are the target.
    Settled,
    /// Propose this.
    Propose(MemberStep),
    /// Hand leadership to this voter first: a leader does not take away its own vote.
    HandOver(u64),
    /// Wait, for this.
    Wait(Waiting),
}

/// What a change of members waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// These learners have not caught up.
    CatchUp(BTreeSet<u64>),
    /// No voter that stays is near enough to lead.
    Successor,
}

impl Members {
    pub(crate) fn of(conf: &ConfState) -> Self {
        Self {
            voters: conf.get_voters().iter().copied().collect(),
            outgoing: conf.get_voters_outgoing().iter().copied().collect(),
            learners: conf.get_learners().iter().chain(conf.get_learners_next()).copied().collect(),
        }
    }

    /// It votes, in either half.
    #[must_use]
    pub fn votes(&self, id: u64) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// It is a member of any kind.
    #[must_use]
    pub fn holds(&self, id: u64) -> bool {
        self.votes(id) || self.learners.contains(&id)
    }

    /// Those that `are` picks are a quorum by themselves: in a joint configuration, of both halves.
    pub fn suffice(&self, are: impl Fn(u64) -> bool) -> bool {
        let quorum_of = |half: &BTreeSet<u64>| {
            half.is_empty() || half.iter().filter(|n| are(**n)).count() > half.len() / 2
        };
        !self.voters.is_empty() && quorum_of(&self.voters) && quorum_of(&self.outgoing)
    }

    /// Two majorities count.
    #[must_use]
    pub fn joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `step` may be proposed where these members stand.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, step: &MemberStep) -> Result<(), String> {
        if self.joint() != matches!(step, MemberStep::Leave) {
            return Err(if self.joint() {
                "a change of members is under way; it is ended first".into()
            } else {
                "no change of members is under way".into()
            });
        }
        match step {
            MemberStep::AddLearners(ids) => refuse_if(
                ids.is_empty() || ids.contains(&0) || ids.iter().any(|id| self.holds(*id)),
                "some are members already, or none are named",
            ),
            MemberStep::RemoveLearners(ids) => refuse_if(
                ids.is_empty() || !ids.is_subset(&self.learners),
                "some are no learners, or none are named",
            ),
            MemberStep::Enter { add, remove } => {
                let left = self.voters.union(add).filter(|id| !remove.contains(id)).count();
                refuse_if(
                    (add.is_empty() && remove.is_empty())
                        || !add.is_subset(&self.learners)
                        || !remove.is_subset(&self.voters)
                        || left == 0,
                    "who becomes a voter is a learner first, who goes is a voter, and some stay",
                )
            }
            MemberStep::Leave => Ok(()),
        }
    }
}

fn refuse_if(refused: bool, why: &str) -> Result<(), String> {
    if refused { Err(why.into()) } else { Ok(()) }
}

/// See the module. `me` leads; `progress` is what it knows of the others, `commit` its commit index.
#[must_use]
pub fn next_step(
    target: &BTreeSet<u64>,
    members: &Members,
    me: u64,
    progress: &[Progress],
    commit: u64,
) -> Next {
    assert!(!target.is_empty(), "somebody votes");
    // Nothing matched means that it was never heard: raft-rs counts a member that is new as active.
    let near = |id: &u64| {
        let caught_up =
            |p: &Progress| p.active && !p.snapshot && p.matched > 0 && p.matched + CAUGHT_UP_WITHIN >= commit;
        progress.iter().any(|p| p.id == *id && caught_up(p))
    };
    if !target.contains(&me) {
        // Before anything else: who goes need not even know those who come.
        let stays = members.voters.iter().find(|id| target.contains(id) && near(id));
        return stays.map_or(Next::Wait(Waiting::Successor), |id| Next::HandOver(*id));
    }
    if members.joint() {
        return Next::Propose(MemberStep::Leave);
    }
    let stale: BTreeSet<u64> = members.learners.difference(target).copied().collect();
    if !stale.is_empty() {
        return Next::Propose(MemberStep::RemoveLearners(stale));
    }
    let fresh: BTreeSet<u64> = target.iter().copied().filter(|id| !members.holds(*id)).collect();
    if !fresh.is_empty() {
        return Next::Propose(MemberStep::AddLearners(fresh));
    }
    let add: BTreeSet<u64> = target.difference(&members.voters).copied().collect();
    let remove: BTreeSet<u64> = members.voters.difference(target).copied().collect();
    if add.is_empty() && remove.is_empty() {
        return Next::Settled;
    }
    let behind: BTreeSet<u64> = add.iter().copied().filter(|id| !near(id)).collect();
    if !behind.is_empty() {
        return Next::Wait(Waiting::CatchUp(behind));
    }
    Next::Propose(MemberStep::Enter { add, remove })
}

/// As raft-rs takes it.
pub(crate) fn change_of(step: &MemberStep) -> ConfChangeV2 {
    let mut change = ConfChangeV2::default();
    let mut push = |ids: &BTreeSet<u64>, kind: ConfChangeType| {
        for id in ids {
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = *id;
            change.mut_changes().push(single);
        }
    };
    match step {
        MemberStep::AddLearners(ids) => push(ids, ConfChangeType::AddLearnerNode),
        MemberStep::RemoveLearners(ids) => push(ids, ConfChangeType::RemoveNode),
        MemberStep::Enter { add, remove } => {
            push(add, ConfChangeType::AddNode);
            push(remove, ConfChangeType::RemoveNode);
        }
        MemberStep::Leave => {}
    }
    change.set_transition(match step {
        MemberStep::Enter { .. } => ConfChangeTransition::Explicit,
        // Learners alone change no quorum; several at once still need the joint way in raft-rs.
        MemberStep::AddLearners(ids) | MemberStep::RemoveLearners(ids) if ids.len() > 1 => {
            ConfChangeTransition::Explicit
        }
        MemberStep::AddLearners(_) | MemberStep::RemoveLearners(_) => ConfChangeTransition::Auto,
        // How raft-rs knows the end of a joint configuration: automatic, and without changes.
        MemberStep::Leave => ConfChangeTransition::Auto,
    });
    change
}

/// The change in an entry; none where the bytes are not one. What [`change_of`] never makes is none too:
/// raft-rs asserts on some of it.
pub(crate) fn read_change(data: &[u8]) -> Option<ConfChangeV2> {
    let change = ConfChangeV2::parse_from_bytes(data).ok()?;
    change.get_changes().iter().all(|c| c.node_id != 0).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn members(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Members {
        Members { voters: set(voters), outgoing: set(outgoing), learners: set(learners) }
    }

    fn at(matched: &[(u64, u64)]) -> Vec<Progress> {
        matched.iter().map(|&(id, matched)| Progress { id, matched, active: true, snapshot: false }).collect()
    }

    /// Goal: from any stand the next step is the one that the head of this file promises. Method: the
    /// stands of a replacement of voter 3 by 4, one after the other, and those aside of it.
    #[test]
    fn a_replacement_goes_by_a_learner_and_a_joint_configuration() {
        let target = set(&[1, 2, 4]);
        let next = |m: &Members, me, progress: &[(u64, u64)]| next_step(&target, m, me, &at(progress), 1_000);
        let add = Next::Propose(MemberStep::AddLearners(set(&[4])));
        assert_eq!(next(&members(&[1, 2, 3], &[], &[]), 1, &[]), add);
        let learning = members(&[1, 2, 3], &[], &[4]);
        let wait = Next::Wait(Waiting::CatchUp(set(&[4])));
        assert_eq!(next(&learning, 1, &[(1, 1_000), (4, 900)]), wait, "100 entries behind");
        let enter = Next::Propose(MemberStep::Enter { add: set(&[4]), remove: set(&[3]) });
        assert_eq!(next(&learning, 1, &[(1, 1_000), (4, 990)]), enter);
        assert_eq!(
            next(&learning, 3, &[(1, 990), (2, 1_000), (4, 990)]),
            Next::HandOver(1),
            "it leads itself"
        );
        assert_eq!(next(&learning, 3, &[(1, 9), (2, 9), (4, 990)]), Next::Wait(Waiting::Successor));
        let before = members(&[1, 2, 3], &[], &[]);
        assert_eq!(next(&before, 3, &[(1, 990), (2, 9)]), Next::HandOver(1), "it need not know who comes");
        let leave = Next::Propose(MemberStep::Leave);
        assert_eq!(next(&members(&[1, 2, 4], &[1, 2, 3], &[]), 2, &[]), leave);
        assert_eq!(next(&members(&[1, 2, 4], &[], &[]), 2, &[]), Next::Settled);
        let stale = Next::Propose(MemberStep::RemoveLearners(set(&[9])));
        assert_eq!(next(&members(&[1, 2, 4], &[], &[9]), 2, &[]), stale);
    }

    #[test]
    fn a_learner_that_was_never_heard_is_no_voter_in_a_young_cluster_either() {
        let learning = members(&[1, 2, 3], &[], &[4]);
        let next = next_step(&set(&[1, 2, 4]), &learning, 1, &at(&[(1, 20), (4, 0)]), 20);
        assert_eq!(next, Next::Wait(Waiting::CatchUp(set(&[4]))));
    }

    /// Goal: what would break a quorum is not proposed, whoever asks. Method: a table.
    #[test]
    fn a_voter_that_was_no_learner_and_an_empty_cluster_are_refused() {
        let plain = members(&[1, 2, 3], &[], &[4]);
        let enter = |add: &[u64], remove: &[u64]| MemberStep::Enter { add: set(add), remove: set(remove) };
        let refused = [
            enter(&[5], &[]),
            enter(&[], &[1, 2, 3]),
            enter(&[4], &[9]),
            enter(&[], &[]),
            MemberStep::Leave,
            MemberStep::AddLearners(set(&[1])),
            MemberStep::AddLearners(set(&[0])),
            MemberStep::RemoveLearners(set(&[1])),
        ];
        for step in &refused {
            assert!(plain.admit(step).is_err(), "{step:?}");
        }
        assert_eq!(plain.admit(&enter(&[4], &[3])), Ok(()));
        let joint = members(&[1, 2, 4], &[1, 2, 3], &[]);
        assert!(joint.admit(&MemberStep::AddLearners(set(&[7]))).is_err(), "one change at a time");
        assert_eq!(joint.admit(&MemberStep::Leave), Ok(()));
    }
}
