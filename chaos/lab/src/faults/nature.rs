//! What must come of each fault, and what the measurement has to know of it.

use std::time::Duration;

use crate::cli::Fault;
use crate::layout::LabSite;
use crate::spec::Equipment;

/// What is stopped goes on after so long: many leases, and longer than a failover.
const PAUSE: Duration = Duration::from_secs(20);

/// What must come of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The group moves to the other site.
    Failover,
    /// The group moves to its site's other server.
    InSite,
    /// The group stays, at the same epoch.
    Stay,
    /// The group serves again, wherever it is safe: the fault leaves no single right site.
    Serve,
}

impl Expect {
    /// Whether the group gets another primary.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Expect::Failover | Expect::InSite)
    }
}

/// What must come of it in a lab with so many database servers in each data site.
#[must_use]
pub fn expect(fault: Fault, servers: u32) -> Expect {
    match fault {
        // The site is well, so another server of it goes on, if there is one.
        Fault::KillPrimary
        | Fault::KillHost
        | Fault::PausePrimary
        | Fault::PauseHost
        | Fault::PauseGuard
        | Fault::DiskFull
        | Fault::HungDisk => {
            if servers > 1 {
                Expect::InSite
            } else {
                Expect::Failover
            }
        }
        Fault::KillSite | Fault::CutSite | Fault::Switchover | Fault::EarlyReturn | Fault::AsyncFailover => {
            Expect::Failover
        }
        Fault::KillLeader
        | Fault::LoseWitness
        | Fault::CutLink
        | Fault::KillEntry
        | Fault::PauseNode
        | Fault::LoseStandby
        | Fault::AckerRestart
        | Fault::FlapLink
        | Fault::ClockStep
        | Fault::ReplicationError => Expect::Stay,
        Fault::SecondFailure | Fault::BothRestart => Expect::Serve,
    }
}

/// The site whose hosts nobody outside reaches while the fault lasts.
#[must_use]
pub fn dark_site(fault: Fault, active: LabSite) -> Option<LabSite> {
    match fault {
        Fault::KillSite
        | Fault::CutSite
        | Fault::SecondFailure
        | Fault::EarlyReturn
        | Fault::AsyncFailover => Some(active),
        Fault::LoseWitness => Some(LabSite::Wit),
        Fault::LoseStandby => active.peer(),
        Fault::KillPrimary
        | Fault::KillHost
        | Fault::KillLeader
        | Fault::CutLink
        | Fault::KillEntry
        | Fault::Switchover
        | Fault::PausePrimary
        | Fault::PauseHost
        | Fault::PauseGuard
        | Fault::PauseNode
        | Fault::AckerRestart
        | Fault::FlapLink
        | Fault::BothRestart
        | Fault::DiskFull
        | Fault::HungDisk
        | Fault::ClockStep
        | Fault::ReplicationError => None,
    }
}

/// Whether it takes the active site's entry away, so that its web clients must follow the pooled name.
/// One whose pages wait for a person (`async-failover`), one that is given back within a check's patience (`early-return`) or is gone with the other
/// site's (`both-restart`) moves nobody surely.
#[must_use]
pub fn takes_entry(fault: Fault) -> bool {
    matches!(fault, Fault::KillSite | Fault::CutSite | Fault::KillEntry | Fault::SecondFailure)
}

/// What the group's durability must have been when it struck.
#[must_use]
pub fn durability(fault: Fault) -> &'static str {
    match fault {
        Fault::AsyncFailover => "Async",
        _ => "Sync",
    }
}

/// Whether acknowledged writes may be lost by it, up to what was stated and accepted. The old primary has them still,
/// and waits for a person.
#[must_use]
pub fn loses(fault: Fault) -> bool {
    fault == Fault::AsyncFailover
}

/// It is not undone before it has lasted so long.
#[must_use]
pub fn lasts(fault: Fault) -> Duration {
    match fault {
        Fault::PausePrimary | Fault::PauseHost | Fault::PauseGuard | Fault::PauseNode => PAUSE,
        _ => Duration::ZERO,
    }
}

/// What a lab must have besides, for these faults to be injected.
#[must_use]
pub fn needs(faults: &[Fault]) -> Equipment {
    Equipment {
        disks: faults.iter().any(|f| matches!(f, Fault::DiskFull | Fault::HungDisk)),
        clocks: faults.contains(&Fault::ClockStep),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// Goal: a second server of a site changes what comes of its primary's own faults, and of no other.
    #[test]
    fn with_two_servers_a_site_the_primarys_own_faults_stay_in_it_and_all_others_are_as_they_were() {
        let (mut in_site, mut other) = (Vec::new(), Vec::new());
        for fault in Fault::value_variants() {
            let (one, two) = (expect(*fault, 1), expect(*fault, 2));
            assert_ne!(one, Expect::InSite, "{fault:?}: there is no other server");
            if two == Expect::InSite {
                assert_eq!(one, Expect::Failover, "{fault:?}");
                assert_eq!(
                    (dark_site(*fault, LabSite::Pdc), takes_entry(*fault)),
                    (None, false),
                    "{fault:?}"
                );
                in_site.push(fault.name());
            } else {
                assert_eq!(one, two, "{fault:?}");
            }
            if two == Expect::Failover {
                other.push(fault.name());
            }
        }
        assert_eq!(
            in_site.join(" "),
            "kill-primary kill-host pause-primary pause-host pause-guard disk-full hung-disk"
        );
        assert_eq!(other.join(" "), "kill-site cut-site switchover early-return async-failover");
    }
}
