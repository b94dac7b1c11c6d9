//! Entries to and exits from the kernel: exception and interrupt stubs, the
//! `syscall` instruction, and the path to a program and back.
//!
//! To the kernel a program is a function that it calls: [`run`] returns when
//! the program traps, for whatever reason. There is one CPU, so the entry code
//! finds its [`Cpu`] at a fixed address and needs no `swapgs`.

use core::arch::{asm, global_asm, naked_asm};
use core::mem::offset_of;

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

use super::frame::{KERNEL_CODE, KERNEL_DATA, SYSCALL, TrapFrame, USER_CODE, USER_DATA};
use crate::cpu::{CPU, Cpu};

// 256 stubs of 16 bytes each. Every stub leaves error code and vector on the
// stack (SDM vol. 3, 6.13: which exceptions push an error code themselves).
// NMI, double fault and machine check end the kernel and never return.
global_asm!(
    ".balign 16",
    ".global trap_stubs",
    "trap_stubs:",
    ".set v, 0",
    ".rept 256",
    ".balign 16",
    ".if (v == 8) || (v == 10) || (v == 11) || (v == 12) || (v == 13) || (v == 14) || (v == 17) || (v == 21) || (v == 29) || (v == 30)",
    ".else",
    "pushq $0",
    ".endif",
    "pushq $v",
    ".if (v == 2) || (v == 8) || (v == 18)",
    "jmp {fatal}",
    ".else",
    "jmp {common}",
    ".endif",
    ".set v, v + 1",
    ".endr",
    common = sym trap_common,
    fatal = sym fatal_common,
    options(att_syntax)
);

unsafe extern "C" {
    /// The first stub; only its address means anything.
    static trap_stubs: [[u8; 16]; 256];
}

/// Where the processor goes for `vector`.
pub(super) fn stub(vector: u8) -> u64 {
    let first = &raw const trap_stubs as u64;
    first + 16 * u64::from(vector)
}

/// Pushes the general registers in the order of [`TrapFrame`], below the values
/// pushed by the stub, and sets the state that compiled code expects: direction
/// flag clear, no user access.
macro_rules! push_registers {
    () => {
        "push rax
         push rcx
         push rdx
         push rbx
         push rbp
         push rsi
         push rdi
         push r8
         push r9
         push r10
         push r11
         push r12
         push r13
         push r14
         push r15"
    };
}

macro_rules! pop_registers {
    () => {
        "pop r15
         pop r14
         pop r13
         pop r12
         pop r11
         pop r10
         pop r9
         pop r8
         pop rdi
         pop rsi
         pop rbp
         pop rbx
         pop rdx
         pop rcx
         pop rax"
    };
}

/// With the program's registers in the frame: returns from [`enter`].
macro_rules! leave_enter {
    () => {
        "mov rsp, [rip + {cpu} + {inside}]
         pop rbp
         pop rbx
         ret"
    };
}

/// Only jumped to from a stub. A trap from a program is the end of its
/// [`enter`]; one from the kernel is handled on the stack that it came on.
///
/// The processor aligned the stack to 16 before pushing; 22 words of frame keep
/// it so for the call.
#[unsafe(naked)]
unsafe extern "C" fn trap_common() {
    naked_asm!(
        push_registers!(),
        "cld",
        // Interrupt delivery leaves AC alone; a program must not lend us access.
        "clac",
        "test byte ptr [rsp + {cs}], 3",
        "jz 2f",
        leave_enter!(),
        "2: mov rdi, rsp",
        "xor ebp, ebp",
        "call {trap}",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        cs = const offset_of!(TrapFrame, cs),
        cpu = sym CPU,
        inside = const offset_of!(Cpu, inside),
        trap = sym super::trap::from_kernel,
    )
}

/// As [`trap_common`], for the three that end everything.
#[unsafe(naked)]
unsafe extern "C" fn fatal_common() {
    naked_asm!(
        push_registers!(),
        "cld",
        "clac",
        "mov rdi, rsp",
        "xor ebp, ebp",
        "call {fatal}",
        "ud2",
        fatal = sym super::trap::fatal,
    )
}

/// Target of the `syscall` instruction: rcx holds the program's rip, r11 its
/// flags, rsp is still the program's. Interrupts are off (SFMASK).
#[unsafe(naked)]
unsafe extern "C" fn syscall_entry() {
    naked_asm!(
        "mov [rip + {cpu} + {user_stack}], rsp",
        "mov rsp, [rip + {cpu} + {kernel_stack}]",
        "push {ss}",
        "push [rip + {cpu} + {user_stack}]",
        "push r11",
        "push {cs}",
        "push rcx",
        "push 0",
        "push {vector}",
        push_registers!(),
        leave_enter!(),
        user_stack = const offset_of!(Cpu, user_stack),
        kernel_stack = const offset_of!(Cpu, kernel_stack),
        ss = const USER_DATA,
        cs = const USER_CODE,
        vector = const SYSCALL,
        cpu = sym CPU,
        inside = const offset_of!(Cpu, inside),
    )
}

/// Continues a program from `frame`, which lies at the top of the kernel stack;
/// returns when the program has trapped and its registers are in the frame.
/// Loses all registers but rbx and rbp.
///
/// `sysretq` to a non-canonical rip would fault in ring 0 on the program's stack
/// (Intel). A system call's rip is canonical, for the page below the first
/// address that is not is never mapped.
#[unsafe(naked)]
unsafe extern "C" fn enter(frame: *mut TrapFrame) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "mov [rip + {cpu} + {inside}], rsp",
        "cmp dword ptr [rdi + {vector}], {syscall}",
        "mov rsp, rdi",
        "jne 2f",
        pop_registers!(),
        "mov rcx, [rsp + 16]",
        "mov r11, [rsp + 32]",
        "mov rsp, [rsp + 40]",
        "sysretq",
        "2:",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        vector = const offset_of!(TrapFrame, vector),
        syscall = const SYSCALL,
        cpu = sym CPU,
        inside = const offset_of!(Cpu, inside),
    )
}

// The page below the first address that is not canonical is never mapped.
const _: () = assert!(abi::USER_END <= (1 << 47) - abi::PAGE);

/// Lets the program go on from `frame` until it traps.
///
/// # Safety
/// 1. `frame` ends where [`Cpu::kernel_stack`] and the TSS's rsp0 point to, and nothing
///    refers to it meanwhile. 2. It leads to user mode.
#[inline]
pub(super) unsafe fn run(frame: *mut TrapFrame) {
    // SAFETY: the caller's conditions. `enter` returns with the stack as it was,
    // keeps rbx and rbp, and all other registers are named here.
    unsafe {
        asm!(
            "call {enter}",
            enter = sym enter,
            inout("rdi") frame => _,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}

/// Sets up the `syscall` instruction (SDM vol. 3, 5.8.8).
pub(super) fn init() {
    // SAFETY: the selectors are those of our descriptor table, in the order
    // that sysret wants: data, then code, above the base.
    unsafe {
        Star::write_raw(KERNEL_DATA | 3, KERNEL_CODE);
        Efer::update(|flags| {
            *flags |= EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE;
        });
    }
    LStar::write(VirtAddr::new(syscall_entry as *const () as u64));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::NESTED_TASK
            | RFlags::ALIGNMENT_CHECK,
    );
}
