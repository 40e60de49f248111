//! The disk under a server's data: full, or answering nothing. Whatever must be on it first waits, in the server;
//! what is in memory is answered all the while.

use failover_core::{DatabaseAct, DiskRefusal, DiskWrite, HowItEnded, Input};

use crate::event::{Event, Inside};
use crate::mysql::{Io, Waiter, Who};
use crate::world::World;

/// Room on a disk that is well, in bytes.
const ROOM: u64 = 1 << 40;
/// What an applier tells that finds no room: its relay log cannot be read (measured).
const NO_ROOM: u32 = 13_121;

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It takes what is written.
    Well,
    /// Nothing that is written comes back, and whoever waits for it cannot be killed.
    Hangs,
    /// It has no room. A server waits for some, and can be killed.
    Full,
}

fn is_written(event: &Event) -> bool {
    matches!(event, Event::Mysql { what: Inside::Written { .. }, .. })
}

impl World {
    /// Keeps an event that needs the disk of its host, while that takes nothing. Gives back what needs none.
    pub(crate) fn not_on_disk(&mut self, event: Event) -> Option<Event> {
        let (Event::Mysql { host: h, .. } | Event::ActRun { host: h, .. }) = &event else {
            return Some(event);
        };
        let h = *h;
        let host = &mut self.hosts[h];
        let (disk, on) = (host.mysql.disk, host.sockets);
        let Some(life) = host.mysql.life.as_mut().filter(|_| disk != Disk::Well) else { return Some(event) };
        let hangs = disk == Disk::Hangs;
        let (waits, event) = match event {
            // Whoever got so far is behind every check: it will be written though nobody waits for it by then.
            Event::Mysql { host, start, what: Inside::Commit { client, attempt, sockets } }
                if !life.read_only
                    && !life.read_only_pends
                    && !life.rebuilding
                    && !life.doomed
                    && sockets == on =>
            {
                (true, Event::Mysql { host, start, what: Inside::Written { client, attempt, sockets } })
            }
            Event::Mysql { what: Inside::Apply, .. } if !hangs => {
                life.applying = false;
                if life.sql {
                    life.sql = false;
                    life.sql_errno = NO_ROOM;
                }
                return None;
            }
            Event::Mysql { what, .. } => {
                let writes = matches!(what, Inside::Ship { .. } | Inside::Written { .. });
                let hung = matches!(what, Inside::Booted | Inside::Apply | Inside::Stopped);
                (writes || life.doomed || (hangs && hung), event)
            }
            Event::ActRun { ref act, .. } => {
                let in_memory = matches!(
                    act.what,
                    DatabaseAct::StopIo
                        | DatabaseAct::StartReplica
                        | DatabaseAct::ArmSource { .. }
                        | DatabaseAct::DisarmSource
                        | DatabaseAct::Drain
                );
                let sockets = act.what == DatabaseAct::DropSockets;
                (!sockets && (hangs || life.doomed || !in_memory), event)
            }
            _ => (false, event),
        };
        if !waits {
            return Some(event);
        }
        self.hosts[h].stash_disk.push(event);
        None
    }

    /// Somebody's commit waits for the disk.
    pub(crate) fn writes_wait(&self, h: usize) -> bool {
        self.hosts[h].stash_disk.iter().any(is_written)
    }

    /// The disk takes nothing from now on.
    pub(crate) fn disk_fails(&mut self, h: usize, how: Disk) {
        self.hosts[h].mysql.disk = how;
        self.dirty = true;
    }

    /// The disk takes everything again: what waited for it happens, and who was killed meanwhile ends.
    pub(crate) fn disk_returns(&mut self, h: usize) {
        if self.hosts[h].mysql.disk == Disk::Well {
            return;
        }
        self.hosts[h].mysql.disk = Disk::Well;
        let stash = std::mem::take(&mut self.hosts[h].stash_disk);
        if self.hosts[h].mysql.life.as_ref().is_some_and(|l| l.doomed) {
            self.ends_behind_its_disk(h, &stash);
        } else {
            self.unstash(stash);
        }
        self.dirty = true;
    }

    /// What was on its way to the binary log may be in it, all of it or some: the next start commits that.
    fn ends_behind_its_disk(&mut self, h: usize, stash: &[Event]) {
        let count = stash.iter().filter(|e| is_written(e)).count() as u64;
        for _ in 0..self.chance.below(count + 1) {
            let number = self.hosts[h].mysql.logged(h) + 1;
            let transaction = self.truth.write(h, number, self.now);
            self.hosts[h].mysql.waiting.push_back(Waiter { transaction, number, who: Who::Nobody });
        }
        if let Some(life) = self.hosts[h].mysql.life.as_mut() {
            life.doomed = false;
        }
        self.mysql_end(h, HowItEnded::Killed, true);
    }

    /// A process that waits for its disk is not ended by a signal: it answers nobody, and stays.
    pub(crate) fn is_doomed(&mut self, h: usize, ended: HowItEnded) -> bool {
        let host = &mut self.hosts[h];
        let stays = host.up && ended == HowItEnded::Killed && host.mysql.disk == Disk::Hangs;
        let Some(life) = host.mysql.life.as_mut().filter(|_| stays) else { return false };
        if std::mem::replace(&mut life.doomed, true) {
            return true;
        }
        life.io = Io::Stopped;
        life.connection = None;
        self.note_host(h, format_args!("database killed while it waits for its disk"));
        self.tell_replicas(h, false);
        self.dirty = true;
        true
    }

    /// The guard writes a little there itself, and is told what became of it, as often as that changes.
    pub(crate) fn probe_disk(&mut self, h: usize) {
        let mysql = &self.hosts[h].mysql;
        let now = (mysql.disk, mysql.life.is_some());
        let Some(guard) = self.hosts[h].guard.as_mut() else { return };
        if guard.probed == Some(now) {
            return;
        }
        let waits = guard.probed.is_some_and(|(disk, _)| disk == Disk::Hangs);
        guard.probed = Some(now);
        let writes: &[DiskWrite] = match now {
            (Disk::Hangs, _) if waits => &[],
            (Disk::Hangs, true) => &[DiskWrite::Began],
            (Disk::Well, true) => &[DiskWrite::Began, DiskWrite::Done { free: ROOM }],
            (Disk::Full, true) => &[DiskWrite::Began, DiskWrite::Refused { why: DiskRefusal::Full, free: 0 }],
            (_, false) => &[DiskWrite::Unknown],
        };
        for write in writes {
            self.guard_input(h, Input::Disk(*write));
        }
    }
}
