//! Domain names in wire form, folded to lower case, so that equal names are equal bytes.
//!
//! RFC 1035 §3.1: a sequence of labels, each a length octet and that many octets, ended by the root's
//! zero octet; at most 63 octets a label, 255 a name. RFC 4343: only ASCII letters fold.
//!
//! [`Name`] is owned and cheap to clone, for what lives in a snapshot. [`NameBuf`] is of fixed size,
//! for the one name of a query: reading it allocates nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest label, RFC 1035 §2.3.4.
pub const LABEL_MAX: usize = 63;
/// Longest name with its length octets and the root, RFC 1035 §2.3.4.
pub const NAME_MAX: usize = 255;

/// Why something is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, a leading dot, or nothing at all.
    #[error("name {0:?} has an empty label")]
    EmptyLabel(String),
    /// A label of more than 63 octets.
    #[error("name {0:?} has a label of more than 63 octets")]
    LabelTooLong(String),
    /// More than 255 octets in wire form.
    #[error("name {0:?} is longer than 255 octets")]
    TooLong(String),
    /// A backslash not followed by a character or by three digits up to 255.
    #[error("name {0:?} has a broken escape; write \\. or \\DDD with DDD from 000 to 255")]
    Escape(String),
    /// Wire bytes that end inside a label, go on after the root, or hold a pointer.
    #[error("the wire form of a name is cut short, too long or compressed")]
    Wire,
}

/// A domain name: absolute, lower case, in uncompressed wire form with the root at its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl std::borrow::Borrow<[u8]> for Name {
    /// The wire form: equal, ordered and hashed as the name is.
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Name {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from([0u8].as_slice()))
    }

    /// Reads a name that takes up all of `wire`. Letters are folded.
    ///
    /// # Errors
    /// [`NameError::Wire`] when the bytes are not exactly one uncompressed name.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        let length = uncompressed_length(wire).ok_or(NameError::Wire)?;
        if length != wire.len() {
            return Err(NameError::Wire);
        }
        Ok(Self(wire.to_ascii_lowercase().into()))
    }

    /// Reads the name that `wire` begins with and tells how many octets it took.
    ///
    /// # Errors
    /// [`NameError::Wire`] when `wire` does not begin with an uncompressed name.
    pub fn prefix_of_wire(wire: &[u8]) -> Result<(Self, usize), NameError> {
        let length = uncompressed_length(wire).ok_or(NameError::Wire)?;
        Ok((Self(wire[..length].to_ascii_lowercase().into()), length))
    }

    /// The wire form, lower case, root included.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Number of labels, the root not counted.
    #[must_use]
    pub fn label_count(&self) -> usize {
        labels(&self.0).count()
    }

    /// The name without its first label; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Name> {
        parent(&self.0).map(|p| Name(p.into()))
    }

    /// True when this name is `ancestor` or lies below it.
    #[must_use]
    pub fn is_at_or_below(&self, ancestor: &Name) -> bool {
        is_at_or_below(&self.0, &ancestor.0)
    }

    /// True when the first label is `*`: the owner of a wildcard, RFC 4592 §2.1.1.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }
}

/// Length in octets of the uncompressed name at the start of `wire`.
fn uncompressed_length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*wire.get(at)?);
        if length == 0 {
            return (at < NAME_MAX).then_some(at + 1);
        }
        if length > LABEL_MAX {
            return None;
        }
        at += 1 + length;
    }
}

/// The labels of a valid wire name, without the root.
fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        if length == 0 {
            return None;
        }
        let label = &rest[1..=length];
        rest = &rest[1 + length..];
        Some(label)
    })
}

/// The valid wire name without its first label; `None` for the root.
pub(crate) fn parent(wire: &[u8]) -> Option<&[u8]> {
    match wire.first() {
        None | Some(0) => None,
        Some(length) => Some(&wire[1 + usize::from(*length)..]),
    }
}

/// True when the valid wire name `wire` is `ancestor` or lies below it. A plain suffix test would take
/// label content for a label boundary.
pub(crate) fn is_at_or_below(wire: &[u8], ancestor: &[u8]) -> bool {
    let mut rest = wire;
    while rest.len() > ancestor.len() {
        match parent(rest) {
            Some(up) => rest = up,
            None => return false,
        }
    }
    rest == ancestor
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads the text form of RFC 1035 §5.1 (`\.`, `\DDD`). The name is absolute whether or not it ends in a dot.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label: Vec<u8> = Vec::new();
        let mut open = true; // a label must follow
        let mut bytes = text.bytes();
        let finish = |label: &mut Vec<u8>, wire: &mut Vec<u8>| {
            if label.is_empty() {
                return Err(NameError::EmptyLabel(text.to_owned()));
            }
            let length = u8::try_from(label.len()).ok().filter(|n| usize::from(*n) <= LABEL_MAX);
            wire.push(length.ok_or_else(|| NameError::LabelTooLong(text.to_owned()))?);
            wire.append(label);
            Ok(())
        };
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => {
                    finish(&mut label, &mut wire)?;
                    open = false;
                }
                b'\\' => {
                    label.push(unescape(&mut bytes).ok_or_else(|| NameError::Escape(text.to_owned()))?);
                    open = true;
                }
                _ => {
                    label.push(byte.to_ascii_lowercase());
                    open = true;
                }
            }
        }
        if open {
            finish(&mut label, &mut wire)?;
        }
        wire.push(0);
        if wire.len() > NAME_MAX { Err(NameError::TooLong(text.to_owned())) } else { Ok(Self(wire.into())) }
    }
}

/// The octet after a backslash.
fn unescape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first.to_ascii_lowercase());
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).ok().map(|b| b.to_ascii_lowercase())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(&self.0, f)
    }
}

fn write_name(wire: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    if wire == [0] {
        return f.write_char('.');
    }
    for label in labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'@' | b'$' | b'(' | b')' => {
                    write!(f, "\\{}", char::from(byte))?
                }
                0x21..=0x7e => f.write_char(char::from(byte))?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
        f.write_char('.')?;
    }
    Ok(())
}

/// The name of a query, on the stack: lower case, uncompressed, never longer than 255 octets.
#[derive(Clone)]
pub struct NameBuf {
    bytes: [u8; NAME_MAX],
    length: u8,
}

impl NameBuf {
    /// Holds the root.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: [0; NAME_MAX], length: 1 }
    }

    /// Replaces what is held by the uncompressed name at the start of `wire`, folded, and returns the
    /// octets it took. On `None` (cut short, compressed, too long) the root is held.
    pub fn read(&mut self, wire: &[u8]) -> Option<usize> {
        match uncompressed_length(wire) {
            Some(length) => {
                let to = &mut self.bytes[..length];
                to.copy_from_slice(&wire[..length]);
                // Length octets are at most 63, below 'A': folding the whole name leaves them alone.
                to.make_ascii_lowercase();
                self.length = u8::try_from(length).expect("a name is at most 255 octets");
                Some(length)
            }
            None => {
                self.bytes[0] = 0;
                self.length = 1;
                None
            }
        }
    }

    /// The wire form, lower case, root included.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// An owned copy.
    #[must_use]
    pub fn to_name(&self) -> Name {
        Name(self.wire().into())
    }
}

impl Default for NameBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&Name> for NameBuf {
    fn from(name: &Name) -> Self {
        let mut buf = Self::new();
        buf.read(name.wire()).expect("a name is valid wire form");
        buf
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self.wire(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_and_read_back() {
        for (given, printed) in [
            (".", "."),
            ("Example.COM", "example.com."),
            ("a.b.", "a.b."),
            ("*.apps.example.", "*.apps.example."),
            (r"a\.b.c", r"a\.b.c."),
            (r"a\032b.\200", r"a\032b.\200."),
            (r"\065", "a."),
        ] {
            let name: Name = given.parse().unwrap();
            assert_eq!(name.to_string(), printed);
            assert_eq!(printed.parse::<Name>().unwrap(), name);
            assert_eq!(Name::from_wire(name.wire()).unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        for bad in ["", ".a", "a..b", r"a\", r"a\25", r"a\256", &long_label, &long_name] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?} was taken");
        }
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
        assert_eq!(longest.parse::<Name>().unwrap().wire().len(), NAME_MAX);
        for bad in [&b""[..], b"\x01", b"\x01a", b"\x01a\0\0", b"\xc0\x0c", b"\x40a\0"] {
            assert!(Name::from_wire(bad).is_err(), "{bad:?} was taken");
            assert!(bad == b"\x01a\0\0" || NameBuf::new().read(bad).is_none());
        }
    }

    #[test]
    fn a_name_is_below_its_ancestors_only_at_label_boundaries() {
        let name = |t: &str| t.parse::<Name>().unwrap();
        assert!(name("a.b.example").is_at_or_below(&name("b.example")));
        assert!(name("b.example").is_at_or_below(&name("b.example")));
        assert!(name("b.example").is_at_or_below(&Name::root()));
        assert!(!name("ab.example").is_at_or_below(&name("b.example")));
        assert!(!name("example").is_at_or_below(&name("b.example")));
        // The octets of "b.example" stand at the end of this one label, but it is no boundary.
        assert!(!name(r"x\001b.example").is_at_or_below(&name("b.example")));
    }
}
