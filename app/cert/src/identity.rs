//! Who a certificate says its holder is.

use std::fmt;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The last label of the name that carries an identity. It is no public domain, nor does it need to
/// resolve.
const SUFFIX: &str = "twofold";

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Runs `twofold serve`.
    Node,
    /// Runs `twofold guard` beside a database server.
    Guard,
    /// Speaks to the API: the command line, a pipeline.
    Client,
}

/// Who holds a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What it is.
    pub kind: Kind,
    /// The node's, server's or client's name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: String,
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no X.509 certificate.
    #[error("the certificate cannot be parsed")]
    Unreadable,
    /// No subject alternative name has the form `NAME.KIND.CLUSTER.twofold`.
    #[error(
        "the certificate has no name of the form NAME.KIND.CLUSTER.twofold; issue one with `twofold cert`"
    )]
    Unnamed,
    /// More than one has.
    #[error("the certificate names more than one holder; issue one for each with `twofold cert`")]
    Ambiguous,
}

/// Reads the holder out of a certificate in DER. The certificate's own truth, its chain and its
/// time, is the handshake's to check.
///
/// # Errors
/// [`IdentityError`] says why it names nobody.
pub fn identity(der: &[u8]) -> Result<Identity, IdentityError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Unreadable)?;
    if !rest.is_empty() {
        return Err(IdentityError::Unreadable);
    }
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut found = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Identity::of_dns_name(name),
        _ => None,
    });
    let first = found.next().ok_or(IdentityError::Unnamed)?;
    if found.next().is_some() { Err(IdentityError::Ambiguous) } else { Ok(first) }
}

impl Identity {
    /// The name that carries it: `NAME.KIND.CLUSTER.twofold`.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.{}.{SUFFIX}", self.name, self.kind, self.cluster)
    }

    fn of_dns_name(name: &str) -> Option<Self> {
        let labels: Vec<&str> = name.split('.').collect();
        let [name, kind, cluster, SUFFIX] = labels.as_slice() else { return None };
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == *kind)?;
        if name.is_empty() || cluster.is_empty() {
            return None;
        }
        Some(Self { kind, name: (*name).to_owned(), cluster: (*cluster).to_owned() })
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Node, Kind::Guard, Kind::Client];

    /// The word for it, as certificates carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Guard => "guard",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `node "pdc-1" of cluster "retail"`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of cluster {:?}", self.kind, self.name, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_from_its_name() {
        for kind in Kind::ALL {
            let holder = Identity { kind, name: "pdc-1".to_owned(), cluster: "retail".to_owned() };
            assert_eq!(Identity::of_dns_name(&holder.dns_name()), Some(holder));
        }
    }

    #[test]
    fn other_names_are_no_identity() {
        for name in [
            "pdc-1",
            "pdc-1.node.retail",
            "a.b.node.retail.twofold",
            "x.peer.retail.twofold",
            ".node.r.twofold",
        ] {
            assert_eq!(Identity::of_dns_name(name), None, "{name}");
        }
        assert_eq!(identity(b"garbage"), Err(IdentityError::Unreadable));
        assert_eq!(identity(b""), Err(IdentityError::Unreadable));
    }
}
