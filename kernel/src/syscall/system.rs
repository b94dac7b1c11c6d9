//! Calls on the system as a whole.
use super::Arguments;
use crate::client::swap;
use crate::counters;
use crate::file::Node;
use crate::proc::{self, Process};
use crate::seg::{audit, user};
use crate::{options, text};
use abi::{DeviceCounters, Errno, Stat64, privilege};
use hw::chance::{self, What};
use hw::lock::{Lock, Rank};
use hw::log::{self, Level};
use hw::{ahead, frames};
use hw::{serial, time};
use zerocopy::IntoBytes;

/// Longest line for the log or the judge.
const LINE_MAX: usize = 1024;
/// The runner's code for an orderly end: QEMU's exit status 33.
const EXIT_DONE: u8 = 0x10;
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

pub fn kstat(a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.words();
    let device = device_counters();
    let figures: [u64; Stat64::COUNT] =
        core::array::from_fn(|index| figure(Stat64::ALL[index], &device));
    let count = room.min(Stat64::COUNT as u64);
    user::write(a.space(), va, text::part(figures.as_bytes(), 0, count * 8))?;
    Ok(count)
}

fn figure(what: Stat64, device: &DeviceCounters) -> u64 {
    match what {
        Stat64::DeviceIn => device.bytes_in,
        Stat64::DeviceOut => device.bytes_out,
        Stat64::DeviceRequests => device.requests,
        Stat64::Ticks => time::ticks(),
        Stat64::Counted => u64::from(options::counted()),
        Stat64::Eager => u64::from(!options::deferred()),
        Stat64::Pressure => u64::from(options::pressure()),
        Stat64::FramesTotal => frames::total(),
        Stat64::FramesFree => frames::free_count(),
        Stat64::Processes => proc::count() as u64,
        Stat64::ServerFids => device.fids,
        Stat64::ServerFiles => device.files,
        Stat64::ServerSnapshots => device.snapshots,
        Stat64::ServerSaved => device.saved,
        Stat64::ServerRescued => device.rescued,
        Stat64::AheadUsed => ahead::used(),
        counted => counters::get(counted),
    }
}

/// The sum over all live drivers; the counters of a dead driver are gone.
fn device_counters() -> DeviceCounters {
    let mut sum = DeviceCounters::default();
    for index in 0..DRIVERS {
        let Some(reporter) = REPORTERS.lock()[index] else {
            continue;
        };
        let driver = proc::find(reporter.pid);
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

pub fn counters(a: &Arguments) -> Result<(), Errno> {
    a.check(privilege::COUNTERS)?;
    let va = a.words()[0];
    if !va.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    // Read once, so that the page is in memory when another process's call
    // reads it.
    user::get::<DeviceCounters>(a.space(), va)?;
    let reporter = Reporter {
        pid: a.process.pid,
        segment: segment_of(a.process, va)?,
        va,
    };
    let mut reporters = REPORTERS.lock();
    let free = reporters.iter_mut().find(|r| r.is_none());
    *free.ok_or(Errno::ENFILE)? = Some(reporter);
    Ok(())
}

pub fn boot_options(a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.words();
    let part = text::part(options::text().as_bytes(), 0, room);
    user::write(a.space(), va, part)?;
    Ok(part.len() as u64)
}

pub fn log(a: &Arguments) -> Result<(), Errno> {
    let text = a.text(0, LINE_MAX)?;
    let program = a.process.program();
    log::line(
        Level::Info,
        proc::name(&program),
        format_args!("{}", text.trim_end()),
    );
    Ok(())
}

pub fn verdict(a: &Arguments) -> Result<(), Errno> {
    a.check(privilege::JUDGE)?;
    let text = a.text(0, LINE_MAX)?;
    serial::com2(text.trim_end().as_bytes());
    serial::com2(b"\n");
    Ok(())
}

pub fn halt(a: &Arguments) -> Result<u64, Errno> {
    a.check(privilege::HALT)?;
    let Some(status) = proc::halt::halt(a.process, a.words()[0] as u32) else {
        return Ok(0);
    };
    let line = text::format(format_args!("@exit {status}\n"));
    serial::com2(line.as_bytes());
    hw::exit_qemu(EXIT_DONE)
}

pub fn swap_on(a: &Arguments) -> Result<(), Errno> {
    a.check(privilege::SWAP)?;
    let file = a.file(0)?;
    let set = match &file.node {
        Node::Remote(directory) => swap::set_place(directory),
        Node::Channel(end) => swap::connect(end.clone()),
        Node::Root(_) | Node::Port(_) => Err(Errno::EINVAL),
    };
    match set {
        Err(Errno::EOPNOTSUPP) => {
            a.explain(format_args!("{}: a server with snapshots", file.path));
            set
        }
        set => a.about(&file.path, set),
    }
}

/// For the judge of tests.
pub fn audit(a: &Arguments) -> Result<u64, Errno> {
    a.check(privilege::JUDGE)?;
    audit::audit()
}

/// A failure on purpose, in a system that runs tests.
pub fn fail_alloc(a: &Arguments) -> Result<u64, Errno> {
    if !options::tested() {
        return Err(Errno::EPERM);
    }
    let count = a.number(0)?;
    let what = match a.words()[1] {
        0 => What::Block,
        1 => What::Frame,
        2 => What::Content,
        _ => return Err(Errno::EINVAL),
    };
    let account = a.process.payer().account;
    let left = chance::fail(account, what, count);
    frames::brake();
    Ok(u64::from(left))
}
