//! Which rows are there: the clients' own table, read at the end of a run.
//!
//! The primary is read as an application reads it, through the published name from outside. The
//! standby's gate is shut, so it is read through its socket, which its site's people have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::clients::resolver::Resolver;
use crate::clients::writer;
use crate::cluster;
use crate::inside;
use crate::layout::{Host, Lab};
use crate::measure::RowKey;
use crate::mysqld;
use crate::registers;

/// Some hundred thousand rows from a server that has just been promoted.
const DEADLINE: Duration = Duration::from_secs(30);

/// All rows of a run on the server that the published name leads to.
///
/// # Errors
/// When it cannot be read.
pub fn rows_on_primary(lab: &Lab, run: u32) -> anyhow::Result<BTreeSet<RowKey>> {
    on_primary(lab, move |conn| rows(conn, run))
}

/// What the registers of a run hold on the server that the published name leads to.
///
/// # Errors
/// When they cannot be read.
pub fn registers_on_primary(lab: &Lab, run: u32) -> anyhow::Result<BTreeMap<u32, u64>> {
    on_primary(lab, move |mut conn| async move {
        let table = registers::TABLE;
        let held: Vec<(u32, u64)> =
            conn.query(format!("SELECT id, value FROM {table} WHERE run = {run}")).await?;
        conn.disconnect().await?;
        Ok(held.into_iter().collect())
    })
}

/// K3s's newest revision on the server that the published name leads to.
///
/// # Errors
/// When it cannot be read.
pub fn kine_on_primary(lab: &Lab) -> anyhow::Result<u64> {
    on_primary(lab, move |mut conn| async move {
        let sql = format!("SELECT COALESCE(MAX(id), 0) FROM {}.kine", mysqld::KINE_SCHEMA);
        let newest: Option<u64> = conn.query_first(sql).await?;
        conn.disconnect().await?;
        newest.context("no number is there")
    })
}

fn on_primary<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + Send>(
    lab: &Lab,
    act: impl FnOnce(Conn) -> F + Send + 'static,
) -> anyhow::Result<T> {
    let host = Host::named("cli").expect("the table of hosts has it");
    let access = cluster::access_from(&host);
    inside::in_runtime(lab, &host, DEADLINE, async move {
        let mut resolver = Resolver::new(access.name.clone(), access.servers.clone());
        let found = resolver.resolve().await.context("the database's name has no address")?;
        act(Conn::new(writer::options(&access, found.address)).await?).await
    })
    .context("reading the primary")
}

/// All rows of a run on a host's own server, whatever its role.
///
/// # Errors
/// When it cannot be read.
pub fn rows_on_host(lab: &Lab, host: &Host, run: u32) -> anyhow::Result<BTreeSet<RowKey>> {
    let socket = cluster::instance(lab, host).socket.to_string_lossy().into_owned();
    inside::in_runtime(lab, host, DEADLINE, async move {
        let options = OptsBuilder::default()
            .socket(Some(socket))
            // An application is let in where the group is open, and nowhere else.
            .user(Some("root"))
            .db_name(Some(mysqld::APPLICATION_SCHEMA))
            .stmt_cache_size(0);
        rows(Conn::new(options).await?, run).await
    })
    .with_context(|| format!("reading {}", host.name))
}

async fn rows(mut conn: Conn, run: u32) -> anyhow::Result<BTreeSet<RowKey>> {
    let table = writer::TABLE;
    let rows: Vec<RowKey> = conn.query(format!("SELECT writer, seq FROM {table} WHERE run = {run}")).await?;
    conn.disconnect().await?;
    Ok(rows.into_iter().collect())
}
