//! The places of the simulated world and their names: three sites with five nodes and two to four
//! database hosts, and an outside where clients live. Everything else in this crate counts them by index.

use model::{GroupId, NodeId, ServerId, ServerUuid, SiteId};

use crate::options::Sites;

/// Microseconds of true time since the start of a run. Hosts have clocks of their own.
pub type Time = u64;

/// Microseconds in a second.
pub const SECOND: Time = 1_000_000;
/// Microseconds in a millisecond.
pub const MS: Time = 1_000;

/// The primary datacentre.
pub const PDC: usize = 0;
/// The other datacentre.
pub const MDC: usize = 1;
/// The witness's place.
pub const WIT: usize = 2;
/// Where clients outside of all sites are.
pub const OUTSIDE: usize = 3;
/// Number of places, the outside included.
pub const PLACES: usize = 4;

/// Most nodes of a run; endpoint numbers below it are nodes.
pub const NODES: usize = 5;
/// Most database hosts of a run; endpoint `NODES + h` is the guard of host `h`.
pub const HOSTS: usize = 4;
/// The site of each node.
pub const NODE_SITES: [usize; NODES] = [PDC, PDC, MDC, MDC, WIT];
/// The site of each database host.
pub const HOST_SITES: [usize; HOSTS] = [PDC, MDC, PDC, MDC];

/// How many database hosts there are in a seed's run: two in half of them, three in a quarter (two of them in
/// the first site), two a site in the rest.
pub fn hosts_of(seed: u64) -> usize {
    match seed / 8 % 4 {
        2 => 3,
        3 => 4,
        _ => 2,
    }
}

/// How many nodes there are in a seed's run: the witness is the last. Without it both sites have two nodes mostly,
/// so that neither is a quorum, and the second has one in every third seed, where the first is.
pub fn nodes_of(seed: u64, sites: Sites) -> usize {
    match sites {
        Sites::WithWitness => NODES,
        Sites::Two if seed.is_multiple_of(3) => NODES - 2,
        Sites::Two => NODES - 1,
    }
}

/// A process that sends and receives messages: a node, or the guard of a host.
pub type Endpoint = usize;

/// The place of an endpoint.
pub fn place_of(endpoint: Endpoint) -> usize {
    if endpoint < NODES { NODE_SITES[endpoint] } else { HOST_SITES[endpoint - NODES] }
}

/// Names as the cores want them, made once.
#[derive(Debug, Clone)]
pub struct Names {
    /// The one protection group.
    pub group: GroupId,
    /// `pdc`, `mdc`, `wit`.
    pub sites: Vec<SiteId>,
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// The database servers.
    pub servers: Vec<ServerId>,
    /// Their identities.
    pub uuids: Vec<ServerUuid>,
}

impl Names {
    /// The names.
    pub fn new() -> Self {
        fn all<T: std::str::FromStr>(texts: &[&str]) -> Vec<T> {
            texts.iter().filter_map(|t| t.parse().ok()).collect()
        }
        let names = Self {
            group: "shop".parse().expect("a name"),
            sites: all(&["pdc", "mdc", "wit"]),
            nodes: all(&["pdc-1", "pdc-2", "mdc-1", "mdc-2", "wit-1"]),
            servers: all(&["pdc-db", "mdc-db", "pdc-db-2", "mdc-db-2"]),
            uuids: all(&[
                "aaaaaaaa-0000-0000-0000-000000000001",
                "bbbbbbbb-0000-0000-0000-000000000002",
                "aaaaaaaa-0000-0000-0000-000000000003",
                "bbbbbbbb-0000-0000-0000-000000000004",
            ]),
        };
        assert!(names.nodes.len() == NODES && names.uuids.len() == HOSTS, "every name is well formed");
        names
    }

    /// The host of a server.
    pub fn host(&self, server: &ServerId) -> Option<usize> {
        self.servers.iter().position(|s| s == server)
    }
}
