//! Checks, pools and virtual names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use model::{PoolId, ServerId, SiteId};

use super::or;
use super::places::Sites;
use super::zone::relative;
use crate::config::Role;
use crate::database::Database;
use crate::fields::{At, quoted, suggest};
use crate::name::{CheckId, DatabaseId, DnsName};
use crate::problem::Problems;
use crate::scalar::show;
use crate::tree::Place;
use crate::v1::{
    BoundFile, CheckFile, ConfigFile, HttpFile, Keyed, MemberFile, NameKind, PoolFile, PooledFile, ProbeFile,
    ProbeTlsFile, is_server_name,
};
use crate::zone::{
    AllDown, Bound, Check, Follows, HttpProbe, Member, NoQuorum, Policy, Pool, PoolShare, Pooled, Probe,
    TlsProbe, VirtualName, Zone,
};

/// The share of a member or pool that gives none.
pub(crate) const SHARE_DEFAULT: u64 = 1;

/// Between two probes.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shortest interval: more would be load, not a check.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// When a probe without an answer has failed; half the interval where that is less.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Probes in a row that change a verdict.
const ROW: u64 = 2;

/// The status of an HTTP answer that counts as success.
const EXPECT_STATUS: u16 = 200;

/// How long before its end a certificate is reported: time enough for a person who has a holiday in between.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);

/// TTL of bound names: the least that caches honour, since the answer may change at any time.
const TTL_BOUND: Duration = Duration::from_secs(1);

/// Bounds on the TTL of pooled names.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(30);

/// Longest TTL of a virtual name: past an hour its clients are steered no more.
const TTL_LIMIT: Duration = Duration::from_secs(3600);

/// All checks that could be read.
pub(crate) fn checks(file: &ConfigFile, folder: &Path, problems: &mut Problems) -> BTreeMap<CheckId, Check> {
    let read = |(id, written): &(At<CheckId>, CheckFile)| {
        Some((id.value.clone(), check(&id.value, written, folder, problems)?))
    };
    file.checks.iter().filter_map(read).collect()
}

fn check(id: &CheckId, written: &CheckFile, folder: &Path, problems: &mut Problems) -> Option<Check> {
    let interval = or(&written.interval, INTERVAL);
    if interval < INTERVAL_MIN {
        let place = written.interval.as_ref().map_or(&written.place, |at| &at.place);
        problems.add(
            place,
            format!("interval {} is shorter than {}", show(interval), show(INTERVAL_MIN)),
            "lengthen it",
        );
        return None;
    }
    let timeout = or(&written.timeout, TIMEOUT.min(interval / 2));
    if timeout >= interval || timeout.is_zero() {
        let place = written.timeout.as_ref().map_or(&written.place, |at| &at.place);
        problems.add(
            place,
            format!("timeout {} is not shorter than interval {}", show(timeout), show(interval)),
            "a probe must have ended before the next begins: shorten timeout or lengthen interval",
        );
        return None;
    }
    let probe = match written.probe.as_ref()? {
        ProbeFile::Tcp { port } => Probe::Tcp { port: port.as_ref()?.value },
        ProbeFile::Http(http) => Probe::Http(self::http(http, problems)?),
        ProbeFile::Https(asked, written) => {
            let http = self::http(asked, problems)?;
            let tls = tls(written, asked.host.as_ref(), folder, problems)?;
            Probe::Https { http, tls }
        }
    };
    Some(Check {
        id: id.clone(),
        probe,
        interval,
        timeout,
        rise: small(or(&written.rise, ROW)),
        fall: small(or(&written.fall, ROW)),
    })
}

fn http(written: &HttpFile, problems: &mut Problems) -> Option<HttpProbe> {
    let expect_status = match &written.expect_status {
        Some(at) if at.value.is_empty() => {
            problems.add(&at.place, "no status counts as success", "write one, as in [200]");
            return None;
        }
        Some(at) => at.value.iter().map(|at| at.value.clone()).collect(),
        None => vec![EXPECT_STATUS..=EXPECT_STATUS],
    };
    Some(HttpProbe {
        port: written.port.as_ref()?.value,
        path: written.path.as_ref().map_or_else(|| "/".to_owned(), |at| at.value.clone()),
        host: written.host.as_ref().map(|at| at.value.clone()),
        expect_status,
        expect_body: written.expect_body.as_ref().map(|at| at.value.clone()),
    })
}

fn tls(
    written: &ProbeTlsFile,
    host: Option<&At<String>>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<TlsProbe> {
    let from_host = host.and_then(|at| Some((name_in(&at.value)?, &at.place)));
    let sni = match (&written.sni, from_host) {
        (Some(at), _) => Some(at.value.clone()),
        (None, Some((name, place))) if !is_server_name(&name) => {
            let why = format!("{} cannot stand in a certificate", quoted(&name));
            problems.add(place, why, "write the certificate's name as sni");
            return None;
        }
        (None, from_host) => from_host.map(|(name, _)| name),
    };
    Some(TlsProbe {
        sni,
        ca: written.ca.as_ref().map(|at| folder.join(&at.value)),
        expiry_warning: or(&written.expiry_warning, EXPIRY_WARNING),
    })
}

/// The DNS name in a `Host` header, without its port; none in one that has an address.
fn name_in(host: &str) -> Option<String> {
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let address = host.starts_with('[') || name.is_empty() || name.parse::<IpAddr>().is_ok();
    (!address).then(|| name.to_owned())
}

/// All pools that could be read.
pub(crate) fn pools(file: &ConfigFile, sites: &Sites<'_>, problems: &mut Problems) -> BTreeMap<PoolId, Pool> {
    let mut pools = BTreeMap::new();
    for (id, written) in &file.pools {
        if let Some(pool) = pool(&id.value, written, file, sites, problems) {
            pools.insert(id.value.clone(), pool);
        }
    }
    pools
}

fn pool(
    id: &PoolId,
    written: &PoolFile,
    file: &ConfigFile,
    sites: &Sites<'_>,
    problems: &mut Problems,
) -> Option<Pool> {
    if let Some(at) = &written.check
        && !file.checks.iter().any(|(id, _)| id.value == at.value)
    {
        let names = file.checks.iter().map(|(id, _)| id.value.as_str());
        problems.add(
            &at.place,
            format!("check {} is not there", quoted(at.value.as_str())),
            suggest(at.value.as_str(), names),
        );
    }
    if written.members.is_empty() {
        problems.add(
            &written.place,
            format!("pool {} has no member", quoted(id.as_str())),
            "add one under members",
        );
    }
    let mut members = Vec::new();
    let mut seen: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for (id, member) in &written.members {
        if let Some(at) = &member.address
            && let Some(earlier) = seen.insert(at.value, id.value.as_str())
        {
            problems.add(
                &at.place,
                format!("{} is the address of member {} already", at.value, quoted(earlier)),
                "keep one of them",
            );
        }
        if let Some(member) = self::member(id, member, sites, problems) {
            members.push(member);
        }
    }
    let min_up = or(&written.min_up, 1);
    if let Some(at) = &written.min_up
        && usize::try_from(at.value).is_ok_and(|least| least > written.members.len())
    {
        problems.add(
            &at.place,
            format!("min-up {} is more than its {} members", at.value, written.members.len()),
            "the pool would never be up; lower it",
        );
    }
    Some(Pool {
        id: id.clone(),
        members,
        check: written.check.as_ref().map(|at| at.value.clone()),
        min_up: small(min_up),
    })
}

fn member(
    id: &At<model::MemberId>,
    written: &MemberFile,
    sites: &Sites<'_>,
    problems: &mut Problems,
) -> Option<Member> {
    let site = written.site.as_ref().and_then(|site| {
        let hint = "a witness votes only; put it into a data or burst site";
        sites.refer(site, "a pool's member", &[Role::Data, Role::Burst], hint, problems)
    });
    Some(Member {
        id: id.value.clone(),
        site: site?,
        address: written.address.as_ref()?.value,
        weight: small(or(&written.weight, SHARE_DEFAULT)),
    })
}

/// All virtual names that could be read.
pub(crate) fn names(
    file: &ConfigFile,
    sites: &Sites<'_>,
    databases: &BTreeMap<DatabaseId, Database>,
    zone: Option<&Zone>,
    problems: &mut Problems,
) -> BTreeMap<DnsName, VirtualName> {
    let mut names = BTreeMap::new();
    let mut seen: BTreeMap<DnsName, &Place> = BTreeMap::new();
    if let Some((first, _)) = file.names.first()
        && !file.zone_written
    {
        problems.add(
            &first.place,
            "virtual names need a zone to stand in",
            "add `zone: {origin: gslb.example.com}`",
        );
    }
    for (at, written) in &file.names {
        let follows = match written.kind.as_ref() {
            Some(NameKind::Bound(bound)) => {
                self::bound(bound, file, sites, databases, problems).map(Follows::Bound)
            }
            Some(NameKind::Pooled(pooled)) => self::pooled(pooled, file, problems).map(Follows::Pooled),
            None => None,
        };
        let Some(zone) = zone else { continue };
        let Some(name) = relative(at, &zone.origin, problems) else { continue };
        if !name.is_within(&zone.origin) {
            problems.add(
                &at.place,
                format!("{name} is not in the zone {}", zone.origin),
                "write it without its final dot if it is relative to the zone",
            );
        }
        if let Some(earlier) = seen.insert(name.clone(), &at.place) {
            problems.add(
                &at.place,
                format!("{name} is virtual already, on line {}", earlier.line),
                "keep one of them",
            );
        }
        if let Some(follows) = follows {
            names.insert(name.clone(), VirtualName { name, follows });
        }
    }
    names
}

fn bound(
    written: &BoundFile,
    file: &ConfigFile,
    sites: &Sites<'_>,
    databases: &BTreeMap<DatabaseId, Database>,
    problems: &mut Problems,
) -> Option<Bound> {
    let ttl = ttl(&written.ttl, TTL_BOUND, problems);
    let group = written.group.as_ref()?;
    let Some((_, group_file)) = file.groups.iter().find(|(id, _)| id.value == group.value) else {
        let names = file.groups.iter().map(|(id, _)| id.value.as_str());
        problems.add(
            &group.place,
            format!("group {} is not there", quoted(group.value.as_str())),
            suggest(group.value.as_str(), names),
        );
        return None;
    };
    let database = group_file.database.as_ref().and_then(|at| databases.get(&at.value));
    let servers = match &written.servers {
        Some(at) => servers(at, database?, problems),
        None => Some(BTreeMap::new()),
    };
    let (endpoints, servers) = match &written.endpoints {
        Some(at) => (endpoints(at, sites, problems)?, servers?),
        None if written.endpoints_written => return None,
        None => each_server(database?, sites, servers?)?,
    };
    // Without a witness the loss of one site is the loss of the quorum, and SERVFAIL would take the names
    // of a primary that goes on writing with it.
    let no_quorum = if sites.has_witness() { NoQuorum::Servfail } else { NoQuorum::Last };
    Some(Bound {
        group: group.value.clone(),
        endpoints,
        servers,
        ttl: ttl?,
        no_quorum: or(&written.no_quorum, no_quorum),
    })
}

fn endpoints(
    written: &At<Keyed<SiteId, Vec<At<IpAddr>>>>,
    sites: &Sites<'_>,
    problems: &mut Problems,
) -> Option<BTreeMap<SiteId, Vec<IpAddr>>> {
    let before = problems.len();
    let mut endpoints: BTreeMap<SiteId, Vec<IpAddr>> = BTreeMap::new();
    for (site, addresses) in &written.value {
        let hint = "a group is served from data sites only";
        sites.refer(site, "an endpoint of a bound name", &[Role::Data], hint, problems);
        let found = endpoints.entry(site.value.clone()).or_default();
        for at in addresses {
            if found.contains(&at.value) {
                problems.add(&at.place, format!("{} stands here twice", at.value), "keep one");
            }
            found.push(at.value);
        }
        if addresses.is_empty() {
            problems.add(&site.place, "a site without an address cannot be answered", "write at least one");
        }
    }
    for site in sites.data().filter(|site| !endpoints.contains_key(*site)) {
        problems.add(
            &written.place,
            format!("site {} has no endpoint, and the group may move there", quoted(site.as_str())),
            format!("add `{site}: [ADDRESS]`"),
        );
    }
    (problems.len() == before).then_some(endpoints)
}

/// Addresses that lead to one server each.
type ByServer = BTreeMap<ServerId, Vec<IpAddr>>;

/// What leads to single servers of the group's database.
fn servers(
    written: &At<Keyed<ServerId, Vec<At<IpAddr>>>>,
    database: &Database,
    problems: &mut Problems,
) -> Option<ByServer> {
    let before = problems.len();
    let mut servers = ByServer::new();
    for (server, addresses) in &written.value {
        if !database.servers.contains_key(&server.value) {
            let names = database.servers.keys().map(ServerId::as_str);
            problems.add(
                &server.place,
                format!("the group's database has no server {}", quoted(server.value.as_str())),
                suggest(server.value.as_str(), names),
            );
        }
        let found = servers.entry(server.value.clone()).or_default();
        for at in addresses {
            if found.contains(&at.value) {
                problems.add(&at.place, format!("{} stands here twice", at.value), "keep one");
            }
            found.push(at.value);
        }
        if addresses.is_empty() {
            problems.add(
                &server.place,
                "a server without an address cannot be answered",
                "write at least one",
            );
        }
    }
    (problems.len() == before).then_some(servers)
}

/// Where no endpoints are written every server is answered by its own address, unless another one is written for it.
/// One server a site is as good as its site.
fn each_server(
    database: &Database,
    sites: &Sites<'_>,
    written: ByServer,
) -> Option<(BTreeMap<SiteId, Vec<IpAddr>>, ByServer)> {
    let mut endpoints = BTreeMap::new();
    let mut servers = BTreeMap::new();
    for site in sites.data() {
        for server in database.servers_in(site) {
            let own = written.get(&server.id).cloned().unwrap_or_else(|| vec![server.address]);
            endpoints.entry(site.clone()).or_insert_with(|| own.clone());
            servers.insert(server.id.clone(), own);
        }
        // None at all is the database's own problem.
        if !endpoints.contains_key(site) {
            return None;
        }
    }
    if servers.len() == endpoints.len() {
        servers = written;
    }
    Some((endpoints, servers))
}

fn pooled(written: &PooledFile, file: &ConfigFile, problems: &mut Problems) -> Option<Pooled> {
    let policy = or(&written.policy, Policy::Order);
    let pools = written.pools.as_ref();
    let mut shares: Vec<PoolShare> = Vec::new();
    for (at, weight) in pools.iter().flat_map(|at| &at.value) {
        if !file.pools.iter().any(|(id, _)| id.value == at.value) {
            let names = file.pools.iter().map(|(id, _)| id.value.as_str());
            problems.add(
                &at.place,
                format!("pool {} is not there", quoted(at.value.as_str())),
                suggest(at.value.as_str(), names),
            );
        }
        if shares.iter().any(|share| share.pool == at.value) {
            problems.add(
                &at.place,
                format!("pool {} stands here twice", quoted(at.value.as_str())),
                "keep one",
            );
        }
        shares.push(PoolShare { pool: at.value.clone(), weight: small(*weight) });
    }
    if let Some(at) = pools {
        if shares.is_empty() {
            problems.add(&at.place, "a pooled name needs a pool", "name one, as in `pools: [web]`");
        } else if policy == Policy::Weighted && shares.iter().all(|share| share.weight == 0) {
            problems.add(&at.place, "all shares are 0, so that nothing is answered", "give one pool a share");
        }
    }
    let ttl_min = ttl(&written.ttl_min, TTL_MIN, problems);
    let ttl_max = ttl(&written.ttl_max, TTL_MAX.max(ttl_min.unwrap_or_default()), problems);
    if let (Some(least), Some(most)) = (ttl_min, ttl_max)
        && least > most
        && let Some(at) = written.ttl_max.as_ref().or(written.ttl_min.as_ref())
    {
        problems.add(
            &at.place,
            format!("ttl-min {} is longer than ttl-max {}", show(least), show(most)),
            "swap them",
        );
    }
    pools?;
    Some(Pooled {
        policy,
        pools: shares,
        all_down: or(&written.all_down, AllDown::Open),
        ttl_min: ttl_min?,
        ttl_max: ttl_max?,
    })
}

fn ttl(written: &Option<At<Duration>>, default: Duration, problems: &mut Problems) -> Option<Duration> {
    let Some(at) = written else { return Some(default) };
    if at.value > TTL_LIMIT {
        problems.add(
            &at.place,
            format!("ttl {} of a virtual name is longer than {}", show(at.value), show(TTL_LIMIT)),
            "clients would keep the old site for as long; shorten it",
        );
        return None;
    }
    Some(at.value)
}

/// The readers keep these numbers far under 2³².
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
