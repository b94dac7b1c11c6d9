//! The jobs about threads, and about who runs when many would.

use crate::Round;
use crate::jobs::{count, repeat};
use core::hint;
use rt::process::{self, Fork};
use rt::thread::Builder;
use rt::{Failure, File, Named, Stat64};

/// A thread started, and its value taken.
pub fn spawn() -> Result<Round, Failure> {
    repeat(100, || {
        let handle = Builder::new().spawn(|| 1).about("thread")?;
        hint::black_box(handle.join());
        Ok(())
    })
}

/// Processes that compute all the time.
const SPINNERS: usize = 2;
/// Round trips of one round.
const ECHOES: u64 = 200;

/// One byte to another process and one byte back, beside two that compute: what all
/// processes execute until it is back.
pub fn echo() -> Result<Round, Failure> {
    let (ours, theirs) = File::pipe().about("channel")?;
    let echo = process::spawn(|| {
        let mut byte = [0];
        while let Ok(1) = theirs.read(&mut byte) {
            if theirs.write_all(&byte).is_err() || byte[0] != 0 {
                break;
            }
        }
        0
    });
    let mut pids = [echo.about("process")?; SPINNERS + 1];
    for pid in &mut pids[1..] {
        *pid = match process::fork().about("process")? {
            Fork::Parent(pid) => pid,
            Fork::Child => loop {
                hint::spin_loop();
            },
        };
    }
    let turn = |n: u8| {
        let mut byte = [n];
        ours.write_all(&byte).about("channel")?;
        ours.read(&mut byte).about("channel").map(drop)
    };
    let turns = || (0..ECHOES).try_for_each(|_| turn(0));
    let ticks = turn(0).and_then(|()| count(Stat64::Ticks, turns));
    let ended = turn(1);
    for pid in &pids[1..] {
        process::kill(*pid, "enough").about("process")?;
    }
    for pid in pids {
        process::wait_for(pid).about("waiting")?;
    }
    ended?;
    Ok(Round {
        times: ECHOES,
        ticks: ticks?,
    })
}
