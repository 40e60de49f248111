//! Casts, calls, restarts and stopping, with nothing in the way.

use tokio::net::TcpListener;

use super::lab::{ATTEMPT, Lab, PATIENCE, brisk, calm, endpoint, until};
use crate::{CallError, Inbound, LinkTiming, Links, Sent, StartError};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_guards_call_each_other_both_ways() {
    let mut lab = Lab::start(calm(), &["node/a", "node/b", "guard/db"]).await;
    for (from, to) in
        [("node/a", "node/b"), ("node/b", "node/a"), ("guard/db", "node/a"), ("node/b", "guard/db")]
    {
        assert_eq!(lab.call(from, to, "hi").await, Ok(format!("{to} heard hi")));
    }
    let large = "x".repeat(3_000_000);
    assert_eq!(lab.call("node/a", "guard/db", &large).await, Ok(format!("guard/db heard {large}")));
    let view = lab.links("node/a").view();
    let status = &view.links[&endpoint("node/b")];
    assert!(status.up && status.rtt.is_some() && status.heard.is_some(), "{status:?}");
    assert!(lab.links("node/a").hears().contains(&endpoint("guard/db")));
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_says_how_it_failed() {
    let mut lab = Lab::start(calm(), &["node/a", "node/b"]).await;
    let remote = |text: &str| Err(CallError::Remote(text.to_owned()));
    assert_eq!(lab.call("node/a", "node/b", "fail").await, remote("asked to fail"));
    assert_eq!(lab.call("node/a", "node/b", "drop").await, remote("the call was dropped unanswered"));
    assert_eq!(lab.call("node/a", "node/stranger", "hi").await, Err(CallError::NoPath));
    assert_eq!(lab.links("node/a").cast(&endpoint("guard/stranger"), 1, b""), Sent::NoPath);
    let too_long = vec![0; crate::BODY_MAX + 1];
    assert_eq!(lab.links("node/a").cast(&endpoint("node/b"), 1, &too_long), Sent::Busy);
    let longest = "x".repeat(crate::BODY_MAX);
    assert!(matches!(lab.call("node/a", "node/b", &longest).await, Err(CallError::Remote(_))));
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_on_a_link_arrive_in_order() {
    let mut lab = Lab::start(calm(), &["node/a", "node/b"]).await;
    let casts = &lab.process("node/b").casts;
    for number in 0..2000u32 {
        let sent = lab.links("node/a").cast(&endpoint("node/b"), 2, &number.to_be_bytes());
        assert_eq!(sent, Sent::Direct);
        // Never more under way than fit into either queue.
        if number % 500 == 499 {
            let so_far = usize::try_from(number).unwrap() + 1;
            until("the casts so far", async || casts.lock().unwrap().len() == so_far).await;
        }
    }
    for (number, (from, body, relayed)) in casts.lock().unwrap().iter().enumerate() {
        assert_eq!((from, *relayed), (&endpoint("node/a"), false));
        assert_eq!(u32::from_be_bytes(body.as_slice().try_into().unwrap()), u32::try_from(number).unwrap());
    }
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_call_itself() {
    let mut lab = Lab::start(calm(), &["node/a", "node/b"]).await;
    assert_eq!(lab.call("node/a", "node/a", "me").await, Ok("node/a heard me".to_owned()));
    assert_eq!(lab.links("node/a").cast(&endpoint("node/a"), 1, b"me"), Sent::Direct);
    until("the cast", async || lab.process("node/a").casts.lock().unwrap().len() == 1).await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_linked_again() {
    let mut lab = Lab::start(brisk(), &["node/a", "node/b", "guard/db"]).await;
    for _ in 0..3 {
        lab.halt("node/b").await;
        until("the loss is seen", async || !lab.up("node/a", "node/b")).await;
        assert_eq!(lab.call("node/a", "node/b", "hi").await, Err(CallError::NoPath));
        lab.boot("node/b").await;
        lab.until_answered("node/a", "node/b").await;
        lab.until_answered("node/b", "guard/db").await;
    }
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_waiting_calls_and_frees_the_port() {
    let mut lab = Lab::prepare(calm(), &["node/a", "node/b"]).await;
    lab.boot("node/a").await;
    let (links, mut inbound) = lab.boot_deaf("node/b").await;
    until("linked", async || links.view().links[&endpoint("node/a")].up && lab.up("node/a", "node/b")).await;
    let caller = links.clone();
    let me = endpoint("node/b");
    let waiting = tokio::spawn(async move { caller.call(&me, 1, b"", PATIENCE).await });
    // The call has come in, is not answered, and so its caller waits.
    let held = inbound.recv().await.unwrap();
    let address = links.local_addr().unwrap();
    links.stop().await;
    links.stop().await;
    assert_eq!(waiting.await.unwrap(), Err(CallError::Stopped));
    assert!(inbound.recv().await.is_none());
    drop(held);
    assert_eq!(links.cast(&endpoint("node/a"), 1, b""), Sent::NoPath);
    assert_eq!(links.call(&endpoint("node/a"), 1, b"", ATTEMPT).await, Err(CallError::Stopped));
    TcpListener::bind(address).await.unwrap();
    until("the goodbye is heard", async || !lab.up("node/a", "node/b")).await;
    lab.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_whose_last_handle_is_dropped_end() {
    let mut lab = Lab::prepare(calm(), &["node/a", "node/b"]).await;
    lab.boot("node/a").await;
    let (links, inbound) = lab.boot_deaf("node/b").await;
    until("linked", async || lab.up("node/a", "node/b")).await;
    drop((links, inbound));
    until("the goodbye is heard", async || !lab.up("node/a", "node/b")).await;
    lab.halt_all().await;
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_is_refused() {
    let lab = Lab::prepare(calm(), &["node/a", "guard/db"]).await;
    let node = lab.config("node/a");
    let guard = lab.config("guard/db");
    let start = async |config| Links::start(config).await.err();

    let silent = crate::LinkConfig { listen: None, ..node.clone() };
    assert!(matches!(start(silent).await, Some(StartError::Role(_))));
    let listening = crate::LinkConfig { listen: node.listen, ..guard.clone() };
    assert!(matches!(start(listening).await, Some(StartError::Role(_))));
    let accepting = crate::LinkConfig { guards: node.guards.clone(), ..guard };
    assert!(matches!(start(accepting).await, Some(StartError::Guards(_))));
    let timing = LinkTiming { silence: node.timing.beat, ..node.timing };
    let hasty = crate::LinkConfig { timing, ..node.clone() };
    assert!(matches!(start(hasty).await, Some(StartError::Timing(_))));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let crowded = crate::LinkConfig { listen: taken.local_addr().ok(), ..node };
    assert!(matches!(start(crowded).await, Some(StartError::Listen { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_names_its_sender_and_topic() {
    let mut lab = Lab::prepare(calm(), &["node/a", "guard/db"]).await;
    let (node, mut inbound) = lab.boot_deaf("node/a").await;
    lab.boot("guard/db").await;
    until("linked", async || lab.up("guard/db", "node/a")).await;
    assert_eq!(lab.links("guard/db").cast(&endpoint("node/a"), 7, b"fact"), Sent::Direct);
    let Some(Inbound::Cast { from, topic, body, relayed }) = inbound.recv().await else { panic!("no cast") };
    assert_eq!((from, topic, body.as_slice(), relayed), (endpoint("guard/db"), 7, &b"fact"[..], false));
    node.stop().await;
    lab.halt_all().await;
}
