//! Running one of mariadb-backup's programs: bounded, heard at its end only, ended with its owner.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::CopyError;
use crate::deadline::Deadline;

/// What is kept of what a program says, in bytes: its last words tell why it ended.
const LAST_WORDS: usize = 1024;
/// Read at once of what a program says.
const CHUNK: usize = 4096;

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Tool {
    name: String,
    child: Child,
    said: JoinHandle<Vec<u8>>,
}

impl Tool {
    /// Starts `program`, a command without its arguments. It is killed when this is dropped.
    pub(crate) fn start(
        program: &[String],
        arguments: &[String],
        stdin: Stdio,
        stdout: Stdio,
    ) -> Result<Tool, CopyError> {
        let name = program.last().cloned().unwrap_or_default();
        let first = program.first().cloned().unwrap_or_default();
        let run = |source| CopyError::Run { program: name.clone(), source };
        let mut child = Command::new(first)
            .args(program.get(1..).unwrap_or_default())
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(run)?;
        let stderr = child.stderr.take().expect("it was asked for");
        // A program that is not listened to stops when its pipe is full.
        let said = tokio::spawn(last_words(stderr));
        Ok(Tool { name, child, said })
    }

    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// What it writes, once.
    pub(crate) fn output(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("its output was asked for, and is taken once")
    }

    /// What it reads, once.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("its input was asked for, and is taken once")
    }

    /// Waits for its end; an end that is no success is an error with its last words.
    pub(crate) async fn end(mut self, doing: &'static str, deadline: Deadline) -> Result<(), CopyError> {
        let program = self.name.clone();
        let ended = deadline.bound(self.child.wait()).await.map_err(|_| CopyError::Timeout { doing })?;
        let status = ended.map_err(|source| CopyError::Pipe { program: program.clone(), source })?;
        if status.success() {
            return Ok(());
        }
        let said = deadline.bound(self.said).await.ok().and_then(Result::ok).unwrap_or_default();
        let message = String::from_utf8_lossy(&said).trim().replace('\n', " | ");
        Err(CopyError::Ended { program, status, message })
    }
}

async fn last_words(mut from: tokio::process::ChildStderr) -> Vec<u8> {
    let mut said = Vec::new();
    let mut chunk = [0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        said.extend_from_slice(&chunk[..count]);
        let old = said.len().saturating_sub(LAST_WORDS);
        said.drain(..old);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shell(script: &str) -> Tool {
        let words = ["sh", "-c"].map(str::to_owned);
        Tool::start(&words, &[script.to_owned()], Stdio::null(), Stdio::null()).unwrap()
    }

    fn patience() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    #[tokio::test]
    async fn a_program_is_told_by_its_last_words_however_much_it_says() {
        shell("exit 0").end("test", patience()).await.unwrap();
        let much = shell("yes nothing | head -c 300000 >&2; echo the reason >&2; exit 3");
        let error = much.end("test", patience()).await.unwrap_err();
        let CopyError::Ended { status, message, .. } = &error else { panic!("{error}") };
        assert!(status.code() == Some(3) && message.ends_with("the reason"), "{error}");
        assert!(message.len() < 3 * LAST_WORDS, "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_or_is_not_there_is_told() {
        let hung = shell("exec sleep 600").end("wait for it", Deadline::after(Duration::ZERO)).await;
        assert!(matches!(hung, Err(CopyError::Timeout { doing: "wait for it" })));
        let none = Tool::start(&["/no/mbstream".into()], &[], Stdio::null(), Stdio::null()).unwrap_err();
        assert!(none.to_string().contains("mariadb-backup"), "{none}");
    }
}
