//! Byte strings: names, arguments and values of the environment. They are
//! nearly always UTF-8, but a host may have others, and one of those must not
//! be lost, shown as another one, or reach a terminal as it is.
//!
//! [`ByteStr`] is borrowed and [`ByteString`] owned, as `str` and `String`.
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

/// Borrowed bytes that are shown to people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteStr<'a>(pub &'a [u8]);

/// Owned bytes that are shown to people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteString(pub Vec<u8>);

/// A text does not have the form that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotParsed;

impl<'a> ByteStr<'a> {
    /// The bytes, for as long as they are borrowed.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// As text; `None` if it is not UTF-8.
    pub fn to_str(self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }

    /// A number, or whatever else can be read from text.
    pub fn parse<T: FromStr>(self) -> Result<T, NotParsed> {
        let text = self.to_str().ok_or(NotParsed)?;
        text.parse().map_err(|_| NotParsed)
    }

    /// What follows `prefix`, if it begins with that.
    pub fn strip_prefix(self, prefix: &str) -> Option<ByteStr<'a>> {
        self.0.strip_prefix(prefix.as_bytes()).map(ByteStr)
    }

    /// What is before and after the first `byte`.
    pub fn split_once(self, byte: u8) -> Option<(ByteStr<'a>, ByteStr<'a>)> {
        let at = self.0.iter().position(|b| *b == byte)?;
        let (before, after) = self.0.split_at_checked(at)?;
        Some((ByteStr(before), ByteStr(after.get(1..)?)))
    }

    /// The same without the bytes `byte` at its end.
    pub fn trim_end(self, byte: u8) -> ByteStr<'a> {
        let kept = self.0.iter().rposition(|b| *b != byte);
        ByteStr(self.0.get(..kept.map_or(0, |at| at + 1)).unwrap_or(self.0))
    }

    /// A copy.
    pub fn to_owned(self) -> ByteString {
        ByteString(self.0.to_vec())
    }
}

impl ByteString {
    /// Borrowed.
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
