//! Names that only the configuration knows, and names of the DNS.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use model::{GroupId, IdError};

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
                // One rule for every name of ours; `model` has it.
                text.parse::<GroupId>()?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

label!(
    /// The cluster; it stands in every certificate and in every node's store.
    ClusterName
);
label!(
    /// A set of database servers that replicate from one another.
    DatabaseId
);
label!(
    /// A check that members are probed with.
    CheckId
);

/// A domain name: absolute, lower case, with its final dot. At most 255 octets on the wire and 63 a
/// label (RFC 1035 §2.3.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

/// Why a text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Nothing, or nothing between two dots.
    #[error("name {0:?} has an empty label")]
    EmptyLabel(String),
    /// A label of more than 63 characters.
    #[error("name {0:?} has a label longer than 63 characters")]
    LongLabel(String),
    /// More than 255 octets on the wire.
    #[error("name {0:?} is longer than 253 characters")]
    Long(String),
    /// A character outside letters, digits, `-` and `_`, a hyphen at an end, or a `*` that is not the whole first label.
    #[error("name {0:?} may hold only letters, digits, inner hyphens, underscores and a leading *")]
    Character(String),
}

impl DnsName {
    /// The name with its final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `text`; without a final dot it is relative to `origin`, and `@` is the origin itself
    /// (RFC 1035 §5.1).
    ///
    /// # Errors
    /// [`DnsNameError`] says what a name may not hold.
    pub fn relative(text: &str, origin: &DnsName) -> Result<DnsName, DnsNameError> {
        if text == "@" {
            Ok(origin.clone())
        } else if text.ends_with('.') {
            text.parse()
        } else {
            let joined = if origin.as_str() == "." { format!("{text}.") } else { format!("{text}.{origin}") };
            joined.parse()
        }
    }

    /// Whether this name is `zone` or stands beneath it.
    pub fn is_within(&self, zone: &DnsName) -> bool {
        zone.as_str() == "."
            || self == zone
            || self.0.strip_suffix(zone.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The name without its first label; `None` of the root.
    pub fn parent(&self) -> Option<DnsName> {
        match self.0.split_once('.') {
            Some(("", _)) | None => None,
            Some((_, "")) => Some(DnsName(".".into())),
            Some((_, rest)) => Some(DnsName(rest.into())),
        }
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        if text == "." {
            return Ok(Self(text.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        // On the wire a name takes one octet more than its text, and one for the root.
        if name.len() > 253 {
            return Err(DnsNameError::Long(text.to_owned()));
        }
        for (at, label) in name.split('.').enumerate() {
            check_label(label, at == 0).map_err(|refuse| refuse(text.to_owned()))?;
        }
        Ok(Self(format!("{}.", name.to_ascii_lowercase()).into()))
    }
}

fn check_label(label: &str, first: bool) -> Result<(), fn(String) -> DnsNameError> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if label.is_empty() {
        Err(DnsNameError::EmptyLabel)
    } else if label.len() > 63 {
        Err(DnsNameError::LongLabel)
    } else if first && label == "*" {
        Ok(())
    } else if !label.bytes().all(inner) || label.starts_with('-') || label.ends_with('-') {
        Err(DnsNameError::Character)
    } else {
        Ok(())
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
