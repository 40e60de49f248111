//! Whole files: owners, TTLs, directives, places of what is wrong, and the zone that comes of it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use gslb_core::{Name, RecordType};
use gslb_master::{Read, read, zone};
use proptest::prelude::*;

fn from(files: &BTreeMap<&str, &str>) -> Read {
    let origin: Name = "example.com.".parse().unwrap();
    let mut include = |path: &Path| match files.get(path.to_str().unwrap()) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err("there is no such file".to_owned()),
    };
    read(Path::new("zones/main"), files["zones/main"].as_bytes(), &origin, &mut include)
}

fn lines(read: &Read) -> Vec<String> {
    let line = |r: &gslb_master::Record| {
        format!("{} {} {} {}", r.place, r.owner, r.ttl.map_or("-".into(), |t| t.to_string()), r.record_type)
    };
    read.records.iter().map(line).collect()
}

/// Goal: RFC 1035 §5.1 and RFC 2308 §4 as they are written.
#[test]
fn owners_ttls_and_directives_are_followed() {
    let main = "@ IN SOA ns hostmaster ( 1 2h\n  3h 4w 60 ) ; no TTL before\n  NS ns\nns 300 A 192.0.2.1\n  IN 400 AAAA ::1\n\
                a A 192.0.2.2\n$TTL 1h\nb A 192.0.2.3\n$ORIGIN sub\nc in a 192.0.2.4\n$INCLUDE more in\n TXT still-c\nd TYPE1 \\# 4 c0000205\n";
    let more = "e A 192.0.2.6\n$ORIGIN other.\n$TTL 5\nf A 192.0.2.7\n";
    let read = from(&BTreeMap::from([("zones/main", main), ("zones/more", more)]));
    assert_eq!(read.faults, []);
    assert_eq!(
        lines(&read),
        [
            "zones/main:1 example.com. - SOA",
            "zones/main:3 example.com. - NS",
            "zones/main:4 ns.example.com. 300 A",
            "zones/main:5 ns.example.com. 400 AAAA",
            "zones/main:6 a.example.com. 400 A",
            "zones/main:8 b.example.com. 3600 A",
            "zones/main:10 c.sub.example.com. 3600 A",
            "zones/more:1 e.in.sub.example.com. 3600 A",
            "zones/more:4 f.other. 5 A",
            "zones/main:12 c.sub.example.com. 5 TXT",
            "zones/main:13 d.sub.example.com. 5 A",
        ]
    );
    let (made, outside) = zone(&"example.com.".parse().unwrap(), &read.records).unwrap();
    assert_eq!(outside.iter().map(ToString::to_string).collect::<Vec<_>>(), ["zones/more:4"]);
    assert_eq!((made.soa.ttl, made.soa.refresh, made.name_servers_ttl), (60, 7_200, 60));
    assert_eq!(made.name_servers, ["ns.example.com.".parse::<Name>().unwrap()]);
    assert!(made.records.iter().all(|r| r.record_type != RecordType::SOA));
}

/// Goal: everything that is wrong is told with its place, and nothing that follows is lost for it.
#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let main = " A 192.0.2.1\na NOSUCH x\nb A 1.2.3\n$NOSUCH x\n$INCLUDE gone\n$INCLUDE main\n$TTL soon\nc CH A 192.0.2.1\nd 1h (\n";
    let read = from(&BTreeMap::from([("zones/main", main)]));
    let told: Vec<String> = read.faults.iter().map(ToString::to_string).collect();
    for (wanted, times) in [
        ("zones/main:1: the first record has no owner", 1),
        ("zones/main:2: \"NOSUCH\" is no record type", 16),
        ("zones/main:3: A of b.example.com.: \"1.2.3\" is no IPv4 address", 16),
        ("zones/main:4: $NOSUCH is not known", 16),
        ("zones/main:5: cannot read zones/gone", 16),
        ("zones/main:6: files include one another 16 deep", 1),
    ] {
        let found = told.iter().filter(|t| t.starts_with(wanted)).count();
        assert!(found >= 1 && found <= times, "{wanted}: {found} times in {told:#?}");
    }
    for wanted in ["zones/main:7: \"soon\" is no TTL", "class CH is not served", "never closed"] {
        assert!(told.iter().any(|t| t.contains(wanted)), "{wanted} in {told:#?}");
    }
}

/// Goal: a file that includes itself again and again is read some times, not for ever.
#[test]
fn including_has_an_end() {
    let text = "$INCLUDE main\n".repeat(20);
    let mut asked = 0;
    let mut include = |_: &Path| {
        asked += 1;
        Ok(text.as_bytes().to_vec())
    };
    let read = read(Path::new("main"), text.as_bytes(), &Name::root(), &mut include);
    assert!(!read.faults.is_empty());
    assert_eq!(asked, 1_000);
}

/// Goal: what makes no zone is told.
#[test]
fn a_zone_has_one_soa_at_its_origin() {
    for (text, wanted) in [
        ("@ NS ns\n", "example.com. has no SOA record"),
        ("a SOA a b 1 2 3 4 5\n", "zones/main:1: an SOA of a.example.com."),
        ("@ SOA a b 1 2 3 4 5\n@ SOA a b 2 2 3 4 5\n", "zones/main:2: an SOA of example.com."),
        ("@ SOA a b 1 2 3 4 5\n@ NS \\# 1 ff\n", "zones/main:2: the data of example.com. is no name"),
    ] {
        let read = from(&BTreeMap::from([("zones/main", text)]));
        let faults = zone(&"example.com.".parse().unwrap(), &read.records).unwrap_err();
        assert!(faults[0].to_string().starts_with(wanted), "{text}: {faults:?}");
    }
}

proptest! {
    /// Goal: no octets make the reader panic or go on for ever.
    #[test]
    fn any_octets_are_read(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut none = |_: &Path| Err("there is no such file".to_owned());
        read(Path::new("x"), &text, &Name::root(), &mut none);
    }

    /// Goal: the same of what looks like records.
    #[test]
    fn anything_like_records_is_read(words in proptest::collection::vec(
        prop_oneof![
            Just("@"), Just("a"), Just("1h"), Just("IN"), Just("A"), Just("LOC"), Just("APL"), Just("HTTPS"), Just("NSEC"),
            Just("TXT"), Just("192.0.2.1"), Just("("), Just(")"), Just("\n"), Just(" "), Just("\""), Just("\\"), Just("="),
            Just("alpn="), Just("key0"), Just("\\# 1 ff"), Just("-1.5m"), Just("1:"), Just("/"), Just("N"), Just("E"), Just("RRSIG"),
            Just("20261301000000"), Just("CERT"), Just("IPSECKEY"), Just("EUI48"), Just("$TTL"), Just("$ORIGIN"), Just("."),
        ],
        0..40,
    )) {
        let mut none = |_: &Path| Err("there is no such file".to_owned());
        read(Path::new("x"), words.join(" ").as_bytes(), &Name::root(), &mut none);
    }
}
