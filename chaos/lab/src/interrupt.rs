//! Ctrl-C and SIGTERM as a question that long work asks itself, so that it cleans up on its way
//! out. A second signal ends the process at once; the next `lab up` or `lab down` cleans up then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

/// What shells expect of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;

/// How often a wait looks at what it waits for.
const TICK: Duration = Duration::from_millis(50);

/// Whether the user wants out.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

/// The work was interrupted.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupt {
    /// Watches for signals from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn watch() -> std::io::Result<Interrupt> {
        let flag = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = Arc::clone(&flag);
        let guard = runtime.enter();
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(guard);
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                    if seen.swap(true, Ordering::SeqCst) {
                        std::process::exit(EXIT_INTERRUPTED);
                    }
                    eprintln!("lab: interrupted, cleaning up; once more to leave at once");
                }
            });
        });
        Ok(Interrupt(flag))
    }

    /// One that never comes.
    #[must_use]
    pub fn never() -> Interrupt {
        Interrupt(Arc::new(AtomicBool::new(false)))
    }

    /// Ends the work if the user wants out.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
    }

    /// Lets `time` go by.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    /// Asks `look` again and again until it gives something, at most for `deadline`; none then.
    ///
    /// # Errors
    /// [`Interrupted`], and what `look` fails with.
    pub fn wait_for<T>(
        &self,
        deadline: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        let until = Instant::now() + deadline;
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if Instant::now() > until {
                return Ok(None);
            }
            std::thread::sleep(TICK);
        }
    }
}
