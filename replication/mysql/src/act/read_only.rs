//! Shutting a server to writes and opening it.

use std::time::Duration;

use model::GtidSet;

use crate::act::Switch;
use crate::act::replica::look;
use crate::deadline::Deadline;
use crate::outcome::{Outcome, Stop};
use crate::session::Session;

/// Sets `super_read_only`, and with it `read_only`; off sets `read_only` off, which takes both. On MariaDB
/// it is `read_only`, which binds whoever has no READ_ONLY ADMIN.
///
/// `On` blocks behind running statements and behind commits that wait for a semi-sync ack, while the
/// variable already reads 1 (on MariaDB 0); `lock_wait_timeout` bounds it (whole seconds, at least one), and only
/// the statement's own return is believed: `Failed` with 1205 means that the server takes writes
/// again. `Unknown` means nothing at all; the ladder goes on (DESIGN §4).
pub async fn set_super_read_only(session: &mut Session, to: Switch, deadline: Deadline) -> Outcome {
    shut_or_open(session, to, deadline).await.into()
}

async fn shut_or_open(session: &mut Session, to: Switch, deadline: Deadline) -> Result<(), Stop> {
    let sql = match to {
        Switch::On => {
            let seconds = whole_seconds(deadline.left());
            let bound = format!("SET SESSION lock_wait_timeout = {seconds}");
            session.run("bound the wait for super_read_only", &bound, deadline).await?;
            // A statement of its own: its return, and nothing else's, is what is believed.
            session.words().shut
        }
        Switch::Off => "SET GLOBAL read_only = OFF",
    };
    Ok(session.run("set super_read_only", sql, deadline).await?)
}

/// Takes writes from everybody, as [`set_super_read_only`] does, and gives `gtid_executed` behind that: with
/// the return of the `SET` no commit is under way, so nothing is added to it.
pub async fn drain_writes(session: &mut Session, deadline: Deadline) -> Outcome<GtidSet> {
    async {
        shut_or_open(session, Switch::On, deadline).await?;
        Ok(look(session, deadline).await?.executed)
    }
    .await
    .into()
}

/// Sets `offline_mode` (MySQL only): on, sessions without CONNECTION_ADMIN are ended and none is let in. It
/// returns at once and releases no commit that waits for an ack.
pub async fn set_offline_mode(session: &mut Session, to: Switch, deadline: Deadline) -> Outcome {
    let sql = format!("SET GLOBAL offline_mode = {}", to.word());
    session.run("set offline_mode", &sql, deadline).await.map_err(Stop::from).into()
}

/// `lock_wait_timeout` knows whole seconds only and no zero.
pub(crate) fn whole_seconds(left: Duration) -> u64 {
    left.as_secs().max(1)
}
