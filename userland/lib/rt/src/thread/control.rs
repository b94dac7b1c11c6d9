//! What a thread knows of itself, at the base of its FS register.

use super::local::Values;
use crate::sys;
use abi::Errno;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The number of the first thread.
pub const MAIN: u64 = 1;

/// Bytes of a name.
const NAME: usize = 31;

/// The record of one thread. Only that thread uses it, but for its beginning.
#[repr(C)]
pub(crate) struct Control {
    /// Its own address: what the thread finds at the base of FS.
    this: Cell<*const Control>,
    number: Cell<u64>,
    name: Cell<[u8; NAME]>,
    name_len: Cell<u8>,
    pub(super) values: Values,
}

// SAFETY: the thread that makes another one fills its record before that begins; from then on
// only the thread itself uses it.
unsafe impl Sync for Control {}
// SAFETY: as above.
unsafe impl Send for Control {}

static FIRST: Control = Control::new(MAIN);
static NUMBERS: AtomicU64 = AtomicU64::new(MAIN + 1);
/// The program has had a second thread: FS is set in each from then on.
static SEVERAL: AtomicBool = AtomicBool::new(false);

impl Control {
    pub const fn new(number: u64) -> Control {
        Control {
            this: Cell::new(core::ptr::null()),
            number: Cell::new(number),
            name: Cell::new([0; NAME]),
            name_len: Cell::new(0),
            values: Values::new(),
        }
    }

    /// For a new thread of that name.
    pub fn begin(&self, name: &str) {
        let name = &name[..name.floor_char_boundary(NAME)];
        let mut bytes = [0; NAME];
        for (to, byte) in bytes.iter_mut().zip(name.bytes()) {
            *to = byte;
        }
        self.name.set(bytes);
        self.name_len.set(name.len() as u8);
        self.values.forget();
        self.number.set(NUMBERS.fetch_add(1, Relaxed));
        self.this.set(self);
    }
}

/// Prepares for a second thread.
pub(super) fn begin() -> Result<(), Errno> {
    if !several() {
        FIRST.this.set(&FIRST);
        sys::thread_base(&raw const FIRST as u64)?;
        SEVERAL.store(true, Relaxed);
    }
    Ok(())
}

/// Returns true if the program has, or had, more than one thread.
#[inline]
pub(crate) fn several() -> bool {
    SEVERAL.load(Relaxed)
}

/// The record of this thread.
#[inline]
pub(super) fn mine() -> &'static Control {
    if !several() {
        return &FIRST;
    }
    let control: *const Control;
    // SAFETY: `begin` has set FS in the first thread, and each other one began with it; the
    // word there is the address of the record, which stays as long as the thread.
    unsafe {
        core::arch::asm!("mov {}, fs:[0]", out(reg) control,
            options(nostack, readonly, pure, preserves_flags));
        &*control
    }
}

/// The number of this thread, never used again.
#[inline]
pub(crate) fn number() -> u64 {
    mine().number.get()
}

/// Calls `f` with the name of this thread: `main` for the first one, empty for one without.
pub fn current_name<R>(f: impl FnOnce(&str) -> R) -> R {
    let control = mine();
    if control.number.get() == MAIN {
        return f("main");
    }
    let name = control.name.get();
    let name = name.get(..usize::from(control.name_len.get()));
    f(core::str::from_utf8(name.unwrap_or(&[])).unwrap_or(""))
}
