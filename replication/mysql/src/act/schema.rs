//! The adapter's own schema: a table of sentinels and one of opening marks, which travel by
//! replication.
//!
//! A sentinel is a row of its own, never an update of a shared one: a commit that waits for its ack
//! keeps its row locks, and the second sentinel that frees it must not queue behind them.

use model::{Epoch, OpeningMark, ProcessStart, SyncGeneration};

use crate::deadline::Deadline;
use crate::kine::{self, KineGap};
use crate::outcome::{Outcome, Refusal, Stop};
use crate::read::ReadError;
use crate::row::Row;
use crate::session::Session;

/// Name of the schema.
pub const SCHEMA: &str = "twofold";
/// ER_OPTION_PREVENTS_STATEMENT: read only.
const READ_ONLY: u16 = 1290;
/// ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE: no primary has been opened yet.
pub(crate) const NO_SCHEMA: [u16; 2] = [1049, 1146];
/// Rows that `ensure_schema` keeps of each table, and `read_sentinels` returns. An arming writes one or
/// two sentinels, an opening one mark; older rows prove nothing any more.
const ROWS_KEPT: u32 = 1000;

/// A transaction whose ack proves that the ackers hold everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sentinel {
    /// Epoch of the holder that writes it.
    pub epoch: Epoch,
    /// The arming it proves.
    pub g: SyncGeneration,
    /// Random, so that no two tries are the same row.
    pub nonce: u64,
}

/// What marks an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The epoch it opens at.
    pub epoch: Epoch,
    /// The life of the database.
    pub life: ProcessStart,
    /// Random.
    pub nonce: u64,
}

/// Where the newest opening mark stands, for a reading.
pub(crate) const OPENING: &str = "SELECT epoch, life, nonce, (SELECT COUNT(*) FROM twofold.opening) AS marks, \
     (SELECT BIT_XOR(nonce) FROM twofold.opening) AS all_nonces FROM twofold.opening ORDER BY id DESC LIMIT 1";

/// Creates schema and tables where they are missing and forgets all but the last 1000 rows of each.
/// Refused on a server that is read only. With semi-sync armed it waits for acks as any write does.
pub async fn ensure_schema(session: &mut Session, deadline: Deadline) -> Outcome {
    ensure(session, deadline).await.into()
}

async fn ensure(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    refuse_when_read_only(session, deadline).await?;
    let find = format!(
        "SELECT COUNT(*) AS found FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = '{SCHEMA}' AND TABLE_NAME IN ('sentinel', 'opening')"
    );
    let sets = session.ask("look for the schema", &find, deadline).await?;
    let found: u64 = crate::read::last_row(&sets, "a count")?.parse("found", "a number")?;
    if found < 2 {
        return create(session, deadline).await;
    }
    for table in ["sentinel", "opening"] {
        // Asked without a lock, and deleted by the key: a scan would queue behind the row of a sentinel
        // that waits for its ack, which the next one is to free.
        let ask = format!(
            "SELECT COALESCE(MIN(id), 0) AS oldest, COALESCE(MAX(id), 0) AS newest FROM {SCHEMA}.{table}"
        );
        let sets = session.ask("look for old rows", &ask, deadline).await?;
        let row = crate::read::last_row(&sets, "the first and last row")?;
        let (oldest, newest): (u64, u64) =
            (row.parse("oldest", "a number")?, row.parse("newest", "a number")?);
        let last_old = newest.saturating_sub(ROWS_KEPT.into());
        if oldest > 0 && oldest <= last_old {
            let prune = format!("DELETE FROM {SCHEMA}.{table} WHERE id <= {last_old}");
            write(session, "forget old rows", &prune, deadline).await?;
        }
    }
    Ok(())
}

async fn create(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    let create = format!(
        "CREATE DATABASE IF NOT EXISTS {SCHEMA}; \
         CREATE TABLE IF NOT EXISTS {SCHEMA}.sentinel (\
           id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
           epoch BIGINT UNSIGNED NOT NULL, g BIGINT UNSIGNED NOT NULL, nonce BIGINT UNSIGNED NOT NULL, \
           written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
           UNIQUE KEY (epoch, g, nonce)) ENGINE = InnoDB; \
         CREATE TABLE IF NOT EXISTS {SCHEMA}.opening (\
           id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
           epoch BIGINT UNSIGNED NOT NULL, life BIGINT UNSIGNED NOT NULL, nonce BIGINT UNSIGNED NOT NULL, \
           written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE = InnoDB"
    );
    write(session, "create the schema", &create, deadline).await
}

/// Writes a sentinel. `Done` only when its commit returned, which with semi-sync armed means that
/// every acker holds it and all before it.
///
/// It may wait for its ack until the deadline, so give it a session of its own; after `Unknown` the
/// row may still wait inside the server and appear later. Where the ack of an earlier commit was
/// lost, the ack of this one frees it.
pub async fn write_sentinel(session: &mut Session, sentinel: Sentinel, deadline: Deadline) -> Outcome {
    let Sentinel { epoch, g, nonce } = sentinel;
    let into = format!("{SCHEMA}.sentinel (epoch, g, nonce)");
    let sql = insert(session, &into, &format!("{epoch}, {g}, {nonce}"));
    write(session, "write a sentinel", &sql, deadline).await.into()
}

/// The newest sentinels that are committed here, oldest first.
pub async fn read_sentinels(session: &mut Session, deadline: Deadline) -> Result<Vec<Sentinel>, ReadError> {
    let sql = format!(
        "SELECT epoch, g, nonce FROM (SELECT * FROM {SCHEMA}.sentinel ORDER BY id DESC \
         LIMIT {ROWS_KEPT}) AS newest ORDER BY id"
    );
    let sets = session.ask("read the sentinels", &sql, deadline).await?;
    sets.iter()
        .flatten()
        .map(|row| {
            Ok(Sentinel {
                epoch: Epoch(row.parse("epoch", "a number")?),
                g: SyncGeneration(row.parse("g", "a number")?),
                nonce: row.parse("nonce", "a number")?,
            })
        })
        .collect()
}

/// Commits the mark of an opening. Call it between read_only off and the gate, so that it takes the
/// first number: nothing else is written before it, but for the schema where there is none yet. It waits
/// for its ack as any commit does.
pub async fn write_opening(session: &mut Session, mark: Opening, deadline: Deadline) -> Outcome {
    mark_opening(session, mark, deadline).await.into()
}

async fn mark_opening(session: &mut Session, mark: Opening, deadline: Deadline) -> Result<(), Stop> {
    let sql = mark_row(session, mark);
    match session.ask("mark the opening", &sql, deadline).await {
        Err(error) if error.code().is_some_and(|code| NO_SCHEMA.contains(&code)) => {
            refuse_when_read_only(session, deadline).await?;
            create(session, deadline).await?;
            write(session, "mark the opening", &sql, deadline).await
        }
        Err(error) if error.code() == Some(READ_ONLY) => Err(Refusal::ReadOnly.into()),
        other => written(&other?),
    }
}

fn mark_row(session: &Session, mark: Opening) -> String {
    let Opening { epoch, life, nonce } = mark;
    let into = format!("{SCHEMA}.opening (epoch, life, nonce)");
    insert(session, &into, &format!("{epoch}, {}, {nonce}", life.0))
}

/// [`write_opening`], and in the same transaction, so under the same number, the row of kine's gap: its revision
/// is returned. None is left where there is no such table, nor when an opening of this epoch is marked already: K3s
/// may count by its gap, and a second one would stop every watch for as long as filling it takes.
///
/// After `Refused` and `Failed` neither row is there.
pub async fn write_opening_and_gap(
    session: &mut Session,
    mark: Opening,
    gap: &KineGap,
    deadline: Deadline,
) -> Outcome<Option<u64>> {
    mark_and_gap(session, mark, gap, deadline).await.into()
}

async fn mark_and_gap(
    session: &mut Session,
    mark: Opening,
    gap: &KineGap,
    deadline: Deadline,
) -> Result<Option<u64>, Stop> {
    let ask = format!("SELECT COUNT(*) AS marks FROM {SCHEMA}.opening WHERE epoch = {}", mark.epoch);
    let marks: u64 = match session.ask("look for an opening of this epoch", &ask, deadline).await {
        Err(error) if error.code().is_some_and(|code| NO_SCHEMA.contains(&code)) => {
            refuse_when_read_only(session, deadline).await?;
            create(session, deadline).await?;
            0
        }
        other => crate::read::last_row(&other?, "a count")?.parse("marks", "a number")?,
    };
    let there = if marks == 0 { kine::kine(session, &gap.schema, deadline).await? } else { None };
    let Some(there) = there else {
        mark_opening(session, mark, deadline).await?;
        return Ok(None);
    };
    let (columns, values, id) = kine::gap_row(&gap.schema, gap.beyond.max(there.revision));
    let (gap_row, mark_row) = (insert(session, &columns, &values), mark_row(session, mark));
    let both = format!("START TRANSACTION; {gap_row}; {mark_row}; COMMIT");
    match session.ask("mark the opening, beyond kine's revisions", &both, deadline).await {
        Ok(sets) => written(&sets).map(|()| Some(id)),
        Err(error) => {
            if error.is_surely_not_done() {
                session.run("take it back", "ROLLBACK", deadline).await?;
            }
            if error.code() == Some(READ_ONLY) { Err(Refusal::ReadOnly.into()) } else { Err(error.into()) }
        }
    }
}

/// The newest mark of what `OPENING` answered.
pub(crate) fn opening(rows: &[Row]) -> Result<Option<OpeningMark>, ReadError> {
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(OpeningMark {
        epoch: Epoch(row.parse("epoch", "a number")?),
        life: ProcessStart(row.parse("life", "a number")?),
        nonce: row.parse("nonce", "a number")?,
        count: row.parse("marks", "a number")?,
        all: row.parse("all_nonces", "a number")?,
    }))
}

async fn write(
    session: &mut Session,
    doing: &'static str,
    sql: &str,
    deadline: Deadline,
) -> Result<(), Stop> {
    match session.ask(doing, sql, deadline).await {
        Err(error) if error.code() == Some(READ_ONLY) => Err(Refusal::ReadOnly.into()),
        other => written(&other?),
    }
}

/// The statement that writes one row. Where the account may write though the server is read only, the
/// statement itself asks, and says whether it wrote.
fn insert(session: &Session, into: &str, values: &str) -> String {
    let words = session.words();
    if !words.bypasses_read_only {
        return format!("INSERT INTO {into} VALUES ({values})");
    }
    let condition = words.writable;
    format!(
        "INSERT INTO {into} SELECT {values} FROM DUAL WHERE {condition}; \
         SELECT ROW_COUNT() AS written"
    )
}

/// What a statement that asks told; all others are believed by their return.
fn written(sets: &[Vec<Row>]) -> Result<(), Stop> {
    let told = sets.iter().flatten().find(|row| row.has("written"));
    match told.map(|row| row.parse::<i64>("written", "a number")).transpose()? {
        Some(rows) if rows < 1 => Err(Refusal::ReadOnly.into()),
        _ => Ok(()),
    }
}

/// Asked before statements that the server might not refuse to this account, or that are not sent when
/// there is nothing to do.
async fn refuse_when_read_only(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    let condition = session.words().writable;
    let ask = format!("SELECT {condition} AS writable");
    let sets = session.ask("look whether writes are taken", &ask, deadline).await?;
    let writable = crate::read::last_row(&sets, "whether writes are taken")?.flag("writable")?;
    if writable { Ok(()) } else { Err(Refusal::ReadOnly.into()) }
}
