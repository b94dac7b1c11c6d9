//! A segment that one detaches while another works in it.

use super::{at, attach, call, detach};
use crate::check::{PG, Verdict, fails, same};
use core::sync::atomic::Ordering::Relaxed;
use rt::process::{self, Fork};
use rt::{Call, Errno, Segment, Shared, sys, thread};

/// Pages of the segment, so many that its detaching is interrupted, and pages far from each
/// other behind them, each a step of its own.
const CALM: u64 = 4200;
const SPARSE: u64 = 300;
const FAR: u64 = 1 << 30;
const LAST: u64 = SPARSE * FAR;

/// Its last page is shared with a child. One frees all up to the middle of that page, which
/// becomes its own; another detaches the segment meanwhile; the child gives the page up, at
/// any time in between: nobody can reach the frame then.
pub(super) fn private() -> Verdict {
    for turns in (0..12).map(|step| step * (step + 9) / 4) {
        let pid = match process::fork()? {
            Fork::Child => match detached_while_freed(turns) {
                Ok(()) => process::exit_now(0, ""),
                Err(why) => process::exit(1, &why.0),
            },
            Fork::Parent(pid) => pid,
        };
        let ended = process::wait_for(pid)?;
        ensure!(ended.status() == 0, "{turns} turns: {}", ended.text());
    }
    Ok(())
}

fn detached_while_freed(turns: u64) -> Verdict {
    let mut shared = Segment::attach("shared", PG)?;
    let flag = shared.address();
    shared.bytes_mut()[0] = 0;
    let segment = attach(0, (LAST + FAR) as usize)?;
    let last = segment + LAST;
    let calm = (0..CALM).map(|page| page * PG as u64);
    for offset in calm.chain((1..=SPARSE).map(|far| far * FAR)) {
        at(segment + offset).store(1, Relaxed);
    }
    let child = process::spawn(|| {
        wait_for(flag, turns);
        u8::from(call(Call::SegFree, [last, PG as u64, 0, 0, 0, 0]).is_err())
    })?;
    let detaches = thread::spawn(move || {
        wait_for(flag, 0);
        detach(segment)
    });
    at(flag).store(1, Relaxed);
    let freed = call(Call::SegFree, [segment, LAST + 100, 0, 0, 0, 0]);
    ensure!(
        freed.is_ok() || freed == Err(Errno::EFAULT),
        "freeing: {freed:?}"
    );
    detaches.join()?;
    same("the child's status", process::wait_for(child)?.status(), 0)
}

/// Waits until the word there is set, and lets others run so many times then.
fn wait_for(flag: u64, turns: u64) {
    let mut left = turns + 1;
    while left > 0 && sys::sleep(0).is_ok() {
        left -= at(flag).load(Relaxed);
    }
}

/// One waits for a child; another detaches the memory for the answer meanwhile. The child
/// is there for the next wait.
pub(super) fn wait() -> Verdict {
    const A_WHILE_NS: u64 = 20_000_000;
    let gate = Shared::new(PG)?;
    let child = process::spawn(|| match gate.semaphore(0).and_then(|gate| gate.acquire()) {
        Ok(()) => 7,
        Err(_) => 8,
    })?;
    let answer = attach(0, PG)?;
    thread::scope(|scope| {
        let detaches = scope.spawn(|| {
            sys::sleep(A_WHILE_NS)?;
            detach(answer)?;
            gate.semaphore(0)?.release(1)
        });
        let waited = call(Call::Wait, [answer, 0, 0, 0, 0, 0]);
        detaches.join()?;
        fails("the wait", waited, Errno::EFAULT)
    })?;
    same("the child's status", process::wait_for(child)?.status(), 7)
}
