//! The forms that no list of fields tells.

use crate::data::{Words, base64, name, v4, v6};

/// RFC 4034 §3.2: `YYYYMMDDHHmmSS` in UTC, or seconds since 1970; of either only 32 bits count (RFC 1982).
pub(crate) fn moment(word: &str) -> Option<u32> {
    if !word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if word.len() != 14 {
        return word.parse().ok();
    }
    let part = |from: usize, to: usize| word[from..to].parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || day == 0 || day > length || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let years = year - 1970;
    // Leap days before this year, 1970 on.
    let before = year - 1;
    let leaps = (before / 4 - before / 100 + before / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let months: u64 = lengths[..usize::try_from(month - 1).ok()?].iter().sum();
    let days = years * 365 + leaps + months + day - 1;
    u32::try_from((days * 86_400 + hour * 3_600 + minute * 60 + second) & 0xffff_ffff).ok()
}

/// RFC 1876 §3: `d1 [m1 [s1]] {N|S} d2 [m2 [s2]] {E|W} alt[m] [siz[m] [hp[m] [vp[m]]]]`.
pub(crate) fn location(words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    let latitude = angle(words, ["N", "S"], 90)?;
    let longitude = angle(words, ["E", "W"], 180)?;
    let altitude = {
        let word = words.next("altitude in metres")?.text();
        let centimetres = centimetres(&word).ok_or_else(|| format!("{word:?} is no altitude"))?;
        u32::try_from(centimetres + 10_000_000).map_err(|_| format!("{word:?} is no altitude"))?
    };
    let mut sizes = [0x12_u8, 0x16, 0x13];
    for size in &mut sizes {
        if words.peek().is_none() {
            break;
        }
        let word = words.next("size")?.text();
        let octet = centimetres(&word).and_then(precision);
        *size = octet.ok_or_else(|| format!("{word:?} is no size"))?;
    }
    data.push(0);
    data.extend_from_slice(&sizes);
    data.extend_from_slice(&latitude.to_be_bytes());
    data.extend_from_slice(&longitude.to_be_bytes());
    data.extend_from_slice(&altitude.to_be_bytes());
    Ok(())
}

/// Thousandths of a second of arc, 2³¹ being none.
fn angle(words: &mut Words<'_, '_>, ends: [&str; 2], most: u64) -> Result<u32, String> {
    let mut parts = [0_u64; 3];
    let mut count = 0;
    let hemisphere = loop {
        let word = words.next("degrees, minutes, seconds and hemisphere")?;
        if let Some(side) = ends.iter().position(|end| word.is(end)) {
            break side;
        }
        let text = word.text();
        let bad = || format!("{text:?} is no part of a latitude or longitude");
        let slot = parts.get_mut(count).ok_or_else(bad)?;
        *slot =
            if count == 2 { thousandths(&text).ok_or_else(bad)? } else { text.parse().map_err(|_| bad())? };
        count += 1;
    };
    let [degrees, minutes, thousandths] = parts;
    if count == 0 || degrees > most || minutes > 59 || thousandths > 59_999 {
        return Err(format!("a latitude or longitude beyond {most} degrees, 59 minutes or 59.999 seconds"));
    }
    let total = (degrees * 60 + minutes) * 60_000 + thousandths;
    if total > most * 3_600_000 {
        return Err(format!("a latitude or longitude beyond {most} degrees"));
    }
    let total = u32::try_from(total).expect("180 degrees are fewer than 2³¹ thousandths of a second");
    Ok(if hemisphere == 0 { 0x8000_0000 + total } else { 0x8000_0000 - total })
}

fn thousandths(text: &str) -> Option<u64> {
    decimal(text, 3)
}

fn centimetres(text: &str) -> Option<i64> {
    let metres = text.strip_suffix(['m', 'M']).unwrap_or(text);
    let (negative, metres) = match metres.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, metres),
    };
    let value = i64::try_from(decimal(metres, 2)?).ok()?;
    Some(if negative { -value } else { value })
}

/// A decimal number times ten to the power of `places`.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() || part.len() > places || !part.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let mut digits = part.to_owned();
    while digits.len() < places {
        digits.push('0');
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    whole.checked_mul(10_u64.pow(u32::try_from(places).ok()?))?.checked_add(digits.parse().ok()?)
}

/// RFC 1876 §2: a digit and a power of ten.
fn precision(centimetres: i64) -> Option<u8> {
    let mut base = u64::try_from(centimetres).ok()?;
    let mut power = 0_u8;
    while base > 9 {
        base /= 10;
        power += 1;
    }
    (power <= 9).then(|| u8::try_from(base).expect("one digit") << 4 | power)
}

/// RFC 3123 §5: `[!]afi:address/prefix` any number of times.
pub(crate) fn prefixes(words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    while words.peek().is_some() {
        let word = words.next("prefix")?.text();
        let bad = || format!("{word:?} is no [!]AFI:ADDRESS/PREFIX");
        let (negative, rest) = match word.strip_prefix('!') {
            Some(rest) => (0x80, rest),
            None => (0, word.as_str()),
        };
        let (family, rest) = rest.split_once(':').ok_or_else(bad)?;
        let (address, prefix) = rest.rsplit_once('/').ok_or_else(bad)?;
        let (family, address) = match family {
            "1" => (1_u16, v4(address)?.to_vec()),
            "2" => (2, v6(address)?.to_vec()),
            _ => return Err(bad()),
        };
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if usize::from(prefix) > address.len() * 8 {
            return Err(bad());
        }
        // Zero octets at the end are not sent.
        let kept = address.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        data.extend_from_slice(&family.to_be_bytes());
        data.push(prefix);
        data.push(negative | u8::try_from(kept).expect("an address has 16 octets at most"));
        data.extend_from_slice(&address[..kept]);
    }
    Ok(())
}

/// RFC 4025 §3.
pub(crate) fn gateway(words: &mut Words<'_, '_>, data: &mut Vec<u8>) -> Result<(), String> {
    let precedence: u8 = words.number("precedence")?;
    let kind: u8 = words.number("kind of gateway")?;
    let algorithm: u8 = words.number("algorithm")?;
    data.extend_from_slice(&[precedence, kind, algorithm]);
    let gateway = words.next("gateway")?;
    match kind {
        0 if gateway.raw == b"." => {}
        1 => data.extend_from_slice(&v4(&gateway.text())?),
        2 => data.extend_from_slice(&v6(&gateway.text())?),
        3 => data.extend_from_slice(&name(gateway.raw, words.origin)?),
        _ => return Err(format!("{:?} is no gateway of kind {kind}", gateway.text())),
    }
    let mut key = String::new();
    while words.peek().is_some() {
        key.push_str(&words.next("key")?.text());
    }
    base64(&key, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::time;

    #[test]
    fn moments_are_counted_from_1970() {
        // From `date -u -d … +%s`.
        for (word, seconds) in [
            ("19700101000000", Some(0)),
            ("20261130234349", Some(1_796_082_229)),
            ("20240229120000", Some(1_709_208_000)),
            ("20000301000000", Some(951_868_800)),
            ("21060207062816", Some(0)),
            ("1796082229", Some(1_796_082_229)),
            ("20230229000000", None),
            ("20231301000000", None),
            ("x", None),
        ] {
            assert_eq!(moment(word), seconds, "{word}");
        }
        assert_eq!(time("1h30m"), Some(5_400));
        assert_eq!(time("1w2"), Some(604_802));
        for bad in ["", "h", "1x", "1hh", "99999999999"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }
}
