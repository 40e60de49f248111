//! What will happen, in order. Two things of one moment happen in the order they were put in, so a
//! run is a function of its seed.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::event::Event;
use crate::place::Time;

struct Entry {
    at: Time,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap gives the greatest first, so the soonest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// See the module.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    next: u64,
}

impl Queue {
    /// Puts an event in.
    pub fn push(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.heap.push(Entry { at, order: self.next, event });
    }

    /// The next event until `end`.
    pub fn pop(&mut self, end: Time) -> Option<(Time, Event)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|e| (e.at, e.event))
    }
}
