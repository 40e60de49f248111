//! What a demo injects, and how each fault is undone.
//!
//! Each fault acts on the site that is active when it is injected, or on the server that is primary, so
//! that consecutive runs of a fault that moves the group go to and fro. What must come of each stands in `nature.rs`.

mod disk;
mod host;
mod link;
mod lossy;
mod nature;
mod order;
mod process;
mod rows;
mod site;
pub mod wall;

use model::Timestamp;

use crate::cli::Fault;
use crate::disk::DiskError;
use crate::interrupt::{Interrupt, Interrupted};
use crate::layout::{Host, Lab, LabSite};
use crate::spec::LabSpec;
use crate::supervisor::SupervisorError;
use crate::wan::WanError;

pub use nature::{Expect, dark_site, durability, expect, lasts, loses, needs, takes_entry};

/// What the fault needs to know of the cluster at this moment.
#[derive(Debug, Clone)]
pub struct Target {
    /// The site that serves.
    pub active: LabSite,
    /// The database host of its primary.
    pub primary: Host,
    /// The Raft leader's host.
    pub leader: Option<String>,
    /// The group's epoch.
    pub epoch: u64,
    /// The number of the run, which is in the clients' rows.
    pub run: u32,
}

/// Where a fault is injected, and into what.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// What it was made of.
    pub spec: &'a LabSpec,
    /// What is struck.
    pub target: Target,
    /// Ends what takes its time.
    pub interrupt: &'a Interrupt,
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Injected {
    /// Before its first effect: the fault's instant in all measurements.
    pub began: Timestamp,
    /// When it was in force.
    pub ended: Timestamp,
    /// What was done, for the timeline.
    pub what: String,
    /// The group's durability just before it, where the fault itself brought that about.
    pub durability: Option<String>,
    /// Transactions that a person was told would be lost at most, and accepted.
    pub stated_loss: Option<u64>,
}

impl Injected {
    /// One that leaves durability alone, and asks nobody.
    #[must_use]
    pub fn new(began: Timestamp, ended: Timestamp, what: String) -> Injected {
        Injected { began, ended, what, durability: None, stated_loss: None }
    }
}

/// A fault that was undone.
#[derive(Debug, Clone)]
pub struct Healed {
    /// When everything needed for healing was there again.
    pub at: Timestamp,
    /// What was done, for the timeline.
    pub what: String,
}

/// Why a fault was not injected or undone.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// By the hub.
    #[error("the WAN")]
    Wan(#[from] WanError),
    /// By the supervisor.
    #[error("the processes")]
    Supervisor(#[from] SupervisorError),
    /// A database's disk.
    #[error("the disk of a database")]
    Disk(#[from] DiskError),
    /// A daemon's clock.
    #[error("clock file {file:?}")]
    Clock {
        /// It.
        file: std::path::PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A daemon goes by the machine's own clock.
    #[error("{0} was not started under libfaketime, so its wall clock cannot be stepped")]
    NoClock(String),
    /// There is no leader to kill.
    #[error("the cluster names no Raft leader, so it cannot be struck")]
    NoLeader,
    /// The cluster did not take an order, or nobody answered.
    #[error("the order was not taken: {0}")]
    Ordered(String),
    /// A fault that strikes in the middle of a failover saw none.
    #[error("no failover began within {0:?} of the first blow, so there was no middle of it to strike")]
    NotBegun(std::time::Duration),
    /// A fault that strikes in `Async` saw none.
    #[error("the group was not in Async within {0:?} of the cut, so a loss could not be shown")]
    NotAsync(std::time::Duration),
    /// A database that is to be written to did not take it.
    #[error("database {host}: {why}")]
    Database {
        /// The host.
        host: &'static str,
        /// Its words.
        why: String,
    },
    /// The user wants out.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Injects it.
///
/// # Errors
/// [`FaultError`]; it may be half in force then, and [`heal`] undoes that too.
pub fn inject(scene: &Scene<'_>, fault: Fault) -> Result<Injected, FaultError> {
    let (lab, active, primary) = (scene.lab, scene.target.active, &scene.target.primary);
    let leader = || scene.target.leader.as_deref().ok_or(FaultError::NoLeader);
    match fault {
        Fault::KillPrimary => process::kill_databases(lab, &[*primary]),
        Fault::KillHost => host::power_off(lab, primary),
        Fault::KillLeader => process::kill_leader(lab, leader()?),
        Fault::KillSite => site::power_off(lab, active),
        Fault::LoseWitness => site::power_off(lab, LabSite::Wit),
        Fault::LoseStandby => site::power_off(lab, standby(active)),
        Fault::CutSite => link::cut_site(lab, active),
        Fault::CutLink => link::cut_data_sites(lab),
        Fault::FlapLink => link::flap_data_sites(lab, scene.interrupt),
        Fault::KillEntry => process::hold_entry(lab, active),
        Fault::Switchover => order::switchover(lab, scene.spec, active),
        Fault::PausePrimary | Fault::PauseHost | Fault::PauseGuard | Fault::PauseNode => {
            process::pause(lab, &paused(scene, fault)?)
        }
        Fault::AckerRestart => process::kill_databases(lab, &standby_hosts(scene)),
        Fault::EarlyReturn => site::early_return(scene),
        Fault::SecondFailure => site::second_failure(scene),
        Fault::BothRestart => site::both_restart(lab),
        Fault::ReplicationError => rows::collide(scene),
        Fault::DiskFull => disk::fill(lab, primary),
        Fault::HungDisk => disk::freeze(lab, primary),
        Fault::AsyncFailover => lossy::async_failover(scene),
        Fault::ClockStep => wall::step(lab, scene.spec, active),
    }
}

/// Undoes it. Undoing what is not there does nothing.
///
/// # Errors
/// [`FaultError`].
pub fn heal(scene: &Scene<'_>, fault: Fault, injected: &Injected) -> Result<Healed, FaultError> {
    let (lab, active, primary) = (scene.lab, scene.target.active, &scene.target.primary);
    match fault {
        Fault::KillPrimary | Fault::KillLeader | Fault::AckerRestart => {
            Ok(process::healed_by_supervisor(injected))
        }
        Fault::KillHost => host::power_on(lab, primary),
        Fault::KillSite | Fault::SecondFailure => site::power_on(lab, active),
        Fault::LoseWitness => site::power_on(lab, LabSite::Wit),
        Fault::LoseStandby => site::power_on(lab, standby(active)),
        Fault::CutSite | Fault::CutLink | Fault::FlapLink => link::mend(lab),
        Fault::KillEntry => process::release(lab),
        Fault::Switchover => Ok(order::nothing_to_heal(injected)),
        Fault::EarlyReturn => site::has_power(lab, &[active], injected),
        Fault::BothRestart => site::has_power(lab, &[LabSite::Pdc, LabSite::Mdc], injected),
        Fault::PausePrimary | Fault::PauseHost | Fault::PauseGuard | Fault::PauseNode => {
            process::resume(lab, &paused(scene, fault)?)
        }
        Fault::ReplicationError => rows::part(scene),
        Fault::DiskFull => disk::empty(lab, primary),
        Fault::HungDisk => disk::thaw(lab, primary),
        Fault::AsyncFailover => lossy::heal(scene),
        Fault::ClockStep => wall::right(lab, scene.spec.servers),
    }
}

/// What a pause stops.
fn paused(scene: &Scene<'_>, fault: Fault) -> Result<Vec<crate::supervisor::Target>, FaultError> {
    let (primary, leader) = (&scene.target.primary, scene.target.leader.as_deref());
    match fault {
        Fault::PausePrimary => Ok(process::on_host(primary, &["mysqld"])),
        Fault::PauseHost => Ok(process::on_host(primary, &["mysqld", "guard"])),
        Fault::PauseGuard => Ok(process::on_host(primary, &["guard"])),
        _ => Ok(process::node(leader.ok_or(FaultError::NoLeader)?)),
    }
}

fn standby(active: LabSite) -> LabSite {
    active.peer().expect("groups are active in data sites alone")
}

/// The database hosts of the site that is not active: the ackers, and where a candidate comes from when
/// the active one is gone.
fn standby_hosts(scene: &Scene<'_>) -> Vec<Host> {
    Host::databases_of(standby(scene.target.active), scene.spec.servers).collect()
}
