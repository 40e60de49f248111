//! Cuts a stream of bytes into frames.
//!
//! `fill` reads what is there and is the only place that waits; `next` takes whole frames off. The
//! two are apart because bytes of a frame that is still coming also prove that the peer lives.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire::{Frame, LENGTH_BYTES, WireError, decode};

/// Bytes asked for at a time; also what a frame may make us hold before more of it has come.
const READ_BYTES: usize = 16 * 1024;
/// A buffer that grew beyond this for a large frame is given back, bytes.
const KEPT_BYTES: usize = 256 * 1024;

pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Where the next frame begins in it.
    start: usize,
    limit: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, limit }
    }

    /// From now on frames may be this long.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Waits for more bytes; 0 when the peer has closed. Cancelling it loses nothing.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// The next whole frame, if all of it is here.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, WireError> {
        let waiting = &self.buffer[self.start..];
        let Some((length, rest)) = waiting.split_at_checked(LENGTH_BYTES) else { return Ok(None) };
        let length: [u8; LENGTH_BYTES] = length.try_into().expect("split there");
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(WireError::Oversize(length, self.limit));
        }
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let frame = decode(bytes)?;
        self.start += LENGTH_BYTES + length;
        Ok(Some(frame))
    }

    /// Part of a frame is here.
    pub(crate) fn inside_frame(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode;

    fn bye(reason: &str) -> Frame {
        Frame::Bye { reason: reason.to_owned() }
    }

    async fn frames_of(bytes: &[u8], limit: usize) -> Result<Vec<Frame>, WireError> {
        let mut reader = FrameReader::new(bytes, limit);
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = reader.next()? {
                frames.push(frame);
            }
            if reader.fill().await.unwrap() == 0 {
                return Ok(frames);
            }
        }
    }

    #[tokio::test]
    async fn frames_are_cut_out_wherever_the_reads_end() {
        let bytes = [encode(&bye("one")), encode(&bye("two"))].concat();
        assert_eq!(frames_of(&bytes, 100).await.unwrap(), [bye("one"), bye("two")]);
        let (mut near, far) = tokio::io::duplex(1);
        let feed = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut near, &bytes).await.unwrap();
        });
        let mut reader = FrameReader::new(far, 100);
        let mut frames = Vec::new();
        while reader.fill().await.unwrap() > 0 {
            frames.extend(reader.next().unwrap());
        }
        feed.await.unwrap();
        assert_eq!(frames, [bye("one"), bye("two")]);
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let claimed = u32::MAX.to_be_bytes();
        assert_eq!(
            frames_of(&claimed, 512).await,
            Err(WireError::Oversize(usize::try_from(u32::MAX).unwrap(), 512))
        );
        assert!(matches!(frames_of(&[0, 0, 0, 0], 512).await, Err(WireError::Malformed(_))));
    }
}
