//! Records inside messages.
use crate::wire::{Fixed, Malformed, Reader, TooSmall, Wire, Writer};
use bytestr::ByteStr;
use core::marker::PhantomData;

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }

        impl Fixed for $name {
            const LEN: usize = 0 $(+ <$type as Fixed>::LEN)*;
        }

        // One look at the length for all fields.
        impl<'a> Wire<'a> for $name {
            #[inline]
            fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
                let mut r = r.part::<{ <$name as Fixed>::LEN }>()?;
                Ok($name { $($field: r.get()?,)* })
            }
            #[inline]
            fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
                w.part::<{ <$name as Fixed>::LEN }>(|w| {
                    $(self.$field.put(w)?;)*
                    Ok(())
                })
            }
        }
    )* };
}

records! {
    /// The server's identity for a file: `kind[1] version[4] path[8]`.
    Qid {
        /// [`crate::consts::qid`] bits.
        kind: u8,
        /// Changes with the content, on servers that care.
        version: u32,
        /// Unique among the server's files.
        path: u64,
    }

    /// The body of `Rgetattr`. Times are seconds and nanoseconds since 1970.
    Attr {
        /// Which fields count: [`crate::consts::getattr`] bits.
        valid: u64,
        /// The file.
        qid: Qid,
        /// Linux mode bits, type included.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Hard links.
        nlink: u64,
        /// Device number of a device.
        rdev: u64,
        /// Bytes.
        size: u64,
        /// Preferred size of an I/O in bytes.
        blksize: u64,
        /// Space in units of 512 bytes.
        blocks: u64,
        /// Last read.
        atime_sec: u64,
        /// Nanoseconds of it.
        atime_nsec: u64,
        /// Last change of content.
        mtime_sec: u64,
        /// Nanoseconds of it.
        mtime_nsec: u64,
        /// Last change of attributes.
        ctime_sec: u64,
        /// Nanoseconds of it.
        ctime_nsec: u64,
        /// Reserved by the protocol.
        btime_sec: u64,
        /// Reserved by the protocol.
        btime_nsec: u64,
        /// Reserved by the protocol.
        r#gen: u64,
        /// Reserved by the protocol.
        data_version: u64,
    }

    /// The body of `Tsetattr`, after the fid.
    SetAttr {
        /// Which fields count: [`crate::consts::setattr`] bits.
        valid: u32,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Bytes.
        size: u64,
        /// Access time.
        atime_sec: u64,
        /// Nanoseconds of it.
        atime_nsec: u64,
        /// Content time.
        mtime_sec: u64,
        /// Nanoseconds of it.
        mtime_nsec: u64,
    }

    /// The body of `Rstatfs`, as Linux's `statfs`.
    StatFs {
        /// Magic number of the file system.
        kind: u32,
        /// Bytes in a block.
        bsize: u32,
        /// Blocks.
        blocks: u64,
        /// Blocks free.
        bfree: u64,
        /// Blocks free for users.
        bavail: u64,
        /// Files.
        files: u64,
        /// Files free.
        ffree: u64,
        /// Identity of the file system.
        fsid: u64,
        /// Most bytes in a name.
        namelen: u32,
    }
}

/// One entry of an `Rreaddir`: `qid[13] offset[8] kind[1] name[s]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// The file.
    pub qid: Qid,
    /// Where to go on reading after this entry.
    pub offset: u64,
    /// Linux `d_type`: 4 directory, 8 file, 10 symbolic link.
    pub kind: u8,
    /// Its name.
    pub name: ByteStr<'a>,
}

impl<'a> Wire<'a> for DirEntry<'a> {
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (qid, offset, kind) = (r.get()?, r.get()?, r.get()?);
        let len = r.get::<u16>()?;
        // One with a zero byte must not hide the others.
        let name = ByteStr(r.take(usize::from(len))?);
        Ok(DirEntry {
            qid,
            offset,
            kind,
            name,
        })
    }
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        self.qid.put(w)?;
        self.offset.put(w)?;
        self.kind.put(w)?;
        u16::try_from(self.name.len())
            .map_err(|_| TooSmall)?
            .put(w)?;
        w.bytes(&self.name)
    }
}

impl DirEntry<'_> {
    /// Bytes on the wire.
    pub const fn wire_len(&self) -> usize {
        24 + self.name.bytes().len()
    }

    /// Writes the entry to the front of `out`; bytes written.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, TooSmall> {
        let mut w = Writer::new(out, None);
        self.put(&mut w)?;
        Ok(w.at())
    }

    /// The same for an entry with attributes.
    pub fn encode_with(&self, attr: &Attr, out: &mut [u8]) -> Result<usize, TooSmall> {
        let mut w = Writer::new(out, None);
        self.put(&mut w)?;
        attr.put(&mut w)?;
        Ok(w.at())
    }
}

impl Attr {
    /// Bytes on the wire.
    pub const WIRE_LEN: usize = <Attr as Fixed>::LEN;
}

/// An entry of an `Rreaddirattr`: that of an `Rreaddir`, and the fields of [`Attr`],
/// whose `valid` is 0 if they are not known.
pub type DirAttr<'a> = (DirEntry<'a>, Attr);

impl<'a> Wire<'a> for DirAttr<'a> {
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok((r.get()?, r.get()?))
    }
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        self.0.put(w)?;
        self.1.put(w)
    }
}

/// Entries in the data of a reply. Ends after the first bad one.
#[derive(Clone)]
pub struct Listed<'a, T> {
    rest: Reader<'a>,
    entry: PhantomData<T>,
}

/// The entries of an `Rreaddir`.
pub type DirEntries<'a> = Listed<'a, DirEntry<'a>>;
/// The entries of an `Rreaddirattr`.
pub type DirAttrs<'a> = Listed<'a, DirAttr<'a>>;

impl<'a, T> Listed<'a, T> {
    /// Over `data` of the reply.
    pub fn new(data: &'a [u8]) -> Self {
        Listed {
            rest: Reader::new(data),
            entry: PhantomData,
        }
    }
}

impl<'a, T: Wire<'a>> Iterator for Listed<'a, T> {
    type Item = Result<T, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.left() == 0 {
            return None;
        }
        let entry = self.rest.get();
        if entry.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// The memory that a request and its reply need, besides two short messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// The request is short; its reply may carry this many bytes of data.
    Reply(usize),
    /// The request carries this many bytes of data; its reply is short.
    Data(usize),
}
