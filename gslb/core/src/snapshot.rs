//! The immutable routing table that every query is answered from.
//!
//! Building checks the whole spec and encodes every answer that can be given. What changes between
//! generations (this node's verdicts and freshness) is apart from what does not, so that a verdict makes
//! a new snapshot by re-encoding the virtual names only; the tables of names are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Generation, PoolId};

use crate::problem::SnapshotProblem as Problem;
use crate::rrset::{ADDRESSES_MAX, Rrset};
use crate::spec::{
    Freshness, NameKind, NameSpec, PoolSpec, PooledSpec, SnapshotSpec, SoaSpec, Verdicts, ZoneSpec,
};
use crate::steering::Steering;
use crate::zone::{self, Table};
use crate::{Name, RecordType};

/// TTL in seconds of the answer to ANY. RFC 8482 §4.2 leaves it to us; long, since it never changes.
const ANY_TTL: u32 = 3_600;

/// One state of everything this node answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    definition: Arc<Definition>,
    freshness: Freshness,
    verdicts: Arc<Verdicts>,
    pub(crate) steering: Arc<[Steering]>,
}

/// What holds for a whole generation.
#[derive(Debug)]
struct Definition {
    generation: Generation,
    zones: Vec<ZoneSpec>,
    pools: BTreeMap<PoolId, PoolSpec>,
    names: Vec<NameSpec>,
    /// For each virtual name, the zone it lies in.
    zone_of_name: Vec<usize>,
    table: Table,
    any: Rrset,
}

impl Snapshot {
    /// Checks `spec` and encodes its answers.
    ///
    /// # Errors
    /// Every problem found; never an empty list.
    pub fn build(spec: SnapshotSpec) -> Result<Self, Vec<Problem>> {
        match Self::build_tolerant(spec) {
            Ok((snapshot, problems)) if problems.is_empty() => Ok(snapshot),
            Ok((_, problems)) | Err(problems) => Err(problems),
        }
    }

    /// The same, for zones that others wrote: what is tolerable is told beside the snapshot.
    ///
    /// # Errors
    /// Every problem found, when one of them is not tolerable.
    pub fn build_tolerant(spec: SnapshotSpec) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = Vec::new();
        check_pools(&spec.pools, &mut problems);
        for name in &spec.names {
            check_name(name, &spec.pools, &mut problems);
        }
        let names: Vec<Name> = spec.names.iter().map(|n| n.name.clone()).collect();
        let table = zone::build(&spec.zones, &names, &mut problems);
        let zone_of_name: Vec<usize> = names.iter().map(|n| deepest_zone(n, &spec.zones)).collect();
        // Without a zone there is no SOA to steer with; the problems say so.
        if problems.iter().any(|p| !p.is_tolerable()) {
            return Err(problems);
        }
        let any = Rrset::encode(RecordType::HINFO, ANY_TTL, [b"\x07RFC8482\x00".as_slice()])
            .expect("one short record fits");
        let SnapshotSpec { generation, freshness, zones, pools, names, verdicts } = spec;
        let definition = Definition { generation, zones, pools, names, zone_of_name, table, any };
        let steering = definition.steer(&verdicts, freshness);
        let snapshot =
            Self { definition: Arc::new(definition), freshness, verdicts: Arc::new(verdicts), steering };
        Ok((snapshot, problems))
    }

    /// The same generation under other verdicts and freshness.
    #[must_use]
    pub fn with(&self, verdicts: Verdicts, freshness: Freshness) -> Self {
        let steering = self.definition.steer(&verdicts, freshness);
        Self { definition: Arc::clone(&self.definition), freshness, verdicts: Arc::new(verdicts), steering }
    }

    /// The generation this was built from.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.definition.generation
    }

    /// Whether the routes in it may be believed.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The verdicts behind it.
    #[must_use]
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// The zones served.
    #[must_use]
    pub fn zones(&self) -> &[ZoneSpec] {
        &self.definition.zones
    }

    /// The pools, by name.
    #[must_use]
    pub fn pools(&self) -> &BTreeMap<PoolId, PoolSpec> {
        &self.definition.pools
    }

    /// The virtual names with their routes.
    #[must_use]
    pub fn names(&self) -> &[NameSpec] {
        &self.definition.names
    }

    /// How many names exist, empty non-terminals included.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.table().names()
    }

    /// The spec that builds this snapshot again.
    #[must_use]
    pub fn to_spec(&self) -> SnapshotSpec {
        SnapshotSpec {
            generation: self.definition.generation,
            freshness: self.freshness,
            zones: self.definition.zones.clone(),
            pools: self.definition.pools.clone(),
            names: self.definition.names.clone(),
            verdicts: self.verdicts.as_ref().clone(),
        }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.definition.table
    }

    pub(crate) fn any(&self) -> &Rrset {
        &self.definition.any
    }
}

impl Definition {
    /// The state of every virtual name.
    fn steer(&self, verdicts: &Verdicts, freshness: Freshness) -> Arc<[Steering]> {
        let steer = |(spec, zone): (&NameSpec, &usize)| {
            let soa: &SoaSpec = &self.zones[*zone].soa;
            Steering::build(&spec.kind, &self.pools, verdicts, freshness, soa)
        };
        self.names.iter().zip(&self.zone_of_name).map(steer).collect()
    }
}

/// Index of the deepest zone that covers `name`; 0 when none does, which is a problem of its own.
fn deepest_zone(name: &Name, zones: &[ZoneSpec]) -> usize {
    let covering = zones.iter().enumerate().filter(|(_, z)| name.is_at_or_below(&z.apex));
    covering.max_by_key(|(_, z)| z.apex.label_count()).map_or(0, |(index, _)| index)
}

fn check_pools(pools: &BTreeMap<PoolId, PoolSpec>, problems: &mut Vec<Problem>) {
    for (pool, spec) in pools {
        if spec.members.is_empty() {
            problems.push(Problem::PoolEmpty { pool: pool.clone() });
        } else if spec.min_up as usize > spec.members.len() {
            let members = spec.members.len();
            problems.push(Problem::MinUp { pool: pool.clone(), min_up: spec.min_up, members });
        }
        let mut seen = BTreeSet::new();
        for member in &spec.members {
            if !seen.insert(&member.id) {
                problems.push(Problem::MemberTwice { pool: pool.clone(), member: member.id.clone() });
            }
        }
    }
}

fn check_name(spec: &NameSpec, pools: &BTreeMap<PoolId, PoolSpec>, problems: &mut Vec<Problem>) {
    match &spec.kind {
        NameKind::Bound(bound) => {
            if bound.endpoints.values().all(Vec::is_empty) {
                problems.push(Problem::NoEndpoint { name: spec.name.clone() });
            }
            if bound.endpoints.values().any(|addresses| addresses.len() > ADDRESSES_MAX) {
                problems.push(Problem::TooLarge { owner: spec.name.clone(), record_type: RecordType::A });
            }
        }
        NameKind::Pooled(pooled) => check_pooled(&spec.name, pooled, pools, problems),
    }
}

fn check_pooled(
    name: &Name,
    spec: &PooledSpec,
    pools: &BTreeMap<PoolId, PoolSpec>,
    problems: &mut Vec<Problem>,
) {
    let name = || name.clone();
    if spec.pools.is_empty() {
        problems.push(Problem::NoPool { name: name() });
    } else if spec.policy == crate::Policy::Weighted && spec.pools.iter().all(|p| p.weight == 0) {
        problems.push(Problem::NoWeight { name: name() });
    }
    if spec.ttl_min > spec.ttl_max {
        problems.push(Problem::TtlBounds { name: name(), min: spec.ttl_min, max: spec.ttl_max });
    }
    let mut seen = BTreeSet::new();
    for share in &spec.pools {
        if !pools.contains_key(&share.pool) {
            problems.push(Problem::PoolUnknown { name: name(), pool: share.pool.clone() });
        }
        if !seen.insert(&share.pool) {
            problems.push(Problem::PoolTwice { name: name(), pool: share.pool.clone() });
        }
    }
}
