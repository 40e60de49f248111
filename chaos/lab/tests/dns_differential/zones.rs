//! Zones drawn from a seed: what master files hold that are valid everywhere, and in them the shapes that servers get
//! wrong. Few labels, so that names meet.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const LABELS: [&str; 9] = ["a", "b", "c", "D", "e-1", "_x", "*", "ent", "Mixed"];

/// A zone: its name, its file, and what to ask of it.
pub struct Zone {
    pub origin: String,
    pub text: String,
    /// Every name that stands in it, as owner or as target.
    pub names: BTreeSet<String>,
}

/// Zone number `index` of `seed`. Names of a neighbour's zone are among its targets.
pub fn draw(seed: u64, index: u64) -> Zone {
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(index));
    let origin = origin(index);
    let neighbour = self::origin(index ^ 1);
    // Every name has a kind, and what may stand beside what follows from it.
    let mut owners: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    let mut names = BTreeSet::from([origin.clone()]);
    for _ in 0..random.random_range(6..28) {
        let owner = below(&mut random, &origin);
        if owners.contains_key(&owner.to_ascii_lowercase()) {
            continue;
        }
        let target = |random: &mut StdRng| match random.random_range(0..10) {
            0 => format!("host.{neighbour}"),
            1 => below(random, &neighbour),
            2 => "far.elsewhere.test.".to_owned(),
            // A name's first label may be anything, also what no host may be called.
            3 => format!("z\\032y\\.w.{origin}"),
            _ => below(random, &origin),
        };
        let wild = owner.starts_with('*');
        // Below it a zone of its own may lie, see `origin`.
        let parent = owner == format!("a.{origin}");
        let records: Vec<(&str, String)> = match random.random_range(0..20) {
            0..=4 => vec![("CNAME", target(&mut random))],
            5..=6 if !wild && !parent => vec![("DNAME", target(&mut random)), ("TXT", "\"beside\"".into())],
            7..=8 if !wild => {
                let server = target(&mut random);
                let mut records = vec![("NS", server), ("NS", format!("ns.{owner}"))];
                if random.random_range(0..2) == 0 {
                    records.push((
                        "DS",
                        "12345 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766".into(),
                    ));
                }
                if random.random_range(0..2) == 0 {
                    let glue = vec![("A", address(&mut random)), ("AAAA", "2001:db8::53".into())];
                    owners.insert(format!("ns.{owner}").to_ascii_lowercase(), glue);
                }
                records
            }
            9 => vec![("MX", format!("10 {}", target(&mut random))), ("MX", "0 .".into())],
            10 => vec![("SRV", format!("1 2 80 {}", target(&mut random)))],
            11 => vec![("TXT", "\"one\" \"t\\\"w\\\\o\"".into()), ("TYPE65280", "\\# 3 010203".into())],
            12 => vec![("PTR", target(&mut random)), ("AAAA", "2001:db8::1".into())],
            13 => vec![("HTTPS", "1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1".into())],
            14 => vec![("CAA", "0 issue \"ca.example\"".into()), ("A", address(&mut random))],
            _ => vec![("A", address(&mut random)), ("A", address(&mut random))],
        };
        for (record_type, data) in &records {
            if matches!(*record_type, "CNAME" | "DNAME" | "NS" | "PTR") {
                names.insert(data.clone());
            }
        }
        owners.insert(owner.to_ascii_lowercase(), records);
    }
    // Nothing stands below a DNAME (RFC 6672 §2.4); NSD and Knot refuse a file with such.
    let renames: Vec<String> = owners
        .iter()
        .filter(|(_, records)| records.iter().any(|(t, _)| *t == "DNAME"))
        .map(|(owner, _)| format!(".{owner}"))
        .collect();
    owners.retain(|owner, _| !renames.iter().any(|rename| owner.ends_with(rename.as_str())));
    names.extend(owners.keys().cloned());
    let mut text = format!(
        "$ORIGIN {origin}\n$TTL 300\n@ SOA Ns.{origin} Host\\.Master.{origin} 7 7200 900 1209600 60\n@ NS ns-0\nns-0 A \
         192.0.2.53\nhost 60 A 192.0.2.80\nhost 90 TXT \"host\"\n"
    );
    names.insert(format!("ns-0.{origin}"));
    names.insert(format!("host.{origin}"));
    for (owner, records) in &owners {
        for (record_type, data) in records {
            text += &format!("{owner} {record_type} {data}\n");
        }
    }
    Zone { origin, text, names }
}

/// Some lie below others, so that parents and children are served by one server.
fn origin(index: u64) -> String {
    match index % 4 {
        3 => format!("child.a.z{}.test.", index - 2),
        _ => format!("z{index}.test."),
    }
}

fn below(random: &mut StdRng, origin: &str) -> String {
    let mut name = String::new();
    for depth in 0..random.random_range(1..=3) {
        let label = LABELS.choose(random).expect("there are labels");
        // A star in the middle is a label like any other; at most one name in some has one.
        let label = if *label == "*" && depth > 0 && random.random_range(0..4) > 0 { "a" } else { label };
        name += &format!("{label}.");
    }
    name + origin
}

fn address(random: &mut StdRng) -> String {
    format!("192.0.2.{}", random.random_range(1..250))
}

/// Names to ask for: all there are, what is above them, and what is below them and does not stand there.
pub fn questions(zone: &Zone) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for name in &zone.names {
        let mut at = name.as_str();
        loop {
            all.insert(at.to_owned());
            for under in ["q", "*", "a.q", "x.*", "A"] {
                all.insert(format!("{under}.{at}"));
            }
            match at.split_once('.') {
                Some((label, up)) if !up.is_empty() && !label.ends_with('\\') => at = up,
                _ => break,
            }
            if at.len() < zone.origin.len() {
                break;
            }
        }
    }
    // So long that a DNAME makes too long a name of it.
    let long = "x".repeat(60);
    for owner in &zone.names {
        let name = format!("{long}.{long}.{long}.{owner}");
        if name.len() <= 250 {
            all.insert(name);
        }
    }
    all
}
