//! The Gregorian calendar, in UTC.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// A moment as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Seconds since 1970.
    pub seconds: u64,
    /// Year, 1970 or later.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
    /// 0 is Sunday.
    pub weekday: u64,
}

impl Date {
    /// From seconds since 1970.
    pub fn from_seconds(seconds: u64) -> Date {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        Date {
            seconds,
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4) % 7,
        }
    }

    /// Three letters.
    pub fn weekday_name(&self) -> &'static str {
        &self.weekday_whole()[..3]
    }

    fn weekday_whole(&self) -> &'static str {
        WEEKDAYS.get(self.weekday as usize).unwrap_or(&"???")
    }

    /// Three letters.
    pub fn month_name(&self) -> &'static str {
        &self.month_whole()[..3]
    }

    fn month_whole(&self) -> &'static str {
        let index = self.month.wrapping_sub(1) as usize;
        MONTHS.get(index).unwrap_or(&"???")
    }

    /// The number of the day in its year, from 1.
    fn day_of_year(&self) -> u64 {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let months = [
            31,
            28 + u64::from(leap),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        let before: u64 = months.iter().take(self.month as usize - 1).sum();
        before + self.day
    }

    /// Formats the date as `date +FORMAT` does. The error names an unknown
    /// letter.
    pub fn format(&self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => {
                    let letter = chars.next().ok_or("a % at the end")?;
                    text.push_str(&self.part(letter)?);
                }
                c => text.push(c),
            }
        }
        Ok(text)
    }

    /// The text for `%` and `letter`.
    fn part(&self, letter: char) -> Result<String, String> {
        let hour_of_half = (self.hour + 11) % 12 + 1;
        let half = if self.hour < 12 { "AM" } else { "PM" };
        let whole = match letter {
            'D' => "%m/%d/%y",
            'F' => "%Y-%m-%d",
            'R' => "%H:%M",
            'T' | 'X' => "%H:%M:%S",
            'c' => "%a %b %e %H:%M:%S %Y",
            'r' => "%I:%M:%S %p",
            'x' => "%m/%d/%y",
            _ => "",
        };
        if !whole.is_empty() {
            return self.format(whole);
        }
        Ok(match letter {
            'A' => self.weekday_whole().into(),
            'a' => self.weekday_name().into(),
            'B' => self.month_whole().into(),
            'b' | 'h' => self.month_name().into(),
            'C' => format!("{:02}", self.year / 100),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{hour_of_half:02}"),
            'j' => format!("{:03}", self.day_of_year()),
            'M' => format!("{:02}", self.minute),
            'm' => format!("{:02}", self.month),
            'n' => "\n".into(),
            'p' => half.into(),
            'S' => format!("{:02}", self.second),
            's' => self.seconds.to_string(),
            't' => "\t".into(),
            'u' => ((self.weekday + 6) % 7 + 1).to_string(),
            'w' => self.weekday.to_string(),
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'Z' => "UTC".into(),
            'z' => "+0000".into(),
            '%' => "%".into(),
            letter => return Err(format!("not supported: %{letter}")),
        })
    }
}

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `2026-11-21 05:06`, as `ls -l` has it.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date {
            year, month, day, ..
        } = self;
        let (hour, minute) = (self.hour, self.minute);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}

/// Year, month and day, `days` after 1970-01-01.
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
