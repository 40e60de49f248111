//! Accounts of a database server that may undo what twofold proves of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rights of an account that are written out in a line; an account with every right has some twenty.
const RIGHTS_SHOWN: usize = 5;

/// What a guard knows of its server's accounts, in the life that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "are")]
pub enum AccountsReading {
    /// Not looked at yet; they are within seconds.
    Awaited,
    /// The guard's account may not read them, or they do not come.
    Unreadable,
    /// They were looked at.
    Read {
        /// Those that clients elsewhere may log in as, and that hold too much; a bounded number.
        privileged: Vec<PrivilegedAccount>,
        /// So many more.
        more: u32,
    },
}

/// One account and what it holds too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PrivilegedAccount {
    /// `user@host`, as the server writes both.
    pub account: String,
    /// Names of the rights, its own and those of its roles.
    pub rights: Vec<String>,
}

impl fmt::Display for PrivilegedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.rights[..self.rights.len().min(RIGHTS_SHOWN)];
        write!(f, "{}: {}", self.account, shown.join(", "))?;
        match self.rights.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
