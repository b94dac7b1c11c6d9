//! The high precision event timer: only its counter, to calibrate other clocks
//! (IA-PC HPET Specification 1.0a, 2.3).

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::mem;

/// Where PCs have its registers.
const BASE: u64 = 0xfed0_0000;
/// The upper half of the capabilities: femtoseconds of a count.
const PERIOD: u64 = 4;
/// The longest period that is permitted, 100 ns. A machine without the timer reads as
/// all ones.
const PERIOD_MAX: u64 = 100_000_000;
const CONFIGURATION: u64 = 0x10;
const ENABLE: u32 = 1;
/// The lower half of the counter.
const COUNTER: u64 = 0xf0;
const FEMTOSECONDS: u64 = 1_000_000_000_000_000;

fn register(offset: u64) -> VolatilePtr<'static, u32> {
    let address = mem::physical(BASE + offset).cast::<u32>();
    // SAFETY: an aligned register, mapped for ever and not memory of any Rust object.
    // The physical map begins far above zero.
    unsafe { VolatilePtr::new(NonNull::new_unchecked(address)) }
}

/// Starts the counter; its counts per second. `None`: there is no such timer.
pub(super) fn start() -> Option<u64> {
    let period = u64::from(register(PERIOD).read());
    if period == 0 || period > PERIOD_MAX {
        return None;
    }
    let configuration = register(CONFIGURATION);
    configuration.write(configuration.read() | ENABLE);
    Some(FEMTOSECONDS / period)
}

/// The count at this moment, modulo 2^32.
pub(super) fn count() -> u64 {
    u64::from(register(COUNTER).read())
}
