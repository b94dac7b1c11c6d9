//! A panic ends the process with a message and status 101.

use crate::process;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// Exit status of a program that panicked.
const STATUS: u8 = 101;

#[cfg_attr(target_os = "none", panic_handler)]
fn panic(info: &PanicInfo<'_>) -> ! {
    static AGAIN: AtomicBool = AtomicBool::new(false);
    if !AGAIN.swap(true, Ordering::Relaxed) {
        let pid = crate::sys::getpid();
        crate::eprintln!("process {pid}: {info}");
    }
    process::exit_now(STATUS, "panicked")
}
