//! Raft messages as bytes, with a bound.
//!
//! The frame around these bytes (length, peer, TLS) is the caller's. raft-rs brings protobuf 2,
//! whose decoder recurses without a limit on unknown groups (RUSTSEC-2024-0437), so bytes come
//! from authenticated peers only and are bounded before they are looked at.

use protobuf::Message as _;
use raft::eraftpb::Message;

/// The largest message that is encoded or decoded, in bytes. A snapshot travels in one message,
/// so this also bounds the state machine; a larger one is refused and named.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Why bytes are not a message, or a message may not become bytes.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("raft message of {bytes} bytes is over the limit of {MAX_MESSAGE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a protobuf `eraftpb.Message`.
    #[error("raft message does not parse")]
    Malformed(#[source] protobuf::ProtobufError),
}

/// The bytes of `message`.
///
/// # Errors
/// When it is longer than [`MAX_MESSAGE_BYTES`].
pub fn encode(message: &Message) -> Result<Vec<u8>, WireError> {
    let bytes = message.write_to_bytes().map_err(WireError::Malformed)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The message in `bytes`; whether it makes sense is for [`crate::Replica::step`] to judge.
///
/// # Errors
/// When the bytes are too many or not a message.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLong { bytes: bytes.len() });
    }
    Message::parse_from_bytes(bytes).map_err(WireError::Malformed)
}
