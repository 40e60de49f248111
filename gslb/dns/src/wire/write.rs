//! Writing a response into a buffer whose length is the response's limit.

use gslb_core::{Answer, Authority, CLASS_IN, Link, RecordType, Rrset, Why};

use super::cookie::WHOLE;
use super::parse::{Edns, Header};
use super::{HEADER, Reply, UDP_MAX, option, rcode};

/// Octets of a record before its data when the owner is a pointer.
const RECORD_HEADER: usize = 12;
/// Answers within TLS are a multiple of this long, RFC 8467 §4.1.
const PADDED_TO: usize = 468;

/// What the OPT of an answer holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extras<'t> {
    /// For the subnet, which is sent back with it; none sends no subnet back.
    pub(super) scope: Option<u8>,
    /// The client's cookie and ours.
    pub(super) cookie: Option<[u8; WHOLE]>,
    /// Empty: not asked for, or nothing to say.
    pub(super) nsid: &'t [u8],
    /// Tenths of a second.
    pub(super) keepalive: Option<u16>,
    pub(super) why: Option<Why>,
    /// The message is filled up to a whole block.
    pub(super) pads: bool,
}

/// Header bits, RFC 1035 §4.1.1, as the upper octet of the flags.
const QR: u8 = 0x80;
const AA: u8 = 0x04;
const TC: u8 = 0x02;
const RD: u8 = 0x01;

/// Writes a response without records. `question` may be empty.
pub(super) fn error(
    out: &mut [u8],
    header: &Header,
    question: &[u8],
    edns: Option<&Edns<'_>>,
    rcode: u16,
) -> Reply {
    // RFC 7871 §7.1.2: the option that made the query malformed is not sent back.
    bare(out, header, question, edns, &Extras::default(), 0, rcode)
}

/// Writes a response for a client to come another way: with the cookie that is in it, where it has sent one, or by TCP.
pub(super) fn short(
    out: &mut [u8],
    header: &Header,
    question: &[u8],
    edns: Option<&Edns<'_>>,
    extras: &Extras<'_>,
) -> Reply {
    let (bits, rcode) = if extras.cookie.is_some() { (0, rcode::BADCOOKIE) } else { (TC, 0) };
    bare(out, header, question, edns, extras, bits, rcode)
}

/// Writes a response to no question.
pub(super) fn empty(out: &mut [u8], header: &Header, edns: &Edns<'_>, extras: &Extras<'_>) -> Reply {
    bare(out, header, &[], Some(edns), extras, 0, 0)
}

/// The question, where there is one, and the OPT: at most 271 and 203 octets, which fit every limit.
fn bare(
    out: &mut [u8],
    header: &Header,
    question: &[u8],
    edns: Option<&Edns<'_>>,
    extras: &Extras<'_>,
    bits: u8,
    rcode: u16,
) -> Reply {
    let mut writer = Writer { out, at: HEADER };
    writer.put(question).expect("a question fits every limit");
    let counts = Counts { question: u16::from(!question.is_empty()), ..Counts::default() };
    let length = finish(writer, header, counts, bits, rcode, edns, extras);
    let length = length.expect("an empty response fits every limit");
    Reply::Sent { length, rcode, truncated: bits & TC != 0, all_down_open: false }
}

/// Writes `answer`, or nothing but TC where it does not fit `out`.
pub(super) fn answer(
    out: &mut [u8],
    header: &Header,
    question: &[u8],
    edns: Option<&Edns<'_>>,
    answer: &Answer<'_>,
    extras: &Extras<'_>,
) -> Reply {
    let rcode = u16::from(answer.rcode.number());
    let bits = if answer.authoritative { AA } else { 0 };
    let all_down_open = answer.why == Some(Why::AllDownOpen);
    match whole(&mut *out, header, question, edns, answer, extras, bits) {
        Some(length) => Reply::Sent { length, rcode, truncated: false, all_down_open },
        None => match bare(out, header, question, edns, extras, bits | TC, rcode) {
            Reply::Sent { length, rcode, truncated, .. } => {
                Reply::Sent { length, rcode, truncated, all_down_open }
            }
            other => other,
        },
    }
}

/// The whole response; `None` when it does not fit.
fn whole(
    out: &mut [u8],
    header: &Header,
    question: &[u8],
    edns: Option<&Edns<'_>>,
    answer: &Answer<'_>,
    extras: &Extras<'_>,
    bits: u8,
) -> Option<usize> {
    let mut writer = Writer { out, at: HEADER };
    writer.put(question)?;
    let mut counts = Counts { question: 1, ..Counts::default() };
    // The name that the next owner is, or ends in: where it stands and how long it is.
    let mut name_at = HEADER;
    let mut name_length = question.len() - 4;
    for link in answer.links() {
        match link {
            Link::Records(rrset) => {
                let start = writer.at;
                writer.records(rrset, name_at)?;
                counts.answer += rrset.count();
                if rrset.record_type() == RecordType::CNAME {
                    name_at = start + RECORD_HEADER;
                    name_length = writer.at - name_at;
                }
            }
            Link::Renamed { dname, owner_length, again, leads } => {
                let kept = name_length - usize::from(owner_length);
                if !again {
                    writer.records(dname, name_at + kept)?;
                    counts.answer += dname.count();
                }
                if leads {
                    name_at = writer.made_of_dname(dname, name_at, kept)?;
                    name_length = writer.at - name_at;
                    counts.answer += 1;
                }
            }
        }
    }
    match answer.authority {
        Authority::None => {}
        Authority::Negative { soa, owner_length } => {
            writer.records(soa, name_at + name_length - usize::from(owner_length))?;
            counts.authority = soa.count();
        }
        Authority::Referral { name_servers, owner_length, glue } => {
            writer.records(name_servers, name_at + name_length - usize::from(owner_length))?;
            counts.authority = name_servers.count();
            writer.put(glue.bytes())?;
            counts.additional = glue.count();
        }
    }
    finish(writer, header, counts, bits, u16::from(answer.rcode.number()), edns, extras)
}

#[derive(Debug, Default)]
struct Counts {
    question: u16,
    answer: u16,
    authority: u16,
    additional: u16,
}

/// Adds the OPT and writes the header; returns the length, or `None` when the OPT does not fit.
fn finish(
    mut writer: Writer<'_>,
    header: &Header,
    mut counts: Counts,
    bits: u8,
    rcode: u16,
    edns: Option<&Edns<'_>>,
    extras: &Extras<'_>,
) -> Option<usize> {
    if let Some(edns) = edns {
        let before = writer.at;
        // Why it is so is said where there is room.
        if opt(&mut writer, edns, rcode, extras).is_none() {
            writer.at = before;
            opt(&mut writer, edns, rcode, &Extras { why: None, ..*extras })?;
        }
        counts.additional += 1;
    }
    let rd = if header.recursion_desired { RD } else { 0 };
    let low = u8::try_from(rcode & 0x0f).expect("four bits");
    let head = &mut writer.out[..HEADER];
    head[..2].copy_from_slice(&header.id);
    // RA, AD and CD stay 0: there is no recursion here and nothing is validated.
    head[2] = QR | header.opcode << 3 | bits | rd;
    head[3] = low;
    head[4..6].copy_from_slice(&counts.question.to_be_bytes());
    head[6..8].copy_from_slice(&counts.answer.to_be_bytes());
    head[8..10].copy_from_slice(&counts.authority.to_be_bytes());
    head[10..12].copy_from_slice(&counts.additional.to_be_bytes());
    Some(writer.at)
}

/// The OPT record of RFC 6891 §6.1.2: our payload size, version 0, DO copied, all other flags 0.
fn opt(writer: &mut Writer<'_>, edns: &Edns<'_>, rcode: u16, extras: &Extras<'_>) -> Option<()> {
    let upper = u8::try_from(rcode >> 4).expect("an rcode has twelve bits");
    let payload = u16::try_from(UDP_MAX).expect("it is 1232").to_be_bytes();
    let flags = if edns.dnssec_ok { 0x80 } else { 0 };
    writer.put(&[0])?;
    writer.put(&RecordType::OPT.0.to_be_bytes())?;
    writer.put(&payload)?;
    writer.put(&[upper, 0, flags, 0])?;
    let length_at = writer.at;
    writer.put(&[0, 0])?;
    // RFC 7871 §7.2.1: the option comes back as it was, with the scope.
    if let (Some(scope), Some(subnet)) = (extras.scope, edns.options.subnet) {
        writer.option(option::SUBNET, &[&subnet.data[..3], &[scope], &subnet.data[4..]])?;
    }
    if let Some(cookie) = &extras.cookie {
        writer.option(option::COOKIE, &[cookie])?;
    }
    if !extras.nsid.is_empty() {
        writer.option(option::NSID, &[extras.nsid])?;
    }
    if let Some(tenths) = extras.keepalive {
        writer.option(option::KEEPALIVE, &[&tenths.to_be_bytes()])?;
    }
    if let Some(why) = extras.why {
        writer.option(option::ERROR, &[&why.code().to_be_bytes(), why.text().as_bytes()])?;
    }
    if extras.pads {
        writer.pad()?;
    }
    let length = u16::try_from(writer.at - length_at - 2).expect("options are short");
    writer.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// RFC 1035 §4.1.4: a pointer has 14 bits. What leads on comes first, so a name stands within 5,000.
fn pointer(at: usize) -> u16 {
    u16::try_from(at).ok().filter(|o| *o < 0x4000).expect("names stand near the start")
}

struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    /// Fills the message up with the last option, as far as it may go.
    fn pad(&mut self) -> Option<()> {
        let head = self.at + 4;
        let whole = head.next_multiple_of(PADDED_TO).min(self.out.len());
        let length = whole.checked_sub(head)?;
        self.put(&option::PADDING.to_be_bytes())?;
        self.put(&u16::try_from(length).expect("a block is short").to_be_bytes())?;
        // RFC 7830 §3: zeroes.
        self.out.get_mut(self.at..self.at + length)?.fill(0);
        self.at += length;
        Some(())
    }

    /// An EDNS option, its data in pieces.
    fn option(&mut self, code: u16, pieces: &[&[u8]]) -> Option<()> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.put(&code.to_be_bytes())?;
        self.put(&u16::try_from(length).expect("options are short").to_be_bytes())?;
        pieces.iter().try_for_each(|piece| self.put(piece))
    }

    /// The CNAME that a DNAME makes of the name at `owner`, whose first `kept` octets stay; where its target stands.
    /// RFC 6672 §3.1: its TTL is the DNAME's.
    fn made_of_dname(&mut self, dname: &Rrset, owner: usize, kept: usize) -> Option<usize> {
        let target = dname.data().next().expect("an RRset has a record");
        let length = u16::try_from(kept + target.len()).expect("a name is at most 255 octets");
        self.put(&(0xc000 | pointer(owner)).to_be_bytes())?;
        self.put(&RecordType::CNAME.0.to_be_bytes())?;
        self.put(&CLASS_IN.to_be_bytes())?;
        self.put(&dname.ttl().to_be_bytes())?;
        self.put(&length.to_be_bytes())?;
        let start = self.at;
        self.out.get(..start + kept)?;
        self.out.copy_within(owner..owner + kept, start);
        self.at += kept;
        self.put(target)?;
        Some(start)
    }

    /// Copies an RRset and points its owners at the name at `owner`.
    fn records(&mut self, rrset: &Rrset, owner: usize) -> Option<()> {
        let start = self.at;
        self.put(rrset.bytes())?;
        if owner != HEADER {
            let pointer = pointer(owner);
            for record in rrset.starts() {
                let at = start + usize::from(*record);
                self.out[at..at + 2].copy_from_slice(&(0xc000 | pointer).to_be_bytes());
            }
        }
        Some(())
    }
}
