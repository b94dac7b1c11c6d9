//! The VM core's interface to servers: messages, and waiting.

use core::ops::Range;

use abi::Errno;

use crate::{Frame, Memory, Segment, SnapId, Swap, Ticket};

/// Most operations in one staged message ([`Put::ops`]).
pub const OPS_MAX: usize = 48;
/// Most pieces of frames in one staged message ([`Put::data`]): 128 KiB at any
/// alignment.
pub const SLICES_MAX: usize = 33;
/// Most frames in one [`Host::read_run`].
pub const RUN_MAX: usize = 33;
/// Most ranges in one [`Host::trim`].
pub const TRIM_MAX: usize = 32;

/// The result of [`Host::snap`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapped {
    /// The snapshot. A fresh one comes with one reference, the caller's; one
    /// that was grown has no reference added.
    pub snap: SnapId,
    /// Bytes of it from the offset asked for: short at the end of the file.
    pub count: u64,
}

/// Where [`Host::read_run`] reads from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin<F> {
    /// A snapshot, at offsets of its file.
    Snap(SnapId),
    /// The live file, for servers without snapshots or room for one.
    Live(F),
}

/// The kind of an operation of a write on its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// The next bytes of [`Put::data`].
    Data,
    /// Equal to the snapshot at that offset of its file.
    Keep {
        /// The snapshot.
        snap: SnapId,
        /// Offset in the snapshot's file.
        soff: u64,
    },
    /// Zeros.
    Zero,
}

/// One operation of a write. In a message they ascend and adjoin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    /// The new content of the range.
    pub kind: OpKind,
    /// First byte, relative to [`Put::off`].
    pub off: u64,
    /// Bytes, more than zero.
    pub len: u64,
}

/// A piece of a frame: bytes `[at, at + len)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameSlice {
    /// The frame.
    pub frame: Frame,
    /// First byte in it.
    pub at: u16,
    /// Bytes, more than zero.
    pub len: u16,
}

/// One staged message of a write (a Tput).
#[derive(Clone, Copy, Debug)]
pub struct Put<'a, F> {
    /// The open file.
    pub file: F,
    /// From [`Host::put_begin`]; the same in all messages of one commit.
    pub wid: u64,
    /// The base offset in the file, the same in all messages of one commit.
    /// Without meaning if `append`.
    pub off: u64,
    /// The server picks the base: the end of the file.
    pub append: bool,
    /// This is the last message of its wid: everything staged takes effect.
    pub commit: bool,
    /// The snapshot that the written ranges are associated with.
    pub into: Option<SnapId>,
    /// At most [`crate::OPS_MAX`], and at most [`Limits::ops`].
    pub ops: &'a [Op],
    /// At most [`crate::SLICES_MAX`], at most [`Limits::iounit`] bytes: the bytes of
    /// the DATA operations, in order.
    pub data: &'a [FrameSlice],
}

/// The answer to a commit (an Rput).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutReply {
    /// The base offset the server used.
    pub off: u64,
    /// Bytes from there that are now as the operations say. May be short.
    pub count: u64,
    /// `into` now covers the ranges of `[off, off + count)` that were put.
    pub assoc: bool,
}

/// The limits of a file's server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most data bytes in one message; at least 1. Clamped to 128 KiB here.
    pub iounit: u64,
    /// Most operations in one message; at least 1.
    pub ops: usize,
    /// Most bytes sent or moved by one commit.
    pub wmax: u64,
    /// True if the server has the snapshot messages. If not, `read` uses
    /// [`Host::read_run`] of [`Origin::Live`], and `write` calls
    /// [`Host::put_send`] with exactly one DATA operation at offset 0 and
    /// `commit`: a plain Twrite.
    pub snapshots: bool,
}

/// One operation's view of the world: the segment, which it can lock, and
/// messages, for which it waits. In the kernel: a process in a system call or
/// fault.
pub trait Host: Swap {
    /// Frames and translations of the segment.
    type Memory: Memory;
    /// An open file: a fid at a server.
    type File: Copy;

    /// Runs `f` with the segment locked; nothing in `f` blocks.
    fn with<R>(&mut self, f: impl FnOnce(&mut Segment, &mut Self::Memory) -> R) -> R;

    /// In the middle of long work, with nothing locked: others may run. `false`
    /// if the process is to end, for work that can be given up.
    fn pause(&mut self) -> bool {
        true
    }

    /// Takes a snapshot of `[off, off + count)` of the file as it is now, into
    /// a fresh handle, or, with `grow`, adds that range to a snapshot this
    /// segment holds (its delta and file fit). Blocks.
    ///
    /// # Errors
    /// `EMFILE`: the server has no room for it. Then the file is read without one.
    fn snap(
        &mut self,
        file: Self::File,
        off: u64,
        count: u64,
        grow: Option<SnapId>,
    ) -> Result<Snapped, Errno>;
    /// A fresh handle with one reference for a snapshot that does not exist
    /// yet: the target of [`Put::into`]. No message.
    fn new_snap(&mut self, file: Self::File) -> Result<SnapId, Errno>;
    /// Another segment starts to refer to the snapshot. Does not block.
    fn retain_snap(&mut self, snap: SnapId);
    /// A segment no longer refers to it; the last one clunks it, without
    /// waiting for the answer.
    fn release_snap(&mut self, snap: SnapId);
    /// Trims bytes of the snapshot's file (offsets, at most [`crate::TRIM_MAX`]
    /// ranges). Does not wait for the server's answer; later requests that give
    /// the snapshot new content must not overtake the trim. `false`: others
    /// hold the snapshot too, or a trim is not possible now.
    fn trim(&mut self, snap: SnapId, ranges: &[Range<u64>]) -> bool;
    /// Bytes that are worth a [`Host::trim`].
    fn trim_worth(&self) -> u64 {
        64 << 10
    }
    /// References to the snapshot.
    fn holders(&self, snap: SnapId) -> u32;
    /// Returns true if the snapshot is at the server of the file.
    fn same_server(&self, snap: SnapId, file: Self::File) -> bool;
    /// Returns true if it is a snapshot of the file.
    fn same_file(&self, snap: SnapId, file: Self::File) -> bool;

    /// Reads `len` bytes at offset `soff` of a snapshot's file to byte `at` of
    /// a frame that is not mapped. Blocks. The count may be short.
    fn read_snap(
        &mut self,
        snap: SnapId,
        soff: u64,
        frame: Frame,
        at: usize,
        len: usize,
    ) -> Result<usize, Errno>;
    /// Most frames, 1 to [`RUN_MAX`], that one `read_run` of the snapshot fills.
    fn run_max(&self, snap: SnapId) -> usize;
    /// As `read_snap`, into several unmapped frames one after the other, from
    /// byte `at` of the first; at most [`Limits::iounit`] bytes, one message.
    fn read_run(
        &mut self,
        from: Origin<Self::File>,
        off: u64,
        frames: &[Frame],
        at: usize,
        len: usize,
    ) -> Result<usize, Errno>;

    /// Starts a commit: a wid no other write of this session has.
    fn put_begin(&mut self, file: Self::File) -> Result<u64, Errno>;
    /// Sends one message without waiting for its answer (it may wait for room).
    /// A host that keeps the frames beyond this call retains them itself.
    fn put_send(&mut self, put: &Put<'_, Self::File>) -> Result<(), Errno>;
    /// Waits for the answers to all messages of the wid; the answer to the
    /// commit, or the first error.
    fn put_wait(&mut self, file: Self::File, wid: u64) -> Result<PutReply, Errno>;
    /// Forgets a wid whose commit was not sent, at the server too.
    fn put_abort(&mut self, file: Self::File, wid: u64);

    /// Sleeps until the fill of `page` with that ticket is over. `EINTR` if
    /// the process is to die. May return early.
    fn wait_fill(&mut self, page: u64, ticket: Ticket) -> Result<(), Errno>;
    /// Wakes the processes that wait for the fill of any page with that ticket.
    fn wake_fill(&mut self, page: u64, ticket: Ticket);

    /// The switch: `false` makes every `read` of the file into this segment
    /// eager.
    fn deferred(&self, file: Self::File) -> bool;
    /// The limits of the file's server.
    fn limits(&self, file: Self::File) -> Limits;
}
