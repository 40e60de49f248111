//! How one version of the server spells things.
//!
//! The table has room for MariaDB and for MySQL before 8.0.26; both are refused by name until the
//! adapter speaks them, since a half-understood server is worse than none.

use std::fmt;

/// A version as a numeric tuple, so that 8.0.9 comes before 8.0.26.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

/// First release with the source/replica words for semi-sync (release notes of 8.0.26).
const OLDEST: Version = Version(8, 0, 26);
/// First release where SHOW MASTER STATUS is gone (release notes of 8.4.0; the new form came with 8.2).
const BINARY_LOG_STATUS: Version = Version(8, 2, 0);

/// First release that was seen to cut a torn relay log at its start (docs/design/0008).
const CUTS_TORN_RELAY_LOGS: Version = Version(9, 0, 0);

/// Why a server's version cannot be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownVersion {
    /// No number at its head.
    #[error("server version {0:?} does not begin with three numbers")]
    Text(String),
    /// MySQL before the words this adapter uses.
    #[error("mysql {0} is older than {OLDEST}, the oldest this adapter speaks")]
    TooOld(Version),
    /// MariaDB.
    #[error("server version {0:?} is MariaDB, which this adapter does not speak")]
    MariaDb(String),
}

/// The spellings of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    version: Version,
}

impl Dialect {
    /// From `@@version`, such as `9.7.4-log` or `10.11.19-MariaDB-1`.
    pub fn of(text: &str) -> Result<Self, UnknownVersion> {
        if text.to_ascii_lowercase().contains("mariadb") {
            return Err(UnknownVersion::MariaDb(text.to_owned()));
        }
        let version = parse(text).ok_or_else(|| UnknownVersion::Text(text.to_owned()))?;
        if version < OLDEST { Err(UnknownVersion::TooOld(version)) } else { Ok(Self { version }) }
    }

    /// Its version.
    #[must_use]
    pub fn version(self) -> Version {
        self.version
    }

    /// Statement that shows the binary log's position.
    #[must_use]
    pub fn binary_log_status(self) -> &'static str {
        if self.version >= BINARY_LOG_STATUS { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
    }

    /// It cuts a torn relay log at the last whole transaction when it starts.
    #[must_use]
    pub fn cuts_torn_relay_logs(self) -> bool {
        self.version >= CUTS_TORN_RELAY_LOGS
    }

    /// Statement that forgets binary logs and GTIDs.
    #[must_use]
    pub fn reset_binary_logs(self) -> &'static str {
        if self.version >= BINARY_LOG_STATUS { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" }
    }
}

fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.splitn(3, '.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        digits.parse::<u32>().ok()
    });
    Some(Version(numbers.next()??, numbers.next()??, numbers.next()??))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers_and_not_as_text() {
        assert!(parse("8.0.9").unwrap() < parse("8.0.26-0ubuntu1").unwrap());
        assert_eq!(parse("9.7.4-log"), Some(Version(9, 7, 4)));
        assert_eq!(parse("nine"), None);
        assert_eq!(parse("8.0"), None);
    }

    #[test]
    fn each_version_is_spoken_to_in_its_own_words_or_refused() {
        assert_eq!(Dialect::of("8.0.36").unwrap().binary_log_status(), "SHOW MASTER STATUS");
        assert_eq!(Dialect::of("8.4.0").unwrap().binary_log_status(), "SHOW BINARY LOG STATUS");
        assert_eq!(Dialect::of("9.7.4-2").unwrap().reset_binary_logs(), "RESET BINARY LOGS AND GTIDS");
        assert_eq!(Dialect::of("8.0.25"), Err(UnknownVersion::TooOld(Version(8, 0, 25))));
        assert!(matches!(Dialect::of("10.11.19-MariaDB"), Err(UnknownVersion::MariaDb(_))));
    }
}
