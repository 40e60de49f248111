//! A client's process: starts what its plan names, and ends when its standard input does.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::event::{Event, Events};
use super::lateness::Lateness;
use super::plan::{self, ClientPlan};
use super::poller;
use super::swap::Swapper;
use super::web::WebClient;
use super::writer::Writer;
use crate::clock;

/// After the end of standard input: the longest commit, the longest round of servers, and room.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Runs a client until its standard input ends.
///
/// # Errors
/// When the plan cannot be read.
pub fn run(plan: &Path) -> anyhow::Result<()> {
    let plan: ClientPlan = plan::read(plan)?;
    let (events, writing) = Events::into_writer(std::io::stdout());
    let lateness = Lateness::watch();
    // One thread: its clients wait nearly always, and two cores have a lab to carry.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    runtime.block_on(serve(plan, events.clone()));
    events.note(Event::Goodbye { at: clock::now(), lost: events.lost(), late_ms: lateness.end() });
    drop(runtime);
    drop(events);
    let _ = writing.join();
    Ok(())
}

async fn serve(plan: ClientPlan, events: Events) {
    let (stopping, stop) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for number in &plan.writers {
        let writer = Writer { number: *number, run: plan.run, pace: Duration::from_millis(plan.pace_ms) };
        tasks.spawn(writer.run(plan.access.clone(), events.clone(), stop.clone()));
    }
    if let Some(number) = plan.swapper {
        let swapper = Swapper { number, run: plan.run };
        tasks.spawn(swapper.run(plan.access.clone(), events.clone(), stop.clone()));
    }
    if let Some(access) = &plan.web {
        for user in &plan.web_users {
            let user = WebClient { host: plan.client.clone(), user: user.clone() };
            tasks.spawn(user.run(access.clone(), events.clone(), stop.clone()));
        }
    }
    for server in &plan.polled {
        let (name, events, stop) = (plan.access.name.clone(), events.clone(), stop.clone());
        let server = server.clone();
        tasks.spawn(async move {
            if let Err(e) = poller::poll(name, server.clone(), events, stop).await {
                eprintln!("client: poller of {}: {e:#}", server.name);
            }
        });
    }
    if plan.flip_client {
        let (client, access, events, stop) = (plan.client.clone(), plan.access.clone(), events, stop);
        tasks.spawn(async move { poller::flip_client(client, &access, events, stop).await });
    }
    let input = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = input.await;
    let _ = stopping.send(true);
    let ended =
        tokio::time::timeout(END_DEADLINE, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        eprintln!("client: some tasks did not end within {END_DEADLINE:?}; they are abandoned");
    }
}
