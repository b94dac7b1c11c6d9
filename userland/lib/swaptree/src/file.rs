//! A file: which block each of its pages has, and who holds it.

use abi::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use ranges::{RangeMap, Value};

use crate::blocks::Blocks;

/// The block of the first page of a run; those of the others follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block(pub u32);

impl Value for Block {
    fn advance(self, by: u64) -> Block {
        Block(self.0.wrapping_add(by as u32))
    }
}

/// One file.
pub(crate) struct File {
    /// Unique among all files there ever were.
    pub id: u64,
    /// Its name in the directory, until it is removed.
    pub name: Option<Vec<u8>>,
    /// Bytes, whole pages.
    pub size: u64,
    /// Fids, and transfers under way.
    pub holders: u32,
    /// The blocks of its pages; the other pages are zeros.
    pub map: RangeMap<Block>,
}

impl File {
    /// The number of blocks it has.
    pub fn blocks(&self) -> u64 {
        self.map.iter().map(|span| span.len()).sum()
    }

    /// Gives the pages blocks that were taken for them, in place of none.
    ///
    /// # Errors
    /// `ENOMEM`: nothing has changed.
    pub fn place(&mut self, pages: Range<u64>, first: u32) -> Result<(), Errno> {
        self.map.set(pages, Block(first)).map_err(|_| Errno::ENOMEM)
    }

    /// Makes the pages zeros, and frees their blocks.
    ///
    /// # Errors
    /// `ENOMEM`: nothing has changed.
    pub fn punch(&mut self, pages: Range<u64>, blocks: &mut Blocks) -> Result<(), Errno> {
        if self.map.first(pages.clone()).is_none() {
            return Ok(());
        }
        self.map.reserve().map_err(|_| Errno::ENOMEM)?;
        for span in self.map.over(pages.clone()) {
            blocks.give(on_device(span.value, span.len()));
        }
        self.map.replace(pages, None);
        Ok(())
    }

    /// Frees all its blocks.
    pub fn clear(&mut self, blocks: &mut Blocks) {
        for span in self.map.iter() {
            blocks.give(on_device(span.value, span.len()));
        }
        self.map.clear();
    }
}

/// The blocks of a run of pages.
pub(crate) fn on_device(first: Block, pages: u64) -> Range<u32> {
    first.0..first.0.wrapping_add(pages as u32)
}
