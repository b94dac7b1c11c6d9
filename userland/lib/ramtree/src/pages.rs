//! The content of a file, by pages, and the space it takes.

use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// The largest size of a file, in bytes.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// The limit of bytes, and the bytes in use.
#[derive(Clone)]
pub(crate) struct Space {
    pub limit: u64,
    pub used: u64,
}

impl Space {
    /// Takes `bytes`, or fails with `ENOSPC`.
    pub fn take(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.checked_add(bytes);
        self.used = used
            .filter(|used| *used <= self.limit)
            .ok_or(Errno::ENOSPC)?;
        Ok(())
    }

    /// Gives back bytes taken with `take`.
    pub fn give(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// The content of a file. Absent pages are zeros.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    size: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

/// Page, offset in it, and how many of `len` bytes lie in it.
fn place(offset: u64, len: usize) -> (u64, usize, usize) {
    let at = (offset % PAGE) as usize;
    (offset / PAGE, at, len.min(PAGE as usize - at))
}

impl Pages {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of pages in memory.
    pub fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Reads from `offset`; returns the byte count.
    pub fn read(&self, mut offset: u64, out: &mut [u8]) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(out.len());
        let mut rest = out.get_mut(..len).unwrap_or_default();
        while !rest.is_empty() {
            let (index, at, n) = place(offset, rest.len());
            let (part, after) = rest.split_at_mut(n);
            let page = self.pages.get(&index);
            match page.and_then(|page| page.get(at..at + n)) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => part.fill(0),
            }
            (rest, offset) = (after, offset + n as u64);
        }
        len
    }

    /// Writes at `offset`; returns the byte count, which is short if space runs
    /// out.
    pub fn write(&mut self, offset: u64, bytes: &[u8], space: &mut Space) -> Result<usize, Errno> {
        let end = offset.checked_add(bytes.len() as u64);
        end.filter(|end| *end <= SIZE_MAX).ok_or(Errno::EFBIG)?;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let (index, at, n) = place(offset + done as u64, rest.len());
            let part = rest.get(..n).unwrap_or(rest);
            match self.write_page(index, at, part, space) {
                Ok(()) => done += n,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if done > 0 {
            self.size = self.size.max(offset + done as u64);
        }
        Ok(done)
    }

    /// Writes bytes of one page, which is created if absent.
    fn write_page(
        &mut self,
        index: u64,
        at: usize,
        bytes: &[u8],
        space: &mut Space,
    ) -> Result<(), Errno> {
        let vacant = match self.pages.entry(index) {
            Entry::Occupied(mut page) => {
                if let Some(to) = page.get_mut().get_mut(at..at + bytes.len()) {
                    to.copy_from_slice(bytes);
                }
                return Ok(());
            }
            Entry::Vacant(vacant) => vacant,
        };
        space.take(PAGE)?;
        let mut page = Vec::new();
        if page.try_reserve_exact(PAGE as usize).is_err() {
            space.give(PAGE);
            return Err(Errno::ENOSPC);
        }
        // Zeros only where nothing else goes.
        page.resize(at, 0);
        page.extend_from_slice(bytes);
        page.resize(PAGE as usize, 0);
        vacant.insert(page.into_boxed_slice());
        Ok(())
    }

    /// Truncates, or extends with zeros, which take no space.
    pub fn set_size(&mut self, size: u64, space: &mut Space) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        if size < self.size {
            let cut = self.pages.split_off(&size.div_ceil(PAGE));
            space.give(cut.len() as u64 * PAGE);
            // Bytes cut off must not reappear when the file grows.
            if let Some(last) = self.pages.get_mut(&(size / PAGE)) {
                let tail = last.get_mut((size % PAGE) as usize..);
                tail.unwrap_or_default().fill(0);
            }
        }
        self.size = size;
        Ok(())
    }
}
