//! The cluster on MariaDB: moved by a person, and by itself when its database is killed.

mod lab;

use std::time::Instant;

use lab::{Lab, PATIENCE, TWOFOLD, said};
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
