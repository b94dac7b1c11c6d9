//! The frames that hold pages of files, for readers to share: the VM core's
//! cache behind its lock.
//!
//! It has no reference to its frames. `frames` marks those that are in here
//! and asks for their removal before one is freed or changed. With its last holder a frame
//! becomes idle (`pool/idle.rs`), and who finds it is its holder again.
use super::payer::for_all;
use super::{pool, words};
use crate::arch::{random, time};
use crate::lock::{Lock, Rank};
use vm::{Cache, Epochs, Frame, Kept};

static CACHE: Lock<Cache> = Lock::new(Rank::Cache, Cache::new());

/// Makes it hard to find pages that share a bucket. Without a generator of random
/// numbers it is as hard as to know the time of the start.
pub fn init() {
    pool::on_forget(forget);
    let mut bytes = [0; 16];
    let random = random::fill(&mut bytes);
    let (low, high) = (time::ticks(), time::ticks().rotate_left(32));
    let number = u128::from_le_bytes(bytes);
    let secret = match random {
        true => [number as u64, (number >> 64) as u64],
        false => [low.wrapping_mul(SPREAD), high.wrapping_mul(SPREAD)],
    };
    with(|cache| cache.set_secret(secret));
}

/// 2^64 divided by the golden ratio, odd.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Access to the frame cache.
#[inline]
pub fn with<R>(f: impl FnOnce(&mut Cache) -> R) -> R {
    for_all(|| f(&mut CACHE.lock()))
}

/// The snapshot is no more.
pub fn close(epochs: Epochs) {
    let many = with(|cache| {
        cache.close(epochs);
        cache.has_many_left()
    });
    if many {
        pool::free_kept();
    }
}

/// A frame with the page at `soff` of the snapshot, held once more.
#[inline]
pub fn find(epochs: &Epochs, soff: u64) -> Option<Frame> {
    let mut cache = CACHE.lock();
    let frame = cache.find(epochs, soff)?;
    // Before the lock goes: it might be freed.
    pool::take_up(frame);
    Some(frame)
}

/// The same for the pages from `soff` on, for each bit of `wanted` one: puts their frames
/// at their places and returns the bits of those that were found.
pub fn find_run(epochs: &Epochs, soff: u64, wanted: u64, frames: &mut [Frame]) -> u64 {
    let mut cache = CACHE.lock();
    let found = cache.find_run(epochs, soff, wanted, frames);
    // A frame stays in the cache while its lock is held.
    for (_, frame) in (0..).zip(frames).filter(|(at, _)| found >> at & 1 != 0) {
        pool::take_up(*frame);
    }
    found
}

/// How many pages from `soff` on, at most `pages`, are not here.
pub fn missing(epochs: &Epochs, soff: u64, pages: u64) -> u64 {
    CACHE.lock().missing(epochs, soff, pages)
}

/// Offers frames that are held once and will not be written as the pages from `soff`
/// on. Where a frame was there first, the caller's hold moves to it.
pub fn publish_run(epochs: &Epochs, soff: u64, frames: &mut [Frame]) {
    let mut cache = CACHE.lock();
    for_all(|| {
        // A frame that somebody else holds may be about to be written.
        let may = |frame| !words::is_shared(frame);
        let may = (may, words::is_idle);
        cache.insert_run(epochs, soff, frames, may, |frame, kept| {
            if let Some(first) = settle(*frame, kept) {
                pool::release(*frame);
                *frame = first;
            }
        });
    });
}

/// Offers a frame that is held and will not be written as that page; one that
/// was there first, held once more.
pub fn publish(epochs: &Epochs, soff: u64, frame: Frame) -> Option<Frame> {
    let mut cache = CACHE.lock();
    for_all(|| settle(frame, cache.insert(epochs, soff, frame, words::is_idle)))
}

fn settle(frame: Frame, kept: Kept) -> Option<Frame> {
    match kept {
        Kept::Yes => {
            words::set_cached(frame, true);
            None
        }
        Kept::Instead(gone) => {
            words::set_cached(frame, true);
            pool::free_forgotten(gone);
            None
        }
        Kept::Other(first) => {
            pool::take_up(first);
            Some(first)
        }
        Kept::No => None,
    }
}

/// Removes the frame from the cache.
fn forget(frame: Frame) {
    CACHE.lock().remove(frame);
}
