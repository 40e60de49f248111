//! `twofold.yaml` version 1: what is written, every value with its place.
//!
//! Each type stands beside its reader. A field is `None` when it was not written, or when it was and
//! could not be read; the problem of the latter is recorded by then. Defaults and rules are not
//! here: `resolve` has them.

mod databases;
mod dns;
mod places;

use model::{GroupId, NodeId, PoolId, SiteId};

use crate::fields::{At, Fields, keyed, quoted};
use crate::name::{CheckId, ClusterName, DatabaseId};
use crate::problem::Problems;
use crate::scalar::{name, text, word};
use crate::tree::Node;

pub(crate) use databases::{AccountFile, DatabaseFile, FenceFile, GroupFile, ServerFile};
pub(crate) use dns::{
    BoundFile, CheckFile, HttpFile, MemberFile, NameFile, NameKind, PoolFile, PooledFile, ProbeFile,
    ProbeTlsFile, RecordFile, SoaFile, ZoneFile, is_server_name,
};
pub(crate) use places::{AuditFile, NodeFile, Profile, SiteFile, TimingFile, TlsFile};

/// A mapping from names, in the order written.
pub(crate) type Keyed<K, T> = Vec<(At<K>, T)>;

/// The whole file.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub cluster: Option<At<ClusterName>>,
    pub timing: Option<TimingFile>,
    pub data_dir: Option<At<String>>,
    pub audit: Option<AuditFile>,
    pub tls: Option<TlsFile>,
    pub sites: Option<At<Keyed<SiteId, SiteFile>>>,
    pub nodes: Option<At<Keyed<NodeId, NodeFile>>>,
    pub databases: Keyed<DatabaseId, DatabaseFile>,
    pub groups: Keyed<GroupId, GroupFile>,
    pub zone: Option<ZoneFile>,
    /// A zone was written, be it readable or not.
    pub zone_written: bool,
    pub pools: Keyed<PoolId, PoolFile>,
    pub checks: Keyed<CheckId, CheckFile>,
    pub names: Keyed<String, NameFile>,
}

impl ConfigFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        fields.required("version", "1", version);
        let file = Self {
            cluster: fields.required("cluster", "NAME", name),
            timing: section(&mut fields, "timing", TimingFile::read),
            data_dir: fields.optional("data-dir", text),
            audit: section(&mut fields, "audit", AuditFile::read),
            tls: section(&mut fields, "tls", TlsFile::read),
            sites: fields.required("sites", "{pdc: {role: data}, …}", |node, problems| {
                keyed(node, problems, SiteFile::read)
            }),
            nodes: fields.required("nodes", "{pdc-1: {site: pdc, address: …}, …}", |node, problems| {
                keyed(node, problems, NodeFile::read)
            }),
            databases: section(&mut fields, "databases", |n, p| keyed(n, p, DatabaseFile::read))
                .unwrap_or_default(),
            groups: section(&mut fields, "groups", |n, p| keyed(n, p, GroupFile::read)).unwrap_or_default(),
            zone_written: fields.key_place("zone").is_some(),
            zone: section(&mut fields, "zone", ZoneFile::read),
            pools: section(&mut fields, "pools", |n, p| keyed(n, p, PoolFile::read)).unwrap_or_default(),
            checks: section(&mut fields, "checks", |n, p| keyed(n, p, CheckFile::read)).unwrap_or_default(),
            names: section(&mut fields, "names", |n, p| keyed(n, p, NameFile::read)).unwrap_or_default(),
        };
        fields.close();
        Some(file)
    }
}

/// A part that may be absent and keeps its own places.
pub(crate) fn section<T>(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    read: crate::fields::Read<T>,
) -> Option<T> {
    fields.describe(key, read, crate::schema::Need::Optional);
    let node = fields.node(key)?;
    read(node, fields.problems)
}

fn version(node: &Node, problems: &mut Problems) -> Option<()> {
    if problems.describes(node, || serde_json::json!({ "const": 1 })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    if text == "1" {
        return Some(());
    }
    problems.add(
        &node.place,
        format!("version {} is not known", quoted(text)),
        "write `version: 1`, or use the twofold that this file was written for",
    );
    None
}
