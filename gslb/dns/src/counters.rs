//! What happened to queries, in numbers.
//!
//! A listener fills a [`Tally`] of its own while it works on a batch and adds it to its thread's shared
//! cells once a batch: no lock, and no cell that two threads write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::{Reply, rcode};

/// RCODEs told apart: the 16 of the header, then BADVERS and BADCOOKIE.
pub const RCODES: usize = 18;

/// Numbers of one listener, or of all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that came in.
    pub queries: u64,
    /// Responses by RCODE: index 0 is NOERROR, 16 BADVERS, 17 BADCOOKIE.
    pub rcodes: [u64; RCODES],
    /// Responses sent empty with TC.
    pub truncated: u64,
    /// Packets that were answered by silence.
    pub dropped: u64,
    /// Packets of networks that had got as much as they may, answered by silence.
    pub limited: u64,
    /// Answers with all members because no pool was up.
    pub all_down_open: u64,
    /// Responses that the kernel would not take.
    pub unsent: u64,
    /// Queries whose answer was lost to a defect of ours. Always zero; anything else is worth a report.
    pub panicked: u64,
    /// Connections refused or closed since there were too many, or for silence.
    pub connections_closed: u64,
}

impl Tally {
    /// Counts one packet's fate.
    pub(crate) fn count(&mut self, reply: &Reply) {
        self.queries += 1;
        match *reply {
            Reply::Dropped => self.dropped += 1,
            Reply::Limited => self.limited += 1,
            Reply::Sent { rcode, truncated, all_down_open, .. } => {
                let last = RCODES - 1;
                self.rcodes[if rcode == rcode::BADCOOKIE { last } else { usize::from(rcode).min(last) }] += 1;
                self.truncated += u64::from(truncated);
                self.all_down_open += u64::from(all_down_open);
            }
        }
    }

    /// Responses of all RCODEs.
    #[must_use]
    pub fn responses(&self) -> u64 {
        self.rcodes.iter().sum()
    }

    fn cells(&self) -> [u64; CELLS] {
        let mut cells = [0; CELLS];
        cells[..RCODES].copy_from_slice(&self.rcodes);
        cells[RCODES..].copy_from_slice(&[
            self.queries,
            self.truncated,
            self.dropped,
            self.limited,
            self.all_down_open,
            self.unsent,
            self.panicked,
            self.connections_closed,
        ]);
        cells
    }

    fn from_cells(cells: [u64; CELLS]) -> Self {
        let mut rcodes = [0; RCODES];
        rcodes.copy_from_slice(&cells[..RCODES]);
        let [queries, truncated, dropped, limited, all_down_open, unsent, panicked, connections_closed] =
            cells[RCODES..].try_into().expect("the rest has eight");
        Self {
            queries,
            rcodes,
            truncated,
            dropped,
            limited,
            all_down_open,
            unsent,
            panicked,
            connections_closed,
        }
    }
}

const CELLS: usize = RCODES + 8;

/// The shared cells of one thread. Aligned to two cache lines, so that no two threads' cells share one.
#[derive(Debug)]
#[repr(align(128))]
struct Cells([AtomicU64; CELLS]);

/// One writer's end.
#[derive(Debug, Clone)]
pub(crate) struct Counter(Arc<Cells>);

impl Counter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Cells(std::array::from_fn(|_| AtomicU64::new(0)))))
    }

    /// Adds what happened since the last time.
    pub(crate) fn add(&self, tally: &Tally) {
        for (cell, more) in self.0.0.iter().zip(tally.cells()) {
            if more != 0 {
                cell.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    /// The numbers so far. Those of one moment need not fit together: a batch may be half added.
    pub(crate) fn read(&self) -> Tally {
        let mut cells = [0; CELLS];
        for (to, from) in cells.iter_mut().zip(&self.0.0) {
            *to = from.load(Ordering::Relaxed);
        }
        Tally::from_cells(cells)
    }
}

/// Reads the numbers of listeners, also after they ended; clones read the same.
#[derive(Debug, Clone, Default)]
pub struct Tallies(Vec<Counter>);

impl Tallies {
    pub(crate) fn of(counters: impl IntoIterator<Item = Counter>) -> Self {
        Self(counters.into_iter().collect())
    }

    /// What happened so far on all of them.
    #[must_use]
    pub fn read(&self) -> Tally {
        self.0.iter().map(Counter::read).sum()
    }
}

impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        let mut cells = self.cells();
        for (to, more) in cells.iter_mut().zip(other.cells()) {
            *to += more;
        }
        Tally::from_cells(cells)
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), |a, b| a + b)
    }
}
