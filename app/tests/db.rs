//! What a person does with a group's databases, in a lab with real servers.

mod lab;

use std::collections::BTreeSet;

use lab::{Lab, TWOFOLD, admin, at, done, loss, lost_with_a_row_of_its_own, role, said, stated, until};
use mysql_async::prelude::Queryable;

fn rows(lab: &Lab, server: &str) -> BTreeSet<String> {
    at(lab, server, async |conn| conn.query("SELECT word FROM kept").await).into_iter().collect()
}

/// `db WHAT` says all of this in the end.
fn tells(lab: &Lab, what: &str, words: &[&str]) {
    until(|| {
        let shown = said(&lab.inside_cli(&["db", what]));
        if words.iter().all(|word| shown.contains(word)) {
            Ok(())
        } else {
            Err(format!("{words:?} in {shown}"))
        }
    });
}

/// Goal: what stops a replica's applier is named with its number and a next act, in all three views, and is gone
/// when it is mended; and nothing moves for it.
fn a_stopped_applier_is_named(lab: &Lab) {
    tells(lab, "topology", &["pdc-db", "mdc-db"]);
    at(lab, "mdc-db", async |conn| {
        conn.query_drop("SET SESSION sql_log_bin = 0").await?;
        // Its guard takes writes from everybody again at its next look.
        for _ in 0..100 {
            conn.query_drop("SET GLOBAL super_read_only = OFF").await?;
            if conn.query_drop("INSERT INTO kept VALUES ('clash')").await.is_ok() {
                return Ok(());
            }
        }
        panic!("the standby takes no row");
    });
    at(lab, "pdc-db", async |conn| conn.query_drop("INSERT INTO kept VALUES ('clash')").await);
    tells(lab, "status", &["replication-stopped", "1062", "next"]);
    tells(lab, "topology", &["replication-stopped"]);
    at(lab, "mdc-db", async |conn| {
        conn.query_drop("SET SESSION sql_log_bin = 0").await?;
        for _ in 0..100 {
            conn.query_drop("SET GLOBAL super_read_only = OFF").await?;
            if conn.query_drop("DELETE FROM kept WHERE word = 'clash'").await.is_ok() {
                break;
            }
        }
        conn.query_drop("SET GLOBAL super_read_only = ON").await?;
        conn.query_drop("START REPLICA SQL_THREAD").await
    });
    until(|| match said(&lab.inside_cli(&["db", "status"])) {
        shown if shown.contains("replication-stopped") => Err(shown),
        _ => Ok(()),
    });
    at(lab, "pdc-db", async |conn| conn.query_drop("DELETE FROM kept").await);
}

/// Goal: both passwords are changed while everything runs: nothing is restarted, nothing moves, and the old ones are
/// worth nothing then.
fn passwords_are_changed(lab: &Lab) {
    const ACCOUNTS: [&str; 2] = ["'twofold'@'localhost'", "'repl'@'%'"];
    at(lab, "pdc-db", async |conn| {
        for account in ACCOUNTS {
            conn.query_drop(format!("ALTER USER {account} IDENTIFIED BY 'another' RETAIN CURRENT PASSWORD"))
                .await?;
        }
        Ok(())
    });
    for secret in ["admin", "replication"] {
        std::fs::write(lab.dir().join("secrets").join(secret), "another\n").expect("the lab's secrets");
    }
    until(|| {
        let log = lab.dir().join("log/mdc-db.guard.log");
        let text = std::fs::read_to_string(log).map_err(|e| e.to_string())?;
        if text.contains("act done act=ChangePassword") { Ok(()) } else { Err("it was not given".to_owned()) }
    });
    lab.settled();
    at(lab, "pdc-db", async |conn| {
        for account in ACCOUNTS {
            conn.query_drop(format!("ALTER USER {account} DISCARD OLD PASSWORD")).await?;
        }
        Ok(())
    });
    // Whoever was logged in must log in again.
    for server in ["pdc-db", "mdc-db"] {
        at(lab, server, async |conn| {
            let sessions = "SELECT id FROM information_schema.PROCESSLIST WHERE user IN ('twofold', 'repl')";
            let found: Vec<u64> = conn.query(sessions).await?;
            assert!(!found.is_empty());
            for session in found {
                // It may be gone by then.
                let _ = conn.query_drop(format!("KILL {session}")).await;
            }
            Ok(())
        });
    }
    at(lab, "pdc-db", async |conn| conn.query_drop("CREATE TABLE rotated (id INT PRIMARY KEY)").await);
    until(|| {
        let there: u64 = at(lab, "mdc-db", async |conn| {
            let sql = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'rotated'";
            Ok(conn.query_first(sql).await?.unwrap_or_default())
        });
        if there == 1 { Ok(()) } else { Err("the standby does not receive".to_owned()) }
    });
    assert_eq!(lab.settled(), 1, "nothing moved for it");
}

/// Goal: what a server has that clients may have been told of is written down as SQL when it is put in quarantine;
/// only a person brings it back, who has seen what is given up and may accept that; and then it is an acker again,
/// with the primary's rows and no others. Method: the active site is lost in `Async` with a row that was
/// acknowledged there alone.
#[test]
fn a_quarantined_server_is_read_and_copied_anew() {
    let lab = Lab::up_with(&["--flavour", "mysql"]);
    let made = ["cert", "client", "root", "--role", "admin", "--config", &lab.config()];
    done(std::process::Command::new(TWOFOLD).args(made).output().expect("twofold runs"));
    lab.settled();
    at(&lab, "pdc-db", async |conn| {
        conn.query_drop("CREATE TABLE kept (word VARCHAR(20) PRIMARY KEY)").await
    });
    let sound = lab.inside_cli(&["db", "release", "shop", "mdc-db"]);
    assert_eq!(sound.status.code(), Some(3), "{}", said(&sound));
    let active = lab.inside_cli(&["db", "rebuild", "shop", "pdc-db"]);
    assert!(active.status.code() == Some(3) && said(&active).contains("is the primary"), "{}", said(&active));
    let unknown = lab.inside_cli(&["db", "rebuild", "shop", "elsewhere"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));

    a_stopped_applier_is_named(&lab);
    assert_eq!(lab.settled(), 1, "nothing moved for it");
    passwords_are_changed(&lab);
    lost_with_a_row_of_its_own(&lab);

    // It comes back: its own row is on its host's disk as SQL, and it is not touched.
    done(lab.twofold(&["lab", "heal", "pdc"], true));
    let saved = until(|| {
        let explained = said(&lab.inside_cli(&["explain", "group", "shop"]));
        let saved: Vec<_> = glob(&lab, "hosts/pdc-db", "extra-transactions.sql");
        match saved.first() {
            Some(path) if role(&lab, "pdc-db") == "quarantined" => Ok(path.clone()),
            _ => Err(explained),
        }
    });
    let sql = std::fs::read_to_string(&saved).expect("the SQL");
    assert!(sql.contains("only-here") || sql.contains("INSERT INTO `app`.`kept`"), "{sql}");
    assert_eq!(rows(&lab, "pdc-db"), BTreeSet::from(["only-here".to_owned()]));
    tells(&lab, "errant", &["pdc-db", "quarantined"]);

    // Let out as it is, it is compared and put back.
    until(|| {
        let released = lab.inside_cli(&["db", "release", "shop", "pdc-db", "--reason", "to see"]);
        if released.status.success() { Ok(()) } else { Err(said(&released)) }
    });
    until(|| match said(&lab.inside_cli(&["audit"])) {
        audit if audit.matches("Z  quarantined ").count() == 2 && audit.contains("Z  released ") => Ok(()),
        audit => Err(audit),
    });

    let stated = stated(&lab, &["db", "rebuild", "shop", "pdc-db"]);
    assert!(stated.contains("1 transaction that pdc-db has and the primary has not"), "{stated}");
    let id = loss(&stated);
    let accept = ["db", "rebuild", "shop", "pdc-db", "--accept-loss", &id];
    let operator = lab.inside_cli(&accept);
    assert!(operator.status.code() == Some(3) && said(&operator).contains("approver"), "{}", said(&operator));
    let lapsed = admin(&lab, &["db", "rebuild", "shop", "pdc-db", "--accept-loss", "00000000"]);
    assert!(lapsed.status.code() == Some(3) && said(&lapsed).contains("never stated"), "{}", said(&lapsed));
    until(|| {
        let begun = admin(&lab, &accept);
        if begun.status.success() { Ok(()) } else { Err(said(&begun)) }
    });
    lab.settled();
    assert_eq!(role(&lab, "pdc-db"), "acker");
    let channel: mysql_async::Row =
        at(&lab, "pdc-db", async |conn| conn.query_first("SHOW REPLICA STATUS").await).expect("a channel");
    assert_eq!(channel.get::<String, _>("Source_SSL_Verify_Server_Cert").as_deref(), Some("Yes"));
    assert_eq!(rows(&lab, "pdc-db"), BTreeSet::from(["later".to_owned()]));

    // A sound one is copied anew without a word.
    done(lab.inside_cli(&["db", "rebuild", "shop", "pdc-db", "--reason", "its disk is new"]));
    until(|| match said(&lab.inside_cli(&["audit"])) {
        audit if audit.contains("acker-rebuilt") => Ok(()),
        audit => Err(audit),
    });
    lab.settled();
    assert_eq!(rows(&lab, "pdc-db"), BTreeSet::from(["later".to_owned()]));
}

/// Files of this name beneath a folder of the lab; what is not whole yet lies in a folder `.part`.
fn glob(lab: &Lab, folder: &str, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![lab.dir().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "part") {
                continue;
            }
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
    }
    found
}
