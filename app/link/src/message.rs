//! What comes in, and what became of what went out.

use std::fmt;

use model::NodeId;

use crate::Endpoint;

/// A message from another process.
#[derive(Debug)]
pub enum Inbound {
    /// Sent and forgotten.
    Cast {
        /// The sender: its certificate says so, or an authenticated node that passed it on does.
        from: Endpoint,
        /// What it is about; the meaning is the callers' own.
        topic: u8,
        /// The message.
        body: Vec<u8>,
        /// It came through a third process.
        relayed: bool,
    },
    /// Somebody waits for the answer.
    Call {
        /// See `Cast`.
        from: Endpoint,
        /// See `Cast`.
        topic: u8,
        /// See `Cast`.
        body: Vec<u8>,
        /// How to answer.
        reply: Replier,
    },
}

/// The right to answer one call, once. Dropped unused it answers with an error. Answering never waits:
/// the answer goes by whatever way works at that moment, and is lost (and counted) where none does.
#[must_use = "dropping it answers the call with an error"]
pub struct Replier {
    answer: Option<Answer>,
}

type Answer = Box<dyn FnOnce(Result<Vec<u8>, String>) + Send>;

impl Replier {
    /// Hands the answer to `answer`, which must not wait. The links make one for each call; others
    /// want it to ask a handler of calls without a link.
    pub fn new(answer: impl FnOnce(Result<Vec<u8>, String>) + Send + 'static) -> Self {
        Self { answer: Some(Box::new(answer)) }
    }

    /// Answers with a body.
    pub fn ok(mut self, body: Vec<u8>) {
        self.give(Ok(body));
    }

    /// Answers that it could not be done; the caller gets [`CallError::Remote`].
    pub fn error(mut self, text: impl Into<String>) {
        self.give(Err(text.into()));
    }

    fn give(&mut self, result: Result<Vec<u8>, String>) {
        if let Some(answer) = self.answer.take() {
            answer(result);
        }
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.give(Err("the call was dropped unanswered".to_owned()));
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replier")
    }
}

/// What became of a cast. `Direct` and `Relayed` mean queued, not arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// Queued on a link to the receiver itself.
    Direct,
    /// Queued on a link to this node, which passes it on.
    Relayed(NodeId),
    /// Not sent: neither the direct link nor any relay is up, or the receiver is not of the roster.
    NoPath,
    /// Not sent: the link's outgoing queue is full, or the message is longer than [`crate::BODY_MAX`].
    Busy,
}

/// Why a call has no answer. After `NoPath` and `Busy` it was surely not handed over; after the
/// others it may have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Neither the direct link nor any relay is up, or the receiver is not of the roster.
    #[error("no path to the peer")]
    NoPath,
    /// A queue on the way is full, too many calls are open, or the message is longer than
    /// [`crate::BODY_MAX`].
    #[error("the link or the peer is busy")]
    Busy,
    /// The answer did not come in time.
    #[error("no answer in time")]
    TimedOut,
    /// The peer answered that it could not be done.
    #[error("the peer answered: {0}")]
    Remote(String),
    /// The links were stopped meanwhile.
    #[error("the links are stopped")]
    Stopped,
}
