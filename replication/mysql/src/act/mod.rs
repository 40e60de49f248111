//! The acts: each is idempotent, tried once, ends by its deadline and says what is known of it.

pub(crate) mod client;
pub(crate) mod clone;
pub(crate) mod promote;
pub(crate) mod read_only;
pub(crate) mod replica;
pub(crate) mod schema;
pub(crate) mod semi_sync;
pub(crate) mod stop;

use crate::outcome::Refusal;

/// A switch of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// ON.
    On,
    /// OFF.
    Off,
}

impl Switch {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Switch::On => "ON",
            Switch::Off => "OFF",
        }
    }
}

/// `text` as a string literal. Quotes and backslashes are refused, not escaped: the server's
/// NO_BACKSLASH_ESCAPES mode would change what an escape means.
pub(crate) fn literal(what: &'static str, text: &str) -> Result<String, Refusal> {
    if text.contains(['\'', '\\', '\0']) {
        return Err(Refusal::Text {
            what,
            text: if what == "password" { "…".to_owned() } else { text.to_owned() },
        });
    }
    Ok(format!("'{text}'"))
}
