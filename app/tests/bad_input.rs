//! Bad input at every door of a running cluster: a clear word, and nothing lost. One lab serves all of
//! it, in the order of the story.

mod lab;

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lab::{Lab, PATIENCE, TWOFOLD, said};
use serde_json::Value;

#[test]
fn a_running_cluster_bears_bad_input_at_every_door() {
    let lab = Lab::up();
    let epoch = lab.settled();
    garbage_on_every_port(&lab);
    certificate_of_another_ca(&lab);
    a_viewer_may_look_and_not_move(&lab);
    maintenance_is_told_until_it_is_ended(&lab);
    questions_that_make_no_sense(&lab);
    assert_eq!(lab.settled(), epoch, "nothing moved");
    why_this_answer(&lab);
    edited_audit_log(&lab);
    damaged_store(&lab);
    assert_eq!(lab.settled(), epoch, "one damaged voter of five moves nothing");
    no_quorum(&lab);
}

/// What is explained is what is answered, and bad questions are told.
fn why_this_answer(lab: &Lab) {
    let output = lab.inside_cli(&["explain", "dns", "db.gslb.example.com", "--client", "203.0.113.7"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let digged = said(&lab.inside("cli", &["dig", "+short", "@10.77.1.1", "db.gslb.example.com"]));
    let address = digged.trim();
    assert!(
        !address.is_empty() && said(&output).contains(&format!(" A {address}\n")),
        "{digged}{}",
        said(&output)
    );
    for word in ["bound to group shop", "the route is pdc", "confirmed by a quorum"] {
        assert!(said(&output).contains(word), "{word}: {}", said(&output));
    }
    for (words, text) in [
        (&["explain", "dns", "no..name"][..], "is no domain name"),
        (&["explain", "dns", "db.gslb.example.com", "--type", "NONSENSE"], "is no record type"),
        (&["explain", "dns", "db.gslb.example.com", "--client", "me"], "invalid value 'me'"),
    ] {
        let output = lab.inside_cli(words);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(text), "{}", said(&output));
    }
}

/// Whoever edits a node's audit log is found, by line, and so is whoever writes the whole of it anew.
fn edited_audit_log(lab: &Lab) {
    let output = lab.inside_cli(&["audit", "--verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output).matches(": holds;").count(), 5, "{}", said(&output));
    let output = lab.inside_cli(&["audit", "--node", "pdc-2"]);
    assert!(said(&output).contains("authority") && said(&output).contains("site=pdc"), "{}", said(&output));

    let log = lab.node_folder("pdc-2").join("audit.jsonl");
    let before = std::fs::read_to_string(&log).expect("the audit log");
    assert!(before.contains("\"site\":\"pdc\""), "{before}");
    std::fs::write(&log, before.replacen("\"site\":\"pdc\"", "\"site\":\"mdc\"", 1)).expect("written");
    let output = lab.inside_cli(&["audit", "--verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("pdc-2: BROKEN at audit.jsonl, line "), "{}", said(&output));
    let copy = lab.folder.path().join("copy.jsonl");
    std::fs::copy(&log, &copy).expect("copied");
    let output = lab.twofold(&["audit", "--verify", "--file", &copy.to_string_lossy()], false);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));

    // Another history that holds in itself: the beginning is gone, and a gap stands for it.
    let last = before.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).expect("a line of the log");
    let entry = last["entry"].as_u64().expect("its number");
    let forged =
        format!("{{\"v\":1,\"entry\":{entry},\"skipped-from\":1,\"hash\":\"{}\"}}\n", "0".repeat(64));
    std::fs::write(&log, forged).expect("written");
    let output = lab.inside_cli(&["audit", "--verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&format!("DIFFER from entry {entry} on")), "{}", said(&output));
    std::fs::write(&log, before).expect("written");
    let output = lab.inside_cli(&["audit", "--node", "nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

/// Random bytes over TCP and UDP at the peer, API and DNS ports.
fn garbage_on_every_port(lab: &Lab) {
    for port in [7400, 7443, 53] {
        for kind in ["tcp", "udp"] {
            let script = format!(
                "for n in 1 20 600 70000; do timeout 2 bash -c 'head -c '$n' /dev/urandom > /dev/{kind}/10.77.2.1/{port}'; done; true"
            );
            let output = lab.inside("cli", &["bash", "-c", &script]);
            assert!(output.status.success(), "{}", said(&output));
        }
    }
}

/// A client with a certificate of its own making is told so, and a node of another cluster as well.
fn certificate_of_another_ca(lab: &Lab) {
    let other = lab.folder.path().join("other");
    let other = other.to_string_lossy();
    for args in [
        vec!["cert", "ca", "--cluster", "lab", "--dir", &other],
        vec!["cert", "client", "--cluster", "lab", "--dir", &other],
    ] {
        let output = lab.twofold(&args, false);
        assert!(output.status.success(), "{}", said(&output));
    }
    let text = std::fs::read_to_string(lab.config()).expect("the configuration");
    let pki = lab.dir().join("pki").to_string_lossy().into_owned();
    let foreign = lab.folder.path().join("foreign.yaml");
    // The other CA's certificate and key, and the right CA to trust: the node must refuse it.
    let text = text.replace(&format!("dir: \"{pki}\""), &format!("dir: \"{other}\""));
    std::fs::write(&foreign, text).expect("written");
    let foreign = foreign.to_string_lossy();
    let output = lab.inside("cli", &[TWOFOLD, "status", "--config", &foreign]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("client.pem"), "the file is named: {}", said(&output));
    // All of the other CA: now it is the nodes that are not believed.
    let text = std::fs::read_to_string(lab.config()).expect("the configuration").replace(&pki, &other);
    let stranger = lab.folder.path().join("stranger.yaml");
    std::fs::write(&stranger, text).expect("written");
    let output = lab.inside("cli", &[TWOFOLD, "status", "--config", &stranger.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("not of this CA; check tls.ca"), "{}", said(&output));
    assert_eq!(said(&output).matches("10.77.1.1:7443").count(), 1, "once a line: {}", said(&output));
}

/// A certificate's role decides what its holder may do; without the right one nothing is done.
fn a_viewer_may_look_and_not_move(lab: &Lab) {
    let config = lab.config();
    let made = lab.twofold(&["cert", "client", "reader", "--role", "viewer", "--config", &config], false);
    assert!(made.status.success(), "{}", said(&made));
    let looked = lab.inside_cli(&["status", "--identity", "reader"]);
    assert_eq!(looked.status.code(), Some(0), "{}", said(&looked));
    let moved = lab.inside_cli(&["failover", "shop", "--to", "mdc", "--identity", "reader"]);
    assert_eq!(moved.status.code(), Some(3), "{}", said(&moved));
    let words = "client \"reader\" has the role viewer, and a failover needs operator";
    assert!(said(&moved).contains(words) && said(&moved).contains("--role operator"), "{}", said(&moved));
    let odd = lab.twofold(&["cert", "client", "x", "--role", "king", "--config", &config], false);
    assert_eq!(odd.status.code(), Some(2), "{}", said(&odd));
    assert!(said(&odd).contains("viewer, operator, approver and admin"), "{}", said(&odd));
}

/// While somebody works at a group it does not move by itself, and says so until that is ended.
fn maintenance_is_told_until_it_is_ended(lab: &Lab) {
    let begin = |lasts: &str, reason: &str| {
        lab.inside_cli(&["maintenance", "begin", "shop", "--for", lasts, "--reason", reason])
    };
    for (lasts, reason, words) in [
        ("2 weeks", "x", "write a number and s, m, h or d"),
        ("8d", "x", "not between 1 s and 7 days"),
        ("2h", " ", "needs a reason"),
    ] {
        let output = begin(lasts, reason);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    let ended = lab.inside_cli(&["maintenance", "end", "shop"]);
    assert_eq!(ended.status.code(), Some(3), "{}", said(&ended));
    let begun = begin("2h", "a disk is changed");
    assert_eq!(begun.status.code(), Some(0), "{}", said(&begun));
    let group = lab.status().expect("a status")["groups"][0].clone();
    assert_eq!(group["maintenance"]["reason"], "a disk is changed", "{group:#}");
    assert_eq!(group["failover"]["automatic"], false, "{group:#}");
    assert!(group["maintenance"]["by"].as_str().is_some_and(|by| by.starts_with("client")), "{group:#}");
    let ended = lab.inside_cli(&["maintenance", "end", "shop"]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    assert!(lab.status().expect("a status")["groups"][0]["maintenance"].is_null());
}

/// Groups, sites and requests that are not there: exit codes of DESIGN §7, and a next act.
fn questions_that_make_no_sense(lab: &Lab) {
    let config = lab.config();
    let approver = ["cert", "client", "approver", "--role", "approver", "--config", &config];
    let made = lab.twofold(&approver, false);
    assert!(made.status.success(), "{}", said(&made));
    let junk = ["failover", "shop", "--to", "mdc", "--accept-loss", "junk", "--config", &config];
    let by_approver = [&junk[..], &["--identity", "approver"]].concat();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["explain", "group", "nobody", "--config", &config], 2, "known: shop"),
        (&["failover", "shop", "--to", "pdc", "--config", &config], 3, "active in pdc already"),
        (&["failover", "shop", "--to", "wit", "--config", &config], 3, "no server in wit"),
        (&["failover", "shop", "--to", "mars", "--config", &config], 2, "known: mdc, pdc, wit"),
        (&junk, 3, "accepting a loss needs approver"),
        (&by_approver, 3, "never stated"),
        (&["failover", "nobody", "--to", "mdc", "--config", &config], 2, "known: shop"),
        (&["status", "--config", "/nowhere/twofold.yaml"], 2, "name an existing file"),
        (&["serve", "--config", &config, "--node", "nobody"], 2, "add it under nodes"),
    ];
    for (args, code, word) in cases {
        let mut words = vec![TWOFOLD];
        words.extend(*args);
        let output = lab.inside("cli", &words);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(word), "{args:?}: {}", said(&output));
    }
}

/// A damaged log: its node votes no more and says so on every way, its DNS goes on, and so do the others.
fn damaged_store(lab: &Lab) {
    let store = find(&lab.dir(), "wit-1").join("raft.redb");
    let output = lab.twofold(&["lab", "kill", "wit"], true);
    assert!(output.status.success(), "{}", said(&output));
    let length = std::fs::metadata(&store).expect("the store is there").len();
    std::fs::write(&store, vec![0xA5; usize::try_from(length).expect("it fits")]).expect("damaged");
    let config = lab.config();
    let manager = UnixDatagram::bind(lab.folder.path().join("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut node = Command::new(TWOFOLD)
        .env("NOTIFY_SOCKET", lab.folder.path().join("notify"))
        .env("WATCHDOG_USEC", "200000")
        .args(["lab", "exec", "--dir"])
        .arg(lab.dir())
        .args(["wit-1", "--", TWOFOLD, "serve", "--config", &config, "--node", "wit-1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("twofold runs");
    let mut lines = BufReader::new(node.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("ERROR")).expect("it says what is wrong");
    for word in ["raft.redb is damaged", "DNS answers from the last snapshot", "keep the file"] {
        assert!(told.contains(word), "{told}");
    }
    // The service manager is told that it is up and that it goes round, or it would be ended for silence.
    let mut heard = [0; 64];
    for word in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        let length = manager.recv(&mut heard).expect("the service manager is told");
        assert_eq!(std::str::from_utf8(&heard[..length]).map(str::trim), Ok(word));
    }
    let api = ["--api", "https://10.77.3.1:7443"];
    let output = lab.inside("wit-1", &[&[TWOFOLD, "status", "--config", &config][..], &api].concat());
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("wit-1 runs without consensus"), "{}", said(&output));
    let www = said(&lab.inside("wit-1", &["dig", "@10.77.3.1", "www.gslb.example.com"]));
    assert!(www.contains("NOERROR"), "{www}");
    let bound = said(&lab.inside("wit-1", &["dig", "@10.77.3.1", "db.gslb.example.com"]));
    assert!(bound.contains("SERVFAIL"), "{bound}");
    assert!(node.try_wait().expect("it is a child").is_none(), "it stays until it is told to stop");
    let stopped = Command::new("kill").arg(node.id().to_string()).status().expect("kill runs");
    assert!(stopped.success());
    assert_eq!(node.wait().expect("it ends").code(), Some(1), "it never ran whole");
}

/// With the witness gone and the standby site too, two of five voters are left: every question gets a
/// clear answer and exit code 4, bound names SERVFAIL, other names are answered on.
fn no_quorum(lab: &Lab) {
    let output = lab.twofold(&["lab", "kill", "mdc"], true);
    assert!(output.status.success(), "{}", said(&output));
    let config = lab.config();
    let end = Instant::now() + PATIENCE;
    let ask = |words: &[&str]| {
        let mut all = vec![TWOFOLD];
        all.extend(words);
        all.extend(["--config", &config]);
        lab.inside("cli", &all)
    };
    let mut status = ask(&["status"]);
    while status.status.code() != Some(4) && Instant::now() < end {
        status = ask(&["status"]);
    }
    assert_eq!(status.status.code(), Some(4), "{}", said(&status));
    assert!(
        said(&status).contains("NO QUORUM") && said(&status).contains("Bring voters back"),
        "{}",
        said(&status)
    );
    assert!(said(&status).contains("last known, "), "{}", said(&status));
    assert!(!said(&status).contains("every acknowledged write is on"), "{}", said(&status));
    let output = ask(&["explain", "group", "shop"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    for word in ["NO QUORUM", "last known, ", "last events:"] {
        assert!(said(&output).contains(word), "{word}: {}", said(&output));
    }
    let output = ask(&["failover", "shop", "--to", "mdc"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("no quorum"), "{}", said(&output));
    let dig = |name: &str| {
        let name = format!("{name}.gslb.example.com");
        said(&lab.inside("cli", &["dig", "@10.77.1.1", &name, "+noall", "+comments", "+answer"]))
    };
    let mut bound = dig("db");
    while !bound.contains("SERVFAIL") && Instant::now() < end {
        bound = dig("db");
    }
    assert!(bound.contains("SERVFAIL"), "{bound}");
    let status = ask(&["status"]);
    assert!(said(&status).contains("answer SERVFAIL on this node"), "{}", said(&status));
    let pooled = dig("www");
    assert!(pooled.contains("NOERROR") && pooled.contains("10.77.1.40"), "{pooled}");
}

fn find(dir: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(dir).expect("a folder");
    for entry in entries.flatten().filter(|e| e.path().is_dir()) {
        if entry.file_name() == name && entry.path().join("raft.redb").exists() {
            return entry.path();
        }
        let below = find(&entry.path(), name);
        if below.as_os_str() != "" {
            return below;
        }
    }
    PathBuf::new()
}
