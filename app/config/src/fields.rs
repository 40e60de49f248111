//! Readers of mappings and of keyed collections. They add problems and go on.
//!
//! A reader returns `None` only after it added a problem; so whoever gets `None` stays silent.

use std::str::FromStr;

use serde_json::Value;

use crate::problem::Problems;
use crate::schema::{self, Need};
use crate::tree::{Kind, Node, Place};

/// Longest word that is searched for a near one, and longest that is repeated in a message.
const WORD_MAX: usize = 64;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub value: T,
    pub place: Place,
}

/// A reader of one node.
pub(crate) type Read<T> = fn(&Node, &mut Problems) -> Option<T>;

/// A mapping whose fields are taken one by one; what is left at the end is unknown.
pub(crate) struct Fields<'n, 'p> {
    place: &'n Place,
    entries: &'n [(crate::tree::Key, Node)],
    known: Vec<&'static str>,
    /// What each field takes, when that is asked.
    described: Vec<(&'static str, Option<Value>, Need)>,
    pub problems: &'p mut Problems,
}

impl<'n, 'p> Fields<'n, 'p> {
    /// Opens `node`; nothing at all counts as a mapping without fields.
    pub fn open(node: &'n Node, problems: &'p mut Problems) -> Option<Self> {
        if problems.describing && !matches!(node.kind, Kind::Map(_)) {
            return None;
        }
        let entries = match &node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            Kind::Scalar { .. } | Kind::List(_) => {
                problems.add(
                    &node.place,
                    "a mapping is wanted here",
                    "write `field: value` lines beneath it",
                );
                return None;
            }
        };
        Some(Self { place: &node.place, entries, known: Vec::new(), described: Vec::new(), problems })
    }

    /// Where the mapping stands.
    pub fn place(&self) -> &'n Place {
        self.place
    }

    /// The value of a field that may be absent, not yet read.
    pub fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.entries.iter().find(|(entry, _)| entry.text == key).map(|(_, node)| node)
    }

    /// Where the key stands, if it does.
    pub fn key_place(&self, key: &str) -> Option<&'n Place> {
        self.entries.iter().find(|(entry, _)| entry.text == key).map(|(entry, _)| &entry.place)
    }

    /// A field that may be absent.
    pub fn optional<T>(&mut self, key: &'static str, read: Read<T>) -> Option<At<T>> {
        self.describe(key, read, Need::Optional);
        let node = self.node(key)?;
        read(node, self.problems).map(|value| At { value, place: node.place.clone() })
    }

    /// A field that may not be absent.
    pub fn required<T>(&mut self, key: &'static str, example: &str, read: Read<T>) -> Option<At<T>> {
        if self.problems.describing {
            self.describe(key, read, Need::Required);
            return None;
        }
        if !self.entries.iter().any(|(entry, _)| entry.text == key) {
            self.known.push(key);
            self.problems.add(
                self.place,
                format!("field {} is missing", quoted(key)),
                format!("add `{key}: {example}`"),
            );
            return None;
        }
        self.optional(key, read)
    }

    /// Writes down what a field takes, when that is asked.
    pub fn describe<T>(&mut self, key: &'static str, read: Read<T>, need: Need) {
        if self.problems.describing {
            let schema = schema::describe(self.problems, read);
            self.described.push((key, schema, need));
        }
    }

    /// Complains about every field that nobody took.
    pub fn close(self) {
        if self.problems.describing {
            self.problems.described = Some(schema::object(self.described));
            return;
        }
        for (key, _) in self.entries {
            if self.known.iter().any(|known| *known == key.text) {
                continue;
            }
            let hint = match nearest(&key.text, self.known.iter().copied()) {
                Some(near) => format!("did you mean {}?", quoted(near)),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.problems.add(&key.place, format!("field {} is unknown", quoted(&key.text)), hint);
        }
    }
}

/// A mapping from names to values, in the order written.
pub(crate) fn keyed<K, T>(node: &Node, problems: &mut Problems, read: Read<T>) -> Option<Vec<(At<K>, T)>>
where
    K: FromStr,
    K::Err: std::fmt::Display,
{
    if problems.describing {
        if let Kind::Map(_) = node.kind {
            let value = schema::describe(problems, read).unwrap_or(Value::Bool(true));
            problems.described = Some(serde_json::json!({ "type": "object", "additionalProperties": value }));
        }
        return None;
    }
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::Null => &[],
        Kind::Scalar { .. } | Kind::List(_) => {
            problems.add(
                &node.place,
                "a mapping from names is wanted here",
                "write `NAME: …` lines beneath it",
            );
            return None;
        }
    };
    let mut found = Vec::new();
    for (key, node) in entries {
        let name = match key.text.parse::<K>() {
            Ok(value) => Some(At { value, place: key.place.clone() }),
            Err(error) => {
                problems.add(&key.place, error.to_string(), "rename it");
                None
            }
        };
        // The value is read in any case, for its own problems.
        let value = read(node, problems);
        if let (Some(name), Some(value)) = (name, value) {
            found.push((name, value));
        }
    }
    Some(found)
}

/// A list of what `read` reads.
pub(crate) fn list<T>(node: &Node, problems: &mut Problems, read: Read<T>) -> Option<Vec<At<T>>> {
    if problems.describing {
        if let Kind::List(_) = node.kind {
            let items = schema::describe(problems, read).unwrap_or(Value::Bool(true));
            problems.described = Some(serde_json::json!({ "type": "array", "items": items }));
        }
        return None;
    }
    let Kind::List(items) = &node.kind else {
        problems.add(&node.place, "a list is wanted here", "write `[…, …]` or `- …` lines");
        return None;
    };
    let found: Vec<At<T>> = items
        .iter()
        .filter_map(|item| read(item, problems).map(|value| At { value, place: item.place.clone() }))
        .collect();
    // One that could not be read was reported; the rest would be half a truth.
    (found.len() == items.len()).then_some(found)
}

/// `word` as it stands in a message: quoted, escaped and not too long.
pub(crate) fn quoted(word: &str) -> String {
    let mut shown: String = word.chars().take(WORD_MAX).collect();
    if shown.len() < word.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// What a reference to an unknown thing is answered with: the nearest name, or all there are.
pub(crate) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(word, known.clone()) {
        return format!("did you mean {}?", quoted(near));
    }
    let shown: Vec<&str> = known.take(9).collect();
    match shown.len() {
        0 => "there is none yet; add it".to_owned(),
        9 => format!("there are {}, …", shown[..8].join(", ")),
        _ => format!("there are {}", shown.join(", ")),
    }
}

/// The known word that differs least from `word`, if it differs by a third of its length at most.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop, change or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}
