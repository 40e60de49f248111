//! Peers that come and go while the links run.

use super::lab::{Lab, brisk, endpoint, until};
use crate::{CallError, StartError};

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_roster_is_cut_off_and_who_comes_back_is_dialed() {
    let mut lab = Lab::start(brisk(), &["node/a", "node/b", "node/w", "guard/db"]).await;
    lab.until_answered("node/a", "node/b").await;
    let whole = lab.config("node/a");
    let mut without = whole.clone();
    without.peers.retain(|node, _| node.as_str() != "b");
    without.guards.clear();
    lab.links("node/a").set_roster(&without.peers, &without.guards).unwrap();
    until("b and the guard are gone", async || !lab.up("node/b", "node/a") && !lab.up("guard/db", "node/a"))
        .await;
    let refused =
        lab.links("node/a").call(&endpoint("node/b"), 1, b"", std::time::Duration::from_secs(1)).await;
    assert_eq!(refused, Err(CallError::NoPath), "not through w either");
    assert!(lab.up("node/a", "node/w"), "who stays keeps its link");
    until("b is told why", async || {
        let view = lab.links("node/b").view();
        view.links[&endpoint("node/a")].last_problem.as_deref().is_some_and(|why| why.contains("roster"))
    })
    .await;

    lab.links("node/a").set_roster(&whole.peers, &whole.guards).unwrap();
    lab.until_direct("node/a", "node/b").await;
    lab.until_answered("node/b", "node/a").await;
    lab.until_answered("guard/db", "node/a").await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_takes_no_guards_and_then_nothing_changes() {
    let mut lab = Lab::start(brisk(), &["node/a", "guard/db"]).await;
    lab.until_answered("guard/db", "node/a").await;
    let config = lab.config("guard/db");
    let guards = std::collections::BTreeSet::from(["other".parse().unwrap()]);
    let refused = lab.links("guard/db").set_roster(&std::collections::BTreeMap::new(), &guards);
    assert!(matches!(refused, Err(StartError::Guards(_))));
    assert!(!config.peers.is_empty());
    lab.until_answered("guard/db", "node/a").await;
    lab.halt_all().await;
}
