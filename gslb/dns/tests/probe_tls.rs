//! HTTPS checks against real TLS servers on the loopback: the right certificate and each kind of wrong one.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gslb_dns::{CheckKind, CheckSpec, HttpCheck, Probed, Prober, Tls, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How long anything on the loopback may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What clients sent: the server name, and how the handshake was made.
type Heard = Arc<Mutex<Vec<(Option<String>, Option<rustls::HandshakeKind>)>>>;

/// A TLS server with a certificate of `ca` for `names`, valid from and until so long after now, and the
/// server names that its clients sent.
async fn server(ca: &Ca, names: &[&str], valid: (SystemTime, SystemTime)) -> (SocketAddr, Heard) {
    let mut params =
        CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = (valid.0.into(), valid.1.into());
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sent = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sent) = (acceptor.clone(), sent.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let session = stream.get_ref().1;
                let name = session.server_name().map(str::to_owned);
                sent.lock().unwrap().push((name, session.handshake_kind()));
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    request.push(byte);
                }
                let status = if request.starts_with(b"GET /down ") { "503 Down" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, heard)
}

fn spec(address: SocketAddr, path: &str, tls: Tls) -> CheckSpec {
    let check = HttpCheck {
        tls: Some(tls),
        host: Some("shop.example".to_owned()),
        path: path.to_owned(),
        status: vec![200..=299],
        body: Some("well".to_owned()),
    };
    CheckSpec {
        pool: "web".parse().unwrap(),
        member: "m".parse().unwrap(),
        vantage: "pdc".parse().unwrap(),
        address,
        kind: CheckKind::Http(check),
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
    }
}

async fn probed(address: SocketAddr, path: &str, tls: Tls) -> Probed {
    run(spec(address, path, tls), 1).await
}

/// What the probe of this number brings.
async fn run(spec: CheckSpec, number: usize) -> Probed {
    let (sender, mut receiver) = mpsc::channel(1);
    let prober = Prober::start(vec![spec], sender);
    let mut probed = None;
    for _ in 0..number {
        probed = tokio::time::timeout(DEADLINE, receiver.recv()).await.unwrap();
    }
    prober.stop().await;
    probed.unwrap()
}

/// A check of a name, by a CA.
fn asking(name: Option<&str>, ca: &Ca) -> Tls {
    Tls { server_name: name.map(str::to_owned), trust: Trust::Pem(ca.pem()) }
}

async fn refused(address: SocketAddr, tls: Tls) -> String {
    let probed = probed(address, "/", tls).await;
    assert_eq!(probed.certificate_ends, None, "a certificate that was not verified tells nothing");
    probed.observation.result.expect_err("it must not be believed")
}

fn well() -> (SystemTime, SystemTime) {
    (SystemTime::now() - DAY, SystemTime::now() + 10 * DAY)
}

/// Goal: the right certificate passes, its name is sent, and its end is read, also from an answer that is
/// no success.
#[tokio::test]
async fn a_right_certificate_passes_and_its_end_is_read() {
    let ca = ca();
    let valid = well();
    let (address, heard) = server(&ca, &["entry.example"], valid).await;
    let good = probed(address, "/", asking(Some("entry.example"), &ca)).await;
    good.observation.result.unwrap();
    let ends = i64::try_from(valid.1.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    assert_eq!(good.certificate_ends.map(|at| at.0 / 1_000), Some(ends));
    let sent = heard.lock().unwrap()[0].0.clone();
    assert_eq!(sent.as_deref(), Some("entry.example"), "by SNI");
    let down = probed(address, "/down", asking(Some("entry.example"), &ca)).await;
    let why = down.observation.result.unwrap_err();
    assert!(why.contains("status 503"), "{why}");
    assert_eq!(down.certificate_ends, good.certificate_ends);
}

/// Goal: without a name the certificate must be for the address, and no name is sent.
#[tokio::test]
async fn without_a_name_the_certificate_is_held_against_the_address() {
    let ca = ca();
    let (address, heard) = server(&ca, &["127.0.0.1"], well()).await;
    probed(address, "/", asking(None, &ca)).await.observation.result.unwrap();
    assert_eq!(heard.lock().unwrap()[0].0, None);
    let (named, _) = server(&ca, &["entry.example"], well()).await;
    let why = refused(named, asking(None, &ca)).await;
    assert!(why.contains("it is not for 127.0.0.1"), "{why}");
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_and_the_reason_is_told() {
    let (ca, other) = (ca(), ca());
    let now = SystemTime::now();
    let (good, _) = server(&ca, &["entry.example"], well()).await;
    let why = refused(good, asking(Some("www.example"), &ca)).await;
    assert!(why.starts_with("certificate: it is not for www.example; it is for "), "{why}");
    assert!(why.contains("entry.example"), "{why}");
    let why = refused(good, asking(Some("entry.example"), &other)).await;
    assert!(why.starts_with("certificate: "), "{why}");
    let system = Tls { server_name: Some("entry.example".to_owned()), trust: Trust::System };
    let why = refused(good, system).await;
    assert!(why.starts_with("certificate: its issuer is unknown"), "{why}");
    let (ended, _) = server(&ca, &["entry.example"], (now - 9 * DAY, now - DAY)).await;
    let why = refused(ended, asking(Some("entry.example"), &ca)).await;
    assert!(why.starts_with("certificate: it ended at 20"), "{why}");
    let (early, _) = server(&ca, &["entry.example"], (now + DAY, now + 9 * DAY)).await;
    let why = refused(early, asking(Some("entry.example"), &ca)).await;
    assert!(why.starts_with("certificate: it begins at 20"), "{why}");
}

/// Goal: a server without TLS, a port that nobody listens on and a CA that cannot be had each say so.
#[tokio::test]
async fn what_is_no_certificate_at_all_is_told_as_well() {
    let ca = ca();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let why = refused(address, asking(Some("entry.example"), &ca)).await;
    assert!(why.starts_with("tls: "), "{why}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let why = refused(closed, asking(Some("entry.example"), &ca)).await;
    assert!(why.starts_with("connect: ") && why.contains("refused"), "{why}");
    let broken = "ca \"/nowhere.pem\" cannot be read: no such file";
    let tls = Tls { server_name: None, trust: Trust::Broken(broken.to_owned()) };
    assert_eq!(refused(address, tls).await, broken);
}

/// Goal: every probe verifies the certificate anew: none resumes a session, in which none is presented.
#[tokio::test]
async fn every_probe_makes_a_whole_handshake() {
    let ca = ca();
    let (address, heard) = server(&ca, &["entry.example"], well()).await;
    let third = run(spec(address, "/", asking(Some("entry.example"), &ca)), 3).await;
    third.observation.result.unwrap();
    let kinds: Vec<_> = heard.lock().unwrap().iter().map(|(_, kind)| *kind).collect();
    assert!(kinds.len() >= 3 && kinds.iter().all(|k| *k == Some(rustls::HandshakeKind::Full)), "{kinds:?}");
}
