//! Was there one history? Decided from what the swapping clients saw and what the registers hold in the end, and
//! from nothing else. Pure.
//!
//! Every value is written at most once, so each register's history can only be the chain of swaps that leads from
//! 0 to its last value. Linearizability (Herlihy and Wing, 1990) then asks three things: every acknowledged swap is in
//! the chain, every value that was seen is, and what is over before something else begins stands before it.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;

use crate::clients::Event;

/// The registers' table: (run, id, value).
pub const TABLE: &str = "lab_registers";

/// So many; few, so that clients meet at them.
pub const REGISTERS: u32 = 3;

/// A swap that was tried.
#[derive(Debug, Clone, Copy)]
struct Swap {
    from: u64,
    began: Timestamp,
    /// When it was acknowledged.
    acked: Option<Timestamp>,
    /// It surely did nothing.
    refused: bool,
}

/// What was seen of one register.
#[derive(Debug, Clone, Default)]
struct Seen {
    swaps: BTreeMap<u64, Swap>,
    looks: Vec<(u64, Timestamp)>,
}

/// What the clients saw, judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Swaps that were acknowledged.
    pub swapped: u64,
    /// What no single history explains, each in a line.
    pub wrong: Vec<String>,
}

/// Holds what the clients saw against the registers' last values.
#[must_use]
pub fn judge(events: &[Event], last: &BTreeMap<u32, u64>) -> Verdict {
    let mut verdict = Verdict::default();
    for (register, seen) in seen(events) {
        let end = last.get(&register).copied();
        verdict.swapped += seen.swaps.values().filter(|s| s.acked.is_some()).count() as u64;
        let wrong = seen.wrong(end);
        verdict.wrong.extend(wrong.into_iter().map(|what| format!("register {register}: {what}")));
    }
    verdict
}

fn seen(events: &[Event]) -> BTreeMap<u32, Seen> {
    let mut all: BTreeMap<u32, Seen> = BTreeMap::new();
    for event in events {
        match *event {
            Event::Looked { register, value, began, .. } => {
                all.entry(register).or_default().looks.push((value, began));
            }
            Event::SwapBegan { register, from, to, at } => {
                let swap = Swap { from, began: at, acked: None, refused: false };
                all.entry(register).or_default().swaps.insert(to, swap);
            }
            Event::Swapped { register, to, at } => {
                if let Some(swap) = all.entry(register).or_default().swaps.get_mut(&to) {
                    swap.acked = Some(at);
                }
            }
            Event::NotSwapped { register, to, .. } => {
                if let Some(swap) = all.entry(register).or_default().swaps.get_mut(&to) {
                    swap.refused = true;
                }
            }
            _ => {}
        }
    }
    all
}

impl Seen {
    fn wrong(&self, end: Option<u64>) -> Vec<String> {
        let chain = match self.chain(end) {
            Ok(chain) => chain,
            Err(what) => return vec![what],
        };
        let place: BTreeMap<u64, usize> = chain.iter().enumerate().map(|(at, value)| (*value, at)).collect();
        let mut wrong = Vec::new();
        let mut from: BTreeMap<u64, u64> = BTreeMap::new();
        for (to, swap) in self.swaps.iter().filter(|(_, s)| s.acked.is_some()) {
            if let Some(other) = from.insert(swap.from, *to) {
                wrong.push(format!("both {other} and {to} were acknowledged in place of {}", swap.from));
            }
            if !place.contains_key(to) {
                wrong.push(format!("the swap of {} for {to} was acknowledged and is lost", swap.from));
            }
        }
        // What was acknowledged so far, by the time of its acknowledgement: the furthest place in the chain.
        let acks = self.swaps.iter().filter_map(|(to, s)| Some((s.acked?, *place.get(to)?)));
        let mut acks: Vec<(Timestamp, usize)> = acks.collect();
        acks.sort_unstable();
        let mut furthest = 0;
        for (_, at) in &mut acks {
            furthest = furthest.max(*at);
            *at = furthest;
        }
        let least = |began: Timestamp| {
            let before = acks.partition_point(|(acked, _)| *acked < began);
            before.checked_sub(1).map_or(0, |last| acks[last].1)
        };
        for (value, began) in &self.looks {
            match place.get(value) {
                None => wrong.push(format!("{value} was seen, and is in no history")),
                Some(at) if *at < least(*began) => {
                    wrong.push(format!("{value} was seen after a later value had been acknowledged"));
                }
                Some(_) => {}
            }
        }
        let late = self.swaps.iter().filter(|(to, s)| place.get(to).is_some_and(|at| *at < least(s.began)));
        wrong
            .extend(late.map(|(to, _)| format!("{to} came before what had been acknowledged when it began")));
        wrong
    }

    /// From 0 to the last value.
    fn chain(&self, end: Option<u64>) -> Result<Vec<u64>, String> {
        let Some(end) = end else {
            let none = self.swaps.is_empty() && self.looks.is_empty();
            return if none { Ok(vec![0]) } else { Err("it is gone".to_owned()) };
        };
        let (mut chain, mut known) = (vec![end], BTreeSet::from([end]));
        let mut value = end;
        while value != 0 {
            let swap = self.swaps.get(&value).ok_or_else(|| format!("nobody wrote {value}"))?;
            if swap.refused {
                return Err(format!("{value} is in the history, and its client was told that it is not"));
            }
            value = swap.from;
            if !known.insert(value) {
                return Err(format!("{value} comes twice in one history"));
            }
            chain.push(value);
        }
        chain.reverse();
        Ok(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn began(from: u64, to: u64, at: u64) -> Event {
        Event::SwapBegan { register: 0, from, to, at: t(at) }
    }

    fn swapped(to: u64, at: u64) -> Event {
        Event::Swapped { register: 0, to, at: t(at) }
    }

    fn refused(to: u64, at: u64) -> Event {
        Event::NotSwapped { register: 0, to, at: t(at) }
    }

    fn looked(value: u64, began: u64) -> Event {
        Event::Looked { register: 0, value, began: t(began), at: t(began + 1) }
    }

    fn wrong(events: &[Event], end: u64) -> Vec<String> {
        judge(events, &BTreeMap::from([(0, end)])).wrong
    }

    #[test]
    fn one_history_is_found_also_through_swaps_that_nobody_was_told_of() {
        let events = [
            looked(0, 0),
            began(0, 1, 2),
            swapped(1, 3),
            // No answer, and it was done.
            began(1, 2, 4),
            looked(2, 8),
            began(2, 3, 10),
            swapped(3, 12),
            // No answer, and it was not.
            began(3, 4, 13),
            // Somebody else was quicker.
            began(2, 5, 11),
            refused(5, 14),
            // Seen while the next was under way: either is right.
            looked(2, 11),
        ];
        let verdict = judge(&events, &BTreeMap::from([(0, 3)]));
        assert_eq!(verdict, Verdict { swapped: 2, wrong: vec![] });
    }

    #[test]
    fn what_two_primaries_do_is_told() {
        let first = [began(0, 1, 1), swapped(1, 2)];
        let with = |more: &[Event]| [&first[..], more].concat();
        let cases: [(Vec<Event>, u64, &str); 7] = [
            // Lost with the old primary.
            (with(&[began(1, 2, 3), swapped(2, 4)]), 1, "the swap of 1 for 2 was acknowledged and is lost"),
            // Acknowledged by both.
            (
                with(&[began(1, 2, 3), swapped(2, 5), began(1, 3, 4), swapped(3, 6)]),
                3,
                "both 2 and 3 were acknowledged in place of 1",
            ),
            // Served by the old one after the new one had gone on.
            (
                with(&[began(1, 2, 3), swapped(2, 4), looked(1, 5)]),
                2,
                "1 was seen after a later value had been acknowledged",
            ),
            // Seen and gone.
            (with(&[began(1, 2, 3), looked(2, 4)]), 1, "2 was seen, and is in no history"),
            (with(&[]), 7, "nobody wrote 7"),
            (
                with(&[began(1, 2, 3), refused(2, 4)]),
                2,
                "2 is in the history, and its client was told that it is not",
            ),
            // Took the place of what was over before it began: the client had read an old server.
            (
                [began(0, 1, 5), began(1, 2, 1), swapped(2, 2), swapped(1, 6)].to_vec(),
                2,
                "1 came before what had been acknowledged when it began",
            ),
        ];
        for (events, end, want) in cases {
            let wrong = wrong(&events, end);
            assert!(wrong.iter().any(|w| w.ends_with(want)), "{want}: {wrong:?}");
        }
    }

    #[test]
    fn a_register_that_is_gone_is_told_and_one_that_never_was_is_not() {
        assert_eq!(judge(&[], &BTreeMap::new()), Verdict::default());
        assert_eq!(judge(&[looked(0, 1)], &BTreeMap::new()).wrong, ["register 0: it is gone"]);
    }
}
