//! The configuration that the cluster agreed on, by generation. What its text means is not known here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{Generation, GroupId, WallTime};
use serde::{Deserialize, Serialize};

use crate::GroupSpec;

/// The longest text of one generation, bytes: five hundred times a usual one, and with the envelope of a
/// log entry well under what Raft takes.
pub const CONFIG_TEXT_MAX: usize = 256 * 1024;
/// Generations remembered besides the current one.
pub const GENERATIONS_MAX: usize = 32;
/// Bytes of text remembered besides the current one's; the oldest go first, the last one stays. A
/// snapshot of the state holds them all and has to fit into one message.
pub const GENERATIONS_BYTES_MAX: usize = 1024 * 1024;

/// A text that is shared by all who hold it: the state is cloned at every entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ConfigText(Arc<str>);

/// What one generation is, and who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configured {
    /// Its number; the first is 1.
    pub generation: Generation,
    /// The file as it was given.
    pub text: ConfigText,
    /// What differs from the one before, in words.
    pub changes: Vec<String>,
    /// The generation whose text it took up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<Generation>,
    /// Who.
    pub by: String,
    /// Why, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When.
    pub at: WallTime,
}

/// The current one and those before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configurations {
    /// In force; none until a leader proposed the first.
    pub current: Option<Configured>,
    /// Oldest first, bounded.
    pub earlier: VecDeque<Configured>,
}

/// A new generation as it is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewConfiguration {
    /// The generation that it was compared with; refused when another one is in force by then.
    pub expect: Generation,
    /// As in [`Configured`].
    pub text: ConfigText,
    /// As in [`Configured`].
    pub changes: Vec<String>,
    /// As in [`Configured`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<Generation>,
    /// All groups in it and their servers.
    pub groups: BTreeMap<GroupId, GroupSpec>,
    /// As in [`Configured`].
    pub by: String,
    /// As in [`Configured`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Configurations {
    /// The number in force; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.current.as_ref().map_or(Generation(0), |c| c.generation)
    }

    /// One that is still remembered.
    #[must_use]
    pub fn get(&self, generation: Generation) -> Option<&Configured> {
        self.current.iter().chain(&self.earlier).find(|c| c.generation == generation)
    }

    /// Puts `next` in force.
    pub(crate) fn succeed(&mut self, next: Configured) {
        assert!(next.generation > self.generation(), "a generation never goes down");
        self.earlier.extend(self.current.replace(next));
        let bytes = |all: &VecDeque<Configured>| all.iter().map(|c| c.text.as_str().len()).sum::<usize>();
        while self.earlier.len() > GENERATIONS_MAX
            || (self.earlier.len() > 1 && bytes(&self.earlier) > GENERATIONS_BYTES_MAX)
        {
            self.earlier.pop_front();
        }
    }
}

impl ConfigText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ConfigText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for ConfigText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<ConfigText> for String {
    fn from(text: ConfigText) -> Self {
        text.0.as_ref().to_owned()
    }
}
