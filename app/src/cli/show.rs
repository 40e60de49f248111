//! Screens for people. `status` answers, top down: is the cluster itself well, who is active and
//! since when, may it fail over now and if not why not, what is being done.

use std::fmt::Write;

use app_api::v1::{ExecutionStatus, Explanation, GroupStatus, Loss, ServerStatus, Status};

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
    if let Some(trouble) = &s.trouble {
        let _ = writeln!(out, "  !! {trouble} (answered by {})", s.answered_by);
    }
    let mut sites: Vec<&str> = s.nodes.iter().map(|n| n.site.as_str()).collect();
    sites.dedup();
    for site in sites {
        let nodes: Vec<String> = s
            .nodes
            .iter()
            .filter(|n| n.site == site)
            .map(|n| {
                let via = n.via.as_ref().map_or(String::new(), |v| format!(" via {v}"));
                let mark = if n.leader { "*" } else { "" };
                if n.up { format!("{}{mark}{via}", n.name) } else { format!("{} DOWN", n.name) }
            })
            .collect();
        let _ = writeln!(out, "  {site:<8} {}", nodes.join("  "));
    }
    if s.groups.is_empty() {
        let _ = writeln!(out, "\nno groups are known yet: the cluster has not been founded");
    }
    for g in &s.groups {
        out.push('\n');
        group(&mut out, g, s.at_ms);
    }
    out
}

fn group(out: &mut String, g: &GroupStatus, now: i64) {
    let state = match (g.phase.as_str(), g.open) {
        ("serving", true) => "OPEN".to_owned(),
        ("serving", false) => "SHUT".to_owned(),
        (other, _) => other.to_uppercase(),
    };
    let _ = writeln!(
        out,
        "group {}   {state}   active {}   epoch {}   since {} ({})",
        g.name,
        g.active_site.as_deref().unwrap_or("nowhere"),
        g.epoch,
        time(g.since_ms),
        ago(now, g.since_ms),
    );
    if let Some(why) = &g.shut_because {
        let _ = writeln!(out, "  !! not open: {why}");
    }
    let mode = g.durability.as_deref().unwrap_or("none");
    let worth = match mode {
        "sync" => format!("SYNC: every acknowledged write is on {}", g.ackers.join(", ")),
        "catch-up" => "CATCH-UP: not proven yet, worth no more than async".to_owned(),
        "async" => {
            let since = g.durability_since_ms.map_or(String::new(), |t| format!(" for {}", ago(now, t)));
            format!(
                "ASYNC{since}: the last writes may exist on {} only",
                g.active_site.as_deref().unwrap_or("?")
            )
        }
        _ => "none yet".to_owned(),
    };
    let lease = g.lease_left_ms.map_or(String::new(), |ms| format!("   lease {ms} ms left"));
    let _ = writeln!(out, "  durability  {worth}{lease}");
    let f = &g.failover;
    let to = f.to.as_deref().unwrap_or("nobody");
    if f.automatic {
        let _ =
            writeln!(out, "  failover    READY: {to} would take over by itself, losing nothing acknowledged");
    } else {
        let _ = writeln!(out, "  failover    NOT READY: {}", f.against.join("; "));
    }
    let route = g.route.as_deref().unwrap_or("nobody (SERVFAIL)");
    let _ = writeln!(out, "  names       answer {route}");
    if g.diagnosis != "well" {
        let _ = writeln!(out, "  diagnosis   {}: {}", g.diagnosis, g.because.join("; "));
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
    if let Some(last) = g.finished.first() {
        let _ = writeln!(
            out,
            "  last        {} of {}: {} {} ago, in {:.1} s",
            last.runbook,
            last.subject,
            last.status,
            ago(now, last.ended_ms),
            seconds(last.ended_ms - last.started_ms),
        );
    }
}

fn line(s: &ServerStatus) -> String {
    let heard = s.heard_ms.map_or("never heard".to_owned(), |ms| {
        if ms < 2_000 { "heard now".to_owned() } else { format!("heard {} s ago", ms / 1_000) }
    });
    let behind = match (s.behind, s.unapplied) {
        (Some(b), Some(u)) => format!("   {b} behind, {u} unapplied"),
        (Some(b), None) => format!("   {b} behind"),
        _ => String::new(),
    };
    let note = s.note.as_ref().map_or(String::new(), |n| format!("\n              {n}"));
    format!("{:<11} {:<11} {:<6} database {}, {heard}{behind}{note}", s.name, s.role, s.site, s.process)
}

fn steps(e: &ExecutionStatus) -> String {
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

/// Why a group did or did not move.
pub fn explanation(e: &Explanation) -> String {
    let mut out = String::new();
    let g = &e.group;
    group(&mut out, g, clock());
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
        (None, None) => {
            let _ = writeln!(out, "  so there is nothing to do");
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

/// A loss in words.
pub fn loss(loss: &Loss) -> String {
    if loss.none {
        return "nothing that was acknowledged".into();
    }
    let unknown = match loss.unknown_ms {
        Some(ms) => format!(
            "and whatever it acknowledged in the last {:.1} s, which is not known",
            seconds(i64::try_from(ms).unwrap_or(i64::MAX))
        ),
        None => "and the primary was never read, so what it acknowledged is not known".to_owned(),
    };
    format!("{} transactions that the primary is known to have had, {unknown}", loss.transactions)
}

fn clock() -> i64 {
    crate::clock::wall().0
}

fn seconds(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let s = ms as f64 / 1_000.0;
    s
}

fn time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(t) => t.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string(),
        Err(_) => "?".into(),
    }
}

fn ago(now: i64, then: i64) -> String {
    let s = (now - then).max(0) / 1_000;
    match s {
        0..=99 => format!("{s} s"),
        100..=5_999 => format!("{} min", s / 60),
        6_000..=172_799 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}
