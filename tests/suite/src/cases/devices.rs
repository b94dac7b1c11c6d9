//! A device's memory is for its driver's own loads and stores: system calls neither
//! read nor change it. Needs the boot option `drivers=1`.

use super::Case;
use crate::check::{PG, Verdict, Why, fails, same};
use alloc::format;
use rt::abi::mode;
use rt::stats::Counters;
use rt::{Errno, File, Segment, Stat64, process};

pub const CASES: &[Case] = &[
    Case::driver("drivers.memory", memory),
    Case::driver("drivers.dma", dma),
];

/// The registers of the I/O APIC. The first selects one and has no effect of its own.
pub const IOAPIC: u64 = 0xfec0_0000;
/// Bytes of the register.
const LEN: usize = 4;

/// Before and after the driver's own touch, each call has the same error.
fn memory() -> Verdict {
    let mut device = Segment::attach_with("device", PG, 0, IOAPIC)?;
    refused("before a touch", &mut device)?;
    let selected = selected(&device);
    for when in ["after a touch", "again"] {
        refused(when, &mut device)?;
        same(when, self::selected(&device), selected)?;
    }
    drop(device);
    // The addresses are ordinary memory's from now on.
    let mut memory = Segment::attach("memory", PG)?;
    File::open("/dev/time", mode::OREAD)?.read(memory.bytes_mut())?;
    Ok(())
}

/// The register that the first one selects; the driver's own load.
fn selected(device: &Segment) -> u32 {
    let register = device.bytes().as_ptr().cast::<u32>();
    // SAFETY: the segment is at least as long.
    unsafe { register.read_volatile() }
}

fn refused(when: &str, device: &mut Segment) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    ours.write(b"\x01\x01\x01\x01")?;
    let time = File::open("/dev/time", mode::OREAD)?;
    let zero = File::open("/dev/zero", mode::OREAD)?;
    let program = File::open("/bin/sh", mode::OREAD)?;
    for (what, file) in [
        ("channel", &theirs),
        ("time", &time),
        ("zero", &zero),
        ("program", &program),
    ] {
        let read = file.read(&mut device.bytes_mut()[..LEN]);
        fails(&format!("{what}, {when}"), read, Errno::EFAULT)?;
    }
    let sent = rt::send(&ours, [&device.bytes()[..LEN]]);
    fails(when, sent, Errno::EFAULT)?;
    let found = File::stat_path(&device.bytes()[..LEN]).map(|_| ());
    fails(when, found, Errno::EFAULT)?;
    // The message is still there.
    let mut message = [0; LEN];
    same(when, theirs.read(&mut message)?, LEN)
}

/// Pages of memory for a device.
const PAGES: usize = 500;

fn free_frames() -> Result<usize, Why> {
    Ok(Counters::now()?.get(Stat64::FramesFree) as usize)
}

/// What a driver had attached for its device when it ended is nobody's until another
/// driver of that device attaches memory, and so has reset it.
fn dma() -> Verdict {
    let free = free_frames()?;
    let driver = process::spawn(|| {
        let device = Segment::attach_with("device", PG, 0, IOAPIC);
        let memory = Segment::attach("dma", PAGES * PG);
        core::mem::forget(device);
        u8::from(memory.map(core::mem::forget).is_err())
    })?;
    same("the driver", process::wait_for(driver)?.status(), 0)?;
    let left = free_frames()?;
    ensure!(left + PAGES <= free, "{left} of {free} frames are free");
    // Another program's memory, and that of a driver without those registers.
    drop(Segment::attach("dma", PG)?);
    let left = free_frames()?;
    ensure!(left + PAGES <= free, "{left} of {free} frames are free");
    let device = Segment::attach_with("device", PG, 0, IOAPIC)?;
    drop(Segment::attach("dma", PG)?);
    drop(device);
    let left = free_frames()?;
    ensure!(left + PAGES > free, "{left} of {free} frames are free");
    Ok(())
}
