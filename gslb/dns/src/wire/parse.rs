//! Reading a query. Nothing here panics or allocates, whatever the octets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gslb_core::{Question, RecordType};

use super::cookie::is_cookie;
use super::{HEADER, option};

/// What of a query's header is copied to the response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) id: [u8; 2],
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
}

/// What a packet turned out to be. `question` is its octets as they came, empty where it was not read.
#[derive(Debug)]
pub(super) enum Parsed<'p> {
    NotAQuery,
    OtherOpcode(Header),
    Malformed {
        header: Header,
        question: &'p [u8],
        edns: Option<Edns<'p>>,
    },
    /// No question, and a cookie: whoever asks wants to learn ours (RFC 7873 §5.4).
    CookieOnly {
        header: Header,
        edns: Edns<'p>,
    },
    Query(Query<'p>),
}

#[derive(Debug)]
pub(super) struct Query<'p> {
    pub(super) header: Header,
    pub(super) question: &'p [u8],
    pub(super) edns: Option<Edns<'p>>,
}

/// The OPT record, RFC 6891 §6.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edns<'p> {
    /// The sender's UDP payload size.
    pub(super) payload: u16,
    pub(super) version: u8,
    /// DO, RFC 3225: copied to the response.
    pub(super) dnssec_ok: bool,
    pub(super) options: Options<'p>,
}

/// The options that matter, each well-formed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options<'p> {
    pub(super) subnet: Option<Subnet<'p>>,
    /// The client's cookie, and behind it what may be one of ours.
    pub(super) cookie: Option<&'p [u8]>,
    /// Who answers is to be said.
    pub(super) nsid: bool,
    /// How long the connection may be idle is to be said.
    pub(super) keepalive: bool,
    /// It was padded, and so is the answer to be.
    pub(super) padding: bool,
}

/// A well-formed client subnet option: family, two lengths, address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subnet<'p> {
    pub(super) data: &'p [u8],
}

impl Subnet<'_> {
    /// SOURCE PREFIX-LENGTH.
    pub(super) fn source(&self) -> u8 {
        self.data[2]
    }

    /// The address, its missing octets being zero. `None` for family 0, which names nobody.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let given = &self.data[4..];
        match self.data[1] {
            1 => {
                let mut octets = [0; 4];
                octets[..given.len()].copy_from_slice(given);
                Some(IpAddr::V4(Ipv4Addr::from(octets)))
            }
            2 => {
                let mut octets = [0; 16];
                octets[..given.len()].copy_from_slice(given);
                Some(IpAddr::V6(Ipv6Addr::from(octets)))
            }
            _ => None,
        }
    }
}

/// Reads `packet`; the question goes to `into`, except for its client.
pub(super) fn query<'p>(packet: &'p [u8], into: &mut Question) -> Parsed<'p> {
    let Some((head, body)) = packet.split_at_checked(HEADER) else { return Parsed::NotAQuery };
    // A response must never be answered: two servers would talk to each other for ever.
    if head[2] & 0x80 != 0 {
        return Parsed::NotAQuery;
    }
    let header =
        Header { id: [head[0], head[1]], opcode: (head[2] >> 3) & 0x0f, recursion_desired: head[2] & 1 != 0 };
    if header.opcode != 0 {
        return Parsed::OtherOpcode(header);
    }
    let count = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let mut reader = Reader { packet: body, at: 0 };
    // RFC 9619 §4: QDCOUNT of a QUERY is one, or none where a cookie is asked for.
    if count(4) == 0 {
        let mut edns = None;
        let whole = read_records(&mut reader, 0, u32::from(count(10)), &mut edns).is_some();
        let alone = count(6) == 0 && count(8) == 0 && reader.rest().is_empty();
        if let Some(edns) = edns.filter(|e: &Edns<'_>| whole && alone && e.options.cookie.is_some()) {
            return Parsed::CookieOnly { header, edns };
        }
    }
    if count(4) != 1 {
        return Parsed::Malformed { header, question: &[], edns: None };
    }
    let Some(question) = read_question(&mut reader, into) else {
        return Parsed::Malformed { header, question: &[], edns: None };
    };
    let mut edns = None;
    let skipped = u32::from(count(6)) + u32::from(count(8));
    if read_records(&mut reader, skipped, u32::from(count(10)), &mut edns).is_none() {
        return Parsed::Malformed { header, question, edns };
    }
    // Octets after the last record are no part of any message; BIND and Knot refuse them too.
    if reader.at != reader.packet.len() {
        return Parsed::Malformed { header, question, edns };
    }
    Parsed::Query(Query { header, question, edns })
}

fn read_question<'p>(reader: &mut Reader<'p>, into: &mut Question) -> Option<&'p [u8]> {
    let length = into.name.read(reader.rest())?;
    reader.at += length;
    into.record_type = RecordType(reader.u16()?);
    into.class = reader.u16()?;
    Some(&reader.packet[..reader.at])
}

/// Walks over the records after the question and takes the OPT out of the additional section. `None` when
/// something is malformed; `edns` is then what was understood of it.
fn read_records<'p>(
    reader: &mut Reader<'p>,
    skipped: u32,
    additional: u32,
    edns: &mut Option<Edns<'p>>,
) -> Option<()> {
    // Each round takes at least eleven octets of the packet or ends, whatever the counts say.
    for index in 0..skipped + additional {
        let root = reader.rest().first() == Some(&0);
        reader.skip_name()?;
        let record_type = RecordType(reader.u16()?);
        let class = reader.u16()?;
        let ttl = reader.u32()?;
        let length = usize::from(reader.u16()?);
        let data = reader.take(length)?;
        if record_type != RecordType::OPT || index < skipped {
            continue;
        }
        // RFC 6891 §6.1.1: one OPT at most. §6.1.2: its owner is the root.
        if edns.is_some() || !root {
            return None;
        }
        let [_, version, flags, _] = ttl.to_be_bytes();
        let options = Options::default();
        *edns = Some(Edns { payload: class, version, dnssec_ok: flags & 0x80 != 0, options });
        // Options of another version may look otherwise; BADVERS is the answer anyway.
        if version == 0 {
            let options = read_options(data)?;
            edns.as_mut().expect("it was set above").options = options;
        }
    }
    Some(())
}

/// What matters of the options; `None` when one is malformed.
fn read_options(data: &[u8]) -> Option<Options<'_>> {
    let mut reader = Reader { packet: data, at: 0 };
    let mut options = Options::default();
    while !reader.rest().is_empty() {
        let code = reader.u16()?;
        let length = usize::from(reader.u16()?);
        let value = reader.take(length)?;
        match code {
            // Two subnets would contradict each other.
            option::SUBNET if options.subnet.is_some() || !is_subnet(value) => return None,
            option::SUBNET => options.subnet = Some(Subnet { data: value }),
            // RFC 7873 §5.2: the first one counts.
            option::COOKIE if !is_cookie(value) => return None,
            option::COOKIE => _ = options.cookie.get_or_insert(value),
            option::NSID => options.nsid = true,
            option::KEEPALIVE => options.keepalive = true,
            option::PADDING => options.padding = true,
            _ => {}
        }
    }
    Some(options)
}

/// RFC 7871 §6: the scope of a query is 0; the address has just the octets its length needs, and no bit is
/// set beyond it. Family 0 with nothing is what some resolvers send for "do not tell apart"; BIND takes it.
fn is_subnet(value: &[u8]) -> bool {
    let [0, family, source, 0, address @ ..] = value else { return false };
    let bits = match family {
        0 => 0,
        1 => 32,
        2 => 128,
        _ => return false,
    };
    if *source > bits || address.len() != usize::from(source.div_ceil(8)) {
        return false;
    }
    let unused = address.len() * 8 - usize::from(*source);
    address.last().is_none_or(|last| last.trailing_zeros() as usize >= unused)
}

struct Reader<'p> {
    packet: &'p [u8],
    at: usize,
}

impl<'p> Reader<'p> {
    fn rest(&self) -> &'p [u8] {
        &self.packet[self.at..]
    }

    fn take(&mut self, length: usize) -> Option<&'p [u8]> {
        let taken = self.rest().get(..length)?;
        self.at += length;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Steps over a name, compressed or not. Where a pointer leads is never looked at.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => return Some(()),
                1..=63 => self.take(usize::from(length))?,
                0xc0..=0xff => return self.take(1).map(|_| ()),
                // RFC 6891 §5: the other label types are gone.
                _ => return None,
            };
        }
    }
}
