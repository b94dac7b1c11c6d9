//! The data segment registers of programs. In 64-bit mode they mean nothing,
//! but a program can load and read them, so they change hands when processes
//! do: each keeps its own, and none sees another's.

use core::arch::asm;

use x86_64::instructions::segmentation::{DS, ES, FS, GS, Segment};

/// DS, ES, FS and GS, 16 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Selectors(u64);

impl Selectors {
    /// The selectors of a new program.
    pub const CLEAN: Selectors = Selectors(0);

    /// The selectors in the processor.
    #[inline]
    pub fn current() -> Selectors {
        let words = [DS::get_reg(), ES::get_reg(), FS::get_reg(), GS::get_reg()];
        let mut all = 0;
        for selector in words.iter().rev() {
            all = all << 16 | u64::from(selector.0);
        }
        Selectors(all)
    }

    /// Makes them the processor's, which has `current`.
    #[inline]
    pub fn restore(self, current: Selectors) {
        // Nearly always both are zero, and loading is slow.
        if self != current {
            self.load();
        }
    }

    #[cold]
    fn load(self) {
        // SAFETY: 1. the numbers were in these registers before, and neither
        // table of descriptors has changed since, so loading them cannot
        // fault; 2. all bases are zero and the kernel uses none of them.
        unsafe {
            asm!(
                "mov ds, {all:x}", "shr {all}, 16",
                "mov es, {all:x}", "shr {all}, 16",
                "mov fs, {all:x}", "shr {all}, 16",
                "mov gs, {all:x}",
                all = inout(reg) self.0 => _,
                options(nostack)
            );
        }
    }
}
