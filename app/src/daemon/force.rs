//! `twofold quorum force`: a new incarnation of the cluster from what one surviving node has on disk.
//!
//! ```text
//!   old log ─► state at its end ─┐
//!   voters, the person's word ───┴─► Seed ─► new log, the same on every voter; the old one is kept aside
//! ```
//! A new incarnation is a new genesis: all of its voters start from the same snapshot and the same first
//! entry, so there is nothing that one of them could have voted for and forgotten. Every entry at the end
//! of the old log is kept, whether it was known to be committed or not: the dead side may have committed it.
//!
//! Deliberately absent: judging whether the dead are dead. A person says so, and the audit keeps the words.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use app_config::Config;
use failover_core::{Continued, FencedByHand, LogEnd, encode, next_life};
use failover_raft::{ANY_INCARNATION, Position, Recovered, StateMachine, Store};
use model::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use super::audit_file::AuditFile;
use super::incarnation::{self, Superseded};
use super::machine::Machine;
use super::roster::Roster;
use super::{identity, store_path};
use crate::clock;

/// What every voter of a new incarnation starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Seed {
    v: u32,
    cluster: String,
    /// The life that it continues, and where that one's log ended.
    pub from: Incarnation,
    pub index: u64,
    pub term: u64,
    /// The new life.
    pub incarnation: Incarnation,
    pub voters: Vec<NodeId>,
    /// The state machine's snapshot, and the first entry.
    state: String,
    entry: String,
}

/// The log of a surviving node whose daemon is stopped; nobody else can open it meanwhile.
pub struct Survivor {
    node: NodeId,
    path: PathBuf,
    folder: PathBuf,
    store: Store,
    /// Which it is.
    pub log: LogEnd,
    /// A later life that this node heard of.
    heard: Option<Superseded>,
}

impl Survivor {
    /// Opens it.
    ///
    /// # Errors
    /// It is in use, missing, damaged or another's, or holds nothing.
    pub fn open(config: &Config, node: &NodeId) -> Result<Self> {
        let (path, folder) = (store_path(config, node), config.node_dir(node));
        let store = Store::open(&path, &identity(config, node, ANY_INCARNATION))?;
        let life = Incarnation(store.identity().incarnation);
        let heard = incarnation::heard(&folder, life)?;
        let end = store.recovered().end();
        if store.recovered().is_blank() {
            bail!("the log of node {node} is blank: it was to join a cluster and holds nothing of it");
        }
        let log = LogEnd { incarnation: life, term: end.term, index: end.index };
        Ok(Self { node: node.clone(), path, folder, store, log, heard })
    }

    /// A later life of the cluster that this node heard of: its own is over, and it can be made a voter of that one
    /// and of no other.
    #[must_use]
    pub fn heard(&self) -> Option<Incarnation> {
        self.heard.as_ref().map(|superseded| superseded.heard)
    }

    /// A new incarnation can begin here.
    ///
    /// # Errors
    /// A later one was heard of.
    pub fn may_begin(&self) -> Result<()> {
        let node = &self.node;
        if let Some(superseded) = &self.heard {
            bail!("node {node} is out of the cluster: {superseded}; nothing can be forced from its log");
        }
        Ok(())
    }

    /// What a new incarnation of `voters` starts from.
    ///
    /// # Errors
    /// The state cannot be put together.
    pub fn seed(&self, config: &Config, voters: &[NodeId], fenced: FencedByHand) -> Result<Seed> {
        let LogEnd { incarnation: from, term, index } = self.log;
        let (incarnation, command) = next_life(from, rand::random(), voters, fenced, clock::wall());
        Ok(Seed {
            v: 1,
            cluster: config.cluster().to_string(),
            from,
            index,
            term,
            incarnation,
            voters: voters.to_vec(),
            state: self.state()?,
            entry: String::from_utf8(encode(&command)).expect("an entry is JSON"),
        })
    }

    /// The state at the log's end. Its audit lines go nowhere: the node's own file is written when the new
    /// log is replayed, and not before.
    fn state(&self) -> Result<String> {
        let scratch = self.folder.join("force-audit.part");
        let _ = fs::remove_file(&scratch);
        // One file, however long: it goes when the state is read.
        let limits = app_config::AuditLimits::UNBOUNDED;
        let (mut machine, _) = Machine::new(AuditFile::open(&scratch, Box::new(move || limits))?);
        let image = self.store.recovered();
        machine.restore(&image.snapshot.data);
        for (index, data) in image.payloads() {
            machine.apply(index, data);
        }
        let state = String::from_utf8(machine.snapshot()).context("the state is no JSON");
        fs::remove_file(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
        state
    }

    /// Puts the new log in place; the old one stays beside it, under its incarnation. Gives where.
    ///
    /// # Errors
    /// Nothing was changed then, or the new log is in place already.
    pub fn become_voter(self, config: &Config, seed: &Seed) -> Result<PathBuf> {
        let roster = Roster::new(config).map_err(anyhow::Error::msg)?;
        let number =
            |n: &NodeId| roster.number(n).with_context(|| format!("voter {n} is in no configuration"));
        let mut voters = seed.voters.iter().map(number).collect::<Result<Vec<_>>>()?;
        voters.sort_unstable();
        let end = Position { index: seed.index, term: seed.term };
        let (state, entry) = (seed.state.clone().into_bytes(), seed.entry.clone().into_bytes());
        let genesis = Recovered::incarnation(&voters, end, state, entry);
        let fresh = self.folder.join("forced.redb");
        let _ = fs::remove_file(&fresh);
        drop(Store::create(&fresh, &identity(config, &self.node, seed.incarnation.0), &genesis)?);
        let kept = self.folder.join(format!("raft-incarnation-{}.redb", self.log.incarnation));
        let place = || -> std::io::Result<()> {
            let _ = fs::remove_file(&kept);
            fs::hard_link(&self.path, &kept)?;
            // At no moment is there no log, nor a part of one.
            fs::rename(&fresh, &self.path)?;
            fs::File::open(&self.folder)?.sync_all()
        };
        place().with_context(|| format!("put the new log in place at {}", self.path.display()))?;
        Ok(kept)
    }
}

impl Seed {
    /// Its numbers.
    #[must_use]
    pub fn continued(&self) -> Continued {
        let log = LogEnd { incarnation: self.from, term: self.term, index: self.index };
        Continued { log, incarnation: self.incarnation }
    }

    /// Where a node keeps the seed that it made, for the other voters.
    #[must_use]
    pub fn path(&self, config: &Config, node: &NodeId) -> PathBuf {
        config.node_dir(node).join(format!("incarnation-{}.seed", self.incarnation))
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).expect("a seed is representable");
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Reads one that another voter made.
    ///
    /// # Errors
    /// It is no seed of this cluster, or not for `node`.
    pub fn read(path: &Path, config: &Config, node: &NodeId) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let seed: Seed = serde_json::from_str(&text)
            .with_context(|| format!("{} is no seed of an incarnation", path.display()))?;
        if seed.v != 1 || seed.cluster != config.cluster().as_str() {
            bail!("{} is of another form, or of cluster {:?}", path.display(), seed.cluster);
        }
        if !seed.voters.contains(node) {
            bail!("node {node} is no voter of incarnation {}", seed.incarnation);
        }
        Ok(seed)
    }
}
