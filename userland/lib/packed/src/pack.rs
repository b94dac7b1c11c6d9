//! Making a packed file.

use crate::{BLOCK, HEAD, MAGIC, PACKED_MAX, blocks, first_block};
use abi::Errno;
use alloc::vec;
use alloc::vec::Vec;
use miniz_oxide::deflate::compress_to_vec_zlib;

/// How hard to look for what repeats: zlib's usual.
const LEVEL: u8 = 6;
/// Bytes of the index that are written at a time.
const INDEX_PIECE: usize = 512;

/// Packs `size` bytes: `read` fills its memory from that offset of the content on, `write`
/// writes to that offset of the packed file. Needs the memory of a few blocks.
///
/// # Errors
/// Those of `read` and `write`.
pub fn pack<E: From<Errno>>(
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut content = vec![0; BLOCK];
    let mut index = Index::default();
    let mut at = first_block(size);
    for number in 0..blocks(size) {
        let start = number * BLOCK as u64;
        let len = (BLOCK as u64).min(size - start) as usize;
        let content = content.get_mut(..len).unwrap_or_default();
        read(start, content)?;
        let packed = compress_to_vec_zlib(content, LEVEL);
        if packed.len() > PACKED_MAX {
            return Err(Errno::EFBIG.into());
        }
        write(at, &packed)?;
        index.add(at, &mut write)?;
        at += packed.len() as u64;
    }
    index.add(at, &mut write)?;
    index.flush(&mut write)?;
    // Last, so that what is not finished is no packed file.
    let mut head = [0; HEAD as usize];
    let (magic, rest) = head.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    rest.copy_from_slice(&size.to_le_bytes());
    write(0, &head)
}

/// The part of the index that is not written yet.
#[derive(Default)]
struct Index {
    piece: Vec<u8>,
    written: u64,
}

impl Index {
    fn add<E>(&mut self, at: u64, write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.piece.extend_from_slice(&at.to_le_bytes());
        match self.piece.len() < INDEX_PIECE {
            true => Ok(()),
            false => self.flush(write),
        }
    }

    fn flush<E>(&mut self, mut write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        write(HEAD + self.written, &self.piece)?;
        self.written += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}
