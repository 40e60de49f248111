//! `lab up`: from nothing to a cluster in `Sync` with both web applications serving.
//!
//! In this order: what was asked for is checked, what a lab needs is fetched, an earlier lab of the
//! directory is taken away, the new one is made. So a refused `up` touches no lab. An interrupted or
//! failed `up` takes away what it made, unless it failed at waiting: then the lab stays for a look,
//! and says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::cli::{Exit, Fence, Flavour, Shape, UpArgs};
use crate::cluster;
use crate::disk;
use crate::entry;
use crate::faults::wall;
use crate::flavour::{self, Chosen};
use crate::interrupt::{Interrupt, Interrupted};
use crate::layout::{Host, HostKind, Lab};
use crate::lifecycle::{self, LabLock, Standing};
use crate::mysqld::{self, InstanceSpec, MysqlRoot};
use crate::packages;
use crate::ready;
use crate::spec::{Equipment, LabSpec, Maker, ProcessSpec};
use crate::web::WebPlan;

/// Programs of other packages that the lab runs, and the packages.
const TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("nft", "nftables")];

/// And for disks of the databases' own.
const DISK_TOOLS: [(&str, &str); 3] =
    [("mkfs.ext4", "e2fsprogs"), ("mount", "mount"), ("fsfreeze", "util-linux")];

/// Says what is being done, with the time since the start.
pub struct Progress {
    began: Instant,
}

impl Progress {
    /// Starts the clock.
    #[must_use]
    pub fn new() -> Progress {
        Progress { began: Instant::now() }
    }

    /// One line. To standard error: standard output belongs to reports.
    pub fn say(&self, line: &str) {
        eprintln!("{:6.1} s  {line}", self.began.elapsed().as_secs_f64());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

/// What a lab is to be.
pub struct Wanted<'a> {
    /// The database, if not whatever can be had.
    pub flavour: Option<Flavour>,
    /// What keeps clients from a database that may not write.
    pub fence: Fence,
    /// How many places it has.
    pub shape: Shape,
    /// How many database servers each data site has.
    pub servers: u32,
    /// What it has besides.
    pub equipment: Equipment,
    /// Which command makes it.
    pub maker: Maker,
    /// The twofold binary of its hosts, if not this one.
    pub twofold: Option<&'a Path>,
}

/// What a lab is made of, all of it checked and at hand.
pub struct Ground {
    fence: Fence,
    shape: Shape,
    servers: u32,
    equipment: Equipment,
    maker: Maker,
    twofold: PathBuf,
    program: PathBuf,
    database: Chosen,
    /// HAProxy's packages.
    haproxy: PathBuf,
    /// The library of clocks, where they are wanted.
    clocks: Option<PathBuf>,
    cache: PathBuf,
}

/// `lab up`.
///
/// # Errors
/// What could not be made.
pub fn run(args: &UpArgs) -> anyhow::Result<Exit> {
    let lab = Lab::at(&args.lab.dir);
    check(&lab)?;
    let interrupt = Interrupt::watch()?;
    let progress = Progress::new();
    let lock = lifecycle::lock(&lab)?;
    let shape = if args.two_site { Shape::TwoSite } else { Shape::Witness };
    let wanted = Wanted {
        flavour: args.flavour,
        fence: args.fence,
        shape,
        servers: args.servers,
        equipment: Equipment { disks: args.disks, clocks: args.clocks },
        maker: Maker::Up,
        twofold: args.twofold.as_deref(),
    };
    let ground = gather(&wanted, &interrupt, &progress)?;
    clear(&lab, &lock, &progress)?;
    let spec = match make(&lab, &ground, &lock, &interrupt, &progress) {
        Ok(spec) => spec,
        Err(e) => {
            progress.say("taking away what was made");
            return Err(gone(&lab, &lock, e));
        }
    };
    match ready::wait(&lab, &spec, &interrupt, &progress) {
        Ok(()) => {}
        Err(e) if e.is::<Interrupted>() => return Err(gone(&lab, &lock, e)),
        Err(e) => {
            progress.say(&format!("the lab stays for a look: logs in {}", lab.log_dir().display()));
            return Err(e);
        }
    }
    progress.say(&format!("the lab is up in {}; `lab status` shows it", lab.dir().display()));
    Ok(Exit::Done)
}

/// Takes the lab away because of an error, and gives the error; what could not be taken away is said with it.
fn gone(lab: &Lab, lock: &LabLock, error: anyhow::Error) -> anyhow::Error {
    match lifecycle::tear_down(lab, lock) {
        Ok(()) => error,
        Err(left) => error.context(format!("cleaning up failed as well ({left}); `lab down` tries again")),
    }
}

/// What is wrong with what was asked for, before anything is touched.
///
/// # Errors
/// Those of [`lifecycle::check_directory`].
pub fn check(lab: &Lab) -> anyhow::Result<()> {
    Ok(lifecycle::check_directory(lab)?)
}

/// Fetches what a lab is made of, and touches no lab.
///
/// # Errors
/// What is missing and cannot be had.
pub fn gather(wanted: &Wanted<'_>, interrupt: &Interrupt, progress: &Progress) -> anyhow::Result<Ground> {
    let Wanted { flavour: asked, fence, shape, servers, equipment, maker, twofold } = *wanted;
    let twofold = twofold_binary(twofold)?;
    let program = std::env::current_exe().context("this program's own path")?;
    install_tools(&TOOLS, progress)?;
    if equipment.disks {
        install_tools(&DISK_TOOLS, progress)?;
    }
    interrupt.check()?;
    let cache = packages::cache_dir();
    let database = flavour::choose(asked, &cache, &mut |line| progress.say(line))?;
    database.root.template(&cache).context("the database's template data")?;
    let haproxy = packages::haproxy_root(&cache, &mut |line| progress.say(line));
    let haproxy = haproxy.context("HAProxy's packages")?;
    let clocks = equipment.clocks.then(|| packages::faketime(&cache, &mut |line| progress.say(line)));
    let clocks = clocks.transpose().context("the package of libfaketime")?;
    interrupt.check()?;
    Ok(Ground { fence, shape, servers, equipment, maker, twofold, program, database, haproxy, clocks, cache })
}

/// Takes away what an earlier lab of this directory left, and says so.
///
/// # Errors
/// What could not be removed.
pub fn clear(lab: &Lab, lock: &LabLock, progress: &Progress) -> anyhow::Result<()> {
    if lifecycle::standing(lab)? == Standing::Lab || lifecycle::runs(lab)? {
        progress.say(&format!("taking away the earlier lab in {}", lab.dir().display()));
    }
    lifecycle::tear_down(lab, lock).context("removing what an earlier lab left")
}

/// The twofold binary of the lab's hosts.
fn twofold_binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe().context("this program's own path")?,
    };
    std::path::absolute(&path)
        .ok()
        .filter(|p| p.exists())
        .with_context(|| format!("twofold binary {path:?} does not exist"))
}

/// Makes the lab and starts it; there must be none.
///
/// # Errors
/// What could not be made; what was made until then stays.
pub fn make(
    lab: &Lab,
    ground: &Ground,
    lock: &LabLock,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<LabSpec> {
    let Ground { fence, shape, servers, equipment, maker, twofold, program, .. } = ground;
    let Ground { database, haproxy, clocks, cache, .. } = ground;
    let Chosen { root, fallback } = database;
    let mut processes = cluster::processes(lab, program, twofold, root, haproxy, *shape, *servers);
    if let Some(library) = clocks {
        give_clocks(lab, &mut processes, library);
    }
    let spec = LabSpec {
        processes,
        program: program.clone(),
        twofold: twofold.clone(),
        flavour: root.flavour(),
        fallback: fallback.clone(),
        shape: *shape,
        servers: *servers,
        maker: *maker,
        equipment: *equipment,
    };
    lifecycle::make_directory(lab, &spec)?;
    if equipment.disks {
        progress.say("making the databases' disks");
        disk::make(lab, *servers)?;
    }
    if equipment.clocks {
        wall::make(lab, *servers)?;
    }
    progress.say("copying the databases' first data");
    lay_databases(lab, &spec, root, *fence, cache)?;
    write_files(lab, &spec, root, *fence)?;
    progress.say("making certificates");
    make_certificates(lab, &spec)?;
    cluster::certify_databases(lab, *servers).context("the databases' certificates")?;
    entry::write(lab).context("the sites' entries")?;
    check_configuration(lab, &spec)?;
    make_logs(lab, &spec)?;
    interrupt.check()?;
    progress.say("namespaces, WAN hub, supervisor");
    lifecycle::start(lab, &spec, lock)?;
    Ok(spec)
}

/// Installs the tools the machine lacks, where it has apt; elsewhere says which.
fn install_tools(tools: &[(&str, &'static str)], progress: &Progress) -> anyhow::Result<()> {
    let has = |tool: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir: PathBuf| dir.join(tool).exists())
    };
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| !has(tool)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress.say(&format!("installing {}", missing.join(", ")));
    let status = Command::new("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("install {} by hand: this machine has no apt-get", missing.join(" and ")))?;
    anyhow::ensure!(
        status.success(),
        "apt-get could not install {}; install them by hand",
        missing.join(" and ")
    );
    Ok(())
}

/// Daemons read how far their wall clock is off from a file, at once, and go by the machine's other clocks.
fn give_clocks(lab: &Lab, processes: &mut [ProcessSpec], library: &Path) {
    for process in processes.iter_mut().filter(|p| matches!(p.name.as_str(), "node" | "guard")) {
        let host = Host::named(&process.host).expect("processes are of the table's hosts");
        let file = wall::file(lab, &host).display().to_string();
        let variables = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        process.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    }
}

fn lay_databases(
    lab: &Lab,
    spec: &LabSpec,
    root: &MysqlRoot,
    fence: Fence,
    cache: &Path,
) -> anyhow::Result<()> {
    for host in Host::databases(spec.servers) {
        let offline = fence == Fence::Ladder && root.flavour() == Flavour::Mysql;
        let instance = InstanceSpec { offline, ..cluster::instance(lab, &host) };
        root.lay_data(cache, &instance.data_dir, instance.server_id)
            .with_context(|| format!("first data of {}", host.name))?;
        mysqld::write_cnf(root, &instance).with_context(|| format!("configuration of {}", host.name))?;
    }
    // Hundreds of megabytes were copied: written out now, they delay no commit that is measured.
    let disks = Host::databases(spec.servers).map(|host| lab.disk_dir(&host));
    for dir in [lab.dir().to_path_buf()].into_iter().chain(disks) {
        let folder = std::fs::File::open(&dir).with_context(|| format!("folder {dir:?}"))?;
        nix::unistd::syncfs(folder).context("writing the databases' first data out")?;
    }
    Ok(())
}

fn write_files(lab: &Lab, spec: &LabSpec, root: &MysqlRoot, fence: Fence) -> anyhow::Result<()> {
    let write = |path: &Path, text: &str| {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text).with_context(|| format!("file {path:?}"))
    };
    for account in ["admin", "replication"] {
        write(&lab.secrets_dir().join(account), mysqld::PASSWORD)?;
    }
    write(&lab.config_file(), &cluster::configuration(lab, root, fence, spec.shape, spec.servers))?;
    for host in Host::of_kind(HostKind::Web) {
        let plan = WebPlan {
            host: host.name.to_owned(),
            site: host.site.name().to_owned(),
            port: cluster::WEB_PORT,
            access: cluster::access_from(&host),
        };
        let text = serde_json::to_string_pretty(&plan).expect("a plan is plain data");
        write(&cluster::web_plan_file(lab, &host), &text)?;
    }
    Ok(())
}

/// Runs a twofold command that must succeed, with the configuration as an argument.
fn twofold(spec: &LabSpec, lab: &Lab, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(&spec.twofold)
        .args(arguments)
        .current_dir(lab.dir())
        .output()
        .with_context(|| format!("{:?} cannot be run", spec.twofold))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).trim().to_owned()).join("\n");
    anyhow::bail!("`twofold {}` ended with {}: {said}", arguments.join(" "), output.status)
}

fn make_certificates(lab: &Lab, spec: &LabSpec) -> anyhow::Result<()> {
    let dir = lab.pki_dir();
    let dir = dir.to_string_lossy();
    let cluster = cluster::CLUSTER;
    twofold(spec, lab, &["cert", "ca", "--cluster", cluster, "--dir", &dir])?;
    let leaf = |kind: &str, name: &str, address: &[&str]| {
        let mut words = vec!["cert", kind, name, "--cluster", cluster, "--ca-dir", &dir];
        words.extend(address);
        twofold(spec, lab, &words)
    };
    for (kind, hosts) in [("node", HostKind::Node), ("guard", HostKind::Database)] {
        for host in Host::all(spec.servers).filter(|h| h.kind == hosts) {
            leaf(kind, host.name, &["--address", &host.address().to_string()])?;
        }
    }
    leaf("client", "client", &[])?;
    // Who may accept a loss; an operator may not.
    leaf("client", cluster::APPROVER, &["--role", "approver"])
}

/// Makes each node's first log, once in its life.
fn make_logs(lab: &Lab, spec: &LabSpec) -> anyhow::Result<()> {
    let config = lab.config_file();
    for host in cluster::nodes(spec.shape) {
        twofold(spec, lab, &["serve", "--config", &config.to_string_lossy(), "--node", host.name, "--init"])?;
    }
    Ok(())
}

fn check_configuration(lab: &Lab, spec: &LabSpec) -> anyhow::Result<()> {
    twofold(spec, lab, &["check", &lab.config_file().to_string_lossy()])
}
