//! Switching between kernel stacks.

use core::arch::naked_asm;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::mem::stack::KernelStack;

/// A computation that does not run at the moment: a stack pointer, with the
/// callee-saved registers and a return address on that stack. Zero while it
/// runs, so that it cannot be resumed twice.
#[derive(Debug, Default)]
pub struct Context {
    stack_pointer: AtomicU64,
}

/// The values that [`switch_stacks`] pops, and its return address.
#[repr(C)]
struct Saved {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbx: u64,
    rbp: u64,
    rip: u64,
}

impl Context {
    /// Nothing to switch to: a place for [`switch`] to save into.
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "a value to start from, never borrowed"
    )]
    pub const EMPTY: Context = Context {
        stack_pointer: AtomicU64::new(0),
    };

    /// A context that calls `entry(arg)` on the stack below `top` when it is
    /// switched to.
    ///
    /// # Safety
    /// `top` is aligned to 16 and in a kernel stack on which nothing runs below it,
    /// and which lives as long as the context may run.
    pub unsafe fn new(top: u64, entry: extern "C" fn(usize) -> !, arg: usize) -> Context {
        let at = top - size_of::<Saved>() as u64;
        let saved = Saved {
            r15: 0,
            r14: 0,
            r13: entry as usize as u64,
            r12: arg as u64,
            rbx: 0,
            rbp: 0,
            rip: begin as *const () as u64,
        };
        // SAFETY: the caller's condition: mapped, aligned, and used by nothing.
        unsafe { (at as *mut Saved).write(saved) };
        Context {
            stack_pointer: AtomicU64::new(at),
        }
    }
}

impl Context {
    /// Returns true if there is a context to switch to.
    pub fn can_run(&self) -> bool {
        self.stack_pointer.load(Relaxed) != 0
    }
}

/// Saves the running computation in `from` and continues `to`. Returns when
/// something switches back to `from`. Interrupts are off throughout.
///
/// Panics if `to` is running already, a kernel bug.
#[inline]
pub fn switch(from: &Context, to: &Context) {
    let stack_pointer = to.stack_pointer.load(Relaxed);
    assert!(stack_pointer != 0, "switch to a context that is running");
    to.stack_pointer.store(0, Relaxed);
    // SAFETY: 1. a stack pointer that is not zero was left by `switch_stacks`
    // or built by `Context::new`; 2. it is used once, being zero from now on;
    // 3. all that this function still needs is on the old stack.
    unsafe { switch_stacks(from.stack_pointer.as_ptr(), stack_pointer) };
}

/// Leaves the current stack permanently and calls `entry(arg)` on `stack`.
pub fn run_on(stack: KernelStack, entry: extern "C" fn(usize) -> !, arg: usize) -> ! {
    let (here, stack) = (Context::EMPTY, ManuallyDrop::new(stack));
    // SAFETY: nothing runs on a stack that was moved here, and it is never freed.
    let there = unsafe { Context::new(stack.top(), entry, arg) };
    switch(&here, &there);
    unreachable!("nothing can switch back")
}

/// Swaps stacks; to the compiler an ordinary call that returns later.
#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(from: *mut u64, to: u64) {
    naked_asm!(
        "push rbp
         push rbx
         push r12
         push r13
         push r14
         push r15
         mov [rdi], rsp
         mov rsp, rsi
         pop r15
         pop r14
         pop r13
         pop r12
         pop rbx
         pop rbp
         ret"
    )
}

/// First code on a new stack; ends the chain of frame pointers.
#[unsafe(naked)]
unsafe extern "C" fn begin() {
    naked_asm!("mov rdi, r12", "xor ebp, ebp", "call r13", "ud2")
}
