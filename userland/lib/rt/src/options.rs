//! Boot options: `key=value` lines from the bundle.

use crate::sys;
use abi::Errno;
use alloc::string::String;
use alloc::vec;

/// Most bytes of options taken.
const MAX: usize = 64 * 1024;

/// The options of this boot.
#[derive(Default)]
pub struct Options(String);

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read() -> Result<Options, Errno> {
        let mut buffer = vec![0; MAX];
        let len = sys::boot_options(&mut buffer)?;
        buffer.truncate(len);
        Ok(Options(String::from_utf8_lossy(&buffer).into_owned()))
    }

    /// The value of the last line with that key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let pairs = self.0.lines().rev().filter_map(|line| line.split_once('='));
        pairs
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .next()
    }

    /// The values of all lines with that key, as the lines of one text; `None`
    /// if there is none.
    pub fn lines(&self, key: &str) -> Option<String> {
        let pairs = self.0.lines().filter_map(|line| line.split_once('='));
        let values = pairs.filter(|(name, _)| *name == key);
        let mut values = values.map(|(_, value)| value);
        let first = String::from(values.next()?);
        Some(values.fold(first, |text, line| text + "\n" + line))
    }

    /// Returns true if the option is `1`.
    pub fn is_on(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }
}
