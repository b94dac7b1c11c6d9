//! Processes that wait are served before those that compute.

use super::Case;
use crate::check::{PG, Verdict, Why, same};
use crate::judge::counters;
use core::sync::atomic::Ordering::Relaxed;
use rt::{File, Shared, Stat64, process, sys};

pub const CASES: &[Case] = &[
    Case::new("wake.echo", echo),
    Case::new("wake.sleep", sleep),
    Case::new("wake.fair", fair),
];

/// Processes that only compute.
const SPINNERS: usize = 4;
const ECHOES: u64 = 60;

/// Runs `body` beside processes that count, each in a number of its own, as fast as they
/// can.
fn beside_spinners(body: impl FnOnce(&Shared) -> Verdict) -> Verdict {
    let counts = Shared::new(PG)?;
    let mut pids = [0; SPINNERS];
    for (i, pid) in pids.iter_mut().enumerate() {
        *pid = process::spawn(|| {
            let Ok(count) = counts.number(4 * i) else {
                return 1;
            };
            loop {
                count.fetch_add(1, Relaxed);
            }
        })?;
    }
    // Until each has had a turn.
    for i in 0..SPINNERS {
        while counts.number(4 * i)?.load(Relaxed) == 0 {
            sys::sleep(1_000_000)?;
        }
    }
    let verdict = body(&counts);
    for pid in pids {
        process::kill(pid, "enough")?;
        process::wait_for(pid)?;
    }
    verdict
}

/// Timer and device interrupts during `body`.
fn interrupts(body: impl FnOnce() -> Verdict) -> Result<u64, Why> {
    let before = counters()?.get(Stat64::Interrupts);
    body()?;
    Ok(counters()?.get(Stat64::Interrupts) - before)
}

/// An answer does not wait until the others have had their turns: each would be ended by
/// the timer, eight of them for each answer.
fn echo() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let server = process::spawn(|| {
        let mut byte = [0];
        while let Ok(1) = theirs.read(&mut byte) {
            if theirs.write_all(&byte).is_err() || byte[0] == u8::MAX {
                break;
            }
        }
        0
    })?;
    let verdict = beside_spinners(|_| {
        let turns = interrupts(|| {
            (0..ECHOES as u8).try_for_each(|n| {
                let mut byte = [0];
                ours.write_all(&[n])?;
                ours.read(&mut byte)?;
                same("the echo", byte[0], n)
            })
        })?;
        rt::println!("{ECHOES} echoes beside {SPINNERS} that compute: {turns} interrupts");
        ensure!(
            turns <= 2 * ECHOES,
            "{turns} interrupts for {ECHOES} echoes"
        );
        Ok(())
    });
    ours.write_all(&[u8::MAX])?;
    process::wait_for(server)?;
    verdict
}

/// One that sleeps runs when its time is over: at the next interrupt, not five later.
fn sleep() -> Verdict {
    beside_spinners(|_| {
        let turns = interrupts(|| (0..ECHOES).try_for_each(|_| Ok(sys::sleep(1)?)))?;
        rt::println!("{ECHOES} sleeps beside {SPINNERS} that compute: {turns} interrupts");
        ensure!(
            turns <= 3 * ECHOES,
            "{turns} interrupts for {ECHOES} sleeps"
        );
        Ok(())
    })
}

/// Those that wake each other all the time do not keep the others from running.
fn fair() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pair: [u64; 2] = [
        process::spawn(|| {
            let mut byte = [0];
            while theirs.read(&mut byte).is_ok() && theirs.write_all(&byte).is_ok() {}
            0
        })?,
        process::spawn(|| {
            let mut byte = [0];
            while ours.write_all(&byte).is_ok() && ours.read(&mut byte).is_ok() {}
            0
        })?,
    ];
    let verdict = beside_spinners(|counts| {
        for i in 0..SPINNERS {
            let number = counts.number(4 * i)?;
            let before = number.load(Relaxed);
            let mut looks = 0;
            while number.load(Relaxed) == before {
                looks += 1;
                ensure!(looks < 200, "spinner {i} does not run");
                sys::sleep(5_000_000)?;
            }
        }
        Ok(())
    });
    for pid in pair {
        process::kill(pid, "enough")?;
        process::wait_for(pid)?;
    }
    verdict
}
