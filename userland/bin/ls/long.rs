//! One file's line of `ls -l`.

use core::fmt;
use rt::Stat;
use text::Date;

/// Everything but the name.
pub struct Line<'a>(pub &'a Stat);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stat = self.0;
        let mut text = [b'-'; 10];
        text[0] = match stat.mode & 0o170_000 {
            0o040_000 => b'd',
            0o120_000 => b'l',
            0o020_000 => b'c',
            0o060_000 => b'b',
            0o010_000 => b'p',
            0o140_000 => b's',
            _ => b'-',
        };
        for (bit, letter) in b"rwxrwxrwx".iter().enumerate() {
            if stat.mode & (0o400 >> bit) != 0 {
                text[bit + 1] = *letter;
            }
        }
        let mode = core::str::from_utf8(&text).unwrap_or("?");
        let (links, uid, gid, size) = (stat.links, stat.uid, stat.gid, stat.size);
        let time = Date::from_seconds(stat.mtime_ns / 1_000_000_000);
        write!(f, "{mode} {links:>2} {uid:>5} {gid:>5} {size:>12} {time}")
    }
}
