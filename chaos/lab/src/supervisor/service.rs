//! The supervisor's process: starts the hub and everything else, and takes orders.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::process::{Power, Process};
use super::{Acted, SupervisorReply, SupervisorRequest, SupervisorStatus};
use crate::layout::{Host, Lab, LabSite};
use crate::spec::{LabSpec, Place};
use crate::wan::{self, WanRequest};
use crate::{cgroup, clock, control, net, priority};

/// A SIGKILLed process is gone in milliseconds, unless its disk hangs.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

/// The hub makes four ports by some ten calls of ip(8).
const HUB_DEADLINE: Duration = Duration::from_secs(10);

/// The hub's nice value within the lab (nice(1)).
const HUB_NICE: &str = "-10";

/// How often the starting hub is asked.
const HUB_TICK: Duration = Duration::from_millis(20);

/// After the reply to `shutdown` the supervisor ends; so long the reply may take to leave.
const FAREWELL: Duration = Duration::from_millis(50);

struct Service {
    lab: Lab,
    /// Database servers in each data site.
    servers: u32,
    cgroup: Option<PathBuf>,
    processes: Vec<Arc<Process>>,
    hub: Mutex<Child>,
    off: Mutex<Off>,
}

/// What has no power.
#[derive(Default)]
struct Off {
    sites: BTreeSet<LabSite>,
    /// Hosts of sites that have it.
    hosts: BTreeSet<&'static str>,
}

impl Off {
    fn covers(&self, host: &Host) -> bool {
        self.sites.contains(&host.site) || self.hosts.contains(host.name)
    }
}

/// Runs the supervisor until it is told to shut down.
///
/// # Errors
/// When the lab's description, the hub or the control socket fail.
pub fn run(lab: &Lab) -> anyhow::Result<()> {
    // Away from the terminal that started the lab: its hang-up and its Ctrl-C are not meant for us.
    priority::own_session();
    let spec = LabSpec::read(lab)?;
    let group = cgroup::make(&lab.cgroup_name());
    let hub = start_hub(lab, &spec)?;
    let mut processes = Vec::new();
    for process in &spec.processes {
        processes.push(prepare(lab, &spec, process, group.as_deref())?);
    }
    for process in &processes {
        let process = Arc::clone(process);
        std::thread::spawn(move || process.keep_running());
    }
    let state = serde_json::json!({ "supervisor": std::process::id(), "hub": hub.id(), "cgroup": group });
    std::fs::write(lab.state_file(), state.to_string()).context("state file")?;
    let service = Service {
        lab: lab.clone(),
        servers: spec.servers,
        cgroup: group,
        processes,
        hub: Mutex::new(hub),
        off: Mutex::new(Off::default()),
    };
    let socket = lab.supervisor_socket();
    control::serve(&socket, move |request| service.answer(&request))
        .with_context(|| format!("control socket {socket:?}"))
}

/// Starts the hub and waits until it answers.
fn start_hub(lab: &Lab, spec: &LabSpec) -> anyhow::Result<Child> {
    // The wire comes before what is plugged into it.
    let mut hub = Command::new("nice")
        .args(["-n", HUB_NICE])
        .arg(&spec.program)
        .args(["lab", "wan", "--dir"])
        .arg(lab.dir())
        .stdin(Stdio::piped())
        .spawn()
        .context("the WAN hub cannot be started")?;
    let until = Instant::now() + HUB_DEADLINE;
    while wan::status(lab).is_err() {
        if let Some(end) = hub.try_wait()? {
            anyhow::bail!("the WAN hub ended at once ({end})");
        }
        anyhow::ensure!(Instant::now() < until, "the WAN hub does not answer");
        std::thread::sleep(HUB_TICK);
    }
    Ok(hub)
}

/// Gives a process its control group, its log and its full command line.
fn prepare(
    lab: &Lab,
    spec: &LabSpec,
    process: &crate::spec::ProcessSpec,
    group: Option<&std::path::Path>,
) -> anyhow::Result<Arc<Process>> {
    let host =
        Host::named(&process.host).with_context(|| format!("host {:?} is not in the lab", process.host))?;
    let group = group
        .map(|root| cgroup::make_below(root, &format!("{}/{}.{}", host.site, host.name, process.name)))
        .transpose()
        .context("control group")?;
    let command = spec.inside(lab, &host, &Place::Group(group.as_deref()), &process.command);
    let log = lab.log_dir().join(format!("{}.{}.log", process.host, process.name));
    Ok(Process::new(process.clone(), command, log, group))
}

impl Service {
    fn answer(&self, request: &SupervisorRequest) -> SupervisorReply {
        let began = clock::now();
        let done = match request {
            SupervisorRequest::Status => return SupervisorReply::Status(self.status()),
            SupervisorRequest::Kill { target } => self.signal(target, Signal::SIGKILL),
            SupervisorRequest::Hold { target } => self.hold(target),
            SupervisorRequest::Release => {
                self.release();
                Ok(())
            }
            SupervisorRequest::Stop { target } => self.signal(target, Signal::SIGSTOP),
            SupervisorRequest::Cont { target } => self.signal(target, Signal::SIGCONT),
            SupervisorRequest::Down { target } => self.stay(target, Power::Off),
            SupervisorRequest::Up { target } => self.stay(target, Power::On),
            SupervisorRequest::PowerOff { site } => self.power_off(*site),
            SupervisorRequest::PowerOn { site } => self.power_on(*site),
            SupervisorRequest::HostOff { host } => self.host_off(host),
            SupervisorRequest::HostOn { host } => self.host_on(host),
            SupervisorRequest::Shutdown => self.shut_down(),
        };
        match done {
            Ok(()) => SupervisorReply::Done(Acted { began, ended: clock::now() }),
            Err(e) => SupervisorReply::Refused(format!("{e:#}")),
        }
    }

    fn status(&self) -> SupervisorStatus {
        let hub_alive = matches!(self.hub.lock().expect("no holder of the hub panics").try_wait(), Ok(None));
        let off = self.off.lock().expect("no holder of the sets panics");
        SupervisorStatus {
            hub_alive,
            powered_off: off.sites.iter().copied().collect(),
            hosts_off: off.hosts.iter().map(|&name| name.to_owned()).collect(),
            processes: self.processes.iter().map(|p| p.status()).collect(),
        }
    }

    fn signal(&self, target: &super::Target, signal: Signal) -> anyhow::Result<()> {
        let mut found = false;
        for process in self.processes.iter().filter(|p| target.covers(p.spec())) {
            found = true;
            process.signal(signal).with_context(|| format!("process {}", process.spec().label()))?;
        }
        anyhow::ensure!(found, "nothing called {target} runs in the lab; `lab status` lists what does");
        Ok(())
    }

    /// Down and not started again, or started.
    fn stay(&self, target: &super::Target, power: Power) -> anyhow::Result<()> {
        let meant: Vec<_> = self.processes.iter().filter(|p| target.covers(p.spec())).collect();
        anyhow::ensure!(
            !meant.is_empty(),
            "nothing called {target} runs in the lab; `lab status` lists what does"
        );
        let off = self.off.lock().expect("no holder of the sets panics");
        anyhow::ensure!(
            !Host::named(&target.host).is_some_and(|h| off.covers(&h)),
            "{target} has no power; `lab heal` gives it"
        );
        meant.iter().for_each(|p| p.set_power(power));
        if power == Power::Off {
            meant.iter().try_for_each(|p| p.signal(Signal::SIGKILL))?;
            await_ends(&meant)?;
        }
        Ok(())
    }

    /// Death, and no new life for now.
    fn hold(&self, target: &super::Target) -> anyhow::Result<()> {
        let meant: Vec<_> = self.processes.iter().filter(|p| target.covers(p.spec())).collect();
        // First, so that none that ends is started again.
        meant.iter().for_each(|p| p.set_power(Power::Off));
        self.signal(target, Signal::SIGKILL)?;
        await_ends(&meant)
    }

    fn release(&self) {
        let off = self.off.lock().expect("no holder of the sets panics");
        let lit = |p: &&Arc<Process>| Host::named(&p.spec().host).is_some_and(|h| !off.covers(&h));
        self.processes.iter().filter(lit).for_each(|p| p.set_power(Power::On));
    }

    /// First silence, then death at once: no reset, no goodbye reaches anybody outside.
    fn power_off(&self, site: LabSite) -> anyhow::Result<()> {
        let mut off = self.off.lock().expect("no holder of the sets panics");
        wan::tell(&self.lab, &WanRequest::Cut { directions: wan::all_of(site) })?;
        off.sites.insert(site);
        let of_site: Vec<_> = self.of_site(site).collect();
        of_site.iter().for_each(|p| p.set_power(Power::Off));
        if let Some(root) = &self.cgroup {
            cgroup::kill(&root.join(site.name())).context("control group of the site")?;
        }
        // Again one by one: for machines without control groups, and for a process that was only
        // just started and had not joined its group.
        of_site.iter().try_for_each(|p| p.signal(Signal::SIGKILL))?;
        await_ends(&of_site)
    }

    /// The hosts boot: nothing of what their kernels held is left.
    fn power_on(&self, site: LabSite) -> anyhow::Result<()> {
        let mut off = self.off.lock().expect("no holder of the sets panics");
        let whole = off.sites.remove(&site);
        for host in net::powered_hosts(site, self.servers) {
            if off.hosts.remove(host.name) || whole {
                net::reboot_host(&self.lab, &host)?;
            }
        }
        let lit = |d: &wan::Direction| !off.sites.contains(&d.from) && !off.sites.contains(&d.to);
        let directions = wan::all_of(site).into_iter().filter(lit).collect();
        wan::tell(&self.lab, &WanRequest::Mend { directions })?;
        self.of_site(site).for_each(|p| p.set_power(Power::On));
        Ok(())
    }

    /// As a site's: first silence, then death.
    fn host_off(&self, name: &str) -> anyhow::Result<()> {
        let mut off = self.off.lock().expect("no holder of the sets panics");
        let (host, own) = self.of_host(name)?;
        if off.sites.contains(&host.site) || !off.hosts.insert(host.name) {
            return Ok(());
        }
        net::silence_host(&self.lab, &host)?;
        own.iter().for_each(|p| p.set_power(Power::Off));
        own.iter().try_for_each(|p| p.signal(Signal::SIGKILL))?;
        await_ends(&own)
    }

    /// It boots as the hosts of a site do. With its site it has no power until that has.
    fn host_on(&self, name: &str) -> anyhow::Result<()> {
        let mut off = self.off.lock().expect("no holder of the sets panics");
        let (host, own) = self.of_host(name)?;
        if off.sites.contains(&host.site) || !off.hosts.remove(host.name) {
            return Ok(());
        }
        net::reboot_host(&self.lab, &host)?;
        own.iter().for_each(|p| p.set_power(Power::On));
        Ok(())
    }

    /// A host, and what runs on it.
    fn of_host(&self, name: &str) -> anyhow::Result<(Host, Vec<&Arc<Process>>)> {
        let own: Vec<_> = self.processes.iter().filter(|p| p.spec().host == name).collect();
        let host = Host::named(name).filter(|_| !own.is_empty());
        Ok((host.with_context(|| format!("nothing of a host {name} runs in the lab"))?, own))
    }

    fn shut_down(&self) -> anyhow::Result<()> {
        let all: Vec<_> = self.processes.iter().collect();
        all.iter().for_each(|p| p.set_power(Power::Gone));
        if let Some(root) = &self.cgroup {
            cgroup::kill(root).context("control group of the lab")?;
        }
        all.iter().try_for_each(|p| p.signal(Signal::SIGKILL))?;
        await_ends(&all)?;
        let mut hub = self.hub.lock().expect("no holder of the hub panics");
        // The hub is ours and not reaped yet, so its id is its own.
        hub.kill().context("the WAN hub")?;
        hub.wait().context("the WAN hub")?;
        if let Some(root) = &self.cgroup {
            cgroup::remove(root).context("control group of the lab")?;
        }
        std::thread::spawn(|| {
            std::thread::sleep(FAREWELL);
            std::process::exit(0);
        });
        Ok(())
    }

    fn of_site(&self, site: LabSite) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.iter().filter(move |p| Host::named(&p.spec().host).is_some_and(|h| h.site == site))
    }
}

fn await_ends(processes: &[&Arc<Process>]) -> anyhow::Result<()> {
    let until = Instant::now() + DEATH_DEADLINE;
    let alive = |p: &&&Arc<Process>| !p.ended_by(until);
    match processes.iter().find(alive) {
        Some(p) => anyhow::bail!("process {} did not die of SIGKILL in {DEATH_DEADLINE:?}", p.spec().label()),
        None => Ok(()),
    }
}
