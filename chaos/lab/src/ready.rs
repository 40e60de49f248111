//! Waiting until a lab serves: nodes, group, DNS, tables, web applications.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::cli::Shape;
use crate::clients::resolver::Resolver;
use crate::clients::{web, writer};
use crate::cluster;
use crate::inside;
use crate::interrupt::Interrupt;
use crate::layout::{Host, HostKind, Lab};
use crate::spec::LabSpec;
use crate::status_view::{ClusterStatus, GroupView, NoQuorum};
use crate::up::Progress;
use crate::web::{Served, Visit};

/// Databases start in 2 s, nodes elect in 1 s, adoption and the way to `Sync` take some more: 40 s
/// is what an operator is promised.
const SYNC_DEADLINE: Duration = Duration::from_secs(40);

/// After `Sync`, the names and the web applications follow within a TTL.
const SERVE_DEADLINE: Duration = Duration::from_secs(10);

/// One SQL act over the WAN.
const SQL_DEADLINE: Duration = Duration::from_secs(5);

/// The data sites.
const SITES: usize = 2;

/// One page.
const PAGE_DEADLINE: Duration = Duration::from_secs(3);

/// The clients' tables: [`writer::TABLE`], [`crate::registers::TABLE`] and [`crate::web::TABLE`], and K3s's as kine
/// lays it (kine, `pkg/drivers/mysql`) with the row that a first start leaves there.
pub const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS lab_writes (run INT UNSIGNED NOT NULL, writer INT UNSIGNED NOT NULL, \
     seq BIGINT UNSIGNED NOT NULL, PRIMARY KEY (run, writer, seq))",
    "CREATE TABLE IF NOT EXISTS lab_registers (run INT UNSIGNED NOT NULL, id INT UNSIGNED NOT NULL, \
     value BIGINT UNSIGNED NOT NULL, PRIMARY KEY (run, id))",
    "CREATE TABLE IF NOT EXISTS lab_visits (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
     site VARCHAR(16) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS kubernetes.kine (id BIGINT UNSIGNED AUTO_INCREMENT, \
     name VARCHAR(630) CHARACTER SET ascii, created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED, \
     prev_revision BIGINT UNSIGNED, lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id), \
     KEY kine_name_index (name), KEY kine_name_id_index (name, id), KEY kine_id_deleted_index (id, deleted), \
     KEY kine_prev_revision_index (prev_revision), \
     UNIQUE KEY kine_name_prev_revision_uindex (name, prev_revision))",
    "INSERT IGNORE INTO kubernetes.kine (name, created, deleted, create_revision, prev_revision, lease, value) \
     VALUES ('compact_rev_key', 1, 0, 0, 0, 0, '')",
];

/// Waits until everything serves, saying what is waited for.
///
/// # Errors
/// What did not come about, with the last reason; `Interrupted`.
pub fn wait(lab: &Lab, spec: &LabSpec, interrupt: &Interrupt, progress: &Progress) -> anyhow::Result<()> {
    let worth = match spec.shape {
        Shape::Witness => "in Sync",
        Shape::TwoSite => "beside a replica: without a witness it stays in Async",
    };
    progress.say(&format!("waiting for the group to serve {worth}"));
    wait_for_sync(lab, spec, interrupt, SYNC_DEADLINE, &mut |line| progress.say(line))?;
    progress.say("making the clients' tables");
    until_done(interrupt, || make_tables(lab))?;
    progress.say("waiting for the web applications");
    for host in Host::of_kind(HostKind::Web) {
        until_done(interrupt, || page(lab, &host, "/visit"))
            .with_context(|| format!("web application {} does not serve", host.name))?;
    }
    for host in Host::of_kind(HostKind::Entry) {
        until_done(interrupt, || through_entry(lab, &host))
            .with_context(|| format!("entry {} does not serve; see its log", host.name))?;
    }
    Ok(())
}

/// Gets a page through a site's entry from the outside client, by HTTPS and verified.
///
/// # Errors
/// Why there is none.
pub fn through_entry(lab: &Lab, entry: &Host) -> anyhow::Result<Served> {
    let host = Host::named("cli").expect("the table of hosts has it");
    let access = cluster::web_access_from(lab, &host);
    let address = entry.address();
    inside::in_runtime(lab, &host, PAGE_DEADLINE, async move {
        let client = web::client(&access, address)?;
        web::get(&client, &access).await.map_err(anyhow::Error::msg)
    })
}

/// Visits a web application from the outside client, which writes a row through it; tries again while it
/// is not served.
///
/// # Errors
/// Why it is not, after [`SERVE_DEADLINE`]; `Interrupted`.
pub fn visit(lab: &Lab, web: &Host, interrupt: &Interrupt) -> anyhow::Result<Visit> {
    let text = until_done(interrupt, || page(lab, web, "/visit"))?;
    serde_json::from_str(&text).with_context(|| format!("the page of {} is no visit", web.name))
}

/// Tries until it is done, at most for [`SERVE_DEADLINE`]; then the last reason stands.
fn until_done<T>(interrupt: &Interrupt, mut act: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut last = None;
    let done = interrupt.wait_for(SERVE_DEADLINE, || match act() {
        Ok(done) => Ok(Some(done)),
        Err(e) => {
            last = Some(e);
            Ok(None)
        }
    })?;
    done.ok_or_else(|| last.expect("it was tried at least once"))
}

/// Waits until the group serves in `Sync`; `tell` is given each new state of it.
///
/// # Errors
/// When it does not within `deadline`: the last state, or why it could not be read.
pub fn wait_for_sync(
    lab: &Lab,
    spec: &LabSpec,
    interrupt: &Interrupt,
    deadline: Duration,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<ClusterStatus> {
    let mut last = String::new();
    let found = interrupt.wait_for(deadline, || {
        let (now, status) = match ClusterStatus::ask(lab, spec) {
            Err(e) if e.is::<NoQuorum>() => ("no quorum yet".to_owned(), None),
            Err(e) => (format!("no status: {e:#}"), None),
            Ok(status) => (describe(&status), Some(status)),
        };
        if now != last {
            tell(&now);
            last = now;
        }
        Ok(status.filter(|s| {
            s.group(cluster::GROUP).is_some_and(|g| match spec.shape {
                Shape::Witness => back_in_sync(&g, spec),
                Shape::TwoSite => g.serves_beside_a_replica() && is_whole(&g, spec),
            })
        }))
    })?;
    found.with_context(|| format!("the group does not serve in Sync within {deadline:?}; last seen: {last}"))
}

/// Whether the group serves in `Sync`, and no server of the lab is on its way back.
#[must_use]
pub fn back_in_sync(group: &GroupView<'_>, spec: &LabSpec) -> bool {
    group.serves_in_sync() && is_whole(group, spec)
}

/// Of one server a site `Sync` says as much: the other one acks.
fn is_whole(group: &GroupView<'_>, spec: &LabSpec) -> bool {
    spec.servers == 1 || group.has_whole(Host::databases(spec.servers).count())
}

/// A group's state in a line; with its primary where a site has several servers.
#[must_use]
pub fn describe(status: &ClusterStatus) -> String {
    let nodes = status.nodes_up();
    let leader = status.leader().unwrap_or("nobody");
    match status.group(cluster::GROUP) {
        None => format!("{nodes} nodes up, {leader} leads, no group yet"),
        Some(g) => {
            let site = g.active_site().unwrap_or("no site");
            let epoch = g.epoch().unwrap_or(0);
            let one_of_several = g.primary().filter(|_| g.servers() > SITES);
            let place = one_of_several.map_or_else(|| site.to_owned(), |server| format!("{site} ({server})"));
            let group = format!("group {} {} in {place} at epoch {epoch}", cluster::GROUP, g.phase());
            // Before its start a group has no durability.
            let durability = Some(g.durability().to_owned()).filter(|d| !d.is_empty());
            let parts = [Some(group), durability, g.under_way()].into_iter().flatten();
            format!("{nodes} nodes up, {leader} leads, {}", parts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Makes the clients' tables through the published name, as an application's migration would.
fn make_tables(lab: &Lab) -> anyhow::Result<()> {
    let host = Host::named("cli").expect("the table of hosts has it");
    let access = cluster::access_from(&host);
    inside::in_runtime(lab, &host, SQL_DEADLINE, async move {
        let mut resolver = Resolver::new(access.name.clone(), access.servers.clone());
        let found = resolver.resolve().await.context("the database's name has no address")?;
        let mut conn = Conn::new(writer::options(&access, found.address)).await?;
        for statement in TABLES {
            conn.query_drop(statement).await?;
        }
        conn.disconnect().await?;
        Ok(())
    })
    .context("the clients' tables")
}

/// Gets a page of a web host from the outside client; an answer that is not 200 is an error.
///
/// # Errors
/// When it cannot be got.
pub fn page(lab: &Lab, web: &Host, path: &str) -> anyhow::Result<String> {
    let host = Host::named("cli").expect("the table of hosts has it");
    let to = SocketAddr::from((web.address(), cluster::WEB_PORT));
    let path = path.to_owned();
    inside::in_thread(lab, &host, move || {
        let mut stream = TcpStream::connect_timeout(&to, PAGE_DEADLINE)?;
        stream.set_read_timeout(Some(PAGE_DEADLINE))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: shop\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let status = text.lines().next().unwrap_or_default().to_owned();
        anyhow::ensure!(status.contains(" 200 "), "{path}: {status}");
        Ok(text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    })
}
