//! Structures that cross the system-call boundary, all `repr(C)`, without
//! padding that could carry kernel bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A pointer and a length in the caller's memory.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Slice {
    /// Address of the first byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct WaitMessage {
    /// Which one.
    pub pid: u64,
    /// 0 to 255; 0 is success. A process the kernel ended has 128.
    pub status: u32,
    /// Bytes used in `text`.
    pub text_len: u32,
    /// The reason, for users: the text of `exits`, or the kernel's.
    pub text: [u8; crate::TEXT_MAX],
}

/// All registers of a program that a note interrupted. The handler is called
/// as a C function, `handler(registers, text, len)`, and may change them; the
/// text ends with a zero byte that `len` does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
#[allow(missing_docs, reason = "fields are registers")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
    /// The exception's number; 256 and above: a system call.
    pub trap: u64,
    /// The processor's error code.
    pub error: u64,
    /// Of a page fault: the address that was touched.
    pub address: u64,
}

/// The description of a process.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u64,
    /// The parent's process id.
    pub parent: u64,
    /// Its note group.
    pub group: u64,
    /// Bytes of addresses in its segments.
    pub size: u64,
    /// Mapped pages, including shared frames.
    pub pages: u64,
    /// Ticks of the time stamp counter it ran.
    pub ticks: u64,
    /// Nanoseconds of the present wait; 0 unless it waits.
    pub waiting_ns: u64,
    /// [`ProcessInfo::READY`] and so on.
    pub state: u32,
    /// Bytes used in `name`.
    pub name_len: u32,
    /// The name.
    pub name: [u8; 32],
    /// Bytes used in `waits_for`.
    pub waits_for_len: u32,
    /// Open descriptors.
    pub descriptors: u32,
    /// The object that it waits for.
    pub waits_for: [u8; 32],
    /// Messages that the kernel has sent to file servers while it ran: for its calls and
    /// faults, and for pages that left memory then.
    pub messages: u64,
    /// Data bytes that came from file servers with the replies.
    pub bytes_in: u64,
    /// Data bytes in those messages.
    pub bytes_out: u64,
}

impl ProcessInfo {
    /// Ready, while another process runs.
    pub const READY: u32 = 1;
    /// It runs.
    pub const RUNNING: u32 = 2;
    /// It waits.
    pub const WAITING: u32 = 3;
    /// Ended; its parent has not waited for it.
    pub const ENDED: u32 = 4;

    /// Its name.
    pub fn name(&self) -> &str {
        text(&self.name, self.name_len)
    }

    /// The object that it waits for; empty unless it waits.
    pub fn waits_for(&self) -> &str {
        text(&self.waits_for, self.waits_for_len)
    }
}

/// The description of a segment of a process: its pages by state, each of which is
/// one, and what has happened to them since it was attached. Of memory whose frames
/// are fixed (`shared`, `device`, `dma`) there is no more than address and size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct SegmentInfo {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// The kind, zero bytes after it.
    pub kind: [u8; 16],
    /// Pages of a snapshot that are not transferred, or on the way.
    pub asleep: u64,
    /// Pages in frames that equal their snapshot.
    pub clean: u64,
    /// Changed pages in frames, and nowhere else.
    pub dirty: u64,
    /// Changed pages in frames that are in swap too.
    pub backed: u64,
    /// Changed pages in swap alone.
    pub swapped: u64,
    /// Pages in frames that other pages, or a cache, have too.
    pub shared: u64,
    /// Pages filled from a snapshot, by messages.
    pub fills: u64,
    /// Pages found in the frame cache.
    pub cached: u64,
    /// Pages made from zeros.
    pub zero_fills: u64,
    /// Pages copied because a store met a shared frame.
    pub copies: u64,
    /// Pages that came beside the one that was touched.
    pub ahead: u64,
    /// Pages taken away whose content is elsewhere too.
    pub evictions: u64,
    /// Changed pages written to swap.
    pub page_outs: u64,
    /// Pages brought back from swap.
    pub page_ins: u64,
}

impl SegmentInfo {
    /// Pages that have a frame.
    pub const fn in_frames(&self) -> u64 {
        self.clean + self.dirty + self.backed
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        let len = self.kind.iter().position(|byte| *byte == 0);
        text(&self.kind, len.unwrap_or(self.kind.len()) as u32)
    }
}

/// The first `len` bytes, up to the end of valid UTF-8.
fn text(bytes: &[u8], len: u32) -> &str {
    let bytes = bytes.get(..len as usize).unwrap_or(&[]);
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or(&[]))
            .unwrap_or_default(),
    }
}

/// Status of a process that the kernel ended.
pub const STATUS_KILLED: u32 = 128;

/// The attributes of a file. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Stat {
    /// The server's identity for the file.
    pub qid_path: u64,
    /// Bytes.
    pub size: u64,
    /// Linux mode bits, type included.
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of content.
    pub mtime_ns: u64,
    /// Last read.
    pub atime_ns: u64,
    /// The kernel's number for the file's server.
    pub server: u64,
}

impl Stat {
    /// The one at the front of these bytes.
    pub fn at_front(bytes: &[u8]) -> Option<Stat> {
        let read = Stat::read_from_prefix(bytes);
        read.ok().map(|(stat, _)| stat)
    }

    /// Returns true for a directory.
    pub const fn is_dir(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Returns true for a symbolic link.
    pub const fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }
}

/// The change of `FWStat`; a field counts if its bit in `valid` is set.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct StatChange {
    /// [`StatChange::SIZE`] and so on.
    pub valid: u64,
    /// New size in bytes.
    pub size: u64,
    /// New permission bits.
    pub mode: u64,
    /// New modification time.
    pub mtime_ns: u64,
}

impl StatChange {
    /// `size` counts.
    pub const SIZE: u64 = 1;
    /// `mode` counts.
    pub const MODE: u64 = 2;
    /// `mtime_ns` counts.
    pub const MTIME: u64 = 4;
    /// The modification time becomes the file server's now, by the clock that gives all
    /// its other files their times.
    pub const NOW: u64 = 8;
}

/// What is bound at a name, as `NameInfo` tells it. The name and the path of what is bound
/// there are in the buffer, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct BindInfo {
    /// The server whose file it is, as in [`Stat`]; 0: the kernel's own tree.
    pub server: u64,
    /// [`crate::bind`] bits; `AFTER` for all but the first member of a union.
    pub flags: u64,
    /// Bytes of the name, which is absolute.
    pub name_len: u32,
    /// Bytes of the path, which begins at the root of the server's tree.
    pub path_len: u32,
}

/// Head of a record from `ReadDir`; `name_len` bytes of name follow, then
/// zero bytes up to a multiple of 8.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct DirEntry {
    /// The server's identity for the file.
    pub qid_path: u64,
    /// Linux `d_type`: 4 directory, 8 file, 10 symbolic link, 2 character device; 0: the
    /// server does not say.
    pub kind: u32,
    /// Bytes of name that follow.
    pub name_len: u32,
}

/// The description of a received message or interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Received {
    /// The key given to `PortAdd` or `PortIrq`.
    pub key: u64,
    /// [`Received::MESSAGE`] and so on.
    pub kind: u32,
    /// Bytes of message, or interrupts since the last.
    pub len: u32,
}

impl Received {
    /// A message of `len` bytes is in the buffer.
    pub const MESSAGE: u32 = 0;
    /// `len` interrupts came.
    pub const INTERRUPT: u32 = 1;
    /// The other end is closed and everything it sent has been received.
    pub const HANGUP: u32 = 2;
    /// Nothing came, after the reply of a `ReplyRecv` was sent: the error of the call
    /// is that of receiving.
    pub const NOTHING: u32 = 3;
    /// The head of a message of `len` bytes is in the buffer; its data is lent.
    pub const LENT: u32 = 4;
}

/// The record of a `ReplyRecv`: what it received, and before that what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Replying {
    /// Set by the kernel.
    pub received: Received,
    /// What is sent.
    pub reply: Outgoing,
}

/// A message to be sent: the arguments of a `Send`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Outgoing {
    /// The descriptor of the channel.
    pub fd: u64,
    /// The address of the slices.
    pub slices: u64,
    /// How many there are.
    pub count: u64,
}

/// Most pages that `Recv` lends for the data of one reply: 128 KiB that begin within a
/// page.
pub const LOAN_MAX: usize = 33;

/// Added to the address of a loan in a `Recv`, a multiple of 8: the data of requests may
/// be lent as well, see [`lent`].
pub const LOAN_DATA: u64 = 1;

/// A part of the data of a request that stays with its client, in one word: bytes of one
/// page, by physical address.
pub mod lent {
    const LEN_SHIFT: u32 = 52;

    /// The word for `len` bytes, 1 to 4096, at a physical address.
    #[inline]
    pub const fn pack(at: u64, len: usize) -> u64 {
        at | (len as u64).wrapping_sub(1) << LEN_SHIFT
    }

    /// The address and the number of bytes.
    #[inline]
    pub const fn part(word: u64) -> (u64, usize) {
        let at = word & ((1 << LEN_SHIFT) - 1);
        (at, (word >> LEN_SHIFT) as usize + 1)
    }
}

/// `line` of `PortIrq`: a message-signalled interrupt.
pub const IRQ_MSI: u64 = u64::MAX;
/// Where a device writes a message-signalled interrupt.
pub const MSI_ADDRESS: u64 = 0xfee0_0000;

/// Counters a driver or file server keeps in its own memory, see
/// `Call::Counters`.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct DeviceCounters {
    /// Data bytes from the device (payload, no headers).
    pub bytes_in: u64,
    /// Data bytes to the device.
    pub bytes_out: u64,
    /// Requests answered by the device.
    pub requests: u64,
    /// Fids that a file server holds at its lower server.
    pub fids: u64,
    /// Files in use.
    pub files: u64,
    /// Snapshots held for clients.
    pub snapshots: u64,
    /// Before-images held for them.
    pub saved: u64,
    /// Before-images ever saved.
    pub rescued: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The numbers that `KStat` returns; the variant is the index.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Stat64 { $($(#[$doc])* $name,)* }

        impl Stat64 {
            /// In order.
            pub const ALL: &'static [Stat64] = &[$(Stat64::$name,)*];
            /// The number of counters.
            pub const COUNT: usize = Self::ALL.len();
        }
    };
}

counters! {
    /// 9P exchanges (a T and its R) between the kernel and servers.
    Messages,
    /// Data bytes in Rread (and Rreaddir) from servers.
    BytesIn,
    /// Data bytes in Twrite and Tput to servers.
    BytesOut,
    /// Data bytes from devices, see [`DeviceCounters`].
    DeviceIn,
    /// Data bytes to devices.
    DeviceOut,
    /// Requests answered by devices.
    DeviceRequests,
    /// Time stamp counter now; guest instructions under `--icount`.
    Ticks,
    /// Ticks spent idle.
    IdleTicks,
    /// 1 under `--icount`.
    Counted,
    /// 1 if deferral is off.
    Eager,
    /// Frames the kernel manages.
    FramesTotal,
    /// Frames free.
    FramesFree,
    /// Fids the kernel holds at servers (snapshots not included).
    Fids,
    /// Snapshots the kernel holds at servers.
    Snapshots,
    /// Processes alive or not yet waited for.
    Processes,
    /// Channels open.
    Channels,
    /// Page faults.
    Faults,
    /// Pages filled from a snapshot.
    Fills,
    /// Pages made from zeros.
    ZeroFills,
    /// Pages copied by a store to a shared frame.
    Copies,
    /// Sleeping pages that were found in the frame cache.
    Cached,
    /// Clean pages that left memory.
    Evictions,
    /// System calls.
    Calls,
    /// Interrupts.
    Interrupts,
    /// Switches between processes.
    Switches,
    /// Fids that file servers hold at their lower servers, see
    /// [`DeviceCounters`].
    ServerFids,
    /// Files in use at file servers.
    ServerFiles,
    /// Snapshots that file servers hold for their clients.
    ServerSnapshots,
    /// Before-images that they hold now.
    ServerSaved,
    /// Before-images that they have ever saved.
    ServerRescued,
    /// Pages brought by read-ahead, beside those that were touched.
    Ahead,
    /// Pages of read-ahead that were then used, as far as it is known: at the latest
    /// when the page is unmapped.
    AheadUsed,
    /// Changed pages written to swap.
    PageOuts,
    /// Pages brought back from swap.
    PageIns,
    /// 1 under `--pressure`.
    Pressure,
    /// Free frames with pages of files that nobody has and that the next reader finds.
    FramesIdle,
}
