//! The donor's side: gives a copy of this host's server to the guard of another server of the group.

use std::sync::Arc;
use std::time::Duration;

use app_cert::Kind;
use model::ServerId;
use replication_mysql::{Backup, CopyError, Deadline, Sending};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::super::host::Host;
use super::Copies;
use super::frames::{self, FRAME_MAX};
use crate::clock;
use crate::outage::Outage;

/// A whole copy; the recipient gives up at the same time.
pub const WHOLE: Duration = Duration::from_secs(3_000);
/// What begins or ends a copy, beside its bytes.
const SHORT: Duration = Duration::from_secs(10);
/// TLS with a caller.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Callers that are not known yet. One more is turned away; a guard comes back.
const STRANGERS_MAX: usize = 8;
/// Copies at once: the server reads all of its data for each.
const COPIES_MAX: usize = 1;
/// While the tool says nothing the other side hears this often that it is at work.
const ALIVE: Duration = Duration::from_secs(5);
/// After an address could not be listened on, or a connection not be accepted.
const AGAIN: Duration = Duration::from_secs(5);

/// Listens until the process ends. Does nothing where the flavour copies itself.
pub fn start(host: &Arc<Host>) {
    if host.copies.is_some() {
        tokio::spawn(listen(host.clone()));
    }
}

async fn listen(host: Arc<Host>) {
    let Some(copies) = &host.copies else { return };
    let (strangers, givers) = (Arc::new(Semaphore::new(STRANGERS_MAX)), Arc::new(Semaphore::new(COPIES_MAX)));
    let mut trouble = Outage::default();
    loop {
        let listener = match TcpListener::bind(copies.listen).await {
            Ok(listener) => listener,
            Err(error) => {
                if trouble.fails(clock::now()) {
                    warn!(%error, address = %copies.listen, "no copies can be given: the address cannot be listened on");
                }
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        trouble.works();
        loop {
            match listener.accept().await {
                Ok((tcp, from)) => {
                    let Ok(place) = strangers.clone().try_acquire_owned() else { continue };
                    let (host, givers) = (host.clone(), givers.clone());
                    tokio::spawn(async move {
                        match known(&host, tcp).await {
                            Ok((to, stream)) => {
                                drop(place);
                                give(&host, &to, stream, &givers).await;
                            }
                            Err(why) => warn!(%from, why, "a caller who asked for a copy was refused"),
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "a caller for a copy was not accepted");
                    tokio::time::sleep(AGAIN).await;
                    break;
                }
            }
        }
    }
}

/// Whose guard it is; its certificate was verified in the handshake.
async fn known(host: &Host, tcp: TcpStream) -> Result<(ServerId, TlsStream<TcpStream>), String> {
    let copies = host.copies.as_ref().ok_or("this server copies itself")?;
    let acceptor = TlsAcceptor::from(copies.server.clone());
    let stream = timeout(HANDSHAKE, acceptor.accept(tcp)).await;
    let stream = stream.map_err(|_| "its handshake did not end in time")?;
    let stream = stream.map_err(|error| app_cert::explain(&error))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let caller =
        app_cert::identity(certificate.ok_or("it has no certificate")?).map_err(|e| e.to_string())?;
    let of_the_group = |s: &ServerId| caller.kind == Kind::Guard && copies.donors.contains_key(s);
    let server = caller.name.parse().ok().filter(of_the_group);
    let server = server.ok_or_else(|| format!("{caller} guards no other server of this group"))?;
    Ok((server, stream))
}

async fn give(host: &Host, to: &ServerId, mut stream: TlsStream<TcpStream>, givers: &Semaphore) {
    let Some(copies) = &host.copies else { return };
    let Ok(_place) = givers.try_acquire() else {
        // It comes back; if it does not hear this, it hears the end.
        let _ = frames::failed(&mut stream, "another copy is being taken from this server").await;
        return;
    };
    info!(%to, "a copy of this server is given");
    let given = timeout(WHOLE, send(host, copies, &mut stream)).await;
    let why = match given.unwrap_or(Err(CopyError::Timeout { doing: "give the copy" }.into())) {
        Ok(bytes) => return info!(%to, bytes, "the copy is given"),
        Err(error) => error,
    };
    let why = format!("{why:#}");
    warn!(%to, why, "the copy is not given");
    // Who is gone does not hear it.
    let _ = frames::failed(&mut stream, &why).await;
}

async fn send(host: &Host, copies: &Copies, stream: &mut TlsStream<TcpStream>) -> anyhow::Result<u64> {
    let backup = Backup {
        admin: host.admin(),
        data_dir: host.files.data_dir.clone(),
        program: copies.tools.backup.clone(),
        folder: copies.folder.clone(),
    };
    let mut sending = Sending::start(&backup, Deadline::after(SHORT)).await?;
    frames::begin(stream, sending.expected()).await?;
    let mut buffer = vec![0; FRAME_MAX];
    let mut bytes = 0;
    loop {
        match timeout(ALIVE, sending.next(&mut buffer)).await {
            Err(_) => frames::alive(stream).await?,
            Ok(Ok(0)) => break,
            Ok(read) => {
                let count = read?;
                frames::bytes(stream, &buffer[..count]).await?;
                bytes += count as u64;
            }
        }
    }
    let states = sending.end(Deadline::after(SHORT)).await?;
    frames::end(stream, states).await?;
    Ok(bytes)
}
