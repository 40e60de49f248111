//! The listeners on real sockets of the loopback, asked by our own clients.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use gslb_dns::{ListenError, Published, TcpLimits, TcpServer, UdpServer};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use model::Generation;
use support::{query, snapshot};

/// How long anything on the loopback may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn any_port(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(any_port(if server.is_ipv4() { "127.0.0.1" } else { "::1" })).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, message: &Message) -> Message {
    socket.send(&message.to_vec().unwrap()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn frame(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes.as_slice()].concat()
}

fn read_frame(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}

#[test]
fn udp_answers_on_both_families_and_counts() {
    let published = Published::new(snapshot(1, "pdc"));
    let server = UdpServer::start(&[any_port("127.0.0.1"), any_port("::1")], 2, &published).unwrap();
    assert_eq!(server.addresses().len(), 2);
    for address in server.addresses() {
        let socket = client(*address);
        let response = ask(&socket, &query("www", RecordType::A));
        assert_eq!(response.answers.len(), 2);
        let response = ask(&socket, &query("nothing", RecordType::A));
        assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
        let response = ask(&socket, &query("many", RecordType::A));
        assert!(response.metadata.truncation);
        let response = ask(&socket, &query("open", RecordType::A));
        assert_eq!(response.answers.len(), 1);
        // Too short to be answered; the query after it is.
        socket.send(&[1, 2, 3]).unwrap();
        ask(&socket, &query("www", RecordType::A));
    }
    let counted = server.stop(DEADLINE).unwrap();
    assert_eq!((counted.queries, counted.responses(), counted.dropped), (12, 10, 2));
    assert_eq!((counted.rcodes[0], counted.rcodes[3]), (8, 2));
    assert_eq!((counted.truncated, counted.all_down_open, counted.panicked, counted.unsent), (2, 2, 0, 0));
}

#[test]
fn a_published_snapshot_is_answered_at_once_and_older_ones_are_refused() {
    let published = Published::new(snapshot(1, "pdc"));
    let server = UdpServer::start(&[any_port("127.0.0.1")], 2, &published).unwrap();
    let socket = client(server.addresses()[0]);
    let address = |response: Message| response.answers[0].data.to_string();
    assert_eq!(address(ask(&socket, &query("db", RecordType::A))), "192.0.2.10");
    assert_eq!(published.publish(snapshot(2, "mdc")).unwrap(), 2);
    assert_eq!(address(ask(&socket, &query("db", RecordType::A))), "198.51.100.10");

    let refused = published.publish(snapshot(1, "pdc")).unwrap_err();
    assert_eq!((refused.offered, refused.current), (Generation(1), Generation(2)));
    assert_eq!(address(ask(&socket, &query("db", RecordType::A))), "198.51.100.10");

    // The same generation under another freshness is published with the next number.
    let current = published.load();
    let stale = current.snapshot.with(current.snapshot.verdicts().clone(), gslb_core::Freshness::Stale);
    assert_eq!(published.publish(stale).unwrap(), 3);
    let response = ask(&socket, &query("db", RecordType::A));
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    server.stop(DEADLINE).unwrap();
}

/// Swapping snapshots as fast as it goes loses no query and mixes no answers.
#[test]
fn no_query_is_lost_while_snapshots_are_swapped() {
    let published = Published::new(snapshot(1, "pdc"));
    let server = UdpServer::start(&[any_port("127.0.0.1")], 2, &published).unwrap();
    let address = server.addresses()[0];
    let asking = std::thread::spawn(move || {
        let socket = client(address);
        for id in 0..2_000u16 {
            let mut message = query("db", RecordType::A);
            message.metadata.id = id;
            let response = ask(&socket, &message);
            assert_eq!((response.metadata.id, response.answers.len()), (id, 1));
        }
    });
    let mut generation = 1;
    while !asking.is_finished() {
        generation += 1;
        published.publish(snapshot(generation, if generation % 2 == 0 { "mdc" } else { "pdc" })).unwrap();
    }
    asking.join().unwrap();
    assert!(generation > 1);
    assert_eq!(server.stop(DEADLINE).unwrap().rcodes[0], 2_000);
}

/// A whole batch at once: more datagrams than one system call takes, each answered.
#[test]
fn a_burst_is_answered_whole() {
    let published = Published::new(snapshot(1, "pdc"));
    let server = UdpServer::start(&[any_port("127.0.0.1")], 1, &published).unwrap();
    let socket = client(server.addresses()[0]);
    for id in 0..200u16 {
        let mut message = query("www", RecordType::A);
        message.metadata.id = id;
        socket.send(&message.to_vec().unwrap()).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut buffer = [0; 4096];
    while seen.len() < 200 {
        let length = socket.recv(&mut buffer).unwrap();
        let response = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(response.answers.len(), 2);
        assert!(seen.insert(response.metadata.id), "answered twice");
    }
    server.stop(DEADLINE).unwrap();
}

#[test]
fn stopping_answers_what_is_in_the_socket_and_frees_the_port() {
    let published = Published::new(snapshot(1, "pdc"));
    let server = UdpServer::start(&[any_port("127.0.0.1")], 1, &published).unwrap();
    let address = server.addresses()[0];
    assert!(server.healthy());
    let socket = client(address);
    socket.send(&query("www", RecordType::A).to_vec().unwrap()).unwrap();
    let counted = server.stop(DEADLINE).unwrap();
    assert_eq!(counted.queries, 1);
    assert!(socket.recv(&mut [0; 512]).is_ok());
    let again = UdpServer::start(&[address], 1, &published).unwrap();
    ask(&client(address), &query("www", RecordType::A));
    again.stop(DEADLINE).unwrap();
}

#[test]
fn an_address_that_is_not_ours_is_a_clear_error() {
    let published = Published::new(snapshot(1, "pdc"));
    let error = UdpServer::start(&[any_port("192.0.2.1")], 1, &published).unwrap_err();
    assert!(
        matches!(error, ListenError::Bind { .. }) && error.to_string().contains("udp 192.0.2.1:0"),
        "{error}"
    );
    assert!(matches!(UdpServer::start(&[], 1, &published).unwrap_err(), ListenError::Nothing));
}

/// A wildcard stands for this host's addresses, so that replies leave from the address that was asked.
#[test]
fn a_wildcard_becomes_the_addresses_of_this_host() {
    let expanded =
        gslb_dns::expand(&["0.0.0.0:53".parse().unwrap(), "127.0.0.1:53".parse().unwrap()]).unwrap();
    assert_eq!(expanded.iter().filter(|a| a.to_string() == "127.0.0.1:53").count(), 1);
    assert!(expanded.iter().all(|a| a.is_ipv4() && !a.ip().is_unspecified() && a.port() == 53));
}

#[test]
fn tcp_carries_what_udp_truncates_and_pipelines() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let published = Published::new(snapshot(1, "pdc"));
    let server =
        TcpServer::start(&[any_port("127.0.0.1"), any_port("::1")], TcpLimits::default(), &published)
            .unwrap();
    for address in server.addresses() {
        let mut stream = connect(*address);
        // Three queries in one write, the last cut in the middle: answered in order.
        let mut first = query("many", RecordType::A);
        first.metadata.id = 1;
        let mut second = query("db", RecordType::A);
        second.metadata.id = 2;
        let mut third = query("nothing", RecordType::A);
        third.metadata.id = 3;
        let bytes = [frame(&first), frame(&second), frame(&third)].concat();
        let (now, later) = bytes.split_at(bytes.len() - 7);
        stream.write_all(now).unwrap();
        let response = read_frame(&mut stream);
        assert_eq!((response.metadata.id, response.answers.len()), (1, 100));
        assert!(!response.metadata.truncation);
        published.publish(snapshot(2, "mdc")).unwrap();
        assert_eq!(read_frame(&mut stream).metadata.id, 2);
        stream.write_all(later).unwrap();
        let response = read_frame(&mut stream);
        assert_eq!((response.metadata.id, response.metadata.response_code), (3, ResponseCode::NXDomain));
        // The connection sees what is published while it is open.
        stream.write_all(&frame(&second)).unwrap();
        assert_eq!(read_frame(&mut stream).answers[0].data.to_string(), "198.51.100.10");
    }
    let counted = runtime.block_on(server.stop(DEADLINE));
    assert_eq!((counted.queries, counted.rcodes[0], counted.rcodes[3]), (8, 6, 2));
}

#[test]
fn tcp_refuses_connections_beyond_the_limit_and_closes_silent_ones() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let published = Published::new(snapshot(1, "pdc"));
    let limits = TcpLimits { connections: 1, idle: Duration::from_millis(300) };
    let server = TcpServer::start(&[any_port("127.0.0.1")], limits, &published).unwrap();
    let address = server.addresses()[0];
    let mut first = connect(address);
    first.write_all(&frame(&query("www", RecordType::A))).unwrap();
    assert_eq!(read_frame(&mut first).answers.len(), 2);
    // While the first is open a second is closed unanswered. Whether the close arrives as an end or as a
    // reset depends on whether the query was already there.
    let mut second = connect(address);
    let _ = second.write_all(&frame(&query("www", RecordType::A)));
    assert!(matches!(second.read(&mut [0; 2]), Ok(0) | Err(_)));
    // The first says nothing more, or never finishes what it says: closed.
    first.write_all(&[0]).unwrap();
    assert_eq!(first.read(&mut [0; 2]).unwrap(), 0);
    let mut third = connect(address);
    third.write_all(&frame(&query("www", RecordType::A))).unwrap();
    assert_eq!(read_frame(&mut third).answers.len(), 2);
    let counted = runtime.block_on(server.stop(DEADLINE));
    assert!(counted.connections_closed >= 2, "{counted:?}");
}

#[test]
fn garbage_over_tcp_ends_the_connection_and_nothing_else() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let published = Published::new(snapshot(1, "pdc"));
    // A message of no octets is waited on until the connection has been idle for too long.
    let limits = TcpLimits { idle: Duration::from_millis(300), ..TcpLimits::default() };
    let server = TcpServer::start(&[any_port("127.0.0.1")], limits, &published).unwrap();
    let address = server.addresses()[0];
    for garbage in
        [&b"\x00\x00"[..], b"\x00\x03abc", b"\x00\x0c\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00"]
    {
        let mut stream = connect(address);
        stream.write_all(garbage).unwrap();
        assert!(matches!(stream.read(&mut [0; 2]), Ok(0) | Err(_)), "{garbage:?}");
    }
    // An HTTP request's first two letters are a length of 18,245 octets: it waits for the rest.
    let mut http = connect(address);
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut stream = connect(address);
    stream.write_all(&frame(&query("www", RecordType::A))).unwrap();
    assert_eq!(read_frame(&mut stream).answers.len(), 2);
    runtime.block_on(server.stop(DEADLINE));
    assert!(matches!(http.read(&mut [0; 2]), Ok(0) | Err(_)), "stopping closes what is open");
}
