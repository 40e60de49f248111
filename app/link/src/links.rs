//! The handle through which a process sends, calls, looks at its links, and stops them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::{CallError, Endpoint, Inbound, LinkConfig, LinkView, Sent, StartError};

/// The longest body of a message, bytes. With its envelope it fits a frame of 8 MiB.
pub const BODY_MAX: usize = 8 * 1024 * 1024 - 1024;

/// All links of this process; clones are the same links. They stop when the last clone is dropped,
/// but only [`Links::stop`] waits for that.
#[derive(Debug, Clone)]
pub struct Links {}

impl Links {
    /// Listens (a node), dials every peer, and hands out what comes in. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, or the configuration contradicts itself; then nothing runs.
    pub async fn start(config: LinkConfig) -> Result<(Self, mpsc::Receiver<Inbound>), StartError> {
        config.timing.check()?;
        let (_, inbound) = mpsc::channel(1);
        Ok((Self {}, inbound))
    }

    /// The address listened on, with the port the system chose where 0 was asked for.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Queues a message and returns at once. A message to `me` is handed in locally.
    pub fn cast(&self, _to: &Endpoint, _topic: u8, _body: &[u8]) -> Sent {
        Sent::NoPath
    }

    /// Sends a message and waits for its answer, at most `within`. A call that finds no path or a full
    /// queue fails at once. Dropping the future forgets the call.
    ///
    /// # Errors
    /// See [`CallError`]: after `NoPath` and `Busy` the peer surely did not get it.
    pub async fn call(
        &self,
        _to: &Endpoint,
        _topic: u8,
        _body: &[u8],
        _within: Duration,
    ) -> Result<Vec<u8>, CallError> {
        Err(CallError::NoPath)
    }

    /// The age of what was last heard directly from an endpoint; `None` when nothing ever was.
    pub fn heard(&self, _endpoint: &Endpoint) -> Option<Duration> {
        None
    }

    /// The endpoints heard directly within `silence`. They need not hear us: see [`LinkView`] for that.
    pub fn hears(&self) -> BTreeSet<Endpoint> {
        BTreeSet::new()
    }

    /// All links at this moment.
    pub fn view(&self) -> LinkView {
        unreachable!("the links are not laid yet")
    }

    /// Says goodbye on every connection and ends every task, within two seconds. Calls that wait
    /// end with [`CallError::Stopped`]; the inbound channel closes. Calling it again does no harm.
    pub async fn stop(&self) {}
}
