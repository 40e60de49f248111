//! A lab of a test's own, taken away at its end.

#![allow(dead_code)] // each test takes what it needs

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde_json::Value;

pub const TWOFOLD: &str = env!("CARGO_BIN_EXE_twofold");
/// How long the cluster may take to come to a state; generous, since machines differ.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Lab {
    pub folder: tempfile::TempDir,
}

impl Lab {
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// The same, with further words for `lab up`.
    pub fn up_with(words: &[&str]) -> Self {
        let lab = Self::absent();
        let output = lab.twofold(&[&["lab", "up"], words].concat(), true);
        assert!(output.status.success(), "{}", said(&output));
        lab
    }

    /// One that is not up.
    pub fn absent() -> Self {
        Self { folder: tempfile::Builder::new().prefix("tfl-").tempdir().expect("a folder") }
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    pub fn config(&self) -> String {
        self.dir().join("twofold.yaml").to_string_lossy().into_owned()
    }

    pub fn twofold(&self, args: &[&str], with_dir: bool) -> Output {
        let mut command = Command::new(TWOFOLD);
        command.args(&args[..2.min(args.len())]);
        if with_dir {
            command.arg("--dir").arg(self.dir());
        }
        command.args(&args[2.min(args.len())..]).output().expect("twofold runs")
    }

    /// A command inside a host.
    pub fn inside(&self, host: &str, words: &[&str]) -> Output {
        let mut args = vec!["lab", "exec", host, "--"];
        args.extend(words);
        self.twofold(&args, true)
    }

    pub fn status(&self) -> Option<Value> {
        let config = self.config();
        let output = self.inside("cli", &[TWOFOLD, "status", "--config", &config, "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// `twofold` at the operator's seat.
    pub fn inside_cli(&self, words: &[&str]) -> Output {
        let config = self.config();
        let mut all = vec![TWOFOLD];
        all.extend(words);
        all.extend(["--config", &config]);
        self.inside("cli", &all)
    }

    /// The folder of a node's store.
    pub fn node_folder(&self, node: &str) -> PathBuf {
        self.dir().join("hosts/nodes").join(node)
    }

    /// The leader and the active site, once there are both.
    pub fn leader_and_active(&self) -> (String, String) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Some(status) = self.status() else { continue };
            if let (Some(leader), Some(site)) =
                (status["leader"].as_str(), status["groups"][0]["active-site"].as_str())
            {
                return (leader.to_owned(), site.to_owned());
            }
        }
        panic!("no leader, or no active site");
    }

    /// Waits for the group to be as it should, and returns its epoch.
    pub fn settled(&self) -> u64 {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            last = self.status();
            if let Some(group) = last.as_ref().map(|s| &s["groups"][0])
                && group["open"] == true
                && group["durability"] == "sync"
            {
                return group["epoch"].as_u64().expect("an epoch");
            }
        }
        panic!("the group is not open in sync: {last:#?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.twofold(&["lab", "down"], true);
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asks again until it is so.
pub fn until<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
}

/// Does something as root on a server, through its socket.
pub fn at<T>(
    lab: &Lab,
    server: &str,
    act: impl AsyncFnOnce(&mut Conn) -> Result<T, mysql_async::Error>,
) -> T {
    let socket = lab.dir().join(format!("hosts/{server}/mysqld.sock"));
    let options = OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some("root"))
        .db_name(Some(chaos_lab::mysqld::APPLICATION_SCHEMA))
        .stmt_cache_size(0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut conn = Conn::new(options).await.expect("the server is up");
        act(&mut conn).await.expect("it is done")
    })
}

/// `twofold` at the operator's seat, as an administrator, whose certificate the test made.
pub fn admin(lab: &Lab, words: &[&str]) -> Output {
    let config = lab.config();
    let mut all = vec![TWOFOLD];
    all.extend(words);
    all.extend(["--identity", "root", "--config", &config]);
    lab.inside("cli", &all)
}

/// What a server is in the group.
pub fn role(lab: &Lab, server: &str) -> String {
    let status = lab.status().unwrap_or_default();
    let servers = status["groups"][0]["servers"].as_array().cloned().unwrap_or_default();
    let found = servers.iter().find(|s| s["name"] == server);
    found.and_then(|s| s["role"].as_str()).unwrap_or_default().to_owned()
}

/// What a command said that must have been done.
pub fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// The id in `  loss ID: …`.
pub fn loss(text: &str) -> String {
    let (_, rest) = text.split_once("  loss ").unwrap_or_else(|| panic!("no loss is stated: {text}"));
    rest.split(':').next().expect("an id").to_owned()
}

/// What a command says that states a loss, once it can.
pub fn stated(lab: &Lab, words: &[&str]) -> String {
    until(|| {
        let stated = said(&lab.inside_cli(words));
        if stated.contains("  loss ") { Ok(stated) } else { Err(stated) }
    })
}

/// The active site is lost in `Async`, with a row in the table `kept` that was acknowledged there alone, and mdc serves by
/// a person's word and has a row of its own.
pub fn lost_with_a_row_of_its_own(lab: &Lab) {
    done(lab.twofold(&["lab", "kill", "mdc-db", "--hold"], true));
    until(|| match lab.status() {
        Some(s) if s["groups"][0]["durability"] == "async" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    at(lab, "pdc-db", async |conn| conn.query_drop("INSERT INTO kept VALUES ('only-here')").await);
    done(lab.twofold(&["lab", "kill", "pdc-db", "--hold"], true));
    done(lab.twofold(&["lab", "heal", "mdc"], true));
    let to = ["failover", "shop", "--to", "mdc", "--fenced", "the test holds its host down"];
    let id = loss(&stated(lab, &to));
    done(admin(lab, &[&to[..], &["--accept-loss", &id]].concat()));
    until(|| match lab.status() {
        Some(s) if s["groups"][0]["open"] == true && s["groups"][0]["active-site"] == "mdc" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    at(lab, "mdc-db", async |conn| conn.query_drop("INSERT INTO kept VALUES ('later')").await);
}
