//! One command of a script, taken word by word. What is left over at its end is a mistake in the
//! script, and stops the test with the place.

use std::collections::VecDeque;
use std::time::Duration;

use model::{Epoch, GtidSet, ProcessStart, ServerId, ServerUuid};

use super::names;

/// A command under way.
pub struct Line {
    place: String,
    words: VecDeque<String>,
    pairs: Vec<(String, String)>,
}

impl Line {
    /// Splits at blanks; `key="two words"` is one pair.
    pub fn new(place: String, text: &str) -> Self {
        let mut words = VecDeque::new();
        let mut pairs = Vec::new();
        let mut token = String::new();
        let mut quoted = false;
        let mut tokens = Vec::new();
        for c in text.chars().chain([' ']) {
            match c {
                '"' => quoted = !quoted,
                ' ' if !quoted => {
                    if !token.is_empty() {
                        tokens.push(std::mem::take(&mut token));
                    }
                }
                c => token.push(c),
            }
        }
        for token in tokens {
            match token.split_once('=') {
                Some((key, value)) => pairs.push((key.to_owned(), value.to_owned())),
                None => words.push_back(token),
            }
        }
        Self { place, words, pairs }
    }

    /// Stops with the place in the script.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{}: {why}", self.place)
    }

    /// The next plain word.
    pub fn word(&mut self) -> String {
        self.words.pop_front().unwrap_or_else(|| self.fail("a word is missing"))
    }

    /// The next plain word, if there is one.
    pub fn word_maybe(&mut self) -> Option<String> {
        self.words.pop_front()
    }

    /// True when this plain word stands anywhere; it is taken.
    pub fn flag(&mut self, name: &str) -> bool {
        let found = self.words.iter().position(|w| w == name);
        found.map(|i| self.words.remove(i)).is_some()
    }

    /// The value of a pair, if it is given.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let found = self.pairs.iter().position(|(k, _)| k == key)?;
        Some(self.pairs.remove(found).1)
    }

    /// The values of all pairs of this key.
    pub fn all(&mut self, key: &str) -> Vec<String> {
        std::iter::from_fn(|| self.take(key)).collect()
    }

    pub fn number(&mut self, key: &str) -> Option<u64> {
        let text = self.take(key)?;
        Some(text.parse().unwrap_or_else(|_| self.fail(&format!("{text:?} is not a number"))))
    }

    pub fn epoch(&mut self, key: &str) -> Option<Epoch> {
        self.number(key).map(Epoch)
    }

    pub fn life(&mut self, key: &str) -> Option<ProcessStart> {
        self.number(key).map(ProcessStart)
    }

    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.take(key)?;
        Some(duration(&text).unwrap_or_else(|| self.fail(&format!("{text:?} is not a duration"))))
    }

    pub fn micros(&mut self, key: &str) -> Option<u64> {
        self.duration(key).map(|d| u64::try_from(d.as_micros()).unwrap())
    }

    pub fn gtid(&mut self, key: &str) -> Option<GtidSet> {
        let text = self.take(key)?;
        Some(names::gtid(&text))
    }

    pub fn uuid(&mut self, key: &str) -> Option<ServerUuid> {
        let text = self.take(key)?;
        Some(names::uuid_of_letter(&text).unwrap_or_else(|| self.fail("no such uuid")))
    }

    pub fn server(&mut self) -> ServerId {
        let word = self.word();
        word.parse().unwrap_or_else(|_| self.fail(&format!("{word:?} is not a server")))
    }

    /// Nothing may be left.
    pub fn finish(self) {
        if !self.words.is_empty() || !self.pairs.is_empty() {
            self.fail(&format!("not understood: {:?} {:?}", self.words, self.pairs));
        }
    }
}

/// `5s`, `1.6s`, `300ms`.
pub fn duration(text: &str) -> Option<Duration> {
    if let Some(ms) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(ms.parse().ok()?));
    }
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Some(Duration::from_micros((seconds * 1e6).round() as u64))
}
