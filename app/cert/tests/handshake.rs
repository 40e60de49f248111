//! Both ends of real handshakes: who gets in, and what either end says of one who does not.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use app_cert::{Callers, Identity, Kind, Trust, explain, identity};
use cluster::{Cluster, DAY};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What either end made of one connection: whom it met, or why it failed.
struct Met {
    server: Result<Option<Identity>, String>,
    client: Result<Identity, String>,
}

/// One connection on which each end says a word and hears one.
async fn meet(server: Arc<ServerConfig>, client: Arc<ClientConfig>, dialed: &str) -> Met {
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(dialed.to_owned()).unwrap();
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(b"pong").await?;
        stream.flush().await?;
        let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
        io::Result::Ok(peer.map(|certificate| identity(&certificate).unwrap()))
    };
    let call = async {
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned()).unwrap();
        io::Result::Ok(identity(&peer).unwrap())
    };
    let (server, client) = tokio::join!(serve, call);
    Met { server: server.map_err(|error| explain(&error)), client: client.map_err(|error| explain(&error)) }
}

/// A node's peer port, which guards and nodes may call.
fn peer_port(node: &Trust) -> Arc<ServerConfig> {
    node.server(&[Kind::Node, Kind::Guard], Callers::Known).unwrap()
}

fn assert_told<T: std::fmt::Debug>(result: Result<T, String>, told: &str) {
    let error = result.expect_err("it was let in");
    assert!(error.contains(told), "{told:?} is not in {error:?}");
}

#[tokio::test]
async fn a_guard_and_a_node_of_one_cluster_know_each_other() {
    let cluster = Cluster::new("retail");
    let node = cluster.process(Kind::Node, "pdc-1", &["10.77.1.11".parse().unwrap()]);
    let guard = cluster.process(Kind::Guard, "pdc-db", &[]);
    for dialed in ["pdc-1", "pdc-1.node.retail.twofold", "10.77.1.11"] {
        let met = meet(peer_port(&node), guard.client().unwrap(), dialed).await;
        assert_eq!(met.server.unwrap(), Some(cluster.holder(Kind::Guard, "pdc-db")), "{dialed}");
        assert_eq!(met.client.unwrap(), cluster.holder(Kind::Node, "pdc-1"), "{dialed}");
    }
}

/// Goal: a guard that asks another one for a copy knows it, and neither takes a node or a client for one.
#[tokio::test]
async fn a_guard_calls_guards_and_nobody_else() {
    let cluster = Cluster::new("retail");
    let (donor, guard) =
        (cluster.process(Kind::Guard, "mdc-db", &[]), cluster.process(Kind::Guard, "pdc-db", &[]));
    let copies = || donor.server(&[Kind::Guard], Callers::Known).unwrap();
    let met = meet(copies(), guard.client_of_guards().unwrap(), "mdc-db").await;
    assert_eq!(met.server.unwrap(), Some(cluster.holder(Kind::Guard, "pdc-db")));
    assert_eq!(met.client.unwrap(), cluster.holder(Kind::Guard, "mdc-db"));
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    let met = meet(peer_port(&node), guard.client_of_guards().unwrap(), "pdc-1").await;
    assert_told(met.client, "only a guard");
    let met = meet(copies(), node.client_of_guards().unwrap(), "mdc-db").await;
    assert_told(met.server, "only a guard");
}

#[tokio::test]
async fn a_caller_of_another_ca_is_refused_by_both_ends() {
    let (cluster, stranger) = (Cluster::new("retail"), Cluster::new("retail"));
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    let guard = stranger.process(Kind::Guard, "pdc-db", &[]);
    let met = meet(peer_port(&node), guard.client().unwrap(), "pdc-1").await;
    assert_told(met.client, "not signed by this cluster's CA");
    assert_told(met.server, "not signed by the CA it believes");
    // One that believes our node all the same is refused by the node.
    let mut files = stranger.files("pdc-db");
    files.ca = stranger.dir.path().join("both.pem");
    let roots =
        [&stranger, &cluster].map(|of| std::fs::read_to_string(of.dir.path().join("ca.pem")).unwrap());
    std::fs::write(&files.ca, roots.concat()).unwrap();
    let guard = Trust::read(files, &stranger.holder(Kind::Guard, "pdc-db"), SystemTime::now()).unwrap();
    let met = meet(peer_port(&node), guard.client().unwrap(), "pdc-1").await;
    assert_told(met.server, "not signed by this cluster's CA");
    assert_told(met.client, "not signed by the CA it believes");
}

#[tokio::test]
async fn a_certificate_that_has_expired_since_it_was_read_is_refused() {
    let cluster = Cluster::new("retail");
    let then = SystemTime::now() - DAY * 40;
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    cluster.issue(Kind::Guard, "pdc-db", &[], 30, then);
    let guard = Trust::read(cluster.files("pdc-db"), &cluster.holder(Kind::Guard, "pdc-db"), then).unwrap();
    let met = meet(peer_port(&node), guard.client().unwrap(), "pdc-1").await;
    assert_told(met.server, "the certificate has expired 10 days ago");
    assert_told(met.client, "it has expired there");
    cluster.issue(Kind::Node, "pdc-2", &[], 30, then);
    let old = Trust::read(cluster.files("pdc-2"), &cluster.holder(Kind::Node, "pdc-2"), then).unwrap();
    let met = meet(peer_port(&old), node.client().unwrap(), "pdc-2").await;
    assert_told(met.client, "the certificate has expired 10 days ago");
    assert_told(met.server, "it has expired there");
}

#[tokio::test]
async fn a_certificate_of_the_wrong_kind_is_refused() {
    let cluster = Cluster::new("retail");
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    let guard = cluster.process(Kind::Guard, "pdc-db", &[]);
    let client = cluster.process(Kind::Client, "client", &[]);
    let met = meet(peer_port(&node), client.client().unwrap(), "pdc-1").await;
    assert_told(
        met.server,
        "client \"client\" of cluster \"retail\" is not admitted here, only a node or guard",
    );
    assert_told(met.client, "the other end refused our certificate");
    // A guard never stands in for a node, even under the name that was dialed.
    let met = meet(peer_port(&guard), node.client().unwrap(), "pdc-db").await;
    assert_told(met.client, "guard \"pdc-db\" of cluster \"retail\" is not admitted here, only a node");
    let met = meet(peer_port(&client), node.client().unwrap(), "client").await;
    assert_told(met.client, "the certificate is a client's");
}

/// Two clusters under one CA: the names alone keep them apart.
#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused_even_under_the_same_ca() {
    let cluster = Cluster::new("retail");
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    let read = |name: &str| std::fs::read_to_string(cluster.dir.path().join(name)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let holder = Identity { kind: Kind::Guard, name: "pdc-db".to_owned(), cluster: "wholesale".to_owned() };
    let params = rcgen::CertificateParams::new(vec![holder.dns_name()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(cluster.dir.path().join("pdc-db.pem"), certificate.pem()).unwrap();
    std::fs::write(cluster.dir.path().join("pdc-db.key"), key.serialize_pem()).unwrap();
    let guard = Trust::read(cluster.files("pdc-db"), &holder, SystemTime::now()).unwrap();
    // It would refuse our node just the same; so it has to be asked by one that does not look.
    let met = meet(peer_port(&node), guard.client().unwrap(), "pdc-1").await;
    assert_told(met.client, "node \"pdc-1\" of cluster \"retail\" is not of cluster \"wholesale\"");
    let met = meet(peer_port(&guard), node.client().unwrap(), "pdc-db.guard.wholesale.twofold").await;
    assert_told(met.client, "is not of cluster \"retail\"");
}

#[tokio::test]
async fn a_node_is_taken_only_for_the_name_that_was_dialed() {
    let cluster = Cluster::new("retail");
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    let guard = cluster.process(Kind::Guard, "pdc-db", &[]);
    for dialed in ["pdc-2", "10.77.1.12"] {
        let met = meet(peer_port(&node), guard.client().unwrap(), dialed).await;
        assert_told(met.client, &format!("the certificate is not for {dialed}"));
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_comes_in_only_where_anyone_may() {
    let cluster = Cluster::new("retail");
    let node = cluster.process(Kind::Node, "pdc-1", &[]);
    let guard = cluster.process(Kind::Guard, "pdc-db", &[]);
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    let ca = rustls::pki_types::CertificateDer::from_pem_file(cluster.dir.path().join("ca.pem")).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let nobody = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let nobody = Arc::new(nobody);
    let met = meet(peer_port(&node), nobody.clone(), "pdc-1").await;
    assert_told(met.server, "the other end presented no certificate");
    assert_told(met.client, "we presented none");
    let open = node.server(&[Kind::Client], Callers::Anyone).unwrap();
    let met = meet(open.clone(), nobody, "pdc-1").await;
    assert_eq!(met.server.unwrap(), None);
    // Where anyone may come in, one who shows the wrong certificate still may not.
    let met = meet(open, guard.client().unwrap(), "pdc-1").await;
    assert_told(met.server, "is not admitted here, only a client");
}
