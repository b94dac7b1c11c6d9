//! Frames by handles that own them.
//!
//! The guarantee that safe code has about frames is written down in
//! [`super::named`].

use core::mem::ManuallyDrop;

use vm::Frame;

use super::page::{self, Physical};
pub use super::payer::{Payer, Share, for_all};
use super::pool;
pub use super::pool::{
    accounts, brake, denied_lately, exhausted, free_count, free_kept, idle_count, poison,
    still_low, total,
};
use super::words::{self, Use};
use crate::user::UserFault;

/// A counted reference to a frame of data.
#[derive(Debug)]
pub struct FrameRef(Frame);

impl FrameRef {
    /// Another reference to a frame of data that is held.
    #[inline]
    pub(super) fn hold(frame: Frame) -> FrameRef {
        pool::retain(frame);
        FrameRef(frame)
    }

    /// An uninitialised frame for a message or the like, within the account's limit
    /// on kernel objects.
    pub fn alloc_kernel() -> Option<FrameRef> {
        let frame = pool::take_for_kernel(Use::Data)?;
        pool::emptied(frame);
        Some(FrameRef(frame))
    }

    /// That many such frames, all or none, each passed to `f`, which takes no others.
    #[inline]
    pub fn alloc_kernel_several(count: u32, mut f: impl FnMut(FrameRef)) -> Option<()> {
        pool::take_several_for_kernel(count, Use::Data, |frame| {
            pool::emptied(frame);
            f(FrameRef(frame));
        })
    }

    /// Returns true if nothing else refers to the frame: no program has it.
    #[inline]
    pub fn is_only(&self) -> bool {
        !words::is_shared(self.0)
    }

    /// Drops references; that costs less for many at once.
    pub fn drop_all(all: impl Iterator<Item = FrameRef>) {
        pool::release_all(all.map(|frame| ManuallyDrop::new(frame).0));
    }

    /// Another reference.
    pub fn again(&self) -> FrameRef {
        FrameRef::hold(self.0)
    }

    /// The frame's name.
    pub fn frame(&self) -> Frame {
        self.0
    }

    /// Physical address of the first byte, for a device. Its driver is trusted to let it
    /// write only what was lent, and only while it is.
    #[inline]
    pub fn pa(&self) -> u64 {
        self.0.pa()
    }

    /// Fills `to` from byte `at` on.
    #[inline]
    pub fn read(&self, at: usize, to: &mut [u8]) {
        page::copy_from(self.0, at, to);
    }

    /// Writes `from` at byte `at`. Panics if the frame cache names the frame.
    #[inline]
    pub fn write(&self, at: usize, from: &[u8]) {
        words::assert_uncached(self.0);
        page::copy_to(self.0, at, from);
    }
}

impl FrameRef {
    /// Fills `len` bytes from byte `at` on from user address `va`, as [`copy_in`](crate::user::copy_in)
    /// does. Panics if the frame cache names the frame.
    #[inline]
    pub fn copy_in(&self, at: usize, va: u64, len: usize) -> Result<(), UserFault> {
        words::assert_uncached(self.0);
        page::copy_in((self.0, at), va, len)
    }

    /// Copies `len` bytes from byte `at` on to user address `va`, as [`copy_out`](crate::user::copy_out)
    /// does. Panics if nobody has written them, where frames are poisoned.
    #[inline]
    pub fn copy_out(&self, at: usize, va: u64, len: usize) -> Result<(), UserFault> {
        pool::check_written(self.0, at.div_ceil(8)..(at + len) / 8);
        page::copy_out(va, (self.0, at), len)
    }
}

impl Drop for FrameRef {
    fn drop(&mut self) {
        pool::release(self.0);
    }
}

/// Consecutive frames that a program and a device write. Dropping them does not stop
/// the device: its driver, which is trusted, does that first.
#[derive(Debug)]
pub struct Run {
    first: Frame,
    pages: u32,
}

impl Run {
    /// That many frames of zeros, none of which is kept for a certain use now.
    pub fn new(pages: u32) -> Option<Run> {
        let first = pool::alloc_run(pages, Use::Shared)?;
        let run = Run { first, pages };
        run.frames().for_each(page::zero);
        Some(run)
    }

    fn frames(&self) -> impl Iterator<Item = Frame> + use<> {
        (self.first.0..self.first.0 + self.pages).map(Frame)
    }

    /// The frame of that page. Panics beyond the last.
    #[inline]
    pub fn frame(&self, page: u64) -> Frame {
        assert!(page < u64::from(self.pages), "no such page");
        Frame(self.first.0 + page as u32)
    }

    /// Physical address of the first byte.
    pub fn pa(&self) -> u64 {
        self.first.pa()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.frames().for_each(pool::release);
    }
}

/// Pages of a device's registers; none of them is memory. The driver that writes the
/// registers is trusted.
#[derive(Debug)]
pub struct Device {
    first: Frame,
    pages: u32,
}

impl Device {
    /// `pages` pages from a physical address on; `None` if the address is not a
    /// page's, or one of the pages is memory.
    pub fn new(pa: u64, pages: u64) -> Option<Device> {
        let first = u32::try_from(pa / abi::PAGE).ok()?;
        let pages = u32::try_from(pages).ok()?;
        let end = first.checked_add(pages)?;
        let device = pa.is_multiple_of(abi::PAGE) && !pool::any_memory(first..end);
        let first = Frame(first);
        device.then_some(Device { first, pages })
    }

    /// The frame of that page. Panics beyond the last.
    #[inline]
    pub(super) fn frame(&self, page: u64) -> Frame {
        assert!(page < u64::from(self.pages), "no such page");
        Frame(self.first.0 + page as u32)
    }

    /// Physical address of the first byte.
    pub fn pa(&self) -> u64 {
        self.first.pa()
    }
}
