//! Figures that drivers keep in their memory, which the kernel reads when they are asked for.
use super::{Process, find};
use crate::seg::user;
use abi::{DeviceCounters, Errno};
use hw::lock::{Lock, Rank};
use zerocopy::IntoBytes;

/// Drivers that may report counters.
const DRIVERS: usize = 8;

/// A process that keeps device counters, and where in its memory. The segment
/// is not that any more once the process has detached it or is another program.
#[derive(Clone, Copy)]
struct Reporter {
    pid: u64,
    segment: u64,
    va: u64,
}

static REPORTERS: Lock<[Option<Reporter>; DRIVERS]> = Lock::new(Rank::Processes, [None; DRIVERS]);

/// The process has its counters at `va`, whose page is in memory.
///
/// # Errors
/// `EFAULT`; `ENFILE`: too many report.
pub fn begin(process: &Process, va: u64) -> Result<(), Errno> {
    let reporter = Reporter {
        pid: process.pid,
        segment: segment_of(process, va)?,
        va,
    };
    let mut reporters = REPORTERS.lock();
    let free = reporters.iter_mut().find(|r| r.is_none());
    *free.ok_or(Errno::ENFILE)? = Some(reporter);
    Ok(())
}

/// The sum over all live drivers; the counters of a dead driver are gone. Never waits.
pub fn sum() -> DeviceCounters {
    let mut sum = DeviceCounters::default();
    for index in 0..DRIVERS {
        let Some(reporter) = REPORTERS.lock()[index] else {
            continue;
        };
        let driver = find(reporter.pid);
        let Some(driver) = driver.filter(|d| segment_of(d, reporter.va) == Ok(reporter.segment))
        else {
            REPORTERS.lock()[index] = None;
            continue;
        };
        let figures = sum.as_mut_bytes().as_chunks_mut::<8>().0;
        for (at, figure) in (reporter.va..).step_by(8).zip(figures) {
            // Without waiting: a page that is not in memory counts as zero.
            let word = user::peek_u64(&driver.space(), at).unwrap_or(0);
            *figure = u64::from_ne_bytes(*figure).wrapping_add(word).to_ne_bytes();
        }
    }
    sum
}

/// The segment of a process's memory that has all of the counters at `va`.
fn segment_of(process: &Process, va: u64) -> Result<u64, Errno> {
    let last = va.checked_add(size_of::<DeviceCounters>() as u64 - 1);
    let space = process.space();
    let space = space.lock();
    let segment = space.find(va).ok_or(Errno::EFAULT)?;
    match last.is_some_and(|last| segment.contains(last)) {
        true => Ok(segment.id),
        false => Err(Errno::EFAULT),
    }
}
