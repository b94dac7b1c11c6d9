//! Sizes and names that all files here use.

use abi::Errno;

/// Bytes in a page.
pub const PAGE: u64 = abi::PAGE;

/// A frame of memory: its physical address shifted right by 12.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Frame(pub u32);

/// The host's handle for one snapshot: one snapfid at one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct SnapId(pub u32);

/// The host's handle for one swap file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct SwapId(pub u32);

/// Out of frames or of table memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

impl From<NoMemory> for Errno {
    fn from(_: NoMemory) -> Errno {
        Errno::ENOMEM
    }
}
