//! The figures that a driver reports are read in its memory by whoever asks the
//! kernel for counters: only while that memory is what the driver meant, and
//! without waiting for it. Needs the boot option `drivers=1`.

use super::Case;
use crate::check::{PG, Verdict, Why, same};
use crate::liar::{Liar, Next, served};
use crate::raw;
use ninep::Request;
use rt::abi::mode;
use rt::stats::Counters;
use rt::{Call, Errno, File, Segment, Stat64, process, sys};

pub const CASES: &[Case] = &[
    Case::driver("drivers.counters", || reported(|_, segment| Ok(segment), 1)),
    Case::driver("drivers.counters.detached", || reported(detaches, 0)),
    Case::driver("drivers.counters.asleep", || reported(falls_asleep, 0)),
    Case::driver("drivers.counters.program", || reported(becomes_another, 0)),
];

/// Much more than the real drivers report.
const MANY: u64 = 1 << 50;
/// For the driver to do what it does, in looks at the counters.
const PATIENCE: usize = 200;
const LOOK_NS: u64 = 5_000_000;

/// What a driver does when it has reported, with a file that no server reads; and
/// the memory where the counters were.
type Then = fn(&str, Segment) -> Result<Segment, Errno>;

/// Requests that a driver reports, at first and after `then`.
fn reported(then: Then, after: u64) -> Verdict {
    let silent = Liar {
        snapshots: true,
        ..Liar::default()
    };
    let serve = |channel: &File| {
        silent.serve(channel, |turn| match turn.request {
            Request::Read { .. } => Next::Done,
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let (ours, theirs) = File::pipe()?;
        let pid = process::spawn(|| {
            let report = || {
                let segment = counting("snapshot", 0)?;
                register(&segment)?;
                theirs.write(b"reported")?;
                theirs.read(&mut [0])?;
                let _memory = then(path, segment)?;
                sys::sleep(u64::MAX >> 1)
            };
            u8::from(report().is_err())
        })?;
        let verdict = look(&ours, after);
        process::kill(pid, "enough")?;
        process::wait_for(pid)?;
        verdict?;
        same("when it has ended", requests()?, 0)
    })
}

fn look(driver: &File, after: u64) -> Verdict {
    driver.read(&mut [0; 8])?;
    same("at first", requests()?, 1)?;
    driver.write(b"!")?;
    for _ in 0..PATIENCE {
        sys::sleep(LOOK_NS)?;
        if requests()? == after && after == 0 {
            return Ok(());
        }
    }
    same("afterwards", requests()?, after)
}

fn requests() -> Result<u64, Why> {
    Ok(Counters::now()?.get(Stat64::DeviceRequests) / MANY)
}

/// Memory at `address` (0: anywhere) that looks like counters.
fn counting(kind: &str, address: u64) -> Result<Segment, Errno> {
    let mut segment = Segment::attach_with(kind, PG, address, 0)?;
    let words = segment.bytes_mut().chunks_mut(8);
    words.for_each(|word| word.copy_from_slice(&MANY.to_le_bytes()));
    Ok(segment)
}

fn register(counters: &Segment) -> Result<(), Errno> {
    // SAFETY: the kernel only reads there.
    unsafe { raw::call(Call::Counters, [counters.address(), 0, 0, 0, 0, 0]) }.map(drop)
}

/// Something else is where the counters were.
fn detaches(_: &str, counters: Segment) -> Result<Segment, Errno> {
    let address = counters.address();
    drop(counters);
    counting("memory", address)
}

/// The page of the counters sleeps at a server that never wakes it.
fn falls_asleep(path: &str, mut counters: Segment) -> Result<Segment, Errno> {
    File::open(path, mode::OREAD)?.read_at(counters.bytes_mut(), 0)?;
    Ok(counters)
}

/// The process runs another program.
fn becomes_another(_: &str, counters: Segment) -> Result<Segment, Errno> {
    process::exec("/bin/sleep", &["sleep", "60"]);
    Ok(counters)
}
