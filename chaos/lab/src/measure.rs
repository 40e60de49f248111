//! What the clients' events say about a fault: pure, so that every definition of DESIGN §7 stands
//! here once and is tested on made-up events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use model::Timestamp;

use crate::clients::{Event, Outcome};
use crate::clock::millis_between;

/// One row.
pub type RowKey = (u32, u64);

/// When things happened in a run.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// The fault's instant.
    pub fault: Timestamp,
    /// The end of the time in which the fault was observed: healing begins here.
    pub until: Timestamp,
}

/// The databases in a run.
#[derive(Debug, Clone)]
pub struct Sides {
    /// The address of the primary at the fault.
    pub old: Ipv4Addr,
    /// The addresses of those of which one should follow it.
    pub new: BTreeSet<Ipv4Addr>,
}

/// A commit that returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The row.
    pub row: RowKey,
    /// When it returned.
    pub at: Timestamp,
    /// From where.
    pub address: Ipv4Addr,
}

/// All commits that returned, in the order of their return.
#[must_use]
pub fn acks(events: &[Event]) -> Vec<Ack> {
    let ack = |e: &Event| match e {
        Event::Ack { writer, seq, at, address, .. } => {
            Some(Ack { row: (*writer, *seq), at: *at, address: *address })
        }
        _ => None,
    };
    let mut acks: Vec<_> = events.iter().filter_map(ack).collect();
    acks.sort_by_key(|a| a.at);
    acks
}

/// By how many milliseconds at most 99 of 100 wakes of an idle thread were late, on the client host where
/// they were latest: what the machine itself adds to measured times.
#[must_use]
pub fn client_late_ms(events: &[Event]) -> Option<f64> {
    let late = events.iter().filter_map(|e| match e {
        Event::Goodbye { late_ms, .. } => *late_ms,
        _ => None,
    });
    // Counted up to a thousand.
    #[allow(clippy::cast_precision_loss)]
    late.max().map(|ms| ms as f64)
}

/// Milliseconds of the longest pause in acknowledged writes, over all writers together, from the
/// last commit before the fault until the end of observation. None when there was no commit before
/// the fault: then there was no load.
#[must_use]
pub fn write_gap_ms(acks: &[Ack], moments: Moments) -> Option<f64> {
    pause(acks, moments.fault, moments.until)
}

/// Milliseconds of the longest pause from the last commit before `from` until `until`.
#[must_use]
pub fn pause(acks: &[Ack], from: Timestamp, until: Timestamp) -> Option<f64> {
    let mut last = acks.iter().rev().find(|a| a.at <= from)?.at;
    let mut longest: f64 = 0.0;
    for ack in acks.iter().filter(|a| a.at > from && a.at <= until) {
        longest = longest.max(millis_between(last, ack.at));
        last = ack.at;
    }
    // Writes that never came back pause until the end.
    Some(longest.max(millis_between(last, until)))
}

/// The pause in which `write_gap_ms` lies: its first and its last instant.
#[must_use]
pub fn longest_pause(acks: &[Ack], moments: Moments) -> Option<(Timestamp, Option<Ack>)> {
    let start = acks.iter().rposition(|a| a.at <= moments.fault)?;
    let inside: Vec<_> = acks[start..].iter().filter(|a| a.at <= moments.until).collect();
    let pairs = inside.windows(2).map(|w| (w[0].at, Some(*w[1])));
    let tail = inside.last().map(|a| (a.at, None));
    let length = |p: &(Timestamp, Option<Ack>)| p.1.map_or(moments.until, |a| a.at).since(p.0);
    pairs.chain(tail).max_by_key(length)
}

/// Milliseconds in which two could acknowledge: last commit that returned on the old primary minus
/// first on any other server, 0 if negative or if only one acknowledged at all.
#[must_use]
pub fn dual_writable_ms(acks: &[Ack], sides: &Sides) -> f64 {
    let last_old = acks.iter().rev().find(|a| a.address == sides.old);
    let first_new = acks.iter().find(|a| a.address != sides.old);
    match (last_old, first_new) {
        (Some(old), Some(new)) => millis_between(new.at, old.at).max(0.0),
        _ => 0.0,
    }
}

/// Milliseconds from the fault until `server` answered the new address for good (until the end of
/// observation); none if it did not.
#[must_use]
pub fn server_flip_ms(events: &[Event], server: &str, sides: &Sides, moments: Moments) -> Option<f64> {
    let changes = events.iter().filter_map(|e| match e {
        Event::Answered { server: s, at, address, .. } if s == server && *at <= moments.until => {
            Some((*at, *address))
        }
        _ => None,
    });
    flip(changes, sides, moments)
}

/// The same for the client that honours the TTL.
#[must_use]
pub fn client_flip_ms(events: &[Event], sides: &Sides, moments: Moments) -> Option<f64> {
    let changes = events.iter().filter_map(|e| match e {
        Event::Resolved { at, address } if *at <= moments.until => Some((*at, *address)),
        _ => None,
    });
    flip(changes, sides, moments)
}

fn flip(
    changes: impl Iterator<Item = (Timestamp, Option<Ipv4Addr>)>,
    sides: &Sides,
    moments: Moments,
) -> Option<f64> {
    let (at, address) = changes.max_by_key(|(at, _)| *at)?;
    (address.is_some_and(|a| sides.new.contains(&a)) && at > moments.fault)
        .then(|| millis_between(moments.fault, at))
}

/// Milliseconds until all of `servers` answered the new address; none if one did not.
#[must_use]
pub fn dns_flip_ms(
    events: &[Event],
    servers: &BTreeSet<String>,
    sides: &Sides,
    moments: Moments,
) -> Option<f64> {
    let mut latest: Option<f64> = None;
    for server in servers {
        let ms = server_flip_ms(events, server, sides, moments)?;
        latest = Some(latest.map_or(ms, |l| l.max(ms)));
    }
    latest
}

/// The last counts of each DNS client: sent and failed.
#[must_use]
pub fn queries(events: &[Event]) -> BTreeMap<String, (u64, u64)> {
    let mut counts = BTreeMap::new();
    for event in events {
        if let Event::Queries { of, sent, failed } = event {
            counts.insert(of.clone(), (*sent, *failed));
        }
    }
    counts
}

/// Commits that were refused, and commits whose outcome is unknown.
#[must_use]
pub fn failed_writes(events: &[Event]) -> (u64, u64) {
    let of = |wanted| {
        let matches = |e: &&Event| matches!(e, Event::WriteFailed { outcome, .. } if *outcome == wanted);
        events.iter().filter(matches).count() as u64
    };
    (of(Outcome::Refused), of(Outcome::Unknown))
}

/// Commits a second in the time before `until`.
#[must_use]
pub fn rate(acks: &[Ack], until: Timestamp, over: Duration) -> f64 {
    let from = Timestamp(until.0.saturating_sub(u64::try_from(over.as_micros()).unwrap_or(u64::MAX)));
    let count = acks.iter().filter(|a| a.at > from && a.at <= until).count();
    // A count of a few seconds is far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    count / over.as_secs_f64()
}

/// Acknowledged rows that are not among `rows`.
#[must_use]
pub fn lost(acked: &BTreeSet<RowKey>, rows: &BTreeSet<RowKey>) -> Vec<RowKey> {
    acked.difference(rows).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 10);
    const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 10);

    fn sides() -> Sides {
        Sides { old: OLD, new: BTreeSet::from([NEW]) }
    }

    fn t(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn ack(ms: u64, address: Ipv4Addr) -> Event {
        Event::Ack { writer: 0, seq: ms, began: t(ms), at: t(ms), address }
    }

    fn moments(fault: u64, until: u64) -> Moments {
        Moments { fault: t(fault), until: t(until) }
    }

    #[test]
    fn the_write_gap_is_the_longest_pause_of_all_writers_from_the_last_commit_before_the_fault() {
        // Out of order, as events of several clients are.
        let events = [ack(900, OLD), ack(2500, NEW), ack(100, OLD), ack(1000, OLD), ack(2600, NEW)];
        let acks = acks(&events);
        assert_eq!(write_gap_ms(&acks, moments(1010, 3000)), Some(1500.0));
        let (from, to) = longest_pause(&acks, moments(1010, 3000)).unwrap();
        assert_eq!((from, to.unwrap().at), (t(1000), t(2500)));
    }

    #[test]
    fn writes_that_never_came_back_pause_until_the_end_and_no_load_has_no_gap() {
        let acks = acks(&[ack(1000, OLD)]);
        assert_eq!(write_gap_ms(&acks, moments(1010, 9000)), Some(8000.0));
        assert_eq!(longest_pause(&acks, moments(1010, 9000)).unwrap(), (t(1000), None));
        assert_eq!(write_gap_ms(&acks, moments(500, 9000)), None);
    }

    #[test]
    fn two_primaries_that_overlap_are_dual_writable_and_others_are_not() {
        let overlapping = acks(&[ack(1, OLD), ack(10, NEW), ack(25, OLD)]);
        assert_eq!(dual_writable_ms(&overlapping, &sides()), 15.0);
        let apart = acks(&[ack(1, OLD), ack(5, OLD), ack(10, NEW)]);
        assert_eq!(dual_writable_ms(&apart, &sides()), 0.0);
        assert_eq!(dual_writable_ms(&acks(&[ack(1, OLD)]), &sides()), 0.0);
    }

    #[test]
    fn dns_has_flipped_when_the_last_of_the_servers_answers_the_new_address_for_good() {
        let said = |server: &str, ms, address| Event::Answered {
            server: server.to_owned(),
            at: t(ms),
            address,
            code: String::new(),
        };
        let events = [
            said("a", 0, Some(OLD)),
            said("a", 1500, Some(NEW)),
            said("b", 0, Some(OLD)),
            said("b", 1200, Some(NEW)),
            said("b", 1300, None),
            said("b", 1800, Some(NEW)),
            said("c", 0, Some(OLD)),
        ];
        let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let m = moments(1000, 5000);
        assert_eq!(dns_flip_ms(&events, &of(&["a", "b"]), &sides(), m), Some(800.0));
        assert_eq!(dns_flip_ms(&events, &of(&["a", "b", "c"]), &sides(), m), None, "c never flipped");
        assert_eq!(
            dns_flip_ms(&events, &of(&["a"]), &sides(), moments(1000, 1400)),
            None,
            "not within observation"
        );
    }

    #[test]
    fn an_acknowledged_row_that_is_not_there_is_lost() {
        let acked = BTreeSet::from([(0, 1), (0, 2), (1, 1)]);
        let rows = BTreeSet::from([(0, 1), (1, 1), (1, 2)]);
        assert_eq!(lost(&acked, &rows), [(0, 2)]);
    }

    #[test]
    fn the_rate_counts_only_the_time_it_is_asked_for() {
        let acks = acks(&[ack(100, OLD), ack(1100, OLD), ack(1900, OLD), ack(2100, OLD)]);
        assert_eq!(rate(&acks, t(2000), Duration::from_secs(1)), 2.0);
    }
}
