//! The kernel's last words.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::arch::{self, TrapFrame, serial};
use crate::log::Console;
use crate::mem;

/// The runner's code for a panic: QEMU's exit status 35.
const EXIT_PANIC: u8 = 0x11;
/// Longer chains are cut.
const FRAMES_MOST: usize = 32;

/// The verdict port; prints any text on one line.
struct Verdict;

impl Write for Verdict {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, piece) in text.split('\n').enumerate() {
            if index > 0 {
                serial::com2(b" ");
            }
            serial::com2(piece.as_bytes());
        }
        Ok(())
    }
}

#[cfg_attr(target_os = "none", panic_handler)]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (text, frame_pointer) = (info.message(), arch::frame_pointer());
    match info.location() {
        Some(place) => end(format_args!("{text} ({place})"), None, frame_pointer),
        None => end(format_args!("{text}"), None, frame_pointer),
    }
}

/// Ends the kernel because of a trap: says `reason`, the registers that
/// matter, and how the interrupted code came there.
pub fn fatal(frame: &TrapFrame, reason: fmt::Arguments<'_>) -> ! {
    let text = format_args!(
        "{reason} (rip {:#x}, rsp {:#x}, error {:#x})",
        frame.rip(),
        frame.rsp,
        frame.error()
    );
    end(text, Some(frame.rip()), frame.rbp)
}

/// Says everything and stops. A second panic, caused by the first one's
/// report, only stops.
fn end(text: fmt::Arguments<'_>, rip: Option<u64>, frame_pointer: u64) -> ! {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if BEGUN.swap(true, Relaxed) {
        arch::exit_qemu(EXIT_PANIC);
    }
    serial::COM1.seize();
    serial::COM2.seize();
    // Neither port can fail.
    let _ = write!(Verdict, "@panic {text}");
    serial::com2(b"\n");
    let _ = writeln!(Console, "kernel panic: {text}");
    if let Some(rip) = rip {
        let _ = writeln!(Console, "  backtrace: {rip:#x}");
    }
    backtrace(frame_pointer);
    arch::exit_qemu(EXIT_PANIC)
}

/// Follows the chain of frame pointers as far as it can be read. Return
/// addresses are given minus one, so that they lie in the call.
fn backtrace(mut frame_pointer: u64) {
    for _ in 0..FRAMES_MOST {
        let Some((next, address)) = mem::own::read_frame_record(frame_pointer) else {
            return;
        };
        if address == 0 {
            return;
        }
        let _ = writeln!(Console, "  backtrace: {:#x}", address - 1);
        if next <= frame_pointer {
            return;
        }
        frame_pointer = next;
    }
}
