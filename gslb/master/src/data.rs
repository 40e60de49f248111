//! Record data from words.

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXLOWER_PERMISSIVE};
use gslb_core::{NAME_MAX, RecordType};

use crate::fields::{Field, algorithm, certificate_type, fields};
use crate::lex::{Entry, Lexer, Word, unescape};
use crate::{special, svcb};

/// Most octets of a record's data, RFC 1035 §3.2.1.
const DATA_MAX: usize = 65_535;
const LABEL_MAX: usize = 63;

/// Reads `text` as data of `record_type`, such as `10 mail.example.com.` for MX, with `origin` (a name in wire form) below
/// which names without a last dot are. The wire form comes back, names uncompressed and with their case.
///
/// # Errors
/// What is wrong, for people.
pub fn data(record_type: RecordType, text: &str, origin: &[u8]) -> Result<Vec<u8>, String> {
    let mut lexer = Lexer::new(text.as_bytes());
    let entry = lexer.next().transpose().map_err(|torn| torn.why.to_owned())?;
    let words = entry.map_or(vec![], |Entry { words, .. }| words);
    if lexer.next().is_some() {
        return Err("it goes on behind the end of its line".into());
    }
    encode(record_type, &words, origin)
}

/// Data of a type from the words behind it.
pub(crate) fn encode(record_type: RecordType, words: &[Word<'_>], origin: &[u8]) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    let mut rest = Words { words, at: 0, origin };
    if words.first().is_some_and(|w| w.is("\\#")) {
        rest.at = 1;
        generic(&mut rest, &mut data)?;
    } else {
        let Some(fields) = fields(record_type) else {
            return Err(format!(
                "{record_type} has no form of its own here; write \\# LENGTH HEX (RFC 3597)"
            ));
        };
        for field in fields {
            put(*field, &mut rest, &mut data)?;
        }
    }
    if let Some(word) = rest.words.get(rest.at) {
        return Err(format!("{:?} is more than {record_type} data has", word.text()));
    }
    if data.len() > DATA_MAX {
        return Err(format!("it takes {} octets, and a record holds {DATA_MAX}", data.len()));
    }
    Ok(data)
}

/// The words that are left.
pub(crate) struct Words<'w, 't> {
    words: &'w [Word<'t>],
    at: usize,
    pub(crate) origin: &'w [u8],
}

impl<'w, 't> Words<'w, 't> {
    pub(crate) fn peek(&self) -> Option<&'w Word<'t>> {
        self.words.get(self.at)
    }

    pub(crate) fn next(&mut self, what: &str) -> Result<&'w Word<'t>, String> {
        let word = self.words.get(self.at).ok_or_else(|| format!("{what} is missing"))?;
        self.at += 1;
        Ok(word)
    }

    pub(crate) fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, String> {
        let word = self.next(what)?.text();
        let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        word.parse().ok().filter(|_| digits).ok_or_else(|| format!("{word:?} is no {what}"))
    }

    /// What is left, as one word.
    fn joined(&mut self, what: &str) -> Result<String, String> {
        let mut all = self.next(what)?.text();
        while let Some(word) = self.peek() {
            all.push_str(&word.text());
            self.at += 1;
        }
        Ok(all)
    }
}

/// `LENGTH HEX…`, RFC 3597 §5.
fn generic(words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    let length: usize = words.number("length")?;
    if length > 0 {
        hex(&words.joined("data in hexadecimal")?, data)?;
    }
    if data.len() == length { Ok(()) } else { Err(format!("it says {length} octets and has {}", data.len())) }
}

fn put(field: Field, words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    match field {
        Field::Name => {
            let word = words.next("name")?;
            data.extend_from_slice(&name(word.raw, words.origin)?);
        }
        Field::U8 => data.push(words.number("number from 0 to 255")?),
        Field::U16 => data.extend_from_slice(&words.number::<u16>("number from 0 to 65535")?.to_be_bytes()),
        Field::U32 => data.extend_from_slice(&words.number::<u32>("number of 32 bits")?.to_be_bytes()),
        Field::Time => {
            let word = words.next("time")?.text();
            let seconds = time(&word).ok_or_else(|| format!("{word:?} is no time"))?;
            data.extend_from_slice(&seconds.to_be_bytes());
        }
        Field::V4 => data.extend_from_slice(&v4(&words.next("IPv4 address")?.text())?),
        Field::V6 => data.extend_from_slice(&v6(&words.next("IPv6 address")?.text())?),
        Field::Text => text(words.next("text")?, data)?,
        Field::Texts => {
            text(words.next("text")?, data)?;
            while let Some(word) = words.peek() {
                words.at += 1;
                text(word, data)?;
            }
        }
        Field::MaybeText => {
            if words.peek().is_some() {
                text(words.next("text")?, data)?;
            }
        }
        Field::Rest => data.extend_from_slice(&octets(words.next("value")?.raw)?),
        Field::Tag => {
            let tag = words.next("tag")?.text();
            let good = !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric());
            let length = u8::try_from(tag.len()).ok().filter(|_| good);
            data.push(length.ok_or_else(|| format!("{tag:?} is no tag of letters and digits"))?);
            data.extend_from_slice(tag.as_bytes());
        }
        // A key that is given up, and a hash of nothing, are written as 0 or not at all.
        Field::Hex => hex(&words.joined("data in hexadecimal")?, data)?,
        Field::Base64 => base64(&words.joined("data in base64")?, data)?,
        Field::Salt => {
            let word = words.next("salt")?.text();
            let mut salt = Vec::new();
            if word != "-" {
                hex(&word, &mut salt)?;
            }
            counted(&salt, data)?;
        }
        Field::Hash => {
            let word = words.next("hash")?.text();
            let hash = BASE32HEX_NOPAD.decode(word.to_ascii_uppercase().as_bytes());
            counted(&hash.map_err(|_| format!("{word:?} is no base32"))?, data)?;
        }
        Field::Type => {
            let word = words.next("type")?.text();
            let covered: RecordType = word.parse().map_err(|_| format!("{word:?} is no record type"))?;
            data.extend_from_slice(&covered.0.to_be_bytes());
        }
        Field::Algorithm => {
            let word = words.next("algorithm")?.text();
            data.push(algorithm(&word).ok_or_else(|| format!("{word:?} is no algorithm"))?);
        }
        Field::CertificateType => {
            let word = words.next("certificate type")?.text();
            let number = certificate_type(&word).ok_or_else(|| format!("{word:?} is no certificate type"))?;
            data.extend_from_slice(&number.to_be_bytes());
        }
        Field::Moment => {
            let word = words.next("time")?.text();
            let seconds = special::moment(&word).ok_or_else(|| format!("{word:?} is no YYYYMMDDHHmmSS"))?;
            data.extend_from_slice(&seconds.to_be_bytes());
        }
        Field::Types => types(words, data)?,
        Field::Eui(count) => {
            let word = words.next("address")?.text();
            let pairs: Option<Vec<u8>> = word
                .split('-')
                .map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None })
                .collect();
            let pairs = pairs.filter(|p| p.len() == count);
            data.extend_from_slice(&pairs.ok_or_else(|| format!("{word:?} is no EUI of {count} octets"))?);
        }
        Field::Quads => {
            let word = words.next("identifier")?.text();
            let quads: Option<Vec<u16>> = word
                .split(':')
                .map(|q| if (1..=4).contains(&q.len()) { u16::from_str_radix(q, 16).ok() } else { None })
                .collect();
            let quads = quads.filter(|q| q.len() == 4);
            for quad in quads.ok_or_else(|| format!("{word:?} is not four groups of hexadecimal digits"))? {
                data.extend_from_slice(&quad.to_be_bytes());
            }
        }
        Field::Nsap => {
            let word = words.next("NSAP address")?.text();
            let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
            let digits = digits.ok_or_else(|| format!("{word:?} does not begin with 0x"))?;
            hex(&digits.replace('.', ""), data)?;
        }
        Field::Parameters => svcb::parameters(words, data)?,
        Field::Location => special::location(words, data)?,
        Field::Prefixes => special::prefixes(words, data)?,
        Field::Gateway => special::gateway(words, data)?,
    }
    Ok(())
}

/// The wire form of a name; without a last dot it is below `origin`, and `@` is that itself.
pub(crate) fn name(raw: &[u8], origin: &[u8]) -> Result<Vec<u8>, String> {
    let told = || String::from_utf8_lossy(raw).into_owned();
    if raw == b"@" {
        return Ok(origin.to_vec());
    }
    if raw == b"." {
        return Ok(vec![0]);
    }
    let mut wire = Vec::with_capacity(raw.len() + 2);
    let mut label = Vec::new();
    let mut at = 0;
    let mut absolute = false;
    while at < raw.len() {
        absolute = false;
        match raw[at] {
            b'.' => {
                close(&mut label, &mut wire).map_err(|why| format!("name {:?} {why}", told()))?;
                absolute = true;
                at += 1;
            }
            b'\\' => {
                let (octet, taken) =
                    unescape(raw, at).ok_or_else(|| format!("name {:?} has a broken escape", told()))?;
                label.push(octet);
                at += taken;
            }
            octet => {
                label.push(octet);
                at += 1;
            }
        }
    }
    if absolute {
        wire.push(0);
    } else {
        close(&mut label, &mut wire).map_err(|why| format!("name {:?} {why}", told()))?;
        wire.extend_from_slice(origin);
    }
    if wire.len() > NAME_MAX {
        return Err(format!("name {:?} is longer than {NAME_MAX} octets", told()));
    }
    Ok(wire)
}

fn close(label: &mut Vec<u8>, wire: &mut Vec<u8>) -> Result<(), &'static str> {
    if label.is_empty() {
        return Err("has an empty label");
    }
    let length = u8::try_from(label.len()).ok().filter(|l| usize::from(*l) <= LABEL_MAX);
    wire.push(length.ok_or("has a label of more than 63 octets")?);
    wire.append(label);
    Ok(())
}

/// Seconds: a number, or numbers with the units w, d, h, m, s.
pub(crate) fn time(word: &str) -> Option<u32> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mut total, mut number) = (0_u64, None::<u64>);
    for c in word.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            'w' => 604_800,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    u32::try_from(total.checked_add(number.unwrap_or(0))?).ok()
}

pub(crate) fn v4(word: &str) -> Result<[u8; 4], String> {
    let address: std::net::Ipv4Addr = word.parse().map_err(|_| format!("{word:?} is no IPv4 address"))?;
    Ok(address.octets())
}

pub(crate) fn v6(word: &str) -> Result<[u8; 16], String> {
    let address: std::net::Ipv6Addr = word.parse().map_err(|_| format!("{word:?} is no IPv6 address"))?;
    Ok(address.octets())
}

/// Octets of a word without its escapes.
pub(crate) fn octets(raw: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'\\' {
            let (octet, taken) = unescape(raw, at)
                .ok_or_else(|| format!("{:?} has a broken escape", String::from_utf8_lossy(raw)))?;
            out.push(octet);
            at += taken;
        } else {
            out.push(raw[at]);
            at += 1;
        }
    }
    Ok(out)
}

fn text(word: &Word<'_>, data: &mut Vec<u8>) -> Result<(), String> {
    counted(&octets(word.raw)?, data)
}

/// With a length octet before it.
fn counted(octets: &[u8], data: &mut Vec<u8>) -> Result<(), String> {
    let length = u8::try_from(octets.len())
        .map_err(|_| format!("a string of {} octets; 255 are the most", octets.len()))?;
    data.push(length);
    data.extend_from_slice(octets);
    Ok(())
}

fn hex(digits: &str, data: &mut Vec<u8>) -> Result<(), String> {
    let octets = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    data.extend_from_slice(&octets.map_err(|e| format!("{digits:?} is no hexadecimal: {e}"))?);
    Ok(())
}

pub(crate) fn base64(digits: &str, data: &mut Vec<u8>) -> Result<(), String> {
    let octets = BASE64.decode(digits.as_bytes());
    data.extend_from_slice(&octets.map_err(|e| format!("{digits:?} is no base64: {e}"))?);
    Ok(())
}

/// RFC 4034 §4.1.2: windows of 256 types, each with as many octets as it needs.
fn types(words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    let mut windows = std::collections::BTreeMap::<u8, Vec<u8>>::new();
    while words.peek().is_some() {
        let word = words.next("type")?.text();
        let listed: RecordType = word.parse().map_err(|_| format!("{word:?} is no record type"))?;
        let [window, bit] = listed.0.to_be_bytes();
        let bits = windows.entry(window).or_default();
        let octet = usize::from(bit / 8);
        if bits.len() <= octet {
            bits.resize(octet + 1, 0);
        }
        bits[octet] |= 0x80 >> (bit % 8);
    }
    for (window, bits) in windows {
        data.push(window);
        counted(&bits, data)?;
    }
    Ok(())
}
