//! One file's line of `ls -l`.

use core::fmt;
use rt::Stat;

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
        let time = Time(stat.mtime_ns / 1_000_000_000);
        write!(f, "{mode} {links:>2} {uid:>5} {gid:>5} {size:>12} {time}")
    }
}

/// Seconds since 1970, as date and time of day in UTC.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counts from 1 March of year 0, so that a leap day is the last of its year;
/// 400 years have 146,097 days, and 5 months from March on have 153.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}
