//! Accounts by which a client could undo what is proven of a server (docs/design/0023). No new promise is made over
//! one; a promise that stands is kept, since an account is held by a person who may be needed.

use model::{AccountsReading, DatabaseReading};

use super::View;

/// Accounts that are written out; a configuration names each of them anyway.
const SHOWN_MAX: usize = 3;

/// What a person does about one.
pub(super) const NEXT: &str =
    "REVOKE the rights or DROP USER, or except the account in the configuration: privileged-accounts";

/// Those that hold too much and are not excepted; none where there are none, or nobody may look.
pub(super) fn privileged(view: &View, reading: &DatabaseReading) -> Option<String> {
    let Some(AccountsReading::Read { privileged, more }) = &reading.accounts else { return None };
    let excepted = &view.own.privileged_accounts;
    let left: Vec<_> = privileged.iter().filter(|found| !excepted.contains(&found.account)).collect();
    let mut told: Vec<String> = left.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    match usize::try_from(*more).unwrap_or(usize::MAX).saturating_add(left.len() - told.len()) {
        0 => {}
        1 => told.push("one account more".into()),
        rest => told.push(format!("{rest} accounts more")),
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// What stands against a promise made over this server. An older guard tells nothing, and one that may not
/// look tells so: neither holds up what went well before accounts were looked at.
pub(super) fn against(view: &View, reading: &DatabaseReading) -> Option<String> {
    if reading.accounts == Some(AccountsReading::Awaited) {
        return Some("its accounts have not been looked at yet".into());
    }
    let told = privileged(view, reading)?;
    Some(format!("a client could undo what is proven of it, as {told}: {NEXT}"))
}
