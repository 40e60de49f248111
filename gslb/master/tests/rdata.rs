//! Record data of every type against what another implementation makes of the same text.

#![allow(clippy::unwrap_used)]

use data_encoding::HEXLOWER;
use gslb_core::RecordType;
use gslb_master::data;

fn origin() -> Vec<u8> {
    b"\x07Example\x03com\x00".to_vec()
}

/// Goal: each type's data has the octets that dnspython 2 gives it (its `from_text(…).to_wire()`, written down once in
/// `testdata/rdata.tsv`: type, text, octets; the origin is Example.com.).
#[test]
fn data_is_what_another_implementation_makes_of_it() {
    let cases = include_str!("../testdata/rdata.tsv");
    let mut wrong = Vec::new();
    for case in cases.lines() {
        let [record_type, text, wire] = case.split('\t').collect::<Vec<_>>()[..] else { panic!("{case:?}") };
        let read = data(record_type.parse().unwrap(), text, &origin()).map(|w| HEXLOWER.encode(&w));
        if read.as_deref() != Ok(wire) {
            wrong.push(format!("{record_type} {text}\n  wanted {wire}\n  got    {read:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Goal: what is no data is told, with what is wrong.
#[test]
fn what_is_no_data_is_refused() {
    for (record_type, text, why) in [
        ("A", "192.0.2", "no IPv4 address"),
        ("A", "", "IPv4 address is missing"),
        ("A", "192.0.2.1 192.0.2.2", "more than A data has"),
        ("AAAA", "::g", "no IPv6 address"),
        ("MX", "mail.example.", "no number"),
        ("MX", "70000 mail", "no number"),
        ("MX", "10 a..b", "empty label"),
        ("TXT", "", "text is missing"),
        ("TXT", "\"a", "not closed"),
        ("SOA", "a b 1 2x 3 4 5", "no time"),
        ("CAA", "0 is-sue x", "no tag"),
        ("DS", "1 8 2 zz", "no hexadecimal"),
        ("DNSKEY", "256 3 8 !", "no base64"),
        ("NSEC", "a NOSUCH", "no record type"),
        ("HTTPS", "1 . alpn", "needs a value"),
        ("HTTPS", "0 . port=1", "an alias"),
        ("HTTPS", "1 . port=1 port=2", "twice"),
        ("HTTPS", "1 . mandatory=port", "not given"),
        ("HTTPS", "1 . nosuch=1", "no service parameter"),
        ("LOC", "91 N 0 E 0", "beyond"),
        ("APL", "3:1.2.3.4/8", "no [!]AFI"),
        ("TYPE65280", "what", "\\# LENGTH HEX"),
        ("TYPE65280", "\\# 2 01", "says 2 octets"),
        ("TYPE65280", "\\# 1 zz", "no hexadecimal"),
    ] {
        let record_type: RecordType = record_type.parse().unwrap();
        let refused = data(record_type, text, &origin()).unwrap_err();
        assert!(refused.contains(why), "{record_type} {text:?}: {refused}");
    }
    let long = format!("\"{}\"", "x".repeat(256));
    assert!(data(RecordType::TXT, &long, &origin()).unwrap_err().contains("255"));
}

/// Goal: any type may be given by its number and its octets.
#[test]
fn any_type_has_a_generic_form() {
    for (record_type, text, wire) in [
        (RecordType(65_280), "\\# 3 0102 ff", b"\x01\x02\xff".as_slice()),
        (RecordType::A, "\\# 4 c0000201", b"\xc0\x00\x02\x01"),
        (RecordType(65_280), "\\# 0", b""),
    ] {
        assert_eq!(data(record_type, text, &origin()).unwrap(), wire);
    }
}
