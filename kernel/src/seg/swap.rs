//! The swap server as the VM core sees it, and page-outs that a program asks for.
use super::host::Operation;
use super::view::View;
use super::{Content, Residence, SpaceLock, spaces, user};
use crate::client::swap;
use crate::sched::{self, patiently, relief};
use abi::{Errno, PAGE};
use core::ops::Range;
use hw::frames::FrameRef;
use hw::named;
use vm::{Frame, PageState, Pager, Swap, SwapId};

/// The frames of a request, by their index.
fn of(frames: &[Frame]) -> impl Fn(u64) -> FrameRef + '_ {
    |at| named::hold(frames[at as usize])
}

/// For a process that is in a fault or a system call, or finds memory for one.
macro_rules! swap_at_server {
    ($host:ty) => {
        impl Swap for $host {
            fn new_swap(&mut self) -> Result<SwapId, Errno> {
                patiently(|| swap::new_file())
            }

            fn retain_swap(&mut self, file: SwapId) {
                swap::retain(file);
            }

            fn release_swap(&mut self, file: SwapId) {
                swap::release(file);
            }

            fn swap_holders(&self, file: SwapId) -> u32 {
                swap::holders(file)
            }

            fn swap_out(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
                patiently(|| swap::write(file, page, frames.len() as u64, of(frames)))
            }

            fn swap_in(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
                patiently(|| swap::read(file, page, frames.len() as u64, of(frames)))
            }

            fn discard_swap(&mut self, file: SwapId, pages: &[Range<u64>]) -> Result<(), Errno> {
                patiently(|| swap::discard(file, pages))
            }

            fn discard_worth(&self) -> u64 {
                swap::discard_worth()
            }
        }
    };
}

swap_at_server!(Operation<'_>);
swap_at_server!(PageOut);

/// Pages searched for changed ones before others may run.
const LOOKS: u64 = 256;

/// Moves the changed pages of a range of the running process's memory to swap; how
/// many.
///
/// # Errors
/// `EFAULT`: there is no memory. `EBUSY`: that of a file server stays. `ENOSPC`: swap
/// is full or absent; `ENOMEM`, `EINTR`, and the swap server's.
pub fn page_out(space: &SpaceLock, va: u64, len: u64) -> Result<u64, Errno> {
    user::check(va, len)?;
    let (mut at, end, mut moved) = (va, va + len, 0);
    while at < end {
        let (segment, base, stop) = {
            let space = space.lock();
            if space.residence != Residence::Pageable {
                return Err(Errno::EBUSY);
            }
            let segment = space.find(at).ok_or(Errno::EFAULT)?;
            (segment.id, segment.base, segment.end().min(end))
        };
        let pages = (at - base) / PAGE..(stop - base).div_ceil(PAGE);
        let number = space.lock().number;
        moved += PageOut::new(number, segment).all(pages)?;
        at = stop;
    }
    Ok(moved)
}

/// Makes pages of a segment leave memory, which may be another process's and be gone
/// when an answer arrives.
pub struct PageOut {
    space: spaces::Number,
    segment: u64,
}

impl PageOut {
    /// Of the segment with that id, in that space.
    pub fn new(space: spaces::Number, segment: u64) -> PageOut {
        PageOut { space, segment }
    }

    /// Calls `f` with the segment; `None` if it is gone.
    pub fn look<R>(&mut self, f: impl FnOnce(&mut vm::Segment, &mut View) -> R) -> Option<R> {
        let segment = self.segment;
        let result = spaces::with(self.space, |space| {
            let mut space = space.lock();
            let (view, segment) = space.by_id(segment)?;
            match &mut segment.content {
                Content::Virtual(content) => Some(f(content, view)),
                Content::Device(_) | Content::Dma(_) | Content::Shared(_) => None,
            }
        });
        result.flatten()
    }

    /// Moves all changed pages in `pages`; how many.
    fn all(&mut self, mut pages: Range<u64>) -> Result<u64, Errno> {
        let (mut moved, mut looks, mut counted) = (0, 0, false);
        let next = |pages: Range<u64>| {
            move |content: &mut vm::Segment, view: &mut View| content.next_populated(view, pages)
        };
        while let Some((page, state)) = self.with(next(pages.clone())).flatten() {
            pages.start = page + 1;
            looks += 1;
            if matches!(state, PageState::Dirty(_)) {
                // What is in swap changes when pages move, and when others run.
                if !counted {
                    relief::count_in_swap();
                    counted = true;
                }
                if !relief::may_swap(sched::current_slot()) {
                    return Err(Errno::ENOSPC);
                }
            }
            if matches!(state, PageState::Dirty(_) | PageState::Backed(..)) {
                let run = page..pages.end.min(page + vm::OUT_MAX);
                let gone = vm::page_out(self, run)?;
                moved += gone;
                counted &= gone == 0;
            }
            if looks % LOOKS == 0 {
                sched::breathe();
                counted = false;
            }
            if sched::ending() {
                return Err(Errno::EINTR);
            }
        }
        Ok(moved)
    }
}

impl Pager for PageOut {
    type Memory = View;

    fn with<R>(&mut self, f: impl FnOnce(&mut vm::Segment, &mut View) -> R) -> Option<R> {
        self.look(f)
    }

    fn release(&mut self, frame: Frame) {
        named::release(frame);
    }
}
