//! The bytes of a frame.
//!
//! ```text
//! u32 length | u8 version | u8 kind | the rest, by kind            all numbers big-endian
//! hello   from, to                                                first on a connection, both ways
//! beat    u8 hears-you | u64 stamp | u8 has-echo [u64 stamp, u64 held] | u16 n | n endpoints
//! bye     text                                                    last on a connection
//! cast    u8 hops | from | to | u8 topic | body
//! call    u8 hops | from | to | u64 id | u8 topic | body
//! reply   u8 hops | from | to | u64 id | body
//! error   u8 hops | from | to | u64 id | u8 code | text
//! endpoint  u8 0 node, 1 guard | u8 length | name
//! ```
//!
//! A later version keeps length, version, hello and bye as they are, so that a peer of another
//! version can still be told why it is refused. `decode` believes nothing and never panics.

use crate::Endpoint;

/// The envelope version spoken here.
pub(crate) const VERSION: u8 = 1;
/// The longest frame after the hello, bytes. A chunk of a Raft snapshot is the largest thing sent.
pub(crate) const FRAME_MAX: usize = 8 * 1024 * 1024;
/// The longest first frame, bytes: two names and some room. A stranger cannot make us buffer more.
pub(crate) const HELLO_MAX: usize = 512;
/// The longest text that is put into a bye or an error, bytes; longer ones are cut.
const TEXT_MAX: usize = 400;
/// Bytes of the length in front of a frame.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Where the hop budget stands in an encoded message.
const HOPS_AT: usize = LENGTH_BYTES + 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello { from: Endpoint, to: Endpoint },
    Beat(Beat),
    Bye { reason: String },
    Message(Message),
}

/// What each end tells on a connection, over and over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    /// The sender hears the receiver on this connection.
    pub(crate) hears_you: bool,
    /// The sender's clock, µs since some start of its own.
    pub(crate) stamp: u64,
    /// The receiver's last stamp, and how long the sender held it, µs.
    pub(crate) echo: Option<(u64, u64)>,
    /// The endpoints to which the sender has a link that is up both ways.
    pub(crate) up: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// 1: may be passed on once more.
    pub(crate) hops: u8,
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    pub(crate) kind: Kind,
    /// Of a failed call: the text.
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cast { topic: u8 },
    Call { id: u64, topic: u8 },
    Reply { id: u64 },
    Error { id: u64, code: ErrorCode },
}

/// Why a call failed on its way or at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// The callee says so.
    Remote = 0,
    /// A queue was full; it was not handed over.
    Busy = 1,
    /// The relay hears the callee no more; it was not handed over.
    NoPath = 2,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("envelope version {0} is not spoken here (only {VERSION}); run the same release on both ends")]
    Version(u8),
    #[error("frame of {0} bytes is over the limit of {1}")]
    Oversize(usize, usize),
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
}

impl WireError {
    const SHORT: Self = Self::Malformed("it ends early");
}

const HELLO: u8 = 1;
const BEAT: u8 = 2;
const BYE: u8 = 3;
const CAST: u8 = 4;
const CALL: u8 = 5;
const REPLY: u8 = 6;
const ERROR: u8 = 7;

/// The frame with its length in front.
pub(crate) fn encode(frame: &Frame) -> Vec<u8> {
    match frame {
        Frame::Hello { from, to } => {
            let mut out = begin(HELLO, 140);
            put_endpoint(&mut out, from);
            put_endpoint(&mut out, to);
            finish(out)
        }
        Frame::Bye { reason } => {
            let mut out = begin(BYE, TEXT_MAX);
            out.extend_from_slice(clipped(reason).as_bytes());
            finish(out)
        }
        Frame::Beat(beat) => encode_beat(beat),
        Frame::Message(message) => encode_message(message),
    }
}

fn encode_beat(beat: &Beat) -> Vec<u8> {
    let mut out = begin(BEAT, 32 + beat.up.len() * 16);
    out.push(u8::from(beat.hears_you));
    out.extend_from_slice(&beat.stamp.to_be_bytes());
    out.push(u8::from(beat.echo.is_some()));
    if let Some((stamp, held)) = beat.echo {
        out.extend_from_slice(&stamp.to_be_bytes());
        out.extend_from_slice(&held.to_be_bytes());
    }
    // A roster of more endpoints than u16 holds is not reachable here; the rest would go untold.
    let count = u16::try_from(beat.up.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for endpoint in beat.up.iter().take(usize::from(count)) {
        put_endpoint(&mut out, endpoint);
    }
    finish(out)
}

pub(crate) fn encode_message(message: &Message) -> Vec<u8> {
    let kind = match message.kind {
        Kind::Cast { .. } => CAST,
        Kind::Call { .. } => CALL,
        Kind::Reply { .. } => REPLY,
        Kind::Error { .. } => ERROR,
    };
    let mut out = begin(kind, 160 + message.body.len());
    out.push(message.hops);
    put_endpoint(&mut out, &message.from);
    put_endpoint(&mut out, &message.to);
    match message.kind {
        Kind::Cast { topic } => out.push(topic),
        Kind::Call { id, topic } => {
            out.extend_from_slice(&id.to_be_bytes());
            out.push(topic);
        }
        Kind::Reply { id } => out.extend_from_slice(&id.to_be_bytes()),
        Kind::Error { id, code } => {
            out.extend_from_slice(&id.to_be_bytes());
            out.push(code as u8);
        }
    }
    out.extend_from_slice(&message.body);
    finish(out)
}

/// Sets the hop budget of an encoded message.
pub(crate) fn set_hops(encoded: &mut [u8], hops: u8) {
    encoded[HOPS_AT] = hops;
}

/// As much of a text as goes into a frame.
pub(crate) fn clipped(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn begin(kind: u8, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(LENGTH_BYTES + 2 + room);
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(VERSION);
    out.push(kind);
    out
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let length = out.len() - LENGTH_BYTES;
    assert!(length <= FRAME_MAX, "bodies are bounded before they are encoded");
    let length = u32::try_from(length).expect("FRAME_MAX fits");
    out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    out
}

fn put_endpoint(out: &mut Vec<u8>, endpoint: &Endpoint) {
    out.push(match endpoint {
        Endpoint::Node(_) => 0,
        Endpoint::Guard(_) => 1,
    });
    let name = endpoint.name().as_bytes();
    out.push(u8::try_from(name.len()).expect("a name has at most 63 bytes"));
    out.extend_from_slice(name);
}

/// A frame from its bytes, without the length.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame, WireError> {
    let mut rest = Bytes(bytes);
    let version = rest.u8()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    match rest.u8()? {
        HELLO => {
            let (from, to) = (rest.endpoint()?, rest.endpoint()?);
            rest.end()?;
            Ok(Frame::Hello { from, to })
        }
        BEAT => decode_beat(rest).map(Frame::Beat),
        BYE => Ok(Frame::Bye { reason: clipped(&String::from_utf8_lossy(rest.0)).to_owned() }),
        kind => decode_message(kind, rest).map(Frame::Message),
    }
}

fn decode_beat(mut rest: Bytes<'_>) -> Result<Beat, WireError> {
    let hears_you = rest.flag()?;
    let stamp = rest.u64()?;
    let echo = if rest.flag()? { Some((rest.u64()?, rest.u64()?)) } else { None };
    let count = u16::from_be_bytes(rest.array()?);
    let up = (0..count).map(|_| rest.endpoint()).collect::<Result<Vec<_>, _>>()?;
    rest.end()?;
    Ok(Beat { hears_you, stamp, echo, up })
}

fn decode_message(kind: u8, mut rest: Bytes<'_>) -> Result<Message, WireError> {
    if !(CAST..=ERROR).contains(&kind) {
        return Err(WireError::Malformed("a kind that does not exist"));
    }
    let hops = rest.u8()?;
    if hops > 1 {
        return Err(WireError::Malformed("a hop budget over one"));
    }
    let (from, to) = (rest.endpoint()?, rest.endpoint()?);
    let kind = match kind {
        CAST => Kind::Cast { topic: rest.u8()? },
        CALL => Kind::Call { id: rest.u64()?, topic: rest.u8()? },
        REPLY => Kind::Reply { id: rest.u64()? },
        _ => Kind::Error { id: rest.u64()?, code: rest.code()? },
    };
    Ok(Message { hops, from, to, kind, body: rest.0.to_vec() })
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::SHORT)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed("a flag that is neither 0 nor 1")),
        }
    }

    fn code(&mut self) -> Result<ErrorCode, WireError> {
        match self.u8()? {
            0 => Ok(ErrorCode::Remote),
            1 => Ok(ErrorCode::Busy),
            2 => Ok(ErrorCode::NoPath),
            _ => Err(WireError::Malformed("an error code that does not exist")),
        }
    }

    fn endpoint(&mut self) -> Result<Endpoint, WireError> {
        let (kind, length) = (self.u8()?, self.u8()?);
        let name = std::str::from_utf8(self.take(usize::from(length))?)
            .map_err(|_| WireError::Malformed("an endpoint that is not text"))?;
        let wrong = |_| WireError::Malformed("an endpoint that is no name");
        match kind {
            0 => Ok(Endpoint::Node(name.parse().map_err(wrong)?)),
            1 => Ok(Endpoint::Guard(name.parse().map_err(wrong)?)),
            _ => Err(WireError::Malformed("an endpoint of a kind that does not exist")),
        }
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Malformed("bytes after its end")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> Vec<Frame> {
        let node = |n: &str| Endpoint::Node(n.parse().unwrap());
        let guard = Endpoint::Guard("db-a1".parse().unwrap());
        let message = |kind| {
            Frame::Message(Message {
                hops: 1,
                from: node("pdc-1"),
                to: guard.clone(),
                kind,
                body: b"body".to_vec(),
            })
        };
        vec![
            Frame::Hello { from: guard.clone(), to: node("pdc-1") },
            Frame::Beat(Beat {
                hears_you: true,
                stamp: 7,
                echo: Some((8, 9)),
                up: vec![node("a"), guard.clone()],
            }),
            Frame::Beat(Beat { hears_you: false, stamp: u64::MAX, echo: None, up: vec![] }),
            Frame::Bye { reason: "stopping".to_owned() },
            message(Kind::Cast { topic: 3 }),
            message(Kind::Call { id: u64::MAX, topic: 255 }),
            message(Kind::Reply { id: 1 }),
            message(Kind::Error { id: 2, code: ErrorCode::Remote }),
            message(Kind::Error { id: 2, code: ErrorCode::Busy }),
            message(Kind::Error { id: 2, code: ErrorCode::NoPath }),
        ]
    }

    #[test]
    fn every_kind_of_frame_is_read_back() {
        for frame in samples() {
            let bytes = encode(&frame);
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
            assert_eq!(usize::try_from(length).unwrap(), bytes.len() - 4);
            assert_eq!(decode(&bytes[4..]).unwrap(), frame);
        }
    }

    #[test]
    fn the_hop_budget_is_set_in_place() {
        for frame in samples() {
            let Frame::Message(message) = frame else { continue };
            let mut bytes = encode_message(&message);
            set_hops(&mut bytes, 0);
            assert_eq!(decode(&bytes[4..]).unwrap(), Frame::Message(Message { hops: 0, ..message }));
        }
    }

    #[test]
    fn a_frame_cut_short_is_an_error_and_never_a_panic() {
        for frame in samples() {
            let bytes = encode(&frame);
            let envelope = match &frame {
                // A body and a text end where the frame ends.
                Frame::Message(message) => bytes.len() - message.body.len(),
                Frame::Bye { .. } => 6,
                _ => bytes.len(),
            };
            for end in 4..envelope {
                assert_eq!(decode(&bytes[4..end]), Err(WireError::SHORT), "{frame:?} to {end}");
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(decode(&[9, 1]), Err(WireError::Version(9)));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "ä".repeat(TEXT_MAX);
        assert_eq!(clipped(&long).len(), TEXT_MAX);
        assert_eq!(clipped(&format!("a{long}")).len(), TEXT_MAX - 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_flipped_byte_makes_the_decoder_panic(which in 0usize..10, at in any::<usize>(), to in any::<u8>()) {
            let frames = samples();
            let mut bytes = encode(&frames[which % frames.len()]);
            let at = 4 + at % (bytes.len() - 4);
            bytes[at] = to;
            if let Ok(frame) = decode(&bytes[4..]) {
                prop_assert_eq!(decode(&encode(&frame)[4..]).ok(), Some(frame));
            }
        }
    }
}
