//! Record data from its text form, as a configuration gives it: that of master files, and any type at all in the generic form of
//! RFC 3597 §5, `\# LENGTH HEX`.

use gslb_core::{Name, RecordData, RecordType};

/// Why a text is not data of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {record_type} data: {why}")]
pub struct TextError {
    /// The type.
    pub record_type: RecordType,
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads `text` as data of `record_type`, such as `10 mail.example.com.` for MX. Names in it are absolute with
/// or without the last dot, and keep their case.
///
/// # Errors
/// [`TextError`] says what could not be read.
pub fn record_data(record_type: RecordType, text: &str) -> Result<RecordData, TextError> {
    let text = text.trim();
    match gslb_master::data(record_type, text, Name::root().wire()) {
        Ok(wire) => Ok(RecordData { wire, text: text.to_owned() }),
        Err(why) => Err(TextError { record_type, text: text.to_owned(), why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_octets_of_its_type() {
        for (record_type, text, wire) in [
            (RecordType::A, "192.0.2.1", b"\xc0\x00\x02\x01".as_slice()),
            (RecordType::MX, "10 Mail.example.", b"\x00\x0a\x04Mail\x07example\x00"),
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
