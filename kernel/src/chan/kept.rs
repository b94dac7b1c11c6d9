//! Memory that a device may still use after its driver has ended.
//!
//! A driver gives its device the addresses of `dma` memory, and of frames that clients lend
//! it. When the driver ends, nothing says that the device has finished, and it would
//! write into whatever has the frames next. So they are kept until another driver of
//! the same device attaches `dma` memory: it has the same registers attached, and has
//! reset the device by then.
//!
//! A driver is all processes that share its memory. It has ended when the last of them has
//! left that, by its own end or for another program.
use super::Piece;
use abi::{Errno, NSEG};
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::frames::Run;
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use spin::Once;

/// The physical addresses of the registers that a driver has attached; 0: none.
pub type Registers = [u64; NSEG];

/// A driver, alive or not.
#[derive(Default)]
pub struct Driver {
    /// The registers that it ended with.
    ended: Once<Registers>,
}

impl Driver {
    /// One that is alive.
    pub fn new() -> Result<Arc<Driver>, Errno> {
        Ok(new_arc(Driver::default())?)
    }

    /// It has ended with these registers attached.
    pub fn end(&self, registers: Registers) {
        self.ended.call_once(|| registers);
    }

    /// Returns true if it has ended with one of these registers attached.
    fn has_ended_with(&self, registers: &Registers) -> bool {
        let ended = self.ended.get().into_iter().flatten();
        ended.copied().any(|pa| pa != 0 && registers.contains(&pa))
    }
}

/// Frames that are kept.
#[expect(dead_code, reason = "they are held and not looked at")]
pub enum Memory {
    /// A segment of the driver.
    Dma(Run),
    /// What clients lent it.
    Lent(Vec<Piece>),
}

/// What is kept at most. Of further drivers that end, frames are lost.
const KEPT_MAX: usize = 32;

/// Whose device uses it, and what is kept.
type Kept = (Arc<Driver>, Memory);

static KEPT: Lock<[Option<Kept>; KEPT_MAX]> =
    Lock::new(Rank::Interrupts, [const { None }; KEPT_MAX]);

/// Keeps memory that the device of a driver may use. Of a driver without registers, and of
/// one that is not known, it is kept for good.
pub fn keep(memory: Memory, driver: Option<Arc<Driver>>) {
    let Some(driver) = driver else {
        return core::mem::forget(memory);
    };
    let mut all = KEPT.lock();
    if let Some(place) = all.iter_mut().find(|place| place.is_none()) {
        *place = Some((driver, memory));
        return;
    }
    drop(all);
    hw::warn!("the memory of a device stays with it for good: too many drivers have ended");
    core::mem::forget(memory);
}

/// The devices with those registers have been reset: what is kept for them can be used
/// again.
pub fn reset(registers: &Registers) {
    for index in 0..KEPT_MAX {
        let gone = KEPT.lock()[index].take_if(|(driver, _)| driver.has_ended_with(registers));
        // Unlocked: the frames are given back.
        drop(gone);
    }
}
