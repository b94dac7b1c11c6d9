//! Notes: texts that interrupt a process.
//!
//! A handler runs between any two instructions of the program, on the same
//! stack. It may make system calls and use atomic values. A resource that the
//! program was using at that moment (the allocator, standard output) is locked:
//! its use fails as if memory were out. A call that a note interrupts ends with
//! `EINTR`.

use crate::{process, sys};
use abi::{Call, Errno, Registers, noted};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The way in which the program continues after its handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It goes on, with the registers as the handler left them.
    Resume,
    /// It ends with the note's text, as without a handler.
    End,
}

/// A handler: the registers of the interrupted program, and the text.
pub type Handler = fn(&mut Registers, &str) -> Then;

/// The handler's address; 0: none.
static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// The kernel calls this function to deliver a note.
extern "C" fn enter(registers: *mut Registers, text: *const u8, len: usize) -> ! {
    // SAFETY: the kernel has just put a `Registers` and `len` bytes of text
    // there, below everything that the program has on its stack.
    let (registers, text) = unsafe {
        let text = core::slice::from_raw_parts(text, len);
        (&mut *registers, core::str::from_utf8(text).unwrap_or(""))
    };
    let how = match HANDLER.load(Relaxed) {
        0 => noted::DEFAULT,
        handler => {
            // SAFETY: only `handle` stores an address here, that of a `Handler`.
            let handler = unsafe { core::mem::transmute::<usize, Handler>(handler) };
            match handler(registers, text) {
                Then::Resume => noted::RESUME,
                Then::End => noted::DEFAULT,
            }
        }
    };
    loop {
        // SAFETY: the registers are what was interrupted, or what a handler
        // that is given them to change them wants.
        let _ = unsafe { sys::call1(Call::Noted, how) };
    }
}

/// From now on `handler` is called with every note, in whichever thread gets it.
pub fn handle(handler: Handler) -> Result<(), Errno> {
    HANDLER.store(handler as usize, Relaxed);
    let enter = enter as extern "C" fn(*mut Registers, *const u8, usize) -> !;
    // SAFETY: `enter` is what the kernel calls there.
    unsafe { sys::call1(Call::Notify, enter as usize as u64) }.map(drop)
}

/// From now on a note ends this process, all its threads.
pub fn ignore_handler() -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { sys::call1(Call::Notify, 0) }.map(drop)
}

/// Gives a process a note.
pub fn send(pid: u64, text: &str) -> Result<(), Errno> {
    send_to(pid, text)
}

/// Gives a note to all others of a note group. `EINVAL`: no group can have that number.
pub fn send_group(group: u64, text: &str) -> Result<(), Errno> {
    send_to(process::name_of_group(group)?, text)
}

fn send_to(to: u64, text: &str) -> Result<(), Errno> {
    let (at, len) = sys::of(text.as_bytes());
    // SAFETY: the kernel only reads `text`.
    unsafe { sys::call3(Call::Note, to, at, len) }.map(drop)
}
