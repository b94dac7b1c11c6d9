//! Calls on the system as a whole.
use super::Arguments;
use crate::client::swap;
use crate::counters;
use crate::file::Node;
use crate::proc::{self, reports};
use crate::sched::relief;
use crate::seg::{audit, user};
use crate::{options, text};
use abi::{DeviceCounters, Errno, Stat64, privilege};
use hw::chance::{self, What};
use hw::log::{self, Level};
use hw::{ahead, frames};
use hw::{serial, time};
use zerocopy::IntoBytes;

/// Longest line for the log or the judge.
const LINE_MAX: usize = 1024;
/// The runner's code for an orderly end: QEMU's exit status 33.
const EXIT_DONE: u8 = 0x10;

pub fn kstat(a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.words();
    let device = reports::sum();
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
        Stat64::FramesIdle => frames::idle_count(),
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

pub fn counters(a: &Arguments) -> Result<(), Errno> {
    a.check(privilege::COUNTERS)?;
    let va = a.words()[0];
    if !va.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    // Read once, so that the page is in memory when another process's call
    // reads it.
    user::get::<DeviceCounters>(a.space(), va)?;
    reports::begin(a.process, va)
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

/// A failure on purpose, in a system that runs tests; or nobody is to find pages that
/// others have left.
pub fn fail_alloc(a: &Arguments) -> Result<u64, Errno> {
    let [count, what, ..] = a.words();
    if what == 3 {
        a.check(privilege::JUDGE)?;
        relief::free_kept();
        return Ok(0);
    }
    if !options::tested() {
        return Err(Errno::EPERM);
    }
    let count = u32::try_from(count).map_err(|_| Errno::EINVAL)?;
    let what = match what {
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
