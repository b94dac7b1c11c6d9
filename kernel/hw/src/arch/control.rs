//! Control registers, sleeping, and the end of the machine.

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

use x86_64::instructions::port::Port;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// CPUID leaf 7, EBX.
const HAS_SMEP: u32 = 1 << 7;
const HAS_SMAP: u32 = 1 << 20;
/// CPUID leaf 7, ECX.
const HAS_UMIP: u32 = 1 << 2;

/// QEMU's isa-debug-exit device.
const EXIT_PORT: u16 = 0xf4;

/// Write protection, no execution or access of user pages by the kernel, and
/// the floating-point unit ready for programs.
pub(super) fn init() {
    // SAFETY: every x86_64 processor has CPUID.
    let features = __cpuid_count(7, 0);
    assert!(
        features.ebx & HAS_SMEP != 0 && features.ebx & HAS_SMAP != 0,
        "the processor lacks SMEP or SMAP (with QEMU use -cpu EPYC)"
    );
    // SAFETY: 1. each bit is supported: checked above or part of every x86_64
    // processor; 2. the kernel has no user-accessible mappings of its own.
    unsafe {
        Cr0::update(|flags| {
            *flags |=
                Cr0Flags::WRITE_PROTECT | Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR;
            *flags -= Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED;
        });
        Cr4::update(|flags| {
            *flags |= Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION
                | Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION
                | Cr4Flags::OSFXSR
                | Cr4Flags::OSXMMEXCPT_ENABLE;
            if features.ecx & HAS_UMIP != 0 {
                *flags |= Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION;
            }
        });
    }
    super::fpu::FpuState::CLEAN.restore();
}

/// Sleeps until an interrupt has come and been handled. Interrupts are off
/// again on return.
pub fn idle() {
    // SAFETY: `sti` takes effect after `hlt` has begun, so no wake-up is
    // lost; the handlers run on this stack and return here.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Lets interrupts that wait be handled now, on this stack; they are off again
/// on return.
#[inline]
pub fn take_interrupts() {
    // SAFETY: the handlers return here with all registers as they were; an
    // interrupt is taken at the latest after the instruction behind `sti`'s
    // successor.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// The address of the last page fault.
#[inline]
pub(super) fn fault_address() -> u64 {
    let address: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// The frame pointer of the calling function.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Ends QEMU with exit status `2 * code + 1`. Without the device for that,
/// halts.
pub fn exit_qemu(code: u8) -> ! {
    // SAFETY: the port is that of the exit device or of nothing at all.
    unsafe { Port::<u32>::new(EXIT_PORT).write(u32::from(code)) };
    loop {
        // The exit takes effect a little later; nothing may run meanwhile.
        // SAFETY: interrupts stay off.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
