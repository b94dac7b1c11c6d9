//! System calls with numbers and arguments as hostile as one likes.

use core::arch::asm;
use rt::abi::decode;
use rt::{Call, Errno};

/// Any number, any six arguments.
///
/// # Safety
/// The kernel may write to or unmap any of this process's memory that the
/// arguments name; they must name none that Rust code uses.
pub unsafe fn number(number: u64, a: [u64; 6]) -> Result<u64, Errno> {
    let answer: u64;
    // SAFETY: the caller vouches for the memory; registers are as declared.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    decode(answer)
}

/// A known call.
///
/// # Safety
/// As for [`number`].
pub unsafe fn call(call: Call, a: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: the caller's promise.
    unsafe { number(call as u64, a) }
}
