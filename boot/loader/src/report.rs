//! Failures of the loader: a message on the console (COM1), a `@panic` line for
//! the judge (COM2), and the failure code for the process that started QEMU.

use core::fmt::{self, Write};
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};
use x86_64::instructions::port::Port;

const COM1: u16 = 0x3f8;
const COM2: u16 = 0x2f8;
/// QEMU's isa-debug-exit device.
const EXIT_PORT: u16 = 0xf4;
/// Written to [`EXIT_PORT`]: QEMU exits with `2 * 0x11 + 1` = 35.
const EXIT_FAILURE: u8 = 0x11;

/// A serial port, written to by waiting for each byte.
struct Serial(Uart16550<PioBackend>);

impl Serial {
    /// The port at `base`, or nothing where there is none.
    fn open(base: u16) -> Option<Serial> {
        // SAFETY: (1) COM1 and COM2 are at fixed ports on every PC, and probing
        // them has no effect on memory; (2) the loader runs alone and opens a
        // port only here, on its way to stopping the machine.
        let mut uart = unsafe { Uart16550::new_port(base) }.ok()?;
        uart.init(Config::default()).ok()?;
        Some(Serial(uart))
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.send_bytes_exact(text.as_bytes());
        Ok(())
    }
}

/// Prints the message on both ports and stops the machine.
pub fn fail(message: fmt::Arguments) -> ! {
    if let Some(mut console) = Serial::open(COM1) {
        let _ = write!(console, "loader: {message}\r\n");
    }
    if let Some(mut verdicts) = Serial::open(COM2) {
        let _ = writeln!(verdicts, "@panic loader: {message}");
    }
    // SAFETY: the port belongs to QEMU's exit device; where there is no such
    // device the write goes nowhere.
    unsafe { Port::<u8>::new(EXIT_PORT).write(EXIT_FAILURE) };
    // QEMU may run on for a moment after the write.
    loop {
        x86_64::instructions::hlt();
    }
}

#[cfg_attr(target_os = "none", panic_handler)]
fn panic(info: &core::panic::PanicInfo) -> ! {
    fail(format_args!("{info}"))
}
