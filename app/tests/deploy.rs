//! What `deploy/` holds is understood by those who read it: Prometheus' own promtool (Debian's package, unpacked
//! into the cache) reads the rules, runs their test and reads every query of the dashboard, and systemd reads the units.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chaos_lab::packages::{cache_dir, promtool};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs promtool; it ends by itself.
fn ask_promtool(folder: &Path, arguments: &[&str]) -> String {
    let words = promtool(&cache_dir(), &mut |line| println!("{line}")).expect("Debian's prometheus");
    let output = Command::new(&words[0]).args(&words[1..]).args(arguments).current_dir(folder).output();
    let output = output.expect("promtool runs");
    assert!(output.status.success(), "promtool {arguments:?}: {}", said(&output));
    said(&output)
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                found.extend(fields.get("expr").and_then(|e| e.as_str()).map(str::to_owned));
                fields.values().for_each(|v| collect(v, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|v| collect(v, found)),
            _ => {}
        }
    }
    let text = read(&deploy().join("grafana/twofold.json"));
    let dashboard = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    found
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|w| w.starts_with("twofold_")).map(str::to_owned).collect()
}

/// Goal: the alert rules are rules, and fire and keep still when their test says.
#[test]
fn prometheus_understands_the_rules_and_their_test_holds() {
    let folder = deploy().join("prometheus");
    let checked = ask_promtool(&folder, &["check", "rules", "twofold.rules.yml"]);
    let rules = read(&folder.join("twofold.rules.yml")).matches("- alert: ").count();
    assert!(checked.contains(&format!("{rules} rules found")), "{checked}");
    ask_promtool(&folder, &["test", "rules", "twofold.test.yml"]);
}

/// Goal: promtool's answer is worth something here. Method: a rule that is none is refused.
#[test]
fn prometheus_refuses_a_query_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = "groups: [{name: g, rules: [{record: 'a:b', expr: 'max by (group (x)'}]}]\n";
    std::fs::write(folder.path().join("wrong.yml"), rules).expect("written");
    let words = promtool(&cache_dir(), &mut |line| println!("{line}")).expect("Debian's prometheus");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["check", "rules", "wrong.yml"]).current_dir(folder.path());
    assert!(!command.output().expect("promtool runs").status.success());
}

/// Goal: every panel's query is one. Method: each becomes a recording rule that promtool reads.
#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rules = "groups:\n- name: panels\n  rules:\n".to_owned();
    let queries = queries();
    for (n, query) in queries.iter().enumerate() {
        let query = query.replace("$group", ".*");
        assert!(!query.contains('$'), "a variable that the dashboard does not have: {query}");
        rules.push_str(&format!("  - record: 'panel:{n}'\n    expr: {}\n", serde_json::json!(query)));
    }
    std::fs::write(folder.path().join("panels.yml"), rules).expect("written");
    let checked = ask_promtool(folder.path(), &["check", "rules", "panels.yml"]);
    assert!(checked.contains(&format!("{} rules found", queries.len())), "{checked}");
}

/// Goal: rules and dashboard ask for what nodes tell. Method: every metric they name is in the book, whose names
/// are held against a node's own page by `people.rs`.
#[test]
fn rules_and_dashboard_name_metrics_of_the_book() {
    let book = metrics(&read(&deploy().join("../docs/reference/metrics.md")));
    let rules = read(&deploy().join("prometheus/twofold.rules.yml"));
    let asked = metrics(&(queries().join("\n") + &rules));
    assert!(asked.len() > 15, "{asked:?}");
    // A row of the book names a family once and its further members by their ends.
    let text = read(&deploy().join("../docs/reference/metrics.md"));
    for name in asked {
        let by_end = || {
            let end = name.rsplitn(3, '_').take(2).collect::<Vec<_>>();
            text.contains(&format!("`_{}_{}`", end[1], end[0]))
        };
        assert!(book.contains(&name) || by_end(), "{name} is not in metrics.md");
    }
}

/// Goal: systemd reads the units without a complaint. Method: `systemd-analyze verify` on copies whose program is
/// one that this machine has.
#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut units = Vec::new();
    for (file, instance) in [("twofold@.service", "pdc-1"), ("twofold-guard@.service", "pdc-db")] {
        let text = read(&deploy().join("systemd").join(file));
        assert!(text.contains("ExecStart=/usr/local/bin/twofold "), "{file}");
        let path = folder.path().join(file.replace('@', &format!("@{instance}")));
        std::fs::write(&path, text.replace("/usr/local/bin/twofold", env!("CARGO_BIN_EXE_twofold")))
            .expect("written");
        units.push(path);
    }
    let output = Command::new("systemd-analyze").arg("verify").args(&units).output();
    let output = output.expect("systemd-analyze runs (Debian's package systemd)");
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}
