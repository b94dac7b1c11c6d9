//! Copies between the kernel and the running program's memory.
//!
//! The one place where a user address is dereferenced. A page that is not
//! mapped, or not writable, makes the copy fail, never the kernel: the trap
//! entry looks whether the fault came from here and continues at the error
//! exit. The caller wakes or detaches the page and tries again.

use core::arch::{asm, naked_asm};

use super::control::fault_address;
use super::frame::{PAGE_FAULT, TrapFrame};

const PROTECTION_FAULT: u64 = 13;

/// A user address that could not be read or written in its present state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault {
    /// The address.
    pub address: u64,
}

/// Fills `to` from user address `from`. On an error part of `to` may have
/// been written.
#[inline]
pub fn copy_in(to: &mut [u8], from: u64) -> Result<(), UserFault> {
    // SAFETY: `to` is exclusively ours and as long as said.
    unsafe { copy_in_raw(to.as_mut_ptr(), from, to.len()) }
}

/// The same for memory that there is no reference to.
///
/// # Safety
/// `len` bytes at `to` are writable.
#[inline]
pub(crate) unsafe fn copy_in_raw(to: *mut u8, from: u64, len: usize) -> Result<(), UserFault> {
    check(from, len)?;
    // SAFETY: 1. the range is below `USER_END`, so it cannot be the kernel's;
    // 2. the caller's condition.
    outcome(unsafe { copy(to, from as *const u8, len) })
}

/// Writes `from` to user address `to`. On an error part may have arrived.
#[inline]
pub fn copy_out(to: u64, from: &[u8]) -> Result<(), UserFault> {
    // SAFETY: `from` is readable.
    unsafe { copy_out_raw(to, from.as_ptr(), from.len()) }
}

/// The same for memory that there is no reference to.
///
/// # Safety
/// `len` bytes at `from` are readable.
#[inline]
pub(crate) unsafe fn copy_out_raw(to: u64, from: *const u8, len: usize) -> Result<(), UserFault> {
    check(to, len)?;
    // SAFETY: 1. the range is below `USER_END`, so no Rust object is there;
    // 2. the caller's condition.
    outcome(unsafe { copy(to as *mut u8, from, len) })
}

/// The whole range is made of user addresses.
#[inline]
fn check(address: u64, len: usize) -> Result<(), UserFault> {
    match address.checked_add(len as u64) {
        Some(end) if end <= abi::USER_END => Ok(()),
        _ => Err(UserFault { address }),
    }
}

#[inline]
fn outcome(left: u64) -> Result<(), UserFault> {
    if left == 0 {
        return Ok(());
    }
    Err(UserFault {
        address: fault_address(),
    })
}

/// Copies with user access open; returns 0, or 1 if it faulted.
#[inline]
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) -> u64 {
    let failed: u64;
    // SAFETY: the callers' conditions; `copy_bytes` keeps every register that
    // is not named here.
    unsafe {
        asm!(
            "call {copy}",
            copy = sym copy_bytes,
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rcx") len => _,
            out("rax") failed,
            out("rdx") _,
        );
    }
    failed
}

/// rdi to, rsi from, rcx bytes; rax is 0, or 1 after a fault. Words first,
/// then the last bytes. Nothing is pushed, so the error exit needs no repair.
#[unsafe(naked)]
unsafe extern "C" fn copy_bytes() {
    naked_asm!(
        "xor eax, eax",
        "mov edx, ecx",
        "and edx, 7",
        "shr rcx, 3",
        "stac",
        "rep movsq",
        "mov ecx, edx",
        "rep movsb",
        "clac",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn copy_failed() {
    naked_asm!("mov eax, 1", "clac", "ret")
}

/// Longest distance from the start of [`copy_bytes`] to its end.
const COPY_LEN: u64 = 32;

/// If `frame` is a fault inside the copy, makes it continue at the error exit.
#[inline]
pub(super) fn recover(frame: &mut TrapFrame) -> bool {
    let start = copy_bytes as *const () as u64;
    let inside = frame.rip.wrapping_sub(start) < COPY_LEN;
    if inside && (frame.vector == PAGE_FAULT || frame.vector == PROTECTION_FAULT) {
        frame.rip = copy_failed as *const () as u64;
        return true;
    }
    false
}
