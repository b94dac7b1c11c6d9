//! One message: a head of bytes and a body of pieces of frames.
//!
//! A message is one block of memory that has room for a small head, and some such
//! blocks are used again and again: most messages are small, few are under way at
//! once, and those need no heap.
use crate::sched::relief;
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hw::frames::{self, FrameRef};
use hw::heap::new_box;
use hw::lock::{Lock, Rank};

/// Longest head; longer messages have a body.
pub const HEAD_MAX: usize = 2048;
/// Longest head that needs no memory of its own.
pub const HEAD_SMALL: usize = 128;
/// Blocks that are used again and again, the kernel's own. Who takes all of them makes
/// others use the heap.
const SPARE: usize = 32;

/// Frames that are taken at a time: to charge for them costs as much as for one.
const GROUP: usize = 16;

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
pub struct Message(Box<Block>);

struct Block {
    small: [u8; HEAD_SMALL],
    /// Bytes of `small` that are the head.
    len: usize,
    /// The head, if it is not small.
    large: Vec<u8>,
    body: Vec<Piece>,
    /// Bytes already taken by short reads.
    taken: usize,
    /// It is one of the kernel's own.
    spare: bool,
}

/// The blocks that are not in use.
struct Spare {
    /// The first `len` are there.
    list: [Option<Box<Block>>; SPARE],
    len: usize,
    /// All, those in use included.
    made: usize,
}

static BLOCKS: Lock<Spare> = Lock::new(
    Rank::Messages,
    Spare {
        list: [const { None }; SPARE],
        len: 0,
        made: 0,
    },
);

impl Spare {
    #[inline]
    fn take(&mut self) -> Option<Box<Block>> {
        let last = self.len.wrapping_sub(1);
        let block = self.list.get_mut(last)?.take();
        self.len = last;
        block
    }

    /// Returns true if there may be one more block, which is counted.
    fn count_one(&mut self) -> bool {
        let more = self.made < SPARE;
        self.made += usize::from(more);
        more
    }

    fn give(&mut self, block: Box<Block>) {
        if let Some(place) = self.list.get_mut(self.len) {
            *place = Some(block);
            self.len += 1;
        }
    }
}

/// A block that is new to the spare ones, as long as there may be more, or else one
/// that the running process pays for.
#[cold]
fn new_block() -> Result<Box<Block>, Errno> {
    let block = |spare| Block {
        small: [0; HEAD_SMALL],
        len: 0,
        large: Vec::new(),
        body: Vec::new(),
        taken: 0,
        spare,
    };
    // Counted before it can be dropped.
    if BLOCKS.lock().count_one()
        && let Ok(new) = frames::for_all(|| new_box(block(true)))
    {
        return Ok(new);
    }
    Ok(new_box(block(false))?)
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.spare {
            BLOCKS.lock().made -= 1;
        }
    }
}

impl Message {
    /// One with a head of `len` bytes, all of which the caller sets.
    ///
    /// # Errors
    /// `ENOMEM`
    #[inline]
    pub fn new(len: usize) -> Result<Message, Errno> {
        let mut message = Message::small(len.min(HEAD_SMALL))?;
        if len > HEAD_SMALL {
            message.0.large = room(len)?;
            message.0.large.resize(len, 0);
        }
        Ok(message)
    }

    /// One with a small head: `len` is at most [`HEAD_SMALL`].
    ///
    /// # Errors
    /// `ENOMEM`
    #[inline(always)]
    pub fn small(len: usize) -> Result<Message, Errno> {
        let mut message = Message::empty()?;
        message.0.len = len;
        Ok(message)
    }

    #[inline(always)]
    fn empty() -> Result<Message, Errno> {
        let spare = BLOCKS.lock().take();
        match spare {
            Some(block) => Ok(Message(block)),
            None => new_block().map(Message),
        }
    }

    /// The message has been received: its memory serves another one. A message may
    /// be dropped as well.
    #[inline]
    pub fn done(mut self) {
        let block = &mut *self.0;
        if !block.spare {
            return;
        }
        (block.len, block.taken) = (0, 0);
        if block.large.capacity() > 0 || block.body.capacity() > 0 {
            block.large = Vec::new();
            let body = core::mem::take(&mut block.body);
            FrameRef::drop_all(body.into_iter().map(|piece| piece.frame));
        }
        BLOCKS.lock().give(self.0);
    }

    /// The first bytes.
    #[inline]
    pub fn head(&self) -> &[u8] {
        match self.0.small.get(..self.0.len) {
            Some(small) if self.0.large.is_empty() => small,
            _ => &self.0.large,
        }
    }

    /// The same, to be set.
    #[inline]
    pub fn head_mut(&mut self) -> &mut [u8] {
        let block = &mut *self.0;
        match block.small.get_mut(..block.len) {
            Some(small) if block.large.is_empty() => small,
            _ => &mut block.large,
        }
    }

    /// The head has only its first `len` bytes.
    pub fn shorten(&mut self, len: usize) {
        self.0.len = self.0.len.min(len);
        self.0.large.truncate(len);
    }

    /// The bytes after the head are those.
    pub fn set_body(&mut self, body: Vec<Piece>) {
        self.0.body = body;
    }

    /// Bytes not yet taken.
    #[inline]
    pub fn len(&self) -> usize {
        self.head().len() + self.0.body.iter().map(|p| p.len).sum::<usize>() - self.0.taken
    }

    /// Returns true if nothing of it was taken.
    pub fn is_whole(&self) -> bool {
        self.0.taken == 0
    }

    /// All of it, if that is its head.
    #[inline]
    pub fn as_head(&self) -> Option<&[u8]> {
        let only = self.0.body.is_empty() && self.is_whole();
        only.then(|| self.head())
    }

    /// The pieces after the head, if nothing was taken.
    #[inline]
    pub fn whole_body(&self) -> Option<&[Piece]> {
        let whole = self.is_whole() && !self.0.body.is_empty();
        whole.then_some(&self.0.body)
    }

    /// The same, taken out.
    pub fn take_body(&mut self) -> Vec<Piece> {
        core::mem::take(&mut self.0.body)
    }

    /// So many bytes more are taken.
    pub fn take(&mut self, len: usize) {
        self.0.taken += len;
    }

    /// The tag of a 9P message.
    pub fn tag(&self) -> Option<u16> {
        let tag = self.head().get(5..7)?.first_chunk()?;
        Some(u16::from_le_bytes(*tag))
    }

    /// Calls `sink` with runs of bytes, in order, from the first that was not taken on,
    /// `limit` bytes at most. `sink(offset, source)`.
    pub fn for_each<E>(
        &self,
        limit: usize,
        mut sink: impl FnMut(usize, Source<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let (mut skip, mut done) = (self.0.taken, 0);
        let head = self.head();
        let rest = &head[skip.min(head.len())..];
        let take = rest.len().min(limit);
        if take > 0 {
            sink(0, Source::Bytes(&rest[..take]))?;
            done = take;
        }
        skip = skip.saturating_sub(head.len());
        for piece in &self.0.body {
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

impl Source<'_> {
    /// Bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Source::Bytes(bytes) => bytes.len(),
            Source::Frame(_, _, len) => *len,
        }
    }
}

/// A vector with room for `n`, or `ENOMEM`.
pub fn room<T>(n: usize) -> Result<Vec<T>, Errno> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Errno::ENOMEM)?;
    Ok(v)
}

impl Piece {
    /// Physical address of the first byte.
    #[inline]
    pub fn pa(&self) -> u64 {
        self.frame.pa() + self.at as u64
    }

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

    /// New frames for `len` bytes, all full but the last; as [`Piece::alloc`].
    pub fn alloc_all(len: usize) -> Result<Vec<Piece>, Errno> {
        let page = abi::PAGE as usize;
        let count = len.div_ceil(page);
        let mut pieces = room(count)?;
        while pieces.len() < count {
            let group = (count - pieces.len()).min(GROUP);
            relief::again(|| {
                FrameRef::alloc_kernel_several(group as u32, |frame| {
                    let len = page.min(len - pieces.len() * page);
                    pieces.push(Piece { frame, at: 0, len });
                })
                .ok_or(Errno::ENOMEM)
            })?;
        }
        Ok(pieces)
    }
}
