//! Per-CPU data.
//!
//! One processor runs the kernel, so there is one [`Cpu`], and the entry code
//! finds it at a fixed address. `docs/smp.md` lists the other code that relies on one
//! processor.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use vm::AccountId;

use crate::arch::tables::Tables;

/// The slot of no process.
pub(crate) const NO_SLOT: u16 = u16::MAX;

/// The state of one processor. The entry code uses the first three fields.
#[repr(C)]
pub(crate) struct Cpu {
    /// Top of the stack on which the running process enters the kernel; equal to
    /// the task state's rsp0.
    pub kernel_stack: AtomicU64,
    /// The program's stack pointer between `syscall` and the frame.
    pub user_stack: AtomicU64,
    /// Where the kernel's stack was when it let the program run.
    pub inside: AtomicU64,
    /// The slot of the process that runs ([`crate::task`]).
    pub current: AtomicU16,
    /// Work for the running process before its program goes on ([`crate::pending`]).
    pub pending: AtomicU8,
    /// A bit for each rank of lock that is held ([`crate::lock`]).
    pub held: AtomicU32,
    /// The frame of the page-table root in `cr3` ([`crate::paging`]).
    pub root: AtomicU32,
    /// The account that is charged for memory ([`crate::frames`]).
    pub account: AtomicU16,
    /// The account of the running process, also where the kernel pays for it.
    pub running: AtomicU16,
    /// The base of FS that was loaded last ([`crate::arch::selectors`]).
    pub fs_base: AtomicU64,
    /// Frames that must be left free when the payer takes one ([`crate::frames`]).
    pub floor: AtomicU32,
    /// The same when it is for the kernel.
    pub kernel_floor: AtomicU32,
    /// The tables that the processor itself reads.
    pub tables: Tables,
}

pub(crate) static CPU: Cpu = Cpu {
    kernel_stack: AtomicU64::new(0),
    user_stack: AtomicU64::new(0),
    inside: AtomicU64::new(0),
    current: AtomicU16::new(NO_SLOT),
    pending: AtomicU8::new(0),
    held: AtomicU32::new(0),
    root: AtomicU32::new(0),
    account: AtomicU16::new(AccountId::KERNEL.0),
    running: AtomicU16::new(AccountId::KERNEL.0),
    fs_base: AtomicU64::new(0),
    floor: AtomicU32::new(0),
    kernel_floor: AtomicU32::new(0),
    tables: Tables::new(),
};

/// The data of the processor that runs this.
#[inline(always)]
pub(crate) fn cpu() -> &'static Cpu {
    &CPU
}
