//! Floating-point and SSE registers of programs. The kernel is compiled
//! without them, so they change hands only when processes do.

use core::arch::asm;

/// The state that FXSAVE stores (SDM vol. 1, 10.5.1).
#[repr(C, align(16))]
#[derive(Clone)]
pub struct FpuState([u8; 512]);

impl FpuState {
    /// The state every program starts with: all exceptions masked, registers
    /// zero.
    pub const CLEAN: FpuState = {
        let mut bytes = [0; 512];
        // FCW = 0x037f, MXCSR = 0x1f80.
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[24] = 0x80;
        bytes[25] = 0x1f;
        FpuState(bytes)
    };

    /// Stores the processor's registers here.
    #[inline]
    pub fn save(&mut self) {
        // SAFETY: 512 writable bytes, aligned to 16.
        unsafe { asm!("fxsave64 [{}]", in(reg) &mut self.0, options(nostack, preserves_flags)) };
    }

    /// Loads the processor's registers from here.
    #[inline]
    pub fn restore(&self) {
        // SAFETY: the bytes come from `CLEAN` or `save` alone, so MXCSR has no
        // reserved bit set; the kernel keeps nothing in these registers.
        unsafe { asm!("fxrstor64 [{}]", in(reg) &self.0, options(nostack, preserves_flags)) };
    }
}

impl Default for FpuState {
    fn default() -> Self {
        Self::CLEAN
    }
}
