//! Record data from its text form.
//!
//! hickory reads the presentation format of each type; any type at all may be given in the generic form of
//! RFC 3597 §5, `\# LENGTH HEX`.

use gslb_core::{RecordData, RecordType};
use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// Why a text is not data of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The type's own form was not followed, or is not known here.
    #[error("{text:?} is not {record_type} data: {why}")]
    Data {
        /// The type.
        record_type: RecordType,
        /// What was given.
        text: String,
        /// What the reader said.
        why: String,
    },
    /// `\#` not followed by a length and as many octets.
    #[error("{text:?} is not generic record data; write \\# LENGTH HEX")]
    Generic {
        /// What was given.
        text: String,
    },
}

/// Reads `text` as data of `record_type`, such as `10 mail.example.com.` for MX. Names in it are absolute with
/// or without the last dot, and hickory folds them to lower case.
///
/// # Errors
/// [`TextError`] says what could not be read.
pub fn record_data(record_type: RecordType, text: &str) -> Result<RecordData, TextError> {
    let wire = match text.trim().strip_prefix("\\#") {
        Some(generic) => generic_data(generic).ok_or_else(|| TextError::Generic { text: text.to_owned() })?,
        None => typed_data(record_type, text)?,
    };
    Ok(RecordData { wire, text: text.trim().to_owned() })
}

fn typed_data(record_type: RecordType, text: &str) -> Result<Vec<u8>, TextError> {
    let fail = |why: String| TextError::Data { record_type, text: text.to_owned(), why };
    let data = RData::try_from_str(record_type.0.into(), text.trim()).map_err(|e| fail(e.to_string()))?;
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    // Compression would point into a message that this data is not in.
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).map_err(|e| fail(e.to_string()))?;
    Ok(wire)
}

/// ` LENGTH HEX…` as octets, RFC 3597 §5; the digits may be grouped by spaces.
fn generic_data(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_ascii_whitespace();
    let length: usize = words.next()?.parse().ok()?;
    let digits: String = words.collect();
    if digits.len() != length.checked_mul(2)? || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_octets_of_its_type() {
        for (record_type, text, wire) in [
            (RecordType::A, "192.0.2.1", b"\xc0\x00\x02\x01".as_slice()),
            (RecordType::MX, "10 Mail.example.", b"\x00\x0a\x04mail\x07example\x00"),
            (RecordType::CNAME, "a.b", b"\x01a\x01b\x00"),
            (RecordType::TXT, "\"two words\" three", b"\x09two words\x05three"),
            (RecordType::SRV, "1 2 443 a.", b"\x00\x01\x00\x02\x01\xbb\x01a\x00"),
            (RecordType(65_280), "\\# 3 0102 ff", b"\x01\x02\xff"),
            (RecordType::A, "\\# 4 c0000201", b"\xc0\x00\x02\x01"),
            (RecordType(65_280), "\\# 0", b""),
        ] {
            assert_eq!(record_data(record_type, text).unwrap().wire, wire, "{record_type} {text}");
        }
        for (record_type, text) in [
            (RecordType::A, "192.0.2"),
            (RecordType::A, ""),
            (RecordType::MX, "mail.example."),
            (RecordType(65_280), "what"),
            (RecordType(65_280), "\\# 2 01"),
            (RecordType(65_280), "\\# 1 zz"),
        ] {
            assert!(record_data(record_type, text).is_err(), "{record_type} {text:?} was taken");
        }
    }
}
