//! A site's entry: HAProxy, which ends the web clients' TLS, says who they are in forwarded headers, and
//! passes plain HTTP to the site's web hosts that are well.
//!
//! The certificate is of a CA that the lab makes for its web application alone: the cluster's own CA says
//! who may speak in the cluster, and nothing that strangers connect to may hold one of its certificates.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster;
use crate::layout::{Host, HostKind, Lab};
use crate::packages;
use crate::pki::{self, Authority};
use anyhow::Context;

/// Where web clients connect.
pub const PORT: u16 = 443;

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
    let authority = Authority::new("CA of the lab's web application")?;
    let path = ca_file(lab);
    fs::write(&path, authority.pem()).with_context(|| format!("file {path:?}"))?;
    for host in Host::of_kind(HostKind::Entry) {
        let name = cluster::WEB_NAME.trim_end_matches('.').to_owned();
        let leaf = authority.sign(vec![name], host.name)?;
        pki::secret(&certificate_file(lab, &host), &(leaf.certificate + &leaf.key))?;
        let path = configuration_file(lab, &host);
        fs::write(&path, configuration(lab, &host)).with_context(|| format!("file {path:?}"))?;
    }
    Ok(())
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
