//! Makes the CA and the certificates that it signs.
//!
//! Keys are ECDSA on P-256, which every TLS library takes. Nothing is ever overwritten: a key that
//! was lost that way would take its process out of the cluster.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::CertError;
use crate::identity::{Identity, Kind};
use crate::role::dns_name;
use crate::trust::{certificates, read};

/// How long a CA lives, in days: ten years, longer than most hosts.
pub const CA_DAYS: u32 = 3650;

/// How long a certificate lives, in days: two years. `check` of a running cluster is to warn long before.
pub const LEAF_DAYS: u32 = 730;

/// Certificates begin this much in the past, for hosts whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Longest life that is taken: a hundred years. What lies beyond cannot be written in every encoding.
const DAYS_MAX: u32 = 36_500;

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate to be made.
#[derive(Debug, Clone)]
pub struct Request {
    /// For whom.
    pub holder: Identity,
    /// Addresses under which it is dialed, beside its name.
    pub addresses: Vec<IpAddr>,
    /// How many days it lives, [`LEAF_DAYS`] usually; never longer than its CA.
    pub days: u32,
    /// What it lets its holder do; nodes and guards have no role.
    pub role: Option<Role>,
}

/// The files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM, mode 0600.
    pub key: PathBuf,
}

/// Makes `ca.pem` and `ca.key` of `cluster` in `dir`, which is created if need be. `now` is when it
/// begins to be valid.
///
/// # Errors
/// [`CertError::Exists`] where either file is there; [`CertError::Name`]; [`CertError::Days`]; [`CertError::Write`].
pub fn create_ca(dir: &Path, cluster: &str, days: u32, now: SystemTime) -> Result<IssuedFiles, CertError> {
    check_name("cluster", cluster)?;
    check_days(days)?;
    let files = files(dir, "ca");
    files.must_be_absent()?;
    let holder = format!("CA of cluster {cluster:?}");
    let make = |source| CertError::Make { holder: holder.clone(), source };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cluster);
    params.distinguished_name.push(DnType::CommonName, format!("twofold CA of {cluster}"));
    // It signs processes only, never another CA (RFC 5280 §4.2.1.9).
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + DAY * days).into();
    let key = KeyPair::generate().map_err(make)?;
    let certificate = params.self_signed(&key).map_err(make)?;
    files.write(&certificate.pem(), &key.serialize_pem())?;
    Ok(files)
}

/// Makes `NAME.pem` and `NAME.key` in `out`, signed by the CA in `ca_dir`.
///
/// # Errors
/// [`CertError`] names the file and what is wrong with it; nothing is left behind then.
pub fn issue(
    ca_dir: &Path,
    out: &Path,
    request: &Request,
    now: SystemTime,
) -> Result<IssuedFiles, CertError> {
    let holder = &request.holder;
    check_name(holder.kind.as_str(), &holder.name)?;
    check_name("cluster", &holder.cluster)?;
    check_days(request.days)?;
    let files = files(out, &holder.name);
    files.must_be_absent()?;
    let ca = Ca::open(ca_dir, &holder.cluster, now)?;
    let make = |source| CertError::Make { holder: holder.to_string(), source };
    let mut names = vec![holder.name.clone(), holder.dns_name()];
    names.extend(request.role.map(|role| dns_name(role, &holder.cluster)));
    let mut params = CertificateParams::new(names).map_err(make)?;
    params.subject_alt_names.extend(request.addresses.iter().map(|address| SanType::IpAddress(*address)));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, holder.cluster.as_str());
    params.distinguished_name.push(DnType::CommonName, holder.name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match holder.kind {
        Kind::Node | Kind::Guard => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
        Kind::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + DAY * request.days).min(ca.until).into();
    let key = KeyPair::generate().map_err(make)?;
    let certificate = params.signed_by(&key, &ca.issuer).map_err(make)?;
    files.write(&certificate.pem(), &key.serialize_pem())?;
    Ok(files)
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    until: SystemTime,
}

impl Ca {
    fn open(dir: &Path, cluster: &str, now: SystemTime) -> Result<Self, CertError> {
        let files = files(dir, "ca");
        let path = files.certificate.clone();
        let not_pem = |path: &PathBuf, what| CertError::Pem { path: path.clone(), what };
        // A CA that is being replaced stands after its successor.
        let der = certificates(&path)?.into_iter().next().ok_or_else(|| not_pem(&path, "certificate"))?;
        let key = String::from_utf8(read(&files.key)?).map_err(|_| not_pem(&files.key, "key"))?;
        let key = KeyPair::from_pem(&key).map_err(|_| not_pem(&files.key, "key"))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| not_pem(&path, "certificate"))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(CertError::CaPair { certificate: path, key: files.key });
        }
        let found =
            parsed.subject().iter_organization().next().and_then(|name| name.as_str().ok()).unwrap_or("");
        if found != cluster {
            return Err(CertError::CaCluster { path, found: found.to_owned(), wanted: cluster.to_owned() });
        }
        let until = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let until = UNIX_EPOCH + Duration::from_secs(until);
        if until <= now {
            return Err(CertError::CaExpired { path });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|source| CertError::Make { holder: format!("CA of cluster {cluster:?}"), source })?;
        Ok(Self { issuer, until })
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), CertError> {
    // One rule for every name of ours; `model` has it.
    match name.parse::<model::NodeId>() {
        Ok(_) => Ok(()),
        Err(source) => Err(CertError::Name { what, name: name.to_owned(), source }),
    }
}

fn check_days(days: u32) -> Result<(), CertError> {
    if (1..=DAYS_MAX).contains(&days) { Ok(()) } else { Err(CertError::Days { days, most: DAYS_MAX }) }
}

fn files(dir: &Path, name: &str) -> IssuedFiles {
    IssuedFiles { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
}

impl IssuedFiles {
    fn must_be_absent(&self) -> Result<(), CertError> {
        for path in [&self.certificate, &self.key] {
            // A dangling link counts as there.
            if path.symlink_metadata().is_ok() {
                return Err(CertError::Exists { path: path.clone() });
            }
        }
        Ok(())
    }

    fn write(&self, certificate: &str, key: &str) -> Result<(), CertError> {
        if let Some(dir) = self.key.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|source| CertError::Write { path: dir.to_owned(), source })?;
        }
        write_new(&self.key, key, 0o600)?;
        write_new(&self.certificate, certificate, 0o644).inspect_err(|_| {
            // The key was made just now and is of no use alone; if it stays, the next run names it.
            let _ = std::fs::remove_file(&self.key);
        })
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => CertError::Exists { path: path.to_owned() },
        _ => CertError::Write { path: path.to_owned(), source },
    })
}
