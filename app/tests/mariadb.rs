//! The cluster on MariaDB: moved by a person, and by itself when its database is killed.

mod lab;

use std::time::Instant;

use lab::{
    Lab, PATIENCE, TWOFOLD, admin, at, done, loss, lost_with_a_row_of_its_own, role, said, stated, until,
};
use mysql_async::prelude::Queryable;
use serde_json::Value;

/// Goal: what the lab runs is MariaDB and says so; `twofold failover` moves the group and brings it back to
/// `Sync`, which it does when nobody waits for an ack; so does `twofold switchover`; a primary that is killed is replaced by the other
/// site's server.
#[test]
fn a_group_on_mariadb_is_moved_and_survives_its_primary() {
    let lab = Lab::up_with(&["--flavour", "mariadb"]);
    let shown = lab.twofold(&["lab", "status"], true);
    assert!(said(&shown).starts_with("database mariadb"), "{}", said(&shown));
    let first = lab.settled();
    let (_, from) = lab.leader_and_active();
    let to = if from == "pdc" { "mdc" } else { "pdc" };

    let moved = lab.inside_cli(&["failover", "shop", "--to", to]);
    assert!(moved.status.success(), "{}", said(&moved));
    assert_eq!(lab.settled(), first + 1, "one failover, and back in Sync without a person");
    assert_eq!(lab.leader_and_active().1, to);

    // No session is ever killed there, so a drained server is fenced by SIGKILL and turned round when it is up.
    let home = lab.inside_cli(&["switchover", "shop", "--to", &from]);
    assert!(home.status.success(), "{}", said(&home));
    assert_eq!(lab.settled(), first + 2, "one switchover, and back in Sync");
    assert_eq!(lab.leader_and_active().1, from);

    let killed = lab.twofold(&["lab", "kill", &format!("{from}-db/mysqld")], true);
    assert!(killed.status.success(), "{}", said(&killed));
    let group = open_at(&lab, first + 3);
    assert_eq!(group["active-site"], *to, "{group:#}");
    // The sentinel and the mark of the opening were written and nothing waited, so nothing is extra.
    assert_eq!(lab.settled(), first + 3);
}

/// Waits until the group is open at `epoch`.
fn open_at(lab: &Lab, epoch: u64) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = lab.status().unwrap_or_default();
        let group = &status["groups"][0];
        if group["epoch"] == epoch && group["open"] == true {
            return group.clone();
        }
        assert!(Instant::now() < end, "not open at epoch {epoch}: {status:#}");
    }
}

/// Goal: a server in quarantine is copied anew once a person has accepted what that gives up, by an id; its transactions
/// are saved on its host before, its old data goes, and it is an acker again with the primary's rows and no others. A sound
/// one is copied anew without a word, also when its guard dies over it. Method: the active site is lost in `Async` with a row that was acknowledged there alone.
#[test]
fn a_quarantined_server_is_copied_anew_by_its_guard() {
    let lab = Lab::up_with(&["--flavour", "mariadb"]);
    let made = ["cert", "client", "root", "--role", "admin", "--config", &lab.config()];
    done(std::process::Command::new(TWOFOLD).args(made).output().expect("twofold runs"));
    lab.settled();
    at(&lab, "pdc-db", async |conn| {
        conn.query_drop("CREATE TABLE kept (word VARCHAR(20) PRIMARY KEY)").await
    });
    lost_with_a_row_of_its_own(&lab);
    done(lab.twofold(&["lab", "heal", "pdc"], true));
    until(|| match role(&lab, "pdc-db") {
        role if role == "quarantined" => Ok(()),
        role => Err(role),
    });

    let rebuild = ["db", "rebuild", "shop", "pdc-db"];
    let stated = stated(&lab, &rebuild);
    assert!(stated.contains("that pdc-db has and the primary has not"), "{stated}");
    let id = loss(&stated);
    let accept = [&rebuild[..], &["--accept-loss", &id]].concat();
    let operator = lab.inside_cli(&accept);
    assert!(operator.status.code() == Some(3) && said(&operator).contains("approver"), "{}", said(&operator));
    until(|| {
        let begun = admin(&lab, &accept);
        if begun.status.success() { Ok(()) } else { Err(said(&begun)) }
    });
    lab.settled();
    assert_eq!(role(&lab, "pdc-db"), "acker");
    let words = |server: &str| -> Vec<String> {
        at(&lab, server, async |conn| conn.query("SELECT word FROM kept").await)
    };
    assert_eq!(words("pdc-db"), ["later"]);
    let host = lab.dir().join("hosts/pdc-db");
    let saved = std::fs::read_dir(host.join("guard/saved")).expect("the guard's folder").count();
    assert!(saved > 0, "its binary logs are saved");
    nothing_is_left(&host);

    done(lab.inside_cli(&["db", "rebuild", "shop", "pdc-db", "--reason", "its disk is new"]));
    done(lab.twofold(&["lab", "kill", "pdc-db/guard"], true));
    until(|| match said(&lab.inside_cli(&["audit"])) {
        audit if audit.contains("acker-rebuilt") => Ok(()),
        audit => Err(audit),
    });
    lab.settled();
    assert_eq!(words("pdc-db"), ["later"]);
    nothing_is_left(&host);
}

/// No copy is beside the data directory beneath a host's folder, and none is written down.
fn nothing_is_left(host: &std::path::Path) {
    until(|| {
        let beneath = std::fs::read_dir(host.join("disk")).expect("the database's disk").flatten();
        let mut left: Vec<_> = beneath.map(|e| e.path()).collect();
        left.retain(|path| path.extension().is_some_and(|e| e == "twofold-copy"));
        let written = host.join("guard/rebuild.json");
        left.extend(written.exists().then_some(written));
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    });
}

/// Goal: without MySQL the lab falls back to MariaDB and says so, and one that was asked for MySQL fails.
/// Method: a cache that holds MariaDB and HAProxy only, and a mirror that is none.
#[test]
fn without_mysql_the_lab_falls_back_and_says_so_unless_mysql_was_asked_for() {
    let cache = tempfile::tempdir().expect("a folder");
    let progress = &mut |line: &str| eprintln!("packages: {line}");
    let from = chaos_lab::packages::cache_dir();
    let mariadb = chaos_lab::packages::mariadb_root(&from, progress).expect("MariaDB can be had");
    let haproxy = chaos_lab::packages::haproxy_root(&from, progress).expect("HAProxy can be had");
    for (name, root) in [("mariadb", mariadb), ("haproxy", haproxy)] {
        let own = cache.path().join("twofold").join(name);
        std::fs::create_dir_all(&own).expect("a folder");
        std::os::unix::fs::symlink(root, own.join("root")).expect("a link");
    }
    let up = |folder: &std::path::Path, words: &[&str]| {
        let mut command = std::process::Command::new(TWOFOLD);
        command.args(["lab", "up", "--dir"]).arg(folder).args(words);
        command.env("XDG_CACHE_HOME", cache.path()).env("TWOFOLD_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
        command.output().expect("twofold runs")
    };
    let asked = Lab::absent();
    let refused = up(&asked.dir(), &["--flavour", "mysql"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("MySQL's packages"), "{}", said(&refused));
    assert!(!said(&refused).contains("INSTEAD"), "{}", said(&refused));

    let lab = Lab::absent();
    let fell_back = up(&lab.dir(), &[]);
    assert!(fell_back.status.success(), "{}", said(&fell_back));
    let errors = String::from_utf8_lossy(&fell_back.stderr).into_owned();
    assert!(errors.contains("THIS LAB RUNS MARIADB INSTEAD") && errors.contains("because: "), "{errors}");
    let shown = said(&lab.twofold(&["lab", "status"], true));
    assert!(shown.contains("database mariadb\n         MYSQL COULD NOT BE HAD: "), "{shown}");
}
