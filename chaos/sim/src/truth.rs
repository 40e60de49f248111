//! What an observer who sees everything knows: every transaction, what clients were told, what was
//! committed. The checks compare the cluster's doings with it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use failover_core::{Command, Defects, Latch, State, apply_without, decode};
use model::{Epoch, Incarnation};

use crate::invariants::{Ordered, Service};
use crate::place::{HOSTS, Time};

/// One transaction.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    /// The server that wrote it.
    pub origin: usize,
    /// Its number there.
    pub number: usize,
    /// When it was written.
    pub at: Time,
    /// The server's OK left its host.
    pub told: bool,
    /// A client heard it.
    pub acknowledged: bool,
    /// A failover on record gave it up.
    pub given_up: bool,
    /// The disk of its own server said that it had it, and had not; and what `World::upheavals` counted then.
    pub forgotten: Option<u64>,
}

/// An opening of a server; none before its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Opening {
    /// In which life of the cluster, as its guard had seen.
    pub life: Incarnation,
    /// At which epoch.
    pub epoch: Epoch,
}

/// See the module.
pub struct Truth {
    /// All transactions; a transaction's identity is its place here.
    pub transactions: Vec<Transaction>,
    /// The openings' marks.
    pub marks: Vec<crate::mysql::Mark>,
    /// The state after every entry that any node applied.
    pub state: State,
    /// Through which entry.
    pub applied: u64,
    /// What each entry is.
    entries: BTreeMap<(Incarnation, u64), (u64, Rc<Command>)>,
    /// The life of the cluster that lives on.
    pub life: Incarnation,
    /// Two entries at one place.
    pub forked: Option<String>,
    /// When names were last moved, and from which site they were moved away.
    pub moved: Option<(Time, usize)>,
    /// The highest epoch that each server was ever open at.
    pub opened: [Opening; HOSTS],
    /// The latches that each guard ever had on disk last.
    pub latches: [Option<Latch>; HOSTS],
    /// Openings of another server than before.
    pub failovers: u64,
    /// Elections won.
    pub elections: u64,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Given up.
    pub given_up: u64,
    /// How often what was committed, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Why the last decision held still.
    pub held: String,
    /// What steps were ever meant to do, and to which host.
    pub intended: BTreeSet<(usize, Ordered)>,
    /// Through which epoch each guard has confirmed a fence.
    pub fenced: [Epoch; HOSTS],
    /// How the group serves.
    pub service: Service,
}

impl Truth {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self {
            transactions: Vec::new(),
            marks: Vec::new(),
            state: State::default(),
            applied: 0,
            entries: BTreeMap::new(),
            life: Incarnation(1),
            forked: None,
            moved: None,
            opened: [Opening::default(); HOSTS],
            latches: Default::default(),
            failovers: 0,
            elections: 0,
            acknowledged: 0,
            given_up: 0,
            counts: BTreeMap::new(),
            held: String::new(),
            intended: BTreeSet::new(),
            fenced: [Epoch(0); HOSTS],
            service: Service::default(),
        }
    }

    /// A server writes a transaction.
    pub fn write(&mut self, origin: usize, number: usize, at: Time) -> u32 {
        let transaction = Transaction {
            origin,
            number,
            at,
            told: false,
            acknowledged: false,
            given_up: false,
            forgotten: None,
        };
        self.transactions.push(transaction);
        u32::try_from(self.transactions.len() - 1).expect("a run writes fewer than 2³² transactions")
    }

    /// A client heard OK.
    pub fn acknowledged(&mut self, transaction: u32) {
        let transaction = &mut self.transactions[transaction as usize];
        if !transaction.acknowledged {
            transaction.acknowledged = true;
            self.acknowledged += 1;
        }
    }

    /// A guard opened its server.
    pub fn opened(&mut self, h: usize, life: Incarnation, epoch: Epoch) {
        self.opened[h] = self.opened[h].max(Opening { life, epoch });
    }

    /// Something was committed, or happened.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Why a decision holds still.
    pub fn held(&mut self, why: &str) {
        if self.held != why {
            why.clone_into(&mut self.held);
        }
    }

    /// An entry is applied by some node: what it says, read once for all.
    pub fn committed(&mut self, life: Incarnation, index: u64, term: u64, data: &[u8]) -> Rc<Command> {
        if let Some((known, command)) = self.entries.get(&(life, index)) {
            if *known != term {
                self.forked = Some(format!("entry {index} has terms {known} and {term}"));
            }
            return Rc::clone(command);
        }
        let command = Rc::new(decode(data).expect("an entry that this binary wrote"));
        self.entries.insert((life, index), (term, Rc::clone(&command)));
        command
    }

    /// A person begins another life from a state at this index: what came behind it elsewhere is over.
    pub fn incarnate(&mut self, life: Incarnation, state: State, index: u64) {
        (self.life, self.state, self.applied) = (life, state, index);
    }

    /// Applies an entry the first time that any node does. True when it changed something.
    pub fn follow(
        &mut self,
        defects: Defects,
        index: u64,
        command: &Command,
    ) -> Option<Vec<failover_core::Event>> {
        if index <= self.applied {
            return None;
        }
        self.applied = index;
        apply_without(defects, &mut self.state, command.clone()).ok()
    }
}
