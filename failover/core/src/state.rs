//! The replicated state: the same on every node after the same entries.

use std::collections::{BTreeMap, VecDeque};

use model::{Epoch, GroupId, GtidSet, Incarnation, ServerId, SiteId, WallTime};
use runbooks_core::{Execution, ExecutionId, ExecutionStatus};
use serde::{Deserialize, Serialize};

use crate::{
    Acker, Authority, Configurations, Durability, GroupSpec, Held, Leases, People, Phase, Primary, Reason,
    ServerSpec,
};

/// Epochs remembered for each group: at one failover a day that is most of a year; older ones are
/// dropped, and a server that returns from so far back goes to quarantine.
pub const EPOCHS_MAX: usize = 256;
/// Finished executions remembered for each group, for `status` and `explain`.
pub const FINISHED_MAX: usize = 16;

/// Everything that Raft agrees on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// Life of the cluster; 0 before it was founded.
    pub incarnation: Incarnation,
    /// The groups.
    pub groups: BTreeMap<GroupId, Group>,
    /// What the cluster is configured to be.
    #[serde(default, skip_serializing_if = "is_default")]
    pub configuration: Configurations,
    /// Tokens, and alarms about them.
    #[serde(default, skip_serializing_if = "People::is_empty")]
    pub people: People,
}

fn is_default(configurations: &Configurations) -> bool {
    *configurations == Configurations::default()
}

/// One protection group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Its servers.
    pub servers: BTreeMap<ServerId, ServerSpec>,
    /// Who may write; none before the start.
    pub authority: Option<Authority>,
    /// Since when the present phase and epoch stand.
    pub since: WallTime,
    /// What the last Begin revoked; in force while `Revoked` or `Promoting`, history afterwards.
    pub revoked: Option<Revocation>,
    /// Where bound names point.
    pub route: Option<Route>,
    /// Each epoch's record.
    pub epochs: BTreeMap<Epoch, EpochRecord>,
    /// The one operation under way.
    pub execution: Option<Execution>,
    /// The last ones that ended.
    pub finished: VecDeque<ExecutionSummary>,
    /// Number of the next execution.
    pub next_execution: u64,
    /// Servers that must not come back by themselves.
    pub returns: BTreeMap<ServerId, ReturnState>,
    /// How long leases last, from the next epoch on.
    #[serde(default, skip_serializing_if = "Leases::is_timed")]
    pub leases: Leases,
    /// A person keeps it from moving by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// What the leader noted last that it does not act on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Somebody works at a group: it is not moved without a person's word until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Maintenance {
    /// Who began it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: WallTime,
    /// It ends by itself then, by the leader's wall clock.
    pub until: WallTime,
}

/// What a Begin took away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Revocation {
    /// The epoch.
    pub epoch: Epoch,
    /// Its holder.
    pub primary: Primary,
    /// Its durability then: it governs W and the return.
    pub durability: Durability,
    /// Its ackers then.
    pub ackers: Vec<Acker>,
    /// How long its leases lasted: endless ones are not outwaited.
    #[serde(default, skip_serializing_if = "Leases::is_timed")]
    pub leases: Leases,
    /// As in [`Authority`]: what was left out when it began may be heard of by nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kine: Option<u64>,
    /// Why.
    pub reason: Reason,
}

impl Revocation {
    /// The authority that was revoked, as it stood; `now` is what is in its place.
    pub(crate) fn serving(&self, now: &Authority) -> Authority {
        Authority {
            epoch: self.epoch,
            primary: self.primary.clone(),
            phase: Phase::Serving,
            durability: self.durability,
            acker_set: self.ackers.iter().cloned().collect(),
            leases: self.leases,
            ..now.clone()
        }
    }
}

/// Where bound names point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Route {
    /// The site.
    pub site: SiteId,
    /// The epoch that was open there.
    pub epoch: Epoch,
    /// Since when.
    pub at: WallTime,
}

/// What is remembered of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EpochRecord {
    /// Who held it.
    pub primary: Primary,
    /// It was `Serving`; an epoch that was only promised wrote nothing.
    pub served: bool,
    /// Its durability when it was revoked; none while it stands.
    pub ended: Option<Durability>,
}

/// An execution that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExecutionSummary {
    /// Its number.
    pub id: ExecutionId,
    /// Its runbook.
    pub runbook: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whom it was about.
    pub subject: ServerId,
    /// Why it was started.
    pub reason: String,
    /// How it ended.
    pub status: ExecutionStatus,
    /// When.
    pub started: WallTime,
    /// When.
    pub ended: WallTime,
}

/// A server that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReturnState {
    /// What it has that the primary has not.
    pub extra: GtidSet,
    /// Why it may not come back.
    pub reason: Reason,
    /// Since when.
    pub at: WallTime,
}

impl Group {
    /// A group that nobody has started.
    pub(crate) fn of(spec: GroupSpec) -> Self {
        Self {
            servers: spec.servers,
            authority: None,
            since: WallTime(0),
            revoked: None,
            route: None,
            epochs: BTreeMap::new(),
            execution: None,
            finished: VecDeque::new(),
            next_execution: 1,
            returns: BTreeMap::new(),
            leases: spec.leases,
            maintenance: None,
            held: None,
        }
    }

    /// Who was promised an epoch since the last one that was served before the present, and never served it: candidates of a
    /// failover that was called off, or went on with another one. Their channels may be gone already, and they hold all that
    /// the revoked primary's ackers had.
    pub fn promised_before(&self) -> impl Iterator<Item = &ServerId> {
        let present = self.authority.as_ref().map_or(Epoch(0), |a| a.epoch);
        let before = self.epochs.range(..present).rev().map(|(_, record)| record);
        before.take_while(|record| !record.served).map(|record| &record.primary.server)
    }

    /// The execution that still runs.
    #[must_use]
    pub fn running(&self) -> Option<&Execution> {
        self.execution.as_ref().filter(|e| e.status == ExecutionStatus::Running)
    }

    /// The maintenance that is on at `wall`.
    #[must_use]
    pub fn maintained(&self, wall: WallTime) -> Option<&Maintenance> {
        self.maintenance.as_ref().filter(|m| wall < m.until)
    }

    /// Site of a server.
    #[must_use]
    pub fn site_of(&self, server: &ServerId) -> Option<&SiteId> {
        self.servers.get(server).map(|s| &s.site)
    }

    /// The last epoch that `server` served as primary, and its record.
    #[must_use]
    pub fn last_served(&self, server: &ServerId) -> Option<(Epoch, &EpochRecord)> {
        self.epochs.iter().rev().find(|(_, r)| r.served && r.primary.server == *server).map(|(e, r)| (*e, r))
    }

    /// The last epoch at which another server than this one served.
    #[must_use]
    pub fn last_of_others(&self, server: &ServerId) -> Option<Epoch> {
        self.epochs.iter().rev().find(|(_, r)| r.served && r.primary.server != *server).map(|(e, _)| *e)
    }
}
