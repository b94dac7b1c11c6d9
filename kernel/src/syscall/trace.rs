//! The call of a program that watches others, and calls and faults while somebody listens.
use super::Arguments;
use crate::proc::Running;
use crate::sched::{self, Reason, Wake};
use crate::seg::user;
use crate::trace::{self, watch};
use abi::Errno;
use abi::trace::{Event, WORDS};
use hw::{TrapFrame, time};
use zerocopy::IntoBytes;

/// Records that are copied in one step.
const STEP: usize = 32;
/// Bytes of one.
const RECORD: u64 = WORDS as u64 * 8;
/// How long records may wait while few come, in nanoseconds.
const PATIENCE: u64 = 20_000_000;

pub fn call(a: &Arguments) -> Result<u64, Errno> {
    let [op, va, n, ..] = a.words();
    match op {
        0 => trace::begin_watch().map(|()| 0),
        1 => read(a, va, n),
        _ => Err(Errno::EINVAL),
    }
}

/// Waits for records, and copies as many as fit and one step permits; bytes.
fn read(a: &Arguments, va: u64, n: u64) -> Result<u64, Errno> {
    if n < RECORD {
        return Err(Errno::EINVAL);
    }
    let most = STEP.min((n / RECORD) as usize);
    loop {
        let (mut records, mut count) = ([[0; WORDS]; STEP], 0);
        while count < most
            && let Some(record) = watch::take(a.process.slot())?
        {
            records[count] = record;
            count += 1;
        }
        let taken = &records[..count];
        if count > 0 || watch::is_over() {
            let bytes = taken.as_bytes();
            if let Err(errno) = user::write(a.space(), va, bytes) {
                taken.iter().rev().copied().for_each(watch::put_back);
                return Err(errno);
            }
            return Ok(bytes.len() as u64);
        }
        let deadline = time::now_ns().saturating_add(PATIENCE);
        if let Wake::Ending | Wake::Noted = sched::park(Reason::Message, Some(deadline)) {
            return Err(Errno::EINTR);
        }
    }
}

/// A system call while somebody listens.
#[cold]
pub fn traced(process: &Running, frame: &mut TrapFrame) {
    let number = frame.rax.min(u16::MAX.into()) as u16;
    trace::note(Event::Call, number, [frame.rdi, frame.rsi, frame.rdx]);
    super::perform(process, frame);
    trace::note(Event::Return, number, [frame.rax, 0, 0]);
    hurry();
}

/// A watched process lets the one that watches take records where there is little room for
/// more.
pub fn hurry() {
    if watch::is_watched(sched::current_slot())
        && let Some(watcher) = watch::hurried()
    {
        sched::unpark(watcher);
        sched::give_way();
    }
}
