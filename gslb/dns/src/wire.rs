//! From a query's octets to a response's, without allocating.
//!
//! [`respond`] is the whole path of a query on every transport: parse, `answer()`, write. What may be sent
//! in answer to what:
//!
//! - Silence to anything that is no query (RFC 1035 §7.3: QR set, or too short for a header) and to source
//!   port 0, which nobody listens on.
//! - NOTIMP to every opcode but QUERY, FORMERR to what cannot be read, BADVERS to an EDNS version we do not
//!   speak (RFC 6891 §6.1.3); the question is echoed with its case wherever it could be read.
//! - OPT in the response exactly when it was in the query (RFC 6891 §7), never an unknown option.
//!
//! - With an OPT also: a cookie for whoever sent one (RFC 7873), the node's name where it is asked for (RFC 5001), how
//!   long a connection may be idle (RFC 7828), why an answer is not what was wished for (RFC 8914), and within TLS padding
//!   (RFC 7830).
//! - By UDP so much to one network and no more, where a limit is set (`limit`).
//!
//! Invariants: a response is never longer than the limit of its transport; a response that does not fit is
//! sent empty with TC (all or nothing), so that nobody acts on half an answer.
//!
//! Deliberately absent: TSIG (issue D).

mod cookie;
mod limit;
mod parse;
mod write;

use std::net::SocketAddr;
use std::num::NonZeroU32;

use gslb_core::{CLASS_IN, Client, NameBuf, Question, RecordType, Snapshot, answer};
use model::Timestamp;

use cookie::Keys;
use limit::{Limited, Limiter};
use parse::{Edns, Parsed, Query};
use write::Extras;

pub use cookie::CookieSecret;

/// Octets of a message header, RFC 1035 §4.1.1.
pub(crate) const HEADER: usize = 12;
/// Most octets of a UDP response: what passes every path unfragmented (DNS flag day 2020, RFC 9715 §3).
pub const UDP_MAX: usize = 1232;
/// Most octets of a UDP response to a query without EDNS, RFC 1035 §4.2.1.
pub const UDP_MAX_PLAIN: usize = 512;
/// Most octets of a message over TCP: what its length field holds, RFC 1035 §4.2.2.
pub const TCP_MAX: usize = 65_535;

/// Most octets of a name that a node gives on NSID.
pub const NSID_MAX: usize = 64;

/// What a node adds to its answers, the same on all of its listeners.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Whose answer it is, RFC 5001; nothing is said where it is empty. Of what is longer than [`NSID_MAX`] octets the
    /// beginning is sent.
    pub nsid: String,
    /// What cookies are made with; without it they are ignored.
    pub cookies: Option<CookieSecret>,
    /// Answers a second by UDP, from each thread, to a network that has not shown a cookie of ours; none: as many as it asks
    /// for.
    pub rate_limit: Option<NonZeroU32>,
}

/// One packet's circumstances.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Who sent it.
    pub sender: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// For how long the connection may be idle, in tenths of a second; 0 where there is none.
    pub idle_tenths: u16,
    /// When, by CLOCK_BOOTTIME.
    pub now: Timestamp,
    /// When, in seconds since 1970: the time of cookies.
    pub wall_s: u64,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A stream, with a length before each message.
    Stream,
    /// The same within TLS: nobody beside the two sees more than lengths.
    Encrypted,
}

/// What became of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Nothing is sent.
    Dropped,
    /// Nothing is sent, since its network has got as much as it may.
    Limited,
    /// The first `length` octets of the buffer are sent.
    Sent {
        /// Octets of the response.
        length: usize,
        /// The whole RCODE, its EDNS part included.
        rcode: u16,
        /// TC is set.
        truncated: bool,
        /// Answered with all members because no pool was up.
        all_down_open: bool,
    },
}

/// Memory that a thread reuses from query to query.
#[derive(Debug)]
pub struct Scratch {
    question: Question,
    keys: Keys,
    /// Made with the first packet that is counted.
    limiter: Option<Limiter>,
}

impl Scratch {
    /// Memory for one thread.
    #[must_use]
    pub fn new() -> Self {
        let client = Client::sender(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let question = Question { name: NameBuf::new(), record_type: RecordType::A, class: CLASS_IN, client };
        Self { question, keys: Keys::default(), limiter: None }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// RCODEs beside `gslb_core::Rcode`'s.
pub(crate) mod rcode {
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const NOTIMP: u16 = 4;
    /// RFC 6891 §9: in twelve bits, the upper eight in the OPT.
    pub(crate) const BADVERS: u16 = 16;
    /// RFC 7873 §8.
    pub(crate) const BADCOOKIE: u16 = 23;
}

/// EDNS option codes that are read or written; all others are ignored (RFC 6891 §6.1.2).
mod option {
    /// RFC 5001 §2.1.
    pub(super) const NSID: u16 = 3;
    /// RFC 7871 §6.
    pub(super) const SUBNET: u16 = 8;
    /// RFC 7873 §4.
    pub(super) const COOKIE: u16 = 10;
    /// RFC 7828 §3.1.
    pub(super) const KEEPALIVE: u16 = 11;
    /// RFC 7830 §3.
    pub(super) const PADDING: u16 = 12;
    /// RFC 8914 §2.
    pub(super) const ERROR: u16 = 15;
}

/// Reads `packet`, answers it from `snapshot` and writes the response to `out`, which must hold at least
/// [`UDP_MAX`] octets, or [`TCP_MAX`] for a stream that is to carry everything.
pub fn respond(
    snapshot: &Snapshot,
    terms: &Terms,
    packet: &[u8],
    arrival: &Arrival,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Reply {
    assert!(out.len() >= UDP_MAX, "the caller's buffer holds the largest datagram");
    let Arrival { sender, transport, .. } = *arrival;
    if sender.port() == 0 {
        return Reply::Dropped;
    }
    let query = match parse::query(packet, &mut scratch.question) {
        Parsed::NotAQuery => return Reply::Dropped,
        Parsed::OtherOpcode(header) => return write::error(out, &header, &[], None, rcode::NOTIMP),
        Parsed::Malformed { header, question, edns } => {
            return write::error(out, &header, question, edns.as_ref(), rcode::FORMERR);
        }
        Parsed::CookieOnly { header, edns } => {
            let (extras, _) = extras(terms, &edns, arrival, &mut scratch.keys);
            return write::empty(out, &header, &edns, &extras);
        }
        Parsed::Query(query) => query,
    };
    let Query { header, question, edns } = query;
    if edns.as_ref().is_some_and(|e| e.version > 0) {
        return write::error(out, &header, question, edns.as_ref(), rcode::BADVERS);
    }
    // RFC 7871 §7.1.2: a source prefix of length 0 asks not to be told apart; the sender is then the client.
    let subnet =
        edns.as_ref().and_then(|e| e.options.subnet).and_then(|s| s.address().map(|a| (a, s.source())));
    scratch.question.client = match subnet {
        Some((address, source)) if source > 0 => Client::subnet(address, source),
        _ => Client::sender(sender.ip()),
    };
    let told_apart = subnet.is_some_and(|(_, source)| source > 0);
    let (mut extras, known) = match &edns {
        Some(edns) => extras(terms, edns, arrival, &mut scratch.keys),
        None => Default::default(),
    };
    if let Some(limit) = terms.rate_limit.filter(|_| transport == Transport::Udp && !known) {
        let limiter = scratch.limiter.get_or_insert_with(|| Limiter::new(limit.get()));
        match limiter.count(sender.ip(), arrival.now) {
            Limited::No => {}
            Limited::Silent => return Reply::Limited,
            Limited::Short => return write::short(out, &header, question, edns.as_ref(), &extras),
        }
    }
    let answer = answer(snapshot, &scratch.question);
    let limit = limit(transport, edns.as_ref()).min(out.len());
    extras.scope = Some(if told_apart { answer.scope } else { 0 });
    extras.why = answer.why;
    write::answer(&mut out[..limit], &header, question, edns.as_ref(), &answer, &extras)
}

/// What the options ask for, as far as it does not depend on the answer; and whether a cookie of ours was shown.
fn extras<'t>(terms: &'t Terms, edns: &Edns<'_>, arrival: &Arrival, keys: &mut Keys) -> (Extras<'t>, bool) {
    let given = edns.options.cookie.zip(terms.cookies.as_ref());
    let cookie = given.map(|(given, secret)| keys.answer(secret, given, arrival.sender.ip(), arrival.wall_s));
    let nsid = terms.nsid.as_bytes();
    let extras = Extras {
        cookie: cookie.map(|(whole, _)| whole),
        nsid: if edns.options.nsid { &nsid[..nsid.len().min(NSID_MAX)] } else { &[] },
        pads: edns.options.padding && arrival.transport == Transport::Encrypted,
        keepalive: (edns.options.keepalive && arrival.idle_tenths > 0).then_some(arrival.idle_tenths),
        ..Extras::default()
    };
    (extras, cookie.is_some_and(|(_, good)| good))
}

/// Octets the response may have.
fn limit(transport: Transport, edns: Option<&Edns<'_>>) -> usize {
    match (transport, edns) {
        (Transport::Stream | Transport::Encrypted, _) => TCP_MAX,
        (Transport::Udp, None) => UDP_MAX_PLAIN,
        // RFC 6891 §6.2.3: values below 512 are treated as 512.
        (Transport::Udp, Some(edns)) => usize::from(edns.payload).clamp(UDP_MAX_PLAIN, UDP_MAX),
    }
}
