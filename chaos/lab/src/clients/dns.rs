//! A DNS client as small as can be: one question, one server, one deadline, over UDP.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

use super::plan::NameServer;

/// The largest answer taken; the lab's answers have one address.
pub const DATAGRAM_BYTES_MAX: usize = PAYLOAD_MAX as usize;

/// The same, as it is said to the server.
const PAYLOAD_MAX: u16 = 1232;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The first address, if there is one.
    pub address: Option<Ipv4Addr>,
    /// Seconds it may be kept.
    pub ttl: u32,
    /// The response code.
    pub code: ResponseCode,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The name is no name.
    #[error("name {0:?} is not a domain name")]
    Name(String),
    /// Nothing came in time.
    #[error("DNS server {0} did not answer in time")]
    Timeout(String),
    /// The network said no.
    #[error("DNS server {server} cannot be asked")]
    Io {
        /// The server.
        server: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// The wire form of an A question; with the /24 of a client where a resolver asks for it (RFC 7871).
///
/// # Errors
/// [`DnsError::Name`].
pub fn question(id: u16, name: &str, subnet: Option<Ipv4Addr>) -> Result<Vec<u8>, DnsError> {
    let fault = || DnsError::Name(name.to_owned());
    let parsed = Name::from_str(name).map_err(|_| fault())?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(parsed, RecordType::A));
    if let Some(address) = subnet {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_MAX);
        edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(address.into(), 24, 0)));
        message.set_edns(edns);
    }
    message.to_vec().map_err(|_| fault())
}

/// Reads an answer and the id of its question; none for what is not an answer.
#[must_use]
pub fn read_answer(datagram: &[u8]) -> Option<(u16, Answer)> {
    let message = Message::from_vec(datagram).ok()?;
    if message.metadata.message_type != MessageType::Response {
        return None;
    }
    let first = message.answers.iter().find_map(|r| match &r.data {
        RData::A(a) => Some((a.0, r.ttl)),
        _ => None,
    });
    let answer = Answer {
        address: first.map(|(a, _)| a),
        ttl: first.map_or(0, |(_, ttl)| ttl),
        code: message.metadata.response_code,
    };
    Some((message.metadata.id, answer))
}

/// Asks one server for a name's address.
///
/// # Errors
/// [`DnsError`]. A negative answer is an answer.
pub async fn ask(
    server: &NameServer,
    name: &str,
    subnet: Option<Ipv4Addr>,
    deadline: Duration,
) -> Result<Answer, DnsError> {
    let id = rand::random();
    let packet = question(id, name, subnet)?;
    let exchange = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(SocketAddr::from((server.address, server.port))).await?;
        socket.send(&packet).await?;
        let mut buffer = [0u8; DATAGRAM_BYTES_MAX];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match read_answer(&buffer[..length]) {
                Some((answered, answer)) if answered == id => return Ok(answer),
                // A stray datagram is not ours; the deadline bounds this loop.
                _ => {}
            }
        }
    };
    match tokio::time::timeout(deadline, exchange).await {
        Err(_) => Err(DnsError::Timeout(server.name.clone())),
        Ok(Err(source)) => Err(DnsError::Io { server: server.name.clone(), source }),
        Ok(Ok(answer)) => Ok(answer),
    }
}
