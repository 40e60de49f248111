//! Two servers a site: an acker that stands still is kept out until its acks stand for nobody's.

mod lab;

use std::process::Command;

use lab::{Lab, said, until};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde_json::Value;

/// The processes of a host, stopped or going on, kernel untouched.
fn signal(lab: &Lab, host: &str, signal: &str) {
    let listed = lab.twofold(&["lab", "status"], true);
    let text = said(&listed);
    let line = text.lines().find(|l| l.split_whitespace().any(|word| word == host));
    let line = line.unwrap_or_else(|| panic!("no host {host} in {text}"));
    // `mysqld 4711 (start 1)`, `mysqld 4711 PAUSED (start 1)`
    let words: Vec<&str> = line.split_whitespace().collect();
    let follows = |word: &str| word.starts_with("(start") || word == "PAUSED";
    let pids = words.windows(2).filter(|w| follows(w[1]) && w[0].parse::<u32>().is_ok()).map(|w| w[0]);
    let pids: Vec<&str> = pids.collect();
    assert!(!pids.is_empty(), "no process in {line:?}");
    let done = Command::new("kill").arg(signal).args(&pids).status().expect("kill runs");
    assert!(done.success());
}

fn group(lab: &Lab) -> Result<Value, String> {
    lab.status().map(|s| s["groups"][0].clone()).ok_or_else(|| "no status".into())
}

fn ackers(group: &Value) -> Vec<&str> {
    group["ackers"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Who the gate of `host` resets, as nft has it.
fn barred(lab: &Lab, host: &str) -> String {
    let listed = lab.inside(host, &["nft", "list", "ruleset"]);
    assert!(listed.status.success(), "{}", said(&listed));
    let text = said(&listed);
    text.lines().filter(|l| l.contains("saddr") && l.contains("reject")).collect::<Vec<_>>().join("\n")
}

/// A row of an application, through the server's own socket.
fn write(lab: &Lab, server: &str) {
    let socket = lab.dir().join(format!("hosts/{server}/mysqld.sock"));
    let options = OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some(chaos_lab::mysqld::APPLICATION_USER))
        .pass(Some(chaos_lab::mysqld::PASSWORD))
        .db_name(Some(chaos_lab::mysqld::APPLICATION_SCHEMA));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut session = Conn::new(options).await.expect("the server is up");
        session.query_drop("CREATE TABLE strangers (n INT PRIMARY KEY)").await.expect("it commits");
    });
}

/// Goal: interleaving 52 on real servers. An acker stands still, with all of its host; the group goes on in `Sync` with the site's other
/// server, at once: the connection of the one that stands is reset, and it is kept out by the gate. When
/// it goes on, its guard switches its acks off, and it replicates again without being an acker.
#[test]
fn an_acker_that_stands_still_is_kept_out_until_it_acknowledges_nothing() {
    let lab = Lab::up_with(&["--servers", "2"]);
    lab.settled();
    let before = group(&lab).expect("a status");
    let primary = before["primary"].as_str().expect("a primary").to_owned();
    let stands = ackers(&before)[0].to_owned();
    assert_eq!(barred(&lab, &primary), "", "the ackers and who acknowledges nothing pass");

    signal(&lab, &stands, "-STOP");
    // Its commit waits, until the group goes on without the one that stands still.
    write(&lab, &primary);
    until(|| {
        let group = group(&lab)?;
        let others = group["durability"] == "sync" && !ackers(&group).contains(&stands.as_str());
        if others && group["open"] == true { Ok(()) } else { Err(group.to_string()) }
    });
    assert!(barred(&lab, &primary).contains("tcp dport"), "it is kept out");

    signal(&lab, &stands, "-CONT");
    until(|| match barred(&lab, &primary) {
        none if none.is_empty() => Ok(()),
        still => Err(still),
    });
    until(|| {
        let said = said(&lab.inside_cli(&["db", "topology"]));
        let line = said.lines().find(|l| l.contains(&stands)).unwrap_or_default().to_owned();
        if line.contains("receives") || line.contains("replica") { Ok(()) } else { Err(said) }
    });
    let now = group(&lab).expect("a status");
    assert!(!ackers(&now).contains(&stands.as_str()) || now["durability"] == "sync", "{now}");
}
