//! Full queues.

use super::lab::{ATTEMPT, Lab, calm, endpoint, until};
use super::proxy::Pass;
use crate::{CallError, Sent};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_nothing_in_answers_busy_and_drops_casts() {
    let mut lab = Lab::prepare(calm(), &["node/a", "node/b"]).await;
    lab.boot("node/a").await;
    let (deaf, inbound) = lab.boot_deaf("node/b").await;
    lab_linked(&lab).await;
    until("casts are dropped there", async || {
        let _ = lab.links("node/a").cast(&endpoint("node/b"), 1, b"fill");
        deaf.view().counters.inbound_casts_dropped > 0
    })
    .await;
    assert_eq!(lab.call("node/a", "node/b", "hi").await, Err(CallError::Busy));
    assert!(deaf.view().counters.inbound_calls_busy > 0);
    drop(inbound);
    assert_eq!(lab.call("node/a", "node/b", "hi").await, Err(CallError::Busy), "nobody takes in any more");
    deaf.stop().await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_no_bytes_makes_its_own_link_busy_and_no_other() {
    let mut lab = Lab::start(calm(), &["node/a", "node/b", "node/w"]).await;
    lab.set("node/a", "node/b", Pass::Hold, Pass::Hold);
    let body = vec![0; 256 * 1024];
    let to = endpoint("node/b");
    until("the queue is full", async || lab.links("node/a").cast(&to, 1, &body) == Sent::Busy).await;
    assert_eq!(lab.links("node/a").call(&to, 1, &body, ATTEMPT).await, Err(CallError::Busy));
    assert!(lab.links("node/a").view().links[&to].counters.busy >= 2);
    assert_eq!(lab.call("node/a", "node/w", "hi").await, Ok("node/w heard hi".to_owned()));
    lab.halt_all().await;
}

async fn lab_linked(lab: &Lab) {
    until("linked", async || lab.up("node/a", "node/b")).await;
}
