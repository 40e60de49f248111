//! Prints for people and pipes. A reader that went away (`| head`) is no failure: the rest is not
//! printed and the exit code stays what the command came to.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

/// A line, or lines, to standard output.
pub fn out(text: impl Display) {
    if let Err(error) = put(&mut stdout().lock(), &text) {
        err(format_args!("twofold: standard output cannot be written: {error}"));
    }
}

/// A line, or lines, to standard error.
pub fn err(text: impl Display) {
    // There is nowhere left to say that this one cannot be written.
    let _ = put(&mut stderr().lock(), &text);
}

fn put(to: &mut impl Write, text: &impl Display) -> std::io::Result<()> {
    let text = text.to_string();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(to, "{text}{end}").and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is_one() {
        assert!(put(&mut Refusing(ErrorKind::BrokenPipe), &"text").is_ok());
        assert!(put(&mut Refusing(ErrorKind::StorageFull), &"text").is_err());
    }

    #[test]
    fn every_text_ends_its_line_once() {
        for text in ["one", "one\n"] {
            let mut to = Vec::new();
            put(&mut to, &text).unwrap();
            assert_eq!(to, b"one\n");
        }
    }
}
