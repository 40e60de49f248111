//! Screens for people. `status` answers, top down: is the cluster itself well, who is active and
//! since when, may it fail over now and if not why not, what is being done.

use std::fmt::Write;

use app_api::v1::{
    BreakGlassStatus, DnsExplanation, ExecutionStatus, Explanation, FinishedExecution, GroupStatus, Loss,
    MaintenanceStatus, NodeStatus, ProbeStatus, ServerStatus, Status, SwitchoverPlan,
};

/// The screen.
pub fn status(s: &Status) -> String {
    let mut out = String::new();
    let up = s.nodes.iter().filter(|n| n.up).count();
    let _ = writeln!(
        out,
        "cluster {}   {}   nodes {up}/{}   leader {}   {}",
        s.cluster,
        if s.quorum { "quorum" } else { "NO QUORUM" },
        s.nodes.len(),
        s.leader.as_deref().unwrap_or("none"),
        time(s.at_ms),
    );
    let seen = Seen::of(s.quorum, s.confirmed_ms);
    whose_view(&mut out, s.trouble.as_deref(), &s.answered_by, seen);
    for alarm in &s.break_glass {
        let _ = writeln!(out, "  !! {}", break_glass(alarm));
    }
    let mut sites: Vec<&str> = s.nodes.iter().map(|n| n.site.as_str()).collect();
    sites.sort_unstable();
    sites.dedup();
    for site in sites {
        let nodes: Vec<String> = s.nodes.iter().filter(|n| n.site == site).map(node).collect();
        let _ = writeln!(out, "  {site:<8} {}", nodes.join("  "));
    }
    for line in configuration(&s.nodes) {
        let _ = writeln!(out, "  config   {line}");
    }
    if s.groups.is_empty() {
        let _ = writeln!(out, "\nno groups are known yet: the cluster has not been founded");
    }
    for g in &s.groups {
        out.push('\n');
        group(&mut out, g, seen, s.at_ms);
    }
    out
}

/// A token from the envelope was used: somebody must look.
pub fn break_glass(alarm: &BreakGlassStatus) -> String {
    let uses = if alarm.uses == 1 { "once".to_owned() } else { format!("{} times", alarm.uses) };
    format!(
        "break-glass token {} was used {uses} since {}, last {} for {}; look into it, then: twofold token \
         acknowledge {}",
        alarm.token,
        time(alarm.since_ms),
        time(alarm.last_ms),
        alarm.what,
        alarm.token
    )
}

/// What a person should know of the configuration: nodes that go by another generation than most, and
/// files that were edited and not applied.
pub fn configuration(nodes: &[NodeStatus]) -> Vec<String> {
    let newest = nodes.iter().filter_map(|n| n.generation).max();
    let behind = nodes.iter().filter(|n| n.generation.is_some() && n.generation != newest).map(|n| {
        let generation = n.generation.unwrap_or(0);
        format!("{} goes by generation {generation}, the newest is {}", n.name, newest.unwrap_or(0))
    });
    let drifted: Vec<&NodeStatus> = nodes.iter().filter(|n| n.drift.is_some()).collect();
    let drift = drifted.first().map(|first| {
        let names: Vec<&str> = drifted.iter().map(|n| n.name.as_str()).collect();
        let words = first.drift.as_deref().unwrap_or_default();
        format!("DRIFT: the file of {} {words}; twofold config show", names.join(", "))
    });
    behind.chain(drift).collect()
}

/// A node, its leadership, how it is reached, and what it is where it is no voter.
pub fn node(n: &NodeStatus) -> String {
    let via = n.via.as_ref().map_or(String::new(), |v| format!(" via {v}"));
    let mark = if n.leader { "*" } else { "" };
    let member = if n.member == "voter" { String::new() } else { format!(" ({})", n.member) };
    if n.up { format!("{}{mark}{via}{member}", n.name) } else { format!("{} DOWN{member}", n.name) }
}

/// How far what was committed may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A quorum confirmed it just now.
    Now,
    /// It did so these milliseconds ago; the cluster may have moved since.
    Ago(u64),
    /// It never did since the node's start.
    Never,
}

impl Seen {
    pub fn of(quorum: bool, confirmed_ms: Option<u64>) -> Self {
        match (quorum, confirmed_ms) {
            (true, _) => Seen::Now,
            (false, Some(ms)) => Seen::Ago(ms),
            (false, None) => Seen::Never,
        }
    }

    /// Before whatever was committed; nothing when it holds now.
    pub fn mark(self) -> String {
        match self {
            Seen::Now => String::new(),
            Seen::Ago(ms) => format!("last known, {} s old: ", ms / 1_000),
            Seen::Never => "last known, of unknown age: ".to_owned(),
        }
    }
}

fn whose_view(out: &mut String, trouble: Option<&str>, by: &str, seen: Seen) {
    if let Some(trouble) = trouble {
        let _ = writeln!(out, "  !! {trouble} (answered by {by})");
    }
    if seen != Seen::Now {
        let _ = writeln!(out, "  !! {by}'s own view; the cluster may have moved without it");
    }
}

/// The group is on its way to a site and was not opened there yet.
fn moving(g: &GroupStatus) -> bool {
    matches!(g.phase.as_str(), "revoked" | "promoting")
}

/// Whether clients can write, in a word.
pub fn state(g: &GroupStatus, seen: Seen) -> String {
    match (g.phase.as_str(), g.open) {
        ("serving", false) if seen != Seen::Now => "NOT HEARD OPEN".to_owned(),
        ("serving", true) => "OPEN".to_owned(),
        ("serving", false) => "SHUT".to_owned(),
        (other, _) => other.to_uppercase(),
    }
}

fn group(out: &mut String, g: &GroupStatus, seen: Seen, now: i64) {
    let state = state(g, seen);
    let _ = writeln!(
        out,
        "group {}   {}{state}   {}   epoch {}   since {} ({})",
        g.name,
        seen.mark(),
        place(g),
        g.epoch,
        time(g.since_ms),
        ago(now, g.since_ms),
    );
    if let Some(why) = &g.shut_because {
        let who = g.primary.as_deref().unwrap_or("its primary");
        let _ = writeln!(out, "  !! {who} is not open: {why}");
    }
    let worth = format!("{}{}", seen.mark(), worth(g, seen, now));
    let lease = match g.lease_left_ms {
        Some(ms) => format!("   lease {ms} ms left"),
        None if g.lease_endless => "   lease without end".to_owned(),
        None => String::new(),
    };
    let _ = writeln!(out, "  durability  {worth}{lease}");
    if let Some(m) = &g.maintenance {
        let _ = writeln!(out, "  maintenance {}", maintenance(m));
    }
    let f = &g.failover;
    let to = f.to.as_deref().unwrap_or("nobody");
    if f.automatic {
        let but = but(g.except.as_ref());
        let _ = writeln!(
            out,
            "  failover    READY: {to} would take over by itself, losing nothing acknowledged{but}"
        );
    } else {
        let _ = writeln!(out, "  failover    NOT READY{}", after_colon(&f.against.join("; ")));
    }
    let _ = writeln!(out, "  names       {}", names(g, seen));
    if g.diagnosis != "well" {
        let because = after_colon(&g.because.join("; "));
        let _ = writeln!(out, "  diagnosis   {}{because}", g.diagnosis);
    }
    if let Some(holds) = &g.holds {
        let _ = writeln!(out, "  holds       {holds}");
    }
    for server in &g.servers {
        let _ = writeln!(out, "  {}", line(server));
    }
    if let Some(e) = &g.execution {
        let _ = writeln!(
            out,
            "  doing       {} of {} ({}), since {}",
            e.runbook,
            e.subject,
            e.reason,
            ago(now, e.started_ms)
        );
        let _ = writeln!(out, "              {}", steps(e));
    }
    if let Some(e) = g.finished.first() {
        let _ = writeln!(out, "  last        {}", last(e, now));
    }
}

/// An operation that ended.
pub fn last(e: &FinishedExecution, now: i64) -> String {
    let took = seconds(e.ended_ms - e.started_ms);
    format!("{} of {}: {} {} ago, in {took:.1} s", e.runbook, e.subject, e.status, ago(now, e.ended_ms))
}

/// Who works at it and how long.
pub fn maintenance(m: &MaintenanceStatus) -> String {
    format!("until {} by {}: {}", time(m.until_ms), m.by, m.reason)
}

/// Where it is active, or goes.
pub fn place(g: &GroupStatus) -> String {
    match &g.active_site {
        Some(site) if moving(g) => format!("moving to {site}, not open yet"),
        site => format!("active {}", site.as_deref().unwrap_or("nowhere")),
    }
}

/// What an acknowledged write is worth.
pub fn worth(g: &GroupStatus, seen: Seen, now: i64) -> String {
    let since = g.durability_since_ms.map_or(String::new(), |t| format!(" for {}", ago(now, t)));
    match g.durability.as_deref() {
        Some("sync") if seen != Seen::Now => {
            format!("SYNC with {}: what was acknowledged since may be worth less", g.ackers.join(", "))
        }
        Some("sync") => {
            let but = but(g.except.as_ref());
            format!("SYNC: every acknowledged write is on {}{but}", g.ackers.join(", "))
        }
        Some("catch-up") => "CATCH-UP: not proven yet, worth no more than async".to_owned(),
        Some("async") if moving(g) => {
            format!("ASYNC{since}: the last writes may exist on the old primary only")
        }
        Some("async") => {
            let site = g.active_site.as_deref().unwrap_or("its primary");
            format!("ASYNC{since}: the last writes may exist in {site} only{}", at_stake(g))
        }
        _ => "none yet".to_owned(),
    }
}

/// How much that is, where it is known.
fn at_stake(g: &GroupStatus) -> String {
    let known = g.exposure.as_ref().and_then(|e| Some((e.transactions?, e.server.as_ref()?)));
    match known {
        Some((0, server)) => format!("; as last seen {server} has them all"),
        Some((some, server)) => format!("; not on {server}: {}", transactions(some)),
        None => "; how many is not known".to_owned(),
    }
}

fn transactions(some: u64) -> String {
    if some == 1 { "1 transaction".to_owned() } else { format!("{some} transactions") }
}

/// What names answer is what the answering node's DNS answers, not what was committed.
pub fn names(g: &GroupStatus, seen: Seen) -> String {
    let site = |site: &Option<String>| site.clone().unwrap_or_else(|| "SERVFAIL".to_owned());
    let committed = match &g.route {
        Some(route) => format!("{}committed to {route}", seen.mark()),
        None => format!("{}committed to nobody yet", seen.mark()),
    };
    let Some(first) = g.names.first() else { return format!("{committed}; this node answers none of them") };
    let differs = g.names.iter().any(|n| n.site != g.route);
    let answer = if g.names.iter().all(|n| n.site == first.site) {
        format!("answer {}", site(&first.site))
    } else {
        let each: Vec<String> =
            g.names.iter().map(|n| format!("{} answers {}", n.name, site(&n.site))).collect();
        each.join(", ")
    };
    match (seen, differs) {
        (Seen::Now, false) => answer,
        (Seen::Now, true) => format!("{answer} on the node that shows this; {committed}"),
        _ => format!("{answer} on this node; {committed}"),
    }
}

/// A reason behind its colon, or nothing at all.
fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// A server.
pub fn line(s: &ServerStatus) -> String {
    let heard = s.heard_ms.map_or("never heard".to_owned(), |ms| match ms {
        0..10_000 => format!("heard {}.{} s ago", ms / 1_000, ms % 1_000 / 100),
        _ => format!("heard {} s ago", ms / 1_000),
    });
    let behind = match (s.behind, s.unapplied) {
        (Some(b), Some(u)) => format!("   {b} behind, {u} unapplied"),
        (Some(b), None) => format!("   {b} behind"),
        _ => String::new(),
    };
    let note = s.note.as_ref().map_or(String::new(), |n| format!("\n              {n}"));
    let next = match s.role.as_str() {
        "quarantined" => {
            format!("\n              next: twofold db rebuild GROUP {}, which says what is given up", s.name)
        }
        _ => String::new(),
    };
    format!("{:<11} {:<11} {:<6} database {}, {heard}{behind}{note}{next}", s.name, s.role, s.site, s.process)
}

/// Steps with a mark each.
pub fn steps(e: &ExecutionStatus) -> String {
    let marks = e.steps.iter().map(|s| {
        let mark = match s.state.as_str() {
            "done" => "✓",
            "started" => "…",
            "pending" => "·",
            _ => "✗",
        };
        format!("{mark} {}", s.name)
    });
    marks.collect::<Vec<_>>().join("  ")
}

/// Why a question is answered as it is.
pub fn dns(e: &DnsExplanation) -> String {
    let mut out = String::new();
    let age = match e.confirmed_ms {
        Some(ms) => {
            format!("confirmed by a quorum {:.1} s ago", seconds(i64::try_from(ms).unwrap_or(i64::MAX)))
        }
        None => "never confirmed by a quorum since its start".to_owned(),
    };
    let _ = writeln!(out, "{} {} for {}: {}", e.name, e.record_type, e.client, e.rcode);
    let _ = writeln!(out, "  by node {}, generation {}, {age}", e.answered_by, e.generation);
    for answer in &e.answers {
        let _ = writeln!(out, "  {answer}");
    }
    for line in &e.because {
        let _ = writeln!(out, "  because {line}");
    }
    for probe in &e.probes {
        let _ = writeln!(out, "  {}", self::probe(probe));
    }
    out
}

/// What the node's own last probe of a member saw.
fn probe(p: &ProbeStatus) -> String {
    let said = match (&p.failure, p.latency_us) {
        (Some(why), _) => format!("failed: {why}"),
        (None, Some(us)) => format!("good in {}.{} ms", us / 1_000, us % 1_000 / 100),
        (None, None) => "good".to_owned(),
    };
    let ends = p.certificate_ends_ms.map(|ms| {
        let day = time(ms).split(' ').next().unwrap_or_default().to_owned();
        let soon = if p.certificate_ends_soon { ", SOON: renew it" } else { "" };
        format!("; its certificate ends {day}{soon}")
    });
    let age = p.age_ms / 1_000;
    format!("probed {}/{} from here {age} s ago, {said}{}", p.pool, p.member, ends.unwrap_or_default())
}

/// Why a group did or did not move.
pub fn explanation(e: &Explanation) -> String {
    let mut out = String::new();
    let g = &e.group;
    let seen = Seen::of(e.quorum, e.confirmed_ms);
    if seen != Seen::Now {
        let _ = writeln!(out, "NO QUORUM");
    }
    whose_view(&mut out, e.trouble.as_deref(), &e.answered_by, seen);
    group(&mut out, g, seen, clock());
    let _ = writeln!(out, "\ndiagnosis: {}", g.diagnosis);
    for line in &g.because {
        let _ = writeln!(out, "  because {line}");
    }
    match (&e.act, &g.holds) {
        (Some(act), _) => {
            let _ = writeln!(out, "  so the leader proposes: {act}");
        }
        (None, Some(holds)) => {
            let _ = writeln!(out, "  but the leader holds still: {holds}");
        }
        (None, None) if seen != Seen::Now => {
            let _ = writeln!(out, "  only a leader that a quorum confirms decides: bring voters back");
        }
        (None, None) if g.diagnosis == "well" => {
            let _ = writeln!(out, "  so there is nothing to do");
        }
        (None, None) => {
            let _ = writeln!(out, "  nothing that twofold can do by itself until {}", until(&g.diagnosis));
        }
    }
    for c in &e.candidates {
        let word = match (c.possible, c.automatic) {
            (_, true) => "may take over by itself",
            (true, false) => "may take over when a person says so",
            (false, false) => "cannot take over",
        };
        let against =
            if c.against.is_empty() { String::new() } else { format!(": {}", c.against.join("; ")) };
        let _ = writeln!(out, "candidate {}: {word}{against}", c.server);
    }
    if let Some(x) = &g.execution {
        let _ = writeln!(out, "execution {} ({}):", x.id, x.runbook);
        for s in &x.steps {
            let detail = s.detail.as_ref().map_or(String::new(), |d| format!("   {d}"));
            let _ = writeln!(out, "  {:<12} {:<8}{detail}", s.name, s.state);
        }
    }
    let _ = writeln!(out, "last events:");
    for event in e.events.iter().rev().take(25).rev() {
        let _ = writeln!(out, "  {}  {}", time(event.at_ms), event.text);
    }
    out
}

/// What must come, for a diagnosis that twofold does not act on by itself.
fn until(diagnosis: &str) -> &'static str {
    match diagnosis {
        "replica-missing" => "a server of the other site runs, replicates and may take over: bring one back",
        "semi-sync-blocked" => "the acks come, or sync-timeout is over and durability weakens",
        "misconfigured" => "the settings named above are mended on the server",
        "link-cut" => "the link between the sites is mended",
        "silence-unconfirmed" => "more sites see the same, or the guard is heard again",
        "observing" => "this leader has watched for as long as dwell says",
        _ => "what is named above changes",
    }
}

/// What a promise leaves out.
fn but(except: Option<&String>) -> String {
    except.map_or(String::new(), |except| format!(", but for {except}"))
}

/// A loss in words.
pub fn loss(loss: &Loss) -> String {
    if loss.none {
        return format!("nothing that was acknowledged{}", but(loss.except.as_ref()));
    }
    if let Some(server) = &loss.on {
        return format!("{} that {server} has and the primary has not", transactions(loss.transactions));
    }
    let ago = |ms: u64| seconds(i64::try_from(ms).unwrap_or(i64::MAX));
    let unknown = match (loss.unknown_ms, loss.unseen) {
        (Some(ms), Some(unseen)) => format!(
            "and what it acknowledged since it was last seen {:.1} s ago, at most {} at the pace it had",
            ago(ms),
            transactions(unseen)
        ),
        (Some(ms), None) => {
            format!("and whatever it acknowledged in the last {:.1} s, which is not known", ago(ms))
        }
        (None, _) => "and the primary was never read, so what it acknowledged is not known".to_owned(),
    };
    format!("{} that the primary is known to have had, {unknown}", transactions(loss.transactions))
}

fn clock() -> i64 {
    crate::clock::wall().0
}

fn seconds(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let s = ms as f64 / 1_000.0;
    s
}

pub fn time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(t) => t.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string(),
        Err(_) => "?".into(),
    }
}

/// A plan of a switchover: each precondition with its evidence, and the steps.
pub fn switchover(plan: &SwitchoverPlan) -> String {
    let candidate = plan.candidate.as_deref().unwrap_or("nobody");
    let mut text = format!(
        "group {}: from {} to {candidate} in {}, epoch {}\n",
        plan.group, plan.from, plan.to, plan.epoch
    );
    for p in &plan.preconditions {
        let holds = if p.holds { "ok" } else { "NOT SO" };
        let _ = writeln!(text, "  {holds:<7} {:<20} {}", p.name, p.evidence.join("; "));
        if let Some(next) = &p.next {
            let _ = writeln!(text, "          {next}");
        }
    }
    let steps: Vec<&str> = plan.steps.iter().map(|s| s.name.as_str()).collect();
    let _ = writeln!(text, "steps: {}", steps.join(", "));
    text += match (plan.ready, plan.execution) {
        (_, Some(_)) => "it begins; until the handover it is undone by itself when a step fails",
        (true, None) => "ready: nothing was begun",
        (false, None) => "not ready: nothing was begun",
    };
    text
}

/// Time since, in one unit.
pub fn ago(now: i64, then: i64) -> String {
    let s = (now - then).max(0) / 1_000;
    match s {
        0..=99 => format!("{s} s"),
        100..=5_999 => format!("{} min", s / 60),
        6_000..=172_799 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use app_api::v1::{ExposureStatus, FailoverStatus, NameStatus};

    fn serving() -> GroupStatus {
        GroupStatus {
            name: "shop".into(),
            incarnation: 1,
            epoch: 3,
            version: 9,
            phase: "serving".into(),
            since_ms: 0,
            active_site: Some("mdc".into()),
            primary: Some("mdc-db".into()),
            open: true,
            shut_because: None,
            lease_left_ms: None,
            lease_endless: false,
            durability: Some("sync".into()),
            durability_since_ms: None,
            ackers: vec!["pdc-db".into()],
            exposure: None,
            except: None,
            route: Some("mdc".into()),
            names: vec![NameStatus { name: "db.example.com".into(), site: Some("mdc".into()) }],
            servers: vec![],
            maintenance: None,
            failover: FailoverStatus { automatic: true, to: Some("pdc-db".into()), against: vec![] },
            diagnosis: "well".into(),
            because: vec![],
            holds: None,
            execution: None,
            finished: vec![],
        }
    }

    fn shown(g: &GroupStatus, seen: Seen) -> String {
        let mut out = String::new();
        group(&mut out, g, seen, 0);
        out
    }

    #[test]
    fn a_confirmed_view_is_told_as_it_is() {
        let text = shown(&serving(), Seen::Now);
        assert!(text.contains("OPEN   active mdc"), "{text}");
        assert!(text.contains("SYNC: every acknowledged write is on pdc-db"), "{text}");
        assert!(text.contains("names       answer mdc\n"), "{text}");
        assert!(!text.contains("last known"), "{text}");
    }

    /// Goal: on MariaDB nothing is promised for sessions that were killed while they waited.
    #[test]
    fn what_a_promise_leaves_out_is_said_with_it() {
        let promised = shown(&serving(), Seen::Now);
        assert!(promised.contains("losing nothing acknowledged\n"), "{promised}");
        let except = Some("those of killed sessions".to_owned());
        let text = shown(&GroupStatus { except: except.clone(), ..serving() }, Seen::Now);
        assert!(text.contains("is on pdc-db, but for those of killed sessions"), "{text}");
        assert!(text.contains("losing nothing acknowledged, but for those of killed sessions"), "{text}");
        let none = Loss {
            id: "x".into(),
            none: true,
            transactions: 0,
            unseen: Some(0),
            unknown_ms: None,
            except,
            on: None,
        };
        assert_eq!(loss(&none), "nothing that was acknowledged, but for those of killed sessions");
    }

    /// Goal: a node that no quorum confirms states nothing as a fact that may have changed without it.
    #[test]
    fn an_unconfirmed_view_is_marked_with_its_age_and_names_are_what_this_node_answers() {
        let mut g = serving();
        g.open = false;
        g.names[0].site = None;
        g.diagnosis = "unknown".into();
        for (seen, mark) in
            [(Seen::Ago(12_345), "last known, 12 s old: "), (Seen::Never, "last known, of unknown age: ")]
        {
            let text = shown(&g, seen);
            assert!(text.contains(&format!("{mark}NOT HEARD OPEN   active mdc")), "{text}");
            assert!(text.contains(&format!("durability  {mark}SYNC with pdc-db")), "{text}");
            assert!(!text.contains("every acknowledged write"), "{text}");
            let names = format!("names       answer SERVFAIL on this node; {mark}committed to mdc\n");
            assert!(text.contains(&names), "{text}");
            assert!(text.contains("diagnosis   unknown\n"), "nothing behind an empty reason: {text}");
        }
    }

    #[test]
    fn names_that_answer_otherwise_than_committed_are_told_one_by_one() {
        let mut g = serving();
        g.names.push(NameStatus { name: "rw.example.com".into(), site: None });
        let text = names(&g, Seen::Now);
        assert_eq!(
            text,
            "db.example.com answers mdc, rw.example.com answers SERVFAIL on the node that shows this; committed to mdc"
        );
        g.names.clear();
        assert_eq!(names(&g, Seen::Now), "committed to mdc; this node answers none of them");
    }

    #[test]
    fn what_is_at_stake_is_told_where_it_is_known() {
        let mut g = serving();
        g.durability = Some("async".into());
        assert!(worth(&g, Seen::Now, 0).ends_with("; how many is not known"));
        let told = |n| ExposureStatus { transactions: n, unprotected_ms: 9, server: Some("pdc-db".into()) };
        g.exposure = Some(told(Some(1)));
        assert!(worth(&g, Seen::Now, 0).ends_with("; not on pdc-db: 1 transaction"));
        g.exposure = Some(told(Some(12)));
        assert!(worth(&g, Seen::Now, 0).ends_with("; not on pdc-db: 12 transactions"));
        g.exposure = Some(told(Some(0)));
        assert!(worth(&g, Seen::Now, 0).ends_with("; as last seen pdc-db has them all"));
    }

    #[test]
    fn a_group_on_its_way_is_not_active_where_it_is_not_open() {
        for phase in ["revoked", "promoting"] {
            let mut g = serving();
            g.phase = phase.into();
            g.open = false;
            g.durability = Some("async".into());
            let text = shown(&g, Seen::Now);
            assert!(text.contains("moving to mdc, not open yet"), "{text}");
            assert!(!text.contains("active mdc") && !text.contains("in mdc only"), "{text}");
        }
    }

    fn server(role: &str, heard_ms: u64) -> ServerStatus {
        ServerStatus {
            name: "pdc-db".into(),
            site: "pdc".into(),
            role: role.into(),
            heard_ms: Some(heard_ms),
            process: "running".into(),
            uuid: None,
            gtid_executed: None,
            behind: None,
            unapplied: None,
            note: None,
            promotion: None,
            writable: None,
            connections: None,
            max_connections: None,
            kine_revision: None,
            accounts: None,
            replication: None,
            diagnoses: vec![],
        }
    }

    #[test]
    fn a_server_shows_the_age_of_what_is_known_and_a_quarantined_one_the_next_act() {
        assert!(line(&server("fenced", 1_900)).contains("heard 1.9 s ago"));
        assert!(line(&server("fenced", 61_000)).contains("heard 61 s ago"));
        assert!(line(&server("quarantined", 10)).contains("next: twofold db rebuild GROUP pdc-db"));
        assert!(!line(&server("replica", 10)).contains("db rebuild"));
    }

    #[test]
    fn what_twofold_cannot_do_by_itself_is_not_called_nothing() {
        let mut e = Explanation {
            answered_by: "pdc-1".into(),
            quorum: true,
            confirmed_ms: Some(0),
            trouble: None,
            group: serving(),
            candidates: vec![],
            act: None,
            events: vec![],
        };
        assert!(explanation(&e).contains("so there is nothing to do"));
        e.group.diagnosis = "replica-missing".into();
        let text = explanation(&e);
        assert!(
            text.contains("nothing that twofold can do by itself until a server of the other site"),
            "{text}"
        );
        e.quorum = false;
        e.confirmed_ms = None;
        let text = explanation(&e);
        assert!(text.contains("pdc-1's own view") && text.contains("bring voters back"), "{text}");
    }
}
