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
    let mut last: std::collections::BTreeMap<u32, (u64, u32)> = std::collections::BTreeMap::new();
    for (uuid, number) in set.last_numbers() {
        let Some((domain, server_id)) = numbers_of(uuid) else { continue };
        let newest = last.entry(domain).or_insert((number, server_id));
        *newest = (*newest).max((number, server_id));
    }
    let texts: Vec<_> =
        last.iter().map(|(domain, (number, server_id))| format!("{domain}-{server_id}-{number}")).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

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
