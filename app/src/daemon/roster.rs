//! Node names and the numbers Raft knows them by. A number is a hash of the name, so adding or
//! removing a node never renumbers the others.

use std::collections::BTreeMap;

use app_config::Config;
use app_link::Endpoint;
use model::{NodeId, SiteId};

/// See the module.
#[derive(Debug, Clone)]
pub struct Roster {
    by_number: BTreeMap<u64, NodeId>,
    sites: BTreeMap<NodeId, SiteId>,
}

impl Roster {
    /// The voters of the configuration.
    pub fn new(config: &Config) -> Self {
        let by_number: BTreeMap<u64, NodeId> =
            config.nodes().keys().map(|n| (number_of(n.as_str()), n.clone())).collect();
        assert_eq!(by_number.len(), config.nodes().len(), "two node names have one number: rename one");
        let sites = config.nodes().values().map(|n| (n.id.clone(), n.site.clone())).collect();
        Self { by_number, sites }
    }

    /// All numbers, ascending.
    pub fn voters(&self) -> Vec<u64> {
        self.by_number.keys().copied().collect()
    }

    /// The number of a node.
    pub fn number(&self, node: &NodeId) -> Option<u64> {
        self.by_number.iter().find(|(_, n)| *n == node).map(|(number, _)| *number)
    }

    /// The node of a number.
    pub fn node(&self, number: u64) -> Option<&NodeId> {
        self.by_number.get(&number)
    }

    /// The endpoint of a number.
    pub fn endpoint(&self, number: u64) -> Option<Endpoint> {
        self.node(number).cloned().map(Endpoint::Node)
    }

    /// The site of a node.
    pub fn site(&self, node: &NodeId) -> Option<&SiteId> {
        self.sites.get(node)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.sites.keys()
    }
}

/// FNV-1a, 32 bit, never zero: Raft's "nobody".
fn number_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    u64::from(hash.max(1))
}
