//! The text as a tree in which every node knows its place.
//!
//! It is built from the parser's events, since a tree that keeps its mappings in hash maps forgets
//! that a key stood there twice. What configuration files do not need is refused: aliases and
//! anchors (they multiply), tags, keys that are not plain words, further documents.
//!
//! Invariants: a tree is at most [`DEPTH_MAX`] deep and has at most [`NODES_MAX`] nodes; the keys of
//! a mapping are distinct.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use crate::fields::quoted;
use crate::problem::Problems;

/// Longest text that is read: a thousand times the size of a usual file. Longer ones are refused.
pub(crate) const TEXT_MAX: usize = 1 << 20;

/// Deepest nesting. The format's own deepest place is 6; this leaves the message to the readers.
const DEPTH_MAX: usize = 16;

/// Most nodes: five thousand members with all their fields. Reading stops there.
const NODES_MAX: usize = 50_000;

/// Longest piece of a path that is kept of one key, so that many nodes under one long key cost
/// little.
const KEY_SHOWN_MAX: usize = 64;

/// Where a node stands, for its reader to complain about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub line: usize,
    pub column: usize,
    pub path: String,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it begins; a block mapping or list where its key stands, which is what a person looks for.
    pub place: Place,
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing: no value, `~` or `null`.
    Null,
    /// A word; `quoted` says that it can be nothing else than text.
    Scalar { text: String, quoted: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order written.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug)]
pub(crate) struct Key {
    pub text: String,
    pub place: Place,
}

/// The tree of `text`, or `None` with the problem that kept it from being read to its end.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let start = Place { line: 1, column: 1, path: String::new() };
    if text.len() > TEXT_MAX {
        problems.add(
            &start,
            format!("the file has {} bytes, more than {TEXT_MAX}", text.len()),
            "split what is generated off it",
        );
        return None;
    }
    let mut builder = Builder { open: Vec::new(), root: None, nodes: 0 };
    let mut parser = Parser::new_from_str(text);
    if let Err(stop) = builder.run(&mut parser, problems) {
        problems.add(&stop.place, stop.message, stop.hint);
        return None;
    }
    if builder.root.is_none() {
        problems.add(&start, "the file is empty", "begin it with `version: 1`");
    }
    builder.root
}

struct Stop {
    place: Place,
    message: String,
    hint: &'static str,
}

struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

/// A mapping or list whose end has not come yet.
enum Open {
    List {
        place: Place,
        items: Vec<Node>,
    },
    /// `lines` is where each key stood first.
    Map {
        place: Place,
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
        lines: HashMap<String, usize>,
    },
}

impl Builder {
    fn run(&mut self, parser: &mut Parser<'_, StrInput<'_>>, problems: &mut Problems) -> Result<(), Stop> {
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| Stop {
                place: self.here(*error.marker()),
                message: format!("not YAML: {}", error.info()),
                hint: "mind the indentation, and quote what holds `: `, `#` or a leading special character",
            })?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self.stop(
                            span,
                            "a second document begins",
                            "keep one document in a file",
                        ));
                    }
                }
                Event::Alias(_) => {
                    return Err(self.stop(span, "aliases are not read", "write the value out"));
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_decoration(span, anchor, tag.is_some())?;
                    self.scalar(text.into_owned(), style != ScalarStyle::Plain, span, problems)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_decoration(span, anchor, tag.is_some())?;
                    let place = self.enter(span)?;
                    self.open.push(Open::List { place, items: Vec::new() });
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_decoration(span, anchor, tag.is_some())?;
                    let place = self.enter(span)?;
                    self.open.push(Open::Map {
                        place,
                        entries: Vec::new(),
                        key: None,
                        lines: HashMap::new(),
                    });
                }
                Event::SequenceEnd | Event::MappingEnd => self.leave(problems),
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn refuse_decoration(&self, span: Span, anchor: usize, tagged: bool) -> Result<(), Stop> {
        if anchor != 0 {
            return Err(self.stop(
                span,
                "anchors are not read",
                "remove it, and quote a value that begins with `&`",
            ));
        }
        if tagged {
            return Err(self.stop(
                span,
                "tags are not read",
                "remove it, and quote a value that begins with `!`",
            ));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: String,
        quoted: bool,
        span: Span,
        problems: &mut Problems,
    ) -> Result<(), Stop> {
        self.count(span)?;
        if let Some(Open::Map { key: key @ None, place, .. }) = self.open.last_mut() {
            let path = extend(&place.path, &text);
            *key = Some(Key { text, place: at(span.start, path) });
            return Ok(());
        }
        let null = !quoted && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        let kind = if null { Kind::Null } else { Kind::Scalar { text, quoted } };
        // Nothing has no place of its own worth pointing at.
        let place = if null { self.owner(span) } else { at(span.start, self.path()) };
        self.put(Node { place, kind }, problems);
        Ok(())
    }

    fn enter(&mut self, span: Span) -> Result<Place, Stop> {
        self.count(span)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(self.stop(span, "nested too deeply", "look for a line that is indented too far"));
        }
        if matches!(self.open.last(), Some(Open::Map { key: None, .. })) {
            return Err(self.stop(span, "a key must be a word", "quote it if it begins with `{` or `[`"));
        }
        Ok(self.owner(span))
    }

    fn leave(&mut self, problems: &mut Problems) {
        let node = match self.open.pop() {
            Some(Open::List { place, items }) => Node { place, kind: Kind::List(items) },
            Some(Open::Map { place, entries, .. }) => Node { place, kind: Kind::Map(entries) },
            // The parser pairs starts and ends.
            None => return,
        };
        self.put(node, problems);
    }

    fn put(&mut self, node: Node, problems: &mut Problems) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, lines, .. }) => {
                let Some(key) = key.take() else { return };
                match lines.get(&key.text) {
                    None => {
                        lines.insert(key.text.clone(), key.place.line);
                        entries.push((key, node));
                    }
                    Some(line) => problems.add(
                        &key.place,
                        format!("{} stands here twice, first on line {line}", quoted(&key.text)),
                        "keep one of them",
                    ),
                }
            }
        }
    }

    fn count(&mut self, span: Span) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.stop(span, "the file has too many values", "split what is generated off it"));
        }
        Ok(())
    }

    /// The path of the node that comes next.
    fn path(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open::List { place, items }) => format!("{}[{}]", place.path, items.len()),
            Some(Open::Map { key: Some(key), .. }) => key.place.path.clone(),
            Some(Open::Map { place, .. }) => place.path.clone(),
        }
    }

    /// The place of the key the node that comes next belongs to; its own where it has none.
    fn owner(&self, span: Span) -> Place {
        match self.open.last() {
            Some(Open::Map { key: Some(key), .. }) => key.place.clone(),
            _ => at(span.start, self.path()),
        }
    }

    fn here(&self, mark: Marker) -> Place {
        at(mark, self.path())
    }

    fn stop(&self, span: Span, message: &str, hint: &'static str) -> Stop {
        Stop { place: self.here(span.start), message: message.to_owned(), hint }
    }
}

fn at(mark: Marker, path: String) -> Place {
    Place { line: mark.line().max(1), column: mark.col() + 1, path }
}

fn extend(path: &str, key: &str) -> String {
    let key: String = key.chars().take(KEY_SHOWN_MAX).collect();
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
