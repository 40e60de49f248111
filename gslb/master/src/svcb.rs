//! Service parameters, RFC 9460 §2.1 and appendix A.

use std::collections::BTreeMap;

use crate::data::{Words, base64, octets, v4, v6};

const KEYS: [&str; 9] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];

/// `key[=value]` up to the end, sent in the order of their numbers, each once.
pub(crate) fn parameters(words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    let alias = data[..2] == [0, 0];
    let mut all = BTreeMap::<u16, Vec<u8>>::new();
    while let Some(word) = words.peek() {
        let raw = word.raw;
        words.next("parameter")?;
        let (key, value) = match raw.iter().position(|b| *b == b'=') {
            None => (raw, None),
            // `key="a b"`: the value is the next word, and begins where this one ends.
            Some(at) if at + 1 == raw.len() && words.peek().is_some_and(|next| next.quoted) => {
                (&raw[..at], Some(words.next("value")?.raw))
            }
            Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        };
        let key = String::from_utf8_lossy(key).into_owned();
        let number = number(&key).ok_or_else(|| format!("{key:?} is no service parameter"))?;
        let encoded = encode(number, value).map_err(|why| format!("{key}: {why}"))?;
        if all.insert(number, encoded).is_some() {
            return Err(format!("{key} is given twice"));
        }
    }
    if alias && !all.is_empty() {
        return Err("an alias (priority 0) has no parameters".into());
    }
    if let Some(mandatory) = all.get(&0) {
        for key in mandatory.chunks(2) {
            let key = u16::from_be_bytes([key[0], key[1]]);
            if key == 0 || !all.contains_key(&key) {
                return Err("mandatory names what is not given, or itself".into());
            }
        }
    }
    // RFC 9460 §7.1.1: without alpn it would leave no protocol.
    if all.contains_key(&2) && !all.contains_key(&1) {
        return Err("no-default-alpn needs alpn".into());
    }
    for (key, value) in all {
        data.extend_from_slice(&key.to_be_bytes());
        let length =
            u16::try_from(value.len()).map_err(|_| "a parameter of more than 65535 octets".to_owned())?;
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(&value);
    }
    Ok(())
}

fn number(key: &str) -> Option<u16> {
    if let Some(known) = KEYS.iter().position(|k| *k == key) {
        return u16::try_from(known).ok();
    }
    let digits = key.strip_prefix("key")?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let number: u16 =
        digits.parse().ok().filter(|_| canonical && digits.bytes().all(|b| b.is_ascii_digit()))?;
    (number != u16::MAX).then_some(number)
}

fn encode(key: u16, value: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let given = || value.filter(|v| !v.is_empty()).ok_or_else(|| "it needs a value".to_owned());
    let text = || given().map(|v| String::from_utf8_lossy(v).into_owned());
    let mut out = Vec::new();
    match key {
        0 => {
            let mut keys = Vec::new();
            for part in text()?.split(',') {
                keys.push(number(part).ok_or_else(|| format!("{part:?} is no service parameter"))?);
            }
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("a parameter is named twice".into());
            }
            keys.iter().for_each(|k| out.extend_from_slice(&k.to_be_bytes()));
        }
        1 => {
            for protocol in list(&octets(given()?)?)? {
                let length = u8::try_from(protocol.len()).ok().filter(|l| *l > 0);
                out.push(length.ok_or("a protocol has 1 to 255 octets")?);
                out.extend_from_slice(&protocol);
            }
        }
        2 | 8 if value.is_none() => {}
        2 | 8 => return Err("it takes no value".into()),
        3 => out.extend_from_slice(&text()?.parse::<u16>().map_err(|_| "no port".to_owned())?.to_be_bytes()),
        4 => {
            for address in text()?.split(',') {
                out.extend_from_slice(&v4(address)?);
            }
        }
        5 => base64(&text()?, &mut out)?,
        6 => {
            for address in text()?.split(',') {
                out.extend_from_slice(&v6(address)?);
            }
        }
        _ => out = octets(value.unwrap_or_default())?,
    }
    Ok(out)
}

/// RFC 9460 appendix A.1: items between commas, of which a backslash takes the meaning.
fn list(value: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => {
                let next = octets.next().ok_or("a backslash stands before nothing")?;
                items.last_mut().expect("there is one").push(*next);
            }
            other => items.last_mut().expect("there is one").push(*other),
        }
    }
    Ok(items)
}
