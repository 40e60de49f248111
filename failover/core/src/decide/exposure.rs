//! What is at stake: what clients were told is done and would be gone with the primary's site now.

use model::{GtidSet, ServerId, WallTime};

use crate::{Durability, Facts, Group};

/// What the loss of the primary's site would cost, as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Since when acknowledged writes have been on one site only, perhaps; none in `Sync`.
    pub since: Option<WallTime>,
    /// The server of another site that holds most of what the primary has, and leaves nothing out; none when none was read, or in
    /// `Sync`, where every acker holds what was acknowledged.
    pub best: Option<ServerId>,
    /// What the primary had at its last look and `best` does not hold. None when it is not known.
    pub missing: Option<GtidSet>,
}

/// Of a group with an authority. While it moves, what the primary before had is told by the execution, not here.
#[must_use]
pub fn exposure(group: &Group, facts: &Facts) -> Option<Exposure> {
    let authority = group.authority.as_ref()?;
    let since = match authority.durability {
        Durability::Sync => {
            return Some(Exposure { since: None, best: None, missing: Some(GtidSet::empty()) });
        }
        Durability::Async { since } | Durability::CatchUp { since } => Some(since),
    };
    let reading = |server: &ServerId| facts.servers.get(server)?.report.reading.as_ref();
    let primary = reading(&authority.primary.server).filter(|_| authority.phase.grants());
    let elsewhere = group
        .servers
        .iter()
        .filter(|(server, spec)| spec.site != authority.primary.site && !group.returns.contains_key(*server));
    let missing = elsewhere.filter_map(|(server, _)| {
        let theirs = reading(server)?;
        let whole = theirs.replica.as_ref().is_none_or(|replica| replica.filters.is_empty());
        whole.then_some(())?;
        Some((primary?.gtid_executed.subtract(&theirs.gtid_held()), server.clone()))
    });
    let (missing, best) = missing.min_by_key(|(missing, _)| missing.count()).unzip();
    Some(Exposure { since, best, missing })
}
