//! Data of writes that stays with the program that writes, for the device of a server
//! that is a driver.

use super::Case;
use crate::check::{PG, Verdict, Why, equal, fails, patterned, same, snapshot};
use crate::liar::{Liar, Next, served};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::Ordering::Relaxed;
use ninep::consts::put;
use ninep::{Changes, Reply, Request};
use rt::abi::{lent, mode};
use rt::{Errno, File, Shared, process, read_lent, sys};

pub const CASES: &[Case] = &[
    Case::new("lent.refused", refused),
    Case::driver("drivers.lent.whole", whole),
    Case::driver("drivers.lent.ragged", ragged),
    Case::driver("drivers.lent.staged", staged),
    Case::driver("drivers.lent.stored", stored),
    Case::driver("drivers.lent.killed", killed),
    Case::driver("drivers.lent.wrong", wrong),
    Case::driver("lent.died", died),
];

const PATIENCE_NS: u64 = 30_000_000;
/// The pattern of what is written.
const WRITTEN: u8 = 77;

/// All bytes of the parts.
fn fetched(channel: &File, parts: &[u64]) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    for part in parts {
        let (at, len) = lent::part(*part);
        let mut bytes = vec![0; len];
        let got = read_lent(channel.fd().into(), &mut bytes, at)?;
        all.extend_from_slice(&bytes[..got]);
    }
    Ok(all)
}

/// Returns true if nothing is lent at the first of the parts.
fn is_over(channel: &File, parts: &[u64]) -> bool {
    fetched(channel, parts) == Err(Errno::EINVAL)
}

fn commits(flags: u32) -> bool {
    flags & put::COMMIT != 0
}

/// A program without the privilege sees nothing of it.
fn refused() -> Verdict {
    let (ours, _theirs) = File::pipe()?;
    let got = read_lent(ours.fd().into(), &mut [0; 8], 0x1000);
    fails("reading", got, Errno::EPERM)
}

/// Writes `len` bytes, from byte `from` of a segment on, to the file at `path`.
fn write(path: &str, from: usize, len: usize) -> Verdict {
    let file = File::open(path, mode::ORDWR)?;
    let pages = (from + len).div_ceil(PG);
    let mut segment = snapshot(pages)?;
    segment.bytes_mut()[from..from + len].copy_from_slice(&patterned(WRITTEN, 0, len));
    let done = file.write_at(&segment.bytes()[from..from + len], 0)?;
    same("written", done, len)
}

/// A server that is lent the data of each write, which has to be that pattern, and
/// looks after the write whether it still is.
fn lender(channel: &File, least: usize) -> u8 {
    let before: Cell<Option<Vec<u64>>> = Cell::new(None);
    Liar::WITH_SNAPSHOTS.serve_data(channel, |turn, parts| {
        if let Some(before) = before.take()
            && !is_over(turn.channel, &before)
        {
            return Next::End(3);
        }
        let Request::Put { flags, data, .. } = *turn.request else {
            return Next::Honest;
        };
        if !commits(flags) || data.len() < least {
            return Next::Honest;
        }
        if parts.is_empty() || data != patterned(WRITTEN, 0, data.len()) {
            return Next::End(4);
        }
        before.set(Some(parts.to_vec()));
        Next::Honest
    })
}

fn whole() -> Verdict {
    served(|channel| lender(channel, 1), |path| write(path, 0, 4 * PG))
}

/// The data begins and ends within pages.
fn ragged() -> Verdict {
    served(
        |channel| lender(channel, 1),
        |path| {
            write(path, 100, 2 * PG)?;
            write(path, PG - 1, PG + 2)?;
            write(path, 4000, 1024)
        },
    )
}

/// Messages that are only staged are answered; their data stays until the commit is.
fn staged() -> Verdict {
    let serve = |channel: &File| {
        let mut all: Vec<u64> = Vec::new();
        Liar::WITH_SNAPSHOTS.serve_data(channel, |turn, parts| {
            let Request::Put { flags, off, .. } = *turn.request else {
                return match all.is_empty() || is_over(turn.channel, &all) {
                    true => Next::Honest,
                    false => Next::End(3),
                };
            };
            all.extend_from_slice(parts);
            let count = match commits(flags) {
                true => match fetched(turn.channel, &all) {
                    Ok(bytes) if bytes == patterned(WRITTEN, 0, bytes.len()) => bytes.len(),
                    _ => return Next::End(4),
                },
                false => 0,
            };
            let reply = Reply::Put {
                off,
                count: count as u64,
                epoch: 2,
                assoc: false,
                changes: Changes::NONE,
            };
            match turn.reply(turn.tag, &reply) {
                Ok(()) => Next::Done,
                Err(_) => Next::End(5),
            }
        })
    };
    // More than two messages.
    served(serve, |path| {
        write(path, 0, 300 * 1024)?;
        File::stat_path(path)?;
        Ok(())
    })
}

/// A store by another process while the data is lent is not seen in it: that one gets a
/// page of its own.
fn stored() -> Verdict {
    let shared = Shared::new(PG)?;
    let serve = |channel: &File| {
        let Ok(turns) = shared.number(0) else {
            return 2;
        };
        Liar::WITH_SNAPSHOTS.serve_data(channel, |turn, parts| {
            if matches!(turn.request, Request::Put { .. }) && !parts.is_empty() {
                turns.store(1, Relaxed);
                while turns.load(Relaxed) != 2 {
                    if sys::sleep(0).is_err() {
                        return Next::End(3);
                    }
                }
                match fetched(turn.channel, parts) {
                    Ok(bytes) if bytes == patterned(WRITTEN, 0, bytes.len()) => {}
                    _ => return Next::End(4),
                }
            }
            Next::Honest
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::ORDWR)?;
        let mut segment = snapshot(4)?;
        let pattern = patterned(WRITTEN, 0, 4 * PG);
        segment.bytes_mut().copy_from_slice(&pattern);
        // It shares the pages with this one until one of the two stores.
        let child = process::spawn(|| {
            let Ok(turns) = shared.number(0) else {
                return 1;
            };
            while turns.load(Relaxed) != 1 {
                if sys::sleep(0).is_err() {
                    return 1;
                }
            }
            segment.bytes_mut().fill(0);
            turns.store(2, Relaxed);
            0
        })?;
        same("written", file.write_at(segment.bytes(), 0)?, 4 * PG)?;
        equal("the buffer", segment.bytes(), &pattern)?;
        same("status", process::wait_for(child)?.status(), 0)
    })
}

/// The program is killed in the middle: its pages stay until the server has forgotten the
/// write.
fn killed() -> Verdict {
    let serve = |channel: &File| {
        let (mut pending, mut lent) = (None, Vec::new());
        Liar::WITH_SNAPSHOTS.serve_data(channel, |turn, parts| match *turn.request {
            Request::Put { flags, off, .. } if flags & put::ABORT != 0 => {
                // The program is no more.
                match fetched(turn.channel, &lent) {
                    Ok(bytes) if bytes == patterned(WRITTEN, 0, bytes.len()) => {}
                    _ => return Next::End(4),
                }
                let reply = Reply::Put {
                    off,
                    count: 0,
                    epoch: 0,
                    assoc: false,
                    changes: Changes::NONE,
                };
                let _ = turn.reply(turn.tag, &reply);
                match is_over(turn.channel, &lent) {
                    true => Next::Done,
                    false => Next::End(5),
                }
            }
            Request::Put { .. } if pending.is_none() && !parts.is_empty() => {
                pending = Some(turn.tag);
                lent = parts.to_vec();
                Next::Done
            }
            Request::Flush { oldtag } if pending == Some(oldtag) => {
                let _ = turn.error(oldtag, Errno::EINTR);
                let _ = turn.reply(turn.tag, &Reply::Flush);
                Next::Done
            }
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let pid = process::spawn(|| u8::from(write(path, 0, 4 * PG).is_err()))?;
        sys::sleep(PATIENCE_NS)?;
        process::kill(pid, "in the middle")?;
        process::wait_for(pid)?;
        sys::sleep(PATIENCE_NS)?;
        File::stat_path(path)?;
        Ok(())
    })
}

/// Addresses that are not lent, or with a channel that is no client's.
fn wrong() -> Verdict {
    let (ours, _theirs) = File::pipe()?;
    let mut buffer = [0; 8];
    let got = read_lent(ours.fd().into(), &mut buffer, 0x10_0000);
    fails("no client", got, Errno::EINVAL)?;
    fails("no channel", read_lent(60, &mut buffer, 0), Errno::EBADF)?;
    let serve = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve_data(channel, |turn, parts| {
            let fd = turn.channel.fd().into();
            let mut page = vec![0; PG];
            for part in parts {
                let (at, len) = lent::part(*part);
                let last = at + len as u64 - 1;
                // As far as the part goes, and no further.
                if read_lent(fd, &mut page, last) != Ok(1) {
                    return Next::End(3);
                }
            }
            for at in [0, 1 << 20, u64::MAX, 1 << 52] {
                if read_lent(fd, &mut page, at) != Err(Errno::EINVAL) {
                    return Next::End(4);
                }
            }
            Next::Honest
        })
    };
    served(serve, |path| write(path, 0, PG))
}

/// A driver ends while its device may read: the pages are never used again, which the
/// judge sees as a leak.
fn died() -> Verdict {
    let serve = |channel: &File| {
        Liar::WITH_SNAPSHOTS.serve_data(channel, |turn, parts| match turn.request {
            Request::Put { .. } if !parts.is_empty() => Next::End(0),
            _ => Next::Honest,
        })
    };
    served(serve, |path| match write(path, 0, 4 * PG) {
        Ok(()) => Err(Why("written by nobody".into())),
        Err(_) => Ok(()),
    })
}
