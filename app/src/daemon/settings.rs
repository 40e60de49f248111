//! The configuration in force on this node: it is swapped whole when another generation is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use app_config::Config;
use failover_core::{AsyncFailover, Defects, FailoverMode, GroupPolicy, Policy, Promotion};
use model::{Generation, ServerId};

use super::roster::Roster;
use crate::links;

/// See the module.
pub struct Settings {
    /// Its number; 0 while it is the person's file.
    pub generation: Generation,
    /// What is meant.
    pub config: Arc<Config>,
    /// The nodes, and those that are about to leave.
    pub roster: Roster,
    /// What the leader decides by.
    pub policy: Policy,
}

/// Where the settings in force are read and swapped; clones are the same place.
#[derive(Clone)]
pub struct InForce(Arc<RwLock<Arc<Settings>>>);

impl Settings {
    /// What follows from a configuration.
    ///
    /// # Errors
    /// When two names of nodes have one number.
    pub fn new(generation: Generation, config: Arc<Config>, defects: Defects) -> Result<Self, String> {
        let roster = Roster::new(&config)?;
        let policy = policy(&config, defects);
        Ok(Self { generation, config, roster, policy })
    }

    /// The same with another roster.
    pub fn with_roster(&self, roster: Roster) -> Self {
        Self { generation: self.generation, config: self.config.clone(), roster, policy: self.policy.clone() }
    }
}

impl InForce {
    /// Begins with these.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(settings))))
    }

    /// Those in force now.
    pub fn get(&self) -> Arc<Settings> {
        self.0.read().expect("no holder of this lock panics").clone()
    }

    /// Puts others in force.
    pub fn set(&self, settings: Settings) {
        *self.0.write().expect("no holder of this lock panics") = Arc::new(settings);
    }
}

fn policy(config: &Config, defects: Defects) -> Policy {
    let groups = config
        .groups()
        .values()
        .map(|g| {
            let failover = match g.failover {
                app_config::Failover::Automatic => FailoverMode::Automatic,
                app_config::Failover::Manual => FailoverMode::Manual,
            };
            let async_failover = match g.async_failover {
                app_config::AsyncFailover::Refuse => AsyncFailover::Refuse,
                app_config::AsyncFailover::Allow => AsyncFailover::Allow,
            };
            let prefer = Some(g.prefer.clone());
            let fence_max = g.timing.fence_max;
            let database = config.databases().get(&g.database);
            let privileged_accounts = database.map(|d| d.privileged_accounts.clone()).unwrap_or_default();
            let promotion = database.map(promotion).unwrap_or_default();
            let policy =
                GroupPolicy { failover, async_failover, prefer, fence_max, privileged_accounts, promotion };
            (g.id.clone(), policy)
        })
        .collect();
    let sites = config.sites().values().filter(|s| config.nodes().values().any(|n| n.site == s.id)).count();
    let timing = links::timing(&config.timing());
    // Which site is a quorum by itself depends on who votes at the moment: `Shared::policy`.
    Policy { timing, groups, sites, alone: BTreeSet::new(), defects }
}

/// Of the servers that are not neutral.
fn promotion(database: &app_config::Database) -> BTreeMap<ServerId, Promotion> {
    let wanted = database.servers.values().filter_map(|server| {
        let wanted = match server.promotion {
            app_config::Promotion::Prefer => Promotion::Prefer,
            app_config::Promotion::Neutral => return None,
            app_config::Promotion::MustNot => Promotion::MustNot,
        };
        Some((server.id.clone(), wanted))
    });
    wanted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: W of a group counts what its ladder may take, and that of another does not. Method: the
    /// smallest configuration with a second group behind the ladder.
    #[test]
    fn a_group_waits_for_what_its_ladder_may_take() {
        let text = include_str!("../../config/testdata/smallest.yaml");
        let config =
            |text: &str| app_config::check(text, std::path::Path::new("/")).config.expect("it is well");
        let waits = |text: &str| {
            let config = config(text);
            let policy = policy(&config, Defects::NONE);
            let max = policy.groups.values().map(|g| policy.timing.wait_after(g.fence_max)).max();
            (max.expect("it has a group"), config.groups().values().map(|g| g.timing.wait()).max())
        };
        let (gated, said) = waits(text);
        assert_eq!(Some(gated), said, "as `check` prints it");
        let (waits, said) = waits(&text.replace("192.0.2.11", "192.0.2.11, fence: {ladder: 2s}"));
        assert_eq!(Some(waits), said, "as `check` prints it");
        assert!(waits > gated + std::time::Duration::from_secs(2));
    }
}
