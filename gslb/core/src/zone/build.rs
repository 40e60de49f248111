//! From zone specs to the table, with every problem found on the way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{CHAIN_MAX, Cut, Found, Node, NodeId, Parent, Rename, SteeringId, Table, Zone, ZoneId};
use crate::problem::SnapshotProblem as Problem;
use crate::rrset::{Glue, Rrset};
use crate::spec::{RecordSpec, ZoneSpec};
use crate::{Name, RecordType};

/// TTL and data of an RRset in the making.
struct Draft {
    ttl: u32,
    data: BTreeSet<Vec<u8>>,
}

type Drafts = BTreeMap<(ZoneId, Name), BTreeMap<RecordType, Draft>>;

/// Builds the table of `zones` with `names` as the virtual names, in their order. Problems are added to
/// `problems`; the table is only of use when there are none.
pub(crate) fn build(zones: &[ZoneSpec], names: &[Name], problems: &mut Vec<Problem>) -> Table {
    let apexes = index_zones(zones, problems);
    let mut drafts = Drafts::new();
    for (id, spec) in (0..).zip(zones) {
        draft_apex(id, spec, &mut drafts, problems);
        for record in &spec.records {
            draft_record(id, spec, record, &apexes, &mut drafts, problems);
        }
    }
    let steered = place_names(names, &apexes, &mut drafts, problems);
    let mut table = Table {
        index: HashMap::default(),
        nodes: Vec::new(),
        zones: zones.iter().map(zone).collect(),
        cuts: Vec::new(),
        renames: Vec::new(),
    };
    for ((zone, owner), rrsets) in drafts {
        add_node(&mut table, zone, &owner, rrsets, steered.get(&owner).copied(), problems);
    }
    link_wildcards(&mut table);
    link_cuts(&mut table, names, problems);
    link_renames(&mut table, names, problems);
    add_glue(&mut table);
    link_parents(&mut table, zones, &apexes);
    link_targets(&mut table, problems);
    table
}

fn index_zones(zones: &[ZoneSpec], problems: &mut Vec<Problem>) -> BTreeMap<Name, ZoneId> {
    let mut apexes = BTreeMap::new();
    for (id, spec) in (0..).zip(zones) {
        match apexes.entry(spec.apex.clone()) {
            Entry::Vacant(free) => {
                free.insert(id);
            }
            Entry::Occupied(_) => problems.push(Problem::ZoneTwice { apex: spec.apex.clone() }),
        }
        if spec.name_servers.is_empty() {
            problems.push(Problem::NoNameServer { apex: spec.apex.clone() });
        }
    }
    apexes
}

/// The deepest zone that covers `name`.
fn zone_of(name: &Name, apexes: &BTreeMap<Name, ZoneId>) -> Option<ZoneId> {
    let mut next = Some(name.clone());
    while let Some(at) = next {
        if let Some(id) = apexes.get(&at) {
            return Some(*id);
        }
        next = at.parent();
    }
    None
}

fn zone(spec: &ZoneSpec) -> Zone {
    // RFC 2308 §5: a negative answer lives for the smaller of the SOA's TTL and its MINIMUM.
    let negative = Rrset::soa(&spec.soa, spec.soa.ttl.min(spec.soa.minimum));
    Zone { apex: spec.apex.clone(), negative, parent: None }
}

fn draft_apex(id: ZoneId, spec: &ZoneSpec, drafts: &mut Drafts, problems: &mut Vec<Problem>) {
    let soa = Rrset::soa(&spec.soa, spec.soa.ttl);
    let soa = soa.data().next().expect("an SOA RRset has one record").to_vec();
    let key = (id, spec.apex.clone());
    add(drafts, key.clone(), RecordType::SOA, spec.soa.ttl, soa, problems);
    for server in &spec.name_servers {
        let data = server.wire().to_vec();
        add(drafts, key.clone(), RecordType::NS, spec.name_servers_ttl, data, problems);
    }
}

fn add(
    drafts: &mut Drafts,
    key: (ZoneId, Name),
    record_type: RecordType,
    ttl: u32,
    data: Vec<u8>,
    problems: &mut Vec<Problem>,
) {
    let owner = key.1.clone();
    let node = drafts.entry(key).or_default();
    let draft = node.entry(record_type).or_insert_with(|| Draft { ttl, data: BTreeSet::new() });
    if draft.ttl != ttl {
        let problem = Problem::Ttl { owner, record_type };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    // RFC 2181 §5: records alike in everything are one record.
    draft.data.insert(data);
}

fn draft_record(
    id: ZoneId,
    spec: &ZoneSpec,
    record: &RecordSpec,
    apexes: &BTreeMap<Name, ZoneId>,
    drafts: &mut Drafts,
    problems: &mut Vec<Problem>,
) {
    let RecordSpec { owner, record_type, ttl, data } = record;
    if !owner.is_at_or_below(&spec.apex) {
        problems.push(Problem::OutOfZone { owner: owner.clone(), apex: spec.apex.clone() });
        return;
    }
    if let Some(why) = refused_type(*record_type, owner.is_wildcard()) {
        problems.push(Problem::Type { owner: owner.clone(), record_type: *record_type, why });
        return;
    }
    if !well_formed(*record_type, &data.wire) {
        problems.push(Problem::Data { owner: owner.clone(), record_type: *record_type });
        return;
    }
    let deepest = zone_of(owner, apexes).expect("the owner is below an apex");
    let same = apexes.get(&spec.apex) == Some(&deepest);
    if !same {
        // A parent's delegation to a zone that is served here too: the child answers for itself.
        let delegates =
            matches!(*record_type, RecordType::NS | RecordType::DS | RecordType::A | RecordType::AAAA);
        if !delegates {
            let below = apexes.iter().find(|(_, z)| **z == deepest).expect("a zone has an apex").0.clone();
            problems.push(Problem::Occluded { owner: owner.clone(), record_type: *record_type, below });
        }
        return;
    }
    add(drafts, (id, owner.clone()), *record_type, *ttl, data.wire.clone(), problems);
}

fn refused_type(record_type: RecordType, wildcard: bool) -> Option<&'static str> {
    match record_type {
        RecordType::SOA => Some("the SOA is given by the zone itself"),
        RecordType::DNAME if wildcard => Some("a wildcard renames nothing (RFC 4592 §4.4)"),
        RecordType::NS if wildcard => Some("a wildcard cannot delegate (RFC 4592 §4.2)"),
        t if t.is_meta() => Some("this type is only asked for, never stored"),
        _ => None,
    }
}

/// Whether the data may be of its type, as far as answering depends on it.
fn well_formed(record_type: RecordType, wire: &[u8]) -> bool {
    match record_type {
        RecordType::A => wire.len() == 4,
        RecordType::AAAA => wire.len() == 16,
        RecordType::NS | RecordType::CNAME | RecordType::DNAME | RecordType::PTR => {
            Name::from_wire(wire).is_ok()
        }
        _ => wire.len() <= usize::from(u16::MAX),
    }
}

/// Makes sure each virtual name has a node, and tells which is whose.
fn place_names(
    names: &[Name],
    apexes: &BTreeMap<Name, ZoneId>,
    drafts: &mut Drafts,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Name, SteeringId> {
    let mut steered = BTreeMap::new();
    for (id, name) in (0..).zip(names) {
        let Some(zone) = zone_of(name, apexes) else {
            problems.push(Problem::NoZone { name: name.clone() });
            continue;
        };
        if steered.insert(name.clone(), id).is_some() {
            problems.push(Problem::NameTwice { name: name.clone() });
        }
        let node = drafts.entry((zone, name.clone())).or_default();
        for record_type in [RecordType::A, RecordType::AAAA] {
            if node.contains_key(&record_type) {
                problems.push(Problem::NameAlsoStatic { name: name.clone(), record_type });
            }
        }
    }
    steered
}

fn add_node(
    table: &mut Table,
    zone: ZoneId,
    owner: &Name,
    drafts: BTreeMap<RecordType, Draft>,
    steering: Option<SteeringId>,
    problems: &mut Vec<Problem>,
) {
    if let Some(cname) = drafts.get(&RecordType::CNAME) {
        // DNSSEC's own types may stand beside a CNAME (RFC 4034 §3, §4).
        let beside = |t: &RecordType| !matches!(*t, RecordType::CNAME | RecordType::RRSIG | RecordType::NSEC);
        if cname.data.len() > 1 || steering.is_some() || drafts.keys().any(beside) {
            problems.push(Problem::CnameNotAlone { owner: owner.clone() });
        }
    }
    if drafts.get(&RecordType::DNAME).is_some_and(|dname| dname.data.len() > 1) {
        problems.push(Problem::DnameTwice { owner: owner.clone() });
    }
    let mut rrsets = Vec::new();
    for (record_type, draft) in drafts {
        match Rrset::encode(record_type, draft.ttl, draft.data.iter().map(Vec::as_slice)) {
            Some(rrset) => rrsets.push(rrset),
            None => problems.push(Problem::TooLarge { owner: owner.clone(), record_type }),
        }
    }
    let id = node_at(table, zone, owner);
    let node = &mut table.nodes[id as usize];
    node.rrsets = rrsets.into();
    node.steering = steering;
}

/// The node of `owner`, made with all its ancestors up to the apex when it is not there yet.
fn node_at(table: &mut Table, zone: ZoneId, owner: &Name) -> NodeId {
    let apex = table.zones[zone as usize].apex.clone();
    let mut name = owner.clone();
    while !table.index.contains_key(&name) {
        let id = u32::try_from(table.nodes.len()).expect("fewer than 2³² names");
        table.nodes.push(Node {
            zone,
            wildcard: None,
            cut: None,
            renamed: None,
            rrsets: Box::default(),
            target: None,
            steering: None,
        });
        table.index.insert(name.clone(), id);
        if name == apex {
            break;
        }
        name = name.parent().expect("an owner is below its apex");
    }
    table.index[owner]
}

fn link_wildcards(table: &mut Table) {
    let wildcards: Vec<(Name, NodeId)> =
        table.index.iter().filter(|(n, _)| n.is_wildcard()).map(|(n, id)| (n.clone(), *id)).collect();
    for (name, id) in wildcards {
        let zone = table.node(id).zone;
        let parent = name.parent().expect("a wildcard has a parent");
        // The parent of a wildcard is in another zone only if the wildcard is itself an apex.
        if let Some(&parent) = table.index.get(&parent)
            && table.node(parent).zone == zone
        {
            table.nodes[parent as usize].wildcard = Some(id);
        }
    }
}

fn link_cuts(table: &mut Table, names: &[Name], problems: &mut Vec<Problem>) {
    let mut owners: Vec<(Name, NodeId)> = Vec::new();
    for (name, &id) in &table.index {
        let node = table.node(id);
        if table.zone(node.zone).apex != *name && node.rrset(RecordType::NS).is_some() {
            owners.push((name.clone(), id));
        }
    }
    // Shallow first, so that a delegation below another belongs to the upper one. Sorted, so that the
    // order of the hash table is never seen.
    owners.sort_by_key(|(name, _)| (name.label_count(), name.clone()));
    let mut cut_at = Places::new();
    for (owner, node) in owners {
        let zone = table.node(node).zone;
        if above(zone, &owner, &cut_at).is_some() {
            continue;
        }
        let id = u32::try_from(table.cuts.len()).expect("fewer than 2³² delegations");
        let name_servers = table.node(node).rrset(RecordType::NS).expect("an owner has NS").clone();
        table.cuts.push(Cut { owner: owner.clone(), node, name_servers, glue: Glue::default() });
        cut_at.insert((zone, owner), id);
    }
    if cut_at.is_empty() {
        return;
    }
    let all: BTreeMap<Name, NodeId> = table.index.iter().map(|(n, id)| (n.clone(), *id)).collect();
    for (name, id) in all {
        // A delegation ends at an apex that is served here.
        let Some(cut) = above(table.node(id).zone, &name, &cut_at) else { continue };
        let owner = table.cut(cut).owner.clone();
        table.nodes[id as usize].cut = Some(cut);
        for rrset in &table.node(id).rrsets {
            let delegates = matches!(
                rrset.record_type(),
                RecordType::NS | RecordType::DS | RecordType::A | RecordType::AAAA
            );
            if !delegates {
                let record_type = rrset.record_type();
                let problem = Problem::Occluded { owner: name.clone(), record_type, below: owner.clone() };
                problems.push(problem);
            }
        }
        if let Some(steering) = table.node(id).steering {
            problems.push(Problem::NameOccluded { name: names[steering as usize].clone(), below: owner });
        }
    }
}

/// Gives each delegation its glue, when all of them are known.
fn add_glue(table: &mut Table) {
    let glue: Vec<Glue> =
        table.cuts.iter().map(|cut| glue(table, &cut.name_servers, table.node(cut.node).zone)).collect();
    for (cut, glue) in table.cuts.iter_mut().zip(glue) {
        cut.glue = glue;
    }
}

/// Delegations or DNAMEs, each in its zone: what lies below one of the parent's may be a zone of its own here.
type Places = BTreeMap<(ZoneId, Name), u32>;

/// What stands in `places` at the zone's name or nearest above it.
fn above(zone: ZoneId, name: &Name, places: &Places) -> Option<u32> {
    let mut next = Some(name.clone());
    while let Some(at) = next {
        next = at.parent();
        if let Some(id) = places.get(&(zone, at)) {
            return Some(*id);
        }
    }
    None
}

/// What lies below a DNAME of its zone is hidden by it, delegations too. One that lies below a delegation says nothing.
fn link_renames(table: &mut Table, names: &[Name], problems: &mut Vec<Problem>) {
    let mut owners: Vec<(Name, NodeId)> = table
        .index
        .iter()
        .filter(|(_, id)| {
            table.node(**id).cut.is_none() && table.node(**id).rrset(RecordType::DNAME).is_some()
        })
        .map(|(name, id)| (name.clone(), *id))
        .collect();
    if owners.is_empty() {
        return;
    }
    owners.sort_by_key(|(name, _)| (name.label_count(), name.clone()));
    let mut rename_at = Places::new();
    for (owner, node) in owners {
        let zone = table.node(node).zone;
        if above(zone, &owner, &rename_at).is_some() {
            continue;
        }
        let id = u32::try_from(table.renames.len()).expect("fewer than 2³² DNAMEs");
        let dname = table.node(node).rrset(RecordType::DNAME).expect("an owner has one").clone();
        let owner_length = u16::try_from(owner.wire().len()).expect("a name is at most 255 octets");
        table.renames.push(Rename { node, owner_length, dname });
        rename_at.insert((zone, owner), id);
    }
    let all: BTreeMap<Name, NodeId> = table.index.iter().map(|(n, id)| (n.clone(), *id)).collect();
    for (name, id) in all {
        let Some(rename) = above(table.node(id).zone, &name, &rename_at) else { continue };
        let owner = table.rename(rename).node;
        table.nodes[id as usize].renamed = Some(rename);
        if id == owner {
            continue;
        }
        table.nodes[id as usize].cut = None;
        let below = rename_at.iter().find(|(_, r)| **r == rename).expect("it has a name").0.1.clone();
        for rrset in &table.node(id).rrsets {
            let record_type = rrset.record_type();
            problems.push(Problem::Occluded { owner: name.clone(), record_type, below: below.clone() });
        }
        if let Some(steering) = table.node(id).steering {
            problems.push(Problem::NameOccluded { name: names[steering as usize].clone(), below });
        }
    }
}

/// The addresses of the name servers that stand in the delegating zone, RFC 9471 §3. What another zone here has is that one's
/// to say.
fn glue(table: &Table, name_servers: &Rrset, zone: ZoneId) -> Glue {
    let mut glue = Glue::default();
    for wire in name_servers.data() {
        let server = Name::from_wire(wire).expect("NS data was checked to be a name");
        // A wildcard may stand for it, but none below a delegation.
        let id = table.index.get(&server).copied().or_else(|| match table.find(server.wire()) {
            Found::Node(id) => Some(id),
            _ => None,
        });
        let Some(id) = id.filter(|id| table.node(*id).zone == zone) else { continue };
        for rrset in &table.node(id).rrsets {
            if matches!(rrset.record_type(), RecordType::A | RecordType::AAAA) {
                glue.push(&server, rrset);
            }
        }
    }
    glue
}

/// Gives the apex of a zone whose parent is served here too what the parent says of it.
fn link_parents(table: &mut Table, zones: &[ZoneSpec], apexes: &BTreeMap<Name, ZoneId>) {
    for (apex, id) in apexes {
        let Some(up) = apex.parent() else { continue };
        let Some(parent) = zone_of(&up, apexes) else { continue };
        let cut = match table.find(up.wire()) {
            Found::Below(cut) => Some(cut),
            Found::Node(node) => table.node(node).cut,
            _ => None,
        };
        let records = zones[parent as usize].records.iter();
        let ds: Vec<&RecordSpec> =
            records.filter(|r| r.owner == *apex && r.record_type == RecordType::DS).collect();
        let ttl = ds.iter().map(|r| r.ttl).min().unwrap_or(0);
        let data: BTreeSet<&[u8]> = ds.iter().map(|r| r.data.wire.as_slice()).collect();
        let ds = if data.is_empty() { None } else { Rrset::encode(RecordType::DS, ttl, data) };
        table.zones[*id as usize].parent = Some(Parent { zone: parent, cut, ds });
    }
}

fn link_targets(table: &mut Table, problems: &mut Vec<Problem>) {
    let mut owners = BTreeMap::new();
    for (name, &id) in &table.index {
        let Some(cname) = table.node(id).rrset(RecordType::CNAME) else { continue };
        let wire = cname.data().next().expect("an RRset has a record").to_ascii_lowercase();
        owners.insert(name.clone(), (id, table.follow(&wire, table.node(id).zone)));
    }
    for (id, target) in owners.values() {
        table.nodes[*id as usize].target = Some(*target);
    }
    for (owner, (id, _)) in owners {
        let mut at = id;
        let mut followed = 0;
        while let Some(Found::Node(next)) = table.node(at).target {
            followed += 1;
            if followed > CHAIN_MAX {
                problems.push(Problem::CnameChain { owner });
                break;
            }
            at = next;
        }
    }
}
