//! Pages leave memory when frames run low, and come back when they are touched.
//! In a guest under pressure (`--pressure`) that happens all the time.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, equal, other, pattern, patterned, same, snapshot};
use core::arch::asm;
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{File, Segment, Stat64};

pub const CASES: &[Case] = &[
    Case::deferred("evict.larger", larger),
    Case::deferred("evict.several", several),
    Case::deferred("evict.changed", changed),
    // With swap.
    Case::asked("evict.stored", stored),
    Case::asked("evict.forked", forked),
    Case::new("evict.straddling", straddling),
    Case::new("evict.copy", copy),
    Case::new("evict.state", state),
    Case::new("evict.stack", stack),
    Case::new("evict.call", call),
];

const SEED: u8 = 9;

/// Bytes of a file that is larger than memory.
fn more_than_memory() -> Result<usize, Why> {
    let frames = Counters::now()?.get(Stat64::FramesTotal) as usize;
    Ok((frames + frames / 8) * PG)
}

/// A file with a pattern at the beginning of each page.
fn marked(name: &str, len: usize) -> Result<Scratch, Why> {
    const PART: usize = 64 * PG;
    let scratch = Scratch::zeros(name, len as u64)?;
    let mut part = Segment::attach("memory", PART)?;
    for at in (0..len).step_by(PART) {
        for page in (0..PART).step_by(PG) {
            let mark = mark((at + page) as u64);
            part.bytes_mut()[page..page + 8].copy_from_slice(&mark);
        }
        let some = &part.bytes()[..PART.min(len - at)];
        scratch.file.write_all_at(some, at as u64)?;
    }
    Ok(scratch)
}

/// The first bytes of a page.
fn mark(offset: u64) -> [u8; 8] {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).to_le_bytes()
}

fn all_asleep(file: &File, len: usize) -> Result<Segment, Why> {
    let mut segment = snapshot(len.div_ceil(PG))?;
    let n = file.read_full_at(&mut segment.bytes_mut()[..len], 0)?;
    same("bytes read", n, len)?;
    Ok(segment)
}

/// Loads a page and looks whether it is right.
fn check(segment: &Segment, at: usize) -> Verdict {
    let bytes = &segment.bytes()[at..at + PG];
    same("the first bytes", &bytes[..8], &mark(at as u64)[..])?;
    ensure!(bytes[8..].iter().all(|byte| *byte == 0), "page {at:#x}");
    Ok(())
}

/// All of a file larger than memory is loaded, twice; nothing ends, nothing waits
/// for ever.
fn larger() -> Verdict {
    let len = more_than_memory()?;
    let scratch = marked("evict.larger", len)?;
    let segment = all_asleep(&scratch.file, len)?;
    let before = Counters::now()?;
    for at in (0..len).step_by(PG) {
        check(&segment, at)?;
    }
    for at in (0..len).step_by(PG * 37) {
        check(&segment, at)?;
    }
    let evicted = Counters::now()?.since(&before, Stat64::Evictions);
    ensure!(evicted > 0, "no page has left");
    Ok(())
}

/// Several processes at once, each with all of the file, in different directions;
/// they share frames.
fn several() -> Verdict {
    let len = more_than_memory()?;
    let scratch = marked("evict.several", len)?;
    let segment = all_asleep(&scratch.file, len)?;
    let mut children = [0; 3];
    for (number, child) in children.iter_mut().enumerate() {
        match process::fork()? {
            Fork::Parent(pid) => *child = pid,
            Fork::Child => match walk(&segment, len, number) {
                Ok(()) => process::exit(0, ""),
                Err(Why(text)) => process::exit(1, &text),
            },
        }
    }
    for child in children {
        let ended = process::wait_for(child)?;
        let (status, text) = (ended.status(), ended.text());
        ensure!(status == 0, "a process: status {status}: {text}");
    }
    Ok(())
}

fn walk(segment: &Segment, len: usize, number: usize) -> Verdict {
    let pages = len / PG;
    for page in 0..pages {
        let page = match number {
            0 => page,
            1 => pages - 1 - page,
            _ => page * 7919 % pages,
        };
        check(segment, page * PG)?;
    }
    Ok(())
}

/// What was stored stays, also where its neighbours leave; a write sends it.
fn changed() -> Verdict {
    const EACH: usize = 61 * PG;
    let len = more_than_memory()?;
    let scratch = marked("evict.changed", len)?;
    let mut segment = all_asleep(&scratch.file, len)?;
    for at in (0..len).step_by(EACH) {
        segment.bytes_mut()[at + 100..at + 108].copy_from_slice(&mark(!at as u64));
    }
    for at in (0..len).step_by(PG).filter(|at| at % EACH != 0) {
        check(&segment, at)?;
    }
    scratch.file.write_all_at(&segment.bytes()[..len], 0)?;
    let now = all_asleep(&scratch.file, len)?;
    for at in (0..len).step_by(EACH) {
        let (old, new) = (mark(at as u64), mark(!at as u64));
        equal("the first bytes", &now.bytes()[at..at + 8], &old)?;
        equal("the new bytes", &now.bytes()[at + 100..at + 108], &new)?;
        equal("memory", &segment.bytes()[at + 100..at + 108], &new)?;
    }
    Ok(())
}

/// More is stored than memory has, and all of it comes back, also in a child; what
/// cannot stay goes to swap.
fn stored() -> Verdict {
    let len = more_than_memory()?;
    let mut segment = Segment::attach("memory", len)?;
    for at in (0..len).step_by(PG) {
        segment.bytes_mut()[at..at + 8].copy_from_slice(&mark(at as u64));
    }
    for at in (0..len).step_by(PG) {
        check(&segment, at)?;
    }
    other(|| {
        for at in (0..len).step_by(PG * 5) {
            check(&segment, at)?;
        }
        segment.bytes_mut()[..8].copy_from_slice(&mark(1));
        same("the child's", &segment.bytes()[..8], &mark(1)[..])
    })?;
    for at in (0..len).step_by(PG * 7) {
        check(&segment, at)?;
    }
    Ok(())
}

/// Pages shared by a fork leave from both processes, and come back to each.
fn forked() -> Verdict {
    const PAGES: usize = 200;
    let scratch = marked("evict.forked", PAGES * PG)?;
    let mut segment = all_asleep(&scratch.file, PAGES * PG)?;
    let touch = |segment: &Segment| (0..PAGES).try_for_each(|page| check(segment, page * PG));
    touch(&segment)?;
    segment.bytes_mut()[8] = 1;
    other(|| {
        same("the parent's byte", segment.bytes()[8], 1)?;
        (1..PAGES).try_for_each(|page| check(&segment, page * PG))
    })?;
    (1..PAGES).try_for_each(|page| check(&segment, page * PG))
}

/// Two buffers of a pattern, asleep.
struct Buffers {
    _scratch: Scratch,
    from: Segment,
    to: Segment,
}

const BUFFER: usize = 40 * PG;

impl Buffers {
    fn new() -> Result<Buffers, Why> {
        let scratch = Scratch::patterned("evict", SEED, BUFFER)?;
        let from = scratch.asleep(BUFFER / PG)?;
        let to = scratch.asleep(BUFFER / PG)?;
        let _scratch = scratch;
        Ok(Buffers { _scratch, from, to })
    }

    fn check(&self, at: usize, want: &[u8]) -> Verdict {
        equal("memory", &self.to.bytes()[at..at + want.len()], want)
    }
}

/// One instruction with an operand over a page boundary at either side.
fn straddling() -> Verdict {
    let mut buffers = Buffers::new()?;
    for page in 1..BUFFER / PG {
        let at = page * PG - 4;
        let from = buffers.from.bytes()[at..].as_ptr();
        let to = buffers.to.bytes_mut()[at - 1..].as_mut_ptr();
        // SAFETY: eight bytes of each buffer.
        unsafe {
            asm!("movsq", inout("rsi") from => _, inout("rdi") to => _,
                options(nostack, preserves_flags));
        }
        buffers.check(at - 1, &patterned(SEED, at as u64, 8))?;
        // SAFETY: the same; a load and a store of one operand.
        unsafe {
            asm!("add qword ptr [{}], 1", in(reg) to.wrapping_add(2), options(nostack));
        }
    }
    Ok(())
}

/// `rep movsb` between two sleeping buffers.
fn copy() -> Verdict {
    let mut buffers = Buffers::new()?;
    let (at, len) = (PG / 2, BUFFER - 2 * PG);
    let from = buffers.from.bytes()[at..].as_ptr();
    let to = buffers.to.bytes_mut()[at + 77..].as_mut_ptr();
    // SAFETY: `len` bytes of each buffer.
    unsafe {
        asm!("rep movsb", inout("rsi") from => _, inout("rdi") to => _,
            inout("rcx") len => _, options(nostack, preserves_flags));
    }
    buffers.check(at + 77, &patterned(SEED, at as u64, len))
}

/// The floating-point state is saved to, and restored from, sleeping pages.
fn state() -> Verdict {
    let mut buffers = Buffers::new()?;
    for page in 1..BUFFER / PG {
        // Half of it on either side of the boundary.
        let at = page * PG - 256;
        let to = buffers.to.bytes_mut()[at..].as_mut_ptr();
        // SAFETY: 512 bytes of the buffer, aligned to 16.
        unsafe {
            asm!("fxsave64 [{0}]", "fxrstor64 [{0}]", in(reg) to, options(nostack));
        }
        let before = pattern(SEED, at as u64 - 1);
        same("the byte before", buffers.to.bytes()[at - 1], before)?;
    }
    Ok(())
}

/// A push from a sleeping operand to a sleeping stack, both over page boundaries.
fn stack() -> Verdict {
    let mut buffers = Buffers::new()?;
    for page in 1..BUFFER / PG {
        let at = page * PG - 4;
        let from = buffers.from.bytes()[at..].as_ptr();
        let to = buffers.to.bytes_mut()[at + 8..].as_mut_ptr();
        // SAFETY: the stack pointer is the program's own again after the push, which
        // stores eight bytes of the buffer; signals do not use the stack meanwhile.
        unsafe {
            asm!("xchg rsp, {to}", "push qword ptr [{from}]", "xchg rsp, {to}",
                to = inout(reg) to => _, from = in(reg) from);
        }
        buffers.check(at, &patterned(SEED, at as u64, 8))?;
    }
    Ok(())
}

/// A system call that needs pages at the edges of two buffers and of a path at once.
fn call() -> Verdict {
    let mut buffers = Buffers::new()?;
    let path = buffers._scratch.path.clone();
    for page in 1..BUFFER / PG - 2 {
        let at = page * PG - path.len() / 2;
        buffers.to.bytes_mut()[at..at + path.len()].copy_from_slice(path.as_bytes());
        let name = &buffers.to.bytes()[at..at + path.len()];
        let name = core::str::from_utf8(name).unwrap_or("");
        let file = File::open(name, rt::mode::OREAD)?;
        let (start, end) = (page * PG - 3, (page + 1) * PG + 5);
        let n = file.read_at(&mut buffers.from.bytes_mut()[start..end], 11)?;
        same("bytes read", n, end - start)?;
        let want = patterned(SEED, 11, n);
        equal("what was read", &buffers.from.bytes()[start..end], &want)?;
    }
    Ok(())
}
