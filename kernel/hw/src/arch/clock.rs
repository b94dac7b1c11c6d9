//! The time of day: the PC's battery-backed clock, read once at start, plus the
//! time stamp counter since then.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use super::time;

/// Registers of the MC146818 and its descendants.
const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// Register A: an update is under way, and values read now may be torn.
const UPDATING: u8 = 0x80;
/// Register B: hours are 0 to 23; numbers are binary, not BCD.
const HOURS_24: u8 = 0x02;
const BINARY: u8 = 0x04;
/// In the hours of a 12-hour clock: afternoon.
const PM: u8 = 0x80;
/// Attempts to read the same time twice; an update takes 2 ms of a second.
const ATTEMPTS: usize = 100_000;

/// Nanoseconds since 1970 when the kernel's own clock began.
static EPOCH_NS: AtomicU64 = AtomicU64::new(0);

/// Reads the clock; `time` must be calibrated. A clock that makes no sense
/// leaves the time at 1970, counted from the start.
pub(crate) fn init() {
    if let Some(seconds) = settled().and_then(seconds_since_1970) {
        let now = seconds.saturating_mul(1_000_000_000);
        EPOCH_NS.store(now.saturating_sub(time::now_ns()), Relaxed);
    }
}

/// Nanoseconds since 1970, as the machine's clock had it at start.
pub fn now_ns() -> u64 {
    EPOCH_NS.load(Relaxed).saturating_add(time::now_ns())
}

fn register(index: u8) -> u8 {
    // SAFETY: selecting and reading a register of the clock changes nothing;
    // bit 7 of the index stays clear, so NMIs stay enabled.
    unsafe {
        Port::<u8>::new(0x70).write(index);
        Port::<u8>::new(0x71).read()
    }
}

/// All six numbers as they are in the registers, seconds first.
fn raw() -> [u8; 6] {
    [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR].map(register)
}

/// The numbers, once they read the same twice outside an update.
fn settled() -> Option<[u8; 6]> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        if register(STATUS_A) & UPDATING != 0 {
            continue;
        }
        let now = raw();
        if last == Some(now) {
            return last;
        }
        last = Some(now);
    }
    None
}

/// The time that the registers say; years are those from 2000 to 2099.
fn seconds_since_1970(raw: [u8; 6]) -> Option<u64> {
    let status = register(STATUS_B);
    let number = |value: u8| match status & BINARY {
        0 => u64::from(value >> 4) * 10 + u64::from(value & 15),
        _ => u64::from(value),
    };
    let [seconds, minutes, hours, day, month, year] = raw;
    let hour = match status & HOURS_24 {
        0 => number(hours & !PM) % 12 + if hours & PM != 0 { 12 } else { 0 },
        _ => number(hours),
    };
    let (seconds, minutes) = (number(seconds), number(minutes));
    let (day, month, year) = (number(day), number(month), 2000 + number(year));
    let sound = seconds < 61 && minutes < 60 && hour < 24;
    if !sound || !(1..=31).contains(&day) || !(1..=12).contains(&month) {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minutes) * 60 + seconds)
}

/// Days from 1 January 1970 to a day of the Gregorian calendar. Counting
/// years from March puts the leap day last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // Months from March on have 31, 30, 31, 30, 31 days, again and again.
    let before_month = (153 * month + 2) / 5;
    // 719468: the days from 1 March of year 0 to 1 January 1970.
    365 * year + leap_days + before_month + (day - 1) - 719_468
}
