//! A node whose consensus does not start: its log is missing, damaged or another's.
//!
//! DNS needs no consensus (DESIGN §6): where a snapshot is on disk it goes on from that, with the
//! verdicts of this node's own probes, and the API says what is wrong, until the node is told to stop.
//! A node that has nothing to answer from ends at once.
//!
//! Deliberately absent: links, votes, anything by which such a node could act. Repair too: whoever
//! may have voted and forgot it can elect a second leader, so this node never gets a fresh log.

use std::path::Path;

use anyhow::{Result, anyhow};
use app_api::v1::{Code, Problem};
use app_config::{Config, Node};
use failover_raft::StoreError;
use tracing::{error, info};

use super::dns::Dns;
use super::incarnation::Superseded;
use super::probes::Probes;
use super::readings::Readings;
use super::{api, store_path};
use crate::supervised::Supervised;
use crate::{clock, links};

/// Answers DNS and says what is wrong, until told to stop; ends as failed, since this node never ran whole.
pub async fn run(config: &Config, file: &Path, own: &Node, dns: Dns, why: StoreError) -> Result<()> {
    let data = store_path(config, &own.id);
    let acts = next_acts(&why, file, own, &data);
    let why = format!("{:#}", anyhow::Error::from(why));
    let failed = anyhow!("consensus does not start on node {}: {why}\n  {}", own.id, acts.join("\n  "));
    if !dns.answers_from_disk() {
        dns.stop().await;
        return Err(failed.context("the node ends: it has no DNS snapshot on disk to answer from"));
    }
    let problem = Problem {
        code: Code::NoQuorum,
        title: format!("node {} runs without consensus: {why}", own.id),
        detail: acts.clone(),
        loss: None,
    };
    let api = api::start_with_one_answer(config, own, &problem)
        .inspect_err(|error| error!(error = format!("{error:#}"), "the api does not start; DNS goes on"))
        .ok();
    error!(
        why,
        next = acts.join("; "),
        "consensus does not start; this node votes no more, its DNS answers from the last snapshot on disk \
         (bound names by their no-quorum rule) until it is told to stop"
    );
    answer_on(config, own, &dns).await?;
    if let Some(api) = api {
        api.stop();
    }
    dns.stop().await;
    Err(failed)
}

/// The cluster lives on as a later incarnation, without this node. Names that are bound to a group answer
/// SERVFAIL, whatever their rule: the last route this node knows leads to the side that was fenced.
pub async fn superseded(config: &Config, file: &Path, own: &Node, dns: Dns, why: &Superseded) -> Result<()> {
    let acts = vec![
        "never run quorum force here: this log is of a life that is over".to_owned(),
        format!(
            "to bring it back into the cluster as it is now: stop it, put its folder {} aside, then \
             twofold serve --config {} --node {} --join --incarnation {}, and start it",
            config.node_dir(&own.id).display(),
            file.display(),
            own.id,
            why.heard
        ),
    ];
    let failed = anyhow!("node {} is out of the cluster: {why}\n  {}", own.id, acts.join("\n  "));
    dns.answers().forget_routes();
    let problem = Problem {
        code: Code::NoQuorum,
        title: format!("node {} is out of the cluster: {why}", own.id),
        detail: acts.clone(),
        loss: None,
    };
    let api = api::start_with_one_answer(config, own, &problem)
        .inspect_err(|error| error!(error = format!("{error:#}"), "the api does not start; DNS goes on"))
        .ok();
    error!(
        %why,
        next = acts.join("; "),
        "this node is of an earlier incarnation: it votes no more, and its DNS answers SERVFAIL for bound names \
         until it is told to stop"
    );
    answer_on(config, own, &dns).await?;
    if let Some(api) = api {
        api.stop();
    }
    dns.stop().await;
    Err(failed)
}

async fn answer_on(config: &Config, own: &Node, dns: &Dns) -> Result<()> {
    let mut probes = Probes::start(config, &own.site, Readings::new(config));
    let mut known = probes.verdicts(clock::now());
    let mut ticks = tokio::time::interval(config.timing().tick);
    let mut stop = links::stop_signal()?;
    let mut supervised = Supervised::ready();
    loop {
        supervised.alive();
        tokio::select! {
            () = stop.recv() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let verdicts = probes.verdicts(clock::now());
        if verdicts != known {
            info!("dns takes this node's own verdicts");
            dns.answers().take_verdicts(verdicts.clone());
            known = verdicts;
        }
    }
}

/// What a person can really do about it in this version.
fn next_acts(why: &StoreError, file: &Path, own: &Node, log: &Path) -> Vec<String> {
    let never = "replace it under a new name: put that into the configuration instead of this one, twofold apply, \
                 and start the new node once with --join";
    match why {
        StoreError::Missing { .. } => vec![
            format!(
                "is the disk of {} mounted, and is data-dir right? mend it and start the node again",
                log.display()
            ),
            format!(
                "only if this node never ran before: twofold serve --config {} --node {} --init",
                file.display(),
                own.id
            ),
            format!("if it ran and the file is lost, never --init it: it may have voted; {never}"),
        ],
        StoreError::Damaged { .. } => vec![
            "keep the file, never --init this node again, and restore no backup: it may have voted".into(),
            never.into(),
        ],
        StoreError::Foreign { .. } => vec![format!(
            "correct --node, or cluster and data-dir in {}, or put this node's own log there; then start it again",
            file.display()
        )],
        _ => vec![format!("look at the disk and the rights of {}; then start the node again", log.display())],
    }
}
