//! The written list: everything that can happen in the tiny world, and where
//! it starts.

use crate::PAGE;
use crate::server::File;
use crate::swap::Harm;

/// Process A.
pub const A: usize = 0;
/// Process B.
pub const B: usize = 1;
/// A page, for short.
const P: usize = PAGE;
/// Half a page.
const H: usize = PAGE / 2;

/// An operation. Files are descriptors and names: 0 and 1. Bytes that are
/// stored or written differ from step to step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// A process reads `n` bytes at `off` of a file to `at` in its segment.
    Read {
        /// Whose.
        space: usize,
        /// Where to.
        at: usize,
        /// How much.
        n: usize,
        /// Which file.
        file: File,
        /// Where from.
        off: usize,
        /// With deferral off.
        eager: bool,
    },
    /// A process writes `n` bytes at `at` of its segment to the file.
    Write {
        /// Whose.
        space: usize,
        /// Where from.
        at: usize,
        /// How much.
        n: usize,
        /// Which file.
        file: File,
        /// Where to; `None`: to its end.
        off: Option<usize>,
    },
    /// A process stores bytes.
    Store(usize, usize, usize),
    /// A process loads bytes.
    Load(usize, usize, usize),
    /// A process frees bytes.
    Free(usize, usize, usize),
    /// All clean pages of a process leave memory.
    Evict(usize),
    /// All changed pages of a process leave memory.
    PageOut(usize),
    /// The next request to the swap server fails.
    FailSwap(Harm),
    /// The other process ends, if there is one, and becomes a copy of this.
    Fork(usize),
    /// A process ends.
    Exit(usize),
    /// Another client writes `n` bytes at an offset.
    Foreign(File, usize, usize),
    /// Another client sets the size.
    Truncate(File, usize),
    /// Another client removes a name.
    Remove(File),
    /// Another client renames the first over the second.
    Rename(File, File),
    /// The kernel closes its descriptor and opens the name again.
    Reopen(File),
    /// A message of the kernel fails, after the given number of others.
    FailMessage(u64),
    /// From now on there is no room for temporary files at the server, or
    /// there is again.
    ToggleFull,
    /// From now on the server has no room for snapshots, or has it again.
    ToggleRoom,
    /// Removes or restores the space for files beyond their first page.
    ToggleDiskFull,
    /// The server is restarted. Another client is back before the kernel is,
    /// and may write to file 0 meanwhile.
    Restart {
        /// It does.
        late: bool,
    },
}

const fn read(space: usize, at: usize, n: usize, file: File, off: usize) -> Op {
    Op::Read {
        space,
        at,
        n,
        file,
        off,
        eager: false,
    }
}

const fn write(space: usize, at: usize, n: usize, file: File, off: usize) -> Op {
    Op::Write {
        space,
        at,
        n,
        file,
        off: Some(off),
    }
}

/// Size of file 0 at first: two pages.
pub const SIZE_0: usize = 2 * P;
/// Size of file 1 at first: its second page is short.
pub const SIZE_1: usize = P + 1904;

/// The list. Each process's buffer is the first two pages of its segment;
/// ragged operations may reach into the third.
pub const OPS: &[(&str, Op)] = &[
    ("A-reads-f0", read(A, 0, 2 * P, 0, 0)),
    ("A-reads-p0", read(A, 0, P, 0, 0)),
    ("A-reads-p1", read(A, P, P, 0, P)),
    ("A-reads-f1", read(A, 0, 2 * P, 1, 0)),
    ("A-reads-f0-to-byte-2", read(A, 2, 2 * P, 0, 0)),
    ("A-reads-f0-from-half", read(A, 0, P, 0, H)),
    ("A-reads-p1-to-p0", read(A, 0, P, 0, P)),
    ("A-reads-a-bit", read(A, 1000, 3000, 0, 1000)),
    (
        "A-reads-f0-eagerly",
        Op::Read {
            space: A,
            at: 0,
            n: 2 * P,
            file: 0,
            off: 0,
            eager: true,
        },
    ),
    ("A-writes-back", write(A, 0, 2 * P, 0, 0)),
    ("A-writes-back-p1", write(A, P, P, 0, P)),
    ("A-writes-back-a-bit", write(A, 100, 200, 0, 100)),
    ("A-writes-to-f1", write(A, 0, 2 * P, 1, 0)),
    ("A-writes-p0-over-p1", write(A, 0, P, 0, P)),
    ("A-writes-p1-over-p0", write(A, P, P, 0, 0)),
    ("A-writes-later", write(A, 0, P, 0, H)),
    ("A-writes-earlier", write(A, H, P, 0, 0)),
    (
        "A-appends-to-f1",
        Op::Write {
            space: A,
            at: 0,
            n: P + 100,
            file: 1,
            off: None,
        },
    ),
    ("A-stores-p0", Op::Store(A, 10, 30)),
    ("A-stores-across", Op::Store(A, P - 4, 8)),
    ("A-loads-p0", Op::Load(A, 0, 8)),
    ("A-loads-p1", Op::Load(A, P, 8)),
    ("A-frees-p0", Op::Free(A, 0, P)),
    ("A-frees-the-middle", Op::Free(A, H, P)),
    ("A-is-evicted", Op::Evict(A)),
    ("A-is-paged-out", Op::PageOut(A)),
    ("A-forks", Op::Fork(A)),
    ("A-exits", Op::Exit(A)),
    ("B-reads-f0", read(B, 0, 2 * P, 0, 0)),
    ("B-reads-p1", read(B, P, P, 0, P)),
    ("B-writes-back", write(B, 0, 2 * P, 0, 0)),
    ("B-writes-to-f1", write(B, 0, 2 * P, 1, 0)),
    ("B-stores-p0", Op::Store(B, 20, 30)),
    ("B-loads-all", Op::Load(B, 0, 2 * P)),
    ("B-exits", Op::Exit(B)),
    ("other-writes-p0", Op::Foreign(0, 20, 100)),
    ("other-writes-across", Op::Foreign(0, P - 100, 200)),
    ("other-writes-f1", Op::Foreign(1, 0, P)),
    ("other-cuts-f0", Op::Truncate(0, 1000)),
    ("other-sizes-f0", Op::Truncate(0, P + H)),
    ("other-empties-f1", Op::Truncate(1, 0)),
    ("other-removes-f0", Op::Remove(0)),
    ("other-renames-f1-over-f0", Op::Rename(1, 0)),
    ("f0-is-opened-again", Op::Reopen(0)),
    ("a-message-fails", Op::FailMessage(0)),
    ("the-second-message-fails", Op::FailMessage(1)),
    ("swap-fails", Op::FailSwap(Harm::Error)),
    ("swap-is-full-or-wrong", Op::FailSwap(Harm::FullOrFlipped)),
    ("store-full", Op::ToggleFull),
    ("disk-full", Op::ToggleDiskFull),
    ("no-room-for-snapshots", Op::ToggleRoom),
    ("server-restarts", Op::Restart { late: false }),
    ("server-restarts-late", Op::Restart { late: true }),
];

/// The initial states, by the operations that lead there. In the first, both
/// processes exist and have zeros.
pub const STARTS: &[(&str, &[&str])] = &[
    ("fresh", &[]),
    (
        "forked",
        &["A-reads-f0", "A-loads-p0", "A-stores-across", "A-forks"],
    ),
    ("half", &["A-reads-p0", "A-forks"]),
    (
        "written",
        &["A-reads-f0-to-byte-2", "A-stores-p0", "A-writes-earlier"],
    ),
    (
        "shared",
        &["A-reads-f0", "A-loads-p0", "B-reads-f0", "other-writes-p0"],
    ),
    (
        "swapped",
        &["A-reads-f0", "A-stores-across", "A-is-paged-out"],
    ),
];

/// The operation of that name.
pub fn named(name: &str) -> Option<usize> {
    OPS.iter().position(|(known, _)| *known == name)
}
