//! Why a peer or a message was refused: counted always, logged seldom.

use std::fmt;
use std::time::{Duration, Instant};

use crate::LinkCounters;

/// One log line for each kind of refusal in this time; a scanner or a misconfigured peer that comes
/// back four times a second must not fill a disk. The next line tells how many were left out.
const LOG_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Certificate,
    Unknown,
    Misdirected,
    Slow,
    Version,
    Garbage,
    Oversize,
    Forged,
}

const KINDS: usize = 8;

/// When each kind was last logged, and how many since were not.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    kinds: [(Option<Instant>, u64); KINDS],
}

impl Refusal {
    pub(crate) fn count(self, counters: &mut LinkCounters) {
        let counter = match self {
            Self::Certificate => &mut counters.refused_certificate,
            Self::Unknown => &mut counters.refused_unknown,
            Self::Misdirected => &mut counters.refused_misdirected,
            Self::Slow => &mut counters.refused_slow,
            Self::Version => &mut counters.refused_version,
            Self::Garbage => &mut counters.refused_garbage,
            Self::Oversize => &mut counters.refused_oversize,
            Self::Forged => &mut counters.refused_forged,
        };
        *counter += 1;
    }
}

impl RefusalLog {
    /// Whether to log this one, and how many like it went unlogged before.
    pub(crate) fn due(&mut self, refusal: Refusal, now: Instant) -> Option<u64> {
        let (last, left_out) = &mut self.kinds[refusal as usize];
        if last.is_some_and(|at| now.saturating_duration_since(at) < LOG_EVERY) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

/// Why a connection did not come to stand, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Set when it counts as a refusal of ours.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) why: String,
}

impl Problem {
    pub(crate) fn plain(why: impl Into<String>) -> Self {
        Self { refusal: None, why: why.into() }
    }

    pub(crate) fn refused(refusal: Refusal, why: impl Into<String>) -> Self {
        Self { refusal: Some(refusal), why: why.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::plain(error.to_string())
    }
}

impl From<crate::wire::WireError> for Problem {
    fn from(error: crate::wire::WireError) -> Self {
        use crate::wire::WireError;
        let refusal = match error {
            WireError::Version(_) => Refusal::Version,
            WireError::Oversize(..) => Refusal::Oversize,
            WireError::Malformed(_) => Refusal::Garbage,
        };
        Self::refused(refusal, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_refusal_is_logged_once_in_a_while_with_what_was_left_out() {
        let (mut log, now) = (RefusalLog::default(), Instant::now());
        assert_eq!(log.due(Refusal::Garbage, now), Some(0));
        assert_eq!(log.due(Refusal::Garbage, now), None);
        assert_eq!(log.due(Refusal::Forged, now), Some(0));
        assert_eq!(log.due(Refusal::Garbage, now + LOG_EVERY), Some(1));
    }
}
