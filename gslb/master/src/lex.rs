//! Entries and their words: comments, parentheses, quotes and escapes, RFC 1035 §5.1.

/// A word of an entry, escapes still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<'t> {
    pub(crate) raw: &'t [u8],
    /// It stood between quotes.
    pub(crate) quoted: bool,
}

impl Word<'_> {
    /// As text, for keywords and numbers and for telling.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.raw).into_owned()
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        !self.quoted && self.raw.eq_ignore_ascii_case(text.as_bytes())
    }
}

/// A line, or several within parentheses.
#[derive(Debug)]
pub(crate) struct Entry<'t> {
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// It begins with a blank: its owner is the one before.
    pub(crate) indented: bool,
    pub(crate) words: Vec<Word<'t>>,
}

/// What cannot be cut into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) line: usize,
    pub(crate) why: &'static str,
}

pub(crate) struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The next entry that has words; none at the end. Behind a torn one it goes on with the next line.
    pub(crate) fn next(&mut self) -> Option<Result<Entry<'t>, Torn>> {
        loop {
            if self.at >= self.text.len() {
                return None;
            }
            match self.entry() {
                Ok(entry) if entry.words.is_empty() => {}
                other => return Some(other),
            }
        }
    }

    fn entry(&mut self) -> Result<Entry<'t>, Torn> {
        let line = self.line;
        let indented = matches!(self.peek(), Some(b' ' | b'\t'));
        let mut words = Vec::new();
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None if depth > 0 => {
                    return Err(Torn { line, why: "a parenthesis is opened and never closed" });
                }
                None => return Ok(Entry { line, indented, words }),
                Some(b'\n') => {
                    self.at += 1;
                    self.line += 1;
                    if depth == 0 {
                        return Ok(Entry { line, indented, words });
                    }
                }
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b';') => self.skip_line(),
                Some(b'(') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b')') if depth == 0 => {
                    return Err(self.torn("a parenthesis is closed that was not opened"));
                }
                Some(b')') => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b'"') => words.push(self.quoted()?),
                Some(_) => words.push(self.bare()?),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Up to the end of the line, which stays.
    fn skip_line(&mut self) {
        while self.peek().is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
    }

    fn torn(&mut self, why: &'static str) -> Torn {
        let line = self.line;
        self.skip_line();
        Torn { line, why }
    }

    fn quoted(&mut self) -> Result<Word<'t>, Torn> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                None | Some(b'\n') => return Err(self.torn("a quote is opened and not closed on its line")),
                Some(b'"') => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Word { raw, quoted: true });
                }
                Some(b'\\') => self.escaped()?,
                Some(_) => self.at += 1,
            }
        }
    }

    fn bare(&mut self) -> Result<Word<'t>, Torn> {
        let start = self.at;
        loop {
            match self.peek() {
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"') => {
                    return Ok(Word { raw: &self.text[start..self.at], quoted: false });
                }
                Some(b'\\') => self.escaped()?,
                Some(_) => self.at += 1,
            }
        }
    }

    /// A backslash and what it stands before; three digits are read with the rest.
    fn escaped(&mut self) -> Result<(), Torn> {
        match self.text.get(self.at + 1) {
            None | Some(b'\n') => Err(self.torn("a backslash stands before nothing")),
            Some(_) => {
                self.at += 2;
                Ok(())
            }
        }
    }
}

/// The octet behind a backslash at `at`, and how many octets the escape takes (RFC 1035 §5.1: `\X`, `\DDD`).
pub(crate) fn unescape(raw: &[u8], at: usize) -> Option<(u8, usize)> {
    let first = *raw.get(at + 1)?;
    if !first.is_ascii_digit() {
        return Some((first, 2));
    }
    let digits = raw.get(at + 1..at + 4).filter(|d| d.iter().all(u8::is_ascii_digit))?;
    let value = digits.iter().fold(0_u32, |value, d| value * 10 + u32::from(d - b'0'));
    Some((u8::try_from(value).ok()?, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cut = Result<(usize, bool, Vec<String>), (usize, &'static str)>;

    fn words(text: &str) -> Vec<Cut> {
        let mut lexer = Lexer::new(text.as_bytes());
        std::iter::from_fn(|| lexer.next())
            .map(|entry| match entry {
                Ok(e) => Ok((e.line, e.indented, e.words.iter().map(Word::text).collect())),
                Err(torn) => Err((torn.line, torn.why)),
            })
            .collect()
    }

    #[test]
    fn entries_are_cut_at_lines_and_parentheses() {
        let some = |line, indented, words: &[&str]| {
            Ok((line, indented, words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()))
        };
        assert_eq!(words("; nothing\n\n  \n"), []);
        assert_eq!(
            words("a b ; c\n\tc \"d e\"f\n(g\nh) i\nj"),
            [
                some(1, false, &["a", "b"]),
                some(2, true, &["c", "d e", "f"]),
                some(3, false, &["g", "h", "i"]),
                some(5, false, &["j"])
            ]
        );
        assert_eq!(words("a\\;b \"c\\\"d\"\r\n"), [some(1, false, &["a\\;b", "c\\\"d"])]);
    }

    #[test]
    fn torn_entries_are_told_and_left_behind() {
        for (text, line) in [("a (b\n", 1), ("a\nb )\nc", 2), ("a \"b\nc", 1), ("a\\", 1), ("\n\nx \\\ny", 3)]
        {
            let torn = words(text).into_iter().find_map(Result::err).unwrap();
            assert_eq!(torn.0, line, "{text:?}");
        }
        assert_eq!(words("a )\nb").len(), 2);
    }
}
