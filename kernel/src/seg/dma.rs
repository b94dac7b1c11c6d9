//! Memory that a device may still write to after its driver has ended.
//!
//! A driver gives its device the addresses of `dma` memory. When the driver ends, nothing
//! says that the device has finished, and it would write into whatever has the frames
//! next. So they are kept until another driver of the same device attaches `dma` memory:
//! it has the same registers attached, and has reset the device by then.
use super::{Content, Space};
use abi::NSEG;
use hw::frames::Run;
use hw::lock::{Lock, Rank};

/// The physical addresses of the registers that a process has attached; 0: none.
pub type Registers = [u64; NSEG];

struct Kept {
    registers: Registers,
    run: Run,
}

/// Segments that are kept at most. Of further drivers that end, frames are lost.
const KEPT_MAX: usize = 16;

static KEPT: Lock<[Option<Kept>; KEPT_MAX]> =
    Lock::new(Rank::Interrupts, [const { None }; KEPT_MAX]);

/// The registers that are attached in a space.
pub fn registers(space: &Space) -> Registers {
    let mut registers = [0; NSEG];
    for (segment, to) in space.table.iter().flatten().zip(&mut registers) {
        if let Content::Device(device) = &segment.content {
            *to = device.pa();
        }
    }
    registers
}

/// Keeps the memory of a process that has ended with those registers attached. Without
/// registers it had no device.
pub fn keep(run: Run, registers: &Registers) {
    if registers.iter().all(|pa| *pa == 0) {
        return;
    }
    let kept = Kept {
        registers: *registers,
        run,
    };
    let mut all = KEPT.lock();
    if let Some(place) = all.iter_mut().find(|place| place.is_none()) {
        *place = Some(kept);
        return;
    }
    drop(all);
    hw::warn!("the memory of a device stays with it for good: too many drivers have ended");
    core::mem::forget(kept);
}

/// The devices with those registers have been reset: what is kept for them can be used
/// again.
pub fn reset(registers: &Registers) {
    for index in 0..KEPT_MAX {
        let gone = {
            let mut all = KEPT.lock();
            let is = |pa: &u64| *pa != 0 && registers.contains(pa);
            all[index].take_if(|kept| kept.registers.iter().any(is))
        };
        // Unlocked: the frames are given back.
        drop(gone.map(|kept| kept.run));
    }
}
