//! The one record of an interrupted computation.
use abi::Registers;

/// Selector of kernel code.
pub(super) const KERNEL_CODE: u16 = 0x08;
/// Selector of kernel data.
pub(super) const KERNEL_DATA: u16 = 0x10;
/// Selector of user data; `sysret` wants it between kernel data and user code.
pub(super) const USER_DATA: u16 = 0x18 | 3;
/// Selector of user code.
pub(super) const USER_CODE: u16 = 0x20 | 3;

/// All registers of an interrupted computation. The processor and the entry
/// code write it on the kernel stack, and the computation continues with its
/// values.
///
/// Only methods can change the registers that could make `iretq` or `sysret`
/// continue anywhere but in a program: a frame built with [`TrapFrame::user`],
/// or coming from a [`Program`](super::Program), always leads to user mode.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "fields are registers")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// Exception or interrupt number, [`SYSCALL`] or [`RESTORE_ALL`].
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub rsp: u64,
    pub(super) ss: u64,
}

/// The vectors below are exceptions, the others interrupts.
pub(super) const EXCEPTIONS: u64 = 32;
/// Vector of a page fault.
pub(super) const PAGE_FAULT: u64 = 14;
/// `vector` of a system call. A frame with it is left by `sysret`, which loses
/// `rcx` and `r11`.
pub(super) const SYSCALL: u64 = 256;
/// `vector` of a frame that is restored to the last register.
pub(super) const RESTORE_ALL: u64 = 257;

/// Interrupts on, and the bit that is always one.
const FLAGS_SET: u64 = 0x202;
/// The flags that a program may set: CF PF AF ZF SF TF DF OF AC ID.
const FLAGS_FREE: u64 = 0x0024_0dd5;

impl TrapFrame {
    /// The first instruction of a program: `rip` and `rsp`, all else zero.
    pub fn user(rip: u64, rsp: u64) -> TrapFrame {
        TrapFrame {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rdi: 0,
            rsi: 0,
            rbp: 0,
            rbx: 0,
            rdx: 0,
            rcx: 0,
            rax: 0,
            vector: RESTORE_ALL,
            error: 0,
            rip: address(rip),
            cs: u64::from(USER_CODE),
            rflags: FLAGS_SET,
            rsp,
            ss: u64::from(USER_DATA),
        }
    }

    /// The registers as a program may see them; `address` is that of its page fault.
    pub fn registers(&self, address: u64) -> Registers {
        let f = self;
        Registers {
            r15: f.r15,
            r14: f.r14,
            r13: f.r13,
            r12: f.r12,
            r11: f.r11,
            r10: f.r10,
            r9: f.r9,
            r8: f.r8,
            rdi: f.rdi,
            rsi: f.rsi,
            rbp: f.rbp,
            rbx: f.rbx,
            rdx: f.rdx,
            rcx: f.rcx,
            rax: f.rax,
            rip: f.rip,
            rflags: f.rflags,
            rsp: f.rsp,
            trap: f.vector,
            error: f.error,
            address,
        }
    }

    /// The frame that continues a program with such registers. Flags and `rip` that a
    /// program cannot have are put right.
    pub fn with_registers(r: &Registers) -> TrapFrame {
        let mut frame = TrapFrame {
            r15: r.r15,
            r14: r.r14,
            r13: r.r13,
            r12: r.r12,
            r11: r.r11,
            r10: r.r10,
            r9: r.r9,
            r8: r.r8,
            rdi: r.rdi,
            rsi: r.rsi,
            rbp: r.rbp,
            rbx: r.rbx,
            rdx: r.rdx,
            rcx: r.rcx,
            rax: r.rax,
            ..TrapFrame::user(r.rip, r.rsp)
        };
        frame.set_flags(r.rflags);
        frame
    }

    /// The next instruction.
    #[inline]
    pub fn rip(&self) -> u64 {
        self.rip
    }

    /// The program goes on at `rip`, with all registers as they are here. An
    /// address that cannot be jumped to becomes one that faults there.
    pub fn jump(&mut self, rip: u64) {
        self.rip = address(rip);
        self.vector = RESTORE_ALL;
    }

    /// The flags.
    pub fn flags(&self) -> u64 {
        self.rflags
    }

    /// Sets those flags that a program may choose.
    pub fn set_flags(&mut self, flags: u64) {
        self.rflags = flags & FLAGS_FREE | FLAGS_SET;
    }

    /// The processor's error code; 0 where it has none.
    pub fn error(&self) -> u64 {
        self.error
    }
}

/// `rip`, or one that faults in user mode.
fn address(rip: u64) -> u64 {
    if rip >> 47 == 0 { rip } else { abi::USER_END }
}
