//! Doing a small thing inside a host's namespace from a process that stands outside: a thread that
//! joins the namespace, with a runtime of its own where the thing is asynchronous.

use std::future::Future;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::enter::join_netns;
use crate::layout::{Host, Lab};
use crate::spec::{LabSpec, Place};

/// How often a running command is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Runs `act` in a thread inside the host's namespace and waits for it.
///
/// # Errors
/// When the namespace cannot be joined, or `act` fails.
pub fn in_thread<T: Send + 'static>(
    lab: &Lab,
    host: &Host,
    act: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let netns = lab.netns_file(host);
    let thread = std::thread::spawn(move || {
        join_netns(&netns)?;
        act()
    });
    thread.join().map_err(|_| anyhow::anyhow!("a thread inside {} panicked", host.name))?
}

/// Runs a future inside the host's namespace, at most for `deadline`.
///
/// # Errors
/// When the namespace cannot be joined, the deadline passes, or the future fails.
pub fn in_runtime<T, F>(lab: &Lab, host: &Host, deadline: Duration, act: F) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    in_thread(lab, host, move || {
        // One thread: another one of the runtime's would not be inside.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(deadline, act).await.context("not done in time")? })
    })
}

/// Runs a command inside the host's namespace to its end; past the deadline it is killed.
///
/// # Errors
/// When it cannot be started or does not end in time. A command that fails is an output.
pub fn output(
    lab: &Lab,
    spec: &LabSpec,
    host: &Host,
    command: &[String],
    deadline: Duration,
) -> anyhow::Result<Output> {
    let line = spec.inside(lab, host, &Place::OwnSession, command);
    let (program, arguments) = line.split_first().expect("`lab enter` comes first");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be run"))?;
    // Read while it runs: a full pipe would hold it for ever.
    let mut readers = Vec::new();
    let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
        child.stdout.take().map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
        child.stderr.take().map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
    ];
    for mut stream in streams.into_iter().flatten() {
        readers.push(std::thread::spawn(move || {
            let mut text = Vec::new();
            // A stream that breaks ends there.
            let _ = stream.read_to_end(&mut text);
            text
        }));
    }
    let until = Instant::now() + deadline;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            anyhow::bail!("{:?} inside {} did not end within {deadline:?}", command.join(" "), host.name);
        }
        std::thread::sleep(TICK);
    };
    let mut texts = readers.into_iter().map(|r| r.join().unwrap_or_default());
    let (stdout, stderr) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
    Ok(Output { status, stdout, stderr })
}
