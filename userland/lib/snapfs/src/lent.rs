//! Bytes of a write that stay where its client has them: a driver's device reads them
//! there (docs/decisions/0041-lent-data.md). What only moves bytes never sees them.

use abi::lent;
use alloc::rc::Rc;
use core::ops::Range;

/// The parts of lent memory, in order, as [`abi::lent`] packs them.
pub type Lent = Rc<[u64]>;

/// Bytes of lent memory.
#[derive(Clone, Copy)]
pub struct LentBytes<'a> {
    parts: &'a [u64],
    /// Of the bytes of all parts.
    start: usize,
    len: usize,
}

impl<'a> LentBytes<'a> {
    /// All of it.
    pub fn all(parts: &'a [u64]) -> LentBytes<'a> {
        LentBytes {
            parts,
            start: 0,
            len: parts.iter().map(|part| lent::part(*part).1).sum(),
        }
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "asked of a chunk")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Some of them, as far as they go.
    pub fn get(self, range: Range<usize>) -> LentBytes<'a> {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        LentBytes {
            parts: self.parts,
            start: self.start + start,
            len: end - start,
        }
    }

    /// Where they are: physical addresses and lengths.
    pub fn parts(self) -> impl Iterator<Item = (u64, usize)> + 'a {
        let (mut skip, mut left) = (self.start, self.len);
        self.parts.iter().filter_map(move |part| {
            let (at, len) = lent::part(*part);
            let passed = skip.min(len);
            skip -= passed;
            let len = (len - passed).min(left);
            left -= len;
            (len > 0).then_some((at + passed as u64, len))
        })
    }
}

/// Bytes of a write, in one piece.
#[derive(Clone, Copy)]
pub enum Chunk<'a> {
    /// In memory.
    Here(&'a [u8]),
    /// With the client.
    Lent(LentBytes<'a>),
}

impl<'a> Chunk<'a> {
    /// Bytes.
    pub const fn len(&self) -> usize {
        match self {
            Chunk::Here(bytes) => bytes.len(),
            Chunk::Lent(bytes) => bytes.len(),
        }
    }

    /// Returns true if there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the bytes, as far as they go.
    pub fn get(self, range: Range<usize>) -> Chunk<'a> {
        match self {
            Chunk::Here(bytes) => {
                let end = range.end.min(bytes.len());
                Chunk::Here(bytes.get(range.start.min(end)..end).unwrap_or_default())
            }
            Chunk::Lent(bytes) => Chunk::Lent(bytes.get(range)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_range_of_lent_bytes_has_the_parts_that_it_covers() {
        let parts = [
            lent::pack(0x1f00, 0x100),
            lent::pack(0x5000, 0x1000),
            lent::pack(0x9000, 1),
        ];
        let all = LentBytes::all(&parts);
        assert_eq!(all.len(), 0x1101);
        let list = |from, to| all.get(from..to).parts().collect::<Vec<_>>();
        assert_eq!(
            list(0, 0x1101),
            [(0x1f00, 0x100), (0x5000, 0x1000), (0x9000, 1)]
        );
        assert_eq!(list(0x80, 0x180), [(0x1f80, 0x80), (0x5000, 0x80)]);
        assert_eq!(list(0x100, 0x1100), [(0x5000, 0x1000)]);
        assert_eq!(list(0x1100, 0x2000), [(0x9000, 1)]);
        assert_eq!(list(0x2000, 0x3000), []);
        let inner = all.get(0x100..0x1101).get(0xfff..0x1001);
        assert_eq!(
            inner.parts().collect::<Vec<_>>(),
            [(0x5fff, 1), (0x9000, 1)]
        );
    }
}
