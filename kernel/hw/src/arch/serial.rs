//! The two serial ports, written by polling.
//!
//! The first carries the console and the kernel's log, and belongs to the
//! console's server once that runs: the kernel then only adds bytes. The
//! second carries verdicts.

use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

/// A serial port that may not be there.
pub(crate) struct Serial {
    port: u16,
    uart: Mutex<Option<Uart16550<PioBackend>>>,
}

/// Console and log.
pub(crate) static COM1: Serial = Serial::new(0x3f8);
/// Verdicts.
pub(crate) static COM2: Serial = Serial::new(0x2f8);

impl Serial {
    const fn new(port: u16) -> Serial {
        Serial {
            port,
            uart: Mutex::new(None),
        }
    }

    fn init(&self) {
        // SAFETY: the port is one of the PC's two, driven by this object
        // alone (and, later, by the one program that is given the first).
        let Ok(mut uart) = (unsafe { Uart16550::new_port(self.port) }) else {
            return;
        };
        if uart.init(Config::default()).is_ok() {
            *self.uart.lock() = Some(uart);
        }
    }

    /// Sends `bytes` as they are, waiting for the transmitter.
    fn write(&self, bytes: &[u8]) {
        if let Some(uart) = self.uart.lock().as_mut() {
            uart.send_bytes_exact(bytes);
        }
    }

    /// For the last words: takes the port even from an interrupted writer.
    pub(crate) fn seize(&self) {
        if self.uart.is_locked() {
            // SAFETY: the holder never continues, the kernel is ending.
            unsafe { self.uart.force_unlock() };
        }
    }
}

/// Sets both ports up. Before this, writes go nowhere.
pub(crate) fn init() {
    COM1.init();
    COM2.init();
}

/// Writes to the console.
pub(crate) fn com1(bytes: &[u8]) {
    COM1.write(bytes);
}

/// Writes to the verdicts.
pub fn com2(bytes: &[u8]) {
    COM2.write(bytes);
}
