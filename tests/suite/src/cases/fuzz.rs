//! Calls with arguments drawn from good and bad ones: the kernel and all other
//! processes go on.

use super::{Case, hostile::NOWHERE, random::Random};
use crate::check::{PG, Verdict, other, same};
use crate::liar::close_all_but;
use crate::raw;
use alloc::vec::Vec;
use rt::abi::{PAGE, ProcessInfo, rfork};
use rt::process::Fork;
use rt::{Call, File, Segment, mode, note, process, send};

pub const CASES: &[Case] = &[
    Case::new("fuzz.calls.1", || calls(1)),
    Case::new("fuzz.calls.2", || calls(2)),
    Case::new("fuzz.calls.3", || calls(3)),
    Case::new("fuzz.wild.1", || wild(1)),
    Case::new("fuzz.wild.2", || wild(2)),
    Case::new("fuzz.wild.3", || wild(3)),
];

const CALLS: usize = 5000;

/// The duration of a storm of calls that may wait, fork and end, in
/// nanoseconds.
const WILD_NS: u64 = 300_000_000;

/// Calls that would reach uninvolved processes. FailAlloc reaches all that pay
/// from the caller's account; `failing.*` tests it.
const RUDE: &[Call] = &[
    Call::Kill,
    Call::KillAll,
    Call::Note,
    Call::Log,
    Call::FailAlloc,
];

/// Calls left out: they end or copy the process, wait without limit by design,
/// or (with lucky arguments) take away the fuzzer's own memory, or make the
/// next touch of its memory fail.
pub const LEFT_OUT: &[Call] = &[
    Call::Exits,
    Call::RFork,
    Call::Exec,
    Call::Wait,
    Call::Sleep,
    Call::SegDetach,
    Call::Kill,
    Call::KillAll,
    Call::Note,
    Call::Notify,
    Call::SemAcquire,
    Call::Recv,
    Call::Log,
    Call::FailAlloc,
];

fn of(random: &mut Random, from: &[u64]) -> u64 {
    from[random.below(from.len())]
}

/// A number of calls that end soon.
pub fn calls(seed: u64) -> Verdict {
    let pid = process::spawn(|| {
        let _ = storm(seed, CALLS, LEFT_OUT, NOTHING);
        0
    })?;
    let ended = process::wait_for(pid)?;
    same("the fuzzer's status", ended.status(), 0)?;
    others_carry_on()
}

/// Any call but the rude ones, including calls that wait without limit, fork
/// and end, until the time is up. All resources come back in any case.
pub fn wild(seed: u64) -> Verdict {
    let group = match process::fork_with(rfork::NOTES)? {
        Fork::Child => {
            wild_calls(seed, NOTHING);
            process::exit_now(0, "")
        }
        Fork::Parent(pid) => pid,
    };
    rt::sys::sleep(WILD_NS)?;
    end_group(group)?;
    process::wait_for(group)?;
    others_carry_on()
}

/// Any call but the rude ones, without end; the file of that name is in their reach.
pub fn wild_calls(seed: u64, name: &str) {
    let _ = storm(seed, usize::MAX, RUDE, name);
}

/// Ends all processes of a note group.
pub fn end_group(group: u64) -> Verdict {
    // Processes forked meanwhile are in the group too.
    while process::list().any(|p| p.group == group && p.state != ProcessInfo::ENDED) {
        let _ = note::send_group(group, "enough");
        rt::sys::sleep(1_000_000)?;
    }
    Ok(())
}

fn others_carry_on() -> Verdict {
    let (a, b) = File::pipe()?;
    other(|| Ok(send(&a, [b"here"])?))?;
    same("a message", b.read(&mut [0; 8])?, 4)
}

/// The name of no file.
pub const NOTHING: &str = "/n/host/nothing/";

/// Leaves no descriptor open that a call could wait on without limit, but one of the
/// file of that name, if there is one.
fn few_descriptors(name: &str) -> Verdict {
    close_all_but(&[]);
    if let Ok(file) = File::open(name, mode::ORDWR) {
        file.into_fd();
    }
    for path in ["/dev/null", "/dev/zero", "/n/host", "/bin/echo"] {
        File::open(path, mode::OREAD)?.into_fd();
    }
    Ok(())
}

/// Small numbers: descriptors, counts, flags.
const SMALL: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    16,
    63,
    64,
    512,
    PAGE,
    PAGE + 1,
    3 * PAGE,
];

/// Numbers that overflow.
const LARGE: &[u64] = &[1 << 31, 1 << 32, 1 << 47, 1 << 63, u64::MAX - 1, u64::MAX];

/// That many calls but those left out. The name is among the good arguments.
pub fn storm(seed: u64, count: usize, left_out: &[Call], name: &str) -> Verdict {
    // Nothing that only the judge may say, and names of its own.
    rt::sys::privilege(0)?;
    process::change(rfork::NAMES)?;
    few_descriptors(name)?;
    let mut memory = Segment::attach("memory", 16 * PG)?;
    memory.bytes_mut()[..name.len()].copy_from_slice(name.as_bytes());
    let at = memory.address();
    let good = [at, at + 1, at + PAGE - 3, at + PAGE, at + 5 * PAGE + 7];
    let calls: Vec<Call> = Call::ALL
        .iter()
        .copied()
        .filter(|call| !left_out.contains(call))
        .collect();
    let mut random = Random::new(seed);
    for _ in 0..count {
        let call = calls[random.below(calls.len())];
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = match random.below(8) {
                0..4 if random.below(SMALL.len()) == 0 => name.len() as u64,
                0..4 => of(&mut random, SMALL),
                4..6 => of(&mut random, &good),
                6 => of(&mut random, NOWHERE),
                _ => of(&mut random, LARGE),
            };
        }
        if call == Call::RFork {
            // Other flags would lead out of the group that is ended.
            args[0] = rfork::PROC | rfork::FDS;
        }
        // SAFETY: addresses are in `memory`, to which no reference is used any
        // more, or unmapped.
        let got = unsafe { raw::call(call, args) };
        // Nothing that could be waited for may stay open.
        if got.is_ok() && matches!(call, Call::Port | Call::Pipe) {
            few_descriptors(name)?;
        }
        if let (Ok(va), Call::SegAttach) = (got, call) {
            // SAFETY: it was made just now, and no reference into it exists.
            let _ = unsafe { raw::call(Call::SegDetach, [va, 0, 0, 0, 0, 0]) };
        }
    }
    Ok(())
}
