//! From what is written to what is meant: defaults, references, rules.
//!
//! Each part is resolved even where another has problems, so that all of them are found; a
//! [`Config`] comes out only if there were none. A rule that compares several values is held only
//! where all of them could be read, so that no problem breeds another.

mod databases;
mod names;
mod places;
mod records;
mod timing;
mod zone;

use std::path::{Path, PathBuf};

use crate::config::{AuditLimits, Config, Tls};
use crate::fields::At;
use crate::problem::Problems;
use crate::v1::{AuditFile, ConfigFile, TlsFile};

pub(crate) use names::SHARE_DEFAULT;

/// Where nodes keep their stores, unless the file says otherwise.
const DATA_DIR: &str = "/var/lib/twofold";

/// Some ten thousand events, which a page of the API skims in a moment.
const AUDIT_SEGMENT_MIB: u64 = 4;

/// A quarter of a gigabyte with the above: many years of a quiet cluster.
const AUDIT_SEGMENTS: u64 = 64;

/// The CA's certificate, beside the file.
const TLS_CA: &str = "pki/ca.pem";

/// The folder of certificates and keys, beside the file.
const TLS_DIR: &str = "pki";

/// What the file means; `None` if a part of it is missing, whose problem is recorded.
pub(crate) fn resolve(file: &ConfigFile, folder: &Path, problems: &mut Problems) -> Option<Config> {
    let timing = timing::resolve(file.timing.as_ref(), problems);
    let sites = places::Sites::of(file);
    let site_map = sites.resolve(problems);
    let mut sockets = places::Sockets::default();
    let nodes = places::nodes(file, &sites, &mut sockets, problems);
    let databases = databases::databases(file, &sites, folder, &mut sockets, problems);
    let groups = databases::groups(file, &sites, &databases, timing, problems);
    let zone = zone::resolve(file, &nodes, folder, problems);
    let checks = names::checks(file, folder, problems);
    let pools = names::pools(file, &sites, problems);
    let names = names::names(file, &sites, &databases, zone.as_ref(), problems);
    Some(Config {
        cluster: file.cluster.as_ref()?.value.clone(),
        timing: timing?,
        data_dir: path(file.data_dir.as_ref(), DATA_DIR, folder),
        audit: audit(file.audit.as_ref()),
        tls: tls(file.tls.as_ref(), folder),
        sites: site_map?,
        nodes,
        databases,
        groups,
        zone,
        pools,
        checks,
        names,
    })
}

/// A path of the file, relative ones joined to its folder.
fn path(written: Option<&At<String>>, default: &str, folder: &Path) -> PathBuf {
    folder.join(written.map_or(default, |at| at.value.as_str()))
}

fn audit(written: Option<&AuditFile>) -> AuditLimits {
    let mib = written.and_then(|audit| audit.segment_mib.as_ref()).map_or(AUDIT_SEGMENT_MIB, |at| at.value);
    let segments = written.and_then(|audit| audit.segments.as_ref()).map_or(AUDIT_SEGMENTS, |at| at.value);
    // The reader bounds both.
    AuditLimits { segment_bytes: mib << 20, segments: usize::try_from(segments).unwrap_or(usize::MAX) }
}

fn tls(written: Option<&TlsFile>, folder: &Path) -> Tls {
    Tls {
        ca: path(written.and_then(|tls| tls.ca.as_ref()), TLS_CA, folder),
        dir: path(written.and_then(|tls| tls.dir.as_ref()), TLS_DIR, folder),
    }
}

/// The value where one was written, the default elsewhere.
fn or<T: Copy>(written: &Option<At<T>>, default: T) -> T {
    written.as_ref().map_or(default, |at| at.value)
}
