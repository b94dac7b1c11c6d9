//! Byte strings: names, arguments and values of the environment. Nearly all are
//! UTF-8. A host may have others, which must not be lost, displayed as another
//! string, or sent to a terminal unescaped.
//!
//! [`ByteStr`] is borrowed and [`ByteString`] owned, like `str` and `String`.
//! Their `Display` escapes (module [`shown`]). [`text`] carries bytes through
//! code that works on characters, without loss.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod shown;
pub mod text;

use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;
use core::str::FromStr;

/// Borrowed bytes with an escaped `Display`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteStr<'a>(pub &'a [u8]);

/// Owned bytes with an escaped `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteString(pub Vec<u8>);

/// The text cannot be parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotParsed;

impl<'a> ByteStr<'a> {
    /// The bytes, with the lifetime of the borrow.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The bytes as text; `None` if they are not UTF-8.
    pub fn to_str(self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }

    /// Parses a number or any other `FromStr` type.
    pub fn parse<T: FromStr>(self) -> Result<T, NotParsed> {
        let text = self.to_str().ok_or(NotParsed)?;
        text.parse().map_err(|_| NotParsed)
    }

    /// The rest after `prefix`; `None` without that prefix.
    pub fn strip_prefix(self, prefix: &str) -> Option<ByteStr<'a>> {
        self.0.strip_prefix(prefix.as_bytes()).map(ByteStr)
    }

    /// The parts before and after the first `byte`.
    pub fn split_once(self, byte: u8) -> Option<(ByteStr<'a>, ByteStr<'a>)> {
        let at = self.0.iter().position(|b| *b == byte)?;
        let (before, after) = self.0.split_at_checked(at)?;
        Some((ByteStr(before), ByteStr(after.get(1..)?)))
    }

    /// The bytes without trailing occurrences of `byte`.
    pub fn trim_end(self, byte: u8) -> ByteStr<'a> {
        let kept = self.0.iter().rposition(|b| *b != byte);
        ByteStr(self.0.get(..kept.map_or(0, |at| at + 1)).unwrap_or(self.0))
    }

    /// An owned copy.
    pub fn to_owned(self) -> ByteString {
        ByteString(self.0.to_vec())
    }
}

impl ByteString {
    /// The bytes, borrowed.
    pub fn as_byte_str(&self) -> ByteStr<'_> {
        ByteStr(&self.0)
    }
}

impl Deref for ByteStr<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl Deref for ByteString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for ByteString {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ByteStr<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl AsRef<[u8]> for ByteString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for ByteStr<'a> {
    fn from(bytes: &'a T) -> Self {
        ByteStr(bytes.as_ref())
    }
}

impl From<ByteStr<'_>> for ByteString {
    fn from(bytes: ByteStr<'_>) -> Self {
        bytes.to_owned()
    }
}

impl From<&str> for ByteString {
    fn from(text: &str) -> Self {
        ByteStr::from(text).to_owned()
    }
}

impl From<String> for ByteString {
    fn from(text: String) -> Self {
        ByteString(text.into_bytes())
    }
}

impl From<Vec<u8>> for ByteString {
    fn from(bytes: Vec<u8>) -> Self {
        ByteString(bytes)
    }
}

macro_rules! shown_and_compared {
    ($($type:ty)*) => { $(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                shown::show(self, f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{self}\"")
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, text: &str) -> bool {
                **self == *text.as_bytes()
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, text: &&str) -> bool {
                **self == *text.as_bytes()
            }
        }

        impl PartialEq<String> for $type {
            fn eq(&self, text: &String) -> bool {
                **self == *text.as_bytes()
            }
        }
    )* };
}

shown_and_compared!(ByteStr<'_> ByteString);
