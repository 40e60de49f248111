//! Every name served, in one table: what exists, what it holds, where authority ends.
//!
//! A query is looked up by its whole name first; on a miss its ancestors are tried from the longest, and
//! the first that exists is the closest encloser (RFC 4592 §3.3.1), which tells everything else: its zone,
//! its wildcard, the delegation it lies under. Empty non-terminals are nodes without records
//! (RFC 8020 §2), so nothing below is needed to know them.
//!
//! Invariants: every node lies in the deepest zone that covers its name; a node's ancestors up to its
//! zone's apex are nodes; a CNAME's target is resolved when the table is built, so that a query hashes
//! its own name only, and the names that a DNAME makes of it.
//!
//! Deliberately absent: what virtual names answer at the moment (`steering`), DNSSEC.

mod build;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::name::parent;
use crate::rrset::{Glue, Rrset};
use crate::{Name, RecordType};

pub(crate) use build::build;

/// Most CNAMEs and DNAMEs followed for one answer. Real chains have one or two; resolvers give up at 8 to 16.
/// Longer ones and loops are told when the table is built; what is answered of them ends here.
pub const CHAIN_MAX: usize = 8;

pub(crate) type NodeId = u32;
pub(crate) type ZoneId = u32;
pub(crate) type CutId = u32;
pub(crate) type RenameId = u32;
/// Index of a virtual name.
pub(crate) type SteeringId = u32;

/// All zones, by name.
#[derive(Debug)]
pub(crate) struct Table {
    index: HashMap<Name, NodeId, BuildHasherDefault<NameHasher>>,
    nodes: Vec<Node>,
    zones: Vec<Zone>,
    cuts: Vec<Cut>,
    renames: Vec<Rename>,
}

/// One name that exists.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) zone: ZoneId,
    /// The node of `*.` below this name.
    wildcard: Option<NodeId>,
    /// The delegation that this name is at or below.
    pub(crate) cut: Option<CutId>,
    /// The DNAME that this name is at or below.
    renamed: Option<RenameId>,
    /// Static records, by ascending type; the CNAME too.
    pub(crate) rrsets: Box<[Rrset]>,
    /// Where the node's CNAME leads, when it holds one.
    pub(crate) target: Option<Found>,
    /// Set when A and AAAA are steered.
    pub(crate) steering: Option<SteeringId>,
}

/// What the parent's side of a zone cut is asked for: the DS stands there (RFC 4035 §3.1.4.1).
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) zone: ZoneId,
    /// A delegation of the parent's that lies above: whoever is asked for what is below it refers to it.
    pub(crate) cut: Option<CutId>,
    pub(crate) ds: Option<Rrset>,
}

/// What negative answers of a zone need, and what is asked of the one above.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) apex: Name,
    /// The SOA with the TTL of RFC 2308 §5.
    pub(crate) negative: Rrset,
    /// The zone above it, where that is served here too.
    pub(crate) parent: Option<Parent>,
}

/// A delegation.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) owner: Name,
    node: NodeId,
    pub(crate) name_servers: Rrset,
    pub(crate) glue: Glue,
}

/// A DNAME, RFC 6672: whatever lies below its owner lies below its target.
#[derive(Debug)]
pub(crate) struct Rename {
    pub(crate) node: NodeId,
    pub(crate) owner_length: u16,
    pub(crate) dname: Rrset,
}

/// What a name turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It exists, or a wildcard stands for it. It may be the owner of a delegation.
    Node(NodeId),
    /// It lies below a delegation.
    Below(CutId),
    /// It lies below a DNAME.
    Renamed(RenameId),
    /// It does not exist in the zone.
    Missing(ZoneId),
    /// No zone here covers it.
    Outside,
}

impl Table {
    /// Looks a folded wire name up.
    pub(crate) fn find(&self, wire: &[u8]) -> Found {
        if let Some(&id) = self.index.get(wire) {
            let node = self.node(id);
            return match (node.cut, node.renamed) {
                (Some(cut), _) if self.cut(cut).node != id => Found::Below(cut),
                (_, Some(rename)) if self.rename(rename).node != id => Found::Renamed(rename),
                _ => Found::Node(id),
            };
        }
        let mut rest = wire;
        while let Some(up) = parent(rest) {
            if let Some(&id) = self.index.get(up) {
                let encloser = self.node(id);
                return match (encloser.cut, encloser.renamed, encloser.wildcard) {
                    (Some(cut), _, _) => Found::Below(cut),
                    (None, Some(rename), _) => Found::Renamed(rename),
                    (None, None, Some(wildcard)) => Found::Node(wildcard),
                    (None, None, None) => Found::Missing(encloser.zone),
                };
            }
            rest = up;
        }
        Found::Outside
    }

    /// The same, as far as it lies in the zone of what leads there. Chains end where they leave their zone, though the other
    /// one be served here too: resolvers believe no more of an answer than is its zone's, and ask again (RFC 2181 §5.4.1).
    pub(crate) fn follow(&self, wire: &[u8], zone: ZoneId) -> Found {
        let found = self.find(wire);
        let lies_in = match found {
            Found::Node(id) => self.node(id).zone,
            Found::Below(cut) => self.node(self.cut(cut).node).zone,
            Found::Renamed(rename) => self.node(self.rename(rename).node).zone,
            Found::Missing(zone) => zone,
            Found::Outside => return Found::Outside,
        };
        if lies_in == zone { found } else { Found::Outside }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(crate) fn zone(&self, id: ZoneId) -> &Zone {
        &self.zones[id as usize]
    }

    pub(crate) fn cut(&self, id: CutId) -> &Cut {
        &self.cuts[id as usize]
    }

    pub(crate) fn rename(&self, id: RenameId) -> &Rename {
        &self.renames[id as usize]
    }

    pub(crate) fn names(&self) -> usize {
        self.nodes.len()
    }
}

impl Node {
    /// The static records of one type.
    pub(crate) fn rrset(&self, record_type: RecordType) -> Option<&Rrset> {
        self.rrsets.iter().find(|r| r.record_type() == record_type)
    }
}

/// Hashes names eight octets at a time. The table's keys come from the configuration, so a client can
/// make collisions no longer than the configuration did; a keyed hash would buy nothing.
#[derive(Debug, Default)]
pub(crate) struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(32);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.add(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut last = [0u8; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        let x = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        x ^ (x >> 32)
    }
}
