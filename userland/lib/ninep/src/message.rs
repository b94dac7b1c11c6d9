//! The messages. One table per direction gives the enum, its decoder and its
//! encoder, so that the three cannot disagree.
use crate::consts::*;
use crate::list::{Changes, Names, PutOps, Qids, Ranges};
use crate::types::{Attr, Qid, SetAttr, StatFs};
use crate::wire::{Counted, Malformed, Reader, Rest, TooSmall, Wire, Writer};
use abi::Errno;
use bytestr::ByteStr;

/// A field as its type says, or as a payload codec says.
macro_rules! get {
    ($r:ident) => {
        $r.get()?
    };
    ($r:ident $codec:ident) => {
        $codec::get($r)?
    };
}

macro_rules! put {
    ($w:ident $field:ident) => {
        $field.put($w)?
    };
    ($w:ident $field:ident $codec:ident) => {
        $codec::put($field, $w)?
    };
}

macro_rules! messages {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident
            $(($inner:ident: $itype:ty))?
            $({ $($field:ident: $type:ty $(as $codec:ident)?),* $(,)? })?
            = $kind:ident,)*
    }) => {
        $(#[$doc])*
        // The fields have the protocol's names; each variant shows its layout.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name<'a> {
            $($(#[$vdoc])* $variant $(($itype))? $({ $($field: $type),* })?,)*
        }

        impl<'a> $name<'a> {
            /// The type number.
            #[inline]
            pub const fn kind(&self) -> u8 {
                match self { $($name::$variant { .. } => $kind,)* }
            }

            /// The name of the messages with that type number.
            pub const fn name_of(kind: u8) -> Option<&'static str> {
                match kind {
                    $($kind => Some(stringify!($variant)),)*
                    _ => None,
                }
            }

            #[inline]
            pub(crate) fn get(kind: u8, r: &mut Reader<'a>) -> Result<Self, Malformed> {
                Ok(match kind {
                    $($kind => $name::$variant {
                        $(0: r.get::<$itype>()?,)?
                        $($($field: get!(r $($codec)?),)*)?
                    },)*
                    kind => return Err(Malformed::Kind(kind)),
                })
            }

            #[inline]
            pub(crate) fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
                match self {
                    $($name::$variant { $(0: $inner,)? $($($field),*)? } => {
                        $(put!(w $inner);)?
                        $($(put!(w $field $($codec)?);)*)?
                    })*
                }
                Ok(())
            }
        }
    };
}

messages! {
    /// Requests of a client (T messages).
    Request {
        /// `size[4] Tstatfs tag[2] fid[4]`
        Statfs { fid: u32 } = TSTATFS,
        /// `size[4] Tlopen tag[2] fid[4] flags[4]`
        Lopen { fid: u32, flags: u32 } = TLOPEN,
        /// `size[4] Tlcreate tag[2] fid[4] name[s] flags[4] mode[4] gid[4]`
        Lcreate { fid: u32, name: ByteStr<'a>, flags: u32, mode: u32, gid: u32 } = TLCREATE,
        /// `size[4] Tsymlink tag[2] dfid[4] name[s] target[s] gid[4]`
        Symlink { dfid: u32, name: ByteStr<'a>, target: ByteStr<'a>, gid: u32 } = TSYMLINK,
        /// `size[4] Tmknod tag[2] dfid[4] name[s] mode[4] major[4] minor[4] gid[4]`
        Mknod { dfid: u32, name: ByteStr<'a>, mode: u32, major: u32, minor: u32, gid: u32 } = TMKNOD,
        /// `size[4] Trename tag[2] fid[4] dfid[4] name[s]`
        Rename { fid: u32, dfid: u32, name: ByteStr<'a> } = TRENAME,
        /// `size[4] Treadlink tag[2] fid[4]`
        Readlink { fid: u32 } = TREADLINK,
        /// `size[4] Tgetattr tag[2] fid[4] request_mask[8]`
        Getattr { fid: u32, mask: u64 } = TGETATTR,
        /// `size[4] Tsetattr tag[2] fid[4] valid[4] mode[4] uid[4] gid[4] size[8]`
        /// `atime_sec[8] atime_nsec[8] mtime_sec[8] mtime_nsec[8]`
        Setattr { fid: u32, attr: SetAttr } = TSETATTR,
        /// `size[4] Txattrwalk tag[2] fid[4] newfid[4] name[s]`
        Xattrwalk { fid: u32, newfid: u32, name: ByteStr<'a> } = TXATTRWALK,
        /// `size[4] Txattrcreate tag[2] fid[4] name[s] attr_size[8] flags[4]`
        Xattrcreate { fid: u32, name: ByteStr<'a>, size: u64, flags: u32 } = TXATTRCREATE,
        /// `size[4] Treaddir tag[2] fid[4] offset[8] count[4]`
        Readdir { fid: u32, offset: u64, count: u32 } = TREADDIR,
        /// `size[4] Tfsync tag[2] fid[4] datasync[4]`
        Fsync { fid: u32, datasync: u32 } = TFSYNC,
        /// `size[4] Tlock tag[2] fid[4] kind[1] flags[4] start[8] length[8] proc_id[4] client_id[s]`
        Lock {
            fid: u32, kind: u8, flags: u32, start: u64, length: u64, proc_id: u32,
            client_id: ByteStr<'a>,
        } = TLOCK,
        /// `size[4] Tgetlock tag[2] fid[4] kind[1] start[8] length[8] proc_id[4] client_id[s]`
        Getlock {
            fid: u32, kind: u8, start: u64, length: u64, proc_id: u32, client_id: ByteStr<'a>,
        } = TGETLOCK,
        /// `size[4] Tlink tag[2] dfid[4] fid[4] name[s]`
        Link { dfid: u32, fid: u32, name: ByteStr<'a> } = TLINK,
        /// `size[4] Tmkdir tag[2] dfid[4] name[s] mode[4] gid[4]`
        Mkdir { dfid: u32, name: ByteStr<'a>, mode: u32, gid: u32 } = TMKDIR,
        /// `size[4] Trenameat tag[2] olddirfid[4] oldname[s] newdirfid[4] newname[s]`
        Renameat { olddirfid: u32, oldname: ByteStr<'a>, newdirfid: u32, newname: ByteStr<'a> } = TRENAMEAT,
        /// `size[4] Tunlinkat tag[2] dirfid[4] name[s] flags[4]`
        Unlinkat { dirfid: u32, name: ByteStr<'a>, flags: u32 } = TUNLINKAT,
        /// `size[4] Tversion tag[2] msize[4] version[s]`, tag [`NOTAG`]
        Version { msize: u32, version: ByteStr<'a> } = TVERSION,
        /// `size[4] Tauth tag[2] afid[4] uname[s] aname[s] n_uname[4]`
        Auth { afid: u32, uname: ByteStr<'a>, aname: ByteStr<'a>, n_uname: u32 } = TAUTH,
        /// `size[4] Tattach tag[2] fid[4] afid[4] uname[s] aname[s] n_uname[4]`
        Attach { fid: u32, afid: u32, uname: ByteStr<'a>, aname: ByteStr<'a>, n_uname: u32 } = TATTACH,
        /// `size[4] Tflush tag[2] oldtag[2]`
        Flush { oldtag: u16 } = TFLUSH,
        /// `size[4] Twalk tag[2] fid[4] newfid[4] n[2] n*(name[s])`
        Walk { fid: u32, newfid: u32, names: Names<'a> } = TWALK,
        /// `size[4] Tread tag[2] fid[4] offset[8] count[4]`
        Read { fid: u32, offset: u64, count: u32 } = TREAD,
        /// `size[4] Twrite tag[2] fid[4] offset[8] count[4] data[count]`
        Write { fid: u32, offset: u64, data: &'a [u8] as Counted } = TWRITE,
        /// `size[4] Tclunk tag[2] fid[4]`
        Clunk { fid: u32 } = TCLUNK,
        /// `size[4] Tremove tag[2] fid[4]`
        Remove { fid: u32 } = TREMOVE,
        /// `size[4] Tsession tag[2] session[16]`: the client's random id, sent
        /// after `Tversion` and before the first `Tattach`.
        Session { session: [u8; 16] } = TSESSION,
        /// `size[4] Tsnap tag[2] fid[4] snapfid[4] off[8] count[8] epoch[8]
        /// known[8]`: adds `[off, off + count)` of the open file `fid`, as it
        /// is now, to `snapfid`, which is created if unused. `epoch` not 0: as
        /// it was at that epoch, or `ESTALE`. `known`: the epoch from which
        /// [`Changes`] counts; 0 asks for no list.
        Snap { fid: u32, snapfid: u32, off: u64, count: u64, epoch: u64, known: u64 } = TSNAP,
        /// `size[4] Tput tag[2] fid[4] wid[8] ack[8] flags[4] off[8] into[4] known[8] n[2] n*op data`
        /// with `op = kind[1] off[8] len[8]`, followed for KEEP by
        /// `snapfid[4] soff[8]`. `off` is the base of the whole write, the
        /// same in all messages of a wid; the operations' offsets are
        /// relative to it. `into`: a snapfid, or [`NOFID`].
        Put {
            fid: u32, wid: u64, ack: u64, flags: u32, off: u64, into: u32, known: u64,
            ops: PutOps<'a>, data: &'a [u8] as Rest,
        } = TPUT,
        /// `size[4] Ttrim tag[2] snapfid[4] n[2] n*(off[8] len[8])`: removes
        /// these ranges from the snapshot.
        Trim { snapfid: u32, ranges: Ranges<'a> } = TTRIM,
        /// `size[4] Twalkattr tag[2] fid[4] request_mask[8] n[2] n*(name[s])`: a walk
        /// that makes no fid, and the attributes of what it leads to.
        Walkattr { fid: u32, mask: u64, names: Names<'a> } = TWALKATTR,
        /// `size[4] Twalkopen tag[2] fid[4] newfid[4] flags[4] n[2] n*(name[s])`: a walk,
        /// and the opening of what it leads to, unless that is a symbolic link.
        Walkopen { fid: u32, newfid: u32, flags: u32, names: Names<'a> } = TWALKOPEN,
        /// `size[4] Treaddirattr tag[2] fid[4] dfid[4] offset[8] count[4] request_mask[8]`: a
        /// `Treaddir` of the open `fid` that brings the attributes, as walks from
        /// `dfid` find them.
        Readdirattr { fid: u32, dfid: u32, offset: u64, count: u32, mask: u64 } = TREADDIRATTR,
    }
}

messages! {
    /// Replies of a server (R messages).
    Reply {
        /// `size[4] Rlerror tag[2] ecode[4]`
        Error(errno: Errno) = RLERROR,
        /// `size[4] Rstatfs tag[2] kind[4] bsize[4] blocks[8] bfree[8] bavail[8]`
        /// `files[8] ffree[8] fsid[8] namelen[4]`
        Statfs(statfs: StatFs) = RSTATFS,
        /// `size[4] Rlopen tag[2] qid[13] iounit[4]`
        Lopen { qid: Qid, iounit: u32 } = RLOPEN,
        /// `size[4] Rlcreate tag[2] qid[13] iounit[4]`
        Lcreate { qid: Qid, iounit: u32 } = RLCREATE,
        /// `size[4] Rsymlink tag[2] qid[13]`
        Symlink { qid: Qid } = RSYMLINK,
        /// `size[4] Rmknod tag[2] qid[13]`
        Mknod { qid: Qid } = RMKNOD,
        /// `size[4] Rrename tag[2]`
        Rename = RRENAME,
        /// `size[4] Rreadlink tag[2] target[s]`
        Readlink { target: ByteStr<'a> } = RREADLINK,
        /// `size[4] Rgetattr tag[2]` and the fields of [`Attr`]
        Getattr(attr: Attr) = RGETATTR,
        /// `size[4] Rsetattr tag[2]`
        Setattr = RSETATTR,
        /// `size[4] Rxattrwalk tag[2] size[8]`
        Xattrwalk { size: u64 } = RXATTRWALK,
        /// `size[4] Rxattrcreate tag[2]`
        Xattrcreate = RXATTRCREATE,
        /// `size[4] Rreaddir tag[2] count[4] data[count]`, see [`crate::DirEntries`]
        Readdir { data: &'a [u8] as Counted } = RREADDIR,
        /// `size[4] Rfsync tag[2]`
        Fsync = RFSYNC,
        /// `size[4] Rlock tag[2] status[1]`
        Lock { status: u8 } = RLOCK,
        /// `size[4] Rgetlock tag[2] kind[1] start[8] length[8] proc_id[4] client_id[s]`
        Getlock { kind: u8, start: u64, length: u64, proc_id: u32, client_id: ByteStr<'a> } = RGETLOCK,
        /// `size[4] Rlink tag[2]`
        Link = RLINK,
        /// `size[4] Rmkdir tag[2] qid[13]`
        Mkdir { qid: Qid } = RMKDIR,
        /// `size[4] Rrenameat tag[2]`
        Renameat = RRENAMEAT,
        /// `size[4] Runlinkat tag[2]`
        Unlinkat = RUNLINKAT,
        /// `size[4] Rversion tag[2] msize[4] version[s]`
        Version { msize: u32, version: ByteStr<'a> } = RVERSION,
        /// `size[4] Rauth tag[2] aqid[13]`
        Auth { aqid: Qid } = RAUTH,
        /// `size[4] Rattach tag[2] qid[13]`
        Attach { qid: Qid } = RATTACH,
        /// `size[4] Rflush tag[2]`
        Flush = RFLUSH,
        /// `size[4] Rwalk tag[2] n[2] n*(qid[13])`
        Walk { qids: Qids<'a> } = RWALK,
        /// `size[4] Rread tag[2] count[4] data[count]`
        Read { data: &'a [u8] as Counted } = RREAD,
        /// `size[4] Rwrite tag[2] count[4]`
        Write { count: u32 } = RWRITE,
        /// `size[4] Rclunk tag[2]`
        Clunk = RCLUNK,
        /// `size[4] Rremove tag[2]`
        Remove = RREMOVE,
        /// `size[4] Rsession tag[2] known[1] lease[4] wmax[4] epoch[8]`.
        /// `known`: the server kept everything of this session. `lease`:
        /// seconds it keeps it after a hang-up. `wmax`: most bytes one commit
        /// moves. `epoch`: the server's newest.
        Session { known: bool, lease: u32, wmax: u32, epoch: u64 } = RSESSION,
        /// `size[4] Rsnap tag[2] qid[13] epoch[8] count[8] size[8] n[2] n*(off[8] len[8])`.
        /// `epoch`: of the file's last change. `count`: bytes added. `size`:
        /// of the file, at this moment.
        Snap { qid: Qid, epoch: u64, count: u64, size: u64, changes: Changes<'a> } = RSNAP,
        /// `size[4] Rput tag[2] off[8] count[8] epoch[8] assoc[1] n[2]
        /// n*(off[8] len[8])`. `off`: the base offset. `count`: bytes of the
        /// write done, from `off`. `epoch`: the file's new epoch. `assoc`:
        /// `into` now covers the ranges of `[off, off + count)` that were put.
        Put { off: u64, count: u64, epoch: u64, assoc: bool, changes: Changes<'a> } = RPUT,
        /// `size[4] Rtrim tag[2]`
        Trim = RTRIM,
        /// `size[4] Rwalkattr tag[2] n[2] n*(qid[13])` and the fields of [`Attr`], all 0
        /// if the walk did not come to its end.
        Walkattr { qids: Qids<'a>, attr: Attr } = RWALKATTR,
        /// `size[4] Rwalkopen tag[2] n[2] n*(qid[13])`. The fid was made and opened if
        /// all names were walked and the last is no symbolic link.
        Walkopen { qids: Qids<'a> } = RWALKOPEN,
        /// `size[4] Rreaddirattr tag[2] count[4] data[count]`, see [`crate::DirAttrs`]
        Readdirattr { data: &'a [u8] as Counted } = RREADDIRATTR,
    }
}
