//! The frames of each page, found by file and number.
//!
//! Aligned pages of a file are one block, so that a run of pages is one look-up.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::FileId;
use super::entries::NONE;

/// Pages in a block.
pub(super) const PAGES: u64 = 16;

/// Pages of a file. It has at least one frame, or is about to.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(super) struct Block {
    file: u32,
    /// Frames in it.
    pub used: u32,
    number: u64,
    /// The first frame of each page.
    firsts: [u32; PAGES as usize],
    /// The next block of the same bucket.
    next: Link,
}

/// A block, as a slice because that can be allocated without fear.
type Link = Option<Box<[Block]>>;

fn block(link: &Link) -> Option<&Block> {
    link.as_ref()?.first()
}

fn block_mut(link: &mut Link) -> Option<&mut Block> {
    link.as_mut()?.first_mut()
}

impl Block {
    fn is(&self, id: FileId, page: u64) -> bool {
        self.file == id.0 && self.number == page / PAGES
    }

    /// The first frame of a page of this block.
    #[inline]
    pub fn first(&self, page: u64) -> u32 {
        let first = self.firsts.get((page % PAGES) as usize);
        first.copied().unwrap_or(NONE)
    }

    /// The first frame of each of these pages.
    #[inline]
    pub fn firsts(&self, pages: Range<u64>) -> &[u32] {
        let start = (pages.start % PAGES) as usize;
        let range = start..start + (pages.end - pages.start) as usize;
        self.firsts.get(range).unwrap_or_default()
    }

    /// The same of `page` and all after it.
    #[inline]
    pub fn firsts_mut(&mut self, page: u64) -> &mut [u32] {
        let rest = self.firsts.get_mut((page % PAGES) as usize..);
        rest.unwrap_or_default()
    }
}

/// All blocks.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(super) struct Blocks {
    /// They grow one by one: bucket `b` is split into itself and `b + half`, `half`
    /// being the power of two below.
    buckets: Vec<Link>,
    len: usize,
    /// Chooses the buckets, so that a program cannot find pages that share one.
    secret: [u64; 2],
}

impl Blocks {
    pub const fn new() -> Blocks {
        Blocks {
            buckets: Vec::new(),
            len: 0,
            secret: [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9],
        }
    }

    /// Chooses other buckets, while there are none.
    pub fn set_secret(&mut self, secret: [u64; 2]) {
        self.secret = secret;
    }

    /// The block of a page.
    #[inline]
    pub fn get(&self, id: FileId, page: u64) -> Option<&Block> {
        let mut at = block(self.buckets.get(self.bucket(id.0, page / PAGES))?);
        while let Some(this) = at.filter(|this| !this.is(id, page)) {
            at = block(&this.next);
        }
        at
    }

    /// The same.
    pub fn get_mut(&mut self, id: FileId, page: u64) -> Option<&mut Block> {
        let bucket = self.bucket(id.0, page / PAGES);
        let mut at = block_mut(self.buckets.get_mut(bucket)?)?;
        while !at.is(id, page) {
            at = block_mut(&mut at.next)?;
        }
        Some(at)
    }

    /// The block of a page, a new one if there is none; `None` if there is no memory.
    pub fn make(&mut self, id: FileId, page: u64) -> Option<&mut Block> {
        if self.get(id, page).is_none() {
            self.add(id, page)?;
        }
        self.get_mut(id, page)
    }

    fn add(&mut self, id: FileId, page: u64) -> Option<()> {
        if self.buckets.len() <= self.len {
            self.split();
        }
        // Without memory for more buckets the chains grow, but within a limit.
        if self.len / 8 >= self.buckets.len() {
            return None;
        }
        let mut one = Vec::new();
        one.try_reserve_exact(1).ok()?;
        let number = page / PAGES;
        let bucket = self.bucket(id.0, number);
        let place = self.buckets.get_mut(bucket)?;
        one.push(Block {
            file: id.0,
            used: 0,
            number,
            firsts: [NONE; PAGES as usize],
            next: place.take(),
        });
        // Its capacity is its length, so nothing is allocated.
        *place = Some(one.into_boxed_slice());
        self.len += 1;
        Some(())
    }

    /// Takes out the block of a page.
    pub fn remove(&mut self, id: FileId, page: u64) {
        let bucket = self.bucket(id.0, page / PAGES);
        let Some(mut at) = self.buckets.get_mut(bucket) else {
            return;
        };
        while block(at).is_some_and(|this| !this.is(id, page)) {
            let Some(this) = block_mut(at) else { return };
            at = &mut this.next;
        }
        if let Some(mut gone) = at.take() {
            *at = gone.first_mut().and_then(|gone| gone.next.take());
            self.len -= 1;
        }
    }

    /// Which bucket a block is in.
    #[inline]
    fn bucket(&self, file: u32, number: u64) -> usize {
        bucket_of(self.hash(file, number), self.buckets.len())
    }

    /// Both halves of a product of secret numbers, so that all bits count, and
    /// once more, for numbers with a pattern.
    #[inline]
    fn hash(&self, file: u32, number: u64) -> u64 {
        let [a, b] = self.secret;
        let product = u128::from(number ^ a) * u128::from(u64::from(file) ^ b);
        let folded = product as u64 ^ (product >> 64) as u64;
        folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    /// One more bucket, with its share of the one it is split from.
    fn split(&mut self) {
        if self.buckets.try_reserve(1).is_err() {
            return;
        }
        let new = self.buckets.len();
        self.buckets.push(None);
        let from = new - (new + 1).next_power_of_two() / 2;
        let Some(first) = self.buckets.get_mut(from).filter(|_| new > 0) else {
            return;
        };
        let mut rest = first.take();
        while let Some(mut link) = rest {
            let mut bucket = from;
            if let Some(this) = link.first_mut() {
                rest = this.next.take();
                bucket = bucket_of(self.hash(this.file, this.number), new + 1);
                let place = self.buckets.get_mut(bucket);
                this.next = place.and_then(Option::take);
            } else {
                rest = None;
            }
            if let Some(place) = self.buckets.get_mut(bucket) {
                *place = Some(link);
            }
        }
    }

    /// The length of the longest chain.
    #[cfg(test)]
    pub fn longest(&self) -> usize {
        let chain =
            |link: &Link| core::iter::successors(block(link), |this| block(&this.next)).count();
        self.buckets.iter().map(chain).max().unwrap_or(0)
    }

    /// The number of blocks.
    #[cfg(test)]
    pub const fn len(&self) -> usize {
        self.len
    }
}

/// Linear hashing: of `buckets` buckets, those not yet split share a bucket.
#[inline]
fn bucket_of(hash: u64, buckets: usize) -> usize {
    let whole = buckets.next_power_of_two().max(1) as u64;
    let bucket = hash & (whole - 1);
    match bucket < buckets as u64 {
        true => bucket as usize,
        false => (bucket - whole / 2) as usize,
    }
}
