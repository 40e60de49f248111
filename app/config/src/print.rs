//! The resolved form, for people: a `twofold.yaml` in which everything is written out. It reads back
//! as the same [`Config`], and its order is fixed, so that two of them can be compared by `diff`.
//! What follows from the numbers, such as W and the RTO bounds, stands in comments.

use std::fmt::{self, Display, Formatter, Write};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::config::Config;
use crate::database::{AsyncFailover, Database, Failover, Fence, Flavour, Group, Promotion, Restart, Server};
use crate::scalar::show;
use crate::secret::{Account, SecretSource};
use crate::timing::Timing;
use crate::zone::{
    AllDown, Bound, Check, Follows, HttpProbe, NoQuorum, Policy, Pool, Pooled, Probe, RecordData,
    VirtualName, Zone,
};

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "version: 1")?;
        writeln!(f, "cluster: {}", self.cluster)?;
        timing(f, self.timing)?;
        writeln!(f, "data-dir: {}", path(&self.data_dir))?;
        let (mib, segments) = (self.audit.segment_bytes >> 20, self.audit.segments);
        writeln!(f, "audit: {{segment-mib: {mib}, segments: {segments}}}")?;
        writeln!(f, "tls: {{ca: {}, dir: {}}}", path(&self.tls.ca), path(&self.tls.dir))?;
        places(f, self)?;
        section(f, "databases", self.databases.values(), database)?;
        let manual = self.witness().is_none();
        section(f, "groups", self.groups.values(), move |f, g| group(f, g, manual))?;
        if let Some(written) = &self.zone {
            zone(f, written)?;
        }
        section(f, "checks", self.checks.values(), check)?;
        section(f, "pools", self.pools.values(), pool)?;
        section(f, "names", self.names.values(), name)
    }
}

fn section<T>(
    f: &mut Formatter<'_>,
    title: &str,
    items: impl ExactSizeIterator<Item = T>,
    item: impl Fn(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    if items.len() > 0 {
        writeln!(f, "{title}:")?;
    }
    for one in items {
        item(f, one)?;
    }
    Ok(())
}

fn timing(f: &mut Formatter<'_>, t: Timing) -> fmt::Result {
    writeln!(f, "timing:")?;
    writeln!(f, "  renew: {}", show(t.renew))?;
    writeln!(f, "  lease: {}", show(t.lease))?;
    writeln!(f, "  drift: {}", f64::from(t.drift_ppm) / 1e6)?;
    writeln!(f, "  margin: {}", show(t.margin))?;
    writeln!(f, "  wait: {}", show(t.wait()))?;
    writeln!(f, "  tick: {}", show(t.tick))?;
    writeln!(f, "  election: [{}, {}]", show(t.election_min), show(t.election_max))?;
    writeln!(f, "  dwell: {}", show(t.dwell))?;
    writeln!(f, "  sync-timeout: {}", show(t.sync_timeout))?;
    writeln!(f, "  rtt: {}", show(t.rtt))?;
    writeln!(f, "  fsync: {}", show(t.fsync))
}

fn places(f: &mut Formatter<'_>, config: &Config) -> fmt::Result {
    writeln!(f, "sites:")?;
    for site in config.sites.values() {
        writeln!(f, "  {}: {{role: {}}}", key(site.id.as_str()), site.role)?;
    }
    writeln!(f, "nodes:")?;
    for node in config.nodes.values() {
        let dns: Vec<String> = node.dns.iter().map(|socket| format!("\"{socket}\"")).collect();
        writeln!(f, "  {}:", key(node.id.as_str()))?;
        writeln!(f, "    site: {}", key(node.site.as_str()))?;
        writeln!(f, "    address: {}", address(&node.address))?;
        writeln!(f, "    peer-port: {}", node.peer_port)?;
        writeln!(f, "    api-port: {}", node.api_port)?;
        writeln!(f, "    dns: [{}]", dns.join(", "))?;
        if !node.dns_tls.is_empty() {
            let tls: Vec<String> = node.dns_tls.iter().map(|socket| format!("\"{socket}\"")).collect();
            writeln!(f, "    dns-tls: [{}]", tls.join(", "))?;
        }
    }
    Ok(())
}

fn database(f: &mut Formatter<'_>, database: &Database) -> fmt::Result {
    let flavour = match database.flavour {
        Flavour::Mysql => "mysql",
        Flavour::Mariadb => "mariadb",
    };
    writeln!(f, "  {}:", key(database.id.as_str()))?;
    writeln!(f, "    flavour: {flavour}")?;
    writeln!(f, "    admin: {}", account(&database.admin))?;
    writeln!(f, "    replication: {}", account(&database.replication))?;
    if let Some(ca) = &database.replication_ca {
        writeln!(f, "    replication-ca: {}", path(ca))?;
    }
    if let Some(schema) = &database.kine {
        writeln!(f, "    kine: {}", key(schema))?;
    }
    if !database.privileged_accounts.is_empty() {
        let accounts: Vec<_> = database.privileged_accounts.iter().map(|account| quote(account)).collect();
        writeln!(f, "    privileged-accounts: [{}]", accounts.join(", "))?;
    }
    writeln!(f, "    servers:")?;
    for one in database.servers.values() {
        server(f, one)?;
    }
    Ok(())
}

fn account(account: &Account) -> String {
    let user = quote(&account.user);
    match &account.password {
        SecretSource::File(file) => format!("{{user: {user}, password-file: {}}}", path(file)),
        SecretSource::Env(name) => format!("{{user: {user}, password-env: {}}}", key(name)),
    }
}

fn server(f: &mut Formatter<'_>, server: &Server) -> fmt::Result {
    let extra: Vec<String> = server.extra_ports.iter().map(u16::to_string).collect();
    writeln!(f, "      {}:", key(server.id.as_str()))?;
    writeln!(f, "        site: {}", key(server.site.as_str()))?;
    writeln!(f, "        address: {}", address(&server.address))?;
    writeln!(f, "        port: {}", server.port)?;
    writeln!(f, "        extra-ports: [{}]", extra.join(", "))?;
    writeln!(f, "        socket: {}", path(&server.socket))?;
    writeln!(f, "        pid-file: {}", path(&server.pid_file))?;
    writeln!(f, "        data-dir: {}", path(&server.data_dir))?;
    writeln!(f, "        error-log: {}", path(&server.error_log))?;
    writeln!(f, "        mysqlbinlog: {}", words(&server.mysqlbinlog))?;
    if let Some(copying) = &server.copying {
        writeln!(f, "        copy-port: {}", copying.port)?;
        writeln!(f, "        mariadb-backup: {}", words(&copying.backup))?;
        writeln!(f, "        mbstream: {}", words(&copying.unpack))?;
    }
    match server.fence {
        Fence::Nftables => writeln!(f, "        fence: nftables")?,
        Fence::Ladder { max } => writeln!(f, "        fence: {{ladder: {}}}", show(max))?,
    }
    if let Some(watchdog) = &server.watchdog {
        writeln!(f, "        # resets the host after {} s unfed", watchdog.timeout_s)?;
        writeln!(f, "        watchdog: {}", path(&watchdog.device))?;
    }
    writeln!(f, "        guard-dir: {}", path(&server.guard_dir))?;
    match &server.restart {
        Restart::Supervisor => writeln!(f, "        restart: supervisor")?,
        Restart::Systemd { unit } => writeln!(f, "        restart: {{systemd: {}}}", quote(unit))?,
        Restart::Command(command) => writeln!(f, "        restart: {{command: {}}}", words(command))?,
    }
    let promotion = match server.promotion {
        Promotion::Prefer => "prefer",
        Promotion::Neutral => "neutral",
        Promotion::MustNot => "must-not",
    };
    writeln!(f, "        promotion: {promotion}")
}

fn group(f: &mut Formatter<'_>, group: &Group, manual: bool) -> fmt::Result {
    let failover = match group.failover {
        Failover::Automatic => "automatic",
        Failover::Manual => "manual",
    };
    let async_failover = match group.async_failover {
        AsyncFailover::Refuse => "refuse",
        AsyncFailover::Allow => "allow",
    };
    writeln!(f, "  {}:", key(group.id.as_str()))?;
    if manual {
        writeln!(
            f,
            "    # manual mode: leases last until a fence or the host's boot, and are never outwaited"
        )?;
    } else {
        let (hold, wait) = (show(group.timing.hold()), show(group.timing.wait()));
        writeln!(f, "    # lease until {hold} after its renewal; W {wait}")?;
    }
    match group.failover {
        Failover::Manual if manual => {
            writeln!(f, "    # no RTO bound: a person confirms the fence, and starts the failover")?;
        }
        Failover::Automatic => writeln!(f, "    # RTO bound: {}", group.timing.rto_bound())?,
        Failover::Manual => writeln!(f, "    # no RTO bound: a person starts the failover")?,
    }
    writeln!(f, "    database: {}", key(group.database.as_str()))?;
    writeln!(f, "    failover: {failover}")?;
    if let Some(rto) = group.rto {
        writeln!(f, "    rto: {}", show(rto))?;
    }
    writeln!(f, "    rpo: {}", show(group.rpo))?;
    writeln!(f, "    prefer: {}", key(group.prefer.as_str()))?;
    writeln!(f, "    async-failover: {async_failover}")
}

fn zone(f: &mut Formatter<'_>, zone: &Zone) -> fmt::Result {
    let names: Vec<&str> = zone.name_servers.iter().map(|name| name.as_str()).collect();
    let soa = &zone.soa;
    writeln!(f, "zone:")?;
    writeln!(f, "  origin: {}", zone.origin)?;
    writeln!(f, "  ttl: {}", show(zone.ttl))?;
    writeln!(f, "  soa:")?;
    writeln!(f, "    mname: {}", soa.mname)?;
    writeln!(f, "    rname: {}", soa.rname)?;
    writeln!(f, "    refresh: {}", show(soa.refresh))?;
    writeln!(f, "    retry: {}", show(soa.retry))?;
    writeln!(f, "    expire: {}", show(soa.expire))?;
    writeln!(f, "    minimum: {}", show(soa.minimum))?;
    writeln!(f, "  ns: [{}]", names.join(", "))?;
    if let Some(tls) = &zone.tls {
        writeln!(f, "  tls: {{certificate: {}, key: {}}}", path(&tls.certificate), path(&tls.key))?;
    }
    if let Some(file) = &zone.cookie_secret {
        writeln!(f, "  cookie-secret-file: {}", path(file))?;
    }
    if let Some(limit) = zone.rate_limit {
        writeln!(f, "  rate-limit: {limit}")?;
    }
    if !zone.records.is_empty() {
        writeln!(f, "  records:")?;
    }
    for record in &zone.records {
        let data = match &record.data {
            // Texts are written bare here; the strings are cut again as they were.
            RecordData::Txt(strings) => strings.concat(),
            data => data.to_string(),
        };
        let name = quote(record.name.as_str());
        let rtype = record.data.rtype();
        writeln!(
            f,
            "    - {{name: {name}, type: {rtype}, ttl: {}, data: {}}}",
            show(record.ttl),
            quote(&data)
        )?;
    }
    Ok(())
}

fn check(f: &mut Formatter<'_>, check: &Check) -> fmt::Result {
    writeln!(f, "  {}:", key(check.id.as_str()))?;
    match &check.probe {
        Probe::Tcp { port } => writeln!(f, "    tcp: {{port: {port}}}")?,
        Probe::Http(http) => {
            writeln!(f, "    http:")?;
            self::http(f, http)?;
        }
        Probe::Https { http, tls } => {
            writeln!(f, "    https:")?;
            self::http(f, http)?;
            if let Some(sni) = &tls.sni {
                writeln!(f, "      sni: {}", quote(sni))?;
            }
            if let Some(ca) = &tls.ca {
                writeln!(f, "      ca: {}", path(ca))?;
            }
            writeln!(f, "      expiry-warning: {}", show(tls.expiry_warning))?;
        }
    }
    writeln!(f, "    interval: {}", show(check.interval))?;
    writeln!(f, "    timeout: {}", show(check.timeout))?;
    writeln!(f, "    rise: {}", check.rise)?;
    writeln!(f, "    fall: {}", check.fall)
}

fn http(f: &mut Formatter<'_>, http: &HttpProbe) -> fmt::Result {
    let status = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let statuses: Vec<String> = http.expect_status.iter().map(status).collect();
    writeln!(f, "      port: {}", http.port)?;
    writeln!(f, "      path: {}", quote(&http.path))?;
    if let Some(host) = &http.host {
        writeln!(f, "      host: {}", quote(host))?;
    }
    writeln!(f, "      expect-status: [{}]", statuses.join(", "))?;
    if let Some(body) = &http.expect_body {
        writeln!(f, "      expect-body: {}", quote(body))?;
    }
    Ok(())
}

fn pool(f: &mut Formatter<'_>, pool: &Pool) -> fmt::Result {
    writeln!(f, "  {}:", key(pool.id.as_str()))?;
    if let Some(check) = &pool.check {
        writeln!(f, "    check: {}", key(check.as_str()))?;
    }
    writeln!(f, "    min-up: {}", pool.min_up)?;
    writeln!(f, "    members:")?;
    for member in &pool.members {
        let (id, site) = (key(member.id.as_str()), key(member.site.as_str()));
        let (address, weight) = (address(&member.address), member.weight);
        writeln!(f, "      {id}: {{site: {site}, address: {address}, weight: {weight}}}")?;
    }
    Ok(())
}

fn name(f: &mut Formatter<'_>, name: &VirtualName) -> fmt::Result {
    writeln!(f, "  {}:", quote(name.name.as_str()))?;
    match &name.follows {
        Follows::Bound(follows) => bound(f, follows),
        Follows::Pooled(follows) => pooled(f, follows),
    }
}

fn bound(f: &mut Formatter<'_>, bound: &Bound) -> fmt::Result {
    let no_quorum = match bound.no_quorum {
        NoQuorum::Servfail => "servfail",
        NoQuorum::Last => "last",
    };
    writeln!(f, "    bound: {}", key(bound.group.as_str()))?;
    writeln!(f, "    endpoints:")?;
    for (site, addresses) in &bound.endpoints {
        let addresses: Vec<String> = addresses.iter().map(address).collect();
        writeln!(f, "      {}: [{}]", key(site.as_str()), addresses.join(", "))?;
    }
    if !bound.servers.is_empty() {
        writeln!(f, "    servers:")?;
    }
    for (server, addresses) in &bound.servers {
        let addresses: Vec<String> = addresses.iter().map(address).collect();
        writeln!(f, "      {}: [{}]", key(server.as_str()), addresses.join(", "))?;
    }
    writeln!(f, "    ttl: {}", show(bound.ttl))?;
    writeln!(f, "    no-quorum: {no_quorum}")
}

fn pooled(f: &mut Formatter<'_>, pooled: &Pooled) -> fmt::Result {
    let policy = match pooled.policy {
        Policy::Order => "order",
        Policy::Weighted => "weighted",
    };
    let all_down = match pooled.all_down {
        AllDown::Open => "open",
        AllDown::Nodata => "nodata",
        AllDown::Servfail => "servfail",
    };
    writeln!(f, "    pooled:")?;
    writeln!(f, "      policy: {policy}")?;
    writeln!(f, "      pools:")?;
    for share in &pooled.pools {
        writeln!(f, "        {}: {}", key(share.pool.as_str()), share.weight)?;
    }
    writeln!(f, "    all-down: {all_down}")?;
    writeln!(f, "    ttl-min: {}", show(pooled.ttl_min))?;
    writeln!(f, "    ttl-max: {}", show(pooled.ttl_max))
}

/// A name of ours; quoted only where YAML would take it for something else than a word.
fn key(text: &str) -> String {
    if matches!(text, "null" | "Null" | "NULL") { quote(text) } else { text.to_owned() }
}

/// IPv6 has colons, which YAML may take for a mapping.
fn address(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"{address}\""),
    }
}

fn path(path: &Path) -> String {
    quote(&path.display().to_string())
}

fn words(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A double-quoted scalar (YAML 1.2.2 §7.3.1).
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // Control characters, and those a YAML reader may take for line ends or refuse.
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
