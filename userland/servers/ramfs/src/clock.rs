//! The time of day, from a file that stays open, because its name may lead to
//! this server.

use rt::{File, mode, time};

pub struct Clock(Option<File>);

impl Clock {
    /// Without a clock it is always 1970.
    pub fn new() -> Clock {
        Clock(File::open(time::DEVICE, mode::OREAD).ok())
    }

    /// Nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        let mut text = [0; 128];
        let read = self.0.as_ref().map(|file| file.read_at(&mut text, 0));
        let len = read.and_then(Result::ok).unwrap_or(0);
        let text = text.get(..len).map(core::str::from_utf8);
        let second = |text: &str| text.split_whitespace().nth(1)?.parse().ok();
        text.and_then(Result::ok).and_then(second).unwrap_or(0)
    }
}
