//! A panic ends the process, all its threads, with a message and status 101.

use crate::io::eprint_at_once;
use crate::{process, sys, thread};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Exit status of a program that panicked.
const STATUS: u8 = 101;

#[cfg_attr(target_os = "none", panic_handler)]
fn panic(info: &PanicInfo<'_>) -> ! {
    /// The number of the thread that panicked first.
    static FIRST: AtomicU64 = AtomicU64::new(0);
    let me = thread::number();
    match FIRST.compare_exchange(0, me, Relaxed, Relaxed) {
        Ok(_) => message(info),
        // In the message.
        Err(first) if first == me => {}
        // The first one ends all when its message is out.
        Err(_) => loop {
            let _ = sys::sleep(u64::MAX / 2);
        },
    }
    process::exit_now(STATUS, "panicked")
}

fn message(info: &PanicInfo<'_>) {
    let pid = sys::getpid();
    if !thread::several() {
        eprint_at_once(format_args!("process {pid}: {info}\n"));
        return;
    }
    thread::current_name(|name| {
        eprint_at_once(format_args!("process {pid}, thread '{name}': {info}\n"));
    });
}
