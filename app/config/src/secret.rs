//! Where passwords come from. The file never holds one: it names a file or a variable, and the
//! caller, who may do I/O, looks it up.

use std::fmt;
use std::path::PathBuf;

/// Where a password is to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretSource {
    /// The contents of a file, without the line end at its end. Absolute, or relative to where the
    /// configuration's own folder was given from.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// An account of a database server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// Where its password is to be read.
    pub password: SecretSource,
}

/// An account with its password, ready to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// Its password.
    pub password: Password,
}

/// A password. It prints as stars, so that no log holds it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why an account has no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The source could not be read.
    #[error(
        "password of user {user:?} is not to be had from {from}: {why}; write it there or name another source"
    )]
    Unreadable {
        /// Whose password.
        user: String,
        /// Where it was looked for.
        from: SecretSource,
        /// What the lookup said.
        why: String,
    },
    /// The source holds nothing.
    #[error("password of user {user:?} from {from} is empty; write one there")]
    Empty {
        /// Whose password.
        user: String,
        /// Where it was looked for.
        from: SecretSource,
    },
}

impl Account {
    /// The account with its password, which `lookup` fetches from its source. One line end at the
    /// end of it is dropped, since editors leave one.
    ///
    /// # Errors
    /// [`SecretError`] names the source and what the lookup said.
    pub fn unlock(
        &self,
        lookup: impl FnOnce(&SecretSource) -> Result<String, String>,
    ) -> Result<Credentials, SecretError> {
        let (user, from) = (self.user.clone(), self.password.clone());
        let text = match lookup(&from) {
            Ok(text) => text,
            Err(why) => return Err(SecretError::Unreadable { user, from, why }),
        };
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(SecretError::Empty { user, from });
        }
        Ok(Credentials { user, password: Password(line.to_owned()) })
    }
}

impl Password {
    /// The password itself; for the connection alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "variable {name}"),
        }
    }
}
