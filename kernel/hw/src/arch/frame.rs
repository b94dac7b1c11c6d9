//! The one record of an interrupted computation.

/// Selector of kernel code.
pub(super) const KERNEL_CODE: u16 = 0x08;
/// Selector of kernel data.
pub(super) const KERNEL_DATA: u16 = 0x10;
/// Selector of user data; `sysret` wants it between kernel data and user code.
pub(super) const USER_DATA: u16 = 0x18 | 3;
/// Selector of user code.
pub(super) const USER_CODE: u16 = 0x20 | 3;

/// All registers of whatever was interrupted: by a fault, an interrupt or a
/// system call. The entry code builds it on the kernel stack and restores
/// from it, so changing it changes what runs next.
#[derive(Clone, Copy, Debug, Default)]
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
    /// Exception or interrupt number, or [`TrapFrame::SYSCALL`].
    pub vector: u64,
    /// The processor's error code; 0 where it has none.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl TrapFrame {
    /// `vector` of a system call. A frame with it is left by `sysret`, which
    /// loses `rcx` and `r11`; set `vector` to [`TrapFrame::RESTORE_ALL`] when
    /// they matter.
    pub const SYSCALL: u64 = 256;
    /// `vector` of a frame that must be restored to the last register.
    pub const RESTORE_ALL: u64 = 257;

    /// The first instruction of a program: `rip` and `rsp`, all else zero.
    pub fn user(rip: u64, rsp: u64) -> TrapFrame {
        TrapFrame {
            vector: Self::RESTORE_ALL,
            rip,
            rsp,
            cs: u64::from(USER_CODE),
            ss: u64::from(USER_DATA),
            rflags: Self::RFLAGS_USER,
            ..TrapFrame::default()
        }
    }

    /// Interrupts on, and the bit that is always one.
    const RFLAGS_USER: u64 = 0x202;
    /// What a program may choose of its flags: CF PF AF ZF SF TF DF OF AC ID.
    const RFLAGS_FREE: u64 = 0x0024_0dd5;

    /// Was it a program that was interrupted, not the kernel?
    #[inline]
    pub fn from_user(&self) -> bool {
        self.cs & 3 == 3
    }

    /// A copy that `iretq` can only take to user mode, whatever was in it. An
    /// address that cannot be jumped to becomes one that faults there.
    pub(super) fn sanitized(&self) -> TrapFrame {
        TrapFrame {
            cs: u64::from(USER_CODE),
            ss: u64::from(USER_DATA),
            rflags: self.rflags & Self::RFLAGS_FREE | Self::RFLAGS_USER,
            rip: if self.rip >> 47 == 0 {
                self.rip
            } else {
                abi::USER_END
            },
            ..*self
        }
    }
}
