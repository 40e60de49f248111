//! A Rust source as words and paths: no comments, no texts, and nothing that only tests compile.
//!
//! It knows as much of the grammar as that takes. What it cannot see is a path that a macro puts
//! together and a crate that is renamed on import; neither is our style.

/// One token, and the line it stands on.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    /// Any other character.
    Mark(char),
}

/// The tokens of a file.
pub struct Source {
    tokens: Vec<(usize, Token)>,
}

impl Source {
    /// What the product compiles.
    pub fn of(text: &str) -> Self {
        Self { tokens: without_tests(&tokens(text)) }
    }

    /// Tests too.
    pub fn of_all(text: &str) -> Self {
        Self { tokens: tokens(text) }
    }

    /// Every word with its line.
    pub fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.tokens.iter().filter_map(|(line, token)| match token {
            Token::Word(word) => Some((*line, word.as_str())),
            _ => None,
        })
    }

    /// Every path that begins with `std`, with its line; a group such as `std::{fs, net::IpAddr}` is
    /// spelt out.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            // `::std` is the crate; `ours::std` is something else.
            let before = |back: usize| at.checked_sub(back).map(|at| &self.tokens[at].1);
            let inside = before(1) == Some(&Token::Path) && matches!(before(2), Some(Token::Word(_)));
            if !inside && self.tokens[at].1 == Token::Word("std".to_owned()) {
                self.path(at, String::new(), &mut found);
            }
        }
        found
    }

    /// Spells out the path that begins at `at`, and returns where it ends.
    fn path(&self, mut at: usize, mut prefix: String, found: &mut Vec<(usize, String)>) -> usize {
        loop {
            match self.tokens.get(at) {
                Some((line, Token::Word(word))) => {
                    prefix = if prefix.is_empty() { word.clone() } else { format!("{prefix}::{word}") };
                    if self.tokens.get(at + 1).map(|token| &token.1) != Some(&Token::Path) {
                        found.push((*line, prefix));
                        return at + 1;
                    }
                    at += 2;
                }
                Some((_, Token::Mark('{'))) => return self.group(at + 1, &prefix, found),
                _ => return at + 1,
            }
        }
    }

    fn group(&self, mut at: usize, prefix: &str, found: &mut Vec<(usize, String)>) -> usize {
        loop {
            match self.tokens.get(at) {
                Some((_, Token::Mark('}'))) | None => return at + 1,
                Some((_, Token::Word(word))) if word == "as" => at += 2,
                Some((_, Token::Word(_))) => at = self.path(at, prefix.to_owned(), found),
                Some(_) => at += 1,
            }
        }
    }
}

/// Drops every item under `#[cfg(test)]`.
fn without_tests(tokens: &[(usize, Token)]) -> Vec<(usize, Token)> {
    let word = |word: &str| Token::Word(word.to_owned());
    let guard = [
        Token::Mark('#'),
        Token::Mark('['),
        word("cfg"),
        Token::Mark('('),
        word("test"),
        Token::Mark(')'),
        Token::Mark(']'),
    ];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let guarded = tokens.len() >= at + guard.len()
            && tokens[at..at + guard.len()]
                .iter()
                .zip(&guard)
                .all(|((_, token), expected)| token == expected);
        if guarded {
            at = end_of_item(tokens, at + guard.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Past the `;` or the closing brace of the item that begins at `at`.
fn end_of_item(tokens: &[(usize, Token)], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some((_, token)) = tokens.get(at) {
        at += 1;
        match token {
            Token::Mark('{' | '(' | '[') => depth += 1,
            Token::Mark(closing @ ('}' | ')' | ']')) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && *closing == '}' {
                    return at;
                }
            }
            Token::Mark(';') if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

fn tokens(text: &str) -> Vec<(usize, Token)> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < characters.len() {
        let rest = &characters[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => string(rest),
            ['\'', ..] => character(rest),
            [first, ..] if first.is_alphabetic() || *first == '_' => {
                let length =
                    rest.iter().position(|c| !c.is_alphanumeric() && *c != '_').unwrap_or(rest.len());
                let word: String = rest[..length].iter().collect();
                match raw_string(&word, &rest[length..]) {
                    Some(more) => length + more,
                    None => {
                        found.push((line, Token::Word(word)));
                        length
                    }
                }
            }
            [':', ':', ..] => {
                found.push((line, Token::Path));
                2
            }
            [mark, ..] => {
                if !mark.is_whitespace() {
                    found.push((line, Token::Mark(*mark)));
                }
                1
            }
            [] => break,
        };
        line += rest[..length].iter().filter(|c| **c == '\n').count();
        at += length;
    }
    found
}

/// Block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character, or the tick of a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => rest.iter().skip(3).position(|c| *c == '\'').map_or(rest.len(), |end| end + 4),
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// What follows `r`, `br` or `cr` if it is a raw string, with its hashes.
fn raw_string(word: &str, rest: &[char]) -> Option<usize> {
    if !matches!(word, "r" | "br" | "cr") {
        return None;
    }
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return None;
    }
    let mut at = hashes + 1;
    while at < rest.len() {
        let closes = rest[at] == '"'
            && rest[at + 1..].iter().take_while(|c| **c == '#').take(hashes).count() == hashes;
        if closes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(rest.len())
}

#[test]
fn comments_texts_and_tests_are_not_seen_and_groups_are_spelt_out() {
    let text = r##"
        // std::fs::read
        /* std::thread /* nested */ std::fs */
        use std::{fmt, fs::{self, File as F}, net::{IpAddr, UdpSocket}};
        fn f<'a>(_: &'a str) -> char { let _ = "std::env"; let _ = r#"std::io "quoted""#; '"' }
        fn g() { let _ = '\''; ::std::process::exit(1); ours::std::thread() }
        #[cfg(test)]
        mod tests { use std::thread; fn h() { std::env::args(); } }
        #[cfg(test)]
        use std::io;
        fn last() -> std::time::Duration { todo() }
    "##;
    let source = Source::of(text);
    let found = source.paths();
    let paths: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "std::fmt",
            "std::fs::self",
            "std::fs::File",
            "std::net::IpAddr",
            "std::net::UdpSocket",
            "std::process::exit",
            "std::time::Duration"
        ]
    );
    assert!(source.words().any(|(line, word)| word == "exit" && line == 6));
}
