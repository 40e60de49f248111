//! Choosing one of several by weight so that a client keeps its choice, and a change of one weight moves
//! only the clients that must move: weighted rendezvous hashing.
//!
//! Each candidate draws an exponential variate E = −log₂(u) from a hash of client and candidate; the
//! smallest E/weight wins, with probability weight/Σweights. All of it is in integers, so that every
//! node and every build chooses alike.

use std::net::IpAddr;

/// Table entries of the logarithm; with linear interpolation the error is below 2⁻²².
const STEPS: usize = 1024;
/// log₂(1 + i/1024) with 32 fractional bits.
static LOG2: [u64; STEPS + 1] = log2_table();

/// A client's part of the draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientKey(u64);

impl ClientKey {
    pub(crate) fn of(prefix: IpAddr) -> Self {
        match prefix {
            IpAddr::V4(a) => Self(mix(u64::from(a.to_bits()))),
            IpAddr::V6(a) => {
                let bits = a.to_bits();
                // The two halves are mixed apart: a plain xor would let addresses cancel out.
                Self(mix(mix((bits >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15) ^ bits as u64))
            }
        }
    }
}

/// A candidate's part of the draw: depends on what it is called, never on its place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(u64);

impl Salt {
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut state = 0xcbf2_9ce4_8422_2325u64;
        for part in parts {
            for byte in part.bytes().chain([0]) {
                state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        Self(mix(state))
    }
}

/// One draw: smaller wins.
#[derive(Debug, Clone, Copy)]
struct Draw {
    exponential: u64,
    weight: u32,
}

impl Draw {
    /// True when self's exponential/weight is less than `other`'s, without dividing.
    fn beats(self, other: Draw) -> bool {
        u128::from(self.exponential) * u128::from(other.weight)
            < u128::from(other.exponential) * u128::from(self.weight)
    }
}

/// Index of the chosen candidate. Of equals the first wins; weights are at least 1 (the caller takes the
/// others out). Panics when there is no candidate.
pub(crate) fn choose(client: ClientKey, candidates: impl Iterator<Item = (Salt, u32)>) -> usize {
    let mut best: Option<(usize, Draw)> = None;
    for (index, (salt, weight)) in candidates.enumerate() {
        let draw = Draw { exponential: exponential(mix(client.0 ^ salt.0)), weight };
        if best.is_none_or(|(_, b)| draw.beats(b)) {
            best = Some((index, draw));
        }
    }
    best.expect("a choice has candidates").0
}

/// −log₂((h+½)/2⁶⁴) nearly, with 32 fractional bits; always above zero.
fn exponential(hash: u64) -> u64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    let mantissa = hash << zeros; // 1.x with 63 fractional bits
    let step = ((mantissa >> 53) & 0x3ff) as usize;
    let rest = (mantissa >> 21) & 0xffff_ffff; // the next 32 bits
    let log2 = LOG2[step] + (((LOG2[step + 1] - LOG2[step]) * rest) >> 32);
    ((u64::from(zeros) + 1) << 32) - log2.min((1 << 32) - 1)
}

const fn log2_table() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut i = 0;
    while i < STEPS {
        // Squaring a number of [1, 2) doubles its logarithm; the carry is the next bit.
        let mut x: u128 = (1 << 62) + ((i as u128) << 52);
        let mut bit = 32;
        let mut value = 0;
        while bit > 0 {
            bit -= 1;
            x = (x * x) >> 62;
            if x >= 1 << 63 {
                value |= 1 << bit;
                x >>= 1;
            }
        }
        table[i] = value;
        i += 1;
    }
    table[STEPS] = 1 << 32;
    table
}

/// The finaliser of SplitMix64: every input bit changes every output bit with probability near ½.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(client: u32, weights: &[(&str, u32)]) -> usize {
        let key = ClientKey::of(IpAddr::V4(std::net::Ipv4Addr::from_bits(client << 8)));
        choose(key, weights.iter().map(|(name, weight)| (Salt::of(&[name]), *weight)))
    }

    #[test]
    fn the_logarithm_is_right_to_a_millionth() {
        for hash in [1u64, 3, 0xffff, 1 << 40, u64::MAX / 3, u64::MAX / 2, u64::MAX - 5] {
            let wanted = 64.0 - (hash as f64).log2();
            let got = exponential(hash) as f64 / 4_294_967_296.0;
            assert!((wanted - got).abs() < 1e-6, "{hash}: {wanted} but {got}");
            assert!(exponential(hash) > 0);
        }
    }

    /// Shares follow weights: with 60,000 clients the standard deviation of a share of one half is 0.2 %;
    /// the bound is five of them.
    #[test]
    fn shares_follow_weights() {
        let weights = [("a", 50), ("b", 30), ("c", 20)];
        let mut counts = [0u32; 3];
        for client in 0..60_000 {
            counts[chosen(client, &weights)] += 1;
        }
        for (count, (name, weight)) in counts.iter().zip(weights) {
            let share = f64::from(*count) / 60_000.0;
            assert!((share - f64::from(weight) / 100.0).abs() < 0.0102, "{name}: {share}");
        }
    }

    #[test]
    fn a_ramp_moves_only_clients_to_the_grown_candidate() {
        for client in 0..20_000 {
            let before = chosen(client, &[("a", 60), ("b", 40)]);
            let after = chosen(client, &[("a", 60), ("b", 60)]);
            assert!(before == after || after == 1, "client {client} moved away from the grown one");
            let without = chosen(client, &[("b", 40)]);
            assert_eq!(without, 0);
        }
    }
}
