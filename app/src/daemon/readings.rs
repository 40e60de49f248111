//! What this node's own last probe of each member saw: why it failed, how long it took, and when the
//! certificate ends that was presented; and how many there were. For people and metrics; verdicts are made elsewhere.
//!
//! Invariant: one entry a member that was ever probed, so never more than the configuration has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app_api::v1::ProbeStatus;
use app_config::{Config, Probe};
use gslb_dns::Probed;
use model::{MemberId, PoolId, Timestamp, WallTime};
use tracing::warn;

/// See the module. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// How long before its end a certificate is reported, by pool.
    warnings: Arc<Mutex<BTreeMap<PoolId, Duration>>>,
    members: Arc<Mutex<BTreeMap<(PoolId, MemberId), Reading>>>,
}

#[derive(Debug, Clone)]
struct Reading {
    at: Timestamp,
    result: Result<u64, String>,
    /// Kept from an earlier probe when this one saw none.
    certificate_ends: Option<WallTime>,
    told: bool,
    /// Since this node started, good and bad.
    probes: u64,
    failures: u64,
}

impl Readings {
    /// None yet, of these checks.
    pub fn new(config: &Config) -> Self {
        let readings = Self::default();
        readings.configure(config);
        readings
    }

    /// Goes over to other checks; what is known of members that stay is kept.
    pub fn configure(&self, config: &Config) {
        let warning = |pool: &app_config::Pool| match &config.checks().get(pool.check.as_ref()?)?.probe {
            Probe::Https { tls, .. } => Some((pool.id.clone(), tls.expiry_warning)),
            Probe::Tcp { .. } | Probe::Http(_) => None,
        };
        *self.warnings.lock().expect("no holder of this lock panics") =
            config.pools().values().filter_map(warning).collect();
        self.members.lock().expect("no holder of this lock panics").retain(|(pool, member), _| {
            config.pools().get(pool).is_some_and(|p| p.members.iter().any(|m| m.id == *member))
        });
    }

    /// Files what a probe brought; tells once of a certificate that ends soon.
    pub fn take(&self, probed: &Probed, now: WallTime) {
        let seen = &probed.observation;
        let key = (seen.pool.clone(), seen.member.clone());
        let mut members = self.members.lock().expect("no holder of this lock panics");
        let before = members.get(&key);
        let ends = probed.certificate_ends.or_else(|| before.and_then(|r| r.certificate_ends));
        let renewed = before.is_none_or(|r| r.certificate_ends != ends);
        let told = !renewed && before.is_some_and(|r| r.told);
        let soon = ends.is_some_and(|ends| self.soon(&seen.pool, ends, now));
        if soon && !told {
            let days = ends.map_or(0, |ends| ends.since(now).as_secs() / 86_400);
            warn!(pool = %seen.pool, member = %seen.member, days, "the member's certificate ends soon; renew it");
        }
        let (probes, failures) = before.map_or((0, 0), |r| (r.probes, r.failures));
        let (at, result) = (seen.at, seen.result.clone());
        let failures = failures + u64::from(result.is_err());
        let told = told || soon;
        members
            .insert(key, Reading { at, result, certificate_ends: ends, told, probes: probes + 1, failures });
    }

    fn soon(&self, pool: &PoolId, ends: WallTime, now: WallTime) -> bool {
        self.warnings
            .lock()
            .expect("no holder of this lock panics")
            .get(pool)
            .is_some_and(|warning| ends.since(now) < *warning)
    }

    /// The members of these pools, or of all.
    pub fn show(&self, pools: Option<&[PoolId]>, now: Timestamp, wall: WallTime) -> Vec<ProbeStatus> {
        let members = self.members.lock().expect("no holder of this lock panics");
        let wanted = members.iter().filter(|((pool, _), _)| pools.is_none_or(|pools| pools.contains(pool)));
        wanted
            .map(|((pool, member), reading)| ProbeStatus {
                pool: pool.to_string(),
                member: member.to_string(),
                age_ms: u64::try_from(now.since(reading.at).as_millis()).unwrap_or(u64::MAX),
                latency_us: reading.result.as_ref().ok().copied(),
                failure: reading.result.as_ref().err().cloned(),
                certificate_ends_ms: reading.certificate_ends.map(|ends| ends.0),
                certificate_ends_soon: reading.certificate_ends.is_some_and(|e| self.soon(pool, e, wall)),
                probes: reading.probes,
                failures: reading.failures,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use model::Observation;

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn probed(at: u64, ends: Option<i64>, result: Result<u64, String>) -> Probed {
        let (pool, member) = ("cloud".parse().unwrap(), "aks-web".parse().unwrap());
        let observation =
            Observation { pool, member, vantage: "pdc".parse().unwrap(), at: Timestamp(at), result };
        Probed { observation, certificate_ends: ends.map(WallTime) }
    }

    /// Goal: the last probe's word stands, the end of a certificate outlives probes that saw none, and soon is
    /// what the check says (30 days in the sample).
    #[test]
    fn a_reading_tells_the_last_probe_and_the_end_of_the_last_certificate() {
        let text = include_str!("../../config/testdata/twofold.yaml");
        let config = app_config::check(text, std::path::Path::new("/")).config.expect("it is well");
        let readings = Readings::new(&config);
        let show = || {
            let mut all = readings.show(None, Timestamp(5_000), WallTime(0));
            assert_eq!(all.len(), 1);
            all.remove(0)
        };
        readings.take(&probed(1_000, Some(31 * DAY_MS), Ok(250)), WallTime(0));
        let seen = show();
        assert_eq!((seen.pool.as_str(), seen.member.as_str(), seen.age_ms), ("cloud", "aks-web", 4));
        assert_eq!((seen.latency_us, seen.failure), (Some(250), None));
        assert_eq!((seen.certificate_ends_ms, seen.certificate_ends_soon), (Some(31 * DAY_MS), false));
        readings.take(&probed(3_000, None, Err("connect: refused".into())), WallTime(2 * DAY_MS));
        let seen = show();
        assert_eq!((seen.latency_us, seen.failure.as_deref()), (None, Some("connect: refused")));
        assert_eq!(seen.certificate_ends_ms, Some(31 * DAY_MS), "kept");
        assert_eq!((seen.probes, seen.failures), (2, 1));
        let soon = |now| readings.show(None, Timestamp(5_000), WallTime(now))[0].certificate_ends_soon;
        assert!(
            !soon(DAY_MS) && soon(DAY_MS + 1) && soon(40 * DAY_MS),
            "within the warning, and past the end"
        );
        assert!(readings.show(Some(&[]), Timestamp(0), WallTime(0)).is_empty(), "of these pools alone");
    }
}
