//! Node names and the numbers Raft knows them by. A number is a hash of the name, so adding or
//! removing a node never renumbers the others.
//!
//! A node that is in the configuration no more stays in the roster for as long as it is a member: what
//! takes its vote away is agreed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use app_config::Config;
use app_link::Endpoint;
use failover_raft::Members;
use model::{NodeId, SiteId};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    by_number: BTreeMap<u64, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    node: NodeId,
    site: SiteId,
    address: SocketAddr,
    /// It is in the configuration no more.
    leaving: bool,
}

impl Roster {
    /// The nodes of the configuration.
    ///
    /// # Errors
    /// When two names have one number.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut by_number: BTreeMap<u64, Entry> = BTreeMap::new();
        for node in config.nodes().values() {
            let entry = Entry {
                node: node.id.clone(),
                site: node.site.clone(),
                address: node.peer(),
                leaving: false,
            };
            if let Some(other) = by_number.insert(number_of(node.id.as_str()), entry) {
                return Err(format!(
                    "nodes {} and {} have one number in consensus; rename one",
                    other.node, node.id
                ));
            }
        }
        Ok(Self { by_number })
    }

    /// This one and, as leaving, whoever stood in `before` and is a member still.
    pub fn with_leaving(mut self, before: &Roster, members: &Members) -> Self {
        for (number, entry) in &before.by_number {
            if members.holds(*number) && !self.by_number.contains_key(number) {
                self.by_number.insert(*number, Entry { leaving: true, ..entry.clone() });
            }
        }
        self
    }

    /// This one without those that have left.
    pub fn without_left(&self, members: &Members) -> Self {
        let by_number = self
            .by_number
            .iter()
            .filter(|(number, entry)| !entry.leaving || members.holds(**number))
            .map(|(number, entry)| (*number, entry.clone()));
        Self { by_number: by_number.collect() }
    }

    /// The numbers of those in the configuration, ascending: who ought to vote.
    pub fn voters(&self) -> BTreeSet<u64> {
        self.by_number.iter().filter(|(_, e)| !e.leaving).map(|(number, _)| *number).collect()
    }

    /// Sites whose voters alone are a quorum: in a joint configuration, of both halves.
    pub fn alone(&self, members: &Members) -> BTreeSet<SiteId> {
        let sites = self.by_number.values().map(|e| &e.site);
        let there = |site: &SiteId, n: u64| self.by_number.get(&n).is_some_and(|e| e.site == *site);
        sites.filter(|s| members.suffice(|n| there(s, n))).cloned().collect()
    }

    /// The number of a node.
    pub fn number(&self, node: &NodeId) -> Option<u64> {
        self.by_number.iter().find(|(_, e)| e.node == *node).map(|(number, _)| *number)
    }

    /// The node of a number.
    pub fn node(&self, number: u64) -> Option<&NodeId> {
        self.by_number.get(&number).map(|e| &e.node)
    }

    /// The endpoint of a number.
    pub fn endpoint(&self, number: u64) -> Option<Endpoint> {
        self.node(number).cloned().map(Endpoint::Node)
    }

    /// The site of a node.
    pub fn site(&self, node: &NodeId) -> Option<&SiteId> {
        self.by_number.values().find(|e| e.node == *node).map(|e| &e.site)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.by_number.values().map(|e| &e.node)
    }

    /// Those that are in the configuration no more, with their sites.
    pub fn leaving(&self) -> impl Iterator<Item = (&NodeId, &SiteId)> {
        self.by_number.values().filter(|e| e.leaving).map(|e| (&e.node, &e.site))
    }

    /// Where each is reached.
    pub fn peers(&self) -> BTreeMap<NodeId, SocketAddr> {
        self.by_number.values().map(|e| (e.node.clone(), e.address)).collect()
    }
}

/// FNV-1a, 32 bit, never zero: Raft's "nobody".
pub fn number_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    u64::from(hash.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a site may be in `Sync` by itself only while its voters can decide alone, so the members count
    /// and not the file. Method: the smallest configuration, three sites of one node, by sets of voters.
    #[test]
    fn a_site_is_a_quorum_by_the_members_there_are() {
        let text = include_str!("../../config/testdata/smallest.yaml");
        let config = app_config::check(text, std::path::Path::new("/")).config.unwrap();
        let roster = Roster::new(&config).unwrap();
        let all = roster.voters();
        let west = BTreeSet::from([number_of("west-1")]);
        let alone = |voters: &BTreeSet<u64>, outgoing: &BTreeSet<u64>| {
            let members =
                Members { voters: voters.clone(), outgoing: outgoing.clone(), ..Members::default() };
            roster.alone(&members).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let none = BTreeSet::new();
        assert_eq!(alone(&all, &none), Vec::<String>::new(), "one of three");
        assert_eq!(alone(&west, &none), ["west"], "the only voter that is left");
        assert_eq!(alone(&west, &all), Vec::<String>::new(), "the outgoing half still has its say");
        assert_eq!(alone(&none, &none), Vec::<String>::new(), "nobody is known to vote");
    }

    #[test]
    fn who_leaves_stays_while_it_is_a_member() {
        let text = include_str!("../../config/testdata/smallest.yaml");
        let config = |text: &str| app_config::check(text, std::path::Path::new("/")).config.unwrap();
        let old = Roster::new(&config(text)).unwrap();
        let replaced = text
            .replace("west-1: {site: west, address: 192.0.2.2}", "west-2: {site: west, address: 192.0.2.22}");
        let members = Members { voters: old.voters(), ..Members::default() };
        let new = Roster::new(&config(&replaced)).unwrap().with_leaving(&old, &members);
        let gone = number_of("west-1");
        assert_eq!(new.node(gone).map(ToString::to_string).as_deref(), Some("west-1"));
        assert!(!new.voters().contains(&gone) && new.voters().contains(&number_of("west-2")));
        assert_eq!(new.leaving().count(), 1);
        let members = Members { voters: new.voters(), outgoing: old.voters(), ..Members::default() };
        assert_eq!(new.without_left(&members), new, "a joint configuration still counts it");
        let members = Members { voters: new.voters(), ..Members::default() };
        assert_eq!(new.without_left(&members).node(gone), None);
    }
}
