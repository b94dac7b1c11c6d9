//! Kernel stacks with a guard below.

use super::{STACKS, own, pool};
use crate::lock::Mutex;

/// Usable bytes of a stack.
pub const STACK_SIZE: u64 = 16 << 10;
/// Every stack has as much unmapped below it.
const STRIDE: u64 = 2 * STACK_SIZE;
const WORDS: usize = 128;
/// Most stacks at a time.
const MOST: usize = WORDS * 64;

/// One bit for each stack in use.
static USED: Mutex<[u64; WORDS]> = Mutex::new([0; WORDS]);

/// A mapped kernel stack, unmapped and given back on drop.
#[derive(Debug)]
pub struct KernelStack {
    slot: usize,
}

impl KernelStack {
    /// A stack, or `None` when memory or places are out.
    pub fn new() -> Option<KernelStack> {
        let slot = take_slot()?;
        // From here on, dropping it unmaps what has been mapped.
        let stack = KernelStack { slot };
        for page in stack.pages() {
            let frame = pool::alloc_object()?;
            if own::map(page, frame).is_err() {
                pool::free_object(frame);
                return None;
            }
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
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        self.pages()
            .filter_map(own::unmap)
            .for_each(pool::free_object);
        let mut used = USED.lock();
        used[self.slot / 64] &= !(1 << (self.slot % 64));
    }
}

fn take_slot() -> Option<usize> {
    let mut used = USED.lock();
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
