//! Reading a packed file, of which nothing is believed.

use crate::{BLOCK, HEAD, MAGIC, PACKED_MAX, first_block};
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// A whole zlib stream, to memory that has room for all of its content. The checksum is
/// looked at.
const WHOLE: u32 = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;

/// The content of a packed file. It holds the block that was asked for last.
pub struct Unpacked<R> {
    /// Fills its memory from that offset of the packed file on.
    read: R,
    /// Bytes of content.
    size: u64,
    /// Bytes of the packed file.
    len: u64,
    /// The block whose content is in `content`.
    held: Option<u64>,
    content: Vec<u8>,
    packed: Vec<u8>,
    /// Its tables are too large for the stack.
    tables: Box<DecompressorOxide>,
}

impl<R: FnMut(u64, &mut [u8]) -> Result<(), Errno>> Unpacked<R> {
    /// The content of the packed file of `len` bytes that `read` reads.
    ///
    /// # Errors
    /// Those of `read`; `EINVAL`: this is no packed file, or it is too short for its index.
    pub fn new(len: u64, mut read: R) -> Result<Self, Errno> {
        let mut head = [0; HEAD as usize];
        if len < HEAD {
            return Err(Errno::EINVAL);
        }
        read(0, &mut head)?;
        let (magic, size) = head.split_first_chunk().ok_or(Errno::EINVAL)?;
        let size = u64::from_le_bytes(size.try_into().unwrap_or_default());
        let first = first_block(size);
        if *magic != MAGIC || first > len {
            return Err(Errno::EINVAL);
        }
        // An index of another size would cut the content where a block ends.
        let mut entry = [0; 8];
        for (at, want) in [(HEAD, first), (first.saturating_sub(8), len)] {
            read(at, &mut entry)?;
            if u64::from_le_bytes(entry) != want {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Unpacked {
            read,
            size,
            len,
            held: None,
            content: vec![0; BLOCK],
            packed: vec![0; PACKED_MAX],
            tables: Box::default(),
        })
    }

    /// Bytes of content.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Fills `out` with the content from `offset` on.
    ///
    /// # Errors
    /// Those of reading; `EINVAL`: the content ends before; `EIO`: it is damaged there.
    pub fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Errno> {
        let end = offset.checked_add(out.len() as u64).ok_or(Errno::EINVAL)?;
        if end > self.size {
            return Err(Errno::EINVAL);
        }
        let (mut at, mut rest) = (offset, out);
        while !rest.is_empty() {
            let block = self.block(at / BLOCK as u64)?;
            let from = block.get(at as usize % BLOCK..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            // Within the size of the content, each block has some.
            now.copy_from_slice(from.get(..len).ok_or(Errno::EIO)?);
            (at, rest) = (at + len as u64, later);
        }
        Ok(())
    }

    /// The content of a block before the end.
    fn block(&mut self, number: u64) -> Result<&[u8], Errno> {
        let left = self.size - number * BLOCK as u64;
        let len = left.min(BLOCK as u64) as usize;
        if self.held != Some(number) {
            self.held = None;
            self.unpack(number, len)?;
            self.held = Some(number);
        }
        self.content.get(..len).ok_or(Errno::EIO)
    }

    /// Unpacks a block of `len` bytes of content.
    fn unpack(&mut self, number: u64, len: usize) -> Result<(), Errno> {
        let mut entries = [0; 16];
        (self.read)(HEAD + 8 * number, &mut entries)?;
        let [start, end] = [0, 8].map(|at| {
            let entry = entries.get(at..at + 8).unwrap_or_default();
            u64::from_le_bytes(entry.try_into().unwrap_or_default())
        });
        if start < first_block(self.size) || end > self.len {
            return Err(Errno::EIO);
        }
        let bytes = usize::try_from(end.checked_sub(start).ok_or(Errno::EIO)?);
        let packed = self.packed.get_mut(..bytes.unwrap_or(usize::MAX));
        let packed = packed.ok_or(Errno::EIO)?;
        (self.read)(start, packed)?;
        let content = self.content.get_mut(..len).ok_or(Errno::EIO)?;
        self.tables.init();
        let (status, read, written) = decompress(&mut self.tables, packed, content, 0, WHOLE);
        let whole = read == packed.len() && written == len;
        match status {
            TINFLStatus::Done if whole => Ok(()),
            _ => Err(Errno::EIO),
        }
    }
}
