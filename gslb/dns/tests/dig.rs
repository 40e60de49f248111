//! The listeners asked by `dig` (Debian: bind9-dnsutils), which knows nothing of our code.
//!
//! The EDNS cases are those of RFC 8906 §8, with its own command lines.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use gslb_dns::wire::{CookieSecret, Terms};
use gslb_dns::{Published, TcpLimits, TcpServer, UdpServer};
use support::{APEX, snapshot};

const DEADLINE: Duration = Duration::from_secs(20);

/// UDP and TCP on one port of the loopback.
struct Server {
    udp: UdpServer,
    _tcp: TcpServer,
    _runtime: tokio::runtime::Runtime,
    address: SocketAddr,
}

fn server() -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let terms = Terms { nsid: "pdc-1".into(), cookies: Some(CookieSecret::drawn()), rate_limit: None };
    let published = Published::on(snapshot(1, "pdc"), terms);
    // A port that is free for UDP may be taken for TCP by another test; then the next one is tried.
    for _ in 0..100 {
        let udp = UdpServer::start(&["127.0.0.1:0".parse().unwrap()], 1, &published).unwrap();
        let address = udp.addresses()[0];
        if let Ok(tcp) = TcpServer::start(&[address], TcpLimits::default(), &published) {
            drop(_inside);
            return Server { udp, _tcp: tcp, _runtime: runtime, address };
        }
    }
    panic!("no port is free for both UDP and TCP");
}

impl Server {
    /// What dig prints to `arguments`.
    fn dig(&self, arguments: &str) -> String {
        let output = Command::new("dig")
            .arg(format!("@{}", self.address.ip()))
            .args(["-p", &self.address.port().to_string(), "+tries=1", "+timeout=10", "+nocmd", "+nostats"])
            .args(arguments.split_whitespace())
            .output()
            .expect("dig runs; install bind9-dnsutils");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "dig {arguments}: {text}");
        text
    }

    /// The answer section alone, short.
    fn short(&self, arguments: &str) -> Vec<String> {
        let text = self.dig(&format!("+short {arguments}"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Asserts that dig's whole output has every one of `wanted` and none of `unwanted`.
    fn check(&self, arguments: &str, wanted: &[&str], unwanted: &[&str]) {
        let text = self.dig(arguments);
        for piece in wanted {
            assert!(text.contains(piece), "dig {arguments}: no {piece:?} in\n{text}");
        }
        for piece in unwanted.iter().chain(&["WARNING: Message", "malformed", "extra bytes"]) {
            assert!(!text.contains(piece), "dig {arguments}: {piece:?} in\n{text}");
        }
    }
}

#[test]
fn dig_reads_every_kind_of_record() {
    let server = server();
    for (question, wanted) in [
        ("www.gslb.example A", &["192.0.2.1", "192.0.2.2"][..]),
        ("www.gslb.example AAAA", &["2001:db8::1"]),
        ("mail.gslb.example MX", &["10 mx.gslb.example."]),
        ("text.gslb.example TXT", &["\"hello world\""]),
        ("_http._tcp.gslb.example SRV", &["1 2 80 www.gslb.example."]),
        ("alias.gslb.example A", &["192.0.2.1", "192.0.2.2", "www.gslb.example."]),
        ("x.wild.gslb.example A", &["192.0.2.9"]),
        ("gslb.example NS", &["ns1.gslb.example.", "ns2.gslb.example."]),
        ("gslb.example SOA", &["ns1.gslb.example. hostmaster.gslb.example. 7 7200 900 1209600 5"]),
        ("generic.gslb.example TYPE65280", &["\\# 3 010203"]),
        ("db.gslb.example A", &["192.0.2.10"]),
        ("db.gslb.example AAAA", &["2001:db8::10"]),
        ("www.gslb.example ANY +notcp", &["\"RFC8482\" \"\""]),
    ] {
        assert_eq!(server.short(question), wanted, "{question}");
        assert_eq!(server.short(&format!("+tcp {question}")), wanted, "{question} over TCP");
    }
    assert_eq!(server.udp.counters().panicked, 0);
}

#[test]
fn dig_reads_negatives_referrals_and_refusals() {
    let server = server();
    let soa = "gslb.example.\t\t5\tIN\tSOA";
    server.check("nothing.gslb.example A", &["status: NXDOMAIN", "ANSWER: 0, AUTHORITY: 1", soa, " aa"], &[]);
    server.check("text.gslb.example A", &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa], &[]);
    server.check("down.there.gslb.example A", &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa], &[]);
    server.check("dangling.gslb.example A", &["status: NXDOMAIN", "ANSWER: 1, AUTHORITY: 1", soa], &[]);
    server.check(
        "x.child.gslb.example A",
        &["status: NOERROR", "ns.child.gslb.example.\t60\tIN\tA"],
        &[" aa"],
    );
    server.check("www.elsewhere.test A", &["status: REFUSED", "ANSWER: 0"], &[" aa"]);
    server.check("wWw.GSLB.example A", &["wWw.GSLB.example."], &[]);
    server.check("-c CH version.bind TXT", &["status: REFUSED"], &[]);
    server.check("AXFR gslb.example", &["Transfer failed"], &[]);
}

#[test]
fn dig_retries_over_tcp_what_is_truncated() {
    let server = server();
    server.check("+ignore many.gslb.example A", &[" tc", "ANSWER: 0"], &[]);
    assert_eq!(server.short("many.gslb.example A").len(), 100);
    server.check("+ignore +noedns some.gslb.example A", &[" tc", "ANSWER: 0"], &[]);
    server.check("+ignore +bufsize=4096 some.gslb.example A", &["ANSWER: 40"], &[" tc"]);
    let counted = server.udp.stop(DEADLINE).unwrap();
    assert_eq!(counted.truncated, 3);
}

#[test]
fn rfc_8906_plain_dns_cases() {
    let server = server();
    let plain = "+noedns +noad +norec";
    let soa = ["status: NOERROR", "ANSWER: 1", "\tSOA\t", " aa"];
    server.check(&format!("{plain} soa {APEX}"), &soa, &["OPT PSEUDOSECTION", " ra", " ad"]);
    server.check(&format!("{plain} type1000 {APEX}"), &["status: NOERROR", "ANSWER: 0", " aa"], &["OPT"]);
    for flag in ["+cd", "+ad", "+zflag", "+aaflag", "+rec"] {
        server.check(&format!("+noedns +norec {flag} soa {APEX}"), &soa, &[" ra", " ad", "MBZ"]);
    }
    server.check(
        "+noedns +noad +norec +opcode=15 +header-only",
        &["status: NOTIMP", "opcode: RESERVED15"],
        &[],
    );
    server.check(&format!("{plain} +tcp soa {APEX}"), &soa, &["OPT"]);
}

#[test]
fn rfc_8906_edns_cases() {
    let server = server();
    let edns = "+nocookie +norec";
    let soa = ["status: NOERROR", "ANSWER: 1", "\tSOA\t", " aa", "EDNS: version: 0, flags:; udp: 1232"];
    let badvers = ["status: BADVERS", "ANSWER: 0", "EDNS: version: 0"];
    server.check(&format!("{edns} +edns=0 soa {APEX}"), &soa, &["OPT="]);
    server.check(&format!("{edns} +edns=0 +tcp soa {APEX}"), &soa, &[]);
    server.check(&format!("{edns} +edns=1 +noednsneg soa {APEX}"), &badvers, &["\tSOA\t"]);
    server.check(&format!("{edns} +edns=0 +ednsopt=100 soa {APEX}"), &soa, &["OPT="]);
    server.check(&format!("{edns} +edns=0 +ednsflags=0x40 soa {APEX}"), &soa, &["MBZ"]);
    server.check(&format!("{edns} +edns=1 +noednsneg +ednsopt=100 soa {APEX}"), &badvers, &["OPT="]);
    server.check(&format!("{edns} +edns=1 +noednsneg +ednsflags=0x40 soa {APEX}"), &badvers, &["MBZ"]);
    server.check(
        &format!("{edns} +edns=1 +noednsneg +dnssec soa {APEX}"),
        &["status: BADVERS"],
        &["\tSOA\t"],
    );
    let dnssec = ["status: NOERROR", "\tSOA\t", "EDNS: version: 0, flags: do; udp: 1232"];
    server.check(&format!("{edns} +edns=0 +dnssec soa {APEX}"), &dnssec, &[]);
    server.check(&format!("{edns} +edns=0 +bufsize=512 soa {APEX}"), &soa, &[" tc"]);
    server.check("+edns=0 +cookie +nsid +norec soa gslb.example", &soa, &[]);
    server.check(&format!("{edns} +edns=0 type1000 {APEX}"), &["status: NOERROR", "ANSWER: 0"], &[]);
}

/// Goal: cookies, the node's name, idle times and extended errors are what dig knows them as, and come with an OPT only.
#[test]
fn dig_reads_cookies_names_idle_times_and_errors() {
    let server = server();
    let options = ["; COOKIE: ", "; NSID: ", "; TCP KEEPALIVE: ", "; EDE: "];
    server.check(&format!("+nocookie soa {APEX}"), &["OPT PSEUDOSECTION"], &options);
    server.check(&format!("+noedns soa {APEX}"), &["ANSWER: 1"], &["OPT PSEUDOSECTION"]);
    // dig calls a cookie good that has its own in front.
    server.check(&format!("+cookie soa {APEX}"), &["COOKIE: ", " (good)"], &options[1..]);
    let given = server.dig(&format!("+cookie soa {APEX}"));
    let cookie = given.split("COOKIE: ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(cookie.len(), 48, "{given}");
    server.check(&format!("+cookie={cookie} soa {APEX}"), &["ANSWER: 1", " (good)"], &[]);
    // RFC 7873 §5.4: no question, and the cookie all the same.
    server.check("+cookie +header-only", &["status: NOERROR", "QUERY: 0", " (good)"], &[]);
    server.check("+nocookie +header-only", &["status: FORMERR"], &options);
    for length in [0, 7, 9, 15, 41] {
        let option = format!("+nocookie +ednsopt=10:{} soa {APEX}", "00".repeat(length));
        server.check(&option, &["status: FORMERR"], &options[1..]);
    }
    server.check(&format!("+nsid soa {APEX}"), &["NSID: 70 64 63 2d 31 (\"pdc-1\")"], &[]);
    server.check(&format!("+tcp +keepalive soa {APEX}"), &["TCP KEEPALIVE: 10.0 secs"], &[]);
    server.check(&format!("+keepalive soa {APEX}"), &["ANSWER: 1"], &options[2..]);
    for (question, error) in [
        ("www.elsewhere.test A", "EDE: 20 (Not Authoritative): (no zone here covers the name)"),
        ("-c CH version.bind TXT", "EDE: 21 (Not Supported): (class or transfer not served)"),
        ("open.gslb.example A", "EDE: 0 (Other): (no pool is up; all members are answered)"),
    ] {
        server.check(question, &[error], &[]);
    }
}

#[test]
fn dig_reads_the_client_subnet() {
    let server = server();
    let scope = |label: &str, subnet: &str, wanted: &str| {
        server.check(&format!("+subnet={subnet} {label}.gslb.example A"), &["status: NOERROR", wanted], &[]);
    };
    scope("pooled", "203.0.113.0/24", "CLIENT-SUBNET: 203.0.113.0/24/24");
    scope("pooled", "203.0.113.9/32", "CLIENT-SUBNET: 203.0.113.9/32/24");
    scope("pooled", "2001:db8::/56", "CLIENT-SUBNET: 2001:db8::/56/56");
    scope("pooled", "0.0.0.0/0", "CLIENT-SUBNET: 0.0.0.0/0/0");
    scope("www", "203.0.113.0/24", "CLIENT-SUBNET: 203.0.113.0/24/0");
}
