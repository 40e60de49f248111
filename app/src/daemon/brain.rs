//! The one task that wakes a node: what guards and nodes send, Raft's changes, ticks. It keeps the
//! desk, answers renewals, decides when it leads, pushes changed authorities, and starts steps.

mod configuration;
mod holding;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use app_link::{Endpoint, Inbound};
use failover_core::{Change, Command, OtherLife, Renewal, Told, Vantage, decide, hear_life};
use failover_raft::Role;
use model::{GroupId, Incarnation, NodeId, ServerId, SiteId, Timestamp, Version};
use runbooks_core::{ExecutionId, StepId};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::dns::Feed;
use super::drift::Drift;
use super::incarnation::Superseded;
use super::probes::Probes;
use super::shared::{Fate, Shared};
use super::{answer_api, configure, executor};
use crate::generation_file::Committed;
use crate::supervised::Supervised;
use crate::{clock, wire};

use configuration::Following;
use holding::Holding;

/// What a node sees is told to the others this often.
const VANTAGE_EVERY: Duration = Duration::from_millis(100);
/// A read index that takes longer than this answers no renewal: the guard has asked again by then.
const READ_WITHIN: Duration = Duration::from_millis(500);
/// Renewals that wait for a read index; two guards a group at twenty a second and five ways each.
const RENEWALS_MAX: usize = 256;
/// A leader that sits in the active site hands over after it has led for so long, and tries again
/// after as long.
const TRANSFER_AFTER: Duration = Duration::from_secs(3);

/// What tasks tell the brain.
pub enum News {
    /// A read index confirmed after these renewals came.
    Readable { term: u64, renewals: Vec<Pending> },
    /// The read index failed.
    Unreadable,
    /// A proposal of a decision is settled.
    Settled { group: GroupId, begin: bool },
    /// The proposal of a change of members is settled.
    Steered,
    /// That of a note is.
    Noted { group: GroupId },
    /// That of the first configuration is.
    FirstConfigured,
    /// A step's task is over.
    StepOver { group: GroupId, execution: ExecutionId, step: StepId },
}

/// A renewal that waits for a read index.
pub struct Pending {
    guard: ServerId,
    renewal: Renewal,
    received: Timestamp,
}

struct Brain {
    shared: Arc<Shared>,
    probes: Probes,
    feed: Feed,
    news: mpsc::Sender<News>,
    leading: Option<u64>,
    waiting: Vec<Pending>,
    reading: bool,
    proposing: BTreeSet<GroupId>,
    steps: BTreeSet<(GroupId, ExecutionId, StepId)>,
    told: BTreeMap<GroupId, Version>,
    seen: BTreeMap<NodeId, (Timestamp, SiteId, BTreeSet<ServerId>)>,
    vantage_due: Timestamp,
    transfer_due: Timestamp,
    /// A later life of the cluster was heard of: this one is over.
    superseded: Option<Superseded>,
    rival_told: bool,
    following: Following,
    drift: Drift,
    holding: Holding,
}

/// Runs until the links or Raft end.
pub async fn run(
    shared: Arc<Shared>,
    mut inbound: mpsc::Receiver<Inbound>,
    probes: Probes,
    feed: Feed,
) -> Result<()> {
    let (news, mut newses) = mpsc::channel(1_024);
    let mut applied = shared.applied.clone();
    let mut status = shared.raft.status();
    let mut ticks = tokio::time::interval(shared.timing.tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let now = clock::now();
    let following = Following::new(shared.settings().generation, now);
    let drift = Drift::watch(&shared);
    let mut brain = Brain {
        shared,
        probes,
        feed,
        news,
        leading: None,
        waiting: Vec::new(),
        reading: false,
        proposing: BTreeSet::new(),
        steps: BTreeSet::new(),
        told: BTreeMap::new(),
        seen: BTreeMap::new(),
        vantage_due: now,
        transfer_due: now + TRANSFER_AFTER,
        superseded: None,
        rival_told: false,
        following,
        drift,
        holding: Holding::default(),
    };
    brain.feed.start(&brain.shared);
    let mut supervised = Supervised::ready();
    loop {
        supervised.alive();
        tokio::select! {
            message = inbound.recv() => match message {
                Some(message) => brain.on_message(message),
                None => bail!("the links ended"),
            },
            Some(news) = newses.recv() => brain.on_news(news),
            changed = applied.changed() => {
                if changed.is_err() {
                    bail!("consensus ended: {}", brain.why_stopped());
                }
                applied.borrow_and_update();
            }
            changed = status.changed() => {
                if changed.is_err() || status.borrow_and_update().stopped.is_some() {
                    bail!("consensus ended: {}", brain.why_stopped());
                }
            }
            _ = ticks.tick() => {}
        }
        if let Some(superseded) = brain.superseded.take() {
            return Err(superseded.into());
        }
        brain.settle()?;
    }
}

impl Brain {
    fn why_stopped(&self) -> String {
        self.shared.raft_status().stopped.map_or_else(|| "its thread is gone".into(), |s| format!("{s:?}"))
    }

    fn on_message(&mut self, message: Inbound) {
        let now = clock::now();
        match message {
            Inbound::Cast { topic: wire::RAFT, from: Endpoint::Node(node), body, .. } => {
                let Some(number) = self.shared.settings().roster.number(&node) else { return };
                let Some(body) = self.of_this_life(&body, node.as_str()) else { return };
                if let Err(error) = self.shared.raft.step(number, body) {
                    debug!(%error, "raft message dropped");
                }
            }
            Inbound::Cast { topic: wire::RENEW, from: Endpoint::Guard(guard), body, .. } => {
                match wire::unpack::<Renewal>(&body) {
                    Ok(renewal) if renewal.report.server == guard => {
                        self.on_renewal(guard, renewal, true, now)
                    }
                    Ok(renewal) => {
                        warn!(guard = %guard, claims = %renewal.report.server, "renewal of another server")
                    }
                    Err(why) => warn!(guard = %guard, why, "renewal is not readable"),
                }
            }
            Inbound::Cast { topic: wire::PASSED_ON, from: Endpoint::Node(node), body, .. } => {
                match wire::unpack::<wire::PassedOn>(&body) {
                    Ok(p) if p.renewal.report.server == p.guard => {
                        self.on_renewal(p.guard, p.renewal, false, now)
                    }
                    Ok(_) => warn!(node = %node, "passed-on renewal of another server"),
                    Err(why) => warn!(node = %node, why, "passed-on renewal is not readable"),
                }
            }
            Inbound::Cast { topic: wire::VANTAGE, from: Endpoint::Node(node), body, .. } => {
                match wire::unpack::<wire::Seen>(&body) {
                    Ok(seen) if seen.incarnation != self.shared.incarnation => {
                        self.another_life(seen.incarnation, node.as_str());
                    }
                    Ok(seen) => {
                        self.probes.heard(&seen, now);
                        self.shared.saw_configuration(&node, &seen.configuration);
                        self.seen.insert(node, (now, seen.site, seen.hears.into_iter().collect()));
                    }
                    Err(why) => warn!(node = %node, why, "vantage is not readable"),
                }
            }
            Inbound::Call { topic: wire::API, body, reply, .. } => {
                answer_api::passed_on(self.shared.clone(), &body, reply);
            }
            Inbound::Call { topic: wire::READ, reply, .. } => {
                let shared = self.shared.clone();
                tokio::spawn(async move {
                    match shared.raft.read_index(Instant::now() + READ_WITHIN).await {
                        Ok(index) => reply.ok(index.to_be_bytes().to_vec()),
                        Err(error) => reply.error(error.to_string()),
                    }
                });
            }
            Inbound::Call { topic: wire::VALIDATE, body, reply, .. } => {
                configure::validate(self.shared.clone(), &body, reply);
            }
            Inbound::Call { topic: wire::CONFIGURATION, reply, .. } => {
                match &self.shared.state().configuration.current {
                    Some(c) => reply.ok(wire::pack(&Committed::new(c.generation, c.text.as_str()))),
                    None => reply.error("no configuration is committed"),
                }
            }
            Inbound::Call { topic, reply, .. } => {
                reply.error(format!("a node does not answer topic {topic}"))
            }
            Inbound::Cast { topic, from, .. } => debug!(topic, from = %from, "cast dropped"),
        }
    }

    /// Every node files the report; only the leader answers, a follower passes on what a guard sent
    /// it. What was passed on once is not passed on again.
    fn on_renewal(&mut self, guard: ServerId, renewal: Renewal, own: bool, now: Timestamp) {
        let heard = renewal.report.latch.seen.incarnation;
        if heard > self.shared.incarnation {
            self.another_life(heard, guard.as_str());
        }
        self.shared.desk().on_report(renewal.report.clone(), now);
        if self.leading.is_some() {
            if self.waiting.len() < RENEWALS_MAX {
                self.waiting.push(Pending { guard, renewal, received: now });
            }
            return;
        }
        let leader = self.shared.raft_status().leader.and_then(|n| self.shared.settings().roster.endpoint(n));
        if let Some(leader) = leader.filter(|_| own) {
            let body = wire::pack(&wire::PassedOn { guard, renewal });
            let _ = self.shared.links.cast(&leader, wire::PASSED_ON, &body);
        }
    }

    /// A raft message of this life of the cluster; any other is refused for ever (I8).
    fn of_this_life<'a>(&mut self, body: &'a [u8], from: &str) -> Option<&'a [u8]> {
        let (incarnation, message) = wire::untag(body)?;
        if incarnation != self.shared.incarnation {
            self.another_life(incarnation, from);
            return None;
        }
        Some(message)
    }

    /// An earlier life is refused and learns of ours from us. A later one ends this one. One of the same
    /// count is what another person forced: neither follows the other, and no message passes.
    fn another_life(&mut self, heard: Incarnation, from: &str) {
        let own = self.shared.incarnation;
        let blank = self.shared.state().incarnation == Incarnation(0);
        match hear_life(own, blank, heard, self.shared.settings().policy.defects) {
            OtherLife::Same | OtherLife::Earlier => {}
            OtherLife::Later => {
                self.superseded = Some(Superseded { own, heard, from: from.to_owned() });
            }
            OtherLife::Unfounded if !self.rival_told => {
                self.rival_told = true;
                error!(
                    %own, %heard, from,
                    "this node was made for an incarnation that the cluster is not of; put its folder aside and join \
                     again with --incarnation as heard"
                );
            }
            OtherLife::Rival if !self.rival_told => {
                self.rival_told = true;
                error!(%own, %heard, from, "another half of this cluster was forced as well: end one of the two");
            }
            OtherLife::Unfounded | OtherLife::Rival => {}
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Readable { term, renewals } => {
                self.reading = false;
                self.answer(term, renewals);
            }
            News::Unreadable => self.reading = false,
            News::Settled { group, begin } => {
                self.proposing.remove(&group);
                if begin {
                    self.shared.desk().resume(&group);
                }
            }
            News::Steered => self.steered(),
            News::Noted { group } => self.noted(&group),
            News::FirstConfigured => self.first_configured(),
            News::StepOver { group, execution, step } => {
                self.steps.remove(&(group, execution, step));
            }
        }
    }

    /// The state is applied to the read index; what stands in it now is what was agreed.
    fn answer(&mut self, term: u64, renewals: Vec<Pending>) {
        if self.leading != Some(term) {
            return;
        }
        let state = self.shared.state();
        let now = clock::now();
        for pending in renewals {
            let answer = self.shared.desk().on_renewal(&state, &pending.renewal, pending.received, now);
            let _ =
                self.shared.links.cast(&Endpoint::Guard(pending.guard), wire::ANSWER, &wire::pack(&answer));
        }
    }

    fn settle(&mut self) -> Result<()> {
        let now = clock::now();
        self.follow_raft(now);
        self.follow_configuration(&self.shared.state(), now);
        self.leave_when_removed(now)?;
        self.look_around(now);
        self.read_for_renewals();
        // Before that its state may lack what an earlier leader committed last: a step that is done
        // would look as if it were not.
        if self.leading.is_some() && self.shared.raft_status().current {
            self.lead(now);
        }
        self.feed.refresh(&self.shared, &mut self.probes, now);
        Ok(())
    }

    fn follow_raft(&mut self, now: Timestamp) {
        let status = self.shared.raft_status();
        let leading = (status.role == Role::Leader).then_some(status.term);
        if leading == self.leading {
            return;
        }
        self.leading = leading;
        self.waiting.clear();
        self.proposing.clear();
        self.told.clear();
        match leading {
            Some(term) => {
                info!(term, "this node leads");
                // At or after the election, never before: W counts from here.
                let elected = status.elected_at.map_or(now, Timestamp);
                self.shared.desk().on_elected(elected.max(Timestamp(0)));
                self.transfer_due = now + TRANSFER_AFTER;
            }
            None => {
                info!(leader = ?status.leader.and_then(|n| self.shared.settings().roster.node(n).cloned()), "this node follows");
                self.shared.desk().on_deposed();
            }
        }
    }

    /// Tells the others what this node sees, and files what each site sees.
    fn look_around(&mut self, now: Timestamp) {
        if now < self.vantage_due {
            return;
        }
        self.vantage_due = now + VANTAGE_EVERY;
        let hears: BTreeSet<ServerId> = self
            .shared
            .links
            .hears()
            .into_iter()
            .filter_map(|e| match e {
                Endpoint::Guard(server) => Some(server),
                Endpoint::Node(_) => None,
            })
            .collect();
        let own = &self.shared.own;
        let seen = wire::Seen {
            // Of what is agreed on, and not of what somebody typed when the log was made: a node that joins under
            // a number that never was ends nobody's life.
            incarnation: self.shared.state().incarnation,
            site: own.site.clone(),
            hears: hears.iter().cloned().collect(),
            observations: self.probes.to_tell(now),
            configuration: wire::SeenConfiguration {
                generation: self.shared.settings().generation,
                file: self.drift.get(),
            },
        };
        self.shared.saw_configuration(&own.id, &seen.configuration);
        let body = wire::pack(&seen);
        for node in self.shared.settings().roster.nodes().filter(|n| **n != own.id) {
            let _ = self.shared.links.cast(&Endpoint::Node(node.clone()), wire::VANTAGE, &body);
        }
        self.seen.insert(own.id.clone(), (now, own.site.clone(), hears));
        let mut sites: BTreeMap<SiteId, Vantage> = BTreeMap::new();
        for (heard, site, hears) in self.seen.values() {
            if now.since(*heard) > self.shared.timing.fresh() {
                continue;
            }
            let vantage = sites.entry(site.clone()).or_default();
            vantage.heard = vantage.heard.max(*heard);
            vantage.hears.extend(hears.iter().cloned());
        }
        let mut desk = self.shared.desk();
        for (site, vantage) in sites {
            desk.on_vantage(site, vantage);
        }
    }

    /// One read index for all renewals that wait.
    fn read_for_renewals(&mut self) {
        let Some(term) = self.leading else { return };
        if self.reading || self.waiting.is_empty() {
            return;
        }
        self.reading = true;
        let renewals = std::mem::take(&mut self.waiting);
        let (shared, news) = (self.shared.clone(), self.news.clone());
        tokio::spawn(async move {
            let told = match shared.raft.read_index(Instant::now() + READ_WITHIN).await {
                Ok(_) => News::Readable { term, renewals },
                Err(error) => {
                    debug!(%error, "renewals are not answered");
                    News::Unreadable
                }
            };
            let _ = news.send(told).await;
        });
    }

    fn lead(&mut self, now: Timestamp) {
        let state = self.shared.state();
        if state.incarnation == Incarnation(0) {
            self.found();
            return;
        }
        self.first_configuration(&state);
        self.steer_members(&state);
        self.push_changes(&state, now);
        self.shared.desk().on_wall(clock::wall());
        let decision = decide(&state, self.shared.desk().facts(), &self.shared.policy(), now);
        for (group, explanation) in &decision.groups {
            if let Some(act) = &explanation.act
                && !self.proposing.contains(group)
            {
                info!(group = %group, diagnosis = explanation.diagnosis.name(), because = ?explanation.because, change = ?act.change, "decided");
                let command = Command::Change {
                    group: group.clone(),
                    expect: act.expect,
                    change: act.change.clone(),
                    at: clock::wall(),
                };
                self.propose(group.clone(), command, matches!(act.change, Change::Begin { .. }));
            }
        }
        self.note_what_is_held(&state, &decision, now);
        *self.shared.decision.lock().expect("no holder of this lock panics") = Arc::new(decision);
        executor::advance(&self.shared, &state, &mut self.steps, &self.news);
        self.prefer_standby(&state, now);
    }

    fn found(&mut self) {
        let groups = configure::groups_of(&self.shared.config());
        let Some(first) = groups.keys().next().cloned() else { return };
        if !self.proposing.contains(&first) {
            self.propose(first, Command::Found { incarnation: Incarnation(1), groups }, false);
        }
    }

    /// Proposes; while a Begin is not settled, no renewal of its group is answered.
    fn propose(&mut self, group: GroupId, command: Command, begin: bool) {
        self.proposing.insert(group.clone());
        if begin {
            self.shared.desk().withhold(&group);
        }
        let (shared, news) = (self.shared.clone(), self.news.clone());
        tokio::spawn(async move {
            let mut fate = shared.propose(&command).await;
            // A later read index lies behind the entry, if there is one: then its fate is in the state.
            while matches!(fate, Fate::Unknown(_)) && shared.leading().is_some() {
                if shared.raft.read_index(Instant::now() + READ_WITHIN).await.is_ok() {
                    fate = Fate::NotProposed("settled by a read index".into());
                }
            }
            if let Fate::Refused(refusal) = &fate {
                info!(group = %group, %refusal, "proposal refused");
            }
            let _ = news.send(News::Settled { group, begin }).await;
        });
    }

    /// Guards hear of a changed authority at once, not with their next renewal.
    fn push_changes(&mut self, state: &failover_core::State, now: Timestamp) {
        for (id, group) in &state.groups {
            let Some(authority) = &group.authority else { continue };
            if self.told.get(id) == Some(&authority.version) {
                continue;
            }
            self.told.insert(id.clone(), authority.version);
            for server in group.servers.keys() {
                let peers = self.shared.desk().peers(group, server, now);
                let told = Told { authority: authority.clone(), peers };
                let to = Endpoint::Guard(server.clone());
                let _ = self.shared.links.cast(&to, wire::TOLD, &wire::pack(&told));
            }
        }
    }

    /// The leader prefers to sit in the standby site: losing the active one then costs no election.
    fn prefer_standby(&mut self, state: &failover_core::State, now: Timestamp) {
        if now < self.transfer_due || !self.steps.is_empty() || !self.proposing.is_empty() {
            return;
        }
        self.transfer_due = now + TRANSFER_AFTER;
        let mut active: BTreeMap<&SiteId, usize> = BTreeMap::new();
        for authority in state.groups.values().filter_map(|g| g.authority.as_ref()) {
            *active.entry(&authority.primary.site).or_default() += 1;
        }
        let Some((active, _)) = active.into_iter().max_by_key(|(_, n)| *n) else { return };
        let settings = self.shared.settings();
        let Some(standby) = settings.config.other_data_site(active) else { return };
        if self.shared.own.site == *standby {
            return;
        }
        let status = self.shared.raft_status();
        let caught_up =
            |number: u64| status.progress.iter().any(|p| p.id == number && p.matched + 16 >= status.commit);
        let view = self.shared.links.view();
        let voters = &status.members.voters;
        let target = settings.roster.nodes().find(|n| {
            let up = view.links.get(&Endpoint::Node((*n).clone())).is_some_and(|l| l.up);
            let number = settings.roster.number(n).filter(|number| voters.contains(number));
            settings.roster.site(n) == Some(standby) && up && number.is_some_and(caught_up)
        });
        let Some(target) = target.cloned() else { return };
        let Some(number) = settings.roster.number(&target) else { return };
        if let Err(why) = self.shared.desk().may_hand_over(state, &self.shared.policy().timing, now) {
            debug!(why, "leadership stays for now");
            return;
        }
        info!(to = %target, "leadership goes to the standby site");
        let raft = self.shared.raft.clone();
        tokio::spawn(async move {
            if let Err(error) = raft.transfer_leader(number, Instant::now() + READ_WITHIN).await {
                debug!(%error, "leadership was not handed over");
            }
        });
    }
}
