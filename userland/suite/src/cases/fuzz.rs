//! Calls with arguments drawn from good and bad ones: whatever they do, the
//! kernel and everyone else carry on.

use super::{Case, hostile::NOWHERE, random::Random};
use crate::check::{PG, Verdict, other, same};
use crate::raw;
use alloc::vec::Vec;
use rt::abi::{FDS_MAX, PAGE};
use rt::{Call, File, Segment, mode, process, send};

pub const CASES: &[Case] = &[
    Case::new("fuzz.calls.1", || fuzz(1)),
    Case::new("fuzz.calls.2", || fuzz(2)),
    Case::new("fuzz.calls.3", || fuzz(3)),
];

const CALLS: usize = 5000;

/// Calls left out: they end or copy the process, wait for ever by design, or
/// (with lucky arguments) take away the fuzzer's own memory.
const LEFT_OUT: &[Call] = &[
    Call::Exits,
    Call::RFork,
    Call::Exec,
    Call::Wait,
    Call::Sleep,
    Call::SegDetach,
    Call::Kill,
    Call::Note,
    Call::Notify,
    Call::SemAcquire,
    Call::Recv,
    Call::Log,
];

fn of(random: &mut Random, from: &[u64]) -> u64 {
    from[random.below(from.len())]
}

fn fuzz(seed: u64) -> Verdict {
    let pid = process::spawn(|| {
        let _ = storm(seed);
        0
    })?;
    let ended = process::wait_for(pid, |_| {})?;
    same("the fuzzer's status", ended.status(), 0)?;
    // Others do not notice.
    let (a, b) = File::pipe()?;
    other(|| Ok(send(&a, [b"here"])?))?;
    same("a message", b.read(&mut [0; 8])?, 4)
}

/// Leaves no descriptor open that a call could wait on for ever.
fn harmless_descriptors() -> Verdict {
    for fd in 0..FDS_MAX as u32 {
        drop(File::from_fd(fd));
    }
    for path in ["/dev/null", "/dev/zero", "/n/host", "/bin/echo"] {
        File::open(path, mode::OREAD)?.into_fd();
    }
    Ok(())
}

fn storm(seed: u64) -> Verdict {
    harmless_descriptors()?;
    let mut memory = Segment::attach("memory", 16 * PG)?;
    memory.bytes_mut()[..16].copy_from_slice(b"/n/host/nothing/");
    let at = memory.address();
    let good = [at, at + 1, at + PAGE - 3, at + PAGE, at + 5 * PAGE + 7];
    let small = [
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
    let large = [1 << 31, 1 << 32, 1 << 47, 1 << 63, u64::MAX - 1, u64::MAX];
    let calls: Vec<Call> = Call::ALL
        .iter()
        .copied()
        .filter(|call| !LEFT_OUT.contains(call))
        .collect();
    let mut random = Random::new(seed);
    for _ in 0..CALLS {
        let call = calls[random.below(calls.len())];
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = match random.below(8) {
                0..4 => of(&mut random, &small),
                4..6 => of(&mut random, &good),
                6 => of(&mut random, NOWHERE),
                _ => of(&mut random, &large),
            };
        }
        // SAFETY: addresses are those of `memory`, which nobody looks at any
        // more, or nobody's.
        let got = unsafe { raw::call(call, args) };
        // Nothing that could be waited for may stay open.
        if got.is_ok() && matches!(call, Call::Port | Call::Pipe) {
            harmless_descriptors()?;
        }
        if let (Ok(va), Call::SegAttach) = (got, call) {
            // SAFETY: it was made just now; nobody has a reference into it.
            let _ = unsafe { raw::call(Call::SegDetach, [va, 0, 0, 0, 0, 0]) };
        }
    }
    Ok(())
}
