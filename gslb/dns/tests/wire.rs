//! The wire path without sockets: what is answered octet by octet, and that nothing panics.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use gslb_core::Snapshot;
use gslb_dns::wire::{
    Arrival, CookieSecret, Reply, Scratch, TCP_MAX, Terms, Transport, UDP_MAX, UDP_MAX_PLAIN, respond,
};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, RecordType};
use proptest::prelude::*;
use support::{APEX, query, snapshot};

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| snapshot(1, "pdc"));

static TERMS: LazyLock<Terms> = LazyLock::new(|| Terms {
    nsid: "pdc-1".into(),
    cookies: Some(CookieSecret::of(b"a secret")),
    rate_limit: None,
});

/// Of a packet that came now.
fn arrival(sender: SocketAddr, transport: Transport) -> Arrival {
    let idle_tenths = if transport == Transport::Stream { 100 } else { 0 };
    Arrival { sender, transport, idle_tenths, now: model::Timestamp(1_000_000), wall_s: 1_780_000_000 }
}

fn sender() -> SocketAddr {
    "203.0.113.7:4242".parse().unwrap()
}

/// The response's octets, or none.
fn ask(packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = vec![0xaa; if transport == Transport::Udp { UDP_MAX } else { TCP_MAX }];
    match respond(&SNAPSHOT, &TERMS, packet, &arrival(sender(), transport), &mut Scratch::new(), &mut out) {
        Reply::Dropped | Reply::Limited => None,
        Reply::Sent { length, rcode, truncated, .. } => {
            out.truncate(length);
            assert_eq!(u16::from(out[3] & 0x0f), rcode & 0x0f);
            assert_eq!(out[2] & 0x02 != 0, truncated);
            Some(out)
        }
    }
}

fn over_udp(packet: &[u8]) -> Message {
    Message::from_vec(&ask(packet, Transport::Udp).unwrap()).unwrap()
}

/// An OPT record appended to an encoded query.
fn with_opt(mut packet: Vec<u8>, payload: u16, version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    packet[11] += 1;
    packet.extend_from_slice(&[0, 0, 41]);
    packet.extend_from_slice(&payload.to_be_bytes());
    packet.extend_from_slice(&[0, version]);
    packet.extend_from_slice(&flags.to_be_bytes());
    packet.extend_from_slice(&u16::try_from(options.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(options);
    packet
}

fn encoded(label: &str, record_type: RecordType) -> Vec<u8> {
    query(label, record_type).to_vec().unwrap()
}

fn subnet_option(data: &[u8]) -> Vec<u8> {
    [&[0, 8, 0, u8::try_from(data.len()).unwrap()], data].concat()
}

fn answers(message: &Message) -> Vec<String> {
    message.answers.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect()
}

#[test]
fn every_static_record_comes_back_as_it_was_written() {
    for (owner, ttl, record_type, data) in support::RECORDS {
        if matches!(*owner, "child" | "ns.child") {
            continue; // A delegation, and below it.
        }
        let number: gslb_core::RecordType = record_type.parse().unwrap();
        let mut message = query(owner, number.0.into());
        message.metadata.recursion_desired = true;
        let response = over_udp(&message.to_vec().unwrap());
        assert_eq!(response.metadata.response_code, ResponseCode::NoError);
        assert!(response.metadata.authoritative && !response.metadata.recursion_available);
        assert!(response.metadata.recursion_desired, "RD is copied");
        assert_eq!(response.metadata.id, 0x1234);
        assert_eq!(response.queries, message.queries);
        let wire = gslb_dns::record_data(number, data).unwrap().wire;
        let found = response.answers.iter().any(|r| {
            let mut bytes = Vec::new();
            let mut encoder = hickory_proto::serialize::binary::BinEncoder::new(&mut bytes);
            encoder.set_name_encoding(hickory_proto::serialize::binary::NameEncoding::Uncompressed);
            hickory_proto::serialize::binary::BinEncodable::emit(&r.data, &mut encoder).unwrap();
            bytes == wire && r.ttl == *ttl && u16::from(r.record_type()) == number.0
        });
        assert!(found, "{owner} {record_type} {data} is not in {:?}", answers(&response));
    }
}

#[test]
fn chains_negatives_and_referrals_have_the_right_owners() {
    let response = over_udp(&encoded("chain", RecordType::AAAA));
    assert_eq!(
        answers(&response),
        [
            "chain.gslb.example. 60 CNAME alias.gslb.example.",
            "alias.gslb.example. 60 CNAME www.gslb.example.",
            "www.gslb.example. 60 AAAA 2001:db8::1",
        ]
    );
    for (label, rcode) in [
        ("nothing", ResponseCode::NXDomain),
        ("x.y.nothing", ResponseCode::NXDomain),
        ("text", ResponseCode::NoError),
        ("down.there", ResponseCode::NoError),
        ("dangling", ResponseCode::NXDomain),
        ("alias", ResponseCode::NoError),
        ("x.wild", ResponseCode::NoError),
    ] {
        let response = over_udp(&encoded(label, RecordType::MX));
        assert_eq!(response.metadata.response_code, rcode, "{label}");
        assert_eq!(response.authorities.len(), 1);
        let soa = &response.authorities[0];
        assert_eq!((soa.name.to_string().as_str(), soa.ttl), (APEX, 5));
        let RData::SOA(data) = &soa.data else { panic!("{soa}") };
        assert_eq!((data.serial, data.minimum), (7, 5));
    }
    let response = over_udp(&encoded("x.child", RecordType::A));
    assert!(!response.metadata.authoritative && response.answers.is_empty());
    assert_eq!(response.authorities[0].name.to_string(), "child.gslb.example.");
    assert_eq!(response.additionals[0].to_string(), "ns.child.gslb.example. 60 IN A 192.0.2.53");
}

#[test]
fn a_bound_name_answers_its_site_and_a_pooled_one_a_member() {
    assert_eq!(answers(&over_udp(&encoded("db", RecordType::A))), ["db.gslb.example. 3 A 192.0.2.10"]);
    let response = over_udp(&encoded("toward", RecordType::A));
    assert_eq!(response.answers.len(), 2);
    assert_eq!(response.answers[1].name.to_string(), "pooled.gslb.example.");
    assert_eq!(response.answers[1].ttl, 6);
    let mut out = vec![0; UDP_MAX];
    let packet = encoded("open", RecordType::A);
    let reply = respond(
        &SNAPSHOT,
        &TERMS,
        &packet,
        &arrival(sender(), Transport::Udp),
        &mut Scratch::new(),
        &mut out,
    );
    assert!(matches!(reply, Reply::Sent { all_down_open: true, .. }));
}

#[test]
fn the_case_of_the_question_is_kept() {
    let mut packet = encoded("www", RecordType::A);
    packet[13..16].copy_from_slice(b"wWw");
    let response = ask(&packet, Transport::Udp).unwrap();
    assert_eq!(response[12..packet.len()], packet[12..]);
    let message = Message::from_vec(&response).unwrap();
    assert_eq!(message.answers.len(), 2);
    assert_eq!(message.answers[0].name.to_string(), "wWw.gslb.example.");
}

#[test]
fn any_is_answered_with_hinfo() {
    let response = over_udp(&encoded("www", RecordType::ANY));
    assert_eq!(response.answers.len(), 1);
    let RData::HINFO(hinfo) = &response.answers[0].data else { panic!("{response}") };
    assert_eq!((hinfo.cpu.as_ref(), hinfo.os.as_ref()), (b"RFC8482".as_slice(), b"".as_slice()));
}

/// RFC 8906 §8.2: the cases that its appendix asks by dig.
#[test]
fn edns_is_answered_as_rfc_8906_wants() {
    let plain = encoded("www", RecordType::A);
    let opt = |message: &Message| message.edns.clone();
    assert!(opt(&over_udp(&plain)).is_none(), "no OPT in, no OPT out");

    let response = over_udp(&with_opt(plain.clone(), 4096, 0, 0, &[]));
    let edns = opt(&response).unwrap();
    assert_eq!((edns.version(), usize::from(edns.max_payload())), (0, UDP_MAX));
    assert_eq!(response.answers.len(), 2);

    // Unknown version: BADVERS in version 0, nothing answered.
    let response = over_udp(&with_opt(plain.clone(), 4096, 1, 0, b"\xff\xff\xff"));
    // hickory prints 16 as BADSIG, which is its other meaning.
    assert_eq!(u16::from(response.metadata.response_code), 16);
    assert_eq!((opt(&response).unwrap().version(), response.answers.len()), (0, 0));
    assert_eq!(response.queries.len(), 1);

    // Unknown options and flags are ignored and not sent back; DO is.
    let unknown = [0, 100, 0, 3, 1, 2, 3];
    let response = ask(&with_opt(plain.clone(), 4096, 0, 0x0040, &unknown), Transport::Udp).unwrap();
    assert_eq!(&response[response.len() - 4..], [0, 0, 0, 0], "flags and length of the OPT");
    let response = over_udp(&with_opt(plain.clone(), 4096, 0, 0x8000, &unknown));
    let edns = opt(&response).unwrap();
    assert!(edns.flags().dnssec_ok && edns.flags().z == 0 && edns.options().as_ref().is_empty());

    // Unknown version with an unknown option; unknown type with EDNS.
    let response = over_udp(&with_opt(plain.clone(), 4096, 99, 0, &unknown));
    assert_eq!(u16::from(response.metadata.response_code), 16);
    let response = over_udp(&with_opt(encoded("www", RecordType::Unknown(1000)), 4096, 0, 0, &[]));
    assert_eq!(response.metadata.response_code, ResponseCode::NoError);
    assert_eq!(response.authorities.len(), 1);

    // Malformed: cut options, two OPTs, an owner that is not the root.
    let formerr = |packet: &[u8]| {
        let response = over_udp(packet);
        assert_eq!(response.metadata.response_code, ResponseCode::FormErr);
        assert_eq!(response.queries.len(), 1, "the question could be read");
        assert!(response.answers.is_empty());
    };
    formerr(&with_opt(plain.clone(), 4096, 0, 0, &[0, 100, 0, 9, 1]));
    formerr(&with_opt(with_opt(plain.clone(), 4096, 0, 0, &[]), 4096, 0, 0, &[]));
    let mut owned = with_opt(plain.clone(), 4096, 0, 0, &[]);
    owned.splice(plain.len()..=plain.len(), [1, b'x', 0]);
    formerr(&owned);
}

#[test]
fn headers_that_are_not_ours_are_told_so() {
    let plain = encoded("www", RecordType::A);
    // Opcodes 1 to 15: NOTIMP with the opcode copied.
    for opcode in 1..16u8 {
        let mut packet = plain.clone();
        packet[2] = opcode << 3 | 1;
        let response = ask(&packet, Transport::Udp).unwrap();
        assert_eq!((response[2], response[3]), (0x80 | opcode << 3 | 1, 4));
        assert_eq!(response.len(), 12);
    }
    // QDCOUNT other than one: FORMERR (RFC 9619).
    for count in [0, 2, 255] {
        let mut packet = plain.clone();
        packet[5] = count;
        let response = ask(&packet, Transport::Udp).unwrap();
        assert_eq!((response[3] & 0x0f, response.len()), (1, 12));
    }
    // A response is never answered.
    let mut packet = plain.clone();
    packet[2] |= 0x80;
    assert!(ask(&packet, Transport::Udp).is_none());
    // AD, CD, Z, RA, AA, TC of a query do not come back.
    let mut packet = plain.clone();
    packet[2] |= 0x06;
    packet[3] = 0xf5;
    let response = ask(&packet, Transport::Udp).unwrap();
    assert_eq!((response[2], response[3]), (0x84 | (plain[2] & 1), 0));
    // Another class, and a transfer.
    let mut packet = plain.clone();
    let class = packet.len() - 1;
    packet[class] = 3;
    assert_eq!(over_udp(&packet).metadata.response_code, ResponseCode::Refused);
    assert_eq!(over_udp(&encoded("www", RecordType::AXFR)).metadata.response_code, ResponseCode::Refused);
    // Octets after the message.
    let mut packet = plain.clone();
    packet.push(0);
    assert_eq!(over_udp(&packet).metadata.response_code, ResponseCode::FormErr);
    // Nobody listens on port 0.
    let mut out = vec![0; UDP_MAX];
    let nobody = "203.0.113.7:0".parse().unwrap();
    let reply =
        respond(&SNAPSHOT, &TERMS, &plain, &arrival(nobody, Transport::Udp), &mut Scratch::new(), &mut out);
    assert_eq!(reply, Reply::Dropped);
}

/// RFC 7871 §6 and §7.2.1.
#[test]
fn a_client_subnet_comes_back_with_the_scope_that_was_used() {
    let asked = |label: &str, data: &[u8]| {
        let packet = with_opt(encoded(label, RecordType::A), 1232, 0, 0, &subnet_option(data));
        let response = ask(&packet, Transport::Udp).unwrap();
        let rcode = ResponseCode::from(0, response[3] & 0x0f);
        let option = &response[response.len().saturating_sub(data.len() + 4)..];
        let has = option.starts_with(&[0, 8, 0, u8::try_from(data.len()).unwrap()]);
        assert!(has || response.ends_with(&[0, 0]), "the OPT has either the subnet or nothing");
        (rcode, has.then(|| option[4..].to_vec()))
    };
    let ok = |tail: &[u8]| (ResponseCode::NoError, Some(tail.to_vec()));
    // Steered by the client: the scope is the prefix looked at.
    assert_eq!(asked("pooled", &[0, 1, 24, 0, 203, 0, 113]), ok(&[0, 1, 24, 24, 203, 0, 113]));
    assert_eq!(asked("pooled", &[0, 1, 32, 0, 203, 0, 113, 9]), ok(&[0, 1, 32, 24, 203, 0, 113, 9]));
    assert_eq!(asked("pooled", &[0, 1, 20, 0, 203, 0, 0x70]), ok(&[0, 1, 20, 20, 203, 0, 0x70]));
    assert_eq!(
        asked("toward", &[0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0]),
        ok(&[0, 2, 56, 56, 0x20, 1, 0xd, 0xb8, 0, 0, 0])
    );
    // Not steered by the client, or the client does not want to be told apart: 0.
    assert_eq!(asked("www", &[0, 1, 24, 0, 203, 0, 113]), ok(&[0, 1, 24, 0, 203, 0, 113]));
    assert_eq!(asked("db", &[0, 1, 24, 0, 203, 0, 113]), ok(&[0, 1, 24, 0, 203, 0, 113]));
    assert_eq!(asked("pooled", &[0, 1, 0, 0]), ok(&[0, 1, 0, 0]));
    assert_eq!(asked("pooled", &[0, 2, 0, 0]), ok(&[0, 2, 0, 0]));
    assert_eq!(asked("pooled", &[0, 0, 0, 0]), ok(&[0, 0, 0, 0]));
    let nxdomain = asked("nothing", &[0, 1, 24, 0, 203, 0, 113]);
    assert_eq!(nxdomain, (ResponseCode::NXDomain, Some(vec![0, 1, 24, 0, 203, 0, 113])));
    // Malformed: FORMERR without the option.
    for bad in [
        &[][..],
        &[0, 1, 24],
        &[0, 1, 24, 24, 203, 0, 113],
        &[0, 1, 24, 0, 203, 0],
        &[0, 1, 24, 0, 203, 0, 113, 1],
        &[0, 1, 20, 0, 203, 0, 113],
        &[0, 1, 33, 0, 203, 0, 113, 1, 0],
        &[0, 2, 129, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0],
        &[0, 3, 8, 0, 1],
        &[1, 1, 24, 0, 203, 0, 113],
        &[0, 0, 8, 0, 1],
    ] {
        assert_eq!(asked("pooled", bad), (ResponseCode::FormErr, None), "{bad:?}");
    }
}

/// The same /24 gets the same member however it is told, and different ones are spread.
#[test]
fn a_client_keeps_its_member() {
    let by_subnet = |third: u8| {
        let option = subnet_option(&[0, 1, 24, 0, 203, 0, third]);
        answers(&over_udp(&with_opt(encoded("pooled", RecordType::A), 1232, 0, 0, &option)))
    };
    let by_sender = |third: u8, last: u8| {
        let mut out = vec![0; UDP_MAX];
        let from = SocketAddr::new(IpAddr::from([203, 0, third, last]), 5353);
        let packet = encoded("pooled", RecordType::A);
        let reply = respond(
            &SNAPSHOT,
            &TERMS,
            &packet,
            &arrival(from, Transport::Udp),
            &mut Scratch::new(),
            &mut out,
        );
        let Reply::Sent { length, .. } = reply else { panic!("{reply:?}") };
        answers(&Message::from_vec(&out[..length]).unwrap())
    };
    let mut seen = std::collections::BTreeSet::new();
    for third in 0..=255 {
        assert_eq!(by_subnet(third), by_sender(third, 1));
        assert_eq!(by_sender(third, 1), by_sender(third, 254));
        seen.extend(by_subnet(third));
    }
    assert_eq!(seen.len(), 4, "all members are used");
}

#[test]
fn what_does_not_fit_is_truncated_whole() {
    for (label, payload, fits) in [
        ("some", None, false),
        ("some", Some(0), false),
        ("some", Some(512), false),
        ("some", Some(1232), true),
        ("some", Some(65_535), true),
        ("many", Some(1232), false),
        ("many", Some(65_535), false),
    ] {
        let plain = encoded(label, RecordType::A);
        let packet = payload.map_or(plain.clone(), |p| with_opt(plain.clone(), p, 0, 0, &[]));
        let response = ask(&packet, Transport::Udp).unwrap();
        let limit = payload.map_or(UDP_MAX_PLAIN, |p| usize::from(p).clamp(UDP_MAX_PLAIN, UDP_MAX));
        assert!(response.len() <= limit);
        let message = Message::from_vec(&response).unwrap();
        assert_eq!(message.metadata.truncation, !fits, "{label} {payload:?}");
        assert_eq!(message.answers.len(), if fits { 40 } else { 0 });
        assert_eq!(message.edns.is_some(), payload.is_some());
        let whole = Message::from_vec(&ask(&packet, Transport::Stream).unwrap()).unwrap();
        assert!(!whole.metadata.truncation);
        assert_eq!(whole.answers.len(), if label == "some" { 40 } else { 100 });
    }
}

#[test]
fn a_name_of_full_length_is_answered() {
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61 - APEX.len()));
    let response =
        over_udp(&with_opt(encoded(&longest, RecordType::A), 512, 0, 0, &subnet_option(&[0, 1, 0, 0])));
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(response.queries[0].name().to_string().len(), 254);
    assert_eq!(response.authorities[0].name.to_string(), APEX);
}

/// What any response must be, whatever was asked.
fn check_response(packet: &[u8], response: &[u8], limit: usize) {
    assert!(response.len() <= limit, "{} octets where {limit} are allowed", response.len());
    assert_eq!(response[..2], packet[..2], "the id is the query's");
    assert!(response[2] & 0x80 != 0, "QR is set");
    let message = match Message::from_vec(response) {
        Ok(message) => message,
        // Family 0 of a client subnet, which BIND knows and hickory does not.
        Err(error) => {
            assert!(error.to_string().contains("address family"), "{error}");
            return;
        }
    };
    assert_eq!(message.metadata.message_type, MessageType::Response);
    if !message.queries.is_empty() {
        assert_eq!(message.metadata.op_code, OpCode::Query);
        assert!(packet[12..].starts_with(&response[12..12 + question_length(response)]));
    }
    if let Some(edns) = &message.edns {
        // NSID, client subnet, cookie, keepalive and extended error: none but those are ours.
        let ours = |code: u16| matches!(code, 3 | 8 | 10 | 11 | 15);
        let only_ours = edns.options().as_ref().iter().all(|(code, _)| ours(u16::from(*code)));
        assert!(only_ours, "an unknown option came back");
    }
}

fn question_length(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5 - 12
}

/// Queries of all kinds, whole.
fn any_query() -> impl Strategy<Value = Vec<u8>> {
    let label = prop::sample::select(vec![
        "www", "mail", "text", "alias", "chain", "toward", "away", "dangling", "x.wild", "wild", "child",
        "x.child", "many", "some", "db", "pooled", "open", "nothing", "generic",
    ]);
    let record_type = prop_oneof![
        prop::sample::select(vec![1u16, 2, 5, 6, 15, 16, 28, 33, 43, 255, 252, 41, 250, 0]),
        any::<u16>(),
    ];
    let edns =
        prop::option::of((any::<u16>(), 0..3u8, any::<u16>(), prop::collection::vec(any::<u8>(), 0..30)));
    let subnet = prop::option::of(prop::collection::vec(any::<u8>(), 0..24));
    (label, record_type, edns, subnet).prop_map(|(label, record_type, edns, subnet)| {
        let plain = encoded(label, record_type.into());
        match (edns, subnet) {
            (Some((payload, version, flags, _)), Some(data)) => {
                with_opt(plain, payload, version, flags, &subnet_option(&data))
            }
            (Some((payload, version, flags, options)), None) => {
                with_opt(plain, payload, version, flags, &options)
            }
            (None, _) => plain,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Garbage of every length up to a whole datagram buffer.
    #[test]
    fn garbage_never_panics(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        for transport in [Transport::Udp, Transport::Stream] {
            if let Some(response) = ask(&packet, transport) {
                check_response(&packet, &response, if transport == Transport::Udp { UDP_MAX } else { TCP_MAX });
            }
        }
    }

    /// Whole queries with some octets changed, cut or added: what garbage alone never reaches.
    #[test]
    fn damaged_queries_never_panic(
        query in any_query(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut packet = query;
        for (index, value) in changes {
            let at = index.index(packet.len());
            packet[at] = value;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        packet.extend(tail);
        for transport in [Transport::Udp, Transport::Stream] {
            if let Some(response) = ask(&packet, transport) {
                check_response(&packet, &response, if transport == Transport::Udp { UDP_MAX } else { TCP_MAX });
            }
        }
    }
}

/// Goal: over the limit every second query of a network is answered short: a client without a cookie is told to come by
/// TCP, one with a cookie to show ours, and who does, or comes by TCP, is answered.
#[test]
fn over_the_limit_a_client_is_told_another_way() {
    let terms = Terms { rate_limit: std::num::NonZeroU32::new(1), ..TERMS.clone() };
    let mut scratch = Scratch::new();
    let mut out = vec![0; TCP_MAX];
    let mut say = |packet: &[u8], transport| {
        let reply = respond(&SNAPSHOT, &terms, packet, &arrival(sender(), transport), &mut scratch, &mut out);
        match reply {
            Reply::Sent { length, rcode, truncated, .. } => {
                Some((Message::from_vec(&out[..length]).unwrap(), rcode, truncated))
            }
            other => {
                assert_eq!(other, Reply::Limited);
                None
            }
        }
    };
    let plain = encoded("www", RecordType::A);
    let (answered, ..) = say(&plain, Transport::Udp).unwrap();
    assert_eq!(answered.answers.len(), 2);
    assert!(say(&plain, Transport::Udp).is_none());
    let (short, rcode, truncated) = say(&plain, Transport::Udp).unwrap();
    assert!(truncated && rcode == 0 && short.answers.is_empty() && short.queries.len() == 1);
    assert!(say(&plain, Transport::Stream).unwrap().0.answers.len() == 2);
    let client = with_opt(plain.clone(), 1232, 0, 0, &[&[0, 10, 0, 8][..], &[7; 8]].concat());
    assert!(say(&client, Transport::Udp).is_none());
    let (short, rcode, _) = say(&client, Transport::Udp).unwrap();
    assert_eq!((rcode, short.answers.len()), (23, 0));
    let given = match short.edns.unwrap().options().as_ref().iter().find(|(code, _)| u16::from(*code) == 10) {
        Some((_, EdnsOption::Unknown(_, data))) => data.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(given.len(), 24);
    let shown = with_opt(plain, 1232, 0, 0, &[&[0, 10, 0, 24][..], &given].concat());
    for _ in 0..5 {
        assert_eq!(say(&shown, Transport::Udp).unwrap().0.answers.len(), 2);
    }
}
