//! Strangers, impostors and garbage: refused, counted, and of no concern to the others.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::lab::{Authority, Lab, PATIENCE, brisk, calm, endpoint, until};
use crate::frames::FrameReader;
use crate::wire::{Beat, ErrorCode, FRAME_MAX, Frame, HELLO_MAX, Kind, Message, decode, encode};
use crate::{Endpoint, LinkCounters, LinkTls, node_server_name};

const ALL: [&str; 3] = ["node/a", "node/b", "guard/db"];

async fn counted(lab: &Lab, name: &str, what: fn(&LinkCounters) -> u64) {
    until("the refusal is counted", async || what(&lab.links(name).view().counters) > 0).await;
}

/// Every link still works.
async fn unharmed(lab: &mut Lab) {
    assert_eq!(lab.call("node/a", "node/b", "hi").await, Ok("node/b heard hi".to_owned()));
    assert_eq!(lab.call("node/a", "guard/db", "hi").await, Ok("guard/db heard hi".to_owned()));
    lab.halt_all().await;
}

fn address(lab: &Lab, name: &str) -> SocketAddr {
    lab.links(name).local_addr().unwrap()
}

/// A connection past TLS, to a node named `a`.
async fn tls_to_a(tls: &LinkTls, address: SocketAddr) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = node_server_name(&"a".parse().unwrap()).unwrap();
    TlsConnector::from(tls.client.clone()).connect(name, tcp).await.unwrap()
}

/// Reads frames until the other end closes; the reason it gave, if any.
async fn last_words(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    // The end may come as a plain close, an alert or a reset.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it was closed");
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_at_checked(4) {
        let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
        let (frame, after) = after.split_at(length);
        if let Frame::Bye { reason } = decode(frame).unwrap() {
            return Some(reason);
        }
        rest = after;
    }
    None
}

/// An authenticated peer that says hello, then these bytes; what it is told in the end.
async fn told_after(lab: &Lab, me: &str, bytes: &[u8]) -> String {
    let me = endpoint(me);
    let mut stream = tls_to_a(&lab.authority.tls(&me), address(lab, "node/a")).await;
    let hello = Frame::Hello { from: me, to: endpoint("node/a") };
    stream.write_all(&encode(&hello)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    last_words(&mut stream).await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_refused() {
    let mut lab = Lab::start(calm(), &ALL).await;
    let other = Authority::new();
    // As a dialer: trusts our authority, but shows what the other one signed.
    let tls = lab.authority.tls_presenting(&other, &endpoint("node/b"));
    let mut stream = tls_to_a(&tls, address(&lab, "node/a")).await;
    assert_eq!(last_words(&mut stream).await, None);
    counted(&lab, "node/a", |c| c.refused_certificate).await;
    unharmed(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialed_node_with_a_certificate_of_another_authority_is_refused() {
    let mut lab = Lab::prepare(brisk(), &["node/a", "node/b"]).await;
    lab.boot("node/a").await;
    let other = Authority::new();
    let mut config = lab.config("node/b");
    config.tls = lab.authority.tls_presenting(&other, &endpoint("node/b"));
    lab.boot_with("node/b", config).await;
    counted(&lab, "node/a", |c| c.refused_certificate).await;
    assert!(!lab.up("node/a", "node/b"));
    until("the reason is there for people", async || {
        let problem = lab.links("node/a").view().links[&endpoint("node/b")].last_problem.clone();
        problem.is_some_and(|text| text.contains("certificate"))
    })
    .await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_a_certificate_is_refused() {
    let mut lab = Lab::start(calm(), &ALL).await;
    let mut stream = tls_to_a(&lab.authority.tls_presenting_nothing(), address(&lab, "node/a")).await;
    assert_eq!(last_words(&mut stream).await, None);
    counted(&lab, "node/a", |c| c.refused_certificate).await;
    unharmed(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_the_roster_does_not_hold_is_refused_and_told() {
    let mut lab = Lab::start(calm(), &ALL).await;
    for stranger in ["node/stranger", "guard/stranger"] {
        let why = told_after(&lab, stranger, b"").await;
        assert!(why.contains(stranger) && why.contains("roster"), "{why:?}");
    }
    counted(&lab, "node/a", |c| c.refused_unknown).await;
    unharmed(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_is_not_the_certificates_or_not_for_us_is_refused() {
    let mut lab = Lab::start(calm(), &ALL).await;
    let b = endpoint("node/b");
    for (from, to) in [("node/w", "node/a"), ("node/b", "node/w")] {
        let mut stream = tls_to_a(&lab.authority.tls(&b), address(&lab, "node/a")).await;
        let hello = Frame::Hello { from: endpoint(from), to: endpoint(to) };
        stream.write_all(&encode(&hello)).await.unwrap();
        let why = last_words(&mut stream).await.unwrap();
        assert!(why.contains("node/w"), "{why:?}");
    }
    counted(&lab, "node/a", |c| c.refused_misdirected).await;
    unharmed(&mut lab).await;
}

/// The address of b leads to a process whose certificate is good for the name b, but names a guard.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_another_than_the_one_dialed_is_refused() {
    let mut lab = Lab::prepare(brisk(), &["node/a", "node/b"]).await;
    lab.boot("node/a").await;
    let mut config = lab.config("node/b");
    config.tls = lab.authority.tls(&endpoint("guard/b"));
    lab.boot_with("node/b", config).await;
    counted(&lab, "node/a", |c| c.refused_misdirected).await;
    assert!(!lab.up("node/a", "node/b"));
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_tls_is_refused() {
    let mut lab = Lab::start(calm(), &ALL).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 4096], b""] {
        let mut tcp = TcpStream::connect(address(&lab, "node/a")).await.unwrap();
        let _ = tcp.write_all(garbage).await;
        let _ = tcp.shutdown().await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("it was closed");
    }
    counted(&lab, "node/a", |c| c.refused_certificate).await;
    unharmed(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_peer_of_the_roster_closes_its_connection_with_a_reason() {
    let mut lab = Lab::start(calm(), &ALL).await;
    let why = told_after(&lab, "node/b", &[0, 0, 0, 2, 1, 99]).await;
    assert!(why.contains("malformed"), "{why:?}");
    let why = told_after(&lab, "node/b", &[0, 0, 0, 2, 9, 4]).await;
    assert!(why.contains("version 9"), "{why:?}");
    let why = told_after(&lab, "node/b", &[0xff; 64]).await;
    assert!(why.contains("limit"), "{why:?}");
    let why = told_after(
        &lab,
        "node/b",
        &encode(&Frame::Hello { from: endpoint("node/b"), to: endpoint("node/a") }),
    )
    .await;
    assert!(why.contains("second hello"), "{why:?}");
    counted(&lab, "node/a", |c| c.refused_garbage).await;
    counted(&lab, "node/a", |c| c.refused_version).await;
    counted(&lab, "node/a", |c| c.refused_oversize).await;
    unharmed(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_frame_that_is_too_long_or_no_hello_is_refused() {
    let mut lab = Lab::start(calm(), &ALL).await;
    let tls = lab.authority.tls(&endpoint("node/b"));
    let beat = Beat { hears_you: true, stamp: 0, echo: None, up: vec![] };
    let long = u32::try_from(HELLO_MAX + 1).unwrap().to_be_bytes().to_vec();
    for bytes in [encode(&Frame::Beat(beat)), long, b"\0\0\0\x02\x07\x01".to_vec()] {
        let mut stream = tls_to_a(&tls, address(&lab, "node/a")).await;
        stream.write_all(&bytes).await.unwrap();
        assert!(last_words(&mut stream).await.is_some());
    }
    counted(&lab, "node/a", |c| c.refused_garbage).await;
    counted(&lab, "node/a", |c| c.refused_oversize).await;
    counted(&lab, "node/a", |c| c.refused_version).await;
    unharmed(&mut lab).await;
}

fn message(hops: u8, from: &Endpoint, to: &Endpoint) -> Vec<u8> {
    let kind = Kind::Cast { topic: 1 };
    let message = Message { hops, from: from.clone(), to: to.clone(), kind, body: b"forged".to_vec() };
    encode(&Frame::Message(message))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another_but_a_node_that_passes_on() {
    let mut lab = Lab::start(calm(), &["node/a", "node/b", "node/w", "guard/db"]).await;
    let (a, b, guard) = (endpoint("node/a"), endpoint("node/b"), endpoint("guard/db"));
    // A guard speaks for a node; a node asks for a second hop, and passes on to a third party.
    let why = told_after(&lab, "guard/db", &message(0, &b, &a)).await;
    assert!(why.contains("speak for node/b"), "{why:?}");
    let why = told_after(&lab, "node/w", &message(0, &endpoint("node/w"), &b)).await;
    assert!(why.contains("may not be passed on"), "{why:?}");
    let why = told_after(&lab, "node/w", &message(1, &guard, &b)).await;
    assert!(why.contains("speak for guard/db"), "{why:?}");
    counted(&lab, "node/a", |c| c.refused_forged).await;
    // A node that passes on for a guard is believed.
    let bytes = [message(0, &guard, &a), vec![0, 0, 0, 2, 1, 99]].concat();
    let why = told_after(&lab, "node/w", &bytes).await;
    assert!(why.contains("malformed"), "{why:?}");
    let casts = lab.process("node/a").casts.clone();
    until("the cast", async || !casts.lock().unwrap().is_empty()).await;
    assert_eq!(*casts.lock().unwrap(), [(guard, b"forged".to_vec(), true)]);
    unharmed(&mut lab).await;
}

/// A relay that lost the receiver a moment ago says so, instead of letting the caller wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_passed_on_is_answered_at_once() {
    let mut lab = Lab::prepare(calm(), &["node/a", "node/b", "node/w"]).await;
    lab.boot("node/a").await;
    let b = endpoint("node/b");
    let mut stream = tls_to_a(&lab.authority.tls(&b), address(&lab, "node/a")).await;
    let call = Message {
        hops: 1,
        from: b.clone(),
        to: endpoint("node/w"),
        kind: Kind::Call { id: 5, topic: 1 },
        body: vec![],
    };
    let beat = Beat { hears_you: true, stamp: 0, echo: None, up: vec![] };
    for frame in
        [Frame::Hello { from: b.clone(), to: endpoint("node/a") }, Frame::Beat(beat), Frame::Message(call)]
    {
        stream.write_all(&encode(&frame)).await.unwrap();
    }
    let mut frames = FrameReader::new(stream, FRAME_MAX);
    let waiting = async {
        loop {
            while let Some(frame) = frames.next().unwrap() {
                if let Frame::Message(message) = frame {
                    return message;
                }
            }
            assert!(frames.fill().await.unwrap() > 0, "it closed without an answer");
        }
    };
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!((answer.from, answer.to), (endpoint("node/a"), b));
    assert_eq!(answer.kind, Kind::Error { id: 5, code: ErrorCode::NoPath });
    assert_eq!(lab.links("node/a").view().counters.forward_failed, 1);
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_says_nothing_is_closed() {
    let mut lab = Lab::start(calm(), &ALL).await;
    let mut tcp = TcpStream::connect(address(&lab, "node/a")).await.unwrap();
    let mut past_tls = tls_to_a(&lab.authority.tls(&endpoint("node/b")), address(&lab, "node/a")).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("it was closed");
    assert_eq!(last_words(&mut past_tls).await, None);
    counted(&lab, "node/a", |c| c.refused_slow).await;
    unharmed(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_authenticated_peer_is_closed() {
    let mut lab = Lab::start(brisk(), &ALL).await;
    let why = told_after(&lab, "node/b", b"").await;
    assert_eq!(why, "", "a silent peer is closed without a word");
    lab.until_answered("node/a", "node/b").await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_strangers_who_say_nothing_keep_no_peer_out() {
    let mut lab = Lab::prepare(calm(), &ALL).await;
    lab.boot("node/a").await;
    let mut strangers = Vec::new();
    for _ in 0..200 {
        strangers.push(TcpStream::connect(address(&lab, "node/a")).await.unwrap());
    }
    lab.boot("node/b").await;
    lab.boot("guard/db").await;
    lab.until_direct("node/a", "node/b").await;
    lab.until_direct("node/a", "guard/db").await;
    counted(&lab, "node/a", |c| c.refused_slow).await;
    unharmed(&mut lab).await;
}
