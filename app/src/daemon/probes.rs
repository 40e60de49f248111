//! The prober of a node and what all nodes' probes make of each member.

use std::collections::BTreeMap;
use std::time::Duration;

use app_config::Config;
use gslb_core::{Health, MemberCheck, Verdicts, observe};
use gslb_dns::{Probed, Prober};
use model::{MemberId, Observation, PoolId, SiteId, Timestamp};
use tokio::sync::mpsc;
use tracing::info;

use super::checks;
use super::readings::Readings;
use crate::clock;
use crate::wire::{Observed, Seen};

/// Observations on their way; a node probes some tens of members a second.
const QUEUE: usize = 1_024;
/// Intervals for which an observation counts.
const FRESH_INTERVALS: u32 = 4;

/// See the module.
pub struct Probes {
    prober: Prober,
    /// Kept, so that the channel stays open where nothing is checked.
    sender: mpsc::Sender<Probed>,
    observations: mpsc::Receiver<Probed>,
    health: Health,
    own: SiteId,
    newest: BTreeMap<(PoolId, MemberId), Observation>,
    readings: Readings,
}

impl Probes {
    /// Starts the configured checks, whose last results go into `readings` too.
    pub fn start(config: &Config, own: &SiteId, readings: Readings) -> Self {
        let own = own.clone();
        let (sender, observations) = mpsc::channel(QUEUE);
        let prober = Prober::start(checks::specs(config, &own), sender.clone());
        let mut health = Health::new(own.clone());
        health.configure(member_checks(config));
        Self { prober, sender, observations, health, own, newest: BTreeMap::new(), readings }
    }

    /// Goes over to other checks; what is known of members that stay is kept.
    pub fn configure(&mut self, config: &Config) {
        self.prober = Prober::start(checks::specs(config, &self.own), self.sender.clone());
        let checks = member_checks(config);
        self.newest.retain(|key, _| checks.contains_key(key));
        self.health.configure(checks);
        self.readings.configure(config);
    }

    fn take(&mut self, observation: Observation) {
        if let Some(change) =
            observe(&mut self.health, observation).filter(gslb_core::VerdictChange::state_changed)
        {
            info!(pool = %change.pool, member = %change.member, from = ?change.from.state, to = ?change.to.state, because = change.because, "verdict");
        }
    }

    /// Files what another node saw, restamped by its age.
    pub fn heard(&mut self, seen: &Seen, now: Timestamp) {
        if seen.site == self.own {
            return; // this node's own probes speak for its site
        }
        for o in &seen.observations {
            self.take(Observation {
                pool: o.pool.clone(),
                member: o.member.clone(),
                vantage: seen.site.clone(),
                at: now - Duration::from_micros(o.age_us),
                result: o.result.clone(),
            });
        }
    }

    /// This node's newest results, for the others.
    pub fn to_tell(&self, now: Timestamp) -> Vec<Observed> {
        self.newest
            .values()
            .map(|o| Observed {
                pool: o.pool.clone(),
                member: o.member.clone(),
                age_us: u64::try_from(now.since(o.at).as_micros()).unwrap_or(u64::MAX),
                result: o.result.clone(),
            })
            .collect()
    }

    /// The verdicts as they stand.
    pub fn verdicts(&mut self, now: Timestamp) -> Verdicts {
        while let Ok(probed) = self.observations.try_recv() {
            self.readings.take(&probed, clock::wall());
            let observation = probed.observation;
            let key = (observation.pool.clone(), observation.member.clone());
            self.newest.insert(key, observation.clone());
            self.take(observation);
        }
        if self.health.next_expiry().is_some_and(|at| at <= now) {
            self.health.expire(now);
        }
        self.health.verdicts()
    }
}

fn member_checks(config: &Config) -> BTreeMap<(PoolId, MemberId), MemberCheck> {
    let mut checks = BTreeMap::new();
    for pool in config.pools().values() {
        let Some(check) = pool.check.as_ref().and_then(|c| config.checks().get(c)) else { continue };
        for member in &pool.members {
            let judged = MemberCheck {
                site: member.site.clone(),
                rise: check.rise,
                fall: check.fall,
                freshness: check.interval * FRESH_INTERVALS + check.timeout,
            };
            checks.insert((pool.id.clone(), member.id.clone()), judged);
        }
    }
    checks
}
