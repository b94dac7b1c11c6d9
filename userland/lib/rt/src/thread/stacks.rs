//! The stacks of threads. All of the usual size are in one segment of kind `stacks`, with a
//! guard page below each; a larger one has a segment of its own. A stack that a thread has
//! left is used again.

use super::STACK;
use super::control::Control;
use crate::single::Single;
use crate::sync::Permits;
use crate::sys;
use abi::{Call, Errno, PAGE};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

/// The guard page of a stack.
const GUARD: usize = PAGE as usize;
/// Stacks of the usual size; there are not more processes.
const USUAL: usize = abi::PROCESSES_MAX;

/// A stack, with the record of the thread that has it.
pub(crate) struct Stack {
    /// One past its last byte.
    top: u64,
    /// Bytes, without the guard page.
    size: usize,
    /// One once the thread has left it.
    pub left: Permits,
    /// Of a scope: nobody will join the thread that has it, or had.
    pub unwanted: AtomicBool,
    pub control: Control,
}

/// A stack lives for ever.
pub(crate) type Place = &'static Stack;

impl Stack {
    /// Where a record lies so that the stack can begin below it.
    pub fn top_for<R>(&self) -> *mut R {
        let at = self.top as usize - size_of::<R>();
        (at / align_of::<R>().max(16) * align_of::<R>().max(16)) as *mut R
    }
}

/// The stacks that no thread has, and those that detached threads have or had.
pub(crate) struct Pool {
    free: Vec<Place>,
    detached: Vec<Place>,
    /// The first address of the segment of usual ones; 0: none yet.
    base: u64,
    /// How many of these there are.
    made: usize,
    /// Stacks of any size.
    all: usize,
}

pub(crate) static POOL: Single<Pool> = Single::new(Pool {
    free: Vec::new(),
    detached: Vec::new(),
    base: 0,
    made: 0,
    all: 0,
});

/// Attaches a segment for `count` stacks of `size` bytes.
fn attach(count: usize, size: usize) -> Result<u64, Errno> {
    let (at, len) = sys::of(b"stacks");
    let stride = size.checked_add(GUARD).ok_or(Errno::ENOMEM)? as u64;
    // SAFETY: the kernel attaches the new segment where no other memory is.
    unsafe { sys::call5(Call::SegAttach, at, len, 0, count as u64 * stride, stride) }
}

impl Pool {
    /// A stack that no thread has, of at least `size` bytes.
    fn take(&mut self, size: usize) -> Result<Place, Errno> {
        let Pool { free, detached, .. } = self;
        detached.retain(|stack| {
            let left = stack.left.try_take();
            if left {
                free.push(stack);
            }
            !left
        });
        // A larger one takes a segment, so it is not for those that can have a usual one.
        let usual = size <= STACK && self.made < USUAL;
        let fits = |stack: &Stack| stack.size >= size && (stack.size == STACK || !usual);
        // The smallest that will do; of several, the one that was left last.
        let fitting = self.free.iter().enumerate().rev();
        let fitting = fitting.filter(|(_, stack)| fits(stack));
        match fitting.min_by_key(|(_, stack)| stack.size) {
            Some((at, _)) => Ok(self.free.swap_remove(at)),
            None => self.make(size),
        }
    }

    fn make(&mut self, size: usize) -> Result<Place, Errno> {
        // Any list may get all stacks that there are: what gives one back cannot fail.
        let all = self.all + 1;
        for list in [&mut self.free, &mut self.detached] {
            let room = list.try_reserve(all.saturating_sub(list.len()));
            room.map_err(|_| Errno::ENOMEM)?;
        }
        let size = size.checked_next_multiple_of(GUARD).ok_or(Errno::ENOMEM)?;
        let base = match size {
            STACK if self.made < USUAL => {
                if self.base == 0 {
                    self.base = attach(USUAL, STACK)?;
                }
                self.made += 1;
                self.base + ((self.made - 1) * (STACK + GUARD)) as u64
            }
            _ => attach(1, size)?,
        };
        self.all = all;
        Ok(Box::leak(Box::new(Stack {
            top: base + (GUARD + size) as u64,
            size,
            left: Permits::new(0),
            unwanted: AtomicBool::new(false),
            control: Control::new(0),
        })))
    }
}

/// A stack for a new thread.
pub(super) fn take(size: usize) -> Result<Place, Errno> {
    POOL.with(|pool| pool.take(size))
        .unwrap_or(Err(Errno::EBUSY))
}

/// The thread has left the stack.
pub(super) fn give(stack: Place) {
    POOL.with(|pool| pool.free.push(stack));
}

/// Nobody will wait for the thread that has the stack.
pub(super) fn detach(stack: Place) {
    POOL.with(|pool| pool.detached.push(stack));
}
