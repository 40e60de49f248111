//! Who handles an event, and what becomes of events of something stopped or ended.

use crate::event::{Event, Inside, Unit};
use crate::place::NODES;
use crate::world::World;

/// Events kept for one stopped process: what fits into its sockets' buffers.
const STASH_MAX: usize = 400;

impl World {
    fn node_lives(&self, n: usize, life: u32) -> bool {
        self.nodes[n].run.as_ref().is_some_and(|r| r.life == life)
    }

    fn guard_lives(&self, h: usize, life: u32) -> bool {
        self.hosts[h].guard.as_ref().is_some_and(|g| g.life == life)
    }

    /// Keeps an event of something stopped. Gives it back when its owner can handle it.
    fn not_stopped(&mut self, event: Event) -> Option<Event> {
        let stash = match &event {
            Event::NodeTick { node, .. } | Event::NodeDisk { node, .. } => self.node_stash(*node),
            Event::Message { to, .. } if *to < NODES => self.node_stash(*to),
            Event::Message { to, .. } => self.guard_stash(*to - NODES),
            Event::GuardTick { host, .. }
            | Event::GuardDisk { host, .. }
            | Event::Look { host, .. }
            | Event::Read { host, .. }
            | Event::Reading { host, .. }
            | Event::GateRead { host, .. }
            | Event::ActTimeout { host, .. }
            | Event::ActEnded { host, .. } => self.guard_stash(*host),
            Event::Mysql { host, .. } | Event::ActRun { host, .. } => {
                let host = &mut self.hosts[*host];
                let stopped = host.mysql.life.as_ref().is_some_and(|l| l.paused);
                if host.paused {
                    Some(&mut host.stash)
                } else if stopped {
                    Some(&mut host.stash_mysql)
                } else {
                    None
                }
            }
            Event::GateApply { host, .. } => {
                let host = &mut self.hosts[*host];
                let stalls = host.guard.as_ref().is_some_and(|g| g.paused && g.nft_stalls);
                if host.paused {
                    Some(&mut host.stash)
                } else if stalls {
                    Some(&mut host.stash_guard)
                } else {
                    None
                }
            }
            Event::Sockets { host, .. } | Event::Watchdog { host, .. } => {
                let host = &mut self.hosts[*host];
                host.paused.then_some(&mut host.stash)
            }
            Event::Start { what: Unit::Guard(h) | Unit::Mysql(h), .. } => {
                let host = &mut self.hosts[*h];
                if host.paused { Some(&mut host.stash) } else { None }
            }
            _ => None,
        };
        let Some(stash) = stash else { return Some(event) };
        let event = match event {
            // Its timeout will count from an application that comes late.
            Event::GateApply { host, boot, life, act, .. } => {
                Event::GateApply { host, boot, life, act, tainted: true }
            }
            other => other,
        };
        if stash.len() < STASH_MAX || !matches!(event, Event::Message { .. }) {
            stash.push(event);
        }
        None
    }

    fn node_stash(&mut self, n: usize) -> Option<&mut Vec<Event>> {
        let node = &mut self.nodes[n];
        node.paused.then_some(&mut node.stash)
    }

    fn guard_stash(&mut self, h: usize) -> Option<&mut Vec<Event>> {
        let host = &mut self.hosts[h];
        if host.paused {
            Some(&mut host.stash)
        } else if host.guard.as_ref().is_some_and(|g| g.paused) {
            Some(&mut host.stash_guard)
        } else {
            None
        }
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        let Some(event) = self.not_stopped(event).and_then(|event| self.not_on_disk(event)) else { return };
        match event {
            Event::NodeTick { node, life } => {
                self.fold(1, node as u64, 0);
                if self.node_lives(node, life) {
                    self.node_tick(node);
                }
            }
            Event::NodeDisk { node, life } => {
                self.fold(2, node as u64, 0);
                if self.node_lives(node, life) {
                    self.node_disk(node);
                }
            }
            Event::Message { from, to, direct, message } => {
                self.fold(3, to as u64, from as u64);
                if to < NODES {
                    self.node_message(to, from, direct, message);
                } else {
                    self.guard_message(to - NODES, from, message);
                }
            }
            Event::Client { client, what } => {
                self.fold(4, client as u64, 0);
                self.client_event(client, what);
            }
            Event::Mysql { host, start, what } => {
                self.fold(5, host as u64, 0);
                if self.hosts[host].mysql.life.as_ref().is_some_and(|l| l.start == start) {
                    self.inside(host, what);
                }
            }
            Event::Fault { index } => {
                self.fold(6, index as u64, 0);
                self.fault_begins(index);
            }
            Event::FaultEnds { index } => {
                self.fold(7, index as u64, 0);
                self.fault_ends(index);
            }
            Event::Person { command } => self.person_orders(*command),
            Event::Start { what, life } => self.start(what, life),
            other => self.host_event(other),
        }
    }

    fn host_event(&mut self, event: Event) {
        match event {
            Event::GuardTick { host, life } if self.guard_lives(host, life) => self.guard_tick(host),
            Event::GuardDisk { host, life } if self.guard_lives(host, life) => self.guard_disk(host),
            Event::Look { host, life } if self.guard_lives(host, life) => self.look(host),
            Event::Read { host, life } if self.guard_lives(host, life) => self.read_database(host),
            Event::Reading { host, life, start, reading } if self.guard_lives(host, life) => {
                self.guard_input(host, failover_core::Input::Reading { reading: *reading, life: start });
            }
            Event::GateApply { host, boot, life, act, tainted } if self.hosts[host].boot == boot => {
                self.fold(8, host as u64, 0);
                self.gate_apply(host, life, act, tainted);
            }
            Event::GateRead { host, life, read } if self.guard_lives(host, life) => {
                self.guard_input(host, failover_core::Input::GateRead(read));
            }
            Event::ActRun { host, start, act } => {
                self.fold(9, host as u64, act.id.0);
                // Whoever stops in order has ended its sessions first.
                let life = self.hosts[host].mysql.life.as_ref();
                if life.is_some_and(|l| l.start == start && !l.stopping) {
                    self.act_run(host, act);
                }
            }
            Event::ActTimeout { host, life, act } if self.guard_lives(host, life) => {
                let end = failover_core::ActEnd::Unknown { why: "no answer in time".into() };
                self.act_ended(host, life, act, end);
            }
            Event::ActEnded { host, life, act, end } if self.guard_lives(host, life) => {
                self.guard_input(host, failover_core::Input::Ended { act, end: *end });
            }
            Event::Watchdog { host, boot, ends } if self.hosts[host].boot == boot => {
                self.fold(10, host as u64, 0);
                self.watchdog_ends(host, ends);
            }
            Event::PowerOn { host } => self.host_on(host),
            Event::PersonLooks => {
                self.fold(11, 0, 0);
                self.person_looks();
            }
            Event::Sockets { host, boot } if self.hosts[host].boot == boot => self.retransmit(host),
            _ => {}
        }
    }

    fn inside(&mut self, h: usize, what: Inside) {
        match what {
            Inside::Booted => self.mysql_booted(h),
            Inside::Commit { client, attempt, sockets } => self.mysql_commit(h, client, attempt, sockets),
            Inside::Written { client, attempt, sockets } => {
                self.mysql_written(h, client, attempt, sockets);
            }
            Inside::Ship { connection, origin, number } => self.mysql_ship(h, connection, origin, number),
            Inside::Ack { connection, number } => self.mysql_ack(h, connection, number),
            Inside::Apply => self.mysql_apply(h),
            Inside::Connect => self.mysql_connect(h),
            Inside::Stalled { connection } => self.mysql_stalled(h, connection),
            Inside::SourceGone { connection } => self.mysql_source_gone(h, connection),
            Inside::AckTimeout { number } => self.ack_timeout(h, number),
            Inside::Stopping => self.mysql_stopping(h),
            Inside::Stopped => self.mysql_end(h, failover_core::HowItEnded::Graceful, true),
        }
    }

    /// A supervisor starts what ended as this life; what was started meanwhile stays.
    fn start(&mut self, what: Unit, life: u32) {
        match what {
            Unit::Node(n) if self.nodes[n].lives == life => self.node_start(n),
            Unit::Guard(h) if self.hosts[h].guard_lives == life => self.guard_start(h),
            Unit::Mysql(h) if self.hosts[h].mysql.lives as u32 == life && !self.hosts[h].hold_mysql => {
                self.mysql_start(h);
            }
            _ => {}
        }
    }
}
