//! `twofold apply` and `twofold config`, as the person who types them sees them: in the lab, while the
//! group serves.

mod lab;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, PATIENCE, TWOFOLD, said};
use serde_json::Value;

const NAME: &str = "db.gslb.example.com";

/// What the operator's seat holds: the lab, and a copy of its configuration to edit.
struct Seat {
    lab: Lab,
    processes: Vec<Child>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Seat {
    fn take() -> Self {
        let lab = Lab::up();
        let made = Command::new(TWOFOLD)
            .args(["cert", "client", "root", "--role", "admin", "--config", &lab.config()])
            .output()
            .expect("twofold runs");
        assert!(made.status.success(), "{}", said(&made));
        Self { lab, processes: Vec::new() }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.lab.config()).expect("the lab's configuration")
    }

    /// Writes a configuration beside the lab's own.
    fn written(&self, text: &str) -> PathBuf {
        let path = self.lab.dir().join("next.yaml");
        std::fs::write(&path, text).expect("it is written");
        path
    }

    fn admin(&self, words: &[&str]) -> Output {
        let mut all = vec![TWOFOLD];
        all.extend(words);
        all.extend(["--identity", "root"]);
        self.lab.inside("cli", &all)
    }

    fn apply(&self, text: &str, words: &[&str]) -> Output {
        let path = self.written(text);
        let mut all = vec!["apply", path.to_str().expect("a path"), "--config"];
        let config = self.lab.config();
        all.push(&config);
        all.extend(words);
        self.admin(&all)
    }

    fn config(&self, words: &[&str]) -> Output {
        let mut all = vec!["config"];
        all.extend(words);
        let config = self.lab.config();
        all.extend(["--config", &config]);
        self.admin(&all)
    }

    fn shown(&self) -> Value {
        serde_json::from_slice(&self.config(&["show", "-o", "json"]).stdout).unwrap_or_default()
    }

    /// What each node goes by, once a quorum says so.
    fn nodes(&self) -> Vec<(String, String, Option<u64>)> {
        let shown = self.shown();
        let nodes = shown["nodes"].as_array().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        nodes.iter().map(|n| (text(&n["node"]), text(&n["member"]), n["generation"].as_u64())).collect()
    }

    /// Waits for every node to go by `generation` as a voter.
    fn in_force(&self, generation: u64, names: &[&str]) {
        until(|| {
            let nodes = self.nodes();
            let mut found: Vec<&str> = nodes.iter().map(|(name, ..)| name.as_str()).collect();
            found.sort_unstable();
            let all = nodes.iter().all(|(_, member, g)| member == "voter" && *g == Some(generation));
            if all && found == names { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
    }

    fn ttl(&self, server: &str) -> Option<String> {
        let server = format!("@{server}");
        let output =
            self.lab.inside("cli", &["dig", "+noall", "+answer", "+time=1", "+tries=1", &server, NAME]);
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        answer.split_whitespace().nth(1).map(str::to_owned)
    }

    /// A node that joins, on a host that is there.
    fn join(&mut self, host: &str, node: &str, text: &str) {
        let file = self.lab.dir().join(format!("{node}.yaml"));
        std::fs::write(&file, text).expect("it is written");
        let file = file.to_str().expect("a path").to_owned();
        let made =
            Command::new(TWOFOLD).args(["cert", "node", node, "--config", &file]).output().expect("it runs");
        assert!(made.status.success(), "{}", said(&made));
        let serve = [TWOFOLD, "serve", "--config", &file, "--node", node];
        let joined = self.lab.inside(host, &[&serve[..], &["--join"]].concat());
        assert!(joined.status.success(), "{}", said(&joined));
        let again = self.lab.inside(host, &[&serve[..], &["--join"]].concat());
        assert_eq!(again.status.code(), Some(1), "never over a log that is there: {}", said(&again));
        let log = File::create(self.lab.dir().join(format!("{node}.log"))).expect("a log");
        let process = Command::new(TWOFOLD)
            .args(["lab", "exec", "--dir", self.lab.dir().to_str().expect("a path"), host, "--"])
            .args(serve)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("twofold runs");
        self.processes.push(process);
    }
}

fn until<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

const FIVE: [&str; 5] = ["mdc-1", "mdc-2", "pdc-1", "pdc-2", "wit-1"];

/// Goal: a person changes what the cluster is configured to be and sees what happens: compared in words,
/// held up to every node, in force on all of them at once, back by number; refused where it must be, with
/// the reason and nothing changed; an edit that nobody applied is said.
#[test]
fn a_configuration_is_applied_taken_back_or_refused_with_the_reason() {
    let seat = Seat::take();
    let first = seat.lab.settled();
    seat.in_force(1, &FIVE);
    let text = seat.text();
    assert_eq!(seat.ttl("10.77.1.1").as_deref(), Some("1"));
    let slower = text.replace("ttl: 1s", "ttl: 2s");
    assert_ne!(slower, text, "the lab's file has the TTL that is changed");

    let planned = seat.apply(&slower, &["--dry-run"]);
    assert!(planned.status.success(), "{}", said(&planned));
    assert!(
        said(&planned).contains(".ttl: 1s -> 2s") && said(&planned).contains("wit-1        accepts"),
        "{}",
        said(&planned)
    );
    seat.in_force(1, &FIVE);

    let path = seat.written(&slower);
    let operator = seat.lab.inside_cli(&["apply", path.to_str().expect("a path")]);
    assert_eq!(operator.status.code(), Some(3), "the lab's client is an operator: {}", said(&operator));
    assert!(said(&operator).contains("needs admin"), "{}", said(&operator));

    let applied = seat.apply(&slower, &["--why", "clients ask less"]);
    assert!(
        applied.status.success() && said(&applied).contains("generation 2 is in force"),
        "{}",
        said(&applied)
    );
    seat.in_force(2, &FIVE);
    for server in ["10.77.1.1", "10.77.2.2", "10.77.3.1"] {
        until(|| {
            seat.ttl(server).filter(|ttl| ttl == "2").ok_or_else(|| format!("{server} answers the old TTL"))
        });
    }

    // The files on the nodes' disks were not touched, and every node says so.
    let drift = until(|| {
        let shown = seat.config(&["show"]);
        if said(&shown).matches("its file differs").count() == 5 { Ok(shown) } else { Err(said(&shown)) }
    });
    assert_eq!(drift.status.code(), Some(3), "{}", said(&drift));
    std::fs::write(seat.lab.config(), seat.config(&["get"]).stdout).expect("the lab's file");
    until(|| {
        let shown = seat.config(&["show"]);
        if shown.status.success() { Ok(()) } else { Err(said(&shown)) }
    });

    // Stale, not understood, and what a running cluster cannot take.
    let stale = seat.apply(&text, &["--expect", "1"]);
    assert_eq!(stale.status.code(), Some(3), "{}", said(&stale));
    assert!(
        said(&stale).contains("generation 2 by root") && said(&stale).contains("is in force"),
        "{}",
        said(&stale)
    );
    let broken = seat.apply(&slower.replace("role: witness", "role: wizard"), &[]);
    assert_eq!(broken.status.code(), Some(2), "{}", said(&broken));
    assert!(said(&broken).contains("sites.wit.role"), "{}", said(&broken));
    let lease = seat.apply(&slower.replace("timing: metro", "timing: wide"), &[]);
    assert_eq!(lease.status.code(), Some(3), "{}", said(&lease));
    assert!(said(&lease).contains("timing.lease cannot change while the cluster runs"), "{}", said(&lease));
    let nothing = seat.apply(&slower, &[]);
    assert!(
        nothing.status.success() && said(&nothing).contains("nothing differs from generation 2"),
        "{}",
        said(&nothing)
    );

    // A node that is not heard has its say unless it is passed over.
    let paused = seat.lab.twofold(&["lab", "kill", "wit-1", "--signal", "stop"], true);
    assert!(paused.status.success(), "{}", said(&paused));
    let manual = slower.replace("failover: automatic", "failover: manual");
    assert_ne!(manual, slower, "the lab's group is found");
    let silent = until(|| {
        let tried = seat.apply(&manual, &["--dry-run"]);
        if tried.status.code() == Some(3) { Ok(tried) } else { Err(said(&tried)) }
    });
    assert!(said(&silent).contains("--without wit-1"), "{}", said(&silent));
    let passed = seat.apply(&manual, &["--without", "wit-1"]);
    assert!(passed.status.success(), "{}", said(&passed));
    let woken = seat.lab.twofold(&["lab", "kill", "wit-1", "--signal", "cont"], true);
    assert!(woken.status.success(), "{}", said(&woken));
    seat.in_force(3, &FIVE);
    until(|| {
        let group = seat.lab.inside_cli(&["status"]);
        if said(&group).contains("leaves failovers to a person") { Ok(()) } else { Err(said(&group)) }
    });

    let back = seat.config(&["rollback", "1", "--why", "it was better"]);
    assert!(back.status.success() && said(&back).contains("generation 4 is in force"), "{}", said(&back));
    seat.in_force(4, &FIVE);
    until(|| seat.ttl("10.77.2.1").filter(|ttl| ttl == "1").ok_or_else(|| "the new TTL still".into()));
    let history = said(&seat.config(&["history"]));
    for line in ["generation 1 again: it was better", "clients ask less", "ttl: 1s -> 2s"] {
        assert!(history.contains(line), "{line:?} in {history}");
    }
    let forgotten = seat.config(&["rollback", "99"]);
    assert_eq!(forgotten.status.code(), Some(2), "{}", said(&forgotten));
    let audit = said(&seat.lab.inside_cli(&["audit"]));
    assert!(audit.matches("configured").count() >= 4 && audit.contains("by=root"), "{audit}");
    // The decision not to act is on the record, with its inputs: a cut link moves nothing.
    let cut = seat.lab.twofold(&["lab", "cut", "pdc", "mdc"], true);
    assert!(cut.status.success(), "{}", said(&cut));
    let audited = |words: &[&str]| {
        until(|| {
            let audit = said(&seat.lab.inside_cli(&["audit"]));
            let found = audit.lines().any(|line| words.iter().all(|word| line.contains(word)));
            if found { Ok(()) } else { Err(audit) }
        })
    };
    audited(&["held-still", "link-cut", "because="]);
    let healed = seat.lab.twofold(&["lab", "heal"], true);
    assert!(healed.status.success(), "{}", said(&healed));
    audited(&["held-no-more"]);
    assert_eq!(seat.lab.settled(), first, "no failover came of it");
}

/// Goal: nodes are replaced while the group serves, the witness among them: the new ones vote, the old
/// ones end and stay away, a node whose disk was lost comes back under a new name, and nothing fails over.
#[test]
fn nodes_and_the_witness_are_replaced_while_the_group_serves() {
    let mut seat = Seat::take();
    let first = seat.lab.settled();
    seat.in_force(1, &FIVE);
    let text = seat.text();
    let line = |text: &str, node: &str| {
        let found = text.lines().find(|l| l.trim_start().starts_with(&format!("{node}: ")));
        found.unwrap_or_else(|| panic!("{node} in {text}")).to_owned()
    };
    // A new name on the old one's host: its own ports, since the old one runs until it has left.
    let replaced = |text: &str, old: &str, new: &str, site: &str, address: &str| {
        let entry = format!(
            "  {new}: {{site: {site}, address: {address}, peer-port: 7401, api-port: 7444, dns: [\"{address}:5353\"]}}"
        );
        text.replace(&line(text, old), &entry)
    };

    let one = replaced(&text, "mdc-2", "mdc-3", "mdc", "10.77.2.2");
    let planned = seat.apply(&one, &["--dry-run"]);
    assert!(
        said(&planned).contains("mdc-3        joins") && said(&planned).contains("mdc-2        leaves"),
        "{}",
        said(&planned)
    );
    let applied = seat.apply(&one, &[]);
    assert!(applied.status.success(), "{}", said(&applied));
    until(|| {
        let nodes = seat.nodes();
        let joins = nodes.iter().any(|(n, m, _)| n == "mdc-3" && (m == "learner" || m == "joins"));
        if joins { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    let hasty = seat.apply(&replaced(&one, "pdc-2", "pdc-3", "pdc", "10.77.1.2"), &[]);
    assert_eq!(hasty.status.code(), Some(3), "one change of nodes at a time: {}", said(&hasty));
    let undone = seat.apply(&text, &["--why", "its host is not there yet"]);
    assert!(undone.status.success(), "{}", said(&undone));
    seat.in_force(3, &FIVE);

    let applied = seat.apply(&one, &[]);
    assert!(applied.status.success(), "{}", said(&applied));
    seat.join("mdc-2", "mdc-3", &one);
    seat.in_force(4, &["mdc-1", "mdc-3", "pdc-1", "pdc-2", "wit-1"]);

    let two = replaced(&one, "wit-1", "wit-2", "wit", "10.77.3.1");
    let applied = seat.apply(&two, &["--why", "another place"]);
    assert!(applied.status.success(), "{}", said(&applied));
    seat.join("wit-1", "wit-2", &two);
    let names = ["mdc-1", "mdc-3", "pdc-1", "pdc-2", "wit-2"];
    seat.in_force(5, &names);
    assert_eq!(seat.lab.settled(), first, "no failover came of it");

    // The new ones carry the quorum: with the active site's nodes gone they and mdc-1 are three of five,
    // and the group moves.
    let (_, active) = seat.lab.leader_and_active();
    if active == "pdc" {
        let killed = seat.lab.twofold(&["lab", "kill", "pdc"], true);
        assert!(killed.status.success(), "{}", said(&killed));
        until(|| {
            let (_, site) = seat.lab.leader_and_active();
            if site == "mdc" { Ok(()) } else { Err(format!("the group is in {site}")) }
        });
    }
    // A removed one that its supervisor starts again says what it is.
    let log = std::fs::read_to_string(seat.lab.dir().join("hosts/wit-1/node.log")).unwrap_or_default();
    assert!(log.is_empty() || log.contains("no member any more"), "{log}");
}
