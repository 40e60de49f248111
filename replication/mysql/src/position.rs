//! MariaDB's GTIDs as the model's sets (docs/design/0011).
//!
//! MariaDB names a transaction `domain-server-number` and gives the numbers of one domain out in order
//! (`gtid_strict_mode`), whoever writes. A server's binary log state has, for every server that ever
//! wrote, the last number it gave out. Each becomes the interval 1 to that number of a **lane**, a uuid
//! made of the domain and the server's id. Lanes behave as MySQL's sources do: of two states of one
//! history the older is contained in the newer, and what a server wrote by itself is in its own lane,
//! also when another server gave the same numbers out anew.
//!
//! A server's lane is its identity too, in place of `server_uuid`, which MariaDB does not have.
//!
//! Deliberately absent: holes. An interval says how far a lane goes and not that all of its numbers were
//! written there: most were given out by other servers. Counts of transactions are therefore too high
//! where a lane is seen for the first time.

use std::collections::BTreeMap;

use model::{GtidSet, ServerUuid};

/// Why a text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MariaDB position of domain-server-number, separated by commas")]
pub struct PositionError(String);

/// The name of a server, and of its lane: version 8 of RFC 9562, whose content is ours.
pub(crate) fn lane(domain: u32, server_id: u32) -> ServerUuid {
    format!("{domain:08x}-6d61-80db-8000-0000{server_id:08x}")
        .parse()
        .expect("two numbers of eight digits make a uuid")
}

/// Domain and server id of a lane; none for a uuid that is no lane.
fn numbers_of(lane: &ServerUuid) -> Option<(u32, u32)> {
    let (domain, rest) = lane.as_str().split_once("-6d61-80db-8000-0000")?;
    Some((u32::from_str_radix(domain, 16).ok()?, u32::from_str_radix(rest, 16).ok()?))
}

/// The lane of `server_id` in the domain of the server `own`; none for 0, which a channel shows until
/// it was connected.
pub(crate) fn beside(own: &ServerUuid, server_id: u32) -> Option<ServerUuid> {
    let (domain, _) = numbers_of(own)?;
    (server_id != 0).then(|| lane(domain, server_id))
}

/// Reads a list of positions. One that stands for several (a binary log state) gives each its lane.
pub(crate) fn set(text: &str) -> Result<GtidSet, PositionError> {
    let mut all = GtidSet::empty();
    for position in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let wrong = || PositionError(text.to_owned());
        let mut fields = position.split('-');
        let mut next = || fields.next().ok_or_else(wrong);
        let (domain, server_id, number) = (next()?, next()?, next()?);
        if fields.next().is_some() {
            return Err(wrong());
        }
        let domain: u32 = domain.parse().map_err(|_| wrong())?;
        let server_id: u32 = server_id.parse().map_err(|_| wrong())?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        if number > GtidSet::NUMBER_MAX {
            return Err(wrong());
        }
        // 0 says that nothing was written.
        if number > 0 {
            all = all.union(&GtidSet::interval(lane(domain, server_id), 1, number));
        }
    }
    Ok(all)
}

/// Where a server that has `set` stands: of each domain the last number, with the server that wrote it.
/// What is no lane is left out.
pub(crate) fn of(set: &GtidSet) -> String {
    let last = last_of(set);
    let texts: Vec<_> =
        last.iter().map(|(domain, (number, server_id))| format!("{domain}-{server_id}-{number}")).collect();
    texts.join(",")
}

/// Of each domain the last number, and the server that wrote it.
fn last_of(set: &GtidSet) -> BTreeMap<u32, (u64, u32)> {
    let mut last = BTreeMap::new();
    for (uuid, number) in set.last_numbers() {
        let Some((domain, server_id)) = numbers_of(uuid) else { continue };
        let newest = last.entry(domain).or_insert((number, server_id));
        *newest = (*newest).max((number, server_id));
    }
    last
}

/// The lines of a binary log's state file, from which a server without binary logs takes its state. The last line of
/// a domain is what it goes on from. What is no lane is left out.
pub(crate) fn state_lines(state: &GtidSet) -> String {
    let mut lanes: Vec<_> = state
        .last_numbers()
        .filter_map(|(uuid, number)| numbers_of(uuid).map(|(domain, server)| (domain, number, server)))
        .collect();
    lanes.sort_unstable();
    lanes.iter().map(|(domain, number, server)| format!("{domain}-{server}-{number}\n")).collect()
}

/// Why it is not known how far a copy goes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownState {
    /// What the tool told.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// The donor's binary log took what another server wrote, so it is not known how much of it is in the copy.
    #[error("transactions of other servers came to the donor while it was copied, or it lost some: {moved}")]
    Moved {
        /// What differs.
        moved: GtidSet,
    },
    /// What the tool told is not between the two.
    #[error("the copy is said to be at {told:?}, which the donor was not at while it was copied")]
    Outside {
        /// What the tool told.
        told: String,
    },
}

/// The binary log's state in a copy of `donor`, which was in state `before` when the copy began and in `after` when it
/// was done. `told` are the last numbers of the domains in the copy. Only the donor wrote meanwhile.
pub(crate) fn state_of_copy(
    donor: &ServerUuid,
    before: &GtidSet,
    after: &GtidSet,
    told: &str,
) -> Result<GtidSet, UnknownState> {
    let own = |set: &GtidSet| -> GtidSet {
        let server = numbers_of(donor).map(|(_, server)| server);
        let lanes = set.last_numbers().map(|(uuid, _)| uuid);
        let own = lanes.filter(|uuid| numbers_of(uuid).map(|(_, server)| server) == server);
        own.fold(GtidSet::empty(), |all, uuid| all.union(&set.of(uuid)))
    };
    let (others_before, others_after) = (before.subtract(&own(before)), after.subtract(&own(after)));
    if others_before != others_after || !after.contains(before) {
        let moved = others_after.subtract(&others_before).union(&before.subtract(after));
        return Err(UnknownState::Moved { moved });
    }
    let told_set = set(told)?;
    // A domain whose last number is another server's is as it was.
    let state = before.union(&own(&told_set));
    let (last, last_told, last_after) = (last_of(&state), last_of(&told_set), last_of(after));
    // A replica's position may name domains that never were in the binary log.
    let told_here = last_told.iter().filter(|(domain, _)| last_after.contains_key(domain));
    if after.contains(&state) && told_here.eq(last.iter()) {
        Ok(state)
    } else {
        Err(UnknownState::Outside { told: told.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_the_donor_had_when_the_tool_told_its_position() {
        let ok = |before: &str, after: &str, told: &str| {
            let (before, after) = (set(before).unwrap(), set(after).unwrap());
            state_of_copy(&lane(0, 2), &before, &after, told).map(|state| state_lines(&state))
        };
        for (before, after, told, state) in [
            ("0-2-5", "0-2-9", "0-2-7", "0-2-7\n"),
            ("0-1-3,0-2-5", "0-1-3,0-2-9", "0-2-9", "0-1-3\n0-2-9\n"),
            // Nobody wrote.
            ("0-1-3,0-2-5", "0-1-3,0-2-5", "0-2-5", "0-1-3\n0-2-5\n"),
            // The donor had written nothing of its own until then, or until the copy was done.
            ("0-1-3", "0-1-3,0-2-9", "0-2-8", "0-1-3\n0-2-8\n"),
            ("0-1-3", "0-1-3,0-2-9", "0-1-3", "0-1-3\n"),
            // Two domains; a domain that is in the replica's position and never was in the binary log.
            ("0-1-3,0-2-5,7-1-4", "0-1-3,0-2-9,7-1-4", "0-2-6,7-1-4", "0-1-3\n0-2-6\n7-1-4\n"),
            ("0-2-5", "0-2-9", "0-2-6,9-9-9", "0-2-6\n"),
            ("", "", "", ""),
            ("", "0-2-1", "", ""),
        ] {
            assert_eq!(ok(before, after, told).as_deref(), Ok(state), "{before} {after} {told}");
        }
        let moved = |r: Result<String, UnknownState>| matches!(r, Err(UnknownState::Moved { .. }));
        let outside = |r: Result<String, UnknownState>| matches!(r, Err(UnknownState::Outside { .. }));
        // Another server's transactions arrived, or the donor forgot.
        assert!(moved(ok("0-1-3,0-2-5", "0-1-4,0-2-5", "0-1-4")));
        assert!(moved(ok("0-2-5", "0-1-6,0-2-5", "0-2-5")));
        assert!(moved(ok("0-1-3,0-2-9", "0-1-3,0-2-5", "0-2-5")));
        // Before the first look, or after the last one; or of another server than what is there.
        assert!(outside(ok("0-2-5", "0-2-9", "0-2-4")));
        assert!(outside(ok("0-2-5", "0-2-9", "0-2-10")));
        assert!(outside(ok("0-1-3,0-2-5", "0-1-3,0-2-9", "0-1-3")));
        assert!(outside(ok("0-2-5", "0-2-9", "")));
        assert!(matches!(ok("0-2-5", "0-2-9", "binlog.000001"), Err(UnknownState::Position(_))));
    }

    /// Goal: the server goes on from the last line of a domain, so that is the highest number, and what is read
    /// from the lines is what was written.
    #[test]
    fn a_state_file_ends_each_domain_with_its_highest_number() {
        let state = set("0-9-3,0-2-10,0-1-7,7-1-2").unwrap();
        assert_eq!(state_lines(&state), "0-9-3\n0-1-7\n0-2-10\n7-1-2\n");
        assert_eq!(set(&state_lines(&state).trim().replace('\n', ",")).unwrap(), state);
        assert_eq!(state_lines(&GtidSet::empty()), "");
    }

    #[test]
    fn a_state_becomes_lanes_and_a_position_again() {
        for (state, position) in [
            ("", ""),
            ("0-1-9", "0-1-9"),
            ("0-1-8,0-2-10", "0-2-10"),
            (" 0-2-10 , 0-1-8", "0-2-10"),
            // A binary log state and a slave position name the same twice.
            ("0-1-8,0-2-10,0-2-10", "0-2-10"),
            ("0-1-8,0-2-10,0-2-7", "0-2-10"),
            ("0-1-0", ""),
            ("0-1-8,7-1-3", "0-1-8,7-1-3"),
        ] {
            assert_eq!(of(&set(state).unwrap()), position, "{state}");
        }
        for wrong in ["0-1", "0-1-2-3", "a-1-2", "0-1-x", "0-1-2;0-1-3", "0-1-9223372036854775807", "-1-1-1"]
        {
            assert!(set(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_name_holds_domain_and_server() {
        let name = lane(7, 0x01f4);
        assert_eq!(name.as_str(), "00000007-6d61-80db-8000-0000000001f4");
        assert_eq!(numbers_of(&name), Some((7, 500)));
        assert_eq!(beside(&name, 3), Some(lane(7, 3)));
        assert_eq!(beside(&name, 0), None);
        let foreign = "3e11fa47-71ca-11e1-9e33-c80aa9429562".parse().unwrap();
        assert_eq!((numbers_of(&foreign), beside(&foreign, 3)), (None, None));
        assert_eq!(lane(u32::MAX, u32::MAX).as_str(), "ffffffff-6d61-80db-8000-0000ffffffff");
    }

    /// Goal: what a killed primary wrote and nobody else has stays visible when its successor gives the
    /// same numbers out anew; by the last number of the domain alone it would vanish.
    #[test]
    fn ghosts_are_seen_after_their_numbers_were_given_out_again() {
        let old = set("0-1-103").unwrap();
        let new = set("0-1-100,0-2-150").unwrap();
        let extra = old.subtract(&new);
        assert_eq!(extra.to_string(), format!("{}:101-103", lane(0, 1)));
        assert_eq!(extra.of(&lane(0, 1)), extra, "they are the old primary's own");
        // A replica is contained in its source, and what it has beyond an old look is the source's own.
        assert!(new.contains(&set("0-1-100,0-2-120").unwrap()));
        let ahead = set("0-1-100,0-2-160").unwrap().subtract(&new);
        assert_eq!(ahead.of(&lane(0, 2)), ahead);
        // What a replica wrote itself is nobody else's.
        let errant = set("0-1-100,0-2-151").unwrap().subtract(&set("0-1-101").unwrap());
        assert!(errant.of(&lane(0, 1)).is_empty());
    }
}
