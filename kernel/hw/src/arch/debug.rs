//! QEMU's debug console: a port that takes bytes, one at a time and at once.

use core::arch::asm;

/// What a read of the port gives where the device is.
const PORT: u16 = 0xe9;

/// Returns true if QEMU has the device.
pub fn is_there() -> bool {
    // SAFETY: the port is that of the device or of nothing at all.
    let answer = unsafe { x86_64::instructions::port::Port::<u8>::new(PORT).read() };
    u16::from(answer) == PORT
}

/// Writes bytes to it.
pub fn write(bytes: &[u8]) {
    // SAFETY: reads `bytes` alone; the port is that of the device or of nothing at all.
    unsafe {
        asm!(
            "rep outsb",
            in("dx") PORT,
            inout("rsi") bytes.as_ptr() => _,
            inout("rcx") bytes.len() => _,
            options(readonly, nostack, preserves_flags)
        );
    }
}
