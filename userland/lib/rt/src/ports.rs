//! The I/O ports of the first serial line, for the console server.
//!
//! A process without the privilege `DEVICE` that uses them is ended by the
//! processor's protection; no memory can be harmed either way.

use core::arch::asm;

/// First I/O port of the first serial line.
const COM1: u16 = 0x3f8;

/// A register of the first serial line, by offset 0 to 7.
#[derive(Clone, Copy)]
pub struct Com1(u8);

impl Com1 {
    /// The register at `offset`; only its low three bits count.
    pub const fn register(offset: u8) -> Com1 {
        Com1(offset & 7)
    }

    /// Reads the port.
    #[inline]
    pub fn get(self) -> u8 {
        let value: u8;
        // SAFETY: the port is one of the eight of a serial line that does no
        // DMA; reading it changes no memory.
        unsafe {
            asm!("in al, dx", in("dx") COM1 + u16::from(self.0), out("al") value,
                options(nomem, nostack, preserves_flags));
        }
        value
    }

    /// Writes the port.
    #[inline]
    pub fn set(self, value: u8) {
        // SAFETY: as in `get`.
        unsafe {
            asm!("out dx, al", in("dx") COM1 + u16::from(self.0), in("al") value,
                options(nomem, nostack, preserves_flags));
        }
    }
}
