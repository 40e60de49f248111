//! What the guard knows of the disk under its database's data: it writes a little of its own there again
//! and again, and counts how long one write takes. A hung disk answers no read of `mysqld` wrongly: a server whose
//! commits stand still answers `SELECT` from memory all the while.

use std::time::Duration;

use model::Timestamp;

use crate::{DiskRefusal, DiskReport};

/// A disk that was full is full until it has so much room again, in bytes: what a killed `mysqld` gives back by its
/// end is taken by its next start, and a statement that then finds no room waits a minute for it (`MY-000035`),
/// holding its locks.
const ROOM_AGAIN: u64 = 64 << 20;

/// What became of a write to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskWrite {
    /// One begins.
    Began,
    /// It is on disk; `free`: bytes that the database may still use.
    Done { free: u64 },
    /// It was refused.
    Refused { why: DiskRefusal, free: u64 },
    /// It says nothing about the disk: the folder is not there, or nobody could write.
    Unknown,
}

/// See the module. Nothing is known before the first write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disk {
    began: Option<Timestamp>,
    refused: Option<(DiskRefusal, Timestamp)>,
    free: Option<u64>,
}

impl Disk {
    pub(super) fn on(&mut self, write: DiskWrite, now: Timestamp) {
        match write {
            DiskWrite::Began => self.began = Some(now),
            DiskWrite::Done { free } => {
                let still = |(why, _): &(DiskRefusal, _)| *why == DiskRefusal::Full && free < ROOM_AGAIN;
                *self = Self { began: None, refused: self.refused.filter(still), free: Some(free) };
            }
            DiskWrite::Refused { why, free } => {
                let since = self.refused.filter(|(before, _)| *before == why).map_or(now, |(_, at)| at);
                *self = Self { began: None, refused: Some((why, since)), free: Some(free) };
            }
            // While no database runs nobody writes: a disk that was full is so until a write has found room.
            DiskWrite::Unknown => {
                let full = self.refused.filter(|(why, _)| *why == DiskRefusal::Full);
                *self = Self { began: None, refused: full, free: full.and(self.free) };
            }
        }
    }

    pub(super) fn report(&self, now: Timestamp) -> Option<DiskReport> {
        if self.began.is_none() && self.free.is_none() {
            return None;
        }
        let since = |at: Timestamp| micros(now.since(at)).max(1);
        Some(DiskReport {
            waiting_us: self.began.map_or(0, since),
            refused: self.refused.map(|(why, _)| why),
            refused_us: self.refused.map_or(0, |(_, at)| since(at)),
            free: self.free.unwrap_or(0),
        })
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: DiskWrite = DiskWrite::Refused { why: DiskRefusal::Full, free: 0 };

    /// What stands after these writes, a second apart, and a second later.
    fn after(writes: &[DiskWrite]) -> Option<DiskReport> {
        let mut disk = Disk::default();
        let mut now = Timestamp(1_000_000);
        for write in writes {
            disk.on(*write, now);
            now = now + Duration::from_secs(1);
        }
        disk.report(now)
    }

    #[test]
    fn a_write_that_does_not_come_back_waits_longer_and_longer() {
        let done = DiskWrite::Done { free: ROOM_AGAIN };
        let scant = DiskWrite::Done { free: ROOM_AGAIN - 1 };
        let well = DiskReport { waiting_us: 0, refused: None, refused_us: 0, free: ROOM_AGAIN };
        let full = DiskReport { refused: Some(DiskRefusal::Full), free: 0, ..well };
        let cases = [
            (vec![], None),
            (vec![DiskWrite::Began], Some(DiskReport { waiting_us: 1_000_000, free: 0, ..well })),
            (vec![DiskWrite::Began, done], Some(well)),
            (vec![done, DiskWrite::Began], Some(DiskReport { waiting_us: 1_000_000, ..well })),
            // Refused again: since the first time. Refused for another reason: since that.
            (vec![FULL, DiskWrite::Began, FULL], Some(DiskReport { refused_us: 3_000_000, ..full })),
            (
                vec![FULL, DiskWrite::Refused { why: DiskRefusal::Failing, free: 0 }],
                Some(DiskReport { refused: Some(DiskRefusal::Failing), refused_us: 1_000_000, ..full }),
            ),
            (vec![FULL, done], Some(well)),
            // Written to, and hardly any room: a disk that was full is full yet, another one never was.
            (vec![FULL, scant], Some(DiskReport { refused_us: 2_000_000, free: ROOM_AGAIN - 1, ..full })),
            (vec![FULL, scant, done, scant], Some(DiskReport { free: ROOM_AGAIN - 1, ..well })),
            (
                vec![DiskWrite::Refused { why: DiskRefusal::Failing, free: 0 }, scant],
                Some(DiskReport { free: ROOM_AGAIN - 1, ..well }),
            ),
            // Its database was killed and gave room back, which the next start takes again.
            (vec![FULL, DiskWrite::Unknown], Some(DiskReport { refused_us: 2_000_000, ..full })),
            (
                vec![FULL, DiskWrite::Unknown, scant],
                Some(DiskReport { refused_us: 3_000_000, free: ROOM_AGAIN - 1, ..full }),
            ),
            (vec![FULL, DiskWrite::Unknown, done], Some(well)),
            (vec![DiskWrite::Refused { why: DiskRefusal::Failing, free: 0 }, DiskWrite::Unknown], None),
            (vec![done, DiskWrite::Began, DiskWrite::Unknown], None),
        ];
        for (writes, want) in cases {
            assert_eq!(after(&writes), want, "{writes:?}");
        }
    }
}
