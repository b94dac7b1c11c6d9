//! Kernel stacks with a guard below.
//!
//! A stack that is given up stays mapped for the next process, if memory is not low: to map
//! it and to take its frames is most of what it costs. Those few are charged to nobody and
//! count as free.

use vm::Frame;

use super::{STACKS, own, pool};
use crate::lock::Mutex;

/// Usable bytes of a stack.
pub const STACK_SIZE: u64 = 16 << 10;
/// Every stack has as much unmapped below it.
const STRIDE: u64 = 2 * STACK_SIZE;
const WORDS: usize = 128;
/// Most stacks at a time.
const MOST: usize = WORDS * 64;
/// Frames of a stack.
const FRAMES: usize = (STACK_SIZE / abi::PAGE) as usize;
/// Stacks that stay mapped at most.
const SPARES: usize = 8;

struct Places {
    /// One bit for each stack that is mapped.
    used: [u64; WORDS],
    /// Those that nobody has.
    spares: [Option<KernelStack>; SPARES],
}

static PLACES: Mutex<Places> = Mutex::new(Places {
    used: [0; WORDS],
    spares: [const { None }; SPARES],
});

/// A mapped kernel stack, unmapped and given back on drop, or kept for the next.
#[derive(Debug)]
pub struct KernelStack {
    slot: usize,
    frames: [Frame; FRAMES],
    /// How many are mapped, from the lowest on.
    mapped: usize,
}

impl KernelStack {
    /// A stack, or `None` when memory or places are out.
    pub fn new() -> Option<KernelStack> {
        if let Some(spare) = take_spare() {
            return Some(spare);
        }
        // From here on, dropping it unmaps what has been mapped.
        let mut stack = KernelStack {
            slot: take_slot()?,
            frames: [Frame(0); FRAMES],
            mapped: 0,
        };
        for (at, page) in stack.pages().enumerate() {
            let frame = pool::alloc_object()?;
            if own::map(page, frame).is_err() {
                pool::free_object(frame);
                return None;
            }
            stack.frames[at] = frame;
            stack.mapped += 1;
        }
        Some(stack)
    }

    /// One past the highest byte; aligned to 16.
    #[inline]
    pub fn top(&self) -> u64 {
        STACKS + (self.slot as u64 + 1) * STRIDE
    }

    fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        (self.top() - STACK_SIZE..self.top()).step_by(abi::PAGE as usize)
    }

    fn unmap(&self) {
        for page in self.pages().take(self.mapped) {
            own::unmap(page);
        }
        for frame in &self.frames[..self.mapped] {
            pool::free_object(*frame);
        }
        PLACES.lock().used[self.slot / 64] &= !(1 << (self.slot % 64));
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let whole = self.mapped == FRAMES;
        if !whole || !keep(self.slot, self.frames) {
            self.unmap();
        }
    }
}

/// Keeps a stack for the next process. `false`: there are enough, or memory is low.
fn keep(slot: usize, frames: [Frame; FRAMES]) -> bool {
    let mut places = PLACES.lock();
    let place = places.spares.iter_mut().find(|spare| spare.is_none());
    let Some(place) = place.filter(|_| pool::set_aside(&frames)) else {
        return false;
    };
    *place = Some(KernelStack {
        slot,
        frames,
        mapped: FRAMES,
    });
    true
}

/// A stack that was kept, for the present payer; all are given back instead if memory is
/// low.
fn take_spare() -> Option<KernelStack> {
    loop {
        let mut places = PLACES.lock();
        let spare = places.spares.iter_mut().find_map(Option::take)?;
        drop(places);
        if pool::take_over(&spare.frames) {
            return Some(spare);
        }
        // The frames stay the kernel's until they are freed.
        spare.unmap();
        core::mem::forget(spare);
    }
}

/// Gives back all stacks that nobody has.
pub(super) fn give_back() {
    loop {
        let spare = PLACES.lock().spares.iter_mut().find_map(Option::take);
        let Some(spare) = spare else {
            return;
        };
        pool::put_back(FRAMES as u32);
        spare.unmap();
        core::mem::forget(spare);
    }
}

fn take_slot() -> Option<usize> {
    let used = &mut PLACES.lock().used;
    let (index, word) = used
        .iter_mut()
        .enumerate()
        .find(|(_, word)| **word != u64::MAX)?;
    let bit = word.trailing_ones();
    *word |= 1 << bit;
    Some(index * 64 + bit as usize)
}

/// Returns true if `address` is in the guard of some stack, so that a fault
/// there is an overflow.
pub fn guarded_stack(address: u64) -> bool {
    let Some(at) = address.checked_sub(STACKS) else {
        return false;
    };
    at < MOST as u64 * STRIDE && at % STRIDE < STACK_SIZE
}
