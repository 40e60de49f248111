//! Lives of the cluster: what `quorum force` refuses, what a new life begins with, and what a node makes of another
//! life that it hears of (docs/design/0015-manual-mode.md, I8).
//!
//! Values only, so that the command, the daemon and the simulator go by the same rules. A log is named by its life and
//! its end; whoever asks the other nodes says what they said.
//!
//! Deliberately absent: logs, files, and whether the dead are dead. A person says so.

use model::{Incarnation, NodeId, ServerId, WallTime};

use crate::{Command, Defect, Defects, FencedByHand};

/// The log of a node: of which life it is, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// Its life.
    pub incarnation: Incarnation,
    /// Term of its last entry.
    pub term: u64,
    /// Index of it.
    pub index: u64,
}

/// Another node, as it was asked before a force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub node: NodeId,
    /// It is to be a voter of the new life.
    pub voter: bool,
    /// Something answered there.
    pub lives: bool,
    /// What it said of itself, if it did.
    pub said: Option<Said>,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its log.
    pub log: LogEnd,
    /// A quorum confirms it.
    pub quorum: bool,
    /// Servers of sites without a voter whose guards it heard a moment ago.
    pub hears: Vec<ServerId>,
}

/// What every voter of a new life starts from, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continued {
    /// The log that it continues.
    pub log: LogEnd,
    /// The new life.
    pub incarnation: Incarnation,
}

impl LogEnd {
    /// Raft's order of logs.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        (self.term, self.index) > (other.term, other.index)
    }
}

/// What stands against beginning a new life from `own`; nothing does when it is empty.
#[must_use]
pub fn against_force(own: &LogEnd, others: &[Asked]) -> Vec<String> {
    let mut against = Vec::new();
    for other in others {
        let name = &other.node;
        if other.lives && !other.voter {
            against.push(format!("{name} answers and is not among --voters: it is not fenced"));
        }
        let Some(said) = &other.said else { continue };
        if said.quorum {
            against
                .push(format!("{name} is confirmed by a quorum: there is one, and ordinary commands work"));
        }
        for server in &said.hears {
            against.push(format!("{name} hears the guard of {server}: its host is not fenced"));
        }
        let life = said.log.incarnation;
        if life != own.incarnation {
            against.push(format!("{name} is of incarnation {life}, this log is of {}", own.incarnation));
        } else if said.log.is_later_than(own) {
            against.push(format!("the log of {name} ends later: run this on the host of {name}"));
        }
    }
    against
}

/// What stands against making the node of `own` a voter of the life that `seed` begins. `heard` is a later life that
/// this node heard of and ended for: the one that it is asked into may well be it, since the first voter runs perhaps.
#[must_use]
pub fn against_following(own: &LogEnd, heard: Option<Incarnation>, seed: &Continued) -> Vec<String> {
    let mut against = Vec::new();
    if let Some(heard) = heard.filter(|h| *h != seed.incarnation) {
        against.push(format!("it has heard of incarnation {heard}, and the seed is of {}", seed.incarnation));
    }
    if own.incarnation != seed.log.incarnation {
        against.push(format!(
            "its log is of incarnation {}, the seed continues {}",
            own.incarnation, seed.log.incarnation
        ));
    }
    if own.is_later_than(&seed.log) {
        against.push(format!(
            "its log ends at entry {} of term {}, behind the seed's end (entry {} of term {}): what stands there \
             would be lost; begin the incarnation from this node instead",
            own.index, own.term, seed.log.index, seed.log.term
        ));
    }
    against
}

/// The life after `from`, under a mark that was drawn by chance, and the entry that begins it.
#[must_use]
pub fn next_life(
    from: Incarnation,
    mark: u32,
    voters: &[NodeId],
    fenced: FencedByHand,
    at: WallTime,
) -> (Incarnation, Command) {
    let incarnation = from.after(mark);
    let voters = voters.iter().map(ToString::to_string).collect();
    (incarnation, Command::Incarnate { incarnation, voters, fenced, at })
}

/// What a node makes of a life that it hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherLife {
    /// It is its own.
    Same,
    /// It is over: refused.
    Earlier,
    /// This node's own is over.
    Later,
    /// Another half of the cluster was forced as well: neither follows the other.
    Rival,
    /// This node holds nothing yet and was made for a life that the cluster is not of.
    Unfounded,
}

/// A node whose log is of `own` hears of life `heard`; `blank` where it was to join and holds nothing yet.
#[must_use]
pub fn hear_life(own: Incarnation, blank: bool, heard: Incarnation, defects: Defects) -> OtherLife {
    if heard == own || defects.has(Defect::OtherLivesPass) {
        OtherLife::Same
    } else if blank && heard.count() > 0 && heard.count() <= own.count() {
        OtherLife::Unfounded
    } else if heard.count() > own.count() {
        OtherLife::Later
    } else if heard.is_rival_of(own) {
        OtherLife::Rival
    } else {
        OtherLife::Earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Incarnation = Incarnation(1);

    fn log(incarnation: Incarnation, term: u64, index: u64) -> LogEnd {
        LogEnd { incarnation, term, index }
    }

    fn asked(said: Option<Said>) -> Asked {
        Asked { node: "mdc-2".parse().unwrap(), voter: true, lives: said.is_some(), said }
    }

    fn said(log: LogEnd) -> Said {
        Said { log, quorum: false, hears: vec![] }
    }

    /// Goal: each rule against a force speaks for itself, and a survivor that is silent or no further is none.
    #[test]
    fn a_force_is_refused_where_something_lives_or_goes_further() {
        let own = log(FIRST, 3, 70);
        let refused = |asked: Asked| against_force(&own, &[asked]);
        assert!(refused(asked(None)).is_empty() && refused(asked(Some(said(log(FIRST, 3, 70))))).is_empty());
        let stranger = Asked { voter: false, ..asked(Some(said(own))) };
        assert!(refused(stranger)[0].contains("not fenced"));
        let confirmed = asked(Some(Said { quorum: true, ..said(own) }));
        assert!(refused(confirmed)[0].contains("ordinary commands work"));
        let guarded = asked(Some(Said { hears: vec!["pdc-db".parse().unwrap()], ..said(own) }));
        assert!(refused(guarded)[0].contains("the guard of pdc-db"));
        assert!(refused(asked(Some(said(log(FIRST, 4, 5)))))[0].contains("ends later"));
        let forced = refused(asked(Some(said(log(FIRST.after(7), 4, 5)))));
        assert!(forced.len() == 1 && forced[0].contains("is of incarnation 2-00000007"));
    }

    /// Goal: a voter that heard of the very life it is asked into follows; one that heard of another, that is of
    /// another or that goes further does not.
    #[test]
    fn a_voter_follows_a_seed_that_continues_its_log() {
        let (own, life) = (log(FIRST, 3, 70), FIRST.after(7));
        let seed = Continued { log: own, incarnation: life };
        assert!(against_following(&own, None, &seed).is_empty());
        assert!(against_following(&log(FIRST, 2, 90), Some(life), &seed).is_empty());
        assert!(against_following(&own, Some(FIRST.after(8)), &seed)[0].contains("has heard"));
        assert!(against_following(&log(life, 3, 71), None, &seed)[0].contains("the seed continues 1"));
        assert!(against_following(&log(FIRST, 3, 71), None, &seed)[0].contains("would be lost"));
    }

    #[test]
    fn a_later_life_ends_this_one_and_no_other_does() {
        let hear = |own, blank, heard| hear_life(own, blank, heard, Defects::NONE);
        let second = FIRST.after(7);
        assert_eq!(hear(FIRST, false, FIRST), OtherLife::Same);
        assert_eq!(hear(FIRST, false, second), OtherLife::Later);
        assert_eq!(hear(second, false, FIRST), OtherLife::Earlier);
        assert_eq!(hear(second, false, FIRST.after(8)), OtherLife::Rival);
        assert_eq!(hear(second, true, FIRST.after(8)), OtherLife::Unfounded);
        assert_eq!(hear(second, true, second.after(1)), OtherLife::Later);
        assert_eq!(hear(second, true, Incarnation(0)), OtherLife::Earlier, "it holds nothing itself");
    }
}
