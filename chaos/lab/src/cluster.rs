//! What the lab's cluster is configured as: `twofold.yaml`, the secrets, and the processes of every
//! host.
//!
//! Pure text and values; `up` writes them. Paths are the lab's own, so that nothing of the
//! machine's is touched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::{Fence, Flavour, Shape};
use crate::clients::{DatabaseAccess, NameServer, WebAccess};
use crate::entry;
use crate::layout::{Host, HostKind, Lab, LabSite};
use crate::mysqld::{self, InstanceSpec, MysqlRoot, TlsFiles};
use crate::pki::{self, Authority};
use crate::spec::ProcessSpec;

/// The cluster.
pub const CLUSTER: &str = "lab";

/// The zone.
pub const ZONE: &str = "gslb.example.com";

/// The name of the database, bound to the group.
pub const DATABASE_NAME: &str = "db.gslb.example.com.";

/// The name of the web application, balanced over both sites.
pub const WEB_NAME: &str = "www.gslb.example.com.";

/// The identity of the person who accepts a loss.
pub const APPROVER: &str = "lab-approver";

/// The protection group.
pub const GROUP: &str = "shop";

/// Where the database listens.
pub const DATABASE_PORT: u16 = 3306;

/// Where the web application listens: a port as Kubernetes gives to a NodePort, behind the site's entry.
pub const WEB_PORT: u16 = 30_000;

/// Where the nodes' DNS listens.
pub const DNS_PORT: u16 = 53;

/// RestartSec of the database: what Debian's unit waits is 100 ms; the second leaves room to see it
/// gone.
const DATABASE_RESTART_MS: u64 = 1_000;

/// RestartSec of everything else.
const RESTART_MS: u64 = 500;

/// The database host's instance of `site`.
///
/// # Panics
/// For a site without a database.
#[must_use]
pub fn instance(lab: &Lab, host: &Host) -> InstanceSpec {
    let dir = lab.host_dir(host);
    InstanceSpec {
        name: host.name.to_owned(),
        server_id: u32::from(host.site.net()) * 100 + u32::from(host.last),
        data_dir: lab.disk_dir(host).join("data"),
        cnf: dir.join("my.cnf"),
        socket: dir.join("mysqld.sock"),
        pid_file: dir.join("mysqld.pid"),
        error_log: dir.join("error.log"),
        bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: DATABASE_PORT,
        report_host: host.address().to_string(),
        admin: None,
        offline: false,
        tls: Some(TlsFiles {
            ca: database_ca(lab),
            certificate: dir.join("server-cert.pem"),
            key: dir.join("server-key.pem"),
        }),
    }
}

/// Who signs the databases' certificates.
#[must_use]
pub fn database_ca(lab: &Lab) -> PathBuf {
    lab.pki_dir().join("database-ca.pem")
}

/// Makes the databases' certificates, for the addresses that replicas know them by.
///
/// # Errors
/// What could not be made or written.
pub fn certify_databases(lab: &Lab, servers: u32) -> anyhow::Result<()> {
    let authority = Authority::new("CA of the lab's databases")?;
    let path = database_ca(lab);
    std::fs::write(&path, authority.pem()).with_context(|| format!("file {path:?}"))?;
    for host in Host::databases(servers) {
        let leaf = authority.sign(vec![host.address().to_string()], host.name)?;
        if let Some(files) = instance(lab, &host).tls {
            pki::secret(&files.certificate, &leaf.certificate)?;
            pki::secret(&files.key, &leaf.key)?;
        }
    }
    Ok(())
}

/// Where the nodes' APIs listen.
const API_PORT: u16 = 7443;

/// The nodes' APIs, the witness's first: it is never in the site that a fault strikes, but for the
/// one fault that strikes it, and dead nodes cost whoever asks a deadline each.
#[must_use]
pub fn apis() -> String {
    let mut nodes: Vec<_> = Host::of_kind(HostKind::Node).collect();
    nodes.sort_by_key(|h| h.site != LabSite::Wit);
    let urls: Vec<_> = nodes.iter().map(|h| format!("https://{}:{API_PORT}", h.address())).collect();
    urls.join(",")
}

/// The nodes of a lab of this shape; without a witness its host stands there and runs nothing.
pub fn nodes(shape: Shape) -> impl Iterator<Item = Host> {
    Host::of_kind(HostKind::Node).filter(move |h| shape == Shape::Witness || h.site != LabSite::Wit)
}

/// The nodes' DNS servers.
#[must_use]
pub fn name_servers() -> Vec<NameServer> {
    let server = |h: Host| NameServer { name: h.name.to_owned(), address: h.address(), port: DNS_PORT };
    Host::of_kind(HostKind::Node).map(server).collect()
}

/// How an application on `host` reaches the database: its own site's DNS servers first.
#[must_use]
pub fn access_from(host: &Host) -> DatabaseAccess {
    let site_of = |s: &NameServer| Host::named(&s.name).map(|h| h.site);
    let mut servers = name_servers();
    servers.sort_by_key(|s| site_of(s) != Some(host.site));
    let own_site = servers.iter().filter(|s| site_of(s) == Some(host.site)).count();
    DatabaseAccess {
        name: DATABASE_NAME.to_owned(),
        servers,
        own_site,
        port: DATABASE_PORT,
        user: mysqld::APPLICATION_USER.to_owned(),
        password: mysqld::PASSWORD.to_owned(),
        schema: mysqld::APPLICATION_SCHEMA.to_owned(),
    }
}

/// How a web client on `host` reaches the web application: its own site's DNS servers first.
#[must_use]
pub fn web_access_from(lab: &Lab, host: &Host) -> WebAccess {
    let DatabaseAccess { servers, own_site, .. } = access_from(host);
    let name = WEB_NAME.to_owned();
    WebAccess { name, servers, own_site, port: entry::PORT, ca: entry::ca_file(lab) }
}

/// The ladder of a lab without gates. Behind no gate its one rung is SIGKILL, and a process that takes
/// a second to go is in trouble; a production host's default is three times as long.
const LADDER: &str = "{ladder: 1s}";

/// The cluster's configuration (`twofold.yaml`, version 1).
#[must_use]
pub fn configuration(lab: &Lab, root: &MysqlRoot, fence: Fence, shape: Shape, servers: u32) -> String {
    let mut text = String::from("# The lab's cluster. Written by `lab up`.\nversion: 1\n");
    let mut line = |l: std::fmt::Arguments<'_>| writeln!(text, "{l}").expect("a String takes all");
    let path = |p: &Path| quoted(&p.to_string_lossy());
    line(format_args!("cluster: {CLUSTER}\ntiming: metro"));
    line(format_args!("data-dir: {}", path(&lab.dir().join("hosts/nodes"))));
    line(format_args!("tls: {{ca: {}, dir: {}}}", path(&lab.pki_dir().join("ca.pem")), path(&lab.pki_dir())));
    let (witness, failover) = match shape {
        Shape::Witness => ("  wit: {role: witness}\n", "automatic"),
        Shape::TwoSite => ("", "manual"),
    };
    line(format_args!("sites:\n  pdc: {{role: data}}\n  mdc: {{role: data}}\n{witness}nodes:"));
    for h in nodes(shape) {
        let (name, site, address) = (h.name, h.site, h.address());
        line(format_args!(
            "  {name}: {{site: {site}, address: {address}, api-port: {API_PORT}, dns: [\"{address}:{DNS_PORT}\"]}}"
        ));
    }
    line(format_args!("databases:\n  orders:\n    flavour: {}", root.flavour()));
    for (account, user) in [("admin", mysqld::ADMIN_USER), ("replication", mysqld::REPLICATION_USER)] {
        let secret = path(&lab.secrets_dir().join(account));
        line(format_args!("    {account}: {{user: {user}, password-file: {secret}}}"));
    }
    line(format_args!("    replication-ca: {}", path(&database_ca(lab))));
    line(format_args!("    kine: {}", mysqld::KINE_SCHEMA));
    line(format_args!("    servers:"));
    for h in Host::databases(servers) {
        let i = instance(lab, &h);
        line(format_args!("      {}:", h.name));
        line(format_args!(
            "        site: {}\n        address: {}\n        port: {}",
            h.site,
            h.address(),
            i.port
        ));
        line(format_args!("        socket: {}\n        pid-file: {}", path(&i.socket), path(&i.pid_file)));
        line(format_args!(
            "        data-dir: {}\n        error-log: {}",
            path(&i.data_dir),
            path(&i.error_log)
        ));
        // MariaDB's is in no package that the lab fetches, and saves nothing there.
        if root.flavour() == Flavour::Mysql {
            let words: Vec<_> = root.mysqlbinlog().iter().map(|w| quoted(w)).collect();
            line(format_args!("        mysqlbinlog: [{}]", words.join(", ")));
        }
        line(format_args!("        guard-dir: {}", path(&lab.host_dir(&h).join("guard"))));
        let fence = match fence {
            Fence::Nftables => "nftables",
            Fence::Ladder => LADDER,
        };
        line(format_args!("        fence: {fence}\n        restart: supervisor"));
    }
    line(format_args!("groups:\n  {GROUP}: {{database: orders, failover: {failover}, prefer: pdc}}"));
    line(format_args!("zone:\n  origin: {ZONE}"));
    line(format_args!("checks:\n  web-https:\n    https:\n      port: {}\n      path: /health", entry::PORT));
    line(format_args!("      host: {}", WEB_NAME.trim_end_matches('.')));
    line(format_args!("      ca: {}", path(&entry::ca_file(lab))));
    // Half a second is what a pooled name's TTL of a second allows: two probes that agree.
    line(format_args!("    interval: 500ms\n    timeout: 400ms"));
    line(format_args!("pools:\n  web:\n    check: web-https\n    members:"));
    for h in Host::of_kind(HostKind::Entry) {
        line(format_args!("      {}: {{site: {}, address: {}}}", h.name, h.site, h.address()));
    }
    let end =
        |site| Host::database_of(site).map(|h| h.address()).expect("both data sites have a database host");
    line(format_args!("names:\n  db:\n    bound: {GROUP}"));
    line(format_args!("    endpoints: {{pdc: [{}], mdc: [{}]}}", end(LabSite::Pdc), end(LabSite::Mdc)));
    // A site's first server is what its endpoint leads to.
    let seconds: Vec<_> =
        Host::databases(servers).filter(|h| Host::database_of(h.site) != Some(*h)).collect();
    if !seconds.is_empty() {
        let own: Vec<_> = seconds.iter().map(|h| format!("{}: [{}]", h.name, h.address())).collect();
        line(format_args!("    servers: {{{}}}", own.join(", ")));
    }
    line(format_args!("    ttl: 1s\n  www:\n    pooled: {{policy: weighted, pools: [web]}}"));
    text
}

/// A YAML text in double quotes (YAML 1.2 §7.3.1), for paths with whatever in them.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is plain data")
}

/// Everything that runs on the lab's hosts.
#[must_use]
pub fn processes(
    lab: &Lab,
    program: &Path,
    twofold: &Path,
    root: &MysqlRoot,
    haproxy: &Path,
    shape: Shape,
    servers: u32,
) -> Vec<ProcessSpec> {
    let process = |host: &Host, name: &str, command: Vec<String>, restart_after_ms| ProcessSpec {
        host: host.name.to_owned(),
        name: name.to_owned(),
        command,
        environment: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        restart_after_ms,
    };
    let text = |p: &Path| p.to_string_lossy().into_owned();
    let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let config = text(&lab.config_file());
    let twofold = text(twofold);
    let mut all = Vec::new();
    for host in Host::databases(servers) {
        let command = mysqld::command(root, &instance(lab, &host));
        all.push(process(&host, "mysqld", command, DATABASE_RESTART_MS));
        let guard = words(&[&twofold, "guard", "--config", &config, "--server", host.name]);
        all.push(process(&host, "guard", guard, RESTART_MS));
    }
    for host in nodes(shape) {
        let node = words(&[&twofold, "serve", "--config", &config, "--node", host.name]);
        all.push(process(&host, "node", node, RESTART_MS));
    }
    for host in Host::of_kind(HostKind::Web) {
        let plan = text(&web_plan_file(lab, &host));
        let web = words(&[&text(program), "lab", "web", "--plan", &plan]);
        all.push(process(&host, "web", web, RESTART_MS));
    }
    for host in Host::of_kind(HostKind::Entry) {
        all.push(process(&host, "haproxy", entry::command(lab, &host, haproxy), RESTART_MS));
    }
    all
}

/// Where a web host's plan is written.
#[must_use]
pub fn web_plan_file(lab: &Lab, host: &Host) -> PathBuf {
    lab.host_dir(host).join("web.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_asks_its_own_sites_dns_servers_first() {
        let access = access_from(&Host::named("mdc-web").unwrap());
        let names: Vec<_> = access.servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["mdc-1", "mdc-2", "pdc-1", "pdc-2", "wit-1"]);
    }

    #[test]
    fn every_host_runs_what_its_kind_says() {
        let lab = Lab::at(Path::new("/l"));
        for servers in [1, 2] {
            let (program, twofold, haproxy) = (Path::new("/p"), Path::new("/t"), Path::new("/h"));
            let root = MysqlRoot::at("/r");
            let all = processes(&lab, program, twofold, &root, haproxy, Shape::Witness, servers);
            for host in crate::layout::HOSTS {
                let runs = all.iter().filter(|p| p.host == host.name).map(|p| p.name.as_str());
                let wanted = if host.stands(servers) { host.kind.processes() } else { &[] };
                assert_eq!(runs.collect::<Vec<_>>(), wanted, "{}", host.name);
            }
        }
    }

    /// Goal: the second servers are in the configuration of a lab that has them, and in no other.
    #[test]
    fn a_lab_with_two_servers_a_site_names_the_addresses_of_the_second_ones() {
        let lab = Lab::at(Path::new("/l"));
        let text =
            |servers| configuration(&lab, &MysqlRoot::at("/r"), Fence::Nftables, Shape::Witness, servers);
        let (one, two) = (text(1), text(2));
        assert!(!one.contains("-db-2") && !one.contains("    servers: {"), "{one}");
        for host in Host::databases(2) {
            assert!(two.contains(&format!("      {}:\n        site: {}\n", host.name, host.site)), "{two}");
        }
        let names = "    endpoints: {pdc: [10.77.1.10], mdc: [10.77.2.10]}\n    \
                     servers: {pdc-db-2: [10.77.1.11], mdc-db-2: [10.77.2.11]}\n";
        assert!(two.contains(names), "{two}");
    }
}
