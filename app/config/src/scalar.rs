//! Readers of single values.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;

use crate::fields::{nearest, quoted};
use crate::name::{DnsName, DnsNameError};
use crate::problem::Problems;
use crate::tree::{Kind, Node};

/// As `model` has it for every name of ours.
const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// A number and its unit.
const DURATION: &str = r"^[0-9]+(\.[0-9]{1,6})? ?(us|µs|ms|s|m|h|d)$";

/// Longest length of time that is taken: a year. Longer ones are slips of a unit.
const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Any text of one line, not empty.
pub(crate) fn text(node: &Node, problems: &mut Problems) -> Option<String> {
    if problems.describes(node, || json!({ "type": "string", "minLength": 1 })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    if text.trim().is_empty() || text.contains(char::is_control) {
        problems.add(&node.place, "a text of one line is wanted here", "write it, in quotes if need be");
        return None;
    }
    Some(text.to_owned())
}

/// A name of ours.
pub(crate) fn name<T>(node: &Node, problems: &mut Problems) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    if problems.describes(node, || json!({ "type": "string", "pattern": NAME })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    let hint = "use lower-case letters, digits and inner hyphens";
    text.parse().map_err(|error: T::Err| problems.add(&node.place, error.to_string(), hint)).ok()
}

/// An absolute domain name.
pub(crate) fn domain(node: &Node, problems: &mut Problems) -> Option<DnsName> {
    if problems.describes(node, || json!({ "type": "string", "maxLength": 255 })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    let hint = "write a domain name such as gslb.example.com";
    text.parse().map_err(|error: DnsNameError| problems.add(&node.place, error.to_string(), hint)).ok()
}

/// An IPv4 or IPv6 address.
pub(crate) fn address(node: &Node, problems: &mut Problems) -> Option<IpAddr> {
    if problems.describes(
        node,
        || json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }),
    ) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        problems.add(
            &node.place,
            format!("{} is not an IP address", quoted(text)),
            "write one such as 192.0.2.10 or \"2001:db8::10\", not a name",
        );
        return None;
    };
    if address.is_unspecified() || address.is_multicast() {
        problems.add(
            &node.place,
            format!("{address} is no host's address"),
            "write the address others reach it at",
        );
        return None;
    }
    Some(address)
}

/// An address with a port, or an address alone, which means `default_port`.
pub(crate) fn socket(node: &Node, problems: &mut Problems, default_port: u16) -> Option<SocketAddr> {
    if problems.describes(node, || json!({ "type": "string", "minLength": 2 })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    let found = text.parse::<SocketAddr>().ok();
    let found = found.or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, default_port)));
    match found.filter(|socket| socket.port() != 0) {
        Some(socket) => Some(socket),
        None => {
            problems.add(
                &node.place,
                format!("{} is not an address with a port", quoted(text)),
                "write it as \"192.0.2.10:53\" or \"[2001:db8::10]:53\"",
            );
            None
        }
    }
}

/// A TCP or UDP port.
pub(crate) fn port(node: &Node, problems: &mut Problems) -> Option<u16> {
    number(node, problems, 1, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

/// A whole number in a range.
pub(crate) fn number(node: &Node, problems: &mut Problems, least: u64, most: u64) -> Option<u64> {
    if problems.describes(node, || json!({ "type": "integer", "minimum": least, "maximum": most })) {
        return None;
    }
    let (text, quoted_text) = word(node, problems)?;
    let digits = !quoted_text && !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    // More digits than fit are out of any range asked for here.
    let found = digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    match found {
        Some(number) if (least..=most).contains(&number) => Some(number),
        Some(_) => {
            problems.add(
                &node.place,
                format!("{text:.32} is out of range"),
                format!("write a number from {least} to {most}"),
            );
            None
        }
        None => {
            problems.add(
                &node.place,
                format!("{} is not a number", quoted(text)),
                format!("write a number from {least} to {most}, without quotes"),
            );
            None
        }
    }
}

/// A length of time with its unit: `300ms`, `1.5s`, `10m`. Exact to the microsecond.
pub(crate) fn duration(node: &Node, problems: &mut Problems) -> Option<Duration> {
    if problems.describes(node, || json!({ "type": "string", "pattern": DURATION })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    match parse_duration(text) {
        Some(length) if length <= DURATION_MAX => Some(length),
        Some(_) => {
            problems.add(&node.place, format!("{} is longer than a year", quoted(text)), "check its unit");
            None
        }
        None => {
            let hint = if text.bytes().all(|c| c.is_ascii_digit()) && text.len() < 20 {
                format!("add a unit, as in {text}ms or {text}s")
            } else {
                "write a number and a unit of us, ms, s, m, h or d, as in 300ms".to_owned()
            };
            problems.add(&node.place, format!("{} is not a length of time", quoted(text)), hint);
            None
        }
    }
}

/// Whole seconds, as TTLs and SOA numbers are (RFC 2181 §8 bounds them; a year is less).
pub(crate) fn seconds(node: &Node, problems: &mut Problems) -> Option<Duration> {
    let length = duration(node, problems)?;
    if length.subsec_nanos() != 0 {
        problems.add(&node.place, "the DNS counts in whole seconds", "write it as 1s, 30s, 5m");
        return None;
    }
    Some(length)
}

/// One of the words of `choices`.
pub(crate) fn choice<T: Copy>(node: &Node, problems: &mut Problems, choices: &[(&str, T)]) -> Option<T> {
    if problems
        .describes(node, || json!({ "enum": choices.iter().map(|(name, _)| *name).collect::<Vec<_>>() }))
    {
        return None;
    }
    let (text, _) = word(node, problems)?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let names = || choices.iter().map(|(name, _)| *name);
    let hint = match nearest(text, names()) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
    };
    problems.add(&node.place, format!("{} is not a choice here", quoted(text)), hint);
    None
}

/// The word itself, and whether it was quoted.
pub(crate) fn word<'n>(node: &'n Node, problems: &mut Problems) -> Option<(&'n str, bool)> {
    if problems.describes(node, || json!({ "type": ["string", "number"] })) {
        return None;
    }
    match &node.kind {
        Kind::Scalar { text, quoted } => Some((text, *quoted)),
        Kind::Null => {
            problems.add(&node.place, "a value is missing here", "write one, or remove the field");
            None
        }
        Kind::List(_) | Kind::Map(_) => {
            problems.add(&node.place, "a single value is wanted here", "write one value after the colon");
            None
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let unit_micros: u64 = match unit.trim_start() {
        "us" | "µs" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let scale = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit_micros)?;
    if !part.is_multiple_of(scale) {
        return None;
    }
    let micros = whole.checked_mul(unit_micros)?.checked_add(part / scale)?;
    Some(Duration::from_micros(micros))
}

/// A length of time as the file writes it: the largest unit in which it is short and exact.
pub(crate) fn show(length: Duration) -> String {
    let micros = length.as_micros();
    if micros == 0 {
        return "0s".to_owned();
    }
    for (unit, size) in [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000)] {
        if micros.is_multiple_of(size) {
            return format!("{}{unit}", micros / size);
        }
    }
    let (unit, size, digits) = match micros {
        1_000_000.. => ("s", 1_000_000, 6),
        1_000.. => ("ms", 1_000, 3),
        _ => ("us", 1, 0),
    };
    let (whole, part) = (micros / size, micros % size);
    if part == 0 {
        return format!("{whole}{unit}");
    }
    let fraction = format!("{part:0digits$}");
    format!("{whole}.{}{unit}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_reads_back_as_it_is_shown() {
        for (text, micros) in [
            ("300ms", 300_000),
            ("1.6s", 1_600_000),
            ("0s", 0),
            ("1.703204s", 1_703_204),
            ("10m", 600_000_000),
            ("250us", 250),
            ("1.5ms", 1_500),
            ("7d", 604_800_000_000),
        ] {
            let length = parse_duration(text).unwrap();
            assert_eq!(length, Duration::from_micros(micros), "{text}");
            assert_eq!(show(length), text);
        }
    }

    #[test]
    fn a_length_of_time_needs_a_number_and_a_unit() {
        for bad in
            ["", "5", "s", ".5s", "5.s", "1.0000001s", "-1s", "1 week", "99999999999999999999s", "1.2.3s"]
        {
            assert_eq!(parse_duration(bad), None, "{bad:?} was taken");
        }
    }
}
