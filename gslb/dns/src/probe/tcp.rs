//! The TCP check: the port takes connections.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects and closes.
pub(super) async fn probe(address: SocketAddr) -> Result<(), String> {
    match TcpStream::connect(address).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("connect: {error}")),
    }
}
