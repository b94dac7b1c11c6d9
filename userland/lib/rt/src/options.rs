//! Boot options: `key=value` lines from the bundle.

use alloc::string::String;
use alloc::vec;
use rt::{eprintln, sys};

/// Most bytes of options taken.
const MAX: usize = 64 * 1024;

/// The options of this boot.
pub struct Options(String);

impl Options {
    /// Reads the options; none on failure.
    pub fn read() -> Options {
        let mut buffer = vec![0; MAX];
        let len = sys::boot_options(&mut buffer).unwrap_or_else(|errno| {
            eprintln!("init: boot options: {errno}");
            0
        });
        buffer.truncate(len);
        Options(String::from_utf8_lossy(&buffer).into_owned())
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
