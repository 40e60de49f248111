//! What a link set is made from, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{NodeId, ServerId};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, ServerConfig};

use crate::Endpoint;

/// Everything that [`crate::Links::start`] wants to know. All fields are fixed for its life.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// This process.
    pub me: Endpoint,
    /// Where a node listens for its peers. A guard listens to nobody and gives `None`.
    pub listen: Option<SocketAddr>,
    /// Every node and where to dial it. The entry of `me`, if there, is passed over.
    pub peers: BTreeMap<NodeId, SocketAddr>,
    /// Guards that may connect. A guard leaves it empty.
    pub guards: BTreeSet<ServerId>,
    /// Certificates, and how they name their holders.
    pub tls: LinkTls,
    /// Beats and deadlines.
    pub timing: LinkTiming,
}

/// Both ends of mutual TLS, ready made.
#[derive(Debug, Clone)]
pub struct LinkTls {
    /// For accepting. It must demand a client certificate: a connection without one is refused.
    pub server: Arc<ServerConfig>,
    /// For dialing. It must present this process's certificate.
    pub client: Arc<ClientConfig>,
    /// The endpoint that a verified leaf certificate names, or why it names none.
    pub name_peer: fn(&CertificateDer<'_>) -> Result<Endpoint, String>,
    /// The name that a node's certificate is verified for when it is dialed; usually [`node_server_name`].
    pub server_name: fn(&NodeId) -> Result<ServerName<'static>, InvalidDnsNameError>,
}

/// The node's id itself as a DNS name: right where certificates carry it as a subject alternative name.
pub fn node_server_name(node: &NodeId) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(node.as_str().to_owned())
}

/// The clockwork of a link. The defaults fit the `metro` profile: `silence` plus a beat is well under
/// `T_H − renew`, so a renewal finds its way around a cut before the lease runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTiming {
    /// Every connection carries a beat this often.
    pub beat: Duration,
    /// A direct link counts as up while something was heard on it within this time.
    pub silence: Duration,
    /// A connection that was silent this long is closed, and dialed anew by whoever dialed it.
    pub drop_after: Duration,
    /// A peer that is not connected is dialed this often.
    pub redial: Duration,
}

impl Default for LinkTiming {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(100),
            silence: Duration::from_millis(350),
            drop_after: Duration::from_secs(1),
            redial: Duration::from_millis(250),
        }
    }
}

impl LinkTiming {
    /// Refuses numbers with which no link would stay up.
    pub fn check(&self) -> Result<(), StartError> {
        let Self { beat, silence, drop_after, redial } = *self;
        if beat.is_zero() || redial.is_zero() {
            return Err(StartError::Timing("beat and redial must be longer than nothing".to_owned()));
        }
        if silence < 2 * beat {
            let why = format!("silence {silence:?} must be at least two beats of {beat:?}");
            return Err(StartError::Timing(why));
        }
        if drop_after < silence {
            let why = format!("drop-after {drop_after:?} must not be under silence {silence:?}");
            return Err(StartError::Timing(why));
        }
        Ok(())
    }
}

/// Why the links were not started. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The peer address could not be listened on.
    #[error("peer address {address} cannot be listened on; is another twofold running there?")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A guard was given an address, or a node none.
    #[error("{0}: a node listens on its peer address and a guard on none")]
    Role(Endpoint),
    /// A guard was given guards to accept.
    #[error("{0}: only a node accepts guards")]
    Guards(Endpoint),
    /// The clockwork cannot hold a link up.
    #[error("link timing: {0}")]
    Timing(String),
    /// A node's id cannot be made a TLS server name.
    #[error("node {0:?} cannot be made a tls server name")]
    ServerName(NodeId),
}
