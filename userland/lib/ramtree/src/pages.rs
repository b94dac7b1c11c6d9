//! The content of a file, by pages, and the space it takes.
//!
//! Pages are kept in groups, so that a transfer of many searches for one in sixteen.

use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
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

type Page = Box<[u8; PAGE as usize]>;

/// Pages in a group.
const GROUP: usize = 16;
type Group = [Option<Page>; GROUP];
/// Bytes of a file that a group has.
const SPAN: u64 = GROUP as u64 * PAGE;

/// The content of a file. Absent pages are zeros.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    size: u64,
    /// By number; none is empty.
    groups: BTreeMap<u64, Group>,
    /// Pages in all groups.
    count: u64,
}

/// How many of `len` bytes from `offset` on lie in one group.
fn in_group(offset: u64, len: usize) -> usize {
    len.min((SPAN - offset % SPAN) as usize)
}

/// The page in its group, offset in it, and how many of `len` bytes lie in it.
fn place(offset: u64, len: usize) -> (usize, usize, usize) {
    let at = (offset % PAGE) as usize;
    let page = (offset % SPAN / PAGE) as usize;
    (page, at, len.min(PAGE as usize - at))
}

/// The pages in a group.
fn count(group: &Group) -> u64 {
    group.iter().flatten().count() as u64
}

/// A page of `bytes` from `at` on, and zeros.
fn new_page(at: usize, bytes: &[u8]) -> Option<Page> {
    let mut page = Vec::new();
    page.try_reserve_exact(PAGE as usize).ok()?;
    // Zeros only where nothing else goes.
    page.resize(at, 0);
    page.extend_from_slice(bytes);
    page.resize(PAGE as usize, 0);
    page.into_boxed_slice().try_into().ok()
}

impl Pages {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of pages in memory.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Reads from `offset`; returns the byte count.
    pub fn read(&self, mut offset: u64, out: &mut [u8]) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(out.len());
        let mut rest = out.get_mut(..len).unwrap_or_default();
        while !rest.is_empty() {
            let group = self.groups.get(&(offset / SPAN));
            let (mut here, after) = rest.split_at_mut(in_group(offset, rest.len()));
            while !here.is_empty() {
                let (page, at, n) = place(offset, here.len());
                let (part, behind) = here.split_at_mut(n);
                let page = group.and_then(|group| group.get(page)?.as_ref());
                match page.and_then(|page| page.get(at..at + n)) {
                    Some(bytes) => part.copy_from_slice(bytes),
                    None => part.fill(0),
                }
                (here, offset) = (behind, offset + n as u64);
            }
            rest = after;
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
            let offset = offset + done as u64;
            let here = in_group(offset, rest.len());
            let (written, result) = self.write_group(offset, &rest[..here], space);
            done += written;
            match result {
                Ok(()) => {}
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if done > 0 {
            self.size = self.size.max(offset + done as u64);
        }
        Ok(done)
    }

    /// Writes bytes of one group, whose absent pages are created; how many.
    fn write_group(
        &mut self,
        offset: u64,
        bytes: &[u8],
        space: &mut Space,
    ) -> (usize, Result<(), Errno>) {
        let (number, mut done) = (offset / SPAN, 0);
        let group = self.groups.entry(number).or_default();
        let (mut result, mut rest) = (Ok(()), bytes);
        while !rest.is_empty() {
            let (page, at, n) = place(offset + done as u64, rest.len());
            let (part, behind) = rest.split_at(n);
            let Some(page) = group.get_mut(page) else {
                break;
            };
            match page {
                Some(page) => page[at..at + n].copy_from_slice(part),
                None => {
                    result = space.take(PAGE);
                    if result.is_err() {
                        break;
                    }
                    let Some(new) = new_page(at, part) else {
                        space.give(PAGE);
                        result = Err(Errno::ENOSPC);
                        break;
                    };
                    *page = Some(new);
                    self.count += 1;
                }
            }
            (rest, done) = (behind, done + n);
        }
        if group.iter().all(Option::is_none) {
            self.groups.remove(&number);
        }
        (done, result)
    }

    /// Truncates, or extends with zeros, which take no space.
    pub fn set_size(&mut self, size: u64, space: &mut Space) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        if size < self.size {
            let mut cut = self.groups.split_off(&(size / SPAN));
            let last = cut.remove(&(size / SPAN));
            let mut pages: u64 = cut.values().map(count).sum();
            if let Some(mut group) = last {
                let first = (size % SPAN).div_ceil(PAGE) as usize;
                pages += count(&group);
                group.iter_mut().skip(first).for_each(|page| *page = None);
                let (page, at, _) = place(size, 0);
                // Bytes cut off must not reappear when the file grows.
                if let Some(Some(page)) = group.get_mut(page) {
                    page[at..].fill(0);
                }
                pages -= count(&group);
                if group.iter().any(Option::is_some) {
                    self.groups.insert(size / SPAN, group);
                }
            }
            self.count -= pages;
            space.give(pages * PAGE);
        }
        self.size = size;
        Ok(())
    }
}
