//! Ways into the kernel and out of it: exception and interrupt stubs, the
//! `syscall` instruction, and the first step of a program.
//!
//! There is one CPU, so the entry code finds the kernel stack in a static and
//! needs no `swapgs`.

use core::arch::{asm, global_asm, naked_asm};
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

use super::frame::{KERNEL_CODE, KERNEL_DATA, TrapFrame, USER_CODE, USER_DATA};

/// Top of the stack a system call starts on; kept equal to the TSS's rsp0.
pub(super) static KERNEL_STACK: AtomicU64 = AtomicU64::new(0);
/// The program's stack pointer between `syscall` and the frame.
static USER_STACK: AtomicU64 = AtomicU64::new(0);
/// Who is told of system calls, a [`Syscall`].
static SYSCALL: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Who is told of other traps, a [`Trap`].
static TRAP: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Told of a system call; the program goes on with the frame as it is on return.
pub type Syscall = extern "C" fn(&mut TrapFrame);
/// Told of an exception or interrupt.
pub type Trap = fn(&mut TrapFrame);

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

/// Pushes the general registers in the order of [`TrapFrame`], below what the
/// stub left, and puts C code in order: direction flag clear, no user access.
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

/// SAFETY of calling: only jumped to from a stub. The processor aligned the
/// stack to 16 before pushing; 22 words of frame keep it so for the call.
#[unsafe(naked)]
unsafe extern "C" fn trap_common() {
    naked_asm!(
        push_registers!(),
        "cld",
        // Interrupt delivery leaves AC alone; a program must not lend us access.
        "clac",
        "mov rdi, rsp",
        "xor ebp, ebp",
        "call {trap}",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        trap = sym trap_entry,
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
        fatal = sym super::fatal::fatal_trap,
    )
}

/// A fault in a copy to or from user memory is an error of that copy; all
/// else belongs to the kernel proper.
extern "C" fn trap_entry(frame: &mut TrapFrame) {
    if !frame.from_user() && super::user::recover(frame) {
        return;
    }
    let trap = TRAP.load(Relaxed);
    // SAFETY: `init`, which alone writes it, has written a `Trap` before the
    // interrupt table leads here.
    let trap = unsafe { transmute::<*mut (), Trap>(trap) };
    trap(frame);
}

/// Target of the `syscall` instruction: rcx holds the program's rip, r11 its
/// flags, rsp is still the program's. Interrupts are off (SFMASK).
///
/// `sysretq` to a non-canonical rip would fault in ring 0 on the program's
/// stack (Intel), so such a frame, and one marked `RESTORE_ALL`, is left by
/// `iretq` after a check in Rust.
#[unsafe(naked)]
unsafe extern "C" fn syscall_entry() {
    naked_asm!(
        "mov [rip + {user_stack}], rsp",
        "mov rsp, [rip + {kernel_stack}]",
        "push {ss}",
        "push [rip + {user_stack}]",
        "push r11",
        "push {cs}",
        "push rcx",
        "push 0",
        "push {vector}",
        push_registers!(),
        "mov rdi, rsp",
        "xor ebp, ebp",
        "call [rip + {syscall}]",
        "mov rax, [rsp + 17 * 8]",
        "shr rax, 47",
        "jnz 2f",
        "cmp dword ptr [rsp + 15 * 8], {vector}",
        "jne 2f",
        pop_registers!(),
        "mov rcx, [rsp + 16]",
        "mov r11, [rsp + 32]",
        "mov rsp, [rsp + 40]",
        "sysretq",
        "2: mov rdi, rsp",
        "call {slow}",
        "ud2",
        user_stack = sym USER_STACK,
        kernel_stack = sym KERNEL_STACK,
        ss = const USER_DATA,
        cs = const USER_CODE,
        vector = const TrapFrame::SYSCALL,
        syscall = sym SYSCALL,
        slow = sym leave_slowly,
    )
}

extern "C" fn leave_slowly(frame: &TrapFrame) -> ! {
    enter_user(frame)
}

/// Continues a program from `frame`. The code and stack selectors, the
/// privileged flags and an impossible `rip` are put right first.
pub fn enter_user(frame: &TrapFrame) -> ! {
    let frame = frame.sanitized();
    // SAFETY: 1. `frame` is a whole TrapFrame, read before anything else uses
    // the stack below it; 2. `sanitized` made sure that iretq goes to ring 3
    // with a canonical rip, so it cannot fault here; 3. nothing on this kernel
    // stack is needed again.
    unsafe {
        asm!(
            "mov rsp, {frame}",
            pop_registers!(),
            "add rsp, 16",
            "iretq",
            frame = in(reg) &raw const frame,
            options(noreturn)
        )
    }
}

/// Says who is told of traps; before there can be any.
pub(super) fn init(syscall: Syscall, trap: Trap) {
    SYSCALL.store(syscall as *mut (), Relaxed);
    TRAP.store(trap as *mut (), Relaxed);
}

/// Sets up the `syscall` instruction (SDM vol. 3, 5.8.8).
pub(super) fn enable() {
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
