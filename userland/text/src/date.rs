//! The Gregorian calendar, in UTC.

use core::fmt;

/// A moment as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
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
        let names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        names.get(self.weekday as usize).unwrap_or(&"?")
    }

    /// Three letters.
    pub fn month_name(&self) -> &'static str {
        let names = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let index = self.month.wrapping_sub(1) as usize;
        names.get(index).unwrap_or(&"?")
    }
}

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
