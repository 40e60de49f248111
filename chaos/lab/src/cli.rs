//! The lab's command line: what an operator types after `twofold lab`, and the hidden commands by
//! which the lab starts itself inside namespaces.
//!
//! `run` is synchronous and owns whatever runtime it needs, so it must not be called from within
//! one. Exit codes are DESIGN §7's: 0 done, 1 failed, 2 usage, 3 refused.
//!
//! Deliberately absent: what the commands do. Each is one call into its module.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::commands::{Misuse, Order};
use crate::demo::{LabInUse, NoReportFile, RecordError};
use crate::layout::{Lab, UnknownSite};
use crate::lifecycle::LifecycleError;
use crate::supervisor::TargetError;
use crate::{clients, commands, demo, enter, priority, status, supervisor, up, wan, web};

/// Where the lab keeps its state unless `--dir` says otherwise. On a real disk and not on /run,
/// which is memory on most machines: commits must pay for their fsync.
pub const DEFAULT_DIR: &str = "/var/lib/twofold-lab";

/// `twofold lab …`.
#[derive(Debug, Clone, Subcommand)]
pub enum LabCommand {
    /// Bring the lab up: namespaces, WAN, databases, nodes; ready when it is in Sync.
    ///
    /// An earlier lab of the directory is taken away first, once everything that is needed is at hand.
    Up(UpArgs),
    /// Take the lab away: processes, namespaces, files.
    ///
    /// Works in whatever state the lab is, and twice. Only files that a lab is made of are removed, and
    /// only from a directory that is a lab's; exit code 2 for one that holds other things.
    Down(WhichLab),
    /// Hosts, processes, links, and the cluster's own status.
    Status(StatusArgs),
    /// Run a command inside a host's network namespace.
    Exec(ExecArgs),
    /// Kill a site (power off until heal), a host or one process (`HOST/PROCESS`).
    ///
    /// Killed processes are started again by the lab's supervisor, as systemd would (mysqld after 1 s, the
    /// others after 0.5 s); those of a killed site, and what is killed with `--hold`, not before `lab heal`.
    /// Processes: `node` on pdc-1, pdc-2, mdc-1, mdc-2, wit-1; `mysqld` and `guard` on pdc-db, mdc-db (and
    /// pdc-db-2, mdc-db-2 of a lab with two servers a site); `web` on pdc-web, pdc-web-2, mdc-web, mdc-web-2; `haproxy` on pdc-entry, mdc-entry.
    Kill(KillArgs),
    /// Stop a host's processes, or one (`HOST/PROCESS`), and leave them stopped, as systemctl stop does.
    Stop(StayArgs),
    /// Start what `lab stop` stopped.
    Start(StayArgs),
    /// Cut the WAN between two sites, or one site from all others (`cli`: the clients outside).
    ///
    /// With `--delay` or `--loss` the links are made worse instead of cut; `lab heal` without a site makes
    /// them as they were.
    Cut(CutArgs),
    /// Give power back and mend cut links, of one site or of all.
    ///
    /// With a site: its power, what is held down there, and all of its links, but for those to sites that
    /// have no power. Without: all of that in all sites. Paused processes stay paused (`lab kill … --signal cont`).
    Heal(HealArgs),
    /// Load, fault, measurement, report: brings a lab up, breaks it, and takes it away.
    ///
    /// A lab that is up in the directory, and that no demo made, is left alone: the demo is refused with exit code 3.
    /// Of a demo that fails or breaks off, logs and report are kept in /tmp/twofold-lab-ID-failed, which it prints.
    Demo(DemoArgs),
    /// The WAN hub.
    #[command(hide = true)]
    Wan(WhichLab),
    /// The supervisor of the lab's processes.
    #[command(hide = true)]
    Supervise(WhichLab),
    /// Join a namespace and a control group, then become another program.
    #[command(hide = true)]
    Enter(EnterArgs),
    /// The load and the measuring clients of one client host.
    #[command(hide = true)]
    Client(ClientArgs),
    /// The small web application of a site.
    #[command(hide = true)]
    Web(WebArgs),
}

/// Which lab a command means.
#[derive(Debug, Clone, Args)]
pub struct WhichLab {
    /// The lab's directory; several labs live side by side in directories of their own.
    #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
    pub dir: PathBuf,
}

/// Which database the lab runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// MySQL 9.x.
    Mysql,
    /// MariaDB 10.11.
    Mariadb,
}

/// What keeps clients from a database that may not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// The gate in nftables, whose timeout is the lease.
    #[default]
    Nftables,
    /// No gate: SIGKILL once the lease has run out.
    Ladder,
}

impl Fence {
    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fence::Nftables => "nftables",
            Fence::Ladder => "ladder",
        }
    }
}

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Flavour::Mysql => "mysql",
            Flavour::Mariadb => "mariadb",
        })
    }
}

/// How many places the lab's cluster has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Two sites and a witness.
    #[default]
    Witness,
    /// Two sites: manual mode.
    TwoSite,
}

/// What is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// kill -9 of the primary database process.
    KillPrimary,
    /// The primary's database host is powered off; the rest of its site lives.
    KillHost,
    /// The active site's links go silent, then all of its processes are killed at once.
    KillSite,
    /// The active site is cut from everyone; its own clients go on writing.
    CutSite,
    /// kill -9 of the node that is Raft leader.
    KillLeader,
    /// The witness site is powered off.
    LoseWitness,
    /// The link between the two data sites is cut; both still see the witness.
    CutLink,
    /// The active site's entry (HAProxy) is killed and stays down; its database and all else live.
    KillEntry,
    /// Nothing breaks: a person moves the group to the other site with `twofold switchover`.
    Switchover,
    /// The primary's process is stopped (SIGSTOP), and goes on 20 s later.
    PausePrimary,
    /// The primary's process and its guard are stopped, as on a host that stands still, and go on 20 s later.
    PauseHost,
    /// The guard of the primary is stopped, and goes on 20 s later; the database lives.
    PauseGuard,
    /// The node that is Raft leader is stopped, and goes on 20 s later.
    PauseNode,
    /// The standby's site is powered off.
    LoseStandby,
    /// kill -9 of the standby's database process, which is started again.
    AckerRestart,
    /// The active site is powered off, and comes back as soon as the failover has begun.
    EarlyReturn,
    /// kill -9 of the primary, and of the candidate's database as soon as the failover has begun.
    SecondFailure,
    /// The link between the data sites goes and comes for 60 s.
    FlapLink,
    /// Both data sites are powered off, and come back.
    BothRestart,
    /// The standby holds a row that the primary is about to write: its applier stops with error 1062.
    ReplicationError,
    /// The disk under the primary's data is full; its guard sees it, and the group moves after ten seconds.
    DiskFull,
    /// No write to the disk under the primary's data comes back (fsfreeze), which moves the group likewise.
    HungDisk,
    /// A cut link, Async, then the active site is powered off; a person accepts the stated loss, which must be kept.
    AsyncFailover,
    /// The wall clocks of all daemons step: an hour ahead in the active site, an hour behind elsewhere.
    ClockStep,
}

impl Fault {
    /// As it is typed and reported.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Arguments of `lab up`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// The database; MySQL, or MariaDB where that cannot be had, unless given.
    #[arg(long, value_enum)]
    pub flavour: Option<Flavour>,
    /// What keeps clients from a database that may not write.
    #[arg(long, value_enum, default_value_t)]
    pub fence: Fence,
    /// Two sites without a witness: manual mode.
    #[arg(long)]
    pub two_site: bool,
    /// Database servers in each data site, 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub servers: u32,
    /// Give each database a file system of its own, DIR/hosts/HOST/disk, which can be filled or frozen (fsfreeze).
    #[arg(long)]
    pub disks: bool,
    /// Give the daemons wall clocks of their own (libfaketime): write +1h into DIR/hosts/HOST/clock.
    #[arg(long)]
    pub clocks: bool,
    /// The twofold binary that the lab's hosts run; this program unless given.
    #[arg(long, hide = true, value_name = "PATH")]
    pub twofold: Option<PathBuf>,
}

/// Arguments of `lab status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// How to print.
    #[arg(short = 'o', long = "output", id = "lab-output", value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// Arguments of `lab exec`.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// The host, such as `pdc-1`, `mdc-db` or `cli`.
    pub host: String,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// What `lab kill` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabSignal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
}

/// Arguments of `lab kill`.
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// A site (pdc, mdc, wit), a host, or `HOST/PROCESS`, such as `pdc-db/mysqld`.
    pub target: String,
    /// The signal; `stop` and `cont` pause and resume a host or a process.
    #[arg(long, value_enum, default_value_t = LabSignal::Kill)]
    pub signal: LabSignal,
    /// Keep a killed host or process down until `lab heal`.
    #[arg(long, conflicts_with = "signal")]
    pub hold: bool,
}

/// Arguments of `lab stop` and `lab start`.
#[derive(Debug, Clone, Args)]
pub struct StayArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// A host, or `HOST/PROCESS`, such as `mdc-1/node`.
    pub target: String,
}

/// Arguments of `lab cut`.
#[derive(Debug, Clone, Args)]
pub struct CutArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// A site.
    pub from: String,
    /// The other site; all others unless given.
    pub to: Option<String>,
    /// Only what goes from the first to the second.
    #[arg(long)]
    pub one_way: bool,
    /// Hold every frame for so many milliseconds, one way, instead of dropping all (1 unless changed).
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub delay: Option<u64>,
    /// Drop this share of the frames, by chance, instead of all: 0 to 100.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub loss: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|p| (0.0..=100.0).contains(p));
    value.ok_or_else(|| "give a share from 0 to 100".to_owned())
}

/// Arguments of `lab heal`.
#[derive(Debug, Clone, Args)]
pub struct HealArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// Only this site's power and links; everything unless given.
    pub site: Option<String>,
}

/// Arguments of `lab demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub lab: WhichLab,
    /// What is injected; several, separated by commas, are injected one after the other.
    #[arg(long = "fault", value_enum, value_delimiter = ',', value_name = "FAULT,…", default_values_t = [Fault::KillSite])]
    pub faults: Vec<Fault>,
    /// How many runs of each fault, one after the other; none is discarded.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Clients that write, all together; with more of them each writes less often.
    #[arg(long, default_value_t = crate::load::WRITERS, value_parser = clap::value_parser!(u32).range(8..=400))]
    pub writers: u32,
    /// The database; MySQL, or MariaDB where that cannot be had, unless given.
    #[arg(long, value_enum)]
    pub flavour: Option<Flavour>,
    /// What keeps clients from a database that may not write.
    #[arg(long, value_enum, default_value_t)]
    pub fence: Fence,
    /// Database servers in each data site, 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub servers: u32,
    /// Write the report here as JSON; what was in the file is replaced at the end.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Go on with the report in the file: keep its runs, also failed ones, and make only those that are missing.
    ///
    /// The file is then written after each run. One that was made with another flavour, fence, number of servers
    /// or of writers is refused with exit code 2. Where nothing is missing no lab is brought up, and the exit code
    /// is the report's.
    #[arg(long, requires = "json")]
    pub resume: bool,
    /// Leave the lab up afterwards.
    #[arg(long)]
    pub keep: bool,
    /// The twofold binary that the lab's hosts run; this program unless given.
    #[arg(long, hide = true, value_name = "PATH")]
    pub twofold: Option<PathBuf>,
}

/// Arguments of the hidden `lab enter`.
#[derive(Debug, Clone, Args)]
pub struct EnterArgs {
    /// The network namespace's file.
    #[arg(long)]
    pub netns: PathBuf,
    /// The control group's folder to join, if the machine has them.
    #[arg(long)]
    pub cgroup: Option<PathBuf>,
    /// Head a session of one's own, with priority.
    #[arg(long)]
    pub own_session: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Arguments of the hidden `lab client`.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// The file that says what this client does.
    #[arg(long)]
    pub plan: PathBuf,
}

/// Arguments of the hidden `lab web`.
#[derive(Debug, Clone, Args)]
pub struct WebArgs {
    /// The file that says which site this is and how the database is reached.
    #[arg(long)]
    pub plan: PathBuf,
}

/// How a command ended, as an exit code (DESIGN §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The caller's own mistake.
    BadInput,
    /// A rule stands against it.
    Refused,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            Exit::Refused => 3,
        }
    }
}

/// Runs one lab command to its end and gives the exit code. Must be called outside any async
/// runtime.
#[must_use]
pub fn run(command: LabCommand) -> u8 {
    match perform(command) {
        Ok(exit) => exit.code(),
        Err(e) => {
            eprintln!("lab: {e:#}");
            exit_of(&e).code()
        }
    }
}

/// Which exit an error is.
fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        let misuse = cause.is::<UnknownSite>() || cause.is::<TargetError>() || cause.is::<Misuse>();
        if misuse || cause.is::<NoReportFile>() || cause.is::<RecordError>() {
            return Exit::BadInput;
        }
        if cause.is::<LabInUse>() {
            return Exit::Refused;
        }
        match cause.downcast_ref::<LifecycleError>() {
            Some(
                LifecycleError::Foreign { .. }
                | LifecycleError::NotDirectory { .. }
                | LifecycleError::TooLong { .. },
            ) => return Exit::BadInput,
            Some(LifecycleError::Busy { .. }) => return Exit::Refused,
            _ => {}
        }
    }
    Exit::Failed
}

/// What a kill's arguments ask for.
fn after(args: &KillArgs) -> Order {
    match args.signal {
        LabSignal::Kill if args.hold => Order::Hold,
        LabSignal::Kill => Order::Kill,
        LabSignal::Stop => Order::Stop,
        LabSignal::Cont => Order::Cont,
    }
}

fn perform(command: LabCommand) -> anyhow::Result<Exit> {
    match command {
        LabCommand::Wan(which) => wan::run(&Lab::at(&which.dir)).map(|()| Exit::Done),
        LabCommand::Supervise(which) => supervisor::run(&Lab::at(&which.dir)).map(|()| Exit::Done),
        LabCommand::Enter(args) => {
            if args.own_session {
                priority::own_session();
            }
            Err(enter::become_process(&args.netns, args.cgroup.as_deref(), &args.command).into())
        }
        LabCommand::Client(args) => clients::run(&args.plan).map(|()| Exit::Done),
        LabCommand::Web(args) => web::run(&args.plan).map(|()| Exit::Done),
        LabCommand::Up(args) => up::run(&args),
        LabCommand::Down(which) => commands::down(&Lab::at(&which.dir)),
        LabCommand::Exec(args) => commands::exec(&Lab::at(&args.lab.dir), &args.host, &args.command),
        LabCommand::Kill(args) => commands::kill(&Lab::at(&args.lab.dir), &args.target, after(&args)),
        LabCommand::Stop(args) => commands::stay(&Lab::at(&args.lab.dir), &args.target, commands::Stay::Down),
        LabCommand::Start(args) => commands::stay(&Lab::at(&args.lab.dir), &args.target, commands::Stay::Up),
        LabCommand::Cut(args) => commands::cut(&Lab::at(&args.lab.dir), &args),
        LabCommand::Heal(args) => commands::heal(&Lab::at(&args.lab.dir), args.site.as_deref()),
        LabCommand::Status(args) => status::run(&args),
        LabCommand::Demo(args) => demo::run(&args),
    }
}
