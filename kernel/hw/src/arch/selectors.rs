//! The data segment registers of programs. In 64-bit mode the selectors mean
//! nothing, but a program can load and read them; the base of FS is where a thread
//! finds its own data. All of them change hands when processes do: each keeps its
//! own, and none sees another's.

use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{DS, ES, FS, GS, Segment};
use x86_64::registers::model_specific::FsBase;

use crate::cpu::cpu;

/// DS, ES, FS and GS, 16 bits each, and the base of FS.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Selectors {
    words: u64,
    /// Below `USER_END`.
    base: u64,
}

impl Selectors {
    /// The registers of a new program.
    pub const CLEAN: Selectors = Selectors { words: 0, base: 0 };

    /// The registers of the processor.
    #[inline]
    pub fn current() -> Selectors {
        let words = [DS::get_reg(), ES::get_reg(), FS::get_reg(), GS::get_reg()];
        let mut all = 0;
        for selector in words.iter().rev() {
            all = all << 16 | u64::from(selector.0);
        }
        Selectors {
            words: all,
            base: current_base(),
        }
    }

    /// The same with another base of FS. `None`: it is no user address.
    pub fn with_base(self, base: u64) -> Option<Selectors> {
        (base < abi::USER_END).then_some(Selectors { base, ..self })
    }

    /// The base of FS.
    pub const fn base(self) -> u64 {
        self.base
    }

    /// Makes them the processor's, which has `current`.
    #[inline]
    pub fn restore(self, current: Selectors) {
        // Nearly always all are zero, and loading is slow.
        if self != current {
            self.load(current);
        }
    }

    #[cold]
    fn load(self, current: Selectors) {
        if self.words != current.words {
            self.load_selectors();
        }
        // A selector that was loaded may have changed it.
        FsBase::write(VirtAddr::new_truncate(self.base));
        cpu().fs_base.store(self.base, Relaxed);
    }

    fn load_selectors(self) {
        // SAFETY: 1. the numbers were in these registers before, and neither
        // table of descriptors has changed since, so loading them cannot
        // fault; 2. the bases of all descriptors are zero and the kernel uses none of
        // these registers.
        unsafe {
            asm!(
                "mov ds, {all:x}", "shr {all}, 16",
                "mov es, {all:x}", "shr {all}, 16",
                "mov fs, {all:x}", "shr {all}, 16",
                "mov gs, {all:x}",
                all = inout(reg) self.words => _,
                options(nostack)
            );
        }
    }
}

/// The base of FS in the processor. A program can only make it zero by itself, by
/// loading a selector: where it was zero it still is, and needs no look.
#[inline]
fn current_base() -> u64 {
    match cpu().fs_base.load(Relaxed) {
        0 => 0,
        _ => FsBase::read().as_u64(),
    }
}
