//! Values as they stand in the file: a checksum, then the content. Version 1.
//!
//! The checksum (CRC-32, little endian, first) covers the value's place too, so a value that
//! turns up elsewhere is damage. A checked-in sample of this version is read back by a test.

use protobuf::Message;

use super::Identity;

/// The version of this layout; first in the identity.
const FORMAT: u32 = 1;

/// Where a value belongs.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Entry(u64),
    State(&'a str),
}

/// `content` with its checksum.
pub(super) fn seal(place: Place<'_>, content: &[u8]) -> Vec<u8> {
    let mut value = checksum(place, content).to_le_bytes().to_vec();
    value.extend_from_slice(content);
    value
}

/// The content of `value`, or what is wrong with it.
pub(super) fn open_record<'v>(place: Place<'_>, value: &'v [u8]) -> Result<&'v [u8], &'static str> {
    let (stored, content) = value.split_first_chunk::<4>().ok_or("is cut short")?;
    if u32::from_le_bytes(*stored) != checksum(place, content) {
        return Err("does not match its checksum");
    }
    Ok(content)
}

fn checksum(place: Place<'_>, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    match place {
        Place::Entry(index) => {
            hasher.update(b"entry");
            hasher.update(&index.to_le_bytes());
        }
        Place::State(name) => {
            hasher.update(b"state");
            hasher.update(name.as_bytes());
        }
    }
    hasher.update(content);
    hasher.finalize()
}

/// A raft message as bytes.
pub(super) fn bytes(message: &impl Message) -> Vec<u8> {
    message.write_to_bytes().expect("proto3 messages have no required fields to miss")
}

pub(super) fn trimmed_bytes((index, term): (u64, u64)) -> Vec<u8> {
    [index.to_le_bytes(), term.to_le_bytes()].concat()
}

pub(super) fn trimmed(content: &[u8]) -> Result<(u64, u64), &'static str> {
    let (index, rest) = number(content)?;
    let (term, rest) = number(rest)?;
    if rest.is_empty() { Ok((index, term)) } else { Err("is too long") }
}

pub(super) fn identity_bytes(identity: &Identity) -> Vec<u8> {
    let mut content = FORMAT.to_le_bytes().to_vec();
    content.extend_from_slice(&identity.node.to_le_bytes());
    content.extend_from_slice(&identity.incarnation.to_le_bytes());
    content.extend_from_slice(identity.cluster.as_bytes());
    content
}

pub(super) fn identity(content: &[u8]) -> Result<Identity, String> {
    let (format, rest) = content.split_first_chunk::<4>().ok_or("is cut short")?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(format!("is of format {format}, and this version reads format {FORMAT}"));
    }
    let (node, rest) = number(rest)?;
    let (incarnation, rest) = number(rest)?;
    let cluster = std::str::from_utf8(rest).map_err(|_| "names no cluster")?.to_owned();
    Ok(Identity { cluster, node, incarnation })
}

fn number(content: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let (number, rest) = content.split_first_chunk::<8>().ok_or("is cut short")?;
    Ok((u64::from_le_bytes(*number), rest))
}
