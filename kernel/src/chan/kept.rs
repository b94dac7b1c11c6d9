//! Memory that a device may still use after its driver has ended.
//!
//! A driver gives its device the addresses of `dma` memory, and of frames that clients lend
//! it. When the driver ends, nothing says that the device has finished, and it would
//! write into whatever has the frames next. So they are kept until another driver of
//! the same device attaches `dma` memory: it has the same registers attached, and has
//! reset the device by then.
use super::Piece;
use abi::NSEG;
use alloc::vec::Vec;
use hw::frames::Run;
use hw::lock::{Lock, Rank};

/// The physical addresses of the registers that a process has attached; 0: none.
pub type Registers = [u64; NSEG];

/// Frames that are kept.
#[expect(dead_code, reason = "they are held and not looked at")]
pub enum Memory {
    /// A segment of the driver.
    Dma(Run),
    /// What clients lent it.
    Lent(Vec<Piece>),
}

/// Whose device uses the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// That of the process with this number, which has not ended yet.
    Process(u64),
    /// The device with one of these registers, whose driver has ended.
    Device(Registers),
}

/// What is kept at most. Of further drivers that end, frames are lost.
const KEPT_MAX: usize = 32;

static KEPT: Lock<[Option<(Of, Memory)>; KEPT_MAX]> =
    Lock::new(Rank::Interrupts, [const { None }; KEPT_MAX]);

/// Keeps memory. Of a process without registers it is kept for good.
pub fn keep(memory: Memory, of: Of) {
    let mut all = KEPT.lock();
    if let Some(place) = all.iter_mut().find(|place| place.is_none()) {
        *place = Some((of, memory));
        return;
    }
    drop(all);
    hw::warn!("the memory of a device stays with it for good: too many drivers have ended");
    core::mem::forget(memory);
}

/// The process with that number ends with these registers attached.
pub fn ended(pid: u64, registers: &Registers) {
    if registers.iter().all(|pa| *pa == 0) {
        return;
    }
    for (of, _) in KEPT.lock().iter_mut().flatten() {
        if *of == Of::Process(pid) {
            *of = Of::Device(*registers);
        }
    }
}

/// The devices with those registers have been reset: what is kept for them can be used
/// again.
pub fn reset(registers: &Registers) {
    let is_reset = |of: &Of| match of {
        Of::Device(kept) => kept.iter().any(|pa| *pa != 0 && registers.contains(pa)),
        Of::Process(_) => false,
    };
    for index in 0..KEPT_MAX {
        let gone = KEPT.lock()[index].take_if(|(of, _)| is_reset(of));
        // Unlocked: the frames are given back.
        drop(gone);
    }
}
