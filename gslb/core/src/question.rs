//! What was asked, and for whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{NameBuf, RecordType};

/// Class IN, RFC 1035 §3.2.4: the only one served.
pub const CLASS_IN: u16 = 1;

/// Clients are told apart by no more than this of an IPv4 address: what RFC 7871 §11.1 recommends that
/// resolvers send, so that a client steers alike with and without ECS.
pub const CLIENT_PREFIX_V4: u8 = 24;
/// The same for IPv6.
pub const CLIENT_PREFIX_V6: u8 = 56;

/// One question of class, type and name with the client it is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// The name, folded; the listener keeps the octets as they came for its echo.
    pub name: NameBuf,
    /// QTYPE.
    pub record_type: RecordType,
    /// QCLASS.
    pub class: u16,
    /// Whom to steer.
    pub client: Client,
}

/// The client as far as it is known: an EDNS client subnet, or else whoever sent the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    address: IpAddr,
    prefix: u8,
}

impl Client {
    /// The sender of the packet.
    #[must_use]
    pub fn sender(address: IpAddr) -> Self {
        // A dual-stack socket sees IPv4 senders as ::ffff:a.b.c.d; they are IPv4 clients.
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The subnet that an EDNS option names, RFC 7871 §6. `prefix` is SOURCE PREFIX-LENGTH; more than
    /// the family has counts as all of it.
    #[must_use]
    pub fn subnet(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix: prefix.min(if address.is_ipv4() { 32 } else { 128 }) }
    }

    /// The part of the address that steering looks at, and its length in bits.
    #[must_use]
    pub fn steered(self) -> (IpAddr, u8) {
        match self.address {
            IpAddr::V4(a) => {
                let length = self.prefix.min(CLIENT_PREFIX_V4);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                (IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask)), length)
            }
            IpAddr::V6(a) => {
                let length = self.prefix.min(CLIENT_PREFIX_V6);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                (IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask)), length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steering_looks_at_no_more_than_the_recommended_prefix() {
        for (client, wanted) in [
            (Client::sender("203.0.113.77".parse().unwrap()), ("203.0.113.0", 24)),
            (Client::sender("::ffff:203.0.113.77".parse().unwrap()), ("203.0.113.0", 24)),
            (Client::sender("2001:db8:1:2ff:3::4".parse().unwrap()), ("2001:db8:1:200::", 56)),
            (Client::subnet("203.0.113.0".parse().unwrap(), 16), ("203.0.0.0", 16)),
            (Client::subnet("203.0.113.0".parse().unwrap(), 0), ("0.0.0.0", 0)),
            (Client::subnet("2001:db8::".parse().unwrap(), 0), ("::", 0)),
            (Client::subnet("203.0.113.0".parse().unwrap(), 99), ("203.0.113.0", 24)),
        ] {
            assert_eq!(client.steered(), (wanted.0.parse().unwrap(), wanted.1), "{client:?}");
        }
    }
}
