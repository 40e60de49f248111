//! From a configuration to what is answered: the zone, its virtual names and their pools, under the routes and verdicts of the
//! moment; and what a node adds to each answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use app_config::{AllDown, Bound, Config, Follows, NoQuorum, Policy};
use gslb_core::{
    BoundSpec, Freshness, Name, NameKind, NameSpec, PoolMember, PoolShare, PoolSpec, PooledSpec, RecordSpec,
    Snapshot, SnapshotSpec, SoaSpec, Verdicts, ZoneSpec,
};
use gslb_dns::record_data;
use gslb_dns::wire::{CookieSecret, Terms};
use model::{Generation, GroupId, ServerId, SiteId};
use tracing::warn;

/// Octets that the secret of DNS cookies has at least: those of a key.
const COOKIE_SECRET_MIN: usize = 16;

/// Where a group's names lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTo {
    /// The active site.
    pub site: SiteId,
    /// The primary; none where its epoch is forgotten.
    pub server: Option<ServerId>,
}

/// By group.
pub type Routes = BTreeMap<GroupId, RouteTo>;

/// What the node adds to its answers. A secret that cannot be had costs nobody an answer: cookies are then this node's own.
pub fn terms(config: &Config, nsid: String) -> Terms {
    let file = config.zone().and_then(|zone| zone.cookie_secret.as_ref());
    let read = file.map(|file| match std::fs::read(file) {
        Ok(octets) if octets.len() >= COOKIE_SECRET_MIN => Ok(CookieSecret::of(&octets)),
        Ok(octets) => Err(format!(
            "{} has {} octets; put {COOKIE_SECRET_MIN} or more there that are hard to guess, the same on every node",
            file.display(),
            octets.len()
        )),
        Err(error) => Err(format!("{}: {error}; put the secret there, the same on every node", file.display())),
    });
    let cookies = match read {
        Some(Ok(secret)) => secret,
        Some(Err(why)) => {
            warn!(%why, "dns cookies of other nodes are not taken here until this node is started with their secret");
            CookieSecret::drawn()
        }
        None => CookieSecret::drawn(),
    };
    let rate_limit = config.zone().and_then(|zone| zone.rate_limit);
    Terms { nsid, cookies: Some(cookies), rate_limit }
}

/// What is answered before anything is known: the zone, and SERVFAIL for bound names.
pub fn blank(config: &Config) -> Result<Snapshot> {
    let spec = spec(config, Generation(0), Freshness::Stale, &Routes::new(), Verdicts::new())?;
    match Snapshot::build(spec) {
        Ok(snapshot) => Ok(snapshot),
        Err(problems) => {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("the zone cannot be served: {}", list.join("; "))
        }
    }
}

fn seconds(d: Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}

fn name(text: &app_config::DnsName) -> Result<Name> {
    text.as_str().parse().map_err(|e| anyhow::anyhow!("name {:?}: {e}", text.as_str()))
}

/// The whole of a node's answers, from what is configured, committed and seen.
pub fn spec(
    config: &Config,
    generation: Generation,
    freshness: Freshness,
    routes: &Routes,
    verdicts: Verdicts,
) -> Result<SnapshotSpec> {
    let zones = match config.zone() {
        Some(zone) => vec![zone_spec(zone, generation)?],
        None => vec![],
    };
    let pools = config
        .pools()
        .values()
        .map(|pool| {
            let check = pool.check.as_ref().and_then(|c| config.checks().get(c));
            let members = pool
                .members
                .iter()
                .map(|m| PoolMember {
                    id: m.id.clone(),
                    site: m.site.clone(),
                    address: m.address,
                    weight: m.weight,
                })
                .collect();
            let check_interval = check.map(|c| c.interval);
            (pool.id.clone(), PoolSpec { members, check_interval, min_up: pool.min_up })
        })
        .collect();
    let mut names = Vec::new();
    for virtual_name in config.names().values() {
        let kind = match &virtual_name.follows {
            Follows::Bound(b) => NameKind::Bound(BoundSpec {
                group: b.group.clone(),
                endpoints: endpoints(b, routes.get(&b.group)),
                active: routes.get(&b.group).map(|route| route.site.clone()),
                no_quorum: match b.no_quorum {
                    NoQuorum::Servfail => gslb_core::NoQuorum::Servfail,
                    NoQuorum::Last => gslb_core::NoQuorum::Last,
                },
                ttl: seconds(b.ttl),
            }),
            Follows::Pooled(p) => NameKind::Pooled(PooledSpec {
                policy: match p.policy {
                    Policy::Order => gslb_core::Policy::Order,
                    Policy::Weighted => gslb_core::Policy::Weighted,
                },
                pools: p.pools.iter().map(|s| PoolShare { pool: s.pool.clone(), weight: s.weight }).collect(),
                all_down: match p.all_down {
                    AllDown::Open => gslb_core::AllDown::Open,
                    AllDown::Nodata => gslb_core::AllDown::Nodata,
                    AllDown::Servfail => gslb_core::AllDown::Servfail,
                },
                ttl_min: seconds(p.ttl_min),
                ttl_max: seconds(p.ttl_max),
            }),
        };
        names.push(NameSpec { name: name(&virtual_name.name)?, kind });
    }
    Ok(SnapshotSpec { generation, freshness, zones, pools, names, verdicts })
}

/// By site; where the primary has addresses of its own, those stand for its site's.
fn endpoints(bound: &Bound, route: Option<&RouteTo>) -> BTreeMap<SiteId, Vec<IpAddr>> {
    let mut endpoints = bound.endpoints.clone();
    if let Some(route) = route
        && let Some(own) = route.server.as_ref().and_then(|server| bound.servers.get(server))
    {
        endpoints.insert(route.site.clone(), own.clone());
    }
    endpoints
}

fn zone_spec(zone: &app_config::Zone, generation: Generation) -> Result<ZoneSpec> {
    let mut records = Vec::new();
    for record in &zone.records {
        let record_type = record.data.rtype().parse()?;
        let text = record.data.to_string();
        records.push(RecordSpec {
            owner: name(&record.name)?,
            record_type,
            ttl: seconds(record.ttl),
            data: record_data(record_type, &text)
                .map_err(|e| anyhow::anyhow!("record {} {text:?}: {e}", record.name))?,
        });
    }
    let name_servers = zone.name_servers.iter().map(name).collect::<Result<_>>()?;
    Ok(ZoneSpec {
        apex: name(&zone.origin)?,
        soa: SoaSpec {
            primary: name(&zone.soa.mname)?,
            contact: name(&zone.soa.rname)?,
            serial: u32::try_from(generation.0 & u64::from(u32::MAX)).expect("it is masked"),
            refresh: seconds(zone.soa.refresh),
            retry: seconds(zone.soa.retry),
            expire: seconds(zone.soa.expire),
            minimum: seconds(zone.soa.minimum),
            ttl: seconds(zone.ttl),
        },
        name_servers,
        name_servers_ttl: seconds(zone.ttl),
        records,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a name follows the group's primary from one server of a site to another. Method: a bound name with and
    /// without addresses of its servers, under routes to each.
    #[test]
    fn a_name_is_answered_by_its_primarys_own_addresses() {
        let ip = |text: &str| vec![text.parse::<IpAddr>().unwrap()];
        let text = include_str!("../config/testdata/smallest.yaml");
        let config = app_config::check(text, std::path::Path::new("/")).config.unwrap();
        let Follows::Bound(plain) = &config.names().values().next().unwrap().follows else { panic!() };
        let (site, at_site) = plain.endpoints.iter().next().unwrap();
        let mut several = plain.clone();
        several.servers.insert("second".parse().unwrap(), ip("192.0.2.99"));
        let to =
            |server: Option<&str>| RouteTo { site: site.clone(), server: server.map(|s| s.parse().unwrap()) };
        assert_eq!(endpoints(&several, None)[site], *at_site);
        assert_eq!(endpoints(&several, Some(&to(None)))[site], *at_site);
        assert_eq!(endpoints(&several, Some(&to(Some("first"))))[site], *at_site);
        assert_eq!(endpoints(&several, Some(&to(Some("second"))))[site], ip("192.0.2.99"));
        assert_eq!(endpoints(plain, Some(&to(Some("second"))))[site], *at_site);
    }
}
