//! Response rate limiting: so much goes by UDP to one network that has not shown where it is, and no more, so that nobody
//! can have us flood a victim whose address he forges.
//!
//! Counted are answers to a client network (/24, /56), whatever they say: names that do not exist, each asked for once, are
//! no way round it. Who is over the limit is now and then told to come by TCP (or, with a cookie, to ask again with ours):
//! a forger's victim gets less than was sent in its name, and a resolver goes on. Cookies that are good and TCP are not
//! counted, since a forger has neither.
//!
//! One table a thread, of a fixed size: whoever comes in with many networks drives out those that owe least.

use std::net::IpAddr;

use gslb_core::Client;
use model::Timestamp;
use rand::Rng;
use siphasher::sip::SipHasher24;

/// Networks that share one place in the table.
const WAYS: usize = 4;
/// Places; with the networks that share them 64 Ki, one MiB.
const SETS: usize = 16_384;
/// Of answers over the limit every so-manieth is sent, short.
const SLIP: u32 = 2;
/// What a network may get at once, in seconds of its rate.
const BURST_S: u64 = 1;

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limited {
    /// It is sent.
    No,
    /// It is sent short, for the client to come another way.
    Short,
    /// It is not sent.
    Silent,
}

/// When a network has paid for what it got (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    tag: u32,
    /// Microseconds of `Timestamp`; its past owes nothing.
    paid_at: u64,
}

/// One thread's counts.
pub(super) struct Limiter {
    /// Microseconds that one answer takes of its network's rate.
    each_us: u64,
    key: [u8; 16],
    table: Box<[[Account; WAYS]]>,
    over: u32,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("each_us", &self.each_us).finish_non_exhaustive()
    }
}

impl Limiter {
    /// So many answers a second; at least one.
    pub(super) fn new(per_s: u32) -> Self {
        Self {
            each_us: 1_000_000 / u64::from(per_s.clamp(1, 1_000_000)),
            // Drawn, so that nobody can choose networks that share a place.
            key: rand::rng().random(),
            table: vec![[Account::default(); WAYS]; SETS].into(),
            over: 0,
        }
    }

    /// Counts one answer to `sender`.
    pub(super) fn count(&mut self, sender: IpAddr, now: Timestamp) -> Limited {
        let (network, _) = Client::sender(sender).steered();
        let hasher = SipHasher24::new_with_key(&self.key);
        let hash = match network {
            IpAddr::V4(v4) => hasher.hash(&v4.octets()),
            IpAddr::V6(v6) => hasher.hash(&v6.octets()),
        };
        let tag = (hash >> 32) as u32;
        let set = &mut self.table[hash as usize % SETS];
        let known = set.iter().position(|account| account.tag == tag && account.paid_at > 0);
        let at = known.unwrap_or_else(|| {
            let least = set.iter().enumerate().min_by_key(|(_, account)| account.paid_at);
            let at = least.expect("a place has ways").0;
            set[at] = Account { tag, paid_at: 0 };
            at
        });
        let account = &mut set[at];
        let paid_at = account.paid_at.max(now.0) + self.each_us;
        if paid_at <= now.0 + BURST_S * 1_000_000 {
            account.paid_at = paid_at;
            return Limited::No;
        }
        self.over = self.over.wrapping_add(1);
        if self.over.is_multiple_of(SLIP) { Limited::Short } else { Limited::Silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(limiter: &mut Limiter, from: &str, at_us: u64, queries: usize) -> usize {
        let from: IpAddr = from.parse().unwrap();
        (0..queries).filter(|_| limiter.count(from, Timestamp(at_us)) == Limited::No).count()
    }

    /// Goal: a network gets its rate and a second of it at once, together, and others are not touched.
    #[test]
    fn a_network_gets_its_rate_and_no_more() {
        let mut limiter = Limiter::new(100);
        let begin = 1_000_000_000;
        assert_eq!(sent(&mut limiter, "192.0.2.1", begin, 1_000), 100);
        assert_eq!(sent(&mut limiter, "192.0.2.200", begin, 1_000), 0, "it is the same network");
        assert_eq!(sent(&mut limiter, "::ffff:192.0.2.3", begin, 1_000), 0, "and so is this");
        assert_eq!(sent(&mut limiter, "192.0.3.1", begin, 50), 50);
        assert_eq!(sent(&mut limiter, "2001:db8::1", begin, 50), 50);
        let later: usize =
            (1..=10).map(|tenth| sent(&mut limiter, "192.0.2.1", begin + tenth * 100_000, 1_000)).sum();
        assert_eq!(later, 100);
        assert_eq!(sent(&mut limiter, "192.0.2.1", begin + 60_000_000, 1_000), 100);
    }

    /// Goal: half of what is over the limit is answered short.
    #[test]
    fn every_second_answer_over_the_limit_is_short() {
        let mut limiter = Limiter::new(1);
        let from = "192.0.2.1".parse().unwrap();
        let said: Vec<Limited> = (0..5).map(|_| limiter.count(from, Timestamp(5))).collect();
        assert_eq!(said, [Limited::No, Limited::Silent, Limited::Short, Limited::Silent, Limited::Short]);
    }

    /// Goal: a flood in the names of very many networks does not set free the one that owes most.
    #[test]
    fn many_networks_do_not_drive_out_the_one_that_owes() {
        let mut limiter = Limiter::new(10);
        let begin = 1_000_000_000;
        assert_eq!(sent(&mut limiter, "203.0.113.1", begin, 100), 10);
        for network in 0..1_000_000_u32 {
            limiter.count(IpAddr::from((network << 8).to_be_bytes()), Timestamp(begin));
        }
        assert_eq!(sent(&mut limiter, "203.0.113.1", begin, 100), 0);
    }
}
