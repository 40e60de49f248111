//! Records to a zone.

use gslb_core::{Name, RecordData, RecordSpec, RecordType, SoaSpec, ZoneSpec};

use crate::reader::{Place, Record};

/// Why records make no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneFault {
    /// No SOA at the origin.
    #[error("{apex} has no SOA record; a zone begins with one")]
    NoSoa {
        /// The zone.
        apex: Name,
    },
    /// An SOA elsewhere, or a second one.
    #[error("{place}: an SOA of {owner}; the zone has one, at {apex}")]
    Soa {
        /// Where.
        place: Place,
        /// Whose.
        owner: Name,
        /// The zone.
        apex: Name,
    },
    /// A name server's data is no name (given as `\#`).
    #[error("{place}: the data of {owner} is no name")]
    Name {
        /// Where.
        place: Place,
        /// Whose.
        owner: Name,
    },
}

/// Makes a zone of `apex`. What is outside of it is left out, and told by its place, as all servers do. A record without a
/// TTL has the SOA's MINIMUM, and one whose RRset began with another TTL takes that (RFC 2181 §5.2).
///
/// # Errors
/// All that stands against it.
pub fn zone(apex: &Name, records: &[Record]) -> Result<(ZoneSpec, Vec<Place>), Vec<ZoneFault>> {
    let mut faults = Vec::new();
    let mut soa = None;
    for record in records.iter().filter(|r| r.record_type == RecordType::SOA) {
        let told = || ZoneFault::Soa {
            place: record.place.clone(),
            owner: record.owner.clone(),
            apex: apex.clone(),
        };
        match soa_of(record) {
            Some(read) if record.owner == *apex && soa.is_none() => soa = Some(read),
            Some(read) if record.owner == *apex && soa.as_ref() == Some(&read) => {}
            _ => faults.push(told()),
        }
    }
    let Some(soa) = soa else {
        if faults.is_empty() {
            faults.push(ZoneFault::NoSoa { apex: apex.clone() });
        }
        return Err(faults);
    };
    let mut zone = ZoneSpec {
        apex: apex.clone(),
        name_servers: Vec::new(),
        name_servers_ttl: 0,
        records: Vec::with_capacity(records.len()),
        soa,
    };
    let mut outside = Vec::new();
    let mut ttls = std::collections::HashMap::<(&Name, RecordType), u32>::new();
    for record in records.iter().filter(|r| r.record_type != RecordType::SOA) {
        if !record.owner.is_at_or_below(apex) {
            outside.push(record.place.clone());
            continue;
        }
        let said = record.ttl.unwrap_or(zone.soa.minimum);
        let ttl = *ttls.entry((&record.owner, record.record_type)).or_insert(said);
        if record.record_type == RecordType::NS && record.owner == *apex {
            match Name::from_wire(&record.data) {
                Ok(server) => zone.name_servers.push(server),
                Err(_) => {
                    let (place, owner) = (record.place.clone(), record.owner.clone());
                    faults.push(ZoneFault::Name { place, owner });
                }
            }
            zone.name_servers_ttl = ttl;
            continue;
        }
        zone.records.push(RecordSpec {
            owner: record.owner.clone(),
            record_type: record.record_type,
            ttl,
            data: RecordData { wire: record.data.clone(), text: String::new() },
        });
    }
    if faults.is_empty() { Ok((zone, outside)) } else { Err(faults) }
}

fn soa_of(record: &Record) -> Option<SoaSpec> {
    let (primary, taken) = Name::prefix_of_wire(&record.data).ok()?;
    let (contact, more) = Name::prefix_of_wire(&record.data[taken..]).ok()?;
    let numbers: Vec<u32> = record.data[taken + more..]
        .chunks(4)
        .map(|c| c.try_into().map(u32::from_be_bytes))
        .collect::<Result<_, _>>()
        .ok()?;
    let [serial, refresh, retry, expire, minimum] = numbers[..] else { return None };
    let ttl = record.ttl.unwrap_or(minimum);
    Some(SoaSpec { primary, contact, serial, refresh, retry, expire, minimum, ttl })
}
