//! Checks against real listeners on the loopback.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gslb_dns::{CheckKind, CheckSpec, HttpCheck, Probed, Prober, clock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How long anything on the loopback may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

fn check(member: &str, address: SocketAddr, kind: CheckKind) -> CheckSpec {
    CheckSpec {
        pool: "web".parse().unwrap(),
        member: member.parse().unwrap(),
        vantage: "pdc".parse().unwrap(),
        address,
        kind,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
    }
}

fn http(path: &str, body: Option<&str>) -> HttpCheck {
    HttpCheck {
        tls: None,
        host: Some("check.example".to_owned()),
        path: path.to_owned(),
        status: vec![200..=299],
        body: body.map(str::to_owned),
    }
}

/// What the first probe of one check brings.
async fn first(spec: CheckSpec) -> Probed {
    let (sender, mut receiver) = mpsc::channel(1);
    let prober = Prober::start(vec![spec], sender);
    let probed = tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap().unwrap();
    prober.stop().await;
    probed
}

async fn outcome(address: SocketAddr, kind: CheckKind) -> Result<(), String> {
    first(check("m", address, kind)).await.observation.result.map(|_| ())
}

/// Answers every request on one connection by its path.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte).await, Ok(1)) {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
    let good_host = request.contains("\r\nhost: check.example:");
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let (status, body) = match path.as_str() {
        _ if !good_host => ("421 Misdirected", request.clone()),
        "/good" => ("200 OK", "all is WELL here".to_owned()),
        "/late" => ("200 OK", "x".repeat(40_000) + "needle"),
        "/beyond" => ("200 OK", "x".repeat(100_000) + "needle"),
        "/moved" => ("302 Found", String::new()),
        "/silent" => return std::future::pending().await,
        _ => ("503 Service Unavailable", String::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLocation: /good\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn http_server() -> SocketAddr {
    serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
}

fn serve_on(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// An address that nothing listens on.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_tcp_check_sees_whether_the_port_is_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let before = clock::now();
    let observation = first(check("m", address, CheckKind::Tcp)).await.observation;
    assert!(observation.result.is_ok());
    assert!(observation.at >= before && observation.at <= clock::now());
    assert_eq!((observation.pool.as_str(), observation.vantage.as_str()), ("web", "pdc"));
    let refused = outcome(closed().await, CheckKind::Tcp).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");
}

#[tokio::test]
async fn an_http_check_looks_at_status_and_body() {
    let address = http_server().await;
    let ask = |check: HttpCheck| outcome(address, CheckKind::Http(check));
    ask(http("/good", None)).await.unwrap();
    ask(http("/good", Some("WELL"))).await.unwrap();
    ask(http("/late", Some("needle"))).await.unwrap();
    let absent = ask(http("/good", Some("unwell"))).await.unwrap_err();
    assert!(absent.contains("does not contain"), "{absent}");
    let beyond = ask(http("/beyond", Some("needle"))).await.unwrap_err();
    assert!(beyond.contains("does not contain"), "no more than 64 KiB are searched: {beyond}");
    let down = ask(http("/down", None)).await.unwrap_err();
    assert!(down.contains("status 503"), "{down}");
    // A redirect is an answer like any other, good or not by its own status.
    assert!(ask(http("/moved", None)).await.unwrap_err().contains("302"));
    ask(HttpCheck { status: vec![200..=200, 301..=302], ..http("/moved", None) }).await.unwrap();
    let refused = outcome(closed().await, CheckKind::Http(http("/good", None))).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");
    assert!(refused.starts_with("connect: "), "{refused}");
    let broken = ask(HttpCheck { host: Some("no\nhost".to_owned()), ..http("/", None) }).await.unwrap_err();
    assert!(broken.starts_with("host"), "{broken}");
}

/// Goal: the Host header is what the check says, a port and all, and the address where it says nothing, also
/// that of a member with an IPv6 address. Method: a path that is answered with the request.
#[tokio::test]
async fn the_host_header_is_sent_as_written() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(listen).await else {
            assert!(listen.starts_with('['), "IPv4 is there");
            eprintln!("skipped: this machine has no IPv6 on its loopback");
            continue;
        };
        let address = serve_on(listener);
        for (host, wanted) in [
            (None, address.to_string()),
            (Some("shop.example"), format!("shop.example:{}", address.port())),
            (Some("shop.example:8443"), "shop.example:8443".to_owned()),
        ] {
            let wanted = format!("host: {wanted}\r\n");
            let host = host.map(str::to_owned);
            let check = HttpCheck { host, status: vec![421..=421], ..http("/good", Some(&wanted)) };
            outcome(address, CheckKind::Http(check)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_check_that_gets_no_answer_fails_by_its_timeout() {
    let address = http_server().await;
    let spec = check("m", address, CheckKind::Http(http("/silent", None)));
    let probed = first(CheckSpec { timeout: Duration::from_millis(100), ..spec }).await;
    assert!(probed.observation.result.unwrap_err().contains("no answer within 100ms"));
}

/// Replacing the checks stops those that are gone, leaves those that stay and starts those that are new.
#[tokio::test]
async fn removed_checks_stop_and_others_go_on() {
    let counts: [Arc<AtomicUsize>; 3] = std::array::from_fn(|_| Arc::default());
    let mut specs = Vec::new();
    for (name, count) in ["a", "b", "c"].into_iter().zip(counts.clone()) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        specs.push(check(name, listener.local_addr().unwrap(), CheckKind::Tcp));
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let [a, b, c] = <[CheckSpec; 3]>::try_from(specs).unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let mut prober = Prober::start(vec![a.clone(), b.clone()], sender);
    let mut wait_for = async |name: &str, rounds: usize| {
        let mut seen = Vec::new();
        while seen.iter().filter(|o: &&model::Observation| o.member.as_str() == name).count() < rounds {
            let probed = tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap().unwrap();
            seen.push(probed.observation);
        }
        seen
    };
    wait_for("a", 2).await;
    wait_for("b", 2).await;
    prober.replace(vec![b.clone(), c]);
    assert_eq!(prober.len(), 2);
    let replaced = clock::now();
    wait_for("c", 3).await;
    let seen = wait_for("b", 3).await;
    assert!(seen.iter().all(|o| o.member != a.member || o.at <= replaced), "a removed check went on");
    prober.stop().await;
    // Every sender is gone with its task.
    while let Some(probed) = tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap() {
        assert_ne!(probed.observation.member, a.member);
    }
    assert!(counts.iter().all(|c| c.load(Ordering::SeqCst) >= 2));
}

#[tokio::test]
async fn checks_end_when_nobody_listens_to_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sender, receiver) = mpsc::channel(1);
    let prober = Prober::start(vec![check("m", listener.local_addr().unwrap(), CheckKind::Tcp)], sender);
    drop(receiver);
    tokio::time::timeout(DEADLINE, prober.stop()).await.unwrap();
}
