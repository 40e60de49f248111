//! What is written, what is refused, and that nothing is ever overwritten.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use app_cert::{CA_DAYS, CertError, Kind, LEAF_DAYS, Trust, create_ca, identity, issue};
use cluster::{Cluster, DAY};

#[test]
fn a_certificate_names_its_holder_and_its_key_is_its_owners_alone() {
    let cluster = Cluster::new("retail");
    let address: IpAddr = "10.77.1.11".parse().unwrap();
    let files = cluster.issue(Kind::Node, "pdc-1", &[address], LEAF_DAYS, SystemTime::now());
    let pem = std::fs::read(&files.certificate).unwrap();
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap();
    assert_eq!(identity(&der).unwrap(), cluster.holder(Kind::Node, "pdc-1"));
    for key in [files.key, cluster.dir.path().join("ca.key")] {
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", key.display());
    }
}

#[test]
fn nothing_is_overwritten() {
    let cluster = Cluster::new("retail");
    let now = SystemTime::now();
    let files = cluster.issue(Kind::Node, "pdc-1", &[], LEAF_DAYS, now);
    let before = [&files.certificate, &files.key].map(|path| std::fs::read(path).unwrap());
    let dir = cluster.dir.path();
    let again = issue(dir, dir, &cluster.request(Kind::Node, "pdc-1", &[], LEAF_DAYS), now);
    assert!(matches!(again, Err(CertError::Exists { .. })), "{again:?}");
    let again = create_ca(dir, "retail", CA_DAYS, now);
    assert!(matches!(again, Err(CertError::Exists { .. })), "{again:?}");
    // Half a pair counts too: a key without its certificate may be in use elsewhere.
    std::fs::remove_file(&files.certificate).unwrap();
    let again = issue(dir, dir, &cluster.request(Kind::Node, "pdc-1", &[], LEAF_DAYS), now);
    assert!(matches!(again, Err(CertError::Exists { .. })), "{again:?}");
    assert_eq!(std::fs::read(&files.key).unwrap(), before[1]);
}

#[test]
fn what_cannot_be_signed_is_refused_with_a_reason_and_leaves_nothing() {
    let cluster = Cluster::new("retail");
    let now = SystemTime::now();
    let dir = cluster.dir.path();
    let mut other = cluster.request(Kind::Node, "x", &[], LEAF_DAYS);
    other.holder.cluster = "wholesale".to_owned();
    let cases = [
        (issue(dir, dir, &other, now), "is the CA of cluster \"retail\", not of \"wholesale\""),
        (issue(dir, dir, &cluster.request(Kind::Node, "X y", &[], 1), now), "node name \"X y\" cannot stand"),
        (issue(dir, dir, &cluster.request(Kind::Node, "x", &[], 0), now), "cannot live 0 days"),
        (issue(dir, dir, &cluster.request(Kind::Node, "x", &[], u32::MAX), now), "give it 1 to 36500"),
        (
            issue(dir, dir, &cluster.request(Kind::Node, "x", &[], 1), now + DAY * (CA_DAYS + 1)),
            "has expired",
        ),
        (issue(&dir.join("no"), dir, &cluster.request(Kind::Node, "x", &[], 1), now), "cannot be read"),
    ];
    for (result, told) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(told), "{told:?} is not in {error:?}");
    }
    assert!(!dir.join("x.pem").exists() && !dir.join("x.key").exists());
    let stranger = Cluster::new("retail");
    std::fs::copy(stranger.dir.path().join("ca.key"), dir.join("ca.key")).unwrap();
    let error = issue(dir, dir, &cluster.request(Kind::Node, "x", &[], 1), now).unwrap_err();
    assert!(matches!(error, CertError::CaPair { .. }), "{error}");
}

#[test]
fn a_certificate_never_outlives_its_ca() {
    let cluster = Cluster::with_days("retail", 10);
    let now = SystemTime::now();
    cluster.issue(Kind::Node, "pdc-1", &[], 100, now);
    let holder = cluster.holder(Kind::Node, "pdc-1");
    Trust::read(cluster.files("pdc-1"), &holder, now + DAY * 9).unwrap();
    let error = Trust::read(cluster.files("pdc-1"), &holder, now + DAY * 11).unwrap_err();
    assert!(error.to_string().contains("has expired 24 hours ago"), "{error}");
}

#[test]
fn what_cannot_be_used_is_told_before_a_connection_is_tried() {
    let cluster = Cluster::new("retail");
    let now = SystemTime::now();
    cluster.issue(Kind::Node, "pdc-1", &[], LEAF_DAYS, now);
    cluster.issue(Kind::Guard, "pdc-db", &[], LEAF_DAYS, now);
    let pdc_1 = cluster.holder(Kind::Node, "pdc-1");
    let read = |edit: &dyn Fn(&mut app_cert::TrustFiles), at| {
        let mut files = cluster.files("pdc-1");
        edit(&mut files);
        Trust::read(files, &pdc_1, at).map(|_| ())
    };
    read(&|_| {}, now).unwrap();
    let stranger = Cluster::new("retail");
    let garbage = cluster.dir.path().join("garbage");
    std::fs::write(&garbage, [0, 159, 146, 150, 255]).unwrap();
    let dir = cluster.dir.path();
    let cases = [
        (read(&|files| files.certificate = dir.join("pdc-db.pem"), now), "belongs to guard \"pdc-db\""),
        (read(&|files| files.key = dir.join("pdc-db.key"), now), "cannot be used for TLS"),
        (
            read(&|files| files.ca = stranger.dir.path().join("ca.pem"), now),
            "not signed by this cluster's CA",
        ),
        (read(&|files| files.certificate = dir.join("ca.pem"), now), "names no holder"),
        (read(&|files| files.certificate = garbage.clone(), now), "holds no certificate in PEM"),
        (read(&|files| files.key = garbage.clone(), now), "holds no key in PEM"),
        (read(&|files| files.ca = dir.join("absent"), now), "cannot be read"),
        (read(&|_| {}, now - Duration::from_secs(7200)), "not valid yet"),
        (read(&|_| {}, now + DAY * (LEAF_DAYS + 30)), "has expired 30 days ago"),
    ];
    for (result, told) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(told), "{told:?} is not in {error:?}");
    }
}
