//! The interface to the lower server, and the answers to clients.

use crate::lent::LentBytes;
use abi::Errno;
use alloc::vec::Vec;
use core::future::Future;
use core::ops::Range;
use ninep::Request;

/// A plain 9P2000.L server to stand on: QEMU's export, diod, a file system in
/// memory. Version negotiation is already done; fids are snapfs's to choose,
/// tags are the backing's.
///
/// Requests are submitted when their future is first polled, in that order,
/// and may complete in any order. A future is polled to its end unless the
/// whole executor is dropped.
pub trait Backing {
    /// Bytes that came from below, kept where they arrived.
    type Buf: AsRef<[u8]>;

    /// One exchange other than `Tread` and `Twrite`. The buffer is the whole
    /// reply message, `size[4]` first. An `Rlerror` may come as a reply or as
    /// `Err`; a transport that broke is `Err`.
    fn rpc(&self, request: &Request<'_>) -> impl Future<Output = Result<Self::Buf, Errno>>;

    /// `Tread`. The buffer is the data alone, at most `count` bytes; it is
    /// handed to the client as it is. `count` is at most [`Backing::iounit`].
    fn read(
        &self,
        fid: u32,
        off: u64,
        count: u32,
    ) -> impl Future<Output = Result<Self::Buf, Errno>>;

    /// `Twrite` of at most [`Backing::iounit`] bytes; bytes written, at most
    /// `data.len()`.
    fn write(&self, fid: u32, off: u64, data: &[u8]) -> impl Future<Output = Result<u32, Errno>>;

    /// A `Twrite` that was submitted.
    type Write<'a>: Future<Output = Result<u32, Errno>> + Unpin
    where
        Self: 'a;

    /// Submits a `Twrite` as [`Backing::write`] does, without waiting; `None`:
    /// there is no memory for it now.
    fn write_now(&self, fid: u32, off: u64, data: &[u8]) -> Option<Self::Write<'_>>;

    /// Submits a `Twrite` of the bytes of a buffer, from the memory they are in if
    /// that is possible, without waiting.
    ///
    /// # Errors
    /// The buffer: it cannot be submitted now.
    fn write_back(&self, fid: u32, off: u64, buf: Self::Buf) -> Result<Self::Write<'_>, Self::Buf> {
        match self.write_now(fid, off, buf.as_ref()) {
            Some(write) => Ok(write),
            None => Err(buf),
        }
    }

    /// Submits a `Twrite` of lent bytes, at most [`Backing::iounit`], without waiting;
    /// `None`: not now, or not by this backing.
    fn write_lent(&self, _fid: u32, _off: u64, _data: LentBytes<'_>) -> Option<Self::Write<'_>> {
        None
    }

    /// A copy of lent bytes.
    ///
    /// # Errors
    /// `EIO`: they are not lent any more, or this backing cannot.
    fn copy_lent(&self, _data: LentBytes<'_>) -> Result<Vec<u8>, Errno> {
        Err(Errno::EIO)
    }

    /// Most data bytes in one read or write.
    fn iounit(&self) -> u32;

    /// Seconds since 1970, by a clock that is not ahead of the lower server's by more than a
    /// few seconds; `None`: there is none.
    fn now_s(&self) -> Option<u64> {
        None
    }
}

/// A client's connection, numbered by the owner of the transport. A number
/// may be used again after [`crate::Snapfs::hangup`] has returned.
pub type ConnId = u32;

/// A reply: `head`, then `payload`. Together they are one 9P message.
pub struct Answer<B> {
    /// Size field included; all of the message but the payload.
    pub head: Head,
    /// The data after the head.
    pub payload: Payload<B>,
}

/// The part of an [`Answer`] that is handed on without being copied.
pub enum Payload<B> {
    /// None.
    None,
    /// A part of a buffer from below.
    Buf(B, Range<usize>),
    /// Bytes put together here.
    Bytes(Vec<u8>),
    /// That many bytes, which are where the client wants them: the message ends with the
    /// head.
    There(usize),
}

impl<B: AsRef<[u8]>> Payload<B> {
    /// Bytes of data.
    #[expect(clippy::len_without_is_empty, reason = "only the size field needs it")]
    pub fn len(&self) -> usize {
        match self {
            Payload::There(len) => *len,
            _ => self.as_slice().len(),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Payload::None | Payload::There(_) => &[],
            Payload::Buf(buf, range) => buf.as_ref().get(range.clone()).unwrap_or(&[]),
            Payload::Bytes(bytes) => bytes,
        }
    }
}

impl<B: AsRef<[u8]>> Answer<B> {
    /// The whole message in one piece, for transports that cannot gather.
    pub fn to_vec(&self) -> Vec<u8> {
        [self.head.as_slice(), self.payload.as_slice()].concat()
    }
}

/// Bytes in a [`Head`] that need no allocation: all of an `Rput` or `Rsnap` that
/// lists one change.
const INLINE: usize = 64;

/// The first bytes of a reply; short ones live in place.
pub struct Head {
    inline: [u8; INLINE],
    len: u8,
    spilled: Vec<u8>,
}

impl Head {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.spilled.is_empty() {
            self.inline.get(..usize::from(self.len)).unwrap_or(&[])
        } else {
            &self.spilled
        }
    }

    /// A head that `fill` writes, saying how many bytes it wrote; `None` if it
    /// does not fit in place.
    #[inline]
    pub(crate) fn inline(fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Head> {
        let mut head = Head {
            inline: [0; INLINE],
            len: 0,
            spilled: Vec::new(),
        };
        head.len = fill(&mut head.inline)? as u8;
        Some(head)
    }

    /// A head of any size.
    pub(crate) fn spilled(bytes: Vec<u8>) -> Head {
        Head {
            inline: [0; INLINE],
            len: 0,
            spilled: bytes,
        }
    }
}
