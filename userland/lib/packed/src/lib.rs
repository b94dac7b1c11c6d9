//! Files compressed in blocks, so that a part is unpacked without the rest.
//!
//! ```text
//! magic[8] size[8]                    the size of the content
//! n*start[8] end[8]                   where each block is in the file, and where the last one ends
//! n*block                             64 KiB of content each, the last one less: a zlib stream
//! ```
//!
//! Numbers are little-endian. Only the head is looked at before a block is asked for, and of
//! the index no more than the two numbers of that block. No number of the file makes a
//! reader allocate: a block is unpacked into memory of its own length, and whatever does not
//! fill it exactly, or has another checksum, is an error.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod pack;
#[cfg(test)]
mod tests;
mod unpack;

pub use pack::pack;
pub use unpack::Unpacked;

/// Bytes of content in a block.
pub const BLOCK: usize = 64 * 1024;

/// The first bytes of a packed file.
const MAGIC: [u8; 8] = *b"packed1\n";
/// Bytes before the index.
const HEAD: u64 = 16;
/// Most bytes of a packed block: content that cannot be compressed takes a little more room.
const PACKED_MAX: usize = BLOCK + 1024;

/// The number of blocks of that many bytes of content.
const fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK as u64)
}

/// Where the first block begins: after the index. No size is too large for that.
const fn first_block(size: u64) -> u64 {
    HEAD + 8 * (blocks(size) + 1)
}
