//! One request a line, one reply a line, as JSON over a unix socket: how the lab's commands speak
//! to its hub and its supervisor.
//!
//! Both sides have deadlines; a server takes at most [`CONNECTIONS_MAX`] callers at a time and lets
//! the rest wait in the kernel's backlog.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Callers served at a time. The lab's commands, a demo and a person are a handful.
const CONNECTIONS_MAX: usize = 16;

/// Bytes of one line. A status of a whole lab is some 10 kB.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A caller that says nothing for so long is hung up on.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Why a request got no reply.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("control socket {socket:?} does not answer; is the lab up?")]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The line broke.
    #[error("control socket {socket:?} broke off; whether the request was done is unknown")]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The reply is no reply.
    #[error("control socket {socket:?} answered what is not a reply")]
    Reply {
        /// The socket.
        socket: PathBuf,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
}

/// Sends one request and waits for its reply, at most `deadline` for each of connect, write, read.
///
/// # Errors
/// [`ControlError::Connect`]: surely not done. The others: may have been done.
pub fn ask<Q: Serialize, R: DeserializeOwned>(
    socket: &Path,
    request: &Q,
    deadline: Duration,
) -> Result<R, ControlError> {
    let connect = |source| ControlError::Connect { socket: socket.to_path_buf(), source };
    let broken = |source| ControlError::Broken { socket: socket.to_path_buf(), source };
    let mut stream = UnixStream::connect(socket).map_err(connect)?;
    stream.set_read_timeout(Some(deadline)).map_err(connect)?;
    stream.set_write_timeout(Some(deadline)).map_err(connect)?;
    let mut line = serde_json::to_vec(request).expect("requests are plain data");
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    let mut reply = String::new();
    BufReader::new(stream).take(LINE_BYTES_MAX).read_line(&mut reply).map_err(broken)?;
    serde_json::from_str(&reply)
        .map_err(|source| ControlError::Reply { socket: socket.to_path_buf(), source })
}

/// What a server replies to a line that is no request.
#[derive(Debug, Serialize)]
struct Malformed {
    refused: String,
}

/// Serves requests for ever, each caller in a thread of its own. An old socket file is replaced.
///
/// # Errors
/// When the socket cannot be made, or accepting ends.
pub fn serve<Q, R, F>(socket: &Path, handler: F) -> std::io::Result<()>
where
    Q: DeserializeOwned,
    R: Serialize,
    F: Fn(Q) -> R + Send + Sync + 'static,
{
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    let handler = Arc::new(handler);
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = stream?;
        if busy.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            // Served inline: the caller is not refused, and the next ones wait in the backlog.
            converse(stream, handler.as_ref());
            busy.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (handler, busy) = (Arc::clone(&handler), Arc::clone(&busy));
        std::thread::spawn(move || {
            converse(stream, handler.as_ref());
            busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
    Ok(())
}

/// Answers one caller until it hangs up, is idle for too long, or breaks off.
fn converse<Q: DeserializeOwned, R: Serialize>(stream: UnixStream, handler: &impl Fn(Q) -> R) {
    let Ok(reading) = stream.try_clone() else { return };
    if stream.set_read_timeout(Some(IDLE_MAX)).is_err() || stream.set_write_timeout(Some(IDLE_MAX)).is_err() {
        return;
    }
    let mut reader = BufReader::new(reading);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        match reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let mut reply = match serde_json::from_str::<Q>(&line) {
            Ok(request) => serde_json::to_vec(&handler(request)),
            Err(e) => serde_json::to_vec(&Malformed { refused: format!("not a request: {e}") }),
        }
        .expect("replies are plain data");
        reply.push(b'\n');
        if writer.write_all(&reply).is_err() {
            return;
        }
    }
}
