//! The environment: `NAME=value` texts that a program gets from its parent and
//! passes to its children.

use crate::Errno;
use crate::process::slice;
use crate::single::Single;
use abi::Slice;
use alloc::vec::Vec;
use bytestr::{ByteStr, ByteString};
use core::ffi::{CStr, c_char};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

pub(crate) static ENVIRONMENT: Single<Environment> = Single::new(Environment { texts: None });
/// The pointers on the initial stack, ended by a null one.
static INITIAL: AtomicPtr<*const c_char> = AtomicPtr::new(null_mut());
/// The texts were copied, and may be others since.
static COPIED: AtomicBool = AtomicBool::new(false);

pub(crate) struct Environment {
    /// Copied from the initial stack at the first use, because most programs
    /// have none.
    texts: Option<Vec<ByteString>>,
}

/// Remembers where the environment is on the initial stack.
///
/// # Safety
/// As for `args::from_stack`; after the arguments and a null pointer come the
/// pointers of the environment and a null pointer.
pub(crate) unsafe fn from_stack(stack: *const u64) {
    // SAFETY: promised by the caller.
    let initial = unsafe { stack.add(*stack as usize + 2) };
    INITIAL.store(initial.cast_mut().cast(), Relaxed);
}

/// The texts the program began with.
fn initial() -> impl Iterator<Item = &'static CStr> {
    let mut at = INITIAL.load(Relaxed).cast_const();
    core::iter::from_fn(move || {
        // SAFETY: by `from_stack`'s contract a null pointer ends the list
        // and all of it stays unchanged.
        let text = unsafe { (!at.is_null() && !(*at).is_null()).then(|| CStr::from_ptr(*at)) };
        // Never beyond the end, however often the iterator is polled.
        at = text.map_or(at, |_| at.wrapping_add(1));
        text
    })
}

impl Environment {
    fn texts(&mut self) -> &mut Vec<ByteString> {
        self.texts.get_or_insert_with(|| {
            COPIED.store(true, Relaxed);
            let texts = initial().map(|text| ByteStr(text.to_bytes()).to_owned());
            texts.collect()
        })
    }
}

fn value<'t>(text: &'t [u8], name: &[u8]) -> Option<ByteStr<'t>> {
    text.strip_prefix(name)?.strip_prefix(b"=").map(ByteStr)
}

fn with<R>(f: impl FnOnce(&mut Vec<ByteString>) -> R) -> Option<R> {
    ENVIRONMENT.with(|e| f(e.texts()))
}

/// Returns true if the program was started with `name` set to `wanted`.
/// Allocates nothing.
pub(crate) fn begins_with(name: &str, wanted: &str) -> bool {
    let mut texts = initial().map(CStr::to_bytes);
    texts.any(|text| value(text, name.as_bytes()).is_some_and(|value| value == wanted))
}

/// The value of `name`.
pub fn get(name: impl AsRef<[u8]>) -> Option<ByteString> {
    let name = name.as_ref();
    with(|texts| {
        let value = texts.iter().find_map(|t| value(t, name));
        value.map(ByteStr::to_owned)
    })
    .flatten()
}

/// Sets `name` to a value. `EINVAL`: not a valid name.
pub fn set(name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Errno> {
    let (name, to) = (name.as_ref(), to.as_ref());
    if name.is_empty() || name.contains(&b'=') || name.contains(&0) || to.contains(&0) {
        return Err(Errno::EINVAL);
    }
    let text = ByteString([name, b"=", to].concat());
    with(
        |texts| match texts.iter_mut().find(|t| value(t, name).is_some()) {
            Some(old) => *old = text,
            None => texts.push(text),
        },
    )
    .ok_or(Errno::EBUSY)
}

/// Removes `name` from the environment.
pub fn remove(name: impl AsRef<[u8]>) {
    let name = name.as_ref();
    with(|texts| texts.retain(|t| value(t, name).is_none()));
}

/// All names with their values.
pub fn all() -> Vec<(ByteString, ByteString)> {
    let pair = |t: &ByteString| {
        let (name, value) = t.as_byte_str().split_once(b'=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    with(|texts| texts.iter().filter_map(pair).collect()).unwrap_or_default()
}

/// The texts that the program began with, as far as there is room; `None`: there are
/// more, or the environment was looked at since and may be another. Stores nothing, so
/// that a child that becomes another program has no page copied for it.
pub(crate) fn unchanged(room: &mut [Slice]) -> Option<&[Slice]> {
    if COPIED.load(Relaxed) {
        return None;
    }
    let mut count = 0;
    for text in initial() {
        *room.get_mut(count)? = slice(text.to_bytes());
        count += 1;
    }
    room.get(..count)
}

/// The texts in the form `NAME=value`.
pub(crate) fn texts() -> Vec<ByteString> {
    with(|texts| texts.clone()).unwrap_or_default()
}
