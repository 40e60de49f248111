//! From configured checks to probes.

use std::net::SocketAddr;
use std::path::Path;

use app_config::{Config, HttpProbe, Probe, TlsProbe};
use gslb_dns::{CheckKind, CheckSpec, HttpCheck, Tls, Trust};
use model::SiteId;
use tracing::error;

/// A file of CAs larger than this is a slip: the system's own have a quarter of it.
const CA_BYTES_MAX: u64 = 1 << 20;

/// A probe for each member of a pool with a check. Files of CAs are read here, once.
pub fn specs(config: &Config, vantage: &SiteId) -> Vec<CheckSpec> {
    let mut specs = Vec::new();
    for pool in config.pools().values() {
        let Some(check) = pool.check.as_ref().and_then(|c| config.checks().get(c)) else { continue };
        // One read for all members: their checks are the same one.
        let trust = trust(check);
        for member in &pool.members {
            let (port, kind) = match &check.probe {
                Probe::Tcp { port } => (*port, CheckKind::Tcp),
                Probe::Http(http) => (http.port, CheckKind::Http(request(http, None))),
                Probe::Https { http, tls } => {
                    let tls = Tls { server_name: tls.sni.clone(), trust: trust.clone() };
                    (http.port, CheckKind::Http(request(http, Some(tls))))
                }
            };
            specs.push(CheckSpec {
                pool: pool.id.clone(),
                member: member.id.clone(),
                vantage: vantage.clone(),
                address: SocketAddr::new(member.address, port),
                kind,
                interval: check.interval,
                timeout: check.timeout,
            });
        }
    }
    specs
}

fn request(http: &HttpProbe, tls: Option<Tls>) -> HttpCheck {
    HttpCheck {
        tls,
        host: http.host.clone(),
        path: http.path.clone(),
        status: http.expect_status.clone(),
        body: http.expect_body.clone(),
    }
}

/// Whom a check believes. CAs that cannot be read break this one check and not the node, whose DNS serves
/// every other name.
fn trust(check: &app_config::Check) -> Trust {
    let Probe::Https { tls: TlsProbe { ca: Some(file), .. }, .. } = &check.probe else {
        return Trust::System;
    };
    match read(file) {
        Ok(pem) => Trust::Pem(pem),
        Err(why) => {
            let why =
                format!("ca {} cannot be read: {why}; the node reads it when it starts", file.display());
            error!(check = %check.id, why, "an https check cannot succeed");
            Trust::Broken(why)
        }
    }
}

/// The files of CAs that a configuration names and this node cannot read.
pub fn unreadable(config: &Config) -> Vec<String> {
    let broken = config.checks().values().filter_map(|check| match trust(check) {
        Trust::Broken(why) => Some(format!("check {}: {why}", check.id)),
        Trust::System | Trust::Pem(_) => None,
    });
    broken.collect()
}

fn read(file: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut pem = String::new();
    std::fs::File::open(file)?.take(CA_BYTES_MAX).read_to_string(&mut pem)?;
    Ok(pem)
}
