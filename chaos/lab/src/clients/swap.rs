//! A client that swaps: it reads a register and sets it to a value of its own if it still holds what was read,
//! again and again, beside others that do the same. What all of them saw says whether there was ever more than one
//! history ([`crate::registers`]).
//!
//! It connects, leaves and gives up as a [`Writer`](super::writer::Writer) does.

use std::net::Ipv4Addr;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::event::{Event, Events};
use super::plan::DatabaseAccess;
use super::resolver::Resolver;
use super::writer;
use crate::clock;
use crate::registers::{REGISTERS, TABLE};

/// Between two swaps of a client.
const PACE: Duration = Duration::from_millis(150);

/// Connecting over the WAN.
const CONNECT_DEADLINE: Duration = Duration::from_millis(400);

/// Patience with a statement, the longest of a writer.
const DEADLINE: Duration = Duration::from_secs(2);

/// So many values a client has; the client's number stands above them.
const VALUES_OF_ONE: u64 = 1 << 32;

/// Who swaps, and in which run.
#[derive(Debug, Clone)]
pub struct Swapper {
    /// Its number, unique in the run.
    pub number: u32,
    /// The run.
    pub run: u32,
}

struct Line {
    conn: Conn,
    address: Ipv4Addr,
}

impl Swapper {
    /// Swaps until `stop` changes.
    pub async fn run(self, access: DatabaseAccess, events: Events, mut stop: watch::Receiver<bool>) {
        let (held, mut address) = watch::channel(None);
        let resolver = Resolver::new(access.name.clone(), access.servers.clone());
        let keeping = tokio::spawn(resolver.keep(format!("swapper {}", self.number), held, events.clone()));
        let mut tick = interval(PACE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line: Option<Line> = None;
        let mut count = 0_u64;
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                _ = tick.tick() => {}
            }
            let Some(to) = *address.borrow_and_update() else { continue };
            let kept = line.take().filter(|l| l.address == to);
            let open = match kept {
                Some(open) => open,
                None => match timeout(CONNECT_DEADLINE, Conn::new(writer::options(&access, to))).await {
                    Ok(Ok(conn)) => Line { conn, address: to },
                    _ => continue,
                },
            };
            count += 1;
            let register = u32::try_from(count % u64::from(REGISTERS)).expect("under their number");
            let value = (u64::from(self.number) + 1) * VALUES_OF_ONE + count;
            let elsewhere = address.wait_for(|now| now.is_some_and(|a| a != to));
            line = tokio::select! {
                biased;
                line = self.swap(open, register, value, &events) => line,
                // What was asked for may be done all the same; `swap` has noted that it was asked for.
                _ = elsewhere => None,
            };
        }
        drop(address);
        let _ = keeping.await;
    }

    /// Gives the line back if it may be used again. An attempt is noted before it is made, so that whatever becomes
    /// of it is accounted for.
    async fn swap(&self, mut line: Line, register: u32, value: u64, events: &Events) -> Option<Line> {
        let run = self.run;
        let began = clock::now();
        let look = format!("SELECT value FROM {TABLE} WHERE run = {run} AND id = {register}");
        let seen: Option<u64> = timeout(DEADLINE, line.conn.query_first(look)).await.ok()?.ok()?;
        let Some(seen) = seen else {
            let make = format!("INSERT IGNORE INTO {TABLE} (run, id, value) VALUES ({run}, {register}, 0)");
            return timeout(DEADLINE, line.conn.query_drop(make)).await.ok()?.ok().map(|()| line);
        };
        events.note(Event::Looked { register, value: seen, began, at: clock::now() });
        let began = clock::now();
        events.note(Event::SwapBegan { register, from: seen, to: value, at: began });
        let swap = format!(
            "UPDATE {TABLE} SET value = {value} WHERE run = {run} AND id = {register} AND value = {seen}"
        );
        timeout(DEADLINE, line.conn.query_drop(swap)).await.ok()?.ok()?;
        if line.conn.affected_rows() == 1 {
            events.note(Event::Swapped { register, to: value, at: clock::now() });
        } else {
            events.note(Event::NotSwapped { register, to: value, at: clock::now() });
        }
        Some(line)
    }
}
