//! Identities. Each is a newtype, so that a site is never passed where a server is wanted.
//!
//! A name is a DNS label: 1–63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or
//! digit. One rule for all of them keeps every name usable in a file name, a metric and a URL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing between the quotes.
    #[error("a name may not be empty")]
    Empty,
    /// More than 63 characters.
    #[error("name {0:?} is longer than 63 characters")]
    TooLong(String),
    /// A character outside `a-z`, `0-9`, `-`, or a hyphen at an end.
    #[error("name {0:?} may hold only a-z, 0-9 and inner hyphens")]
    Character(String),
    /// Not a UUID in its 8-4-4-4-12 form.
    #[error("{0:?} is not a uuid")]
    Uuid(String),
}

fn check_name(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > 63 {
        return Err(IdError::TooLong(text.to_owned()));
    }
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let bytes = text.as_bytes();
    let ends = bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-';
    if ends && bytes.iter().copied().all(inner) { Ok(()) } else { Err(IdError::Character(text.to_owned())) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check_name(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A datacentre, a witness place or a burst cloud.
    SiteId
);
name!(
    /// A process that runs `twofold serve`: voter, DNS server, prober.
    NodeId
);
name!(
    /// A database server by its configured name. It stays when the server is rebuilt.
    ServerId
);
name!(
    /// A protection group.
    GroupId
);
name!(
    /// A pool of endpoints.
    PoolId
);
name!(
    /// One endpoint of a pool.
    MemberId
);
name!(
    /// An API token, by the name it was issued under.
    TokenId
);

/// MySQL's `@@server_uuid`: the identity a lease is given to. Lower case, 8-4-4-4-12.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUuid(Arc<str>);

impl ServerUuid {
    /// The uuid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerUuid {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let lower = text.trim().to_ascii_lowercase();
        let groups: Vec<&str> = lower.split('-').collect();
        let lengths = [8, 4, 4, 4, 12];
        let shaped = groups.len() == lengths.len()
            && groups
                .iter()
                .zip(lengths)
                .all(|(g, n)| g.len() == n && g.bytes().all(|c| c.is_ascii_hexdigit()));
        if shaped { Ok(Self(lower.into())) } else { Err(IdError::Uuid(text.to_owned())) }
    }
}

impl TryFrom<String> for ServerUuid {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ServerUuid> for String {
    fn from(uuid: ServerUuid) -> String {
        uuid.0.as_ref().to_owned()
    }
}

impl fmt::Display for ServerUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One life of a database process on its host: the kernel's start time of the pid in clock ticks
/// since boot (proc(5), `starttime`) joined with the pid. Two lives never share it within a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessStart(pub u64);

impl fmt::Display for ProcessStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One boot of a host: `/proc/sys/kernel/random/boot_id` (random(4)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["pdc", "pdc-1", "0a", "a"] {
            assert_eq!(good.parse::<SiteId>().expect("valid").as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            assert!(bad.parse::<SiteId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_uuid_is_folded_to_lower_case_and_checked() {
        let uuid: ServerUuid = "3E11FA47-71CA-11E1-9E33-C80AA9429562".parse().expect("valid");
        assert_eq!(uuid.as_str(), "3e11fa47-71ca-11e1-9e33-c80aa9429562");
        assert!("3e11fa47-71ca-11e1-9e33".parse::<ServerUuid>().is_err());
    }
}
