//! Entries to records: owners, TTLs, classes and directives.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gslb_core::{Name, RecordType};

use crate::data::{encode, name, time};
use crate::lex::{Entry, Lexer, Word};

/// Files included one by another, at most.
const DEPTH_MAX: usize = 16;
/// Files included in all, at most: one that includes itself some times over would be read for ever.
const INCLUDES_MAX: usize = 1_000;
/// What is wrong beyond this many is not told.
const FAULTS_MAX: usize = 100;
/// RFC 2181 §8: a TTL has 31 bits.
const TTL_MAX: u32 = 0x7fff_ffff;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub place: Place,
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub record_type: RecordType,
    /// Its TTL in seconds; none where neither it nor anything before it says one.
    pub ttl: Option<u32>,
    /// Its data in wire form, names uncompressed.
    pub data: Vec<u8>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, and what to do.
    pub why: String,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Its records, in their order.
    pub records: Vec<Record>,
    /// What is wrong; the records are of use only without any.
    pub faults: Vec<Fault>,
}

/// Reads a master file. `origin` is what names without a last dot are below until `$ORIGIN` says otherwise. `include`
/// gives an included file's octets, or says why it cannot be read, by its path, which is as it is written where it is absolute, and
/// else beside the file that names it.
pub fn read(
    file: &Path,
    text: &[u8],
    origin: &Name,
    include: &mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
) -> Read {
    let mut reader = Reader { read: Read::default(), include, ttl: None, last_ttl: None, included: 0 };
    reader.file(file, text, origin.wire().to_vec(), None, 0);
    reader.read
}

struct Reader<'i> {
    read: Read,
    include: &'i mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
    /// Of the last `$TTL`.
    ttl: Option<u32>,
    /// Of the last record that said one, RFC 1035 §5.1.
    last_ttl: Option<u32>,
    included: usize,
}

impl Reader<'_> {
    fn fault(&mut self, place: &Place, why: String) {
        if self.read.faults.len() < FAULTS_MAX {
            self.read.faults.push(Fault { place: place.clone(), why });
        }
    }

    fn file(&mut self, file: &Path, text: &[u8], mut origin: Vec<u8>, mut owner: Option<Name>, depth: usize) {
        let path: Arc<Path> = file.into();
        let mut lexer = Lexer::new(text);
        while let Some(entry) = lexer.next() {
            let place = |line| Place { file: path.clone(), line };
            let entry = match entry {
                Ok(entry) => entry,
                Err(torn) => {
                    self.fault(&place(torn.line), torn.why.to_owned());
                    continue;
                }
            };
            let place = place(entry.line);
            let directive = !entry.indented && entry.words[0].raw.starts_with(b"$") && !entry.words[0].quoted;
            let done = if directive {
                self.directive(&entry, &place, &mut origin, owner.as_ref(), depth)
            } else {
                self.record(&entry, &place, &origin, &mut owner)
            };
            if let Err(why) = done {
                self.fault(&place, why);
            }
        }
    }

    fn directive(
        &mut self,
        entry: &Entry<'_>,
        place: &Place,
        origin: &mut Vec<u8>,
        owner: Option<&Name>,
        depth: usize,
    ) -> Result<(), String> {
        let (word, rest) = entry.words.split_first().expect("an entry has a word");
        let most = |count: usize| match rest.get(count) {
            Some(more) => Err(format!("{:?} is more than {} takes", more.text(), word.text())),
            None => Ok(()),
        };
        let first = rest.first().ok_or_else(|| format!("{} says nothing", word.text()))?;
        if word.is("$ORIGIN") {
            most(1)?;
            *origin = name(first.raw, origin)?;
        } else if word.is("$TTL") {
            most(1)?;
            self.ttl = Some(ttl(&first.text()).ok_or_else(|| format!("{:?} is no TTL", first.text()))?);
        } else if word.is("$INCLUDE") {
            most(2)?;
            if depth + 1 >= DEPTH_MAX {
                return Err(format!("files include one another {DEPTH_MAX} deep"));
            }
            self.included += 1;
            if self.included > INCLUDES_MAX {
                return Err(format!("more than {INCLUDES_MAX} files are included"));
            }
            let within = rest.get(1).map_or_else(|| Ok(origin.clone()), |w| name(w.raw, origin))?;
            let written = PathBuf::from(first.text());
            let path = place.file.parent().unwrap_or(Path::new("")).join(written);
            let text =
                (self.include)(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            // RFC 1035 §5.1: origin and owner of this file stay as they are.
            self.file(&path, &text, within, owner.cloned(), depth + 1);
        } else {
            return Err(format!("{} is not known; $ORIGIN, $TTL and $INCLUDE are", word.text()));
        }
        Ok(())
    }

    fn record(
        &mut self,
        entry: &Entry<'_>,
        place: &Place,
        origin: &[u8],
        owner: &mut Option<Name>,
    ) -> Result<(), String> {
        let mut words = entry.words.as_slice();
        if !entry.indented {
            let (first, rest) = words.split_first().expect("an entry has a word");
            // Whatever is wrong behind it, the next record without an owner is this one's.
            let wire = name(first.raw, origin)?;
            *owner = Some(Name::from_wire(&wire).expect("it was just written"));
            words = rest;
        }
        let owner = owner.clone().ok_or("the first record has no owner")?;
        let (said, record_type, words) = head(words)?;
        if let Some(ttl) = said {
            self.last_ttl = Some(ttl);
        }
        let data =
            encode(record_type, words, origin).map_err(|why| format!("{record_type} of {owner}: {why}"))?;
        // RFC 2308 §4: $TTL goes before what the last record said.
        let ttl = said.or(self.ttl).or(self.last_ttl);
        self.read.records.push(Record { place: place.clone(), owner, record_type, ttl, data });
        Ok(())
    }
}

fn ttl(text: &str) -> Option<u32> {
    time(text).filter(|t| *t <= TTL_MAX)
}

/// TTL and class in either order, each if one likes, then the type.
fn head<'w, 't>(mut words: &'w [Word<'t>]) -> Result<(Option<u32>, RecordType, &'w [Word<'t>]), String> {
    let (mut said, mut class) = (None, false);
    loop {
        let (word, rest) = words.split_first().ok_or("a record without a type")?;
        words = rest;
        let text = word.text();
        if word.quoted {
            return Err(format!("{text:?} stands where a type is wanted"));
        }
        if said.is_none() && text.starts_with(|c: char| c.is_ascii_digit()) {
            said = Some(ttl(&text).ok_or_else(|| format!("{text:?} is no TTL"))?);
        } else if !class && (word.is("IN") || word.is("CLASS1")) {
            class = true;
        } else if !class && ["CH", "CS", "HS"].iter().any(|c| word.is(c)) {
            return Err(format!("class {text} is not served; IN is"));
        } else {
            let record_type: RecordType = text
                .parse()
                .map_err(|_| format!("{text:?} is no record type; any may be given as TYPEnnn"))?;
            return Ok((said, record_type, words));
        }
    }
}
