//! Numbers of the protocol. The messages of 9P2000.L have the numbers that
//! Linux gives them; the messages of the dialect with snapshots use 200 to 213, which
//! are free.
use bytestr::ByteStr;

/// Tag of `Tversion`, and of nothing else.
pub const NOTAG: u16 = 0xffff;
/// "No fid" in `afid` and `into`.
pub const NOFID: u32 = 0xffff_ffff;
/// "No number" in `n_uname`: the server goes by `uname`.
pub const NONUNAME: u32 = 0xffff_ffff;
/// Bytes of `size[4] kind[1] tag[2]`.
pub const HEADER: usize = 7;
/// The part of the msize that the header of a `Twrite` or `Rread` needs.
pub const IOHDRSZ: u32 = 24;
/// Most names in one `Twalk`.
pub const MAXWELEM: usize = 16;
/// Bytes before the payload of an `Rread` or `Rreaddir`.
pub const READ_HEAD: usize = 11;
/// Bytes before the payload of a `Twrite`.
pub const WRITE_HEAD: usize = 23;

/// A server with snapshots.
pub const VERSION_SNAP: ByteStr<'static> = ByteStr(b"9P2000.L.snap");
/// The version without snapshots.
pub const VERSION_L: ByteStr<'static> = ByteStr(b"9P2000.L");
/// The answer to an unknown version.
pub const VERSION_UNKNOWN: ByteStr<'static> = ByteStr(b"unknown");

macro_rules! kinds {
    ($($t:ident $r:ident $number:literal)*) => { $(
        #[doc = concat!("Type number of the request (", $number, ").")]
        pub const $t: u8 = $number;
        #[doc = concat!("Type number of the reply (", $number, " + 1).")]
        pub const $r: u8 = $number + 1;
    )* };
}

kinds! {
    TLERROR RLERROR 6
    TSTATFS RSTATFS 8
    TLOPEN RLOPEN 12
    TLCREATE RLCREATE 14
    TSYMLINK RSYMLINK 16
    TMKNOD RMKNOD 18
    TRENAME RRENAME 20
    TREADLINK RREADLINK 22
    TGETATTR RGETATTR 24
    TSETATTR RSETATTR 26
    TXATTRWALK RXATTRWALK 30
    TXATTRCREATE RXATTRCREATE 32
    TREADDIR RREADDIR 40
    TFSYNC RFSYNC 50
    TLOCK RLOCK 52
    TGETLOCK RGETLOCK 54
    TLINK RLINK 70
    TMKDIR RMKDIR 72
    TRENAMEAT RRENAMEAT 74
    TUNLINKAT RUNLINKAT 76
    TVERSION RVERSION 100
    TAUTH RAUTH 102
    TATTACH RATTACH 104
    TFLUSH RFLUSH 108
    TWALK RWALK 110
    TREAD RREAD 116
    TWRITE RWRITE 118
    TCLUNK RCLUNK 120
    TREMOVE RREMOVE 122
    TSESSION RSESSION 200
    TSNAP RSNAP 202
    TPUT RPUT 204
    TTRIM RTRIM 206
    TWALKATTR RWALKATTR 208
    TWALKOPEN RWALKOPEN 210
    TREADDIRATTR RREADDIRATTR 212
}

/// `flags` of `Tlopen` and `Tlcreate`: Linux's numbers.
pub mod open {
    /// Read only.
    pub const RDONLY: u32 = 0;
    /// Write only.
    pub const WRONLY: u32 = 1;
    /// Read and write.
    pub const RDWR: u32 = 2;
    /// The bits of the three above.
    pub const ACCESS: u32 = 3;
    /// Create if absent.
    pub const CREAT: u32 = 0o100;
    /// Fail if present.
    pub const EXCL: u32 = 0o200;
    /// Truncate.
    pub const TRUNC: u32 = 0o1000;
    /// Every write goes to the end.
    pub const APPEND: u32 = 0o2000;
    /// Do not wait.
    pub const NONBLOCK: u32 = 0o4000;
    /// Past the host's cache.
    pub const DIRECT: u32 = 0o40000;
    /// Fail if not a directory.
    pub const DIRECTORY: u32 = 0o200_000;
    /// Do not follow a symbolic link at the end.
    pub const NOFOLLOW: u32 = 0o400_000;
}

/// `request_mask` and `valid` of getattr.
pub mod getattr {
    /// Type and permissions.
    pub const MODE: u64 = 0x1;
    /// Link count.
    pub const NLINK: u64 = 0x2;
    /// Owner.
    pub const UID: u64 = 0x4;
    /// Group.
    pub const GID: u64 = 0x8;
    /// Device number.
    pub const RDEV: u64 = 0x10;
    /// Access time.
    pub const ATIME: u64 = 0x20;
    /// Content time.
    pub const MTIME: u64 = 0x40;
    /// Change time.
    pub const CTIME: u64 = 0x80;
    /// Inode number.
    pub const INO: u64 = 0x100;
    /// Bytes.
    pub const SIZE: u64 = 0x200;
    /// Blocks.
    pub const BLOCKS: u64 = 0x400;
    /// All of the above.
    pub const BASIC: u64 = 0x7ff;
}

/// `valid` of setattr.
pub mod setattr {
    /// Permissions.
    pub const MODE: u32 = 0x1;
    /// Owner.
    pub const UID: u32 = 0x2;
    /// Group.
    pub const GID: u32 = 0x4;
    /// Bytes.
    pub const SIZE: u32 = 0x8;
    /// Access time: the server's now, unless [`ATIME_SET`].
    pub const ATIME: u32 = 0x10;
    /// Content time: the server's now, unless [`MTIME_SET`].
    pub const MTIME: u32 = 0x20;
    /// Change time.
    pub const CTIME: u32 = 0x40;
    /// Access time as given.
    pub const ATIME_SET: u32 = 0x80;
    /// Content time as given.
    pub const MTIME_SET: u32 = 0x100;
}

/// `flags` of `Tunlinkat`.
pub mod unlink {
    /// Remove a directory.
    pub const REMOVEDIR: u32 = 0x200;
}

/// `kind` of a qid.
pub mod qid {
    /// Directory.
    pub const DIR: u8 = 0x80;
    /// Append only.
    pub const APPEND: u8 = 0x40;
    /// Exclusive use.
    pub const EXCL: u8 = 0x20;
    /// Symbolic link.
    pub const SYMLINK: u8 = 0x02;
    /// Plain file.
    pub const FILE: u8 = 0x00;
}

/// `flags` of `Tput`.
pub mod put {
    /// The last message of this write: do it now, all at once.
    pub const COMMIT: u32 = 1;
    /// The server picks the base offset: the end of the file at commit.
    pub const APPEND: u32 = 2;
    /// Discard the messages staged under this wid.
    pub const ABORT: u32 = 4;
    /// All of the above; other bits are malformed.
    pub const ALL: u32 = 7;
}
