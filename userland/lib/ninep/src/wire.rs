//! The encoding of single fields: little-endian integers, strings with a 16-bit
//! length, payloads with a 32-bit one. Nothing here panics or allocates, for
//! any input.
use abi::Errno;
use bytestr::ByteStr;
use core::fmt;

/// Why bytes are not a message. The sender is broken; nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// The message ends inside a field.
    Short,
    /// Bytes follow the last field.
    Long,
    /// The size field is not the length of the message.
    Size,
    /// No message of this direction has that type number.
    Kind(u8),
    /// A string holds a zero byte.
    Zero,
    /// A list has more entries than the protocol allows.
    Count,
    /// A field has a value it must not have.
    Value,
    /// A range is empty where it must not be, or ends past 2^64.
    Range,
    /// Operations of a put are out of order or overlap.
    Order,
    /// The data of a put is not as long as its DATA operations together.
    Data,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Short => "9p message ends inside a field",
            Malformed::Long => "9p message has bytes after its last field",
            Malformed::Size => "9p message length differs from its size field",
            Malformed::Kind(kind) => return write!(f, "9p message has unknown type {kind}"),
            Malformed::Zero => "9p message has a string with a zero byte",
            Malformed::Count => "9p message has a list that is too long",
            Malformed::Value => "9p message has a field out of range",
            Malformed::Range => "9p message has a range that is empty or too large",
            Malformed::Order => "9p put has operations out of order",
            Malformed::Data => "9p put has data that does not match its operations",
        })
    }
}

impl core::error::Error for Malformed {}

/// A message does not fit: into the buffer, or a count into its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooSmall;

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("9p message does not fit its buffer")
    }
}

impl core::error::Error for TooSmall {}

/// The undecoded rest of a message.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    #[inline]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next `N` bytes, to be read by themselves.
    #[inline]
    pub fn part<const N: usize>(&mut self) -> Result<Reader<'a>, Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(Reader::new(taken))
    }

    #[inline]
    pub fn get<T: Wire<'a>>(&mut self) -> Result<T, Malformed> {
        T::get(self)
    }
}

/// Where the next field goes.
pub struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    /// Length of a payload that travels apart: counted, not written.
    apart: Option<usize>,
}

impl<'o> Writer<'o> {
    #[inline]
    pub fn new(out: &'o mut [u8], apart: Option<usize>) -> Self {
        Writer { out, at: 0, apart }
    }

    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The length of a payload that travels apart.
    #[inline]
    pub fn apart(&self) -> Option<usize> {
        self.apart
    }

    /// Writes what is all of a message, or its head; bytes written.
    #[inline]
    pub fn only<const N: usize>(self, message: &[u8; N]) -> Result<usize, TooSmall> {
        *self.out.first_chunk_mut::<N>().ok_or(TooSmall)? = *message;
        Ok(N)
    }

    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), TooSmall> {
        let end = self.at.checked_add(bytes.len()).ok_or(TooSmall)?;
        self.out
            .get_mut(self.at..end)
            .ok_or(TooSmall)?
            .copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    /// Writes `N` bytes by a writer of their own.
    #[inline]
    pub fn part<const N: usize>(
        &mut self,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), TooSmall>,
    ) -> Result<(), TooSmall> {
        let rest = self.out.get_mut(self.at..).ok_or(TooSmall)?;
        let out = rest.first_chunk_mut::<N>().ok_or(TooSmall)?;
        write(&mut Writer::new(out, None))?;
        self.at += N;
        Ok(())
    }

    /// The bytes of a payload, unless they travel apart.
    #[inline]
    fn payload(&mut self, bytes: &[u8]) -> Result<(), TooSmall> {
        match self.apart {
            None => self.bytes(bytes),
            Some(_) => Ok(()),
        }
    }

    /// Fills in the size field and says how many bytes were written.
    #[inline]
    pub fn finish(self) -> Result<usize, TooSmall> {
        let size = self
            .at
            .checked_add(self.apart.unwrap_or(0))
            .ok_or(TooSmall)?;
        let size = u32::try_from(size).map_err(|_| TooSmall)?;
        *self.out.first_chunk_mut::<4>().ok_or(TooSmall)? = size.to_le_bytes();
        Ok(self.at)
    }
}

/// A value that knows how it looks on the wire.
pub trait Wire<'a>: Sized {
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed>;
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall>;
}

/// A value that takes as many bytes on the wire, whichever it is.
pub trait Fixed {
    const LEN: usize;
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Fixed for $type {
            const LEN: usize = size_of::<$type>();
        }

        impl<'a> Wire<'a> for $type {
            #[inline]
            fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
                Ok(<$type>::from_le_bytes(r.array()?))
            }
            #[inline]
            fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
                w.bytes(&self.to_le_bytes())
            }
        }
    )* };
}

integers!(u8 u16 u32 u64);

impl<'a> Wire<'a> for bool {
    #[inline]
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        match r.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value),
        }
    }
    #[inline]
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        u8::from(*self).put(w)
    }
}

impl<'a> Wire<'a> for [u8; 16] {
    #[inline]
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        r.array()
    }
    #[inline]
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        w.bytes(self)
    }
}

impl<'a> Wire<'a> for Errno {
    #[inline]
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Errno::from_wire(r.get()?))
    }
    #[inline]
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        u32::from(self.number()).put(w)
    }
}

impl<'a> Wire<'a> for ByteStr<'a> {
    fn get(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let len = r.get::<u16>()?;
        let bytes = r.take(usize::from(len))?;
        if has_zero(bytes) {
            return Err(Malformed::Zero);
        }
        Ok(ByteStr(bytes))
    }
    fn put(&self, w: &mut Writer<'_>) -> Result<(), TooSmall> {
        u16::try_from(self.len()).map_err(|_| TooSmall)?.put(w)?;
        w.bytes(self)
    }
}

/// Returns true if a byte is zero. Names are short, and a look at each byte cost more
/// than all else about them.
#[inline]
fn has_zero(bytes: &[u8]) -> bool {
    let in_word = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let ones = u64::MAX / 0xff;
        word.wrapping_sub(ones) & !word & ones << 7 != 0
    };
    match bytes.last_chunk() {
        // The last word may begin in the one before.
        Some(last) => bytes.as_chunks().0.iter().any(in_word) || in_word(last),
        None => bytes.contains(&0),
    }
}

/// The payload of `Rread`, `Rreaddir` and `Twrite`: `count[4] data[count]`.
pub struct Counted;

impl Counted {
    #[inline]
    pub fn get<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
        let count = r.get::<u32>()?;
        r.take(count as usize)
    }
    #[inline]
    pub fn put(data: &[u8], w: &mut Writer<'_>) -> Result<(), TooSmall> {
        let count = w.apart.unwrap_or(data.len());
        u32::try_from(count).map_err(|_| TooSmall)?.put(w)?;
        w.payload(data)
    }
}

/// The payload of `Tput`: all that is left.
pub struct Rest;

impl Rest {
    #[inline]
    pub fn get<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
        r.take(r.left())
    }
    #[inline]
    pub fn put(data: &[u8], w: &mut Writer<'_>) -> Result<(), TooSmall> {
        w.payload(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_is_found_wherever_it_is_and_nowhere_else() {
        for len in 0..40 {
            for other in [1, 0x7f, 0x80, 0x81, 0xff] {
                let mut bytes = [other; 40];
                assert!(!has_zero(&bytes[..len]), "{len} times {other:#x}");
                for at in 0..len {
                    bytes[at] = 0;
                    assert!(has_zero(&bytes[..len]), "{at} of {len}");
                    bytes[at] = other;
                }
            }
        }
    }
}
