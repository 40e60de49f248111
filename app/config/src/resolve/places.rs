//! Sites and nodes: who votes, and whether a majority survives; and which sockets are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use model::{NodeId, SiteId};

use crate::config::{Node, Role, Site};
use crate::fields::{At, quoted, suggest};
use crate::problem::Problems;
use crate::tree::Place;
use crate::v1::{ConfigFile, Keyed, NodeFile, SiteFile};

/// Raft, renewals and orders to guards, unless the file says otherwise.
const PEER_PORT: u16 = 7400;

/// The HTTP API, unless the file says otherwise.
const API_PORT: u16 = 7443;

/// The DNS, unless the file says otherwise.
const DNS_PORT: u16 = 53;

/// Names that the folder of certificates needs for itself.
const RESERVED: [&str; 2] = ["ca", "client"];

/// The sites as declared, for references and counts.
pub(crate) struct Sites<'f> {
    written: &'f [(At<SiteId>, SiteFile)],
    place: Option<&'f Place>,
}

impl<'f> Sites<'f> {
    pub fn of(file: &'f ConfigFile) -> Self {
        Self {
            written: file.sites.as_ref().map_or(&[], |at| at.value.as_slice()),
            place: file.sites.as_ref().map(|at| &at.place),
        }
    }

    /// All sites; the two data sites and the witness are counted here.
    pub fn resolve(&self, problems: &mut Problems) -> Option<BTreeMap<SiteId, Site>> {
        let place = self.place?;
        self.count(place, problems);
        let mut sites = BTreeMap::new();
        for (id, site) in self.written {
            let id = id.value.clone();
            sites.insert(id.clone(), Site { id, role: site.role.as_ref()?.value });
        }
        Some(sites)
    }

    fn count(&self, place: &Place, problems: &mut Problems) {
        if self.written.iter().any(|(_, site)| site.role.is_none()) {
            return;
        }
        let data: Vec<&At<SiteId>> = self.named(Role::Data).collect();
        match data.len() {
            0 | 1 => problems.add(
                place,
                format!("there are {} sites with role data, two are wanted", data.len()),
                "give the site that serves and the one that takes over `role: data`",
            ),
            2 => {}
            _ => problems.add(
                &data[2].place,
                format!("site {} is a third with role data, two are wanted", quoted(data[2].value.as_str())),
                "make it `burst` if it holds pool members only, `witness` if it votes only",
            ),
        }
        if let Some(second) = self.named(Role::Witness).nth(1) {
            problems.add(
                &second.place,
                format!("site {} is a second witness", quoted(second.value.as_str())),
                "keep one; it may hold more than one node",
            );
        }
    }

    fn named(&self, role: Role) -> impl Iterator<Item = &'f At<SiteId>> {
        let with_role = move |site: &SiteFile| site.role.as_ref().is_some_and(|at| at.value == role);
        self.written.iter().filter(move |(_, site)| with_role(site)).map(|(id, _)| id)
    }

    /// The data sites in the order written.
    pub fn data(&self) -> impl Iterator<Item = &'f SiteId> {
        self.named(Role::Data).map(|at| &at.value)
    }

    /// There is a witness, so that failover may be automatic.
    pub fn has_witness(&self) -> bool {
        self.named(Role::Witness).next().is_some()
    }

    /// There are two data sites and no second witness, so that rules over them make sense.
    pub fn counted(&self) -> bool {
        self.written.iter().all(|(_, site)| site.role.is_some())
            && self.named(Role::Data).count() == 2
            && self.named(Role::Witness).count() <= 1
    }

    /// The site that is referred to, if it has one of `roles`. A site whose own role is unreadable
    /// passes: its problem is recorded.
    pub fn refer(
        &self,
        at: &At<SiteId>,
        what: &str,
        roles: &[Role],
        hint: &str,
        problems: &mut Problems,
    ) -> Option<SiteId> {
        let Some((_, site)) = self.written.iter().find(|(id, _)| id.value == at.value) else {
            let names = self.written.iter().map(|(id, _)| id.value.as_str());
            problems.add(
                &at.place,
                format!("site {} is not there", quoted(at.value.as_str())),
                suggest(at.value.as_str(), names),
            );
            return None;
        };
        let role = site.role.as_ref()?.value;
        if !roles.contains(&role) {
            problems.add(
                &at.place,
                format!("{what} may not stand in site {}, whose role is {role}", quoted(at.value.as_str())),
                hint,
            );
            return None;
        }
        Some(at.value.clone())
    }
}

/// Every address and port that something listens on, and every name that has a certificate.
#[derive(Default)]
pub(crate) struct Sockets {
    taken: BTreeMap<(IpAddr, u16), String>,
    certified: BTreeMap<String, &'static str>,
}

impl Sockets {
    /// Takes a socket for `what`.
    pub fn claim(&mut self, socket: SocketAddr, what: String, place: &Place, problems: &mut Problems) {
        match self.taken.get(&(socket.ip(), socket.port())) {
            Some(earlier) => problems.add(
                place,
                format!("{socket} is taken by {earlier}"),
                "give each its own address or port",
            ),
            None => {
                self.taken.insert((socket.ip(), socket.port()), what);
            }
        }
    }

    /// Takes a certificate's name for a `kind` of process.
    pub fn certify(&mut self, name: &str, kind: &'static str, place: &Place, problems: &mut Problems) {
        if RESERVED.contains(&name) {
            problems.add(
                place,
                format!("{kind} may not be called {}, which names a certificate of its own", quoted(name)),
                "rename it",
            );
        } else if let Some(earlier) = self.certified.insert(name.to_owned(), kind) {
            problems.add(
                place,
                format!("{kind} {} has the name of a {earlier}", quoted(name)),
                "rename one: their certificates are told apart by it",
            );
        }
    }
}

/// All nodes; the votes are counted here.
pub(crate) fn nodes(
    file: &ConfigFile,
    sites: &Sites<'_>,
    sockets: &mut Sockets,
    problems: &mut Problems,
) -> BTreeMap<NodeId, Node> {
    let mut nodes = BTreeMap::new();
    let Some(written) = &file.nodes else { return nodes };
    // Within TLS a certificate is shown.
    let shows = file.zone.as_ref().is_some_and(|zone| zone.tls.is_some());
    for (id, node) in &written.value {
        sockets.certify(id.value.as_str(), "node", &id.place, problems);
        if let Some(node) = self::node(id, node, shows, sites, sockets, problems) {
            nodes.insert(id.value.clone(), node);
        }
    }
    if nodes.len() == written.value.len() && sites.counted() {
        count_votes(&written.value, &written.place, &nodes, sites, problems);
    }
    nodes
}

fn node(
    id: &At<NodeId>,
    node: &NodeFile,
    shows: bool,
    sites: &Sites<'_>,
    sockets: &mut Sockets,
    problems: &mut Problems,
) -> Option<Node> {
    let site = node.site.as_ref().and_then(|site| {
        let hint = "nodes vote, and burst sites hold pool members only; put it elsewhere";
        sites.refer(site, "a node", &[Role::Data, Role::Witness], hint, problems)
    });
    let At { value: address, place } = node.address.as_ref()?;
    let name = id.value.as_str();
    let peer_port = super::or(&node.peer_port, PEER_PORT);
    let api_port = super::or(&node.api_port, API_PORT);
    let port_place = |port: &Option<At<u16>>| port.as_ref().map_or(place, |at| &at.place).clone();
    let peer_place = port_place(&node.peer_port);
    sockets.claim(
        SocketAddr::new(*address, peer_port),
        format!("the peer port of node {name:?}"),
        &peer_place,
        problems,
    );
    let api_place = port_place(&node.api_port);
    sockets.claim(
        SocketAddr::new(*address, api_port),
        format!("the API of node {name:?}"),
        &api_place,
        problems,
    );
    let dns: Vec<SocketAddr> = match &node.dns {
        Some(listeners) => {
            let claim = |listener| {
                claim_listener(listener, *address, format!("the DNS of node {name:?}"), sockets, problems)
            };
            listeners.value.iter().map(claim).collect()
        }
        None => {
            let socket = SocketAddr::new(*address, DNS_PORT);
            sockets.claim(socket, format!("the DNS of node {name:?}"), place, problems);
            vec![socket]
        }
    };
    let mut dns_tls = Vec::new();
    for listener in node.dns_tls.iter().flat_map(|listeners| &listeners.value) {
        let whose = format!("the DNS over TLS of node {name:?}");
        dns_tls.push(claim_listener(listener, *address, whose, sockets, problems));
        if !shows {
            problems.add(
                &listener.place,
                "no certificate is shown there",
                "add `tls: {certificate: FILE, key: FILE}` under zone",
            );
        }
    }
    Some(Node { id: id.value.clone(), site: site?, address: *address, peer_port, api_port, dns, dns_tls })
}

/// A wildcard listens on the node's own address among others.
fn claim_listener(
    listener: &At<SocketAddr>,
    address: IpAddr,
    whose: String,
    sockets: &mut Sockets,
    problems: &mut Problems,
) -> SocketAddr {
    let ip = if listener.value.ip().is_unspecified() { address } else { listener.value.ip() };
    sockets.claim(SocketAddr::new(ip, listener.value.port()), whose, &listener.place, problems);
    listener.value
}

fn count_votes(
    written: &Keyed<NodeId, NodeFile>,
    place: &Place,
    nodes: &BTreeMap<NodeId, Node>,
    sites: &Sites<'_>,
    problems: &mut Problems,
) {
    let voting: Vec<&At<SiteId>> = sites.named(Role::Data).chain(sites.named(Role::Witness)).collect();
    let in_site = |site: &SiteId| nodes.values().filter(|node| node.site == *site).count();
    let empty: BTreeSet<&SiteId> =
        voting.iter().map(|at| &at.value).filter(|site| in_site(site) == 0).collect();
    for at in voting.iter().filter(|at| empty.contains(&at.value)) {
        problems.add(
            &at.place,
            format!("site {} has no node", quoted(at.value.as_str())),
            format!("add one under nodes with `site: {}`", at.value),
        );
    }
    // Without a witness no majority survives the larger half; that is manual mode (DESIGN §2).
    if !empty.is_empty() || !sites.has_witness() {
        return;
    }
    let votes = written.len();
    let majority = votes / 2 + 1;
    if votes.is_multiple_of(2) {
        problems.add(
            place,
            format!("{votes} nodes vote, and an even number survives no more losses than {}", votes - 1),
            "add or remove one; 2 + 2 + 1 is usual",
        );
        return;
    }
    for at in voting {
        let left = votes - in_site(&at.value);
        if left < majority {
            problems.add(
                &at.place,
                format!(
                    "without site {} only {left} of {votes} votes are left, and a majority is {majority}",
                    quoted(at.value.as_str())
                ),
                "spread the nodes, as in 2 + 2 + 1",
            );
        }
    }
}
