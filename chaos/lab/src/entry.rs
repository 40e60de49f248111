//! A site's entry: HAProxy, which ends the web clients' TLS, says who they are in forwarded headers, and
//! passes plain HTTP to the site's web hosts that are well.
//!
//! The certificate is of a CA that the lab makes for its web application alone: the cluster's own CA says
//! who may speak in the cluster, and nothing that strangers connect to may hold one of its certificates.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

use crate::cluster;
use crate::layout::{Host, HostKind, Lab};
use crate::packages;

/// Where web clients connect.
pub const PORT: u16 = 443;

/// A lab lives for hours; past the check's warning of 14 days nothing is told of its certificates.
const LIFE: Duration = Duration::from_secs(90 * 86_400);

/// For hosts whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(3_600);

/// The CA of the web application, in PEM.
#[must_use]
pub fn ca_file(lab: &Lab) -> PathBuf {
    lab.pki_dir().join("web-ca.pem")
}

fn configuration_file(lab: &Lab, host: &Host) -> PathBuf {
    lab.host_dir(host).join("haproxy.cfg")
}

fn certificate_file(lab: &Lab, host: &Host) -> PathBuf {
    lab.host_dir(host).join("entry.pem")
}

/// The command that runs HAProxy in the foreground. `root` holds Debian's packages.
#[must_use]
pub fn command(lab: &Lab, host: &Host, root: &Path) -> Vec<String> {
    let mut words = packages::bookworm_command(root, "usr/sbin/haproxy");
    words.extend(["-db".to_owned(), "-f".to_owned(), configuration_file(lab, host).display().to_string()]);
    words
}

/// Writes the configuration and a certificate of one CA for every entry.
///
/// # Errors
/// What could not be made or written.
pub fn write(lab: &Lab) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = named("CA of the lab's web application");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = ((now - BACKDATE).into(), (now + LIFE).into());
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let path = ca_file(lab);
    fs::write(&path, ca.pem()).with_context(|| format!("file {path:?}"))?;
    for host in Host::of_kind(HostKind::Entry) {
        let name = cluster::WEB_NAME.trim_end_matches('.').to_owned();
        let mut params = CertificateParams::new(vec![name])?;
        params.distinguished_name = named(host.name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = ((now - BACKDATE).into(), (now + LIFE).into());
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &ca)?;
        secret(&certificate_file(lab, &host), &(leaf.pem() + &key.serialize_pem()))?;
        let path = configuration_file(lab, &host);
        fs::write(&path, configuration(lab, &host)).with_context(|| format!("file {path:?}"))?;
    }
    Ok(())
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

/// A file that holds a key.
fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.and_then(|mut f| f.write_all(text.as_bytes())).with_context(|| format!("file {path:?}"))
}

/// HAProxy's configuration. What clients claim of themselves is replaced. Without a web host that is well
/// it answers 503 by itself, which is what the check of the cluster sees.
fn configuration(lab: &Lab, host: &Host) -> String {
    let certificate = certificate_file(lab, host).display().to_string().replace(' ', "\\ ");
    let name = cluster::WEB_NAME.trim_end_matches('.');
    let mut text = format!(
        "\
# The entry of site {site}. Written by `lab up`.
global
    log stdout format raw local0 notice
    maxconn 512
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    option redispatch
    retries 2
    timeout connect 500ms
    timeout client 30s
    timeout server 5s
    timeout http-request 5s
    timeout check 300ms

frontend web
    bind {address}:{PORT} ssl crt {certificate} alpn http/1.1
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Port %[dst_port]
    default_backend site

backend site
    balance roundrobin
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host {name}
    http-check expect status 200
    default-server check inter 300ms fastinter 100ms rise 2 fall 2
",
        site = host.site,
        address = host.address(),
    );
    for web in Host::of_kind(HostKind::Web).filter(|w| w.site == host.site) {
        let line = format!("    server {} {}:{}", web.name, web.address(), cluster::WEB_PORT);
        writeln!(text, "{line}").expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an entry passes requests to its own site's web hosts alone, two of them at least.
    #[test]
    fn an_entry_serves_its_own_site() {
        let lab = Lab::at(Path::new("/l"));
        for host in Host::of_kind(HostKind::Entry) {
            let text = configuration(&lab, &host);
            let servers: Vec<_> = text.lines().filter_map(|l| l.trim().strip_prefix("server ")).collect();
            assert!(servers.len() >= 2, "{text}");
            let own = format!("10.77.{}.", host.site.net());
            assert!(servers.iter().all(|s| s.contains(&own) && s.ends_with(":30000")), "{servers:?}");
        }
    }
}
