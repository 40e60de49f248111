//! The one snapshot that every listener answers from, swapped whole.
//!
//! A listener holds a [`Reader`]; looking at the snapshot costs it one pointer load. Whoever publishes is
//! refused a lower generation than the one that answers: what a node has once told the world it never
//! takes back for something older (STYLE S2). Within a generation this node's own verdicts and freshness
//! change, so every publication gets a number of its own.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Cache};
use gslb_core::Snapshot;
use model::Generation;

use crate::wire::Terms;

/// The handle; clones share one snapshot.
#[derive(Debug, Clone)]
pub struct Published {
    current: Arc<ArcSwap<Publication>>,
    /// Taken while comparing and swapping, so that two publishers cannot pass each other. No query takes it.
    order: Arc<Mutex<()>>,
    terms: Arc<Terms>,
}

/// A snapshot as it was published.
#[derive(Debug)]
pub struct Publication {
    /// Number of the publication on this node, from 1; grows by one each time.
    pub sequence: u64,
    /// What is answered.
    pub snapshot: Snapshot,
}

/// Why a snapshot was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("snapshot of generation {offered} is older than generation {current}, which is being answered")]
pub struct Older {
    /// The generation offered.
    pub offered: Generation,
    /// The generation that stays.
    pub current: Generation,
}

impl Published {
    /// Publishes the first snapshot. A node that knows nothing yet publishes its zones with bound names
    /// that have no route: those answer SERVFAIL.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self::on(first, Terms::default())
    }

    /// The same, with what the node adds to each answer.
    #[must_use]
    pub fn on(first: Snapshot, terms: Terms) -> Self {
        let current = Arc::new(ArcSwap::from_pointee(Publication { sequence: 1, snapshot: first }));
        Self { current, order: Arc::new(Mutex::new(())), terms: Arc::new(terms) }
    }

    /// Answers from `snapshot` from now on, and returns the publication's number.
    ///
    /// # Errors
    /// [`Older`] when a higher generation is being answered; nothing changes.
    pub fn publish(&self, snapshot: Snapshot) -> Result<u64, Older> {
        // Nothing is left half done by a panic under this lock, so a poisoned one is as good.
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load();
        if snapshot.generation() < current.snapshot.generation() {
            return Err(Older { offered: snapshot.generation(), current: current.snapshot.generation() });
        }
        let sequence = current.sequence + 1;
        self.current.store(Arc::new(Publication { sequence, snapshot }));
        Ok(sequence)
    }

    /// What is being answered.
    #[must_use]
    pub fn load(&self) -> Arc<Publication> {
        self.current.load_full()
    }

    /// A view for one thread or connection.
    #[must_use]
    pub(crate) fn reader(&self) -> Reader {
        Reader { cache: Cache::new(Arc::clone(&self.current)), terms: Arc::clone(&self.terms) }
    }
}

/// One thread's view of what is published. It keeps the snapshot it last looked at alive.
#[derive(Debug)]
pub(crate) struct Reader {
    cache: Cache<Arc<ArcSwap<Publication>>, Arc<Publication>>,
    terms: Arc<Terms>,
}

impl Reader {
    /// What is answered, and what is added to it.
    pub(crate) fn snapshot(&mut self) -> (&Snapshot, &Terms) {
        (&self.cache.load().snapshot, &self.terms)
    }
}
