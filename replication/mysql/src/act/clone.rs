//! Rebuilding a server from another by the CLONE plugin.

use std::net::SocketAddr;

use crate::act::literal;
use crate::act::replica::run;
use crate::act::stop::stop_replication;
use crate::deadline::Deadline;
use crate::outcome::{ActError, Outcome, Refusal, Stop};
use crate::session::{Session, SqlError};

/// Whom to copy. Same release series, clone plugin loaded, an account with BACKUP_ADMIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Donor {
    /// Where it listens for replication.
    pub address: SocketAddr,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// PEM file, on the recipient's host, of who signed the donor's certificate: the copy is encrypted then, and
    /// refused from a donor that nobody in it signed. CLONE does not compare the donor's name with its
    /// certificate (MySQL Reference Manual, `clone_ssl_ca`).
    pub ca: Option<String>,
}

/// ER_RESTART_SERVER_FAILED: cloned, and "mysqld is not managed by supervisor process", so it ends
/// itself and must be started again (exit code 16).
const RESTART: u16 = 3707;

/// Throws away this server's data and takes the donor's. **Everything here is lost**: save extra
/// transactions first.
///
/// `Done` means that the copy is complete and the server ends itself; start it again. It keeps its
/// server_uuid, loses its binary logs, and **brings the donor's channel along**: before replication
/// starts, `point_at_source` with [`RelayLog::Reset`](crate::RelayLog::Reset). `Unknown` (the
/// connection ended first) is resolved by gtid_executed after the restart. The session is of no use
/// afterwards.
pub async fn clone_from(session: &mut Session, donor: &Donor, deadline: Deadline) -> Outcome {
    steps(session, donor, deadline).await.into()
}

/// How far a CLONE has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneProgress {
    /// Bytes that have arrived.
    pub bytes: u64,
    /// Bytes that are expected; an estimate of the donor's.
    pub expected: u64,
    /// All have arrived; they are put on the disk, and the server restarts.
    pub copied: bool,
}

/// How far the clone that is under way on this server has come (MySQL Reference Manual, "The clone_progress Table"). None
/// where nothing is counted: performance_schema is off, or none is under way.
pub async fn clone_progress(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Option<CloneProgress>, SqlError> {
    let sets = session.ask("read the clone's progress", CLONE_PROGRESS, deadline).await?;
    let mut all = CloneProgress { bytes: 0, expected: 0, copied: true };
    for row in sets.last().map_or(&[][..], Vec::as_slice) {
        let number = |column| row.parse::<u64>(column, "a number of bytes").unwrap_or_default();
        all.bytes += number("data");
        all.expected += number("estimate");
        all.copied &= row.text("state").is_ok_and(|state| state == "Completed");
    }
    Ok((all.expected > 0).then_some(all))
}

/// The stages that move data; the others count none. A table that is left from an earlier clone shows all as completed.
const CLONE_PROGRESS: &str = "SELECT STATE AS state, DATA AS data, ESTIMATE AS estimate \
    FROM performance_schema.clone_progress WHERE STAGE IN ('FILE COPY', 'PAGE COPY', 'REDO COPY')";

async fn steps(session: &mut Session, donor: &Donor, deadline: Deadline) -> Result<(), Stop> {
    if !session.words().clones {
        return Err(Refusal::NoClone.into());
    }
    let (host, port) = (donor.address.ip(), donor.address.port());
    let user = literal("user", &donor.user)?;
    let password = literal("password", &donor.password)?;
    let ca = literal("authority file", donor.ca.as_deref().unwrap_or_default())?;
    let tls = if donor.ca.is_some() { "REQUIRE SSL" } else { "REQUIRE NO SSL" };
    stop_replication(session, deadline).await?;
    // CLONE is refused under super_read_only (1290) and works under read_only, which is kept: no
    // account without CONNECTION_ADMIN gets to write in between.
    let prepare = format!(
        "SET GLOBAL clone_valid_donor_list = '{host}:{port}', GLOBAL clone_ssl_ca = {ca}, \
         GLOBAL read_only = ON, GLOBAL super_read_only = OFF"
    );
    run(session, "prepare to clone", &prepare, deadline).await?;
    let sql = format!("CLONE INSTANCE FROM {user}@'{host}':{port} IDENTIFIED BY {password} {tls}");
    match session.run("clone", &sql, deadline).await {
        Err(SqlError::Server { code: RESTART, .. }) => Ok(()),
        // Under a supervisor that the server knows, it restarts itself and the connection ends.
        Err(error @ SqlError::Connection { .. }) => Err(Stop::Unknown(error.into())),
        Err(error) => {
            // It may have failed before or after the data was dropped. Shut the server again; when
            // that fails too, the first error is the one to tell.
            let _ = run(session, "shut the server again", "SET GLOBAL super_read_only = ON", deadline).await;
            Err(Stop::Unknown(error.into()))
        }
        Ok(()) => Err(Stop::Unknown(ActError::StillRuns)),
    }
}
