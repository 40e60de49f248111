//! Faults of what a standby holds: somebody has written to it past its history, as root may.

use std::future::Future;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};

use super::{FaultError, Healed, Injected, Scene, standby_hosts};
use crate::cli::Flavour;
use crate::clients::writer::TABLE;
use crate::clock;
use crate::inside;
use crate::layout::Host;
use crate::mysqld::APPLICATION_SCHEMA;

/// So many commits of a writer ahead: half a second where the disk is quick, and a few where it is not.
const AHEAD: u64 = 10;

/// ER_DUP_ENTRY, and ER_REPLICA_WORKER_STOPPED_PREVIOUS_THD_ERROR, which hides it where the status shows the
/// worker behind.
const STOPPED: [u64; 2] = [1062, 3030];

/// Some statements over a socket, and the seconds until the twin has arrived.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long the applier is waited for. It is shorter than `DEADLINE`, so that what it was at is told.
const TWIN: Duration = Duration::from_secs(24);

/// Between two looks at the applier.
const TICK: Duration = Duration::from_millis(50);

/// Puts a row into the standby that its primary is about to write, and waits until the applier has
/// stopped at it.
pub fn collide(scene: &Scene<'_>) -> Result<Injected, FaultError> {
    let (run, flavour) = (scene.target.run, scene.spec.flavour);
    let show = show_replica(flavour);
    let began = clock::now();
    let row = at_standby(scene, move |mut conn: Conn| async move {
        conn.query_drop("SET SESSION sql_log_bin = 0").await?;
        let (writer, seq) = put_ahead(&mut conn, run, flavour).await?;
        let seen = tokio::time::timeout(TWIN, async {
            while !STOPPED.contains(&applier_error(&mut conn, show).await?) {
                tokio::time::sleep(TICK).await;
            }
            anyhow::Ok(())
        })
        .await;
        let Ok(seen) = seen else {
            let error = applier_error(&mut conn, show).await?;
            let before = format!(
                "SELECT MAX(seq) FROM {APPLICATION_SCHEMA}.{TABLE} \
                 WHERE run = {run} AND writer = {writer} AND seq < {seq}"
            );
            let last: Option<Option<u64>> = conn.query_first(before).await?;
            anyhow::bail!(
                "row {seq} of writer {writer} has no twin after {} s: the writer's last row here is {:?}, the \
                 applier's error {error}",
                TWIN.as_secs(),
                last.flatten()
            );
        };
        seen?;
        Ok((writer, seq))
    })?;
    let what = format!(
        "row {} of writer {} is in {} before it arrives: its applier has stopped with error 1062",
        row.1,
        row.0,
        host(scene).name
    );
    Ok(Injected::new(began, clock::now(), what))
}

/// Puts a row of one of the run's writers into the standby that it has not written yet; says which.
async fn put_ahead(conn: &mut Conn, run: u32, flavour: Flavour) -> anyhow::Result<(u32, u64)> {
    let last = format!(
        "SELECT writer, MAX(seq) FROM {APPLICATION_SCHEMA}.{TABLE} WHERE run = {run} \
         GROUP BY writer ORDER BY writer LIMIT 1"
    );
    let last: Option<(u32, u64)> = conn.query_first(last).await?;
    let (writer, seq) = last.ok_or_else(|| anyhow::anyhow!("no row of run {run} has arrived"))?;
    let seq = seq + AHEAD;
    bind_everybody(conn, flavour, "OFF").await?;
    let put = conn
        .query_drop(format!("INSERT INTO {APPLICATION_SCHEMA}.{TABLE} VALUES ({run}, {writer}, {seq})"))
        .await;
    bind_everybody(conn, flavour, "ON").await?;
    put?;
    Ok((writer, seq))
}

/// Whether read-only binds this account too; on MariaDB it never does.
async fn bind_everybody(conn: &mut Conn, flavour: Flavour, to: &str) -> anyhow::Result<()> {
    if flavour == Flavour::Mysql {
        conn.query_drop(format!("SET GLOBAL super_read_only = {to}")).await?;
    }
    Ok(())
}

/// Takes the row away again, and lets the applier go on, if it stands at it still.
pub fn part(scene: &Scene<'_>) -> Result<Healed, FaultError> {
    let (run, flavour) = (scene.target.run, scene.spec.flavour);
    let stood = at_standby(scene, move |mut conn: Conn| async move {
        if !STOPPED.contains(&applier_error(&mut conn, show_replica(flavour)).await?) {
            return Ok(false);
        }
        conn.query_drop("SET SESSION sql_log_bin = 0").await?;
        bind_everybody(&mut conn, flavour, "OFF").await?;
        // Commits are applied in their order, so what stands before its time is the writer's last row.
        let gone = conn
            .query_drop(format!(
                "DELETE FROM {APPLICATION_SCHEMA}.{TABLE} WHERE run = {run} ORDER BY writer, seq DESC LIMIT 1"
            ))
            .await;
        bind_everybody(&mut conn, flavour, "ON").await?;
        gone?;
        conn.query_drop(match flavour {
            Flavour::Mysql => "START REPLICA SQL_THREAD",
            Flavour::Mariadb => "START SLAVE SQL_THREAD",
        })
        .await?;
        Ok(true)
    })?;
    let what = if stood {
        "a person takes the row away and starts the applier"
    } else {
        "the applier did not stand at it any more"
    };
    Ok(Healed { at: clock::now(), what: what.to_owned() })
}

fn show_replica(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Mysql => "SHOW REPLICA STATUS",
        Flavour::Mariadb => "SHOW SLAVE STATUS",
    }
}

/// The number of the error that the applier stopped with; 0 if it runs.
async fn applier_error(conn: &mut Conn, show: &str) -> anyhow::Result<u64> {
    let row: Option<Row> = conn.query_first(show).await?;
    let row = row.ok_or_else(|| anyhow::anyhow!("it has no source"))?;
    Ok(row.get_opt("Last_SQL_Errno").and_then(Result::ok).unwrap_or_default())
}

/// One of the standby's; two of them would be no more of a fault.
fn host(scene: &Scene<'_>) -> Host {
    let first = standby_hosts(scene).into_iter().next();
    first.expect("every data site has a database host")
}

/// Does something on the standby as root, through its socket.
fn at_standby<T, F, A>(scene: &Scene<'_>, act: A) -> Result<T, FaultError>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
    A: FnOnce(Conn) -> F + Send + 'static,
{
    let host = host(scene);
    let socket = crate::cluster::instance(scene.lab, &host).socket.to_string_lossy().into_owned();
    inside::in_runtime(scene.lab, &host, DEADLINE, async move {
        let options = OptsBuilder::default().socket(Some(socket)).user(Some("root")).stmt_cache_size(0);
        act(Conn::new(options).await?).await
    })
    .map_err(|e| FaultError::Database { host: host.name, why: format!("{e:#}") })
}
