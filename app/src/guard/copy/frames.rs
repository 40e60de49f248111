//! What two guards say to each other while one copies the other's server.
//!
//! A frame is its kind in a byte, the length of what follows in four (big endian), and that. The donor alone speaks.

use std::io;
use std::time::Duration;

use model::{GtidSet, ServerUuid};
use replication_mysql::DonorStates;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Most bytes of a frame. It is what either side holds of a copy in its memory.
pub const FRAME_MAX: usize = 64 << 10;
/// The other side takes or gives something within this, or the copy is given up: the donor says every few seconds
/// that it is at work.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

const BEGIN: u8 = 1;
const BYTES: u8 = 2;
const ALIVE: u8 = 3;
const END: u8 = 4;
const FAILED: u8 = 5;

/// What was said. The bytes of the copy are left in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// The copy begins; so many bytes are expected.
    Begin { expected: u64 },
    /// The next bytes of it.
    Bytes,
    /// It goes on.
    Alive,
    /// It is whole.
    End(DonorStates),
    /// It is none, and why.
    Failed(String),
}

/// [`DonorStates`] on the wire.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct States {
    donor: ServerUuid,
    before: GtidSet,
    after: GtidSet,
}

/// Says that a copy begins.
pub async fn begin(to: &mut (impl AsyncWrite + Unpin), expected: u64) -> io::Result<()> {
    say(to, BEGIN, &expected.to_be_bytes()).await
}

/// Says the next bytes.
pub async fn bytes(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    say(to, BYTES, bytes).await
}

/// Says that it goes on.
pub async fn alive(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    say(to, ALIVE, &[]).await
}

/// Says that the copy is whole.
pub async fn end(to: &mut (impl AsyncWrite + Unpin), states: DonorStates) -> io::Result<()> {
    let DonorStates { donor, before, after } = states;
    let states = serde_json::to_vec(&States { donor, before, after })?;
    say(to, END, &states).await
}

/// Says that there is no copy.
pub async fn failed(to: &mut (impl AsyncWrite + Unpin), why: &str) -> io::Result<()> {
    let end = why.floor_char_boundary(FRAME_MAX);
    say(to, FAILED, &why.as_bytes()[..end]).await
}

async fn say(to: &mut (impl AsyncWrite + Unpin), kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame is too long"))?;
    let said = async {
        let mut head = [kind, 0, 0, 0, 0];
        head[1..].copy_from_slice(&length.to_be_bytes());
        to.write_all(&head).await?;
        to.write_all(body).await?;
        to.flush().await
    };
    timeout(SILENCE_MAX, said).await.unwrap_or_else(|_| Err(silent("takes nothing")))
}

/// Hears one frame; its body is left in `into`.
pub async fn hear(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> io::Result<Said> {
    let heard = async {
        let mut head = [0; 5];
        from.read_exact(&mut head).await?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_MAX {
            return Err(wrong("a frame is too long"));
        }
        into.resize(length, 0);
        from.read_exact(into).await?;
        Ok(kind)
    };
    let kind = timeout(SILENCE_MAX, heard).await.unwrap_or_else(|_| Err(silent("says nothing")))?;
    match kind {
        BEGIN => {
            let expected = into.as_slice().try_into().map_err(|_| wrong("a number has eight bytes"))?;
            Ok(Said::Begin { expected: u64::from_be_bytes(expected) })
        }
        BYTES => Ok(Said::Bytes),
        ALIVE => Ok(Said::Alive),
        END => {
            let States { donor, before, after } = serde_json::from_slice(into)?;
            Ok(Said::End(DonorStates { donor, before, after }))
        }
        FAILED => Ok(Said::Failed(String::from_utf8_lossy(into).into_owned())),
        other => Err(wrong(&format!("frames of kind {other} are not known"))),
    }
}

fn silent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the other guard {what} for {SILENCE_MAX:?}"))
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_is_heard_in_order() {
        let states = DonorStates {
            donor: "00000000-6d61-80db-8000-000000000002".parse().unwrap(),
            before: "00000000-6d61-80db-8000-000000000002:1-5".parse().unwrap(),
            after: "00000000-6d61-80db-8000-000000000002:1-9".parse().unwrap(),
        };
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        begin(&mut near, 7).await.unwrap();
        bytes(&mut near, b"abc").await.unwrap();
        alive(&mut near).await.unwrap();
        end(&mut near, states.clone()).await.unwrap();
        failed(&mut near, &"ü".repeat(FRAME_MAX)).await.unwrap();
        drop(near);
        let mut body = Vec::new();
        assert_eq!(hear(&mut far, &mut body).await.unwrap(), Said::Begin { expected: 7 });
        assert_eq!(hear(&mut far, &mut body).await.unwrap(), Said::Bytes);
        assert_eq!(body, b"abc");
        assert_eq!(hear(&mut far, &mut body).await.unwrap(), Said::Alive);
        assert_eq!(hear(&mut far, &mut body).await.unwrap(), Said::End(states));
        let Said::Failed(why) = hear(&mut far, &mut body).await.unwrap() else { panic!("not told") };
        assert!(why.len() <= FRAME_MAX && why.ends_with('ü'));
        assert_eq!(hear(&mut far, &mut body).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error_and_takes_no_memory() {
        for wrong in [
            &[9_u8, 0, 0, 0, 0][..],
            &[2, 255, 255, 255, 255],
            &[1, 0, 0, 0, 1, 0],
            &[4, 0, 0, 0, 2, b'{', b'}'],
        ] {
            let mut body = Vec::new();
            assert!(hear(&mut &*wrong, &mut body).await.is_err(), "{wrong:?}");
            assert!(body.capacity() <= FRAME_MAX);
        }
        let mut to = Vec::new();
        assert!(bytes(&mut to, &vec![0; FRAME_MAX + 1]).await.is_err());
    }
}
