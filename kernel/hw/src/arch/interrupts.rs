//! Interrupt controllers: local APIC with its timer, I/O APIC; the old PICs
//! are silenced. Registers are reached through the physical map.

use core::num::NonZeroU64;
use core::ptr::NonNull;

use volatile::VolatilePtr;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags};

use super::time;
use crate::mem;

/// Vector of the timer.
pub const TIMER: u8 = 0x20;
/// First vector for devices, lines and message-signalled interrupts alike.
pub const DEVICE_FIRST: u8 = 0x30;
/// Last vector for devices.
pub const DEVICE_LAST: u8 = 0x6f;
/// Vector of interrupts that went away; needs no end-of-interrupt.
pub const SPURIOUS: u8 = 0xff;
/// Timer interrupts per second, unless a boot option says otherwise.
pub const TIMER_HZ: NonZeroU64 = NonZeroU64::new(100).unwrap();

const APIC: u64 = 0xfee0_0000;
const IO_APIC: u64 = 0xfec0_0000;

// Local APIC registers (SDM vol. 3, table 11-1).
const ID: u64 = 0x20;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS_VECTOR: u64 = 0xf0;
const LVT_TIMER: u64 = 0x320;
const LVT_LINT0: u64 = 0x350;
const LVT_LINT1: u64 = 0x360;
const LVT_ERROR: u64 = 0x370;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;

const ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
const DIVIDE_BY_16: u32 = 0b0011;

/// A register of a device at a fixed physical address.
fn register(pa: u64) -> VolatilePtr<'static, u32> {
    let address = mem::physical(pa).cast::<u32>();
    // SAFETY: the callers' addresses are aligned registers of the two
    // controllers, mapped for ever and not memory of any Rust object. The
    // physical map begins far above zero.
    unsafe { VolatilePtr::new(NonNull::new_unchecked(address)) }
}

/// Silences the PICs, turns the local APIC on, calibrates time.
pub(crate) fn init() {
    silence_pics();
    // SAFETY: turns on what the processor has, at its usual address.
    unsafe {
        let (frame, flags) = ApicBase::read();
        ApicBase::write(frame, flags | ApicBaseFlags::LAPIC_ENABLE);
    }
    for entry in [LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR] {
        register(APIC + entry).write(MASKED);
    }
    register(APIC + TASK_PRIORITY).write(0);
    register(APIC + SPURIOUS_VECTOR).write(ENABLE | u32::from(SPURIOUS));
    register(APIC + TIMER_DIVIDE).write(DIVIDE_BY_16);
    register(APIC + TIMER_INITIAL).write(u32::MAX);
    time::calibrate(timer_count);
    register(APIC + TIMER_INITIAL).write(0);
}

/// Starts the timer: `per_second` interrupts a second on [`TIMER`].
pub fn timer_init(per_second: NonZeroU64) {
    let count = (time::apic_per_second() / per_second).clamp(1, u64::from(u32::MAX)) as u32;
    register(APIC + LVT_TIMER).write(PERIODIC | u32::from(TIMER));
    register(APIC + TIMER_INITIAL).write(count);
}

/// The timer's count-down.
fn timer_count() -> u32 {
    register(APIC + TIMER_CURRENT).read()
}

/// Tells the local APIC that the current interrupt is dealt with.
#[inline]
pub fn eoi() {
    register(APIC + END_OF_INTERRUPT).write(0);
}

/// Delivers ISA line `line` (0 to 15) as `vector`, which is a device's: edge
/// triggered, active high. The controllers' identity map of q35 is assumed, except that line 0
/// is input 2.
pub fn ioapic_route(line: u8, vector: u8) {
    let devices = DEVICE_FIRST..=DEVICE_LAST;
    assert!(devices.contains(&vector), "vector {vector} is no device's");
    let input = if line == 0 { 2 } else { u32::from(line & 15) };
    let destination = register(APIC + ID).read() & 0xff00_0000;
    io_apic_write(0x11 + 2 * input, destination);
    io_apic_write(0x10 + 2 * input, u32::from(vector));
}

/// Stops delivery of ISA line `line`.
pub fn ioapic_mask(line: u8) {
    let input = if line == 0 { 2 } else { u32::from(line & 15) };
    io_apic_write(0x10 + 2 * input, MASKED);
}

fn io_apic_write(index: u32, value: u32) {
    register(IO_APIC).write(index);
    register(IO_APIC + 0x10).write(value);
}

/// Moves both PICs' vectors out of the exceptions' way and masks every line.
fn silence_pics() {
    // SAFETY: the PC's two interrupt controllers, which nothing else uses.
    unsafe {
        for (command, data, first, wiring) in [(0x20, 0x21, 0xf0, 4), (0xa0, 0xa1, 0xf8, 2)] {
            let mut data = Port::<u8>::new(data);
            Port::<u8>::new(command).write(0x11);
            data.write(first);
            data.write(wiring);
            data.write(1);
            data.write(0xff);
        }
    }
}
