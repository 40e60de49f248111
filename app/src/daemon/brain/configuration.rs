//! The committed configuration comes into force here, the members follow it, and the guards hear of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use app_link::Endpoint;
use failover_core::{Command, NewConfiguration, State};
use failover_raft::{Next, next_step};
use model::{Generation, ServerId, Timestamp};
use tracing::{debug, error, info, warn};

use super::{Brain, News, READ_WITHIN};
use crate::daemon::configure;
use crate::daemon::settings::Settings;
use crate::generation_file::{self, Committed};
use crate::{clock, wire};

/// Guards are told the generation this often; one that was cut off asks for it then.
const TELL_GUARDS_EVERY: Duration = Duration::from_secs(2);
/// A node that is no member any more, or is configured out and hears no leader for so long, ends.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// What this part of the brain remembers.
pub struct Following {
    /// The generation that was looked at last, in force or not.
    looked_at: Generation,
    /// A change of members is being proposed.
    steering: bool,
    /// The first generation is being proposed.
    first: bool,
    tell_due: Timestamp,
    /// Since when this node is configured out and hears no leader.
    alone_since: Option<Timestamp>,
    /// The generation that configured it out.
    removed_by: Option<Generation>,
}

impl Following {
    /// Begins at what the node started from.
    pub fn new(generation: Generation, now: Timestamp) -> Self {
        Self {
            looked_at: generation,
            steering: false,
            first: false,
            tell_due: now,
            alone_since: None,
            removed_by: None,
        }
    }
}

impl Brain {
    /// Another generation that is committed comes into force; one that this node cannot use is said, and
    /// the last one stays.
    pub(super) fn follow_configuration(&mut self, state: &State, now: Timestamp) {
        let members = self.shared.raft_status().members;
        if let Some(committed) = &state.configuration.current
            && committed.generation > self.following.looked_at
        {
            self.following.looked_at = committed.generation;
            let committed = Committed::new(committed.generation, committed.text.as_str());
            match self.take(&committed) {
                Ok(()) => *self.shared.not_in_force.lock().expect("no holder panics") = None,
                Err(why) => {
                    error!(generation = %committed.generation, why, "the committed configuration is not in force here");
                    let why =
                        format!("generation {} is not in force on this node: {why}", committed.generation);
                    *self.shared.not_in_force.lock().expect("no holder panics") = Some(why);
                }
            }
            self.following.tell_due = now;
        }
        let settings = self.shared.settings();
        let roster = settings.roster.without_left(&members);
        if roster != settings.roster {
            info!("nodes that are members no more are let go");
            self.swap(settings.with_roster(roster));
        }
        if self.leading.is_some() && now >= self.following.tell_due {
            self.following.tell_due = now + TELL_GUARDS_EVERY;
            self.tell_guards(state);
        }
    }

    fn take(&mut self, committed: &Committed) -> Result<(), String> {
        let config = committed.resolve(&self.shared.folder).map_err(|problems| problems.join("; "))?;
        let own = &self.shared.own;
        if !config.nodes().contains_key(&own.id) {
            // It goes on as it is until its vote is taken away, which needs its own part in it.
            warn!(generation = %committed.generation, "this node is configured out; it ends when it is no member any more");
            self.following.removed_by = Some(committed.generation);
            return Ok(());
        }
        self.following.removed_by = None;
        let before = self.shared.settings();
        let members = self.shared.raft_status().members;
        let settings = Settings::new(committed.generation, Arc::new(config), before.policy.defects)?;
        let roster = settings.roster.clone().with_leaving(&before.roster, &members);
        let settings = settings.with_roster(roster);
        let config = settings.config.clone();
        let policy = settings.policy.clone();
        self.swap(settings);
        self.shared.desk().configure(&policy);
        if (config.pools(), config.checks()) != (before.config.pools(), before.config.checks()) {
            self.probes.configure(&config);
        }
        info!(generation = %committed.generation, "configuration in force");
        let (folder, committed) = (self.shared.start.node_dir(&own.id), committed.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = generation_file::save(&folder, &committed) {
                // Raft tells it again after a restart; until then the file counts.
                warn!(error = format!("{error:#}"), "the configuration is not kept on disk");
            }
        });
        Ok(())
    }

    fn swap(&self, settings: Settings) {
        let guards: BTreeSet<ServerId> =
            settings.config.databases().values().flat_map(|db| db.servers.keys().cloned()).collect();
        if let Err(error) = self.shared.links.set_roster(&settings.roster.peers(), &guards) {
            error!(%error, "the links keep their roster");
        }
        self.shared.in_force.set(settings);
    }

    /// The number goes to every guard; one that has a lower one asks for the text.
    fn tell_guards(&self, state: &State) {
        let generation = state.configuration.generation();
        let config = self.shared.config();
        for server in config.databases().values().flat_map(|db| db.servers.keys()) {
            let to = Endpoint::Guard(server.clone());
            let _ = self.shared.links.cast(&to, wire::GENERATION, &generation.0.to_be_bytes());
        }
    }

    /// The leader's own file becomes generation 1, once, and only where it names the members that are.
    pub(super) fn first_configuration(&mut self, state: &State) {
        let settings = self.shared.settings();
        let members = self.shared.raft_status().members;
        if self.following.first
            || state.configuration.current.is_some()
            || members.joint()
            || settings.roster.voters() != members.voters
        {
            return;
        }
        self.following.first = true;
        let (shared, news) = (self.shared.clone(), self.news.clone());
        tokio::spawn(async move {
            if let Ok(text) = tokio::fs::read_to_string(&shared.file).await {
                let checked = app_config::check(&text, &shared.folder).config;
                if checked.as_ref() == Some(&*shared.config()) {
                    let new = NewConfiguration {
                        expect: Generation(0),
                        text: text.as_str().into(),
                        changes: vec!["the first one: the file of the node that led".into()],
                        restores: None,
                        groups: configure::groups_of(&shared.config()),
                        by: "twofold".into(),
                        why: None,
                    };
                    let fate = shared.propose(&Command::Configure { new, at: clock::wall() }).await;
                    debug!(?fate, "the first configuration");
                } else {
                    warn!("the file has changed since this node started; it is not proposed");
                }
            }
            // Not at once again: a file that has gone is looked for every few seconds.
            tokio::time::sleep(TELL_GUARDS_EVERY).await;
            let _ = news.send(News::FirstConfigured).await;
        });
    }

    /// The members follow the configuration, one step at a time.
    pub(super) fn steer_members(&mut self, state: &State) {
        let generation = state.configuration.generation();
        if self.following.steering || state.configuration.current.is_none() {
            return;
        }
        let settings = self.shared.settings();
        let target = if self.following.removed_by == Some(generation) {
            // It kept its own settings, and still gives its place away.
            self.target_of(state)
        } else {
            (settings.generation == generation).then(|| settings.roster.voters())
        };
        let Some(target) = target else { return };
        let status = self.shared.raft_status();
        let next = next_step(&target, &status.members, status.id, &status.progress, status.commit);
        match next {
            Next::Settled | Next::Wait(_) => {}
            Next::Propose(step) => {
                info!(?step, "members change");
                self.following.steering = true;
                let (shared, news) = (self.shared.clone(), self.news.clone());
                tokio::spawn(async move {
                    if let Err(error) = shared.raft.change_members(step, Instant::now() + READ_WITHIN).await {
                        debug!(%error, "members do not change yet");
                    }
                    let _ = news.send(News::Steered).await;
                });
            }
            Next::HandOver(to) => {
                info!(to = ?settings.roster.node(to), "leadership goes to a node that stays");
                self.following.steering = true;
                let (shared, news) = (self.shared.clone(), self.news.clone());
                tokio::spawn(async move {
                    if let Err(error) = shared.raft.transfer_leader(to, Instant::now() + READ_WITHIN).await {
                        debug!(%error, "leadership was not handed over");
                    }
                    let _ = news.send(News::Steered).await;
                });
            }
        }
    }

    /// Who ought to vote, where this node is not among them and kept its own settings.
    fn target_of(&self, state: &State) -> Option<BTreeSet<u64>> {
        let current = state.configuration.current.as_ref()?;
        let config = app_config::check(current.text.as_str(), &self.shared.folder).config?;
        crate::daemon::roster::Roster::new(&config).ok().map(|roster| roster.voters())
    }

    pub(super) fn steered(&mut self) {
        self.following.steering = false;
    }

    pub(super) fn first_configured(&mut self) {
        self.following.first = false;
    }

    /// A node that was configured out ends when its vote is gone, or when nobody leads it any more: the
    /// entry that took its vote need not have reached it.
    pub(super) fn leave_when_removed(&mut self, now: Timestamp) -> Result<()> {
        let Some(generation) = self.following.removed_by else {
            self.following.alone_since = None;
            return Ok(());
        };
        let status = self.shared.raft_status();
        let member = status.members.holds(status.id);
        if status.leader.is_some() && member {
            self.following.alone_since = None;
            return Ok(());
        }
        let since = *self.following.alone_since.get_or_insert(now);
        if !member || now.since(since) >= GONE_AFTER {
            bail!(
                "node {} is no member any more: generation {generation} of the configuration leaves it out; stop its \
                 service, and keep or remove its folder {}",
                self.shared.own.id,
                self.shared.start.node_dir(&self.shared.own.id).display()
            );
        }
        Ok(())
    }
}
