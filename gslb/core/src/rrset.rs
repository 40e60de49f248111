//! Records as they are sent, encoded once when a snapshot is built.
//!
//! Every owner is a compression pointer (RFC 1035 §4.1.4) to the question's name at offset 12, so an
//! RRset that answers the question itself is copied as it stands, with the question's case. Where the
//! owner is another name of the message the writer sets the two octets at each of `starts`.

use std::net::IpAddr;

use crate::question::CLASS_IN;
use crate::spec::SoaSpec;
use crate::{Name, RecordType};

/// Offset of the question's name: right after the header.
const QUESTION_POINTER: [u8; 2] = [0xc0, 12];
/// Most octets an RRset may take: a TCP message holds 65,535, and header, question, OPT and a chain of
/// CNAMEs before it take at most about 3,000.
pub(crate) const RRSET_MAX: usize = 60_000;
/// Most addresses of one site in one answer: as AAAA they take 28 octets each.
pub(crate) const ADDRESSES_MAX: usize = 2_000;
/// Octets of a record before its data: pointer, type, class, TTL, data length.
const RECORD_HEADER: usize = 12;

/// The records of one owner and type, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rrset {
    record_type: RecordType,
    ttl: u32,
    bytes: Box<[u8]>,
    starts: Box<[u16]>,
}

impl Rrset {
    /// Encodes `data`, at least one record. `None` when it would take more than a message holds.
    pub(crate) fn encode<'a>(
        record_type: RecordType,
        ttl: u32,
        data: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for rdata in data {
            starts.push(u16::try_from(bytes.len()).ok()?);
            bytes.extend_from_slice(&QUESTION_POINTER);
            bytes.extend_from_slice(&record_type.0.to_be_bytes());
            bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
            bytes.extend_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&u16::try_from(rdata.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(rdata);
            if bytes.len() > RRSET_MAX {
                return None;
            }
        }
        assert!(!starts.is_empty(), "an RRset has at least one record");
        Some(Self { record_type, ttl, bytes: bytes.into(), starts: starts.into() })
    }

    /// The addresses, of one family and at most [`ADDRESSES_MAX`], as A or AAAA records.
    pub(crate) fn addresses(ttl: u32, addresses: &[IpAddr]) -> Self {
        assert!(
            !addresses.is_empty() && addresses.len() <= ADDRESSES_MAX,
            "build checked the number of addresses"
        );
        let data: Vec<Vec<u8>> = addresses.iter().map(|a| octets(*a)).collect();
        let record_type = if addresses[0].is_ipv4() { RecordType::A } else { RecordType::AAAA };
        Self::encode(record_type, ttl, data.iter().map(Vec::as_slice)).expect("ADDRESSES_MAX records fit")
    }

    /// The one record of an SOA.
    pub(crate) fn soa(soa: &SoaSpec, ttl: u32) -> Self {
        let mut rdata = Vec::new();
        rdata.extend_from_slice(soa.primary.wire());
        rdata.extend_from_slice(soa.contact.wire());
        for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
            rdata.extend_from_slice(&number.to_be_bytes());
        }
        Self::encode(RecordType::SOA, ttl, [rdata.as_slice()]).expect("an SOA is at most 530 octets")
    }

    /// The type of all its records.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// TTL of all its records in seconds.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.starts.len()).expect("fewer records than octets")
    }

    /// The records in wire form, each owner being a pointer to offset 12.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in [`Rrset::bytes`] each record, and thereby its owner's pointer, begins.
    #[must_use]
    pub fn starts(&self) -> &[u16] {
        &self.starts
    }

    /// The data of each record.
    pub fn data(&self) -> impl Iterator<Item = &[u8]> {
        self.starts.iter().map(|start| {
            let at = usize::from(*start) + RECORD_HEADER;
            let length = usize::from(u16::from_be_bytes([self.bytes[at - 2], self.bytes[at - 1]]));
            &self.bytes[at..at + length]
        })
    }
}

/// Address records with whole owners, for the additional section of a referral.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glue {
    bytes: Vec<u8>,
    count: u16,
}

impl Glue {
    /// Adds the records of `addresses`; leaves out what is more than any referral can use.
    pub(crate) fn push(&mut self, owner: &Name, addresses: &Rrset) {
        for (start, rdata) in addresses.starts.iter().zip(addresses.data()) {
            let at = usize::from(*start);
            if self.bytes.len() + owner.wire().len() + RECORD_HEADER + rdata.len() > RRSET_MAX {
                return;
            }
            self.bytes.extend_from_slice(owner.wire());
            self.bytes.extend_from_slice(&addresses.bytes[at + 2..at + RECORD_HEADER + rdata.len()]);
            self.count += 1;
        }
    }

    /// The records in wire form.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}
