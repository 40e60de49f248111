//! Cuts, and the way around them.

use super::lab::{Lab, brisk, endpoint, until};
use super::proxy::Pass;
use crate::{CallError, Sent};

const ALL: [&str; 4] = ["node/a", "node/b", "node/w", "guard/db"];

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_through_a_third_node_while_the_direct_link_is_cut() {
    let mut lab = Lab::start(brisk(), &ALL).await;
    lab.cut("node/a", "node/b");
    until("a and b know the way around", async || {
        lab.relay("node/a", "node/b").as_deref() == Some("w")
            && lab.relay("node/b", "node/a").as_deref() == Some("w")
    })
    .await;
    lab.until_answered("node/a", "node/b").await;
    lab.until_answered("node/b", "node/a").await;
    assert!(lab.links("node/w").view().counters.forwarded >= 4);

    until("a cast goes around", async || {
        let sent = lab.links("node/a").cast(&endpoint("node/b"), 1, b"around");
        let casts = lab.process("node/b").casts.lock().unwrap();
        matches!(sent, Sent::Relayed(_)) && casts.contains(&(endpoint("node/a"), b"around".to_vec(), true))
    })
    .await;

    lab.heal("node/a", "node/b");
    lab.until_direct("node/a", "node/b").await;
    until("calls go directly again", async || {
        let forwarded = || lab.links("node/w").view().counters.forwarded;
        let before = forwarded();
        lab.call("node/a", "node/b", "hi").await.is_ok() && forwarded() == before
    })
    .await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_reaches_a_node_and_is_reached_through_another_node() {
    let mut lab = Lab::start(brisk(), &ALL).await;
    lab.cut("guard/db", "node/b");
    lab.cut("guard/db", "node/w");
    until("the way around", async || {
        lab.relay("guard/db", "node/b").as_deref() == Some("a")
            && lab.relay("node/b", "guard/db").as_deref() == Some("a")
    })
    .await;
    lab.until_answered("guard/db", "node/b").await;
    lab.until_answered("node/b", "guard/db").await;
    lab.heal("guard/db", "node/b");
    lab.until_direct("guard/db", "node/b").await;
    lab.until_answered("guard/db", "node/b").await;
    lab.halt_all().await;
}

/// A cut in one direction: b hears a no more, a goes on hearing b. Neither may go on believing that
/// its messages arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_in_one_direction_is_gone_around_by_both_ends() {
    let mut lab = Lab::start(brisk(), &ALL).await;
    lab.set("node/a", "node/b", Pass::Swallow, Pass::Through);
    until("both go around", async || {
        lab.relay("node/a", "node/b").is_some() && lab.relay("node/b", "node/a").is_some()
    })
    .await;
    lab.until_answered("node/a", "node/b").await;
    lab.until_answered("node/b", "node/a").await;
    lab.heal("node/a", "node/b");
    lab.until_direct("node/a", "node/b").await;
    lab.until_answered("node/a", "node/b").await;
    lab.halt_all().await;
}

/// The link holds bytes for a while and then gives all of them, as TCP does after a short cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_held_and_let_go_is_used_again() {
    let mut lab = Lab::start(brisk(), &ALL).await;
    for _ in 0..3 {
        lab.set("node/a", "node/b", Pass::Hold, Pass::Hold);
        until("down", async || !lab.up("node/a", "node/b")).await;
        lab.until_answered("node/a", "node/b").await;
        lab.heal("node/a", "node/b");
        lab.until_direct("node/a", "node/b").await;
    }
    lab.until_answered("node/a", "node/b").await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_hears_has_no_path() {
    let mut lab = Lab::start(brisk(), &ALL).await;
    for other in ["node/b", "node/w", "guard/db"] {
        lab.cut("node/a", other);
    }
    until("no path to it or from it", async || {
        lab.links("node/a").view().links.values().all(|status| !status.reachable())
            && ["node/b", "node/w", "guard/db"]
                .iter()
                .all(|other| !lab.links(other).view().links[&endpoint("node/a")].reachable())
    })
    .await;
    assert_eq!(lab.call("node/a", "node/b", "hi").await, Err(CallError::NoPath));
    assert_eq!(lab.links("guard/db").cast(&endpoint("node/a"), 1, b""), Sent::NoPath);
    // The others have not noticed anything.
    lab.until_answered("node/b", "node/w").await;
    lab.until_answered("guard/db", "node/w").await;
    for other in ["node/b", "node/w", "guard/db"] {
        lab.heal("node/a", other);
        lab.until_direct("node/a", other).await;
    }
    lab.until_answered("node/a", "node/b").await;
    lab.halt_all().await;
}

/// Three nodes in a row: a hears b, b hears w, w hears c. There are two hops between a and c,
/// and a message never takes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_never_takes_two_hops() {
    let mut lab = Lab::start(brisk(), &["node/a", "node/b", "node/c", "node/w"]).await;
    for (x, y) in [("node/a", "node/w"), ("node/a", "node/c"), ("node/b", "node/c")] {
        lab.cut(x, y);
    }
    until("c is out of reach and w is not", async || {
        lab.relay("node/a", "node/w").as_deref() == Some("b")
            && lab.relay("node/a", "node/c").is_none()
            && !lab.up("node/a", "node/c")
    })
    .await;
    lab.until_answered("node/a", "node/w").await;
    assert_eq!(lab.call("node/a", "node/c", "hi").await, Err(CallError::NoPath));
    lab.halt_all().await;
}
