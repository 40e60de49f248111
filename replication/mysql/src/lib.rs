//! The MySQL and MariaDB adapter: reads one server, and performs acts on it.
//!
//! ```text
//! guard, executor ──► Session ──► mysqld          read()  -> DatabaseReading
//!                     MysqldProcess ──► its pid    act     -> Outcome
//! ```
//!
//! Invariants:
//! - Every call ends by its [`Deadline`]. A connection whose call did not end is closed and never
//!   asked again, so no answer is ever taken for another statement's (DESIGN §4).
//! - Every act is idempotent and says what is known of it: done, refused, surely not done, or
//!   unknown ([`Outcome`]). `super_read_only` is believed by the return of its `SET` only.
//! - Nothing here switches semi-sync off on its way to something else, restarts a receiver that was
//!   stopped, or resets a channel whose relay log is not drained, unless the caller says so.
//!
//! - What differs between flavours and versions stands in one table (`dialect.rs`); acts know no flavour.
//!
//! Deliberately absent: epochs, leases, latches, the gate, choosing a candidate, retries. The guard
//! and the executor hold those; an act is tried once.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod act;
mod copy;
mod deadline;
mod dialect;
mod endpoint;
mod errant;
mod error_log;
mod grants;
mod kine;
mod long;
mod outcome;
mod position;
mod process;
mod read;
mod relay_log;
mod rescue;
mod row;
mod session;

pub use accounts::{PRIVILEGED_RIGHTS, PrivilegedRight, accounts};
pub use act::Switch;
pub use act::client::{KilledSessions, SessionInfo, SessionKind, client_sessions, kill_client_sessions};
pub use act::clone::{CloneProgress, Donor, clone_from, clone_progress};
pub use act::promote::{Promoted, leave_source, promote};
pub use act::read_only::{drain_writes, set_offline_mode, set_super_read_only};
pub use act::replica::{
    Channel, RelayLog, Source, SourceTls, change_password, follow, gather, point_at_source, start_applier,
    start_receiver, start_replica, stop_io_thread, stop_replica, wait_applied, wait_drained,
};
pub use act::schema::{
    Opening, SCHEMA, Sentinel, ensure_schema, read_sentinels, write_opening, write_opening_and_gap,
    write_sentinel,
};
pub use act::semi_sync::{
    arm_source_semi_sync, disarm_source_semi_sync, replica_semi_sync, semi_sync_reading,
};
pub use copy::{
    Backup, CopyError, CopyPlace, DonorStates, Exchange, Exchanged, Receiving, Sending, Standing, exchange,
    mark_copy, prepare, settle, stand_still, still_stands,
};
pub use deadline::Deadline;
pub use dialect::{Dialect, UnknownVersion, Version};
pub use endpoint::{Address, Endpoint, Tls};
pub use errant::{errant, extra_transactions};
pub use error_log::{Ending, Life, how_it_ended, lives};
pub use grants::{
    ACTS, ActGrants, MARIADB_GRANTS, ROLE, grant_statements, grants, kine_grant_statement,
    mariadb_grant_statements, replication_grant_statement,
};
pub use kine::{KineGap, kine};
pub use long::long_transactions;
pub use outcome::{ActError, Outcome, Refusal};
pub use position::{PositionError, UnknownState};
pub use process::{MysqldProcess, ProcessError, ServerFiles};
pub use read::{ReadError, read};
pub use rescue::{Rescue, RescueError, Saved, save_extra_transactions};
pub use session::{ConnectError, Session, SqlError};
