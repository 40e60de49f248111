//! What the holder of a client's certificate may do: a further name in it, beside its identity.

use model::Role;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The labels after a role's word: `ROLE.role.CLUSTER.twofold`.
const LABEL: &str = "role";
const SUFFIX: &str = "twofold";

/// The name that carries it.
pub(crate) fn dns_name(role: Role, cluster: &str) -> String {
    format!("{role}.{LABEL}.{cluster}.{SUFFIX}")
}

/// The role that a certificate in DER grants in `cluster`. One that names none, or more than one, or
/// cannot be read, grants the least. Its chain and time are the handshake's to check.
#[must_use]
pub fn role(der: &[u8], cluster: &str) -> Role {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Role::Viewer };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Role::Viewer };
    let mut granted = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => of_dns_name(name, cluster),
        _ => None,
    });
    match (granted.next(), granted.next()) {
        (Some(role), None) => role,
        _ => Role::Viewer,
    }
}

fn of_dns_name(name: &str, cluster: &str) -> Option<Role> {
    let labels: Vec<&str> = name.split('.').collect();
    let [role, LABEL, of, SUFFIX] = labels.as_slice() else { return None };
    if *of == cluster { role.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_from_its_name_in_its_cluster_alone() {
        for role in Role::ALL {
            assert_eq!(of_dns_name(&dns_name(role, "retail"), "retail"), Some(role));
            assert_eq!(of_dns_name(&dns_name(role, "retail"), "wholesale"), None);
        }
        for name in ["admin", "admin.role.retail", "root.role.retail.twofold", "x.admin.role.retail.twofold"]
        {
            assert_eq!(of_dns_name(name, "retail"), None, "{name}");
        }
        assert_eq!(role(b"garbage", "retail"), Role::Viewer);
    }
}
