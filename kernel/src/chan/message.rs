//! One message: a head of bytes and a body of pieces of frames.
use crate::sched::relief;
use abi::Errno;
use alloc::vec::Vec;
use hw::frames::FrameRef;

/// Longest head; longer messages have a body.
pub const HEAD_MAX: usize = 2048;

/// Part of a frame.
pub struct Piece {
    /// Whose bytes.
    pub frame: FrameRef,
    /// First byte.
    pub at: usize,
    /// Bytes; `at + len` is within the frame.
    pub len: usize,
}

/// A message on its way.
#[derive(Default)]
pub struct Message {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The bytes after those.
    pub body: Vec<Piece>,
    /// Bytes already taken by short reads.
    pub taken: usize,
}

impl Message {
    /// One without a body.
    pub fn of(head: Vec<u8>) -> Message {
        Message {
            head,
            ..Message::default()
        }
    }

    /// Bytes not yet taken.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.iter().map(|p| p.len).sum::<usize>() - self.taken
    }

    /// The tag of a 9P message.
    pub fn tag(&self) -> Option<u16> {
        let tag = self.head.get(5..7)?.first_chunk()?;
        Some(u16::from_le_bytes(*tag))
    }

    /// Calls `sink` with runs of bytes, in order, from `taken` on, `limit`
    /// bytes at most. `sink(offset, source)`.
    pub fn for_each<E>(
        &self,
        limit: usize,
        mut sink: impl FnMut(usize, Source<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let (mut skip, mut done) = (self.taken, 0);
        let head = &self.head[skip.min(self.head.len())..];
        let take = head.len().min(limit);
        if take > 0 {
            sink(0, Source::Bytes(&head[..take]))?;
            done = take;
        }
        skip = skip.saturating_sub(self.head.len());
        for piece in &self.body {
            let passed = skip.min(piece.len);
            skip -= passed;
            let take = (piece.len - passed).min(limit - done);
            if take > 0 {
                sink(done, Source::Frame(&piece.frame, piece.at + passed, take))?;
                done += take;
            }
        }
        Ok(done)
    }
}

/// Where bytes of a message are.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// In the head.
    Bytes(&'a [u8]),
    /// In a frame: first byte, length.
    Frame(&'a FrameRef, usize, usize),
}

/// A vector with room for `n`, or `ENOMEM`.
pub fn room<T>(n: usize) -> Result<Vec<T>, Errno> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Errno::ENOMEM)?;
    Ok(v)
}

impl Piece {
    /// The same bytes, held once more.
    pub fn again(&self) -> Piece {
        Piece {
            frame: self.frame.again(),
            at: self.at,
            len: self.len,
        }
    }

    /// The first `len` bytes of a new frame; the caller overwrites them.
    /// Without a free frame, waits for others to give memory back.
    pub fn alloc(len: usize) -> Result<Piece, Errno> {
        let frame = relief::again(|| FrameRef::alloc_kernel().ok_or(Errno::ENOMEM))?;
        Ok(Piece { frame, at: 0, len })
    }
}
