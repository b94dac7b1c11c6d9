//! The base of the FS register: each process has its own.

use super::{Case, registers};
use crate::check::{Verdict, Why, fails, other, same};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use rt::abi::USER_END;
use rt::note::{self, Then};
use rt::{Errno, process, sys};

pub const CASES: &[Case] = &[
    Case::new("fs.kept", kept),
    Case::new("fs.fork", fork),
    Case::new("fs.note", handled),
    Case::new("fs.exec", exec),
    Case::new("fs.selector", selector),
    Case::new("fs.hostile", hostile),
    Case::dies(
        "fs.nowhere",
        nowhere,
        &["sys: trap: fault read addr=0x123000", "no segment there"],
    ),
];

const A_WHILE_NS: u64 = 1_000_000;

/// The number at the base.
fn word() -> u64 {
    let word: u64;
    // SAFETY: the tests set a base where there is a number, or expect the fault.
    unsafe { asm!("mov {}, fs:[0]", out(reg) word, options(nostack, readonly)) };
    word
}

fn set(to: &u64) -> Result<u64, Errno> {
    sys::thread_base(core::ptr::from_ref(to) as u64)
}

/// Finds its own number while others run.
fn finds(number: u64) -> Verdict {
    let mine = number;
    for _ in 0..20 {
        set(&mine)?;
        sys::sleep(0)?;
        same("the number", word(), number)?;
        sys::sleep(A_WHILE_NS)?;
        same("the number", word(), number)?;
    }
    Ok(())
}

fn kept() -> Verdict {
    let pid = process::spawn(|| u8::from(finds(7).is_err()))?;
    let mine = finds(9);
    // Beside one that has none.
    let bare = process::spawn(|| {
        // Its parent's, at first.
        let inherited = sys::thread_base(0).is_ok_and(|base| base != 0);
        let none = (0..20).all(|_| sys::sleep(A_WHILE_NS).is_ok() && sys::thread_base(0) == Ok(0));
        u8::from(!inherited || !none)
    });
    let again = finds(11);
    sys::thread_base(0)?;
    mine.and(again)?;
    for pid in [pid, bare?] {
        same("the other's status", process::wait_for(pid)?.status(), 0)?;
    }
    Ok(())
}

fn fork() -> Verdict {
    let number = 5;
    set(&number)?;
    let child = other(|| {
        same("of a child", word(), 5)?;
        finds(6)
    });
    let mine = word();
    sys::thread_base(0)?;
    child?;
    same("of the parent", mine, 5)
}

fn handled() -> Verdict {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    note::handle(|_, _| {
        SEEN.store(word(), Relaxed);
        Then::Resume
    })?;
    let number = 21;
    set(&number)?;
    note::send(sys::getpid(), "look")?;
    let (seen, after) = (SEEN.load(Relaxed), word());
    sys::thread_base(0)?;
    same("what the handler saw", (seen, after), (21, 21))
}

fn exec() -> Verdict {
    let pid = process::spawn(|| {
        let number = 3;
        let _ = set(&number);
        process::exec("/bin/suite", &[registers::SHOW]);
        9
    })?;
    same("of a new program", process::wait_for(pid)?.status(), 0)
}

/// A selector in FS leaves the base or makes it zero, and it stays so.
fn selector() -> Verdict {
    let number = 4;
    let mine = core::ptr::from_ref(&number) as u64;
    for selector in [0u64, 0x1b] {
        set(&number)?;
        // SAFETY: a selector of data that programs may use, or null.
        unsafe { asm!("mov fs, {0:x}", in(reg) selector, options(nomem, nostack)) };
        sys::sleep(A_WHILE_NS)?;
        let base = sys::thread_base(mine)?;
        ensure!(base == 0 || base == mine, "{base:#x} after {selector:#x}");
        let found = word();
        // SAFETY: as above.
        unsafe { asm!("mov fs, {0:x}", in(reg) 0, options(nomem, nostack)) };
        sys::thread_base(0)?;
        same("the number", found, 4)?;
    }
    Ok(())
}

fn hostile() -> Verdict {
    let number = 8;
    set(&number)?;
    let kernel = 0xffff_8000_0000_0000;
    for base in [USER_END, 1 << 47, (1 << 47) - 1, kernel, 1 << 63, u64::MAX] {
        fails("such a base", sys::thread_base(base), Errno::EINVAL)?;
        ensure!(word() == 8, "changed by {base:#x}");
    }
    let last = sys::thread_base(USER_END - 1);
    let before = sys::thread_base(0)?;
    last?;
    same("the last user address", before, USER_END - 1)
}

fn nowhere() -> Verdict {
    sys::thread_base(0x12_3000)?;
    Err(Why(alloc::format!("{}", word())))
}
