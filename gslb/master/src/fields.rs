//! The presentation form of each record type: what follows what.

use gslb_core::RecordType;

/// A piece of record data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// A domain name.
    Name,
    /// Numbers of 8, 16 and 32 bits.
    U8,
    U16,
    U32,
    /// Seconds, with units if one likes.
    Time,
    /// Addresses.
    V4,
    V6,
    /// One character string of at most 255 octets.
    Text,
    /// One or more of them, up to the end.
    Texts,
    /// A character string if there is one more word.
    MaybeText,
    /// All of a string without a length before it: URI's target, CAA's value.
    Rest,
    /// A tag of letters and digits, with its length.
    Tag,
    /// Hexadecimal, base64 and base32 up to the end, spaces between or not.
    Hex,
    Base64,
    /// A salt: hexadecimal in one word with its length, `-` for none (RFC 5155 §3.3).
    Salt,
    /// A hash in base32 with its length (RFC 5155 §3.3).
    Hash,
    /// A type by its name.
    Type,
    /// An algorithm by number or name, RFC 4034 appendix A.1.
    Algorithm,
    /// A certificate's type, RFC 4398 §2.1.
    CertificateType,
    /// `YYYYMMDDHHmmSS`, or seconds since 1970 (RFC 4034 §3.2).
    Moment,
    /// Types up to the end, as the bitmap of RFC 4034 §4.1.2.
    Types,
    /// Octets by pairs of digits, `-` between: EUI-48 and EUI-64 (RFC 7043).
    Eui(usize),
    /// Four groups of hexadecimal digits: an identifier or locator of RFC 6742.
    Quads,
    /// A hexadecimal word behind `0x` (RFC 1706).
    Nsap,
    /// Service parameters, RFC 9460 §2.1.
    Parameters,
    /// RFC 1876 §3.
    Location,
    /// RFC 3123 §5.
    Prefixes,
    /// RFC 4025 §3: precedence, kind of gateway, algorithm, gateway, key.
    Gateway,
}

/// What makes up data of a type; none where it has no form of its own here.
pub(crate) fn fields(record_type: RecordType) -> Option<&'static [Field]> {
    use Field as F;
    use RecordType as T;
    Some(match record_type {
        T::A => &[F::V4],
        T::AAAA => &[F::V6],
        T::NS | T::CNAME | T::PTR | T::DNAME | T::MB | T::MG | T::MR | T::MD | T::MF => &[F::Name],
        T::SOA => &[F::Name, F::Name, F::U32, F::Time, F::Time, F::Time, F::Time],
        T::HINFO => &[F::Text, F::Text],
        T::MINFO | T::RP | T::TALINK => &[F::Name, F::Name],
        T::MX | T::AFSDB | T::RT | T::KX | T::LP => &[F::U16, F::Name],
        T::TXT | T::SPF | T::AVC | T::NINFO | T::WALLET => &[F::Texts],
        T::X25 => &[F::Text],
        T::ISDN => &[F::Text, F::MaybeText],
        T::GPOS => &[F::Text, F::Text, F::Text],
        T::PX => &[F::U16, F::Name, F::Name],
        T::SRV => &[F::U16, F::U16, F::U16, F::Name],
        T::NAPTR => &[F::U16, F::U16, F::Text, F::Text, F::Text, F::Name],
        T::CERT => &[F::CertificateType, F::U16, F::Algorithm, F::Base64],
        T::DS | T::CDS | T::TA | T::DLV => &[F::U16, F::Algorithm, F::U8, F::Hex],
        T::SSHFP => &[F::U8, F::U8, F::Hex],
        T::TLSA | T::SMIMEA => &[F::U8, F::U8, F::U8, F::Hex],
        T::DNSKEY | T::CDNSKEY | T::KEY | T::RKEY => &[F::U16, F::U8, F::Algorithm, F::Base64],
        T::OPENPGPKEY | T::DHCID => &[F::Base64],
        T::RRSIG | T::SIG => {
            &[F::Type, F::Algorithm, F::U8, F::U32, F::Moment, F::Moment, F::U16, F::Name, F::Base64]
        }
        T::NSEC => &[F::Name, F::Types],
        T::NSEC3 => &[F::U8, F::U8, F::U16, F::Salt, F::Hash, F::Types],
        T::NSEC3PARAM => &[F::U8, F::U8, F::U16, F::Salt],
        T::CSYNC => &[F::U32, F::U16, F::Types],
        T::ZONEMD => &[F::U32, F::U8, F::U8, F::Hex],
        T::SVCB | T::HTTPS => &[F::U16, F::Name, F::Parameters],
        T::CAA => &[F::U8, F::Tag, F::Rest],
        T::URI => &[F::U16, F::U16, F::Rest],
        T::LOC => &[F::Location],
        T::APL => &[F::Prefixes],
        T::IPSECKEY => &[F::Gateway],
        T::EUI48 => &[F::Eui(6)],
        T::EUI64 => &[F::Eui(8)],
        T::NID | T::L64 => &[F::U16, F::Quads],
        T::L32 => &[F::U16, F::V4],
        T::NSAP => &[F::Nsap],
        _ => return None,
    })
}

/// RFC 4034 appendix A.1 and later.
pub(crate) fn algorithm(text: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 15] = [
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECC-GOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
    ];
    named(text, &NAMES).or_else(|| text.parse().ok())
}

/// RFC 4398 §2.1.
pub(crate) fn certificate_type(text: &str) -> Option<u16> {
    const NAMES: [(&str, u16); 10] = [
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    named(text, &NAMES).or_else(|| text.parse().ok())
}

fn named<N: Copy>(text: &str, names: &[(&str, N)]) -> Option<N> {
    names.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}
