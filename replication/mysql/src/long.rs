//! Transactions of clients that have been open for long: what keeps a server from being drained, and
//! what its clients would lose.
//!
//! Asked for on a session of its own and rarely: information_schema.INNODB_TRX looks at every
//! transaction there is (MySQL manual, "The INFORMATION_SCHEMA INNODB_TRX Table"; MariaDB has it too).

use model::LongTransaction;

use crate::act::client::{SessionKind, classify};
use crate::deadline::Deadline;
use crate::read::ReadError;
use crate::session::Session;

/// Open for longer than this is long, in seconds: a web request is over by then.
const LONG_SECONDS: u32 = 3;
/// The longest few are enough to know whom to ask.
const SHOWN_MAX: u32 = 8;
/// Bytes of a statement that are shown.
const STATEMENT_MAX: u32 = 80;

/// Finds them, the longest first. Those of replication, of this adapter and of the server itself are
/// nobody's business.
///
/// # Errors
/// When the server does not answer as it should.
pub async fn long_transactions(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Vec<LongTransaction>, ReadError> {
    let sql = format!(
        "SELECT trx_mysql_thread_id AS id, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS seconds, \
         LEFT(COALESCE(trx_query, ''), {STATEMENT_MAX}) AS statement FROM information_schema.INNODB_TRX \
         WHERE trx_started < NOW() - INTERVAL {LONG_SECONDS} SECOND ORDER BY trx_started LIMIT {SHOWN_MAX}; \
         SHOW PROCESSLIST"
    );
    let sets = session.ask("look for long transactions", &sql, deadline).await?;
    let [transactions, processes] = sets.as_slice() else {
        return Err(ReadError::Short { what: "two results" });
    };
    let mut clients = Vec::new();
    for process in processes {
        let info = classify(session, process)?;
        if info.kind == SessionKind::Client {
            clients.push(info);
        }
    }
    let mut found = Vec::new();
    for row in transactions {
        let id: u64 = row.parse("id", "a connection number")?;
        let Some(client) = clients.iter().find(|c| c.id == id) else { continue };
        let host = client.host.rsplit_once(':').map_or(client.host.as_str(), |(host, _)| host);
        found.push(LongTransaction {
            session: id,
            account: format!("{}@{host}", client.user),
            seconds: row.parse("seconds", "a number")?,
            statement: row.text("statement")?.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }
    Ok(found)
}
