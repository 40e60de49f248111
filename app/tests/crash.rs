//! A leader that dies between any two steps is replaced, and the execution finishes: in the lab, with
//! real processes, at the boundaries of every step of a failover. (The simulator does the same in
//! virtual time, thousands of times, with its own hands for the executor's.)

mod lab;

use std::time::Instant;

use lab::{Lab, PATIENCE, said};

/// Every step of the failover runbook, with the moment of it at which its leader dies.
const BOUNDARIES: [(&str, &str); 14] = [
    ("stop-ackers", "begun"),
    ("stop-ackers", "performed"),
    ("fence", "begun"),
    ("fence", "performed"),
    ("drain", "begun"),
    ("drain", "performed"),
    ("promote", "begun"),
    ("promote", "performed"),
    ("open", "begun"),
    ("open", "performed"),
    ("await-open", "begun"),
    ("await-open", "performed"),
    ("route", "begun"),
    ("route", "performed"),
];

/// Every step of the switchover runbook. One that does nothing to the world has no intent to die behind,
/// and a change is done with its commit: of these one moment says it all.
const SWITCHOVER: [(&str, &str); 18] = [
    ("block", "performed"),
    ("catch-up", "performed"),
    ("handover", "begun"),
    ("handover", "performed"),
    ("stop-ackers", "begun"),
    ("stop-ackers", "performed"),
    ("fence", "begun"),
    ("fence", "performed"),
    ("drain", "performed"),
    ("compare", "performed"),
    ("promote", "begun"),
    ("promote", "performed"),
    ("reverse", "begun"),
    ("reverse", "performed"),
    ("await-acker", "performed"),
    ("open", "begun"),
    ("open", "performed"),
    ("await-open", "performed"),
];

/// Leadership wanders to the standby site after each move; a failover that ran under another leader than
/// the one that was told is done again.
const TRIES: usize = 5;

/// Goal: at each boundary the leader dies by SIGABRT, another one finishes the failover in the next
/// epoch, and the group is back in `Sync`. Method: the group goes to and fro between the sites.
#[test]
fn a_leader_may_die_at_every_boundary_of_every_step() {
    let lab = Lab::up();
    for boundary in BOUNDARIES {
        assert!((0..TRIES).any(|_| dies_at(&lab, boundary)), "nobody died at {boundary:?}");
    }
}

/// Goal: at each boundary of a switchover the leader dies, and another one finishes or undoes it: the group
/// serves in a later epoch, in one site or the other, and is back in `Sync`.
#[test]
fn a_leader_may_die_at_every_boundary_of_a_switchover() {
    let lab = Lab::up();
    let mut moved = 0;
    for (step, moment) in SWITCHOVER {
        let died = (0..TRIES).any(|_| {
            let before = lab.settled();
            let (leader, from) = lab.leader_and_active();
            let to = if from == "pdc" { "mdc" } else { "pdc" };
            let told = lab.node_folder(&leader).join("die-at");
            std::fs::write(&told, format!("{step} {moment}")).expect("the node's folder is there");
            // Not to be begun is an answer too: a node that just came back may not be trusted yet.
            let asked = lab.inside_cli(&["switchover", "shop", "--to", to]);
            let after = lab.settled();
            let died = !told.exists();
            let _ = std::fs::remove_file(&told);
            let (_, active) = lab.leader_and_active();
            assert!(!died || after > before, "{step} {moment}: {}", said(&asked));
            moved += u32::from(active == to);
            died
        });
        assert!(died, "nobody died at {step} {moment}");
    }
    assert!(moved > 10, "most of them are finished: {moved}");
}

/// One failover; whether its leader died where it was told to.
fn dies_at(lab: &Lab, (step, moment): (&str, &str)) -> bool {
    let before = lab.settled();
    let (leader, from) = lab.leader_and_active();
    let to = if from == "pdc" { "mdc" } else { "pdc" };
    let told = lab.node_folder(&leader).join("die-at");
    std::fs::write(&told, format!("{step} {moment}")).expect("the node's folder is there");

    // The answer may be lost with the node that was to give it.
    let asked = lab.inside_cli(&["failover", "shop", "--to", to]);
    let end = Instant::now() + PATIENCE;
    let group = loop {
        let status = lab.status().unwrap_or_default();
        let group = &status["groups"][0];
        if group["epoch"].as_u64() > Some(before) && group["open"] == true {
            break group.clone();
        }
        assert!(Instant::now() < end, "{step} {moment}: {}\n{status:#}", said(&asked));
    };
    assert_eq!(group["active-site"], to, "{step} {moment}: {group:#}");
    assert_eq!(lab.settled(), before + 1, "one failover and no second one, {step} {moment}: {group:#}");
    // The last steps come after the opening; in `Sync` the execution is over.
    let status = lab.status().expect("it was settled");
    let group = &status["groups"][0];
    let finished = group["finished"].as_array().expect("finished");
    let failover = finished.iter().find(|e| e["runbook"] == "failover").expect("it is on record");
    assert_eq!(failover["status"], "succeeded", "{step} {moment}: {group:#}");
    let died = !told.exists();
    if !died {
        std::fs::remove_file(&told).expect("it was there");
    }
    died
}
