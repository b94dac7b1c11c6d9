//! Segment descriptors, the task state segment and the interrupt table: filling and
//! changing them.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use core::sync::atomic::Ordering::Relaxed;

use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::{PrivilegeLevel, VirtAddr};

use super::entry;
use super::frame::{KERNEL_CODE, KERNEL_DATA};
use super::tables::{OWN_STACK, PORTS_CLOSED, TaskState};
use crate::cpu::cpu;
use crate::mem::stack::KernelStack;

/// Selector of the task state, behind those of code and data.
const TASK: u16 = 0x28;

fn task() -> *mut TaskState {
    // SAFETY: stays inside the static.
    unsafe { &raw mut (*cpu().tables.0.get()).task }
}

/// The two words of a present, available 64-bit TSS descriptor.
fn task_descriptor(base: u64) -> [u64; 2] {
    let limit = size_of::<TaskState>() as u64 - 1;
    let low = limit & 0xffff
        | (base & 0xff_ffff) << 16
        | 0x89 << 40
        | (limit >> 16 & 0xf) << 48
        | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// An interrupt gate: interrupts are off on entry. A program may only execute
/// `int3`; any other `int` is a protection fault.
fn gate(vector: u8) -> [u64; 2] {
    let handler = entry::stub(vector);
    let ist = OWN_STACK
        .iter()
        .position(|&own| own == vector)
        .map_or(0, |i| i as u64 + 1);
    let kind = if vector == 3 { 0xee } else { 0x8e };
    let low = handler & 0xffff
        | u64::from(KERNEL_CODE) << 16
        | ist << 32
        | kind << 40
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

fn pointer<T>(table: *const T) -> DescriptorTablePointer {
    DescriptorTablePointer {
        base: VirtAddr::from_ptr(table),
        limit: size_of::<T>() as u16 - 1,
    }
}

/// Fills the tables and makes the processor use them.
pub(super) fn init() {
    let tables = cpu().tables.0.get();
    // SAFETY: 1. runs once, before anything else uses the tables; 2. the
    // tables are static and hold exactly the descriptors whose selectors are
    // loaded; 3. every gate leads to a stub that saves all registers.
    unsafe {
        let [low, high] = task_descriptor(task() as u64);
        (*tables).gdt[5] = low;
        (*tables).gdt[6] = high;
        for vector in 0..=255 {
            (*tables).idt[usize::from(vector)] = gate(vector);
        }
        for index in 0..OWN_STACK.len() {
            set_own_stack(
                index,
                (&raw const (*tables).early_stacks[index]).add(1) as u64,
            );
        }
        lgdt(&pointer(&raw const (*tables).gdt));
        CS::set_reg(selector(KERNEL_CODE));
        SS::set_reg(selector(KERNEL_DATA));
        for set in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
            set(selector(0));
        }
        // After reset the processor takes a local table to be at address 0,
        // where a program could put descriptors of its own.
        asm!("lldt {0:x}", in(reg) 0, options(nomem, nostack, preserves_flags));
        load_tss(selector(TASK));
        lidt(&pointer(&raw const (*tables).idt));
    }
}

fn selector(value: u16) -> SegmentSelector {
    SegmentSelector::new(value >> 3, PrivilegeLevel::Ring0)
}

/// Makes exceptions of `OWN_STACK[index]` start at `top`.
fn set_own_stack(index: usize, top: u64) {
    let at = offset_of!(TaskState, ist) + 8 * index;
    // SAFETY: the field is inside the static; the processor reads it when the
    // exception comes, never in between.
    unsafe { task().byte_add(at).cast::<u64>().write_unaligned(top) };
}

/// Moves the stacks of double fault, NMI and machine check to ones with guard
/// pages; possible once `mem::init` is done. They are never given back. Keeps
/// the early stacks when memory is out.
pub(crate) fn guard_stacks() {
    for index in 0..OWN_STACK.len() {
        if let Some(stack) = KernelStack::new() {
            set_own_stack(index, stack.top());
            core::mem::forget(stack);
        }
    }
}

/// The stack on which the running process enters the kernel, by trap or by
/// system call. `top` is [`KernelStack::top`] of a stack that outlives the
/// process's stay on the CPU.
#[inline]
pub fn set_kernel_stack(top: u64) {
    cpu().kernel_stack.store(top, Relaxed);
    let at = offset_of!(TaskState, rsp);
    // SAFETY: as in `set_own_stack`.
    unsafe { task().byte_add(at).cast::<u64>().write_unaligned(top) };
}

/// Whether the running program may use the console's ports, 0x3f8 to 0x3ff.
/// All others are closed to every program.
#[inline]
pub fn set_ports_allowed(allowed: bool) {
    let base = if allowed {
        offset_of!(TaskState, port_map) as u16
    } else {
        PORTS_CLOSED
    };
    let at = offset_of!(TaskState, port_map_base);
    // SAFETY: as in `set_own_stack`.
    unsafe { task().byte_add(at).cast::<u16>().write_unaligned(base) };
}
