//! Sockets to listen on.
//!
//! Every socket is bound to one address of this host, never to a wildcard: a reply to a datagram that came
//! to a wildcard socket would leave from whatever address routing prefers, and resolvers throw away answers
//! from an address they did not ask. A wildcard in the configuration stands for the addresses that the host
//! has when the listeners start; one that is added later needs a restart or is named explicitly.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};

/// Octets of datagrams the kernel may keep for each socket: at 100 octets of query with the kernel's own
/// overhead about 5,000 queries, which a thread answers within 20 ms.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Connections that wait to be accepted; the usual limit of the kernel. More are refused by it.
const BACKLOG: i32 = 4_096;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The host's addresses could not be read.
    #[error("the addresses of this host cannot be listed")]
    Interfaces(#[source] nix::Error),
    /// A wildcard on a host without addresses of that family.
    #[error("listen address {0} stands for no address of this host")]
    NoAddress(SocketAddr),
    /// Nothing was asked for.
    #[error("no listen address is given")]
    Nothing,
    /// The socket could not be bound.
    #[error(
        "cannot listen on {transport} {address}; is another server there, and may this process bind the port?"
    )]
    Bind {
        /// `udp` or `tcp`.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for {address}")]
    Thread {
        /// The address it was for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The addresses that `wanted` stands for, each once: wildcards become this host's addresses.
///
/// # Errors
/// When the host's addresses cannot be listed, or there are none where a wildcard wants some.
pub fn expand(wanted: &[SocketAddr]) -> Result<Vec<SocketAddr>, ListenError> {
    if wanted.is_empty() {
        return Err(ListenError::Nothing);
    }
    let mut expanded = BTreeSet::new();
    for address in wanted {
        if !address.ip().is_unspecified() {
            expanded.insert(*address);
            continue;
        }
        let found = of_host(address)?;
        if found.is_empty() {
            return Err(ListenError::NoAddress(*address));
        }
        expanded.extend(found);
    }
    Ok(expanded.into_iter().collect())
}

fn of_host(wildcard: &SocketAddr) -> Result<BTreeSet<SocketAddr>, ListenError> {
    let mut found = BTreeSet::new();
    for interface in nix::ifaddrs::getifaddrs().map_err(ListenError::Interfaces)? {
        let Some(address) = interface.address else { continue };
        if let (Some(v4), true) = (address.as_sockaddr_in(), wildcard.is_ipv4()) {
            found.insert(SocketAddr::new(IpAddr::V4(v4.ip()), wildcard.port()));
        }
        if let (Some(v6), true) = (address.as_sockaddr_in6(), wildcard.is_ipv6()) {
            found.insert(SocketAddrV6::new(v6.ip(), wildcard.port(), 0, v6.scope_id()).into());
        }
    }
    Ok(found)
}

/// A UDP socket that shares `address` with the other threads' sockets.
pub(crate) fn udp(address: SocketAddr) -> Result<Socket, ListenError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // A free port must be free of other sharers too, so it is shared only once it is ours.
        socket.set_reuse_port(address.port() != 0)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        widen(&socket)?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(true)?;
        Ok(socket)
    };
    open().map_err(|source| ListenError::Bind { transport: "udp", address, source })
}

/// Widens the receive buffer: beyond the host's limit where this process may, up to it otherwise.
fn widen(socket: &Socket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    Ok(())
}

/// A listening TCP socket.
pub(crate) fn tcp(address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier life in TIME_WAIT must not keep a restarted node from answering.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(std::net::TcpListener::from(socket))
    };
    open().map_err(|source| ListenError::Bind { transport: "tcp", address, source })
}
