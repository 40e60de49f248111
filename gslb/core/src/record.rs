//! Record types by number and name, and record data as bytes.

use std::fmt;
use std::str::FromStr;

/// The number of a resource record type, IANA "DNS Parameters".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

macro_rules! types {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl RecordType {
            $(#[doc = concat!("Type ", stringify!($name), ".")] pub const $name: RecordType = RecordType($number);)*

            /// The mnemonic, when it is one of the types named here.
            #[must_use]
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            fn of_mnemonic(text: &str) -> Option<RecordType> {
                $(if text.eq_ignore_ascii_case(stringify!($name)) { return Some(RecordType($number)); })*
                None
            }
        }
    };
}

types! {
    A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, PTR = 12, HINFO = 13, MINFO = 14,
    MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20, RT = 21, NSAP = 22, SIG = 24, KEY = 25, PX = 26, GPOS = 27,
    AAAA = 28, LOC = 29, SRV = 33, NAPTR = 35, KX = 36, CERT = 37, DNAME = 39, OPT = 41, APL = 42, DS = 43, SSHFP = 44,
    IPSECKEY = 45, RRSIG = 46, NSEC = 47, DNSKEY = 48, DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53,
    HIP = 55, NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59, CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64,
    HTTPS = 65, SPF = 99, NID = 104, L32 = 105, L64 = 106, LP = 107, EUI48 = 108, EUI64 = 109, TKEY = 249, TSIG = 250,
    IXFR = 251, AXFR = 252, ANY = 255, URI = 256, CAA = 257, AVC = 258, WALLET = 262, TA = 32768, DLV = 32769,
}

impl RecordType {
    /// True for what may be asked but never stored: RFC 6895 §3.1, QTYPEs and Meta-TYPEs, and OPT.
    #[must_use]
    pub fn is_meta(self) -> bool {
        self == Self::OPT || self.0 == 0 || (128..=255).contains(&self.0)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

/// A text that names no record type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record type {0:?} is not known; write its number as TYPEnnn")]
pub struct RecordTypeError(String);

impl FromStr for RecordType {
    type Err = RecordTypeError;

    /// A mnemonic or `TYPEnnn` (RFC 3597 §5), in any case.
    fn from_str(text: &str) -> Result<Self, RecordTypeError> {
        let numbered = || {
            let (head, tail) = text.split_at_checked(4)?;
            let digits = head.eq_ignore_ascii_case("TYPE") && tail.bytes().all(|b| b.is_ascii_digit());
            if digits { tail.parse().ok().map(RecordType) } else { None }
        };
        Self::of_mnemonic(text).or_else(numbered).ok_or_else(|| RecordTypeError(text.to_owned()))
    }
}

/// The data of one record: what is sent, and what a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordData {
    /// RDATA in wire form with uncompressed names; at most 65,535 octets.
    pub wire: Vec<u8>,
    /// Presentation form, for `explain` and `status` only: no answer is made of it.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_by_name_and_by_number() {
        for (text, number) in [("a", 1), ("AAAA", 28), ("Type28", 28), ("TYPE65280", 65280), ("https", 65)] {
            assert_eq!(text.parse::<RecordType>().unwrap(), RecordType(number));
        }
        assert_eq!(RecordType(65280).to_string(), "TYPE65280");
        assert_eq!(RecordType(28).to_string(), "AAAA");
        for bad in ["", "TYPE", "TYPE65536", "TYPE-1", "TYPE+1", "AA", "é"] {
            assert!(bad.parse::<RecordType>().is_err(), "{bad:?} was taken");
        }
    }
}
