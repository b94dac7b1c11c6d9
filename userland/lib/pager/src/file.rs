//! One computed file.

use alloc::boxed::Box;
use core::ops::Range;
use rt::abi::PAGE;
use rt::{ByteStr, Errno};

/// Computes the page at an offset.
type Compute<'c> = Box<dyn FnMut(u64, &mut [u8]) -> Result<(), Errno> + 'c>;

/// A file whose content is a function of the offset.
pub struct Computed<'c> {
    pub(crate) name: ByteStr<'c>,
    pub(crate) size: u64,
    compute: Compute<'c>,
}

impl<'c> Computed<'c> {
    /// A file of `size` bytes. `compute` gets the offset of a page, which is a multiple of
    /// 4096, and its memory: zeros, and no more of them than the file has from there on.
    /// [`crate::serve`] says which names there may be.
    pub fn new(
        name: impl Into<ByteStr<'c>>,
        size: u64,
        compute: impl FnMut(u64, &mut [u8]) -> Result<(), Errno> + 'c,
    ) -> Computed<'c> {
        let compute = Box::new(compute);
        Computed {
            name: name.into(),
            size,
            compute,
        }
    }

    /// Bytes from `offset` on, up to the length of `out`: fewer at the end of the file and
    /// before a page that is not to be had. `page` is memory of a page.
    ///
    /// # Errors
    /// `EIO`: the first byte is not to be had.
    pub(crate) fn read(
        &mut self,
        offset: u64,
        out: &mut [u8],
        page: &mut [u8],
    ) -> Result<usize, Errno> {
        let left = self.size.saturating_sub(offset);
        let want = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < want {
            // Below the size of the file.
            let at = offset + done as u64;
            let (start, Range { start: skip, end }) = self.page_of(at);
            let out = out.get_mut(done..want).unwrap_or_default();
            let computed = match out.get_mut(..end).filter(|_| skip == 0) {
                Some(whole) => self.compute(start, whole),
                None => {
                    let page = page.get_mut(..end).unwrap_or_default();
                    self.compute(start, page).map(|_| copy(page, skip, out))
                }
            };
            match computed {
                Ok(n) => done += n,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EIO),
            }
        }
        Ok(done)
    }

    /// Where the page begins that has the byte at `offset`, and which of its bytes are
    /// there from that one on.
    fn page_of(&self, offset: u64) -> (u64, Range<usize>) {
        let skip = offset % PAGE;
        let start = offset - skip;
        let end = PAGE.min(self.size - start);
        (start, skip as usize..end as usize)
    }

    /// Computes a page, or what the file has of it; its length.
    fn compute(&mut self, start: u64, page: &mut [u8]) -> Result<usize, Errno> {
        page.fill(0);
        (self.compute)(start, page)?;
        Ok(page.len())
    }
}

/// Copies a page from byte `skip` on, as far as `out` goes; bytes copied.
fn copy(page: &[u8], skip: usize, out: &mut [u8]) -> usize {
    let from = page.get(skip..).unwrap_or_default();
    let len = from.len().min(out.len());
    if let (Some(to), Some(from)) = (out.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}
