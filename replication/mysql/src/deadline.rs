//! A point in time by which a call has ended, one way or the other.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// When to give up. It is a point and not a length, so that one budget covers a chain of calls.
///
/// It runs on the monotonic clock, which stops in suspend: a deadline bounds a wait, and no lease is
/// ever judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The point `budget` from now.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget)
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The earlier of this and `budget` from now.
    #[must_use]
    pub fn within(self, budget: Duration) -> Self {
        self.min(Self::after(budget))
    }

    /// Runs `work` until it ends or the deadline passes. The error says only that it passed.
    pub(crate) async fn bound<T>(self, work: impl Future<Output = T>) -> Result<T, Passed> {
        tokio::time::timeout_at(self.0, work).await.map_err(|_| Passed)
    }
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed;
