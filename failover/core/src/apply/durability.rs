//! Weakening is committed before it is applied; strengthening is applied and proven before it is
//! committed (DESIGN §4, Durability).

use std::collections::BTreeSet;

use super::{Ctx, Refusal, authority_of, install, rule};
use crate::{Acker, Authority, Defect, Durability, Event, Group, Phase, Reason};

fn set(
    group: &mut Group,
    to: Durability,
    change: impl FnOnce(&mut Authority),
    reason: Option<Reason>,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    let mut authority = authority_of(group)?.clone();
    let from = authority.durability;
    authority.durability = to;
    change(&mut authority);
    install(group, authority, None, ctx);
    Ok(vec![Event::Durability { group: ctx.id.clone(), from, to, reason, at: ctx.at }])
}

/// To `Async`: only while somebody may hold a lease. What a dead primary's acker does afterwards
/// weakens nothing (interleaving 33).
pub(super) fn weaken(group: &mut Group, reason: Reason, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?;
    if !authority.phase.grants() && !ctx.defects.has(Defect::DeadPrimaryWeakens) {
        return rule(format!("durability weakens only while serving, the group is {}", authority.phase));
    }
    if matches!(authority.durability, Durability::Async { .. }) {
        return rule("it is async already");
    }
    let to = Durability::Async { since: ctx.at };
    set(group, to, |a| a.acker_set = BTreeSet::new(), Some(reason), ctx)
}

/// To `CatchUp(g+1)` with exactly these ackers, all of another site than the primary's.
pub(super) fn catch_up(group: &mut Group, ackers: BTreeSet<Acker>, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?;
    if authority.phase != Phase::Serving {
        return rule(format!("catch-up begins while serving, the group is {}", authority.phase));
    }
    if !matches!(authority.durability, Durability::Async { .. }) {
        return rule(format!("catch-up follows async, the group is {}", authority.durability));
    }
    if ackers.is_empty() {
        return rule("catch-up needs an acker");
    }
    for acker in &ackers {
        match group.site_of(&acker.server) {
            None => return rule(format!("acker {:?} is not in the group", acker.server.as_str())),
            Some(site) if *site == authority.primary.site => {
                return rule(format!("acker {:?} is in the primary's own site", acker.server.as_str()));
            }
            Some(_) if group.returns.contains_key(&acker.server) => {
                return rule(format!("acker {:?} is quarantined", acker.server.as_str()));
            }
            Some(_) => {}
        }
    }
    let g = authority.g.next();
    set(
        group,
        Durability::CatchUp { since: ctx.at },
        |a| {
            a.acker_set = ackers;
            a.g = g;
        },
        None,
        ctx,
    )
}

/// To `Sync(g)`: the version that the proposer saw carries the same g and ackers.
pub(super) fn sync(group: &mut Group, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let authority = authority_of(group)?;
    if authority.phase != Phase::Serving {
        return rule(format!("sync is proven while serving, the group is {}", authority.phase));
    }
    if !matches!(authority.durability, Durability::CatchUp { .. }) {
        return rule(format!("sync follows catch-up, the group is {}", authority.durability));
    }
    if let Some(acker) = authority.acker_set.iter().find(|a| group.returns.contains_key(&a.server)) {
        return rule(format!("acker {:?} is quarantined", acker.server.as_str()));
    }
    set(group, Durability::Sync, |_| {}, None, ctx)
}
