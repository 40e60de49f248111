//! Service: a server that may serve does, or another one takes over; and nobody is moved for nothing. Judged only
//! where nothing new went wrong for a while, so that what is asked for is what the protocol promises.
//!
//! - A primary that is well, in reach of a majority, is open, and no commit waits in it, [`SHUT_MAX`] later.
//! - A primary of a `Sync` group whose host is off is replaced [`TAKES_OVER`] later, its ackers being well.
//! - A primary that is well and open is not left without a person's word.

use failover_core::{Change, Durability, Group, Phase};
use model::ProcessStart;

use crate::mysql::Disk;
use crate::options::Invariant;
use crate::place::{HOST_SITES, MDC, MS, PDC, SECOND, Time, WIT};
use crate::world::World;

/// Looked at this often.
pub(crate) const LOOK: Time = 100 * MS;
/// `sync_timeout`, an election, and what is left of a move.
const SHUT_MAX: Time = 15 * SECOND;
/// Dwell, W, draining and promoting, and a second try of a step.
const TAKES_OVER: Time = 25 * SECOND;
/// Whoever was well for so long is not found to be otherwise.
const WELL: Time = 5 * SECOND;

/// Everything that bears on a primary, as far as somebody else could have changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Surroundings {
    primary: usize,
    epoch: u64,
    lives: Vec<u64>,
    clear: [bool; 3],
}

/// A primary that went down in `Sync`, and its ackers in the lives that count.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fallen {
    host: usize,
    ackers: Vec<(usize, ProcessStart)>,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub struct Service {
    surroundings: Option<Surroundings>,
    /// Since when the surroundings have been these, and the primary well in them.
    well: Option<Time>,
    /// When the primary was last seen to be open, with no commit that waits for long.
    open: Time,
    synced: Option<Fallen>,
    fallen: Option<(Time, Fallen)>,
}

impl World {
    /// Looks at the service. In manual mode a person is waited for, and `manual` looks at what is left.
    pub(crate) fn look_at_service(&mut self) {
        if self.two_sites() {
            return;
        }
        let surroundings = self.surroundings();
        let same = surroundings.is_some() && self.truth.service.surroundings == surroundings;
        self.look_at_primary(surroundings.as_ref(), same);
        self.look_for_successor(same);
        self.truth.service.surroundings = surroundings;
    }

    fn look_at_primary(&mut self, surroundings: Option<&Surroundings>, same: bool) {
        let now = self.now;
        let primary = surroundings.map(|s| s.primary).filter(|h| self.is_well(*h));
        let serving =
            self.group().and_then(|g| g.authority.as_ref()).is_some_and(|a| a.phase == Phase::Serving);
        let Some(primary) = primary.filter(|_| serving && same) else {
            self.truth.service.well = None;
            return;
        };
        let since = *self.truth.service.well.get_or_insert(now);
        // What a replica has and it lacks keeps it shut: safety comes first.
        if self.serves(primary) || self.shut_because(primary).ends_with("missing here") {
            self.truth.service.open = now;
        }
        let shut = now - since.max(self.truth.service.open);
        if shut >= SHUT_MAX {
            let why = self.shut_because(primary);
            let name = &self.names.servers[primary];
            let text = format!("{name} is well and has not served for {} s: {why}", shut / SECOND);
            self.violate(Invariant::Service, text);
        }
    }

    fn look_for_successor(&mut self, same: bool) {
        let now = self.now;
        let before = self.truth.service.synced.take();
        // What was weakened since is no `Sync` that anybody could count on; a move under way goes on.
        let weakened = self
            .group()
            .and_then(|g| g.authority.as_ref())
            .is_some_and(|a| a.phase.grants() && a.durability != Durability::Sync);
        if let Some(synced) = self.synced().or(before.filter(|_| !weakened)) {
            if self.hosts[synced.host].up {
                self.truth.service.synced = Some(synced);
            } else {
                self.truth.service.fallen = Some((now, synced));
            }
        }
        let Some((since, fallen)) = self.truth.service.fallen.clone() else { return };
        let stands = !self.hosts[fallen.host].up
            && fallen.ackers.iter().all(|(h, start)| {
                let host = &self.hosts[*h];
                self.is_well(*h)
                    && host.mysql.lag < MS
                    && host.mysql.conflict.is_none()
                    && host.mysql.answering().is_some_and(|l| l.start == *start)
            });
        if !stands || (0..self.hosts.len()).any(|h| self.can_acknowledge(h)) {
            self.truth.service.fallen = None;
        } else if !same {
            self.truth.service.fallen = Some((now, fallen));
        } else if now - since >= TAKES_OVER {
            let text = format!(
                "{} went down in sync {} s ago, its ackers are well, and nobody has taken over (the last decision \
                 held still because: {})",
                self.names.servers[fallen.host],
                (now - since) / SECOND,
                self.truth.held
            );
            self.violate(Invariant::Service, text);
        }
    }

    /// A failover was committed; `before` is the group as it stood then.
    pub(crate) fn check_not_needless(&mut self, change: &Change, before: Option<&Group>) {
        let Change::Begin { reason, .. } = change else { return };
        let authority = before.and_then(|g| g.authority.as_ref());
        let Some(left) = authority.and_then(|a| self.names.host(&a.primary.server)) else { return };
        let seen = &self.truth.service;
        let theirs = seen.surroundings.as_ref().is_some_and(|s| s.primary == left);
        let well = seen.well.is_some_and(|since| self.now - since >= WELL);
        if reason.by == "twofold" && theirs && well && self.now - seen.open <= LOOK * 2 && self.serves(left) {
            let text = format!(
                "{} is well, serves, and is left because of {}",
                self.names.servers[left], reason.why
            );
            self.violate(Invariant::Service, text);
        }
    }

    fn surroundings(&self) -> Option<Surroundings> {
        let primary = self.primary_host()?;
        let epoch = self.group()?.authority.as_ref()?.epoch.0;
        let nodes = self.nodes.iter().map(|n| u64::from(n.lives) * 2 + u64::from(n.paused));
        let hosts = self.hosts.iter().map(|h| h.mysql.lives * 1_000 + u64::from(h.guard_lives));
        let clear = [self.net.clear(PDC, MDC), self.net.clear(PDC, WIT), self.net.clear(MDC, WIT)];
        Some(Surroundings { primary, epoch, lives: nodes.chain(hosts).collect(), clear })
    }

    /// The primary of a group in `Sync` whose ackers are well.
    fn synced(&self) -> Option<Fallen> {
        let host = self.synced_primary().filter(|h| self.hosts[*h].up)?;
        let ackers = &self.group()?.authority.as_ref()?.acker_set;
        let ackers = ackers.iter().filter_map(|a| Some((self.names.host(&a.server)?, a.process_start)));
        Some(Fallen { host, ackers: ackers.collect() })
    }

    /// The host of this database, and everything on it, runs and is in reach of a majority. One whose semi-sync gave
    /// up in silence, by somebody's hand on its timeout, has what no acker has: it rightly stays shut in `Sync`.
    fn is_well(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        let runs = host.up
            && !host.paused
            && host.slow_disk == 0
            && host.mysql.disk == Disk::Well
            && host.guard.as_ref().is_some_and(|g| !g.paused)
            && host.mysql.answering().is_some_and(|l| !l.rebuilding && (l.operating || !l.source_enabled));
        runs && self.reaches_majority(HOST_SITES[h])
    }

    /// So many nodes that are well hear one another and this site, directly or through a third one.
    fn reaches_majority(&self, site: usize) -> bool {
        let well = |n: usize| {
            let node = &self.nodes[n];
            node.run.is_some() && !node.paused && node.slow_disk == 0
        };
        let passes_on = |s: usize| self.nodes_at(s).any(well);
        let clear = |a: usize, b: usize| a == b || self.net.clear(a, b);
        let sites = [PDC, MDC, WIT];
        let hears = |a: usize, b: usize| {
            clear(a, b) || sites.into_iter().any(|c| passes_on(c) && clear(a, c) && clear(c, b))
        };
        // All three, or two of them: where one is left out, it is the other two that must hear one another.
        let among = |left_out: Option<usize>| {
            let rest = || sites.into_iter().filter(|s| Some(*s) != left_out);
            let nodes = |s: usize| self.nodes_at(s).filter(|n| well(*n)).count();
            let voices = || rest().filter(|s| nodes(*s) > 0);
            let together = voices().all(|a| hears(site, a) && voices().all(|b| hears(a, b)));
            together && voices().map(nodes).sum::<usize>() > self.nodes.len() / 2
        };
        std::iter::once(None).chain(sites.map(Some)).any(among)
    }

    /// It is writable, its gate lets clients in, and no commit has waited for long.
    fn serves(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        let writable = host.mysql.answering().is_some_and(|l| !l.read_only && !l.rebuilding);
        let oldest = host.mysql.waiting.front().map(|w| self.truth.transactions[w.transaction as usize].at);
        writable && host.gate.passes(self.now) && oldest.is_none_or(|at| self.now - at < SHUT_MAX / 3)
    }
}
