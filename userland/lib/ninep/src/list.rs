//! Lists inside messages. A list borrows either the message it came in or a
//! slice of native values, so that the same type serves both directions.
use crate::consts::MAXWELEM;
use crate::types::Qid;
use crate::wire::{Malformed, Reader, TooSmall, Wire, Writer};
use bytestr::ByteStr;
use core::fmt;

/// A list: `n[2]` and `n` entries.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Inner<'a, T>);

#[derive(Clone, Copy)]
enum Inner<'a, T> {
    /// Bytes of exactly `count` entries, found well-formed by `get`.
    Wire {
        count: u16,
        bytes: &'a [u8],
    },
    Native(&'a [T]),
}

/// Names of a `Twalk`, at most 16.
pub type Names<'a> = List<'a, ByteStr<'a>>;
/// Qids of an `Rwalk`, at most 16.
pub type Qids<'a> = List<'a, Qid>;
/// Byte ranges `(offset, length)`; none ends past 2^64.
pub type Ranges<'a> = List<'a, (u64, u64)>;
/// Operations of a `Tput`.
pub type PutOps<'a> = List<'a, PutOp>;

/// The entries of lists.
pub trait Entry<'a>: Wire<'a> + Copy {
    /// Most entries a list of these may have.
    const MOST: u16;
}

impl<'a> Entry<'a> for ByteStr<'a> {
    const MOST: u16 = MAXWELEM as u16;
}

impl<'a> Entry<'a> for Qid {
    const MOST: u16 = MAXWELEM as u16;
}

impl<'a> Entry<'a> for (u64, u64) {
    const MOST: u16 = EVERYTHING - 1;
}

impl<'a> Entry<'a> for PutOp {
    const MOST: u16 = u16::MAX;
}

impl<'a, T: Entry<'a>> List<'a, T> {
    /// A list of native values.
    #[inline]
    pub const fn new(entries: &'a [T]) -> Self {
        List(Inner::Native(entries))
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Inner::Wire { count, .. } => usize::from(count),
            Inner::Native(entries) => entries.len(),
        }
    }

    /// Returns true for an empty list.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    #[inline]
    pub fn iter(&self) -> Entries<'a, T> {
        match self.0 {
            Inner::Wire { bytes, .. } => Entries {
                wire: Reader::new(bytes),
                native: &[],
            },
            Inner::Native(entries) => Entries {
                wire: Reader::new(&[]),
                native: entries,
            },
        }
    }

    /// Reads the `count` entries that `r` stands before.
    fn entries(r: &mut Reader<'a>, count: u16) -> Result<Self, Malformed> {
        if count > T::MOST {
            return Err(Malformed::Count);
        }
        let mut ahead = *r;
        for _ in 0..count {
            ahead.get::<T>()?;
        }
        let bytes = r.take(r.left() - ahead.left())?;
        Ok(List(Inner::Wire { count, bytes }))
    }
}

impl<'a, T: Entry<'a>> Wire<'a> for List<'a, T> {
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = r.get()?;
        Self::entries(r, count)
    }

    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        match self.0 {
            Inner::Wire { count, bytes } => {
                count.put(w)?;
                w.bytes(bytes)
            }
            Inner::Native(entries) => {
                let count = u16::try_from(entries.len()).map_err(|_| TooSmall)?;
                if count > T::MOST {
                    return Err(TooSmall);
                }
                count.put(w)?;
                entries.iter().try_for_each(|entry| entry.put(w))
            }
        }
    }
}

impl<'a, T: Entry<'a>> Default for List<'a, T> {
    fn default() -> Self {
        List::new(&[])
    }
}

impl<'a, T: Entry<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Entry<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Entry<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Entry<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Entries<'a, T>;
    fn into_iter(self) -> Entries<'a, T> {
        self.iter()
    }
}

/// Iterator over a [`List`].
#[derive(Clone)]
pub struct Entries<'a, T> {
    wire: Reader<'a>,
    native: &'a [T],
}

impl<'a, T: Entry<'a>> Iterator for Entries<'a, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if let Some((first, rest)) = self.native.split_first() {
            self.native = rest;
            return Some(*first);
        }
        if self.wire.left() == 0 {
            return None;
        }
        self.wire.get().ok()
    }
}

impl<'a> Wire<'a> for (u64, u64) {
    #[inline]
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (off, len) = (r.get::<u64>()?, r.get::<u64>()?);
        off.checked_add(len).ok_or(Malformed::Range)?;
        Ok((off, len))
    }
    #[inline]
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        self.0.put(w)?;
        self.1.put(w)
    }
}

/// `n` of a change list that says "anything may have changed".
const EVERYTHING: u16 = 0xffff;

/// The changes of a file since the epoch that the client knew (CHG).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changes<'a> {
    /// Any byte may have changed.
    All,
    /// These ranges and no other byte.
    Ranges(Ranges<'a>),
}

impl<'a> Changes<'a> {
    /// No byte has changed.
    pub const NONE: Changes<'static> = Changes::Ranges(List(Inner::Native(&[])));

    /// These ranges have changed.
    pub const fn new(ranges: &'a [(u64, u64)]) -> Self {
        Changes::Ranges(List(Inner::Native(ranges)))
    }

    /// Returns true if any byte may have changed.
    pub const fn all(&self) -> bool {
        matches!(self, Changes::All)
    }

    /// The ranges; none if [`Changes::all`].
    pub fn iter(&self) -> Entries<'a, (u64, u64)> {
        match self {
            Changes::All => Ranges::default().iter(),
            Changes::Ranges(ranges) => ranges.iter(),
        }
    }
}

impl<'a> Wire<'a> for Changes<'a> {
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        match r.get::<u16>()? {
            EVERYTHING => Ok(Changes::All),
            count => Ok(Changes::Ranges(Ranges::entries(r, count)?)),
        }
    }
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        match self {
            Changes::All => EVERYTHING.put(w),
            Changes::Ranges(ranges) => ranges.put(w),
        }
    }
}

/// One operation of a put, on `len > 0` bytes of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutOp {
    /// The operation.
    pub kind: PutKind,
    /// Where, relative to the put's base offset.
    pub off: u64,
    /// The number of bytes.
    pub len: u64,
}

/// The operation of a put on a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutKind {
    /// The next `len` bytes of the message's data are written.
    Data,
    /// The range shall equal `snapfid` at `soff` (an offset in the file that
    /// the snapshot is of).
    Keep {
        /// A snapshot on the same connection.
        snapfid: u32,
        /// Where its bytes come from.
        soff: u64,
    },
    /// The range reads as zeros.
    Zero,
}

const DATA: u8 = 0;
const KEEP: u8 = 1;
const ZERO: u8 = 2;

/// Bytes of a KEEP operation on the wire, the longest kind.
pub const PUT_OP_MAX: usize = 29;

impl PutOp {
    /// Bytes on the wire.
    pub const fn wire_len(&self) -> usize {
        match self.kind {
            PutKind::Data | PutKind::Zero => 17,
            PutKind::Keep { .. } => PUT_OP_MAX,
        }
    }
}

impl<'a> Wire<'a> for PutOp {
    #[inline]
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = r.get::<u8>()?;
        let (off, len) = r.get::<(u64, u64)>()?;
        let kind = match kind {
            DATA => PutKind::Data,
            KEEP => PutKind::Keep {
                snapfid: r.get()?,
                soff: r.get()?,
            },
            ZERO => PutKind::Zero,
            _ => return Err(Malformed::Value),
        };
        if let PutKind::Keep { soff, .. } = kind {
            soff.checked_add(len).ok_or(Malformed::Range)?;
        }
        if len == 0 {
            return Err(Malformed::Range);
        }
        Ok(PutOp { kind, off, len })
    }

    #[inline]
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        let kind = match self.kind {
            PutKind::Data => DATA,
            PutKind::Keep { .. } => KEEP,
            PutKind::Zero => ZERO,
        };
        kind.put(w)?;
        (self.off, self.len).put(w)?;
        if let PutKind::Keep { snapfid, soff } = self.kind {
            snapfid.put(w)?;
            soff.put(w)?;
        }
        Ok(())
    }
}

/// Checks operations of a `Tput` at `base` with `data` bytes of data.
pub fn check_put(base: u64, ops: &PutOps<'_>, data: usize) -> Result<(), Malformed> {
    let (mut end, mut sum) = (0u64, 0u64);
    for op in ops.iter() {
        if op.off < end {
            return Err(Malformed::Order);
        }
        // Each range was found not to wrap when it was read.
        end = op.off.saturating_add(op.len);
        if op.kind == PutKind::Data {
            sum = sum.checked_add(op.len).ok_or(Malformed::Data)?;
        }
    }
    base.checked_add(end).ok_or(Malformed::Range)?;
    if sum == data as u64 {
        Ok(())
    } else {
        Err(Malformed::Data)
    }
}
