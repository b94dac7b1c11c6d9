//! The time of day.

use crate::{File, mode};
use abi::Errno;

/// Where it is read: seconds since 1970, nanoseconds since 1970, ticks, and
/// ticks in a second.
pub const DEVICE: &str = "/dev/time";

/// Nanoseconds since 1970.
pub fn now_ns() -> Result<u64, Errno> {
    Clock::open()?.now_ns()
}

/// The file that it is read from, open.
pub struct Clock(File);

impl Clock {
    /// Opens it.
    pub fn open() -> Result<Clock, Errno> {
        File::open(DEVICE, mode::OREAD).map(Clock)
    }

    /// Nanoseconds since 1970.
    pub fn now_ns(&self) -> Result<u64, Errno> {
        let mut text = [0; 128];
        let n = self.0.read_at(&mut text, 0)?;
        let text = text
            .get(..n)
            .and_then(|text| core::str::from_utf8(text).ok());
        let nanoseconds = text.and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
        nanoseconds.ok_or(Errno::EPROTO)
    }
}
