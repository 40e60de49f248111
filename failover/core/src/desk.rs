//! The leader's desk: what only a leadership knows and forgets with it. It answers renewals and
//! says when a lease has been outwaited (DESIGN §4, Waiting). Every node keeps the reports that
//! guards send to all voters, so that a new leader knows the servers at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::{Epoch, GroupId, GtidSet, ProcessStart, ServerId, ServerUuid, SiteId, Timestamp, WallTime};
use serde::{Deserialize, Serialize};

use crate::report::of_a_former_run;
use crate::{
    Authority, Defect, Defects, Durability, Group, GuardReport, Nonce, Phase, Policy, Process, State, Timing,
};

/// A guard's request to hold the lease for another T_H, and its report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Renewal {
    /// The group.
    pub group: GroupId,
    /// Number of this attempt, random; the answer names it, and the lease runs from when it was sent.
    pub nonce: Nonce,
    /// The server's identity, once it was read.
    pub uuid: Option<ServerUuid>,
    /// The epoch the guard wants to hold; none when it only reports.
    pub epoch: Option<Epoch>,
    /// What the guard sees.
    pub report: GuardReport,
}

/// The leader's answer; it carries the whole authority, so that a guard that hears only the witness
/// still learns everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Answer {
    /// The attempt.
    pub nonce: Nonce,
    /// Whether the lease is held.
    pub grant: Grant,
    /// The authority applied at the read index.
    pub authority: Option<Authority>,
    /// The group's other servers as the leader sees them.
    pub peers: Vec<PeerFact>,
}

/// Whether a lease is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Grant {
    /// Held for T_H from the moment the attempt was sent.
    Held,
    /// Not held.
    No { why: String },
}

/// What the leader knows of another server of the group: for the one rule to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PeerFact {
    /// The server.
    pub server: ServerId,
    /// Its identity.
    pub uuid: ServerUuid,
    /// Its process.
    pub process_start: Option<ProcessStart>,
    /// Applied or in its relay log.
    pub held: GtidSet,
    /// The report is fresh: it is reachable.
    pub reachable: bool,
    /// It is set up as a replica. A former primary that has not come back yet is none, and what it
    /// holds beyond others was never told to anybody, or is quarantined.
    pub replica: bool,
    /// Its acks would count where it attaches; none where that is not known, since its database runs and was not read yet.
    #[serde(default)]
    pub acks: Option<bool>,
}

/// A guard's last report and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// The report.
    pub report: GuardReport,
    /// On this node's clock.
    pub received: Timestamp,
    /// What its database was last seen to have, also when its process is gone now and the report brings none.
    pub last: Option<LastLook>,
    /// Something new from its source; none before two looks showed it.
    pub flow: Option<Flow>,
    /// How fast it has executed transactions lately.
    pub pace: Pace,
}

/// How many transactions a server had executed at each of its last looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pace(VecDeque<(Timestamp, u64)>);

impl Pace {
    /// Looks older than this, against the newest, are forgotten: a burst of a minute ago says nothing of now.
    const OVER: Duration = Duration::from_secs(10);
    /// A pace is taken over this at least: two looks in one instant would make it any number.
    const SPAN: Duration = Duration::from_secs(1);
    /// A look comes every renewal or so; past these the oldest are forgotten, and the pace is taken over less.
    const LOOKS_MAX: usize = 64;

    fn noted(mut self, at: Timestamp, count: u64) -> Pace {
        if self.0.back().is_none_or(|(last, _)| *last < at) {
            self.0.push_back((at, count));
        }
        while self.0.len() > Pace::LOOKS_MAX
            || self.0.front().is_some_and(|(first, _)| at.since(*first) > Pace::OVER)
        {
            self.0.pop_front();
        }
        self
    }

    /// At most so many in so long, at the fastest pace of the last looks.
    #[must_use]
    pub fn within(&self, window: Duration) -> u64 {
        let looks: Vec<_> = self.0.iter().collect();
        let mut most: u128 = 0;
        for (index, (to, after)) in looks.iter().enumerate() {
            let long_ago = |(from, _): &&&(Timestamp, u64)| to.since(*from) >= Pace::SPAN;
            // Where no look lies a whole span before, the first one does.
            let from = looks[..index].iter().rev().find(long_ago).or(looks[..index].first());
            let Some((from, before)) = from else { continue };
            let grown = u128::from(after.saturating_sub(*before)) * window.as_micros();
            most = most.max(grown.div_ceil(to.since(*from).as_micros().max(1)));
        }
        u64::try_from(most).unwrap_or(u64::MAX)
    }
}

/// What is kept of a reading when later reports bring none: a database that is gone still has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLook {
    /// Its identity.
    pub uuid: ServerUuid,
    /// What it had executed.
    pub executed: GtidSet,
    /// With what its relay log held.
    pub held: GtidSet,
    /// When it was looked at, on this node's clock.
    pub at: Timestamp,
    /// The epoch of its newest mark of an opening.
    mark: Option<Epoch>,
    replica: bool,
}

impl LastLook {
    fn of(report: &GuardReport, received: Timestamp) -> Option<LastLook> {
        let reading = report.reading.as_ref()?;
        Some(LastLook {
            uuid: reading.server_uuid.clone(),
            held: reading.gtid_held(),
            executed: reading.gtid_executed.clone(),
            at: Timestamp(received.0.saturating_sub(report.reading_age_us)),
            mark: reading.opening.map(|mark| mark.epoch),
            replica: reading.replica.is_some(),
        })
    }
}

/// A replica's receiver has got new transactions: a sign of life of its source that does not come from the
/// source's own host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Who sent them.
    pub source: ServerUuid,
    /// They came after this moment: that of the last look which did not show them yet. So a source that is dead
    /// is never taken for one that lived longer.
    pub after: Timestamp,
}

impl Flow {
    /// What the looks of two reports in succession tell.
    fn between(before: &ServerFacts, report: &GuardReport) -> Option<Flow> {
        let (earlier, later) = (before.report.reading.as_ref()?, report.reading.as_ref()?);
        let (was, is) = (earlier.replica.as_ref()?, later.replica.as_ref()?);
        let source = is.source_uuid.clone().filter(|uuid| was.source_uuid.as_ref() == Some(uuid))?;
        let new = is.gtid_received.subtract(&earlier.gtid_held());
        let looked = before.received.0.saturating_sub(before.report.reading_age_us);
        (!new.is_empty()).then_some(Flow { source, after: Timestamp(looked) })
    }
}

/// What the nodes of one site hear directly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vantage {
    /// When a node of that site was last heard, on this node's clock.
    pub heard: Timestamp,
    /// Guards that some node of that site hears.
    pub hears: BTreeSet<ServerId>,
}

/// The leader's volatile view (of every node, kept warm).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// By server.
    pub servers: BTreeMap<ServerId, ServerFacts>,
    /// By site.
    pub vantages: BTreeMap<SiteId, Vantage>,
    /// Last renewal that this leadership answered: group → its epoch and when it was received.
    pub renewals: BTreeMap<GroupId, (Epoch, Timestamp)>,
    /// When this leadership began; none on a follower.
    pub elected: Option<Timestamp>,
    /// Newest revision of K3s's objects that each server was ever heard to have.
    pub kine: BTreeMap<ServerId, u64>,
    /// This node's wall clock, for what a person set an end to.
    pub wall: WallTime,
}

impl Facts {
    /// The report of a server if it was received within `age`.
    #[must_use]
    pub fn report(&self, server: &ServerId, age: Duration, now: Timestamp) -> Option<&GuardReport> {
        self.servers.get(server).filter(|f| now.since(f.received) <= age).map(|f| &f.report)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Desk {
    timing: Timing,
    /// W of each group where it differs.
    waits: BTreeMap<GroupId, Duration>,
    defects: Defects,
    facts: Facts,
    withheld: BTreeSet<GroupId>,
}

impl Desk {
    /// An empty desk; `waits` is W of each group, `timing`'s own where none is given.
    #[must_use]
    pub fn new(timing: Timing, waits: BTreeMap<GroupId, Duration>, defects: Defects) -> Self {
        Self { timing, waits, defects, facts: Facts::default(), withheld: BTreeSet::new() }
    }

    /// Goes by another policy from now on; what is known stays.
    pub fn configure(&mut self, policy: &Policy) {
        self.timing = policy.timing;
        self.waits = policy.waits();
    }

    /// What is known.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Files a guard's report. A late one is dropped, and so is a copy that came another way: it would
    /// make what was seen then look as if it were seen now.
    pub fn on_report(&mut self, report: GuardReport, now: Timestamp) {
        if let Some(known) = self.facts.servers.get(&report.server)
            && known.report.boot == report.boot
            && known.report.sequence >= report.sequence
        {
            return;
        }
        if let Some(kine) = report.reading.as_ref().and_then(|reading| reading.kine) {
            let newest = self.facts.kine.entry(report.server.clone()).or_default();
            *newest = kine.revision.max(*newest);
        }
        let known = self.facts.servers.get(&report.server);
        let flow = known.and_then(|before| Flow::between(before, &report).or_else(|| before.flow.clone()));
        let last = LastLook::of(&report, now).or_else(|| known.and_then(|before| before.last.clone()));
        let pace = known.map(|before| before.pace.clone()).unwrap_or_default();
        let pace = match &last {
            Some(last) if report.reading.is_some() => pace.noted(last.at, last.executed.count()),
            _ => pace,
        };
        let facts = ServerFacts { report, received: now, last, flow, pace };
        self.facts.servers.insert(facts.report.server.clone(), facts);
    }

    /// The wall clock was read.
    pub fn on_wall(&mut self, wall: WallTime) {
        self.facts.wall = wall;
    }

    /// Files what the nodes of a site hear.
    pub fn on_vantage(&mut self, site: SiteId, vantage: Vantage) {
        self.facts.vantages.insert(site, vantage);
    }

    /// This node was elected at or before `at`: W counts from here at the earliest.
    pub fn on_elected(&mut self, at: Timestamp) {
        self.facts.elected = Some(at);
        self.facts.renewals.clear();
        self.withheld.clear();
    }

    /// This node leads no longer.
    pub fn on_deposed(&mut self) {
        self.facts.elected = None;
        self.facts.renewals.clear();
        self.withheld.clear();
    }

    /// Begin is about to be proposed: no renewal is answered until it is settled.
    pub fn withhold(&mut self, group: &GroupId) {
        self.withheld.insert(group.clone());
    }

    /// Begin was applied, refused at apply, or surely dropped: renewals are answered as the state
    /// says (interleaving 34).
    pub fn resume(&mut self, group: &GroupId) {
        if self.defects.has(Defect::WithheldForEver) {
            return;
        }
        self.withheld.remove(group);
    }

    /// Answers a renewal. Only the leader may call this, with the state applied to a read index that
    /// was confirmed after `received`; `received` is when the attempt reached this leader.
    pub fn on_renewal(
        &mut self,
        state: &State,
        renewal: &Renewal,
        received: Timestamp,
        now: Timestamp,
    ) -> Answer {
        assert!(self.facts.elected.is_some(), "only a leader answers renewals");
        let group = state.groups.get(&renewal.group);
        let authority = group.and_then(|g| g.authority.clone());
        let grant = self.grant(renewal, authority.as_ref());
        if grant == Grant::Held
            && let Some(epoch) = renewal.epoch
        {
            let seen = self.facts.renewals.entry(renewal.group.clone()).or_insert((epoch, received));
            *seen = (epoch, seen.1.max(received));
        }
        let peers = group.map(|g| self.peers(g, &renewal.report.server, now)).unwrap_or_default();
        Answer { nonce: renewal.nonce, grant, authority, peers }
    }

    /// Whether a leader may hand its leadership over for no other reason than that another site is the better place
    /// for it. Nobody answers renewals for as long as that takes, so every lease must be nearly whole and nothing
    /// under way: else why not.
    ///
    /// # Errors
    /// What stands against it.
    pub fn may_hand_over(&self, state: &State, timing: &Timing, now: Timestamp) -> Result<(), String> {
        for (id, group) in &state.groups {
            let Some(authority) = group.authority.as_ref() else { continue };
            if authority.phase != Phase::Serving || matches!(authority.durability, Durability::CatchUp { .. })
            {
                return Err(format!("group {id} is {}, {}", authority.phase, authority.durability));
            }
            let renewed = self.facts.renewals.get(id).filter(|(epoch, _)| *epoch == authority.epoch);
            let age = renewed.map(|(_, at)| now.since(*at));
            if age.is_none_or(|age| age > timing.renew + timing.tick * 2) {
                return Err(format!("the lease of group {id} was not renewed lately"));
            }
        }
        Ok(())
    }

    fn grant(&self, renewal: &Renewal, authority: Option<&Authority>) -> Grant {
        let no = |why: String| Grant::No { why };
        let Some(authority) = authority else { return no("the group has not been started".into()) };
        if self.withheld.contains(&renewal.group) {
            return no("a failover is being proposed".into());
        }
        let Some(uuid) = &renewal.uuid else { return no("the server's identity is not known yet".into()) };
        let anybody = self.defects.has(Defect::LeaseForAnybody);
        if !anybody && !authority.names(&renewal.report.server, uuid) {
            return no(format!("the primary is {}", authority.primary.server));
        }
        if !authority.phase.grants() {
            return no(format!("the group is {}", authority.phase));
        }
        if renewal.epoch != Some(authority.epoch) {
            return no(format!("the epoch is {}", authority.epoch));
        }
        Grant::Held
    }

    /// The group's other servers, for a guard that wants to open. One whose process is gone is told
    /// with what it had: it still has it.
    #[must_use]
    pub fn peers(&self, group: &Group, but: &ServerId, now: Timestamp) -> Vec<PeerFact> {
        let others = group.last_of_others(but);
        let told = self.facts.servers.get(but).and_then(|f| Some((&f.report, f.last.as_ref()?)));
        let former = |last: &LastLook| {
            let told = told.filter(|_| !self.defects.has(Defect::GivenUpHoldsShut));
            told.map(|(report, mine)| {
                let theirs = (&last.executed, last.mark);
                of_a_former_run(theirs, &mine.uuid, report.promoted.as_ref(), &mine.held, others)
            })
        };
        let forgotten = self.defects.has(Defect::PromisedIsForgotten);
        let promised: Vec<&ServerId> = group.promised_before().filter(|_| !forgotten).collect();
        group
            .servers
            .keys()
            .filter(|s| *s != but)
            .filter_map(|server| {
                let facts = self.facts.servers.get(server)?;
                let last = facts.last.as_ref()?;
                let former = former(last).unwrap_or_else(GtidSet::empty);
                Some(PeerFact {
                    server: server.clone(),
                    uuid: last.uuid.clone(),
                    process_start: facts.report.process.start(),
                    held: last.held.subtract(&former),
                    reachable: now.since(facts.received) <= self.timing.fresh(),
                    replica: last.replica || promised.contains(&server),
                    acks: match &facts.report.process {
                        // Its next life acknowledges nothing before its guard says so.
                        Process::Gone { .. } => Some(false),
                        // Without a channel it attaches nowhere before its guard has made one, which acknowledges nothing.
                        _ => facts
                            .report
                            .fresh_reading(self.timing.fresh())
                            .map(|r| r.semi_sync.replica_enabled && r.replica.is_some()),
                    },
                })
            })
            .collect()
    }

    /// Whether every lease that any leader can have granted for `group` has run out: `Ok` with how
    /// long was waited, else how long is left.
    ///
    /// # Errors
    /// The time left.
    pub fn outwaited(&self, group: &GroupId, now: Timestamp) -> Result<Duration, Duration> {
        let wait = self.waits.get(group).copied().unwrap_or(self.timing.wait());
        let Some(elected) = self.facts.elected else { return Err(wait) };
        if self.defects.has(Defect::NoWait) {
            return Ok(Duration::ZERO);
        }
        let from = self.facts.renewals.get(group).map_or(elected, |(_, at)| elected.max(*at));
        let waited = now.since(from);
        if waited >= wait { Ok(waited) } else { Err(wait - waited) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what may have been executed unseen is bounded by the fastest second of the last ten.
    #[test]
    fn a_pace_is_the_fastest_of_the_last_looks_and_forgets_what_is_long_past() {
        let at = |ms: u64| Timestamp(ms * 1_000);
        let second = Duration::from_secs(1);
        let looks = |looks: &[(u64, u64)]| {
            looks.iter().fold(Pace::default(), |pace, (ms, count)| pace.noted(at(*ms), *count))
        };
        assert_eq!(Pace::default().within(second), 0);
        assert_eq!(looks(&[(0, 5)]).within(second), 0, "one look has no pace");
        assert_eq!(looks(&[(0, 5), (500, 55)]).within(second), 100);
        let uneven = looks(&[(0, 0), (1_000, 100), (2_000, 400), (3_000, 410)]);
        assert_eq!(uneven.within(second * 2), 600);
        assert_eq!(looks(&[(0, 0), (1_000, 900), (12_000, 910), (13_000, 910)]).within(second), 0);
        assert_eq!(looks(&[(0, 7), (0, 9)]).within(second), 0, "one instant has none either");
    }

    /// Goal: W counts from the later of election and last answered renewal, whichever order.
    #[test]
    fn a_lease_is_outwaited_from_the_later_of_election_and_last_answer() {
        let group: GroupId = "shop".parse().unwrap();
        let w = Timing::METRO.wait();
        let longer: GroupId = "ladder".parse().unwrap();
        let waits = BTreeMap::from([(longer.clone(), w * 2)]);
        let mut desk = Desk::new(Timing::METRO, waits, Defects::NONE);
        assert!(desk.outwaited(&group, Timestamp(u64::MAX)).is_err(), "a follower never knows");
        desk.on_elected(Timestamp(1_000_000));
        assert!(desk.outwaited(&group, Timestamp(1_000_000) + w - Duration::from_micros(1)).is_err());
        assert!(desk.outwaited(&group, Timestamp(1_000_000) + w).is_ok());
        assert_eq!(desk.outwaited(&longer, Timestamp(1_000_000) + w), Err(w), "each group has its own");
        desk.facts.renewals.insert(group.clone(), (Epoch(1), Timestamp(2_000_000)));
        assert_eq!(desk.outwaited(&group, Timestamp(2_000_000)), Err(w));
        assert!(desk.outwaited(&group, Timestamp(2_000_000) + w).is_ok());
        desk.on_elected(Timestamp(3_000_000));
        assert!(desk.outwaited(&group, Timestamp(2_000_000) + w).is_err(), "a new leadership waits anew");
    }
}
