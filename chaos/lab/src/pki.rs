//! Certificates of what the cluster serves, beside the cluster's own: each kind has a CA of its own, since the
//! cluster's says who may speak in the cluster.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// A lab lives for hours; past the check's warning of 14 days nothing is told of its certificates.
const LIFE: Duration = Duration::from_secs(90 * 86_400);

/// For hosts whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(3_600);

/// Who signs.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// No key could be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = params(vec![], name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate for names and addresses.
    ///
    /// # Errors
    /// No key could be made, or a name is none.
    pub fn sign(&self, names: Vec<String>, subject: &str) -> anyhow::Result<Leaf> {
        let mut params = params(names, subject)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.0)?;
        Ok(Leaf { certificate: leaf.pem(), key: key.serialize_pem() })
    }
}

fn params(names: Vec<String>, subject: &str) -> anyhow::Result<CertificateParams> {
    let now = SystemTime::now();
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject);
    params.distinguished_name = name;
    (params.not_before, params.not_after) = ((now - BACKDATE).into(), (now + LIFE).into());
    Ok(params)
}

/// Writes a file that holds a key.
///
/// # Errors
/// The file.
pub fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.and_then(|mut f| f.write_all(text.as_bytes())).with_context(|| format!("file {path:?}"))
}
