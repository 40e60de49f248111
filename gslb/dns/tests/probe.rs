//! Checks against real listeners on the loopback.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gslb_dns::{CheckKind, CheckSpec, HttpCheck, Prober, Scheme, clock};
use model::Observation;
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
        scheme: Scheme::Http,
        host: "check.example".to_owned(),
        path: path.to_owned(),
        status: vec![200..=299],
        body: body.map(str::to_owned),
        trust: None,
    }
}

/// The first observation that one check makes.
async fn first(spec: CheckSpec) -> Observation {
    let (sender, mut receiver) = mpsc::channel(1);
    let prober = Prober::start(vec![spec], sender);
    let observation = tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap().unwrap();
    prober.stop().await;
    observation
}

async fn outcome(address: SocketAddr, kind: CheckKind) -> Result<(), String> {
    first(check("m", address, kind)).await.result.map(|_| ())
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let observation = first(check("m", address, CheckKind::Tcp)).await;
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
    let broken = ask(HttpCheck { host: "no host".to_owned(), ..http("/", None) }).await.unwrap_err();
    assert!(broken.contains("url"), "{broken}");
}

#[tokio::test]
async fn a_check_that_gets_no_answer_fails_by_its_timeout() {
    let address = http_server().await;
    let spec = check("m", address, CheckKind::Http(http("/silent", None)));
    let observation = first(CheckSpec { timeout: Duration::from_millis(100), ..spec }).await;
    assert!(observation.result.unwrap_err().contains("no answer within 100ms"));
}

#[tokio::test]
async fn https_is_verified_for_the_host_of_the_check() {
    let issued = rcgen::generate_simple_self_signed(vec!["check.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    let check = |host: &str, trust: Option<String>| {
        let check =
            HttpCheck { scheme: Scheme::Https, host: host.to_owned(), trust, ..http("/good", Some("WELL")) };
        outcome(address, CheckKind::Http(check))
    };
    let pem = Some(issued.cert.pem());
    check("check.example", pem.clone()).await.unwrap();
    let name = check("other.example", pem).await.unwrap_err();
    assert!(name.contains("certificate"), "{name}");
    // The system's roots know nothing of this certificate.
    check("check.example", None).await.unwrap_err();
    let trust = check(
        "check.example",
        Some("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n".to_owned()),
    );
    assert!(trust.await.is_err());
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
        while seen.iter().filter(|o: &&Observation| o.member.as_str() == name).count() < rounds {
            seen.push(tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap().unwrap());
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
    while let Some(observation) = tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap() {
        assert_ne!(observation.member, a.member);
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
