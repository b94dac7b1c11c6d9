//! Marks that tell a profiler at the host what to count (`cargo run -- profile`). They
//! are instructions that do nothing.

use core::arch::asm;

/// What follows is counted.
#[inline]
pub fn begin() {
    // SAFETY: a no-operation of eight bytes; its operand is not accessed.
    unsafe { asm!(".byte 0x0f, 0x1f, 0x84, 0x00, 'M', 'R', 'K', 'B'") }
}

/// What follows is not counted.
#[inline]
pub fn end() {
    // SAFETY: as in `begin`.
    unsafe { asm!(".byte 0x0f, 0x1f, 0x84, 0x00, 'M', 'R', 'K', 'E'") }
}
