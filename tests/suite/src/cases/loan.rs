//! Memory that the kernel lends to a driver for the data of a reply.

use super::Case;
use super::devices::IOAPIC;
use crate::check::{PG, Verdict, Why, at_rest, equal, fails, patterned, same, snapshot};
use crate::liar::{Liar, Next, served};
use crate::tiny::SEED;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ninep::{Reply, Request};
use rt::abi::snapshot::EAGER;
use rt::abi::{LOAN_MAX, mode};
use rt::stats::Counters;
use rt::{Errno, File, Port, Segment, Shared, Stat64, process, sys, thread};

pub const CASES: &[Case] = &[
    Case::new("loan.refused", refused),
    Case::new("loan.none", none),
    Case::driver("drivers.loan.unused", unused),
    Case::driver("drivers.loan.long", too_long),
    Case::driver("drivers.loan.killed", killed),
    Case::driver("drivers.loan.reset", reset),
    Case::driver("drivers.loan.alive", alive),
    Case::driver("drivers.loan.thread", borrower_ends),
    Case::driver("drivers.loan.exec", becomes_another),
    Case::driver("loan.died", died),
];

/// Reads all of the file and looks at it.
fn all_of(path: &str) -> Verdict {
    let file = File::open(path, mode::OREAD)?;
    let mut segment = snapshot(4)?;
    let got = file.read_full_at(segment.bytes_mut(), 0)?;
    same("bytes read", got, 4 * PG)?;
    equal("them", segment.bytes(), &patterned(SEED, 0, 4 * PG))
}

/// Bytes that never came are not read, in a call that reads them at once.
fn reads_nothing(path: &str) -> Verdict {
    let file = File::open(path, mode::OREAD)?;
    let mut segment = Segment::attach_with("snapshot", 4 * PG, 0, EAGER)?;
    match file.read_at(segment.bytes_mut(), 0) {
        Ok(_) => Err(Why("read what never came".into())),
        Err(_) => Ok(()),
    }
}

/// A program without the privilege is told no physical address.
fn refused() -> Verdict {
    let port = Port::new()?;
    let received = port.receive_with_loan(&mut [0; 8], u64::MAX, &mut [0; LOAN_MAX]);
    fails("receiving", received.map(drop), Errno::EPERM)
}

/// A server that was lent nothing cannot say that data is in place: its reply is as
/// malformed as any other of the wrong length.
fn none() -> Verdict {
    let serve = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve(channel, |turn| match turn.request {
            Request::Read { count, .. } => match turn.head_alone(turn.tag, *count as usize) {
                Err(Errno::EPROTO) => Next::Honest,
                _ => Next::End(3),
            },
            _ => Next::Honest,
        })
    };
    served(serve, all_of)
}

/// A driver that was lent memory may send the data all the same.
fn unused() -> Verdict {
    let serve = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve_lent(channel, |turn, lent| match turn.request {
            Request::Read { .. } if lent == 0 => Next::End(3),
            Request::Read { .. } => Next::Honest,
            _ if lent > 0 => Next::End(4),
            _ => Next::Honest,
        })
    };
    served(serve, all_of)
}

/// It cannot say that more data is in place than was asked for.
fn too_long() -> Verdict {
    let serve = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve_lent(channel, |turn, _| match turn.request {
            Request::Read { count, .. } => {
                let _ = turn.head_alone(turn.tag, *count as usize + 1);
                Next::Done
            }
            _ => Next::Honest,
        })
    };
    served(serve, reads_nothing)
}

/// Memory that is lent stays so when the process that waits for the data is killed:
/// nobody else is given it before the server has answered.
fn killed() -> Verdict {
    let serve = |channel: &File| {
        // The requests without an answer.
        let (mut read, mut flush) = (None, None);
        Liar::WITH_SNAPSHOTS.serve_lent(channel, |turn, lent| match *turn.request {
            Request::Read { .. } if read.is_none() && lent > 0 => {
                read = Some(turn.tag);
                Next::Done
            }
            Request::Flush { oldtag } if read == Some(oldtag) => {
                flush = Some(turn.tag);
                Next::Done
            }
            Request::Walk { .. } | Request::Getattr { .. } => {
                if let (Some(read), Some(flush)) = (read.take(), flush.take()) {
                    turn.error(read, Errno::EIO);
                    let _ = turn.reply(flush, &Reply::Flush);
                }
                Next::Honest
            }
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        // What the kernel keeps for later is there.
        File::stat_path(path)?;
        let free = || Ok::<u64, Why>(Counters::now()?.get(Stat64::FramesFree));
        let before = free()?;
        let pid = process::spawn(|| u8::from(all_of(path).is_err()))?;
        at_rest()?;
        process::kill(pid, "in the middle")?;
        process::wait_for(pid)?;
        sys::sleep(PATIENCE_NS)?;
        let lent = before.saturating_sub(free()?);
        File::stat_path(path)?;
        sys::sleep(PATIENCE_NS)?;
        let left = before.saturating_sub(free()?);
        match lent > left {
            true => Ok(()),
            false => Err(Why(alloc::format!("{lent} frames lent, {left} left"))),
        }
    })
}

const PATIENCE_NS: u64 = 30_000_000;

/// A driver ends while its device may write: the memory is never used again, which the
/// judge sees as a leak.
fn died() -> Verdict {
    let serve = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve_lent(channel, |turn, lent| match turn.request {
            Request::Read { .. } if lent > 0 => Next::End(0),
            _ => Next::Honest,
        })
    };
    served(serve, reads_nothing)
}

/// Attaches the registers of a device until the end of the process.
fn attach_device() -> Result<(), Errno> {
    Segment::attach_with("device", PG, 0, IOAPIC).map(core::mem::forget)
}

/// Serves until memory is lent.
fn borrow(channel: &File) -> u8 {
    Liar::WITH_SNAPSHOTS.serve_lent(channel, |turn, lent| match turn.request {
        Request::Read { .. } if lent > 0 => Next::End(0),
        _ => Next::Honest,
    })
}

/// A server of one device that ends with memory lent, or, `closes`, closes the connection
/// and goes on until `stop` is 1.
fn leaves(closes: Option<&AtomicU32>) -> impl Fn(&File) -> u8 {
    move |channel| {
        if attach_device().is_err() {
            return 1;
        }
        let status = borrow(channel);
        if let Some(stop) = closes {
            drop(File::from_fd(channel.fd()));
            while stop.load(Relaxed) == 0 {
                let _ = sys::sleep(1_000_000);
            }
        }
        status
    }
}

/// Another driver attaches memory for the device: it has reset it.
fn next_driver() -> Verdict {
    let device = Segment::attach_with("device", PG, 0, IOAPIC)?;
    drop(Segment::attach("dma", PG)?);
    drop(device);
    Ok(())
}

fn free() -> Result<u64, Why> {
    Ok(Counters::now()?.get(Stat64::FramesFree))
}

/// Pages that are lent for the read.
const LENT: u64 = 4;

/// What was lent to a driver that has ended is used again once the next driver of its
/// device has reset that, and not before.
fn reset() -> Verdict {
    ends_and_is_reset(|| {
        served(leaves(None), reads_nothing)?;
        drop(Segment::attach("dma", PG)?);
        free()
    })
}

/// While that driver runs its device may be at work, whoever attaches memory for it.
fn alive() -> Verdict {
    ends_and_is_reset(|| {
        let shared = Shared::new(PG)?;
        let stop = shared.number(0)?;
        let mut left = 0;
        served(leaves(Some(stop)), |path| {
            reads_nothing(path)?;
            next_driver()?;
            left = free()?;
            stop.store(1, Relaxed);
            Ok(())
        })?;
        Ok(left)
    })
}

/// The thread that has borrowed ends before the driver does.
fn borrower_ends() -> Verdict {
    let serve = |channel: &File| {
        if attach_device().is_err() {
            return 1;
        }
        let fd = channel.fd();
        let borrower = thread::spawn(move || {
            let channel = File::from_fd(fd);
            let status = borrow(&channel);
            channel.into_fd();
            status
        });
        borrower.join()
    };
    ends_and_is_reset(|| {
        served(serve, reads_nothing)?;
        drop(Segment::attach("dma", PG)?);
        free()
    })
}

/// The driver becomes another program, which has the connection and no device, and ends.
fn becomes_another() -> Verdict {
    let serve = |channel: &File| {
        if attach_device().is_err() || borrow(channel) != 0 {
            return 1;
        }
        process::exec("/bin/true", &["true"]);
        2
    };
    ends_and_is_reset(|| {
        served(serve, reads_nothing)?;
        drop(Segment::attach("dma", PG)?);
        free()
    })
}

/// How often drivers end, so that what they leave is more than what the kernel keeps for
/// later, which comes and goes.
const TIMES: u64 = 8;

/// `left` has a driver end with memory lent, and returns the frames that are free when
/// it must still be kept.
fn ends_and_is_reset(left: impl Fn() -> Result<u64, Why>) -> Verdict {
    // What is kept for later is there after the first.
    left()?;
    next_driver()?;
    let (before, mut kept) = (free()?, 0);
    for _ in 0..TIMES {
        kept += free()?.saturating_sub(left()?);
        next_driver()?;
    }
    ensure!(kept >= TIMES * LENT / 2, "only {kept} frames are kept");
    let left = before.saturating_sub(free()?);
    ensure!(left < TIMES * LENT / 2, "{left} frames are kept still");
    Ok(())
}
