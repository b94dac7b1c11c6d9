//! The hardware half of every process, by slot, and the switch between two.
//!
//! In fixed storage, so that a switch touches no reference count and the last
//! moments of a process need nothing that its parent may already free. Only the
//! scheduler and those who make processes call in here.
use core::cell::UnsafeCell;

use vm::AccountId;

use crate::arch::context::{self, Context};
use crate::arch::fpu::FpuState;
use crate::arch::selectors::Selectors;
use crate::arch::{set_kernel_stack, set_ports_allowed};
use crate::mem::frames::{self, Payer, Share};
use crate::mem::paging::Root;
use crate::mem::stack::KernelStack;

/// Processes at most, ended ones not yet waited for included.
pub const NPROC: usize = abi::PROCESSES_MAX;

/// Index of a process.
pub type Slot = u16;

struct Hardware {
    context: Context,
    fpu: FpuState,
    selectors: Selectors,
    /// That of the program while its note handler runs.
    kept_fpu: FpuState,
    stack_top: u64,
    root: Option<Root>,
    ports: bool,
    payer: Payer,
}

struct Table(UnsafeCell<[Hardware; NPROC]>);

// SAFETY: (1) one CPU; (2) the kernel runs with interrupts off and no
// interrupt handler calls into this module; (3) no reference into the table
// outlives a function of this module, but for the two contexts in `switch`,
// which belong to two different slots.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(
    [const {
        Hardware {
            context: Context::EMPTY,
            fpu: FpuState::CLEAN,
            selectors: Selectors::CLEAN,
            kept_fpu: FpuState::CLEAN,
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

/// A process as it is before its first instruction: `entry` is called with the
/// slot, on `stack`.
pub fn prepare(
    at: Slot,
    entry: extern "C" fn(usize) -> !,
    stack: &KernelStack,
    root: Root,
    payer: Payer,
) {
    // SAFETY: conditions 1 to 3 of `Table`; the slot is not running.
    let hardware = unsafe { &mut *slot(at) };
    hardware.context = Context::new(stack, entry, at as usize);
    hardware.fpu = FpuState::CLEAN;
    hardware.selectors = Selectors::CLEAN;
    hardware.stack_top = stack.top();
    hardware.root = Some(root);
    hardware.ports = false;
    hardware.payer = payer;
}

/// A child starts with its parent's floating-point state and segment registers,
/// and with what its parent's note handler has to restore. The parent is the
/// running process.
pub fn copy_registers(parent: Slot, child: Slot) {
    assert!(parent != child, "a process cannot be its own child");
    let parent = slot(parent);
    // SAFETY: conditions 1 to 3 of `Table`; the child is not running, so its
    // slot is another one than its parent's.
    unsafe {
        (*slot(child)).fpu.save();
        (*slot(child)).selectors = Selectors::current();
        (*slot(child)).kept_fpu.clone_from(&(*parent).kept_fpu);
    }
}

/// Sets the running process's floating-point state aside for its note handler.
pub fn keep_fpu(me: Slot) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*slot(me)).kept_fpu.save() };
}

/// Gives the running process the state that was set aside last.
pub fn restore_fpu(me: Slot) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*slot(me)).kept_fpu.restore() };
}

/// Fresh floating-point state and segment registers for the running process
/// (exec).
pub fn reset_registers() {
    FpuState::CLEAN.restore();
    Selectors::CLEAN.restore(Selectors::current());
}

/// The running process lives in another address space from now on.
pub fn set_root(me: Slot, root: Root) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*slot(me)).root = Some(root) };
    root.activate();
}

/// May a process touch the console's ports while it runs? Takes effect at
/// the next switch.
pub fn set_ports_of(of: Slot, allowed: bool) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*slot(of)).ports = allowed };
}

/// The same for the running process, at once.
pub fn set_ports(me: Slot, allowed: bool) {
    set_ports_of(me, allowed);
    set_ports_allowed(allowed);
}

/// The running process takes frames so from now on.
pub fn set_payer(me: Slot, payer: Payer) {
    // SAFETY: conditions 1 to 3 of `Table`.
    unsafe { (*slot(me)).payer = payer };
    frames::set_payer(payer);
}

/// `current`: the segment registers as they are.
fn install(hardware: &Hardware, current: Selectors) {
    set_kernel_stack(hardware.stack_top);
    set_ports_allowed(hardware.ports);
    frames::set_payer(hardware.payer);
    if let Some(root) = hardware.root {
        root.activate();
    }
    hardware.fpu.restore();
    hardware.selectors.restore(current);
}

/// From one process to another; returns when `from` is switched to again.
pub fn switch(from: Slot, to: Slot) {
    assert!(from != to, "switch to the running process");
    let (from, to) = (slot(from), slot(to));
    // SAFETY: conditions 1 to 3 of `Table`; the slots differ; `to` was prepared
    // or switched away from.
    unsafe {
        (*from).fpu.save();
        (*from).selectors = Selectors::current();
        install(&*to, (*from).selectors);
        context::switch(&(*from).context, &(*to).context);
    }
}

/// Leaves the boot stack for good.
pub fn enter_first(first: Slot) -> ! {
    let boot = Context::EMPTY;
    // SAFETY: conditions 1 to 3 of `Table`; `first` was prepared.
    unsafe {
        install(&*slot(first), Selectors::current());
        context::switch(&boot, &(*slot(first)).context);
    }
    unreachable!("the boot stack was scheduled");
}
