//! A program as the kernel sees it: registers, and a function that runs them.

use super::control::fault_address;
use super::entry;
use super::frame::{EXCEPTIONS, PAGE_FAULT, SYSCALL, TrapFrame};

// Page-fault error bits (SDM volume 3, 4.7).
const FAULT_WRITE: u64 = 1 << 1;
const FAULT_USER: u64 = 1 << 2;
const FAULT_FETCH: u64 = 1 << 4;

/// Why a program stopped.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A system call: its number and arguments are in the registers.
    Syscall,
    /// It touched a page that is not mapped, or not for that.
    PageFault(PageFault),
    /// Any other exception, by number.
    Exception(u8),
    /// An interrupt, by vector.
    Interrupt(u8),
}

/// The address and kind of a program's page fault.
#[derive(Clone, Copy, Debug)]
pub struct PageFault {
    /// The address.
    pub address: u64,
    /// The processor's error bits.
    error: u64,
}

impl PageFault {
    /// Returns true if it was a store.
    #[inline]
    pub const fn is_write(self) -> bool {
        self.error & FAULT_WRITE != 0
    }

    /// Returns true if it was a store by the program itself.
    #[inline]
    pub const fn is_store(self) -> bool {
        const STORE: u64 = FAULT_WRITE | FAULT_USER;
        self.error & STORE == STORE
    }

    /// Returns true if it was an instruction fetch.
    #[inline]
    pub const fn is_fetch(self) -> bool {
        self.error & FAULT_FETCH != 0
    }

    /// Returns true if the processor looked there with the kernel's rights, for an
    /// instruction that names descriptors.
    #[inline]
    pub const fn is_privileged(self) -> bool {
        self.error & FAULT_USER == 0
    }
}

/// The program of one process. It stays on the process's kernel stack: it is
/// neither `Send` nor `Sync`.
#[derive(Debug)]
pub struct Program(*mut TrapFrame);

impl Program {
    /// The program whose registers are in `frame`.
    ///
    /// # Safety
    /// The frame lies at the top of the kernel stack that this runs on, leads to
    /// user mode, and belongs to this object alone.
    pub(crate) unsafe fn new(frame: *mut TrapFrame) -> Program {
        Program(frame)
    }

    /// Its registers.
    #[inline]
    pub fn registers(&mut self) -> &mut TrapFrame {
        // SAFETY: the condition of `new`.
        unsafe { &mut *self.0 }
    }

    /// Lets it run until it needs the kernel.
    #[inline]
    pub fn run(&mut self) -> Event {
        // SAFETY: 1. the frame is at the top of this stack, where the processor was
        // told to begin by the switch to it (`task`), and borrowed by nothing else;
        // 2. it leads to user mode: the condition of `new`, kept by `TrapFrame`.
        unsafe { entry::run(self.0) };
        let frame = self.registers();
        match frame.vector {
            SYSCALL => Event::Syscall,
            PAGE_FAULT => Event::PageFault(PageFault {
                address: fault_address(),
                error: frame.error,
            }),
            vector if vector < EXCEPTIONS => Event::Exception(vector as u8),
            vector => Event::Interrupt(vector as u8),
        }
    }
}
