//! What a run strikes, and who must serve afterwards. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::Context;

use crate::cli::Fault;
use crate::faults::{self, Expect};
use crate::layout::{Host, LabSite};
use crate::measure::Sides;
use crate::status_view::GroupView;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    /// The site that is active.
    pub active: LabSite,
    /// The database host of its primary.
    pub primary: Host,
    /// What must come of the fault.
    pub expect: Expect,
    /// Database servers in each data site.
    servers: u32,
}

impl Aim {
    /// By the status, just before the fault.
    ///
    /// # Errors
    /// When the group has no active site, or a primary that is not in the lab.
    pub fn of(group: &GroupView<'_>, fault: Fault, servers: u32) -> anyhow::Result<Aim> {
        let active: LabSite = group.active_site().context("the group has no active site")?.parse()?;
        let primary = match group.primary() {
            Some(name) => Host::databases_of(active, servers).find(|h| h.name == name),
            // A status that names no server means the only one.
            None => Host::database_of(active),
        };
        let primary = primary.context("the group's primary is no server of its active site")?;
        Ok(Aim { active, primary, expect: faults::expect(fault, servers), servers })
    }

    /// The one server that must be primary afterwards, where but one can be.
    pub fn successor(&self) -> Option<Host> {
        let mut all = self.successors();
        all.next().filter(|_| self.expect.moves() && all.next().is_none())
    }

    /// The site that must serve afterwards.
    pub fn site_after(&self) -> Option<LabSite> {
        match self.expect {
            Expect::Failover => self.active.peer(),
            Expect::InSite | Expect::Stay => Some(self.active),
            Expect::Serve => None,
        }
    }

    /// Whom the group moves to, for people: the site, or the server where the site stays.
    pub fn towards(&self) -> String {
        match (self.expect, self.successor(), self.active.peer()) {
            (Expect::InSite, Some(host), _) => host.name.to_owned(),
            (_, _, Some(site)) => site.name().to_owned(),
            _ => "nowhere".to_owned(),
        }
    }

    /// The addresses that the measurement tells apart.
    pub fn sides(&self) -> Sides {
        let new: BTreeSet<Ipv4Addr> = self.successors().map(|h| h.address()).collect();
        Sides { old: self.primary.address(), new }
    }

    /// The servers of which one is primary afterwards, if the group moves.
    fn successors(&self) -> impl Iterator<Item = Host> {
        let Aim { active, primary, expect, servers } = *self;
        Host::databases(servers).filter(move |h| match expect {
            Expect::Failover => h.site != active,
            Expect::InSite => h.site == active && *h != primary,
            Expect::Stay | Expect::Serve => *h != primary,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status_view::ClusterStatus;

    fn aim(primary: Option<&str>, fault: Fault, servers: u32) -> anyhow::Result<Aim> {
        let status = ClusterStatus::of(serde_json::json!({
            "groups": [{"name": "shop", "active-site": "pdc", "primary": primary}],
        }));
        Aim::of(&status.group("shop").unwrap(), fault, servers)
    }

    /// Goal: the server that the status calls primary is struck, and its mate or the other site follows.
    #[test]
    fn the_primary_is_a_server_and_who_follows_it_depends_on_the_fault_and_on_the_lab() {
        for (primary, fault, servers, old, new, towards, site) in [
            (None, Fault::KillPrimary, 1, "pdc-db", "mdc-db", "mdc", Some(LabSite::Mdc)),
            (Some("pdc-db"), Fault::KillHost, 1, "pdc-db", "mdc-db", "mdc", Some(LabSite::Mdc)),
            (Some("pdc-db"), Fault::KillHost, 2, "pdc-db", "pdc-db-2", "pdc-db-2", Some(LabSite::Pdc)),
            (Some("pdc-db-2"), Fault::KillPrimary, 2, "pdc-db-2", "pdc-db", "pdc-db", Some(LabSite::Pdc)),
            (Some("pdc-db-2"), Fault::KillSite, 2, "pdc-db-2", "mdc-db mdc-db-2", "mdc", Some(LabSite::Mdc)),
            (Some("pdc-db"), Fault::CutLink, 1, "pdc-db", "mdc-db", "mdc", Some(LabSite::Pdc)),
            (Some("pdc-db"), Fault::BothRestart, 2, "pdc-db", "pdc-db-2 mdc-db mdc-db-2", "mdc", None),
        ] {
            let aim = aim(primary, fault, servers).unwrap();
            let sides = aim.sides();
            assert_eq!(aim.primary.name, old);
            assert_eq!(sides.old, aim.primary.address());
            let names: Vec<_> = sides.new.iter().filter_map(|a| Host::at(*a)).map(|h| h.name).collect();
            assert_eq!(names.join(" "), new, "{fault:?}");
            assert_eq!((aim.towards().as_str(), aim.site_after()), (towards, site), "{fault:?}");
        }
        assert_eq!(aim(Some("pdc-db"), Fault::KillHost, 2).unwrap().successor(), Host::named("pdc-db-2"));
        assert_eq!(aim(Some("pdc-db"), Fault::KillSite, 2).unwrap().successor(), None, "either may be");
        assert!(aim(Some("pdc-db-2"), Fault::KillSite, 1).is_err(), "no server of this lab");
    }
}
