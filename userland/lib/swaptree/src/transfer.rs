//! Transfers with the device: planned, and finished.

use abi::Errno;
use core::ops::Range;

use crate::PAGE;
use crate::blocks::Blocks;
use crate::file::{Block, File, on_device};
use crate::tree::PAGES_MAX;

/// Most transfers under way; the kernel has 64 tags for a server.
const FLYING_MAX: usize = 64;

/// The number of a transfer under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id(usize);

/// Whether data goes to the device or comes from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the device.
    Read,
    /// To the device.
    Write,
}

/// Where pages of a transfer are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere: they are zeros, to be filled in or not to be written.
    Zeros,
    /// In the blocks from this one on.
    Blocks(u32),
    /// In the blocks from this one on, which were free before.
    Fresh(u32),
}

/// Pages of a transfer that lie side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// The number of pages.
    pub pages: u32,
    /// Where they are.
    pub place: Place,
}

/// A transfer between the pages of one message and the device.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// The tag of the request.
    pub tag: u16,
    /// Its direction.
    pub direction: Direction,
    file: usize,
    pages: Pages,
    parts: [Part; PAGES_MAX],
    len: usize,
}

/// A range of pages.
#[derive(Clone, Copy, Debug)]
struct Pages {
    start: u64,
    end: u64,
}

impl Transfer {
    pub(crate) fn new(tag: u16, direction: Direction, file: usize, start: u64) -> Transfer {
        let nothing = Part {
            pages: 0,
            place: Place::Zeros,
        };
        Transfer {
            tag,
            direction,
            file,
            pages: Pages { start, end: start },
            parts: [nothing; PAGES_MAX],
            len: 0,
        }
    }

    /// The index of its file.
    pub(crate) const fn file(&self) -> usize {
        self.file
    }

    /// The pages of the file, in order, without gaps.
    pub fn parts(&self) -> &[Part] {
        self.parts.get(..self.len).unwrap_or_default()
    }

    /// Pages that it transfers, zeros included.
    pub const fn pages(&self) -> u64 {
        self.pages.end - self.pages.start
    }

    /// Bytes that it transfers.
    pub const fn bytes(&self) -> u32 {
        (self.pages() * PAGE) as u32
    }

    /// Returns true if the two must not be under way at the same time.
    fn conflicts(&self, file: usize, pages: &Range<u64>, direction: Direction) -> bool {
        let apart = self.pages.end <= pages.start || pages.end <= self.pages.start;
        let reads = self.direction == Direction::Read && direction == Direction::Read;
        self.file == file && !apart && !reads
    }

    /// Appends pages, to the last part where they continue it.
    fn push(&mut self, pages: u32, place: Place) {
        if pages == 0 {
            return;
        }
        self.pages.end += u64::from(pages);
        let last = self.len.checked_sub(1).and_then(|i| self.parts.get_mut(i));
        if let Some(last) = last {
            let next = |first: u32| first.wrapping_add(last.pages);
            let continued = match (last.place, place) {
                (Place::Zeros, Place::Zeros) => true,
                (Place::Blocks(a), Place::Blocks(b)) | (Place::Fresh(a), Place::Fresh(b)) => {
                    next(a) == b
                }
                _ => false,
            };
            if continued {
                last.pages += pages;
                return;
            }
        }
        if let Some(part) = self.parts.get_mut(self.len) {
            *part = Part { pages, place };
            self.len += 1;
        }
    }

    /// Appends `count` pages as they are in the file.
    pub(crate) fn read(&mut self, file: &File, count: u64) {
        let end = self.pages.end + count;
        for span in file.map.over(self.pages.end..end) {
            self.push((span.start - self.pages.end) as u32, Place::Zeros);
            self.push(span.len() as u32, Place::Blocks(span.value.0));
        }
        self.push((end - self.pages.end) as u32, Place::Zeros);
    }

    /// Appends one page to be written, with the block that it has or a free one.
    /// `false`: there is none.
    pub(crate) fn write(&mut self, file: &File, page: &[u8], blocks: &mut Blocks) -> bool {
        let place = match file.map.at(self.pages.end) {
            _ if is_zero(page) => Place::Zeros,
            Some(span) => Place::Blocks(span.value.0 + (self.pages.end - span.start) as u32),
            None => match blocks.take(1) {
                Some(block) => Place::Fresh(block.start),
                None => return false,
            },
        };
        self.push(1, place);
        true
    }

    /// Gives back the fresh blocks of a write that comes to nothing.
    pub(crate) fn give_up(&self, blocks: &mut Blocks) {
        for part in self.parts() {
            if let Place::Fresh(first) = part.place {
                blocks.give(on_device(Block(first), u64::from(part.pages)));
            }
        }
    }

    /// The write is done: its pages are as written now.
    ///
    /// # Errors
    /// `ENOMEM`: of the pages that had no block, or are zeros now, some are as
    /// before.
    pub(crate) fn settle(&self, file: &mut File, blocks: &mut Blocks) -> Result<(), Errno> {
        let mut result = Ok(());
        let mut at = self.pages.start;
        for part in self.parts() {
            let pages = at..at + u64::from(part.pages);
            at = pages.end;
            let settled = match part.place {
                Place::Blocks(_) => Ok(()),
                Place::Zeros => file.punch(pages, blocks),
                Place::Fresh(first) => {
                    let placed = file.place(pages.clone(), first);
                    if placed.is_err() {
                        blocks.give(on_device(Block(first), pages.end - pages.start));
                    }
                    placed
                }
            };
            result = result.and(settled);
        }
        file.size = file.size.max(self.pages.end * PAGE);
        result
    }
}

/// Returns true for a page of zeros.
fn is_zero(page: &[u8]) -> bool {
    let (words, rest) = page.as_chunks::<8>();
    words.iter().all(|word| *word == [0; 8]) && rest.iter().all(|byte| *byte == 0)
}

/// The transfers under way.
pub(crate) struct Flying([Option<Transfer>; FLYING_MAX]);

impl Default for Flying {
    fn default() -> Flying {
        Flying([const { None }; FLYING_MAX])
    }
}

impl Flying {
    /// Returns true if a transfer of these pages can begin.
    pub fn admits(&self, file: usize, pages: &Range<u64>, direction: Direction) -> bool {
        let mut flying = self.0.iter().flatten();
        self.0.iter().any(Option::is_none)
            && !flying.any(|transfer| transfer.conflicts(file, pages, direction))
    }

    /// Returns true if a request with that tag is under way.
    pub fn has_tag(&self, tag: u16) -> bool {
        self.0.iter().flatten().any(|transfer| transfer.tag == tag)
    }

    /// `None`: there are too many.
    pub fn begin(&mut self, transfer: Transfer) -> Option<Id> {
        let free = self.0.iter().position(Option::is_none)?;
        *self.0.get_mut(free)? = Some(transfer);
        Some(Id(free))
    }

    pub fn get(&self, Id(at): Id) -> Option<&Transfer> {
        self.0.get(at)?.as_ref()
    }

    pub fn end(&mut self, Id(at): Id) -> Option<Transfer> {
        self.0.get_mut(at)?.take()
    }
}
