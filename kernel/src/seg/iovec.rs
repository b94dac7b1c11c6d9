//! Messages in user memory, in one part or several.
use super::{SpaceLock, user};
use crate::chan::{Incoming, Piece, Stop};
use abi::{Errno, Slice};
use hw::frames::FrameRef;
use hw::paging::Page;
use vm::Access;
use zerocopy::IntoBytes;

/// Most parts of one message.
const PARTS: usize = 8;
/// Most bytes of one message.
const MESSAGE_MAX: u64 = 1 << 20;

/// Room for the parts of a message.
pub type Parts = [Slice; PARTS];

/// A message scattered over user memory, its addresses checked for range.
pub struct IoVec<'a> {
    parts: &'a [Slice],
    total: u64,
}

impl<'a> IoVec<'a> {
    /// Of these parts.
    ///
    /// # Errors
    /// `EFAULT` for addresses that are not a program's; `EMSGSIZE`.
    #[inline]
    pub fn new(parts: &'a [Slice]) -> Result<IoVec<'a>, Errno> {
        let mut total: u64 = 0;
        for part in parts {
            user::check(part.address, part.len)?;
            total = total.checked_add(part.len).ok_or(Errno::EMSGSIZE)?;
        }
        match total <= MESSAGE_MAX {
            true => Ok(IoVec { parts, total }),
            false => Err(Errno::EMSGSIZE),
        }
    }

    /// Of the `count` slices at `va`, which are put into `parts`.
    pub fn from_user(
        space: &SpaceLock,
        va: u64,
        count: u64,
        parts: &'a mut Parts,
    ) -> Result<IoVec<'a>, Errno> {
        if count > PARTS as u64 {
            return Err(Errno::E2BIG);
        }
        let parts = &mut parts[..count as usize];
        user::read(space, va, parts.as_mut_bytes())?;
        IoVec::new(parts)
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Calls `f(address, run, done)` for the parts of `[from, from + len)`.
    fn runs<E>(
        &self,
        from: u64,
        len: u64,
        mut f: impl FnMut(u64, usize, usize) -> Result<(), E>,
    ) -> Result<usize, E> {
        let (mut skip, mut done) = (from, 0);
        for part in self.parts {
            if done == len {
                break;
            }
            let passed = skip.min(part.len);
            skip -= passed;
            let run = (part.len - passed).min(len - done);
            if run > 0 {
                f(part.address + passed, run as usize, done as usize)?;
                done += run;
            }
        }
        Ok(done as usize)
    }

    /// Copies bytes from `from` on; how many there were.
    pub fn read(&self, space: &SpaceLock, from: u64, to: &mut [u8]) -> Result<usize, Errno> {
        self.runs(from, to.len() as u64, |va, run, done| {
            user::read(space, va, &mut to[done..done + run])
        })
    }

    /// The same into pieces of frames that nothing else refers to.
    pub fn read_to_pieces(
        &self,
        space: &SpaceLock,
        from: u64,
        pieces: &[Piece],
    ) -> Result<(), Errno> {
        let (mut at, mut filled) = (from, 0);
        user::waiting(space, Access::Load, || {
            // One look for all of them: nothing else runs before the next wait.
            let plain = user::Plain::of(space);
            while let Some(piece) = pieces.get(filled) {
                self.runs(at, piece.len as u64, |va, run, done| {
                    let to = (&piece.frame, piece.at + done);
                    match &plain {
                        Some(memory) => memory.copy_frame(Access::Load, va, to, run),
                        None => user::copy_frame(space, Access::Load, va, to, run),
                    }
                })?;
                at += piece.len as u64;
                filled += 1;
            }
            Ok(())
        })
    }
}

/// A message of the running process, for one that takes it without waiting.
pub struct Outgoing<'a> {
    /// The memory of the sending process.
    pub space: &'a SpaceLock,
    /// The ranges in it.
    pub message: &'a IoVec<'a>,
}

impl Incoming for Outgoing<'_> {
    fn len(&self) -> u64 {
        self.message.len()
    }

    fn copy(&self, from: u64, to: &mut [u8]) -> Result<usize, Stop> {
        self.message.runs(from, to.len() as u64, |va, run, done| {
            user::copy_in(self.space, va, &mut to[done..done + run])
        })
    }

    fn copy_to_frame(
        &self,
        from: u64,
        (frame, at): (&FrameRef, usize),
        len: usize,
    ) -> Result<(), Stop> {
        let copied = self.message.runs(from, len as u64, |va, run, done| {
            if frame.is_only() {
                return user::copy_frame(self.space, Access::Load, va, (frame, at + done), run);
            }
            let not_ready = |va| Err(Stop::NotReady(va));
            let copy = |page: Page<'_>, run, inner| page.copy_to((frame, at + done + inner), run);
            user::for_each_page(self.space, (va, run), Access::Load, not_ready, copy)
        });
        copied.map(drop)
    }
}
