//! Sets of MySQL global transaction identifiers.
//!
//! Text form (MySQL Reference Manual, "GTID Format and Storage"):
//! `uuid:interval[:interval]…[:tag:interval…][, uuid:…]`, an interval being `n` or `n-m`, both ends
//! in the set. Tags came with 8.3 and follow the intervals of the untagged part.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ServerUuid;

/// A set of GTIDs. Intervals are sorted, disjoint, not adjacent and never empty, so two equal sets
/// are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidSet {
    /// Key: uuid and tag (empty for untagged). Value: inclusive intervals.
    sources: BTreeMap<(ServerUuid, String), Vec<(u64, u64)>>,
}

/// Why a text is not a GTID set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gtid set {text:?}: {why}")]
pub struct GtidSetError {
    text: String,
    why: String,
}

impl GtidSet {
    /// Largest transaction number MySQL allows: 2⁶³−1, exclusive in its own source, so 2⁶³−2.
    pub const NUMBER_MAX: u64 = (1 << 63) - 2;

    /// The empty set.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The set `uuid:first-last`. Panics when the interval is empty or starts at 0.
    #[must_use]
    pub fn interval(uuid: ServerUuid, first: u64, last: u64) -> Self {
        assert!(first >= 1 && first <= last && last <= Self::NUMBER_MAX, "an interval is 1 ≤ first ≤ last");
        let mut sources = BTreeMap::new();
        sources.insert((uuid, String::new()), vec![(first, last)]);
        Self { sources }
    }

    /// True when there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Number of transactions.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sources.values().flatten().map(|(a, b)| b - a + 1).sum()
    }

    /// Everything in either.
    #[must_use]
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut sources = self.sources.clone();
        for (key, intervals) in &other.sources {
            match sources.get_mut(key) {
                None => {
                    sources.insert(key.clone(), intervals.clone());
                }
                Some(mine) if mine == intervals => {}
                Some(mine) => {
                    mine.extend_from_slice(intervals);
                    normalise(mine);
                }
            }
        }
        GtidSet { sources }
    }

    /// Everything here that is not in `other`: MySQL's `GTID_SUBTRACT`.
    #[must_use]
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        let mut sources = BTreeMap::new();
        for (key, intervals) in &self.sources {
            let left = match other.sources.get(key) {
                None => intervals.clone(),
                Some(holes) => subtract_intervals(intervals, holes),
            };
            if !left.is_empty() {
                sources.insert(key.clone(), left);
            }
        }
        GtidSet { sources }
    }

    /// True when all of `other` is here: MySQL's `GTID_SUBSET(other, self)`.
    #[must_use]
    pub fn contains(&self, other: &GtidSet) -> bool {
        other.sources.iter().all(|(key, wanted)| match self.sources.get(key) {
            None => false,
            Some(have) => wanted.iter().all(|(a, b)| have.iter().any(|(x, y)| x <= a && b <= y)),
        })
    }

    /// The part that `uuid` itself wrote (all tags).
    #[must_use]
    pub fn of(&self, uuid: &ServerUuid) -> GtidSet {
        let sources = self
            .sources
            .iter()
            .filter(|((u, _), _)| u == uuid)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        GtidSet { sources }
    }

    /// Highest number that `uuid` wrote without a tag; 0 when none.
    #[must_use]
    pub fn last_of(&self, uuid: &ServerUuid) -> u64 {
        self.sources.get(&(uuid.clone(), String::new())).and_then(|v| v.last()).map_or(0, |(_, b)| *b)
    }

    /// Each source with the highest number that it wrote without a tag.
    pub fn last_numbers(&self) -> impl Iterator<Item = (&ServerUuid, u64)> {
        let untagged = self.sources.iter().filter(|((_, tag), _)| tag.is_empty());
        untagged.filter_map(|((uuid, _), intervals)| Some((uuid, intervals.last()?.1)))
    }

    /// Adds one untagged transaction.
    pub fn insert(&mut self, uuid: &ServerUuid, number: u64) {
        assert!((1..=Self::NUMBER_MAX).contains(&number), "a transaction number is at least 1");
        let intervals = self.sources.entry((uuid.clone(), String::new())).or_default();
        match intervals.last_mut() {
            Some((_, b)) if *b + 1 == number => *b = number,
            Some((a, b)) if *a <= number && number <= *b => {}
            _ => {
                intervals.push((number, number));
                normalise(intervals);
            }
        }
    }
}

/// Sorts and joins what overlaps or touches.
fn normalise(intervals: &mut Vec<(u64, u64)>) {
    intervals.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
    for &(a, b) in intervals.iter() {
        match out.last_mut() {
            Some((_, y)) if a <= y.saturating_add(1) => *y = (*y).max(b),
            _ => out.push((a, b)),
        }
    }
    *intervals = out;
}

fn subtract_intervals(from: &[(u64, u64)], holes: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    for &(a, b) in from {
        let mut start = a;
        for &(x, y) in holes {
            if y < start {
                continue;
            }
            if x > b {
                break;
            }
            if x > start {
                out.push((start, x - 1));
            }
            start = y + 1;
        }
        if start <= b {
            out.push((start, b));
        }
    }
    out
}

impl FromStr for GtidSet {
    type Err = GtidSetError;

    fn from_str(text: &str) -> Result<Self, GtidSetError> {
        let fail = |why: String| GtidSetError { text: text.to_owned(), why };
        let mut sources: BTreeMap<(ServerUuid, String), Vec<(u64, u64)>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut fields = part.split(':').map(str::trim);
            let uuid: ServerUuid = fields
                .next()
                .expect("split yields at least one field")
                .parse()
                .map_err(|e: crate::IdError| fail(e.to_string()))?;
            let mut tag = String::new();
            let mut any = false;
            for field in fields {
                if field.starts_with(|c: char| c.is_ascii_digit()) {
                    let interval = parse_interval(field).map_err(&fail)?;
                    sources.entry((uuid.clone(), tag.clone())).or_default().push(interval);
                    any = true;
                } else {
                    tag = parse_tag(field).map_err(&fail)?;
                }
            }
            if !any {
                return Err(fail(format!("source {uuid} has no interval")));
            }
        }
        for intervals in sources.values_mut() {
            normalise(intervals);
        }
        Ok(GtidSet { sources })
    }
}

fn parse_interval(field: &str) -> Result<(u64, u64), String> {
    let number = |t: &str| {
        t.trim()
            .parse::<u64>()
            .ok()
            .filter(|n| (1..=GtidSet::NUMBER_MAX).contains(n))
            .ok_or_else(|| format!("{t:?} is not a transaction number"))
    };
    let (a, b) = match field.split_once('-') {
        None => {
            let n = number(field)?;
            (n, n)
        }
        Some((a, b)) => (number(a)?, number(b)?),
    };
    if a <= b { Ok((a, b)) } else { Err(format!("interval {field:?} ends before it begins")) }
}

/// A tag: a letter or underscore, then up to 31 letters, digits, underscores; folded to lower case.
fn parse_tag(field: &str) -> Result<String, String> {
    let lower = field.to_ascii_lowercase();
    let mut chars = lower.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if first && lower.len() <= 32 && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(lower)
    } else {
        Err(format!("{field:?} is neither an interval nor a tag"))
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<&ServerUuid> = None;
        for ((uuid, tag), intervals) in &self.sources {
            match last {
                Some(u) if u == uuid => {}
                Some(_) => write!(f, ",{uuid}")?,
                None => write!(f, "{uuid}")?,
            }
            last = Some(uuid);
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for (a, b) in intervals {
                if a == b { write!(f, ":{a}")? } else { write!(f, ":{a}-{b}")? }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for GtidSet {
    type Error = GtidSetError;
    fn try_from(text: String) -> Result<Self, GtidSetError> {
        text.parse()
    }
}

impl From<GtidSet> for String {
    fn from(set: GtidSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.parse().expect("valid set")
    }

    #[test]
    fn text_is_normalised_and_read_back() {
        for (given, printed) in [
            ("".to_owned(), "".to_owned()),
            (format!("{A}:1"), format!("{A}:1")),
            (format!("{A}:5-7:1-4"), format!("{A}:1-7")),
            (format!("{A}:1-2:5,\n{B}:9"), format!("{A}:1-2:5,{B}:9")),
            (format!("{A}:1-3:Red:4-5"), format!("{A}:1-3:red:4-5")),
        ] {
            let parsed = set(&given);
            assert_eq!(parsed.to_string(), printed);
            assert_eq!(set(&printed), parsed);
        }
        for bad in ["x", A, &format!("{A}:0"), &format!("{A}:3-2"), &format!("{A}:9tag:1")] {
            assert!(bad.parse::<GtidSet>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn set_algebra_follows_the_manual() {
        let left = set(&format!("{A}:1-10,{B}:1-5"));
        let right = set(&format!("{A}:3-4:8"));
        assert_eq!(left.subtract(&right), set(&format!("{A}:1-2:5-7:9-10,{B}:1-5")));
        assert_eq!(left.subtract(&right).union(&right), left);
        assert!(left.contains(&right) && !right.contains(&left));
        assert_eq!(left.count(), 15);
        assert_eq!(left.last_of(&A.parse().expect("uuid")), 10);
        let mut grown = GtidSet::empty();
        for n in [1, 2, 5, 3, 4, 4] {
            grown.insert(&A.parse().expect("uuid"), n);
        }
        assert_eq!(grown, set(&format!("{A}:1-5")));
    }
}
