//! Short forms: servers are named after their site, and a letter stands for a uuid.

use model::{GroupId, GtidSet, ServerId, ServerUuid, SiteId};

/// The servers that scripts use, with the letter of their uuid.
const LETTERS: [(&str, char); 4] = [("pdc-db", 'A'), ("mdc-db", 'B'), ("pdc-db2", 'C'), ("mdc-db2", 'D')];

/// The one group of every script.
pub fn group() -> GroupId {
    "shop".parse().unwrap()
}

fn long(letter: char) -> String {
    let c = letter.to_ascii_lowercase().to_string();
    [8, 4, 4, 4, 12].map(|n| c.repeat(n)).join("-")
}

/// The uuid of a server's first data.
pub fn uuid(server: &ServerId) -> ServerUuid {
    let letter = LETTERS.iter().find(|(s, _)| *s == server.as_str()).expect("a known server").1;
    long(letter).parse().unwrap()
}

/// The uuid that a letter stands for. `E` and `F` belong to nobody: errant origins.
pub fn uuid_of_letter(text: &str) -> Option<ServerUuid> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c @ 'A'..='F'), None) => Some(long(c).parse().unwrap()),
        _ => None,
    }
}

/// The site of a server: the part before the hyphen.
pub fn site(server: &ServerId) -> SiteId {
    server.as_str().split('-').next().expect("a first part").parse().unwrap()
}

/// `A:1-50,B:1` in full; `-` is the empty set.
pub fn gtid(text: &str) -> GtidSet {
    if text == "-" {
        return GtidSet::empty();
    }
    let part = |p: &str| {
        let (letter, rest) = p.split_once(':').unwrap_or((p, ""));
        format!(
            "{}:{rest}",
            uuid_of_letter(letter).unwrap_or_else(|| panic!("gtid {text:?}: no such letter"))
        )
    };
    text.split(',').map(part).collect::<Vec<_>>().join(",").parse().unwrap()
}

/// Puts the letters back into anything printed.
pub fn short(text: &str) -> String {
    ('A'..='F').fold(text.to_owned(), |t, c| t.replace(&long(c), &c.to_string()))
}

/// A set in short form.
pub fn set(set: &GtidSet) -> String {
    if set.is_empty() { "-".into() } else { short(&set.to_string()) }
}
