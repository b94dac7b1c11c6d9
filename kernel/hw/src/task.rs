//! The hardware half of every process, by slot, and the switch between two.
//!
//! In fixed storage, so that a switch touches no reference count and the last
//! moments of a process need nothing that its parent may already free.
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::Relaxed;

use spin::Once;
use vm::AccountId;

use crate::arch::context::{self, Context};
use crate::arch::fpu::FpuState;
use crate::arch::selectors::Selectors;
use crate::arch::{Program, TrapFrame, set_kernel_stack, set_ports_allowed};
use crate::cpu::{NO_SLOT, cpu};
use crate::mem::heap::new_box;
use crate::mem::paging::Root;
use crate::mem::payer::{self, Payer, Share};
use crate::mem::stack::KernelStack;

/// Processes at most, ended ones not yet waited for included.
pub const NPROC: usize = abi::PROCESSES_MAX;

/// Index of a process.
pub type Slot = u16;

/// No process: none has run yet.
pub const NONE: Slot = NO_SLOT;

/// Floating-point state of a task.
struct Fpu {
    /// That of the program, while another task runs.
    own: FpuState,
    /// That of the program while its note handler runs.
    kept: FpuState,
}

struct Hardware {
    context: Context,
    /// The slots that have no task need none: most of what a task takes.
    fpu: Option<Box<Fpu>>,
    selectors: Selectors,
    /// 0: there is no task.
    stack_top: u64,
    root: Option<Root>,
    ports: bool,
    payer: Payer,
}

struct Table(UnsafeCell<[Hardware; NPROC]>);

// SAFETY: (1) one CPU; (2) interrupt handlers run only inside `idle` and
// `take_interrupts`, which this module does not call; (3) no reference into the table
// outlives a function of this module, but for the two contexts in `switch`,
// which belong to two different slots.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(
    [const {
        Hardware {
            context: Context::EMPTY,
            fpu: None,
            selectors: Selectors::CLEAN,
            stack_top: 0,
            root: None,
            ports: false,
            payer: Payer {
                account: AccountId::KERNEL,
                share: Share::Ordinary,
            },
        }
    }; NPROC],
));

fn slot(slot: Slot) -> *mut Hardware {
    let table: *mut Hardware = TABLE.0.get().cast();
    assert!((slot as usize) < NPROC);
    // SAFETY: the index is within the array.
    unsafe { table.add(slot as usize) }
}

/// The function that each process runs on its kernel stack.
static PROCESS: Once<fn(Program) -> !> = Once::new();

/// Each process runs `process` on its kernel stack.
pub(crate) fn init(process: fn(Program) -> !) {
    PROCESS.call_once(|| process);
}

/// The slot of the process that runs.
#[inline]
pub fn current() -> Slot {
    cpu().current.load(Relaxed)
}

/// The hardware half of the process that runs.
fn mine() -> *mut Hardware {
    slot(current())
}

/// Ownership of a slot and of the kernel stack of its process. Another process drops
/// it, for a stack cannot free itself.
#[derive(Debug)]
pub struct Task {
    slot: Slot,
    stack: KernelStack,
}

impl Task {
    /// A task that does not run yet; `None` when memory is out. Panics if the slot
    /// has one already.
    pub fn new(at: Slot) -> Option<Task> {
        let stack = KernelStack::new()?;
        let fpu = new_box(Fpu {
            own: FpuState::CLEAN,
            kept: FpuState::CLEAN,
        });
        let fpu = fpu.ok()?;
        // SAFETY: conditions 1 to 3 of `Table`.
        let hardware = unsafe { &mut *slot(at) };
        assert!(hardware.stack_top == 0, "slot {at} is in use");
        hardware.stack_top = stack.top();
        hardware.fpu = Some(fpu);
        Some(Task { slot: at, stack })
    }

    /// The slot.
    #[inline]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Sets the beginning of the task: `registers` and clean floating-point state, in
    /// the address space of `root`. Panics if the task was prepared before.
    pub fn prepare(&self, registers: TrapFrame, root: Root, payer: Payer) {
        // SAFETY: conditions 1 to 3 of `Table`.
        let hardware = unsafe { &mut *slot(self.slot) };
        let fresh = !hardware.context.can_run() && self.slot != current();
        assert!(fresh, "slot {} has run", self.slot);
        let frame = self.stack.top() - size_of::<TrapFrame>() as u64;
        // SAFETY: 1. the top of a stack that this object owns and nothing runs on;
        // the frame is aligned to 16, being 22 words. 2. the stack is not freed
        // before the context is (`drop`).
        unsafe {
            (frame as *mut TrapFrame).write(registers);
            hardware.context = Context::new(frame, begin, frame as usize);
        }
        hardware.selectors = Selectors::CLEAN;
        hardware.root = Some(root);
        hardware.ports = false;
        hardware.payer = payer;
    }

    /// Gives it the floating-point state and segment registers of the running
    /// process, and the state that the note handler of that must restore.
    pub fn inherit_registers(&self) {
        assert!(self.slot != current(), "it runs");
        // SAFETY: conditions 1 to 3 of `Table`; the slots differ.
        let (child, parent) = unsafe { (&mut *slot(self.slot), &*mine()) };
        child.selectors = Selectors::current();
        if let (Some(child), Some(parent)) = (&mut child.fpu, &parent.fpu) {
            child.own.save();
            child.kept.clone_from(&parent.kept);
        }
    }

    /// Sets the base of FS, which must be a user address, of a task that has not run.
    pub fn set_thread_base(&self, base: u64) {
        // SAFETY: conditions 1 to 3 of `Table`.
        let hardware = unsafe { &mut *slot(self.slot) };
        if let Some(selectors) = hardware.selectors.with_base(base) {
            hardware.selectors = selectors;
        }
    }

    /// Allows or forbids the console's ports, from the next switch to the task on.
    pub fn set_ports(&self, allowed: bool) {
        // SAFETY: conditions 1 to 3 of `Table`.
        unsafe { (*slot(self.slot)).ports = allowed };
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        assert!(self.slot != current(), "a task freed its own stack");
        // SAFETY: conditions 1 to 3 of `Table`.
        let hardware = unsafe { &mut *slot(self.slot) };
        hardware.context = Context::EMPTY;
        hardware.fpu = None;
        hardware.root = None;
        hardware.stack_top = 0;
    }
}

/// The first function of a process, on its own stack.
extern "C" fn begin(frame: usize) -> ! {
    let Some(process) = PROCESS.get() else {
        unreachable!("set at start");
    };
    // SAFETY: `prepare` has put a frame for user mode there, at the top of this
    // stack, and nothing else knows of it.
    process(unsafe { Program::new(frame as *mut TrapFrame) })
}

/// Sets the running process's floating-point state aside for its note handler.
pub fn keep_fpu() {
    // SAFETY: conditions 1 to 3 of `Table`.
    if let Some(fpu) = unsafe { &mut (*mine()).fpu } {
        fpu.kept.save();
    }
}

/// Gives the running process the state that was set aside last.
pub fn restore_fpu() {
    // SAFETY: conditions 1 to 3 of `Table`.
    if let Some(fpu) = unsafe { &(*mine()).fpu } {
        fpu.kept.restore();
    }
}

/// Fresh floating-point state and segment registers for the running process
/// (exec).
pub fn reset_registers() {
    FpuState::CLEAN.restore();
    Selectors::CLEAN.restore(Selectors::current());
}

/// Sets the base of the running process's FS register, where a thread has its own
/// data; the former one. `None`, and nothing has changed, if it is no user address.
pub fn set_thread_base(base: u64) -> Option<u64> {
    let current = Selectors::current();
    current.with_base(base)?.restore(current);
    Some(current.base())
}

/// The running process lives in another address space from now on.
pub fn set_root(root: Root) {
    root.activate();
    // SAFETY: conditions 1 to 3 of `Table`.
    let before = unsafe { (*mine()).root.replace(root) };
    // Not earlier: it was the processor's.
    drop(before);
}

/// Allows or forbids the running process the console's ports.
pub fn set_ports(allowed: bool) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*mine()).ports = allowed };
    set_ports_allowed(allowed);
}

/// The running process takes frames so from now on.
pub fn set_payer(payer: Payer) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*mine()).payer = payer };
    payer::set_payer(payer);
}

/// The process in that slot may use up the last free frames as far as `share` says, or
/// further if it might before.
pub fn raise_share(at: Slot, share: Share) {
    // SAFETY: conditions 1 to 3 of `Table`.
    let payer = unsafe { &mut (*slot(at)).payer };
    if (share as u32) < payer.share as u32 {
        payer.share = share;
        let payer = *payer;
        if at == current() {
            payer::set_payer(payer);
        }
    }
}

/// Loads a slot's state into the processor, all but the stack.
/// `selectors`: the segment registers as they are.
fn install(to: Slot, selectors: Selectors) {
    cpu().current.store(to, Relaxed);
    // SAFETY: conditions 1 to 3 of `Table`.
    let hardware = unsafe { &*slot(to) };
    set_kernel_stack(hardware.stack_top);
    set_ports_allowed(hardware.ports);
    payer::set_payer(hardware.payer);
    if let Some(root) = &hardware.root {
        root.activate();
    }
    if let Some(fpu) = &hardware.fpu {
        fpu.own.restore();
    }
    hardware.selectors.restore(selectors);
}

/// From the running process to another; returns when something switches back.
/// Panics if there is none to switch to.
pub fn switch(to: Slot) {
    let (from, next) = (mine(), slot(to));
    // SAFETY: conditions 1 to 3 of `Table`; the slots differ, or the context of `to`
    // could not run.
    unsafe {
        if let Some(fpu) = &mut (*from).fpu {
            fpu.own.save();
        }
        (*from).selectors = Selectors::current();
        install(to, (*from).selectors);
        context::switch(&(*from).context, &(*next).context);
    }
}

/// Leaves the stack of the start for good.
pub fn start(first: Slot) -> ! {
    let boot = Context::EMPTY;
    install(first, Selectors::current());
    // SAFETY: conditions 1 to 3 of `Table`.
    context::switch(&boot, unsafe { &(*slot(first)).context });
    unreachable!("the boot stack was scheduled");
}
