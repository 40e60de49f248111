//! A new generation of the configuration, from a person's text to the committed entry: compared with the
//! one in force, held up to every node, refused with the reason, or committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use app_api::v1::{
    Code, ConfigChange, ConfigGeneration, ConfigPlan, ConfigRequest, ConfigStatus, NodeConfig, NodeVerdict,
    Problem, REASON_MAX,
};
use app_config::{Config, Difference, differences};
use app_link::{Endpoint, Replier};
use failover_core::{
    CONFIG_TEXT_MAX, Command, ConfigText, Configured, GroupSpec, Leases, NewConfiguration, Refusal,
    ServerSpec,
};
use failover_raft::Members;
use model::{Generation, GroupId, Incarnation, NodeId};

use super::roster::Roster;
use super::shared::{Fate, Shared};
use crate::{clock, links, wire};

/// A node answers within this or counts as silent.
const VALIDATE_WITHIN: Duration = Duration::from_millis(1_500);

/// Every group and its servers, as consensus knows them.
pub fn groups_of(config: &Config) -> BTreeMap<GroupId, GroupSpec> {
    // Without a third place nobody can tell a dead site from a cut link (DESIGN §2).
    let leases = if config.witness().is_some() { Leases::Timed } else { Leases::Endless };
    let spec = |id: &GroupId| {
        let servers = config.database_of(id)?.servers.values();
        let servers = servers.map(|s| (s.id.clone(), ServerSpec { site: s.site.clone() })).collect();
        Some((id.clone(), GroupSpec { servers, leases }))
    };
    config.groups().keys().filter_map(spec).collect()
}

/// Whether this node could go by a configuration, for the leader that asks.
pub fn validate(shared: Arc<Shared>, body: &[u8], reply: Replier) {
    match wire::unpack::<wire::Validate>(body) {
        Ok(asked) => {
            tokio::task::spawn_blocking(move || {
                reply.ok(wire::pack(&wire::Validated { problems: problems_here(&shared, &asked.text) }));
            });
        }
        Err(why) => reply.error(format!("question is not readable: {why}")),
    }
}

/// What keeps this very node from it: its own reading of the text, and its own certificates.
fn problems_here(shared: &Shared, text: &str) -> Vec<String> {
    let checked = app_config::check(text, &shared.folder);
    let Some(config) = checked.config else {
        return checked.problems.iter().map(ToString::to_string).collect();
    };
    if !config.nodes().contains_key(&shared.own.id) {
        return Vec::new(); // it leaves, and nothing is asked of it
    }
    let mut problems = super::checks::unreadable(&config);
    let trusted = links::trust(&config, app_cert::Kind::Node, shared.own.id.as_str());
    problems.extend(trusted.err().map(|error| format!("its certificate: {error:#}")));
    problems
}

/// Plans, and commits unless it is a dry run or something stands against it. On the leader.
pub async fn configure(shared: &Arc<Shared>, request: ConfigRequest) -> Result<ConfigPlan, Box<Problem>> {
    let state = shared.state();
    let Some(current) = state.configuration.current.clone() else {
        let title = "no configuration is committed yet; the leader proposes its own file within seconds";
        return Err(problem(Code::Refused, title, vec!["try again".into()]));
    };
    let (text, restores) = wanted(&request, &state.configuration, &current)?;
    let base = app_config::check(current.text.as_str(), &shared.folder).config;
    let base = base.unwrap_or_else(|| (*shared.config()).clone());
    let checked = app_config::check(text.as_str(), &shared.folder);
    let Some(config) = checked.config else {
        let n = checked.problems.len();
        let title = format!(
            "the configuration has {n} problem{} and nothing was done",
            if n == 1 { "" } else { "s" }
        );
        return Err(problem(
            Code::BadRequest,
            title,
            checked.problems.iter().map(ToString::to_string).collect(),
        ));
    };
    let roster = Roster::new(&config).map_err(|why| problem(Code::BadRequest, why, vec![]))?;
    let found = differences(&base, &config);
    let nodes = verdicts(shared, &config, &text, &request.without).await;
    let members = shared.raft_status().members;
    let unfinished = members_change(&base, &config) && unfinished(&base, &roster, &members);
    let mut plan = ConfigPlan {
        base: current.generation.0,
        generation: if found.is_empty() { current.generation.0 } else { current.generation.0 + 1 },
        ready: !unfinished
            && found.iter().all(|d| d.refused.is_none())
            && nodes.iter().all(|n| !["refuses", "silent"].contains(&n.verdict.as_str())),
        changes: found.iter().map(change).collect(),
        nodes,
        applied: false,
    };
    if request.dry_run || found.is_empty() {
        return Ok(plan);
    }
    if unfinished {
        let title = "an earlier change of nodes is not finished";
        let acts = vec![
            "start its new nodes; see who is no voter yet: twofold config show".to_owned(),
            "or take it back: apply the nodes that vote now".to_owned(),
        ];
        return Err(problem(Code::Refused, title, acts));
    }
    if !plan.ready {
        return Err(refused(&plan));
    }
    assert_eq!(roster.voters().len(), config.nodes().len(), "every node has a number of its own");
    let new = NewConfiguration {
        expect: current.generation,
        text,
        changes: found.iter().map(ToString::to_string).collect(),
        restores,
        groups: groups_of(&config),
        by: request.by,
        why: request.why,
    };
    match shared.propose(&Command::Configure { new, at: clock::wall() }).await {
        Fate::Applied => {
            plan.applied = true;
            Ok(plan)
        }
        Fate::Refused(refusal @ Refusal::Generation { .. }) => Err(stale(refusal.to_string())),
        Fate::Refused(refusal) => Err(problem(Code::Refused, refusal.to_string(), vec![])),
        Fate::NotProposed(why) => Err(problem(Code::NoQuorum, format!("nothing was changed: {why}"), vec![])),
        Fate::Unknown(why) => Err(problem(
            Code::NoQuorum,
            format!("it is not known whether it was committed: {why}"),
            vec!["see: twofold config show".into()],
        )),
    }
}

/// The text that is asked for, checked for what can be said before it is read.
fn wanted(
    request: &ConfigRequest,
    known: &failover_core::Configurations,
    current: &Configured,
) -> Result<(ConfigText, Option<Generation>), Box<Problem>> {
    if let Some(expect) = request.expect
        && expect != current.generation.0
    {
        return Err(stale(format!(
            "it was compared with generation {expect}, and generation {} by {} is in force",
            current.generation, current.by
        )));
    }
    if request.why.as_ref().is_some_and(|why| why.chars().count() > REASON_MAX) {
        return Err(problem(Code::BadRequest, format!("why is longer than {REASON_MAX} characters"), vec![]));
    }
    let (text, restores) = match (&request.text, request.restores) {
        (Some(text), None) => (ConfigText::from(text.as_str()), None),
        (None, Some(number)) => match known.get(Generation(number)) {
            Some(earlier) => (earlier.text.clone(), Some(earlier.generation)),
            None => {
                let title = format!("generation {number} is not remembered");
                return Err(problem(
                    Code::NotFound,
                    title,
                    vec!["see those that are: twofold config history".into()],
                ));
            }
        },
        _ => return Err(problem(Code::BadRequest, "give either text or restores", vec![])),
    };
    let bytes = text.as_str().len();
    if bytes > CONFIG_TEXT_MAX {
        let title = format!("the configuration has {bytes} bytes, more than {CONFIG_TEXT_MAX}");
        return Err(problem(Code::BadRequest, title, vec![]));
    }
    Ok((text, restores))
}

fn members_change(old: &Config, new: &Config) -> bool {
    !old.nodes().keys().eq(new.nodes().keys())
}

/// The voters are not those of the configuration yet, and `wanted` is not a way back to those that are.
fn unfinished(in_force: &Config, wanted: &Roster, members: &Members) -> bool {
    let settled = Roster::new(in_force).is_ok_and(|roster| roster.voters() == members.voters);
    members.joint() || !(settled || wanted.voters() == members.voters)
}

/// Asks every node of both configurations at once.
async fn verdicts(
    shared: &Arc<Shared>,
    config: &Config,
    text: &ConfigText,
    without: &[String],
) -> Vec<NodeVerdict> {
    let now: BTreeSet<NodeId> = shared.config().nodes().keys().cloned().collect();
    let mut verdicts: Vec<NodeVerdict> = Vec::new();
    let mut asked = tokio::task::JoinSet::new();
    for node in config.nodes().keys() {
        if !now.contains(node) {
            let file = shared.file.display();
            let life = match shared.incarnation {
                Incarnation(1) => String::new(),
                forced => format!(" --incarnation {forced}"),
            };
            let start = format!(
                "start it with this configuration: twofold serve --config {file} --node {node} --join{life}"
            );
            verdicts.push(verdict(node, "joins", vec![start]));
            continue;
        }
        let (shared, node, text) = (shared.clone(), node.clone(), text.as_str().to_owned());
        asked.spawn(async move {
            let body = wire::pack(&wire::Validate { text });
            let to = Endpoint::Node(node.clone());
            let answer = shared.links.call(&to, wire::VALIDATE, &body, VALIDATE_WITHIN).await;
            let said = match answer {
                Ok(bytes) => wire::unpack::<wire::Validated>(&bytes).map_err(|why| (false, why)),
                Err(app_link::CallError::Remote(why)) => Err((false, why)),
                Err(error) => Err((true, error.to_string())),
            };
            (node, said)
        });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((node, said)) = answer else { continue };
        let passed = without.iter().any(|name| *name == node.as_str());
        verdicts.push(match said {
            Ok(v) if v.problems.is_empty() => verdict(&node, "accepts", vec![]),
            Ok(v) => verdict(&node, "refuses", v.problems),
            Err((false, why)) => verdict(&node, "refuses", vec![why]),
            Err((true, why)) if passed => verdict(&node, "passed-over", vec![why]),
            Err((true, why)) => {
                let act = format!("start it, or apply without its word: --without {node}");
                verdict(&node, "silent", vec![why, act])
            }
        });
    }
    for node in now.iter().filter(|node| !config.nodes().contains_key(*node)) {
        let stop = "stop its service once it says that it is no member any more".to_owned();
        verdicts.push(verdict(node, "leaves", vec![stop]));
    }
    verdicts.sort_by(|a, b| a.node.cmp(&b.node));
    verdicts
}

fn verdict(node: &NodeId, verdict: &str, detail: Vec<String>) -> NodeVerdict {
    NodeVerdict { node: node.to_string(), verdict: verdict.to_owned(), detail }
}

fn change(difference: &Difference) -> ConfigChange {
    ConfigChange {
        path: difference.path.clone(),
        before: difference.before.clone(),
        after: difference.after.clone(),
        refused: difference.refused.clone(),
    }
}

/// All that stands against it.
fn refused(plan: &ConfigPlan) -> Box<Problem> {
    let changes = plan.changes.iter().filter_map(|c| {
        let why = c.refused.as_ref()?;
        Some(format!("{} cannot change while the cluster runs: {why}", c.path))
    });
    let nodes = plan
        .nodes
        .iter()
        .filter(|n| ["refuses", "silent"].contains(&n.verdict.as_str()))
        .map(|n| format!("node {} {}: {}", n.node, n.verdict, n.detail.join("; ")));
    let detail: Vec<String> = changes.chain(nodes).collect();
    problem(Code::Refused, "the configuration stays as it is; nothing was changed", detail)
}

fn stale(title: String) -> Box<Problem> {
    problem(
        Code::StaleGeneration,
        title,
        vec!["look at what is in force, and apply again: twofold config show".into()],
    )
}

fn problem(code: Code, title: impl Into<String>, detail: Vec<String>) -> Box<Problem> {
    Box::new(Problem { code, title: title.into(), detail, loss: None })
}

/// What is in force, what was, and what every node goes by.
pub fn status(shared: &Shared, quorum: bool) -> ConfigStatus {
    let state = shared.state();
    ConfigStatus {
        answered_by: shared.own.id.to_string(),
        quorum,
        current: state.configuration.current.as_ref().map(generation),
        earlier: state.configuration.earlier.iter().rev().map(generation).collect(),
        nodes: nodes(shared),
    }
}

fn generation(c: &Configured) -> ConfigGeneration {
    ConfigGeneration {
        generation: c.generation.0,
        restores: c.restores.map(|g| g.0),
        by: c.by.clone(),
        why: c.why.clone(),
        at_ms: c.at.0,
        changes: c.changes.clone(),
        text: c.text.as_str().to_owned(),
    }
}

/// What each node of the roster goes by; of one that is not heard nothing is said.
pub fn nodes(shared: &Shared) -> Vec<NodeConfig> {
    let settings = shared.settings();
    let members = shared.raft_status().members;
    let configured = shared.configured.lock().expect("no holder of this lock panics").clone();
    let view = shared.links.view();
    let leaving: BTreeSet<&NodeId> = settings.roster.leaving().map(|(node, _)| node).collect();
    let one = |node: &NodeId| {
        let up = *node == shared.own.id
            || view.links.get(&Endpoint::Node(node.clone())).is_some_and(|l| l.reachable());
        let seen = configured.get(node).filter(|_| up);
        let number = settings.roster.number(node).unwrap_or_default();
        let member = match (leaving.contains(node), members.votes(number), members.holds(number)) {
            (true, ..) => "leaving",
            (false, true, _) => "voter",
            (false, false, true) => "learner",
            (false, false, false) => "joins",
        };
        NodeConfig {
            node: node.to_string(),
            generation: seen.map(|s| s.generation.0),
            file: seen.map(|s| s.file.clone()),
            member: member.to_owned(),
        }
    };
    settings.roster.nodes().map(one).collect()
}
