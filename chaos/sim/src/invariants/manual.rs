//! Liveness without a witness: who holds an endless lease serves on when the quorum is gone (interleaving 16), and in the
//! end everybody is of the one life.

use failover_core::{Authority, Durability, Phase};

use crate::options::Invariant;
use crate::place::{SECOND, Time};
use crate::world::World;

/// What opens or shuts is done within this time, and a lease of T_H would have run out.
const WITHIN: Time = 5 * SECOND;

/// A primary that could acknowledge, as it stood then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivor {
    host: usize,
    boot: u32,
    guard: u32,
    database: u64,
    /// The version of the authority that it served under.
    version: model::Version,
    /// When it was last seen to serve.
    at: Time,
}

impl World {
    /// Whether the primary serves under what is committed, and who that is.
    fn survivor(&self) -> Option<Survivor> {
        let authority = self.group()?.authority.as_ref()?;
        let host = self.names.host(&authority.primary.server)?;
        let it = &self.hosts[host];
        let guard = it.guard.as_ref().filter(|g| !g.paused)?;
        let life = it.mysql.answering()?;
        let asynchronous = matches!(authority.durability, Durability::Async { .. });
        let due = it.up && !it.paused && authority.phase == Phase::Serving && asynchronous;
        due.then_some(Survivor {
            host,
            boot: it.boot,
            guard: guard.life,
            database: life.start.0,
            version: authority.version,
            at: self.now,
        })
    }

    /// Looked at every now and then: nothing that happened to it would shut it.
    pub(crate) fn check_survivor(&mut self) {
        let now = self.survivor();
        let Some(now) = now else {
            self.person.survivor = None;
            return;
        };
        if self.can_acknowledge(now.host) {
            self.person.survivor = Some(now);
            return;
        }
        let Some(seen) = self.person.survivor else { return };
        if (Survivor { at: seen.at, ..now }) != seen {
            self.person.survivor = None;
        } else if now.at - seen.at > WITHIN {
            let text = format!(
                "{} stopped serving {} ms ago, though nothing revoked its lease, which has no end",
                self.names.servers[now.host],
                (now.at - seen.at) / 1_000
            );
            self.violate(Invariant::Liveness, text);
        }
    }

    /// All nodes vote in the present life.
    pub(crate) fn all_have_joined(&self) -> Result<(), String> {
        let leader = self.leader_node().ok_or("nobody leads")?;
        let members = self.nodes[leader].run.as_ref().map(|r| r.replica.members()).unwrap_or_default();
        for (n, node) in self.nodes.iter().enumerate() {
            let name = &self.names.nodes[n];
            if node.incarnation != self.truth.life || !node.answers() {
                return Err(format!("{name} has not joined incarnation {}", self.truth.life));
            }
            if members.joint() || !members.voters.contains(&(n as u64 + 1)) {
                return Err(format!("{name} does not vote"));
            }
        }
        Ok(())
    }

    /// A site that is a quorum by itself is in `Sync`, and no other.
    pub(crate) fn durable_alone(&self, authority: &Authority) -> Result<(), String> {
        let alone = self.policy.alone.contains(&authority.primary.site);
        match authority.durability {
            Durability::Sync if alone => Ok(()),
            Durability::Async { .. } if !alone => Ok(()),
            other => Err(format!("durability is {other}, and alone its site is {alone}")),
        }
    }
}
