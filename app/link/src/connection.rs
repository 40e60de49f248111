//! One connection: the hello by which both ends say who they are and whom they mean, then a reader
//! and a writer of its own until either ends.
//!
//! The reader never waits for anything but the network, and the writer alone waits for the peer to
//! take bytes; so a peer that hangs holds up nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsStream;

use crate::Endpoint;
use crate::frames::FrameReader;
use crate::outbox::{Outgoing, outbox};
use crate::refusal::{Problem, Refusal};
use crate::shared::Shared;
use crate::table::{ConnectionId, Side};
use crate::wire::{FRAME_MAX, Frame, HELLO_MAX, encode};

/// A whole frame must have come, or one write have been taken, within this: the largest frame at
/// 8 Mbit/s. An authenticated peer that is slower than that is of no use to the protocol.
const FRAME_DEADLINE: Duration = Duration::from_secs(8);
/// How long a goodbye may take. It is a courtesy.
const BYE_DEADLINE: Duration = Duration::from_millis(250);
/// Frames that wait are written together up to about this many bytes, one TLS record's worth or two.
const BATCH_BYTES: usize = 32 * 1024;
/// Frames taken in before others get a turn: whoever empties the inbound queue must come to run while
/// a burst is read, or a burst that it could keep up with would overflow it.
const FRAMES_PER_TURN: u32 = 64;
/// News are told at most this many times in a beat, so that a flapping link does not flood the rest.
const NEWS_PER_BEAT: u32 = 10;

/// A connection whose ends know each other.
pub(crate) struct Opened {
    pub(crate) peer: Endpoint,
    side: Side,
    reader: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

/// Why a connection ended.
struct End {
    why: Problem,
    silent: bool,
}

/// Options of every connection.
pub(crate) fn prepare(tcp: &TcpStream, drop_after: Duration) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    // tcp(7): what is not acknowledged for so long breaks the connection, also after we closed it.
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(drop_after))
}

/// The endpoint that the other end's certificate names.
fn certified(shared: &Shared, stream: &TlsStream<TcpStream>) -> Result<Endpoint, Problem> {
    let chain: &[CertificateDer<'_>] = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(leaf) = chain.first() else {
        return Err(Problem::refused(Refusal::Certificate, "it presented no certificate"));
    };
    (shared.tls.name_peer)(leaf)
        .map_err(|why| Problem::refused(Refusal::Certificate, format!("its certificate names nobody: {why}")))
}

/// The dialing side's hello: ours first, then theirs, which must be the node that we dialed.
pub(crate) async fn greet(
    shared: &Shared,
    stream: TlsStream<TcpStream>,
    dialed: &Endpoint,
) -> Result<Opened, Problem> {
    let peer = certified(shared, &stream)?;
    if peer != *dialed {
        let why = format!("{dialed} was dialed but the certificate there names {peer}");
        return Err(Problem::refused(Refusal::Misdirected, why));
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reader, HELLO_MAX);
    say(&mut writer, &Frame::Hello { from: shared.me.clone(), to: dialed.clone() }).await?;
    match first_frame(&mut reader).await? {
        Frame::Hello { from, to } if from == peer && to == shared.me => {
            reader.set_limit(FRAME_MAX);
            Ok(Opened { peer, side: Side::Dialed, reader, writer })
        }
        Frame::Bye { reason } => Err(Problem::plain(format!("refused by the peer: {reason}"))),
        _ => Err(Problem::refused(Refusal::Garbage, "it did not answer the hello with one")),
    }
}

/// The accepting side's hello: theirs first, and ours only to a peer of the roster who means us.
pub(crate) async fn welcome(shared: &Shared, stream: TlsStream<TcpStream>) -> Result<Opened, Problem> {
    let certified = certified(shared, &stream);
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reader, HELLO_MAX);
    let checked = match certified {
        Ok(peer) => match first_frame(&mut reader).await {
            Ok(frame) => check_hello(shared, &peer, &frame).map(|()| peer),
            Err(problem) => Err(problem),
        },
        Err(problem) => Err(problem),
    };
    match checked {
        Ok(peer) => {
            say(&mut writer, &Frame::Hello { from: shared.me.clone(), to: peer.clone() }).await?;
            reader.set_limit(FRAME_MAX);
            Ok(Opened { peer, side: Side::Accepted, reader, writer })
        }
        Err(problem) => {
            // So that the other end's log says why, too.
            bye(&mut writer, &problem.why).await;
            Err(problem)
        }
    }
}

fn check_hello(shared: &Shared, peer: &Endpoint, frame: &Frame) -> Result<(), Problem> {
    let Frame::Hello { from, to } = frame else {
        return Err(Problem::refused(Refusal::Garbage, "its first frame is no hello"));
    };
    if from != peer {
        let why = format!("it says it is {from} but its certificate names {peer}");
        return Err(Problem::refused(Refusal::Misdirected, why));
    }
    if *to != shared.me {
        let why = format!("{peer} meant {to} but reached {}; compare the peer addresses", shared.me);
        return Err(Problem::refused(Refusal::Misdirected, why));
    }
    if !shared.state().table.holds(peer) {
        let why = format!("{peer} is not in the roster of {}; compare the configurations", shared.me);
        return Err(Problem::refused(Refusal::Unknown, why));
    }
    Ok(())
}

async fn first_frame(reader: &mut FrameReader<ReadHalf<TlsStream<TcpStream>>>) -> Result<Frame, Problem> {
    loop {
        if let Some(frame) = reader.next()? {
            return Ok(frame);
        }
        if reader.fill().await? == 0 {
            return Err(Problem::plain("it closed before its hello"));
        }
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> std::io::Result<()> {
    writer.write_all(&encode(frame)).await?;
    writer.flush().await
}

/// Says why and closes, as far as the peer takes it in time.
async fn bye(writer: &mut (impl AsyncWrite + Unpin), why: &str) {
    let goodbye = async {
        say(writer, &Frame::Bye { reason: why.to_owned() }).await?;
        writer.shutdown().await
    };
    // A peer that is gone is told nothing, and it does not matter.
    let _ = timeout(BYE_DEADLINE, goodbye).await;
}

/// Carries messages until the connection ends or the links are stopped. Returns why it ended.
pub(crate) async fn carry(shared: &Arc<Shared>, opened: Opened) -> Problem {
    let Opened { peer, side, reader, writer } = opened;
    let (outbox, outgoing) = outbox();
    let id = shared.join(&peer, side, outbox);
    let (farewell, goodbye) = oneshot::channel();
    let mut reading = JoinSet::new();
    let mut writing = JoinSet::new();
    reading.spawn(read(shared.clone(), peer.clone(), id, reader));
    writing.spawn(write(shared.clone(), peer.clone(), id, writer, outgoing, goodbye));

    let end = tokio::select! {
        end = reading.join_next() => ended(end),
        end = writing.join_next() => ended(end),
        () = shared.stopped() => End { why: Problem::plain("stopping"), silent: false },
    };
    // The goodbye is ordered before the table lets go of the outbox: a writer whose outbox is gone
    // believes that a newer connection took its place.
    let told = !end.silent && farewell.send(end.why.why.clone()).is_ok();
    shared.leave(&peer, id, &end.why, end.silent);
    shared.refuse(&peer.to_string(), &end.why);
    if told {
        // Whatever it writes, or does not, it is over afterwards.
        let _ = timeout(2 * BYE_DEADLINE, writing.join_next()).await;
    }
    writing.shutdown().await;
    reading.shutdown().await;
    end.why
}

fn ended(end: Option<Result<End, tokio::task::JoinError>>) -> End {
    match end {
        Some(Ok(end)) => end,
        Some(Err(error)) => End { why: Problem::plain(format!("its task failed: {error}")), silent: false },
        None => End { why: Problem::plain("its task is gone"), silent: false },
    }
}

async fn read(
    shared: Arc<Shared>,
    peer: Endpoint,
    id: ConnectionId,
    mut reader: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
) -> End {
    let drop_after = shared.timing.drop_after;
    let mut frame_began: Option<Instant> = None;
    let mut taken = 0u32;
    loop {
        // Frames that came together with the hello are taken before anything is waited for.
        loop {
            match reader.next().map_err(Problem::from) {
                Ok(Some(frame)) => {
                    frame_began = None;
                    if let Err(why) = shared.receive(&peer, id, frame) {
                        return End { why, silent: false };
                    }
                    taken = taken.wrapping_add(1);
                    if taken.is_multiple_of(FRAMES_PER_TURN) {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(None) => break,
                Err(why) => return End { why, silent: false },
            }
        }
        if reader.inside_frame() && frame_began.get_or_insert_with(Instant::now).elapsed() > FRAME_DEADLINE {
            let why = Problem::refused(Refusal::Slow, "a frame did not come whole in time");
            return End { why, silent: false };
        }
        match timeout(drop_after, reader.fill()).await {
            Ok(Ok(0)) => return End { why: Problem::plain("the peer closed"), silent: false },
            Ok(Ok(_)) => shared.state().table.heard_on(&peer, id, Instant::now()),
            Ok(Err(error)) => return End { why: error.into(), silent: false },
            Err(_) => {
                let why = Problem::plain(format!("nothing was heard for {drop_after:?}"));
                return End { why, silent: true };
            }
        }
    }
}

async fn write(
    shared: Arc<Shared>,
    peer: Endpoint,
    id: ConnectionId,
    mut writer: WriteHalf<TlsStream<TcpStream>>,
    mut outgoing: Outgoing,
    mut goodbye: oneshot::Receiver<String>,
) -> End {
    let beat = shared.timing.beat;
    let mut news = shared.news.subscribe();
    let mut last_beat = tokio::time::Instant::now();
    let mut next_beat = last_beat;
    loop {
        let batch = tokio::select! {
            biased;
            why = &mut goodbye => {
                // The sender is dropped only together with this task.
                bye(&mut writer, why.as_deref().unwrap_or("closing")).await;
                return End { why: Problem::plain("closed"), silent: false };
            }
            () = sleep_until(next_beat) => {
                let Some(told) = shared.state().table.beat_for(&peer, id, Instant::now()) else {
                    return pushed_out(&mut writer, &mut goodbye).await;
                };
                last_beat = tokio::time::Instant::now();
                next_beat = last_beat + beat;
                encode(&Frame::Beat(told))
            }
            // The sender lives in shared.
            _ = news.changed() => {
                next_beat = next_beat.min(last_beat + beat / NEWS_PER_BEAT);
                continue;
            }
            frame = outgoing.next() => {
                let Some(mut batch) = frame else { return pushed_out(&mut writer, &mut goodbye).await };
                while batch.len() < BATCH_BYTES && let Some(frame) = outgoing.waiting() {
                    batch.extend_from_slice(&frame);
                }
                batch
            }
        };
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        match timeout(FRAME_DEADLINE, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End { why: error.into(), silent: false },
            Err(_) => return End { why: Problem::plain("the peer takes no bytes"), silent: true },
        }
    }
}

/// The table let go of this connection: because it ended, and then the goodbye was ordered before that,
/// or because there are newer ones, or because the peer left the roster.
async fn pushed_out(writer: &mut (impl AsyncWrite + Unpin), goodbye: &mut oneshot::Receiver<String>) -> End {
    let why = goodbye.try_recv().unwrap_or_else(|_| {
        "it was let go: a newer connection took its place, or the roster changed".to_owned()
    });
    bye(writer, &why).await;
    End { why: Problem::plain(why), silent: false }
}
