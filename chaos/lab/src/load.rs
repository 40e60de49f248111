//! The load of a run: the client processes, and what they have seen so far.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::clients::{ClientPlan, Event, WebUser};
use crate::cluster;
use crate::layout::{Host, HostKind, Lab, LabSite};
use crate::spec::{LabSpec, Place};

/// Between two commits of a writer, for each writer that there is: all of them together make some 190
/// commits a second, however many they are. More than that is the disk's benchmark and not ours.
const PACE_SHARE: Duration = Duration::from_millis(5);

/// Events on their way from the clients; the demo takes them several times a second.
const PENDING_MAX: usize = 1 << 16;

/// After the end of their input clients bring their commits to an end, which takes at most 5 s.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(10);

/// Writers of a load, all together, unless it is said otherwise.
pub const WRITERS: u32 = 10;

/// How many of `all` write from a client host: the outside has the most, being the platform's users.
fn share_of(all: u32, site: LabSite) -> u32 {
    let inside = all * 3 / 10;
    if site == LabSite::Cli { all - 2 * inside } else { inside }
}

/// Users of the web application outside, each in a network of its own as their resolvers say: a pooled name
/// sends each network to one of the sites, and some to either.
const WEB_USERS_OUTSIDE: u8 = 8;

/// The users of the web application on a client host; inside the sites there is one each.
#[must_use]
pub fn web_users(site: LabSite) -> Vec<WebUser> {
    let outside = (0..WEB_USERS_OUTSIDE).map(|n| WebUser {
        number: u32::from(n),
        // Of the networks for examples (RFC 5737 and RFC 2544).
        subnet: Some(Ipv4Addr::new(198, 18, n, 0)),
    });
    let inside = |after: u8| vec![WebUser { number: u32::from(WEB_USERS_OUTSIDE + after), subnet: None }];
    match site {
        LabSite::Cli => outside.collect(),
        LabSite::Pdc => inside(0),
        LabSite::Mdc => inside(1),
        LabSite::Wit => Vec::new(),
    }
}

/// Where a user's host stands.
#[must_use]
pub fn site_of_user(user: u32) -> Option<LabSite> {
    LabSite::ALL.into_iter().find(|site| web_users(*site).iter().any(|u| u.number == user))
}

/// One client process.
struct Client {
    host: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    said_goodbye: bool,
}

/// The load of a run. Dropped early, its clients end with their inputs.
pub struct Load {
    clients: Vec<Client>,
    incoming: Receiver<(&'static str, Event)>,
    events: Vec<Event>,
    lost: u64,
}

impl Load {
    /// Starts the clients of run number `run`.
    ///
    /// # Errors
    /// When a client cannot be started.
    pub fn start(lab: &Lab, spec: &LabSpec, run: u32, writers: u32) -> anyhow::Result<Load> {
        let (send, incoming) = sync_channel(PENDING_MAX);
        let mut clients = Vec::new();
        let mut next_writer = 0;
        for (host, swapper) in Host::of_kind(HostKind::Client).zip(0..) {
            let outside = host.site == LabSite::Cli;
            let count = share_of(writers, host.site);
            let plan = ClientPlan {
                client: host.name.to_owned(),
                run,
                access: cluster::access_from(&host),
                writers: (next_writer..next_writer + count).collect(),
                pace_ms: u64::try_from((PACE_SHARE * writers).as_millis()).expect("a pace is short"),
                swapper: Some(swapper),
                polled: if outside { cluster::name_servers() } else { Vec::new() },
                flip_client: outside,
                web: spec.has_entries().then(|| cluster::web_access_from(lab, &host)),
                web_users: web_users(host.site),
            };
            next_writer += count;
            clients.push(start_client(lab, spec, host, &plan, send.clone())?);
        }
        Ok(Load { clients, incoming, events: Vec::new(), lost: 0 })
    }

    /// Everything seen until now.
    pub fn events(&mut self) -> &[Event] {
        while let Ok((host, event)) = self.incoming.try_recv() {
            self.take(host, event);
        }
        &self.events
    }

    /// Stops the clients and gives everything they saw.
    ///
    /// # Errors
    /// When a client ended without a goodbye or lost events: the measurement is void.
    pub fn stop(mut self) -> anyhow::Result<Vec<Event>> {
        for client in &mut self.clients {
            drop(client.input.take());
        }
        let until = Instant::now() + GOODBYE_DEADLINE;
        while self.clients.iter().any(|c| !c.said_goodbye) {
            let left = until.saturating_duration_since(Instant::now());
            match self.incoming.recv_timeout(left) {
                Ok((host, event)) => self.take(host, event),
                // Out of time, or all streams ended: who has not said goodbye is named below.
                Err(_) => break,
            }
        }
        let silent: Vec<_> = self.clients.iter().filter(|c| !c.said_goodbye).map(|c| c.host).collect();
        anyhow::ensure!(silent.is_empty(), "client {} ended without a goodbye", silent.join(" and "));
        anyhow::ensure!(self.lost == 0, "clients lost {} events; the measurement is void", self.lost);
        Ok(std::mem::take(&mut self.events))
    }

    fn take(&mut self, host: &'static str, event: Event) {
        if let Event::Goodbye { lost, .. } = event {
            self.lost += lost;
            self.clients.iter_mut().filter(|c| c.host == host).for_each(|c| c.said_goodbye = true);
        }
        self.events.push(event);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for client in &mut self.clients {
            drop(client.input.take());
            if client.said_goodbye {
                let _ = client.child.wait();
            } else {
                let _ = client.child.kill();
                let _ = client.child.wait();
            }
        }
    }
}

fn start_client(
    lab: &Lab,
    spec: &LabSpec,
    host: Host,
    plan: &ClientPlan,
    send: SyncSender<(&'static str, Event)>,
) -> anyhow::Result<Client> {
    let folder: PathBuf = lab.dir().join("clients");
    std::fs::create_dir_all(&folder).context("folder of the clients")?;
    let file = folder.join(format!("{}.json", host.name));
    std::fs::write(&file, serde_json::to_vec_pretty(plan).expect("a plan is plain data"))
        .context("client plan")?;
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let command = [text(&spec.program), "lab".into(), "client".into(), "--plan".into(), text(&file)];
    let line = spec.inside(lab, &host, &Place::OwnSession, &command);
    let (program, arguments) = line.split_first().expect("`lab enter` comes first");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("client {} cannot be started", host.name))?;
    let output = child.stdout.take().expect("stdout was asked for");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // A line that is no event is a client that broke; it will lack its goodbye.
            let Ok(event) = serde_json::from_str(&line) else { return };
            if send.send((host.name, event)).is_err() {
                return;
            }
        }
    });
    let input = child.stdin.take();
    Ok(Client { host: host.name, child, input, said_goodbye: false })
}
