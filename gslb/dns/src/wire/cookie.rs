//! DNS cookies (RFC 7873), with the server cookie of RFC 9018: whoever shows one that we gave to its address is no forger
//! of addresses. All nodes that have one secret take each other's, also while it rolls.
//!
//! The key of a day comes of the secret and the day's number, so that nothing has to be agreed upon while it rolls:
//! yesterday's and tomorrow's are taken as well as today's, which is used.

use std::net::IpAddr;

use rand::Rng;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

/// Octets of a client cookie, RFC 7873 §4.1.
pub(super) const CLIENT: usize = 8;
/// Octets of a server cookie of ours, RFC 9018 §4.
const SERVER: usize = 16;
/// Most octets of an option: an 8 octet client cookie and a server cookie of at most 32 (RFC 7873 §4).
const OPTION_MAX: usize = 40;
/// Both together.
pub(super) const WHOLE: usize = CLIENT + SERVER;
/// RFC 9018 §4.3: older ones are not taken, nor such as are further ahead.
const OLD_S: i32 = 3_600;
const AHEAD_S: i32 = 300;
/// Each day has its key.
const DAY_S: u64 = 86_400;

/// What the keys come of: 32 octets that all nodes of a cluster have, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecret([u8; 32]);

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecret(…)")
    }
}

impl CookieSecret {
    /// Of any octets that are hard to guess, such as a file's.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(b"twofold dns cookie secret").chain_update(octets).finalize().into())
    }

    /// One of this process alone.
    #[must_use]
    pub fn drawn() -> Self {
        Self(rand::rng().random())
    }

    fn key(&self, day: u64) -> [u8; 16] {
        let hash = Sha256::new_with_prefix(b"twofold dns cookie key")
            .chain_update(self.0)
            .chain_update(day.to_be_bytes())
            .finalize();
        hash[..16].try_into().expect("a hash has 32 octets")
    }
}

/// The keys of yesterday, today and tomorrow, kept by a thread until the day is over.
#[derive(Debug, Default)]
pub(super) struct Keys {
    of: Option<(u64, CookieSecret)>,
    keys: [[u8; 16]; 3],
}

impl Keys {
    fn at(&mut self, secret: &CookieSecret, wall_s: u64) -> &[[u8; 16]; 3] {
        let day = wall_s / DAY_S;
        if self.of.as_ref().is_none_or(|(d, s)| *d != day || s != secret) {
            self.keys = [day.wrapping_sub(1), day, day.wrapping_add(1)].map(|day| secret.key(day));
            self.of = Some((day, secret.clone()));
        }
        &self.keys
    }

    /// The option's data for the answer: the client's cookie and ours. `given` is what the client sent, well-formed; true
    /// where ours was in it and is good.
    pub(super) fn answer(
        &mut self,
        secret: &CookieSecret,
        given: &[u8],
        sender: IpAddr,
        wall_s: u64,
    ) -> ([u8; WHOLE], bool) {
        let keys = self.at(secret, wall_s);
        let client: [u8; CLIENT] = given[..CLIENT].try_into().expect("it is well-formed");
        // Seconds in 32 bits that wrap (RFC 1982).
        let now = wall_s as u32;
        let good = given[CLIENT..].try_into().is_ok_and(|server: [u8; SERVER]| {
            let stamp = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
            let age = now.wrapping_sub(stamp) as i32;
            (-AHEAD_S..=OLD_S).contains(&age)
                && keys.iter().any(|key| made(key, client, stamp, sender) == server)
        });
        let mut whole = [0; WHOLE];
        whole[..CLIENT].copy_from_slice(&client);
        whole[CLIENT..].copy_from_slice(&made(&keys[1], client, now, sender));
        (whole, good)
    }
}

/// RFC 7873 §5.2.2: a client cookie, or one with a server cookie of 8 to 32 octets.
pub(super) fn is_cookie(data: &[u8]) -> bool {
    data.len() == CLIENT || (2 * CLIENT..=OPTION_MAX).contains(&data.len())
}

/// A server cookie, RFC 9018 §4: version 1, three octets of 0, the time, and a hash of all that with client and address.
fn made(key: &[u8; 16], client: [u8; CLIENT], stamp: u32, sender: IpAddr) -> [u8; SERVER] {
    let mut cookie = [0; SERVER];
    cookie[0] = 1;
    cookie[4..8].copy_from_slice(&stamp.to_be_bytes());
    let mut hashed = [0; CLIENT + 8 + 16];
    hashed[..CLIENT].copy_from_slice(&client);
    hashed[CLIENT..CLIENT + 8].copy_from_slice(&cookie[..8]);
    let address = &mut hashed[CLIENT + 8..];
    let length = match sender.to_canonical() {
        IpAddr::V4(v4) => {
            address[..4].copy_from_slice(&v4.octets());
            4
        }
        IpAddr::V6(v6) => {
            address.copy_from_slice(&v6.octets());
            16
        }
    };
    let hash = SipHasher24::new_with_key(key).hash(&hashed[..CLIENT + 8 + length]);
    cookie[8..].copy_from_slice(&hash.to_le_bytes());
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        let octet = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(octet)
    }

    /// Goal: the cookies are those of RFC 9018 (appendix A), so that servers of other makers take them.
    #[test]
    fn server_cookies_are_those_of_the_rfc() {
        for (secret, client, address, wanted) in [
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957",
                "198.51.100.100",
                "010000005cf79f111f8130c3eee29480",
            ),
            (
                "445536bcd2513298075a5d379663c962",
                "22681ab97d52c298",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                "010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let wanted: [u8; SERVER] = octets(wanted);
            let stamp = u32::from_be_bytes(wanted[4..8].try_into().unwrap());
            assert_eq!(made(&octets(secret), octets(client), stamp, address.parse().unwrap()), wanted);
        }
    }

    /// Goal: what a node gave another node takes, from the same address, for an hour, also across midnight; nothing else.
    #[test]
    fn cookies_are_taken_by_all_who_share_the_secret_while_they_are_fresh() {
        let secret = CookieSecret::of(b"of the cluster");
        let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let midnight = 20_000 * DAY_S;
        let (given, good) = Keys::default().answer(&secret, &[7; 8], here, midnight - 10);
        assert!(!good, "a client cookie alone proves nothing");
        let mut keys = Keys::default();
        let mut taken = |given: &[u8], from, at| keys.answer(&secret, given, from, at).1;
        assert!(taken(&given, here, midnight - 10));
        assert!(taken(&given, here, midnight + 3_000));
        assert!(taken(&given, here, midnight - 200), "a clock that is behind ours");
        assert!(!taken(&given, here, midnight + 3_600));
        assert!(!taken(&given, here, midnight - 400));
        assert!(!taken(&given, there, midnight));
        assert!(taken(&given, "::ffff:192.0.2.1".parse().unwrap(), midnight));
        for at in 0..given.len() {
            let mut other = given;
            other[at] ^= 1;
            assert!(!taken(&other, here, midnight), "octet {at} does not count");
        }
        let other = CookieSecret::of(b"of another");
        assert!(!Keys::default().answer(&other, &given, here, midnight).1);
    }
}
