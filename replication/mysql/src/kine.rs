//! K3s's objects in this server: the table `kine` of one schema, whose `AUTO_INCREMENT` is the revision that
//! every watch in the cluster counts by.
//!
//! A promotion that lost rows would give their revisions out again, and whoever had seen the first ones would
//! never know. So an unplanned one leaves a row far beyond all that may have been seen, in kine's own form of a
//! row that stands for nothing: named `gap-ID`, deleted (kine, `pkg/drivers/generic`, `Fill`). The counter of the
//! table is not raised by `ALTER`: a running kine fills such a gap one revision after the other.

use model::{KINE_GAP, KineReading};

use crate::act::schema::NO_SCHEMA;
use crate::deadline::Deadline;
use crate::read::{ReadError, last_row};
use crate::session::Session;

/// Its table.
const TABLE: &str = "kine";
/// What the row of a gap is called, but for its number.
const GAP_NAME: &str = "gap-";
/// Where kine's table is, and which revision it had reached elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KineGap {
    /// The schema.
    pub schema: String,
    /// No revision up to this one is given out again.
    pub beyond: u64,
}

/// How far it got; none where the schema has no such table yet.
///
/// # Errors
/// When the server does not answer as it should, or the account may not read it.
pub async fn kine(
    session: &mut Session,
    schema: &str,
    deadline: Deadline,
) -> Result<Option<KineReading>, ReadError> {
    let table = table(schema);
    let sql = format!(
        "SELECT COALESCE(MAX(id), 0) AS revision, (SELECT DATA_TYPE FROM information_schema.COLUMNS WHERE \
         TABLE_SCHEMA = '{schema}' AND TABLE_NAME = '{TABLE}' AND COLUMN_NAME = 'id') AS kind FROM {table}"
    );
    let sets = match session.ask("look for kine's newest revision", &sql, deadline).await {
        Err(error) if error.code().is_some_and(|code| NO_SCHEMA.contains(&code)) => return Ok(None),
        other => other?,
    };
    let row = last_row(&sets, "kine's newest revision")?;
    Ok(Some(KineReading {
        revision: row.parse("revision", "a number")?,
        wide: row.text("kind")?.eq_ignore_ascii_case("bigint"),
    }))
}

/// Where the gap's row goes, what it holds, and its revision.
pub(crate) fn gap_row(schema: &str, beyond: u64) -> (String, String, u64) {
    let id = beyond.saturating_add(KINE_GAP);
    let columns = "id, name, created, deleted, create_revision, prev_revision, lease, value, old_value";
    let values = format!("{id}, '{GAP_NAME}{id}', 0, 1, 0, 0, 0, NULL, NULL");
    (format!("{} ({columns})", table(schema)), values, id)
}

/// Its name in a statement. The configuration takes names of plain characters only.
fn table(schema: &str) -> String {
    format!("`{schema}`.{TABLE}")
}
