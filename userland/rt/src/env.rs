//! The environment: `NAME=value` texts that a program gets from the one that
//! started it and gives to those it starts.

use crate::Errno;
use crate::single::Single;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

static ENVIRONMENT: Single<Environment> = Single::new(Environment {
    initial: core::ptr::null(),
    texts: None,
});

struct Environment {
    /// The pointers on the initial stack, ended by a null one.
    initial: *const *const c_char,
    /// Taken from there at the first use: most programs have none.
    texts: Option<Vec<String>>,
}

/// Remembers where the environment is on the initial stack.
///
/// # Safety
/// As for `args::from_stack`; after the arguments and a null pointer come the
/// pointers of the environment and a null pointer.
pub(crate) unsafe fn from_stack(stack: *const u64) {
    // SAFETY: promised by the caller.
    let initial = unsafe { stack.add(*stack as usize + 2) };
    ENVIRONMENT.with(|e| e.initial = initial.cast());
}

impl Environment {
    /// The texts the program began with.
    fn initial(&self) -> impl Iterator<Item = &'static CStr> + use<> {
        let mut at = self.initial;
        core::iter::from_fn(move || {
            // SAFETY: `from_stack` was told that a null pointer ends the list
            // and that all stays as it is.
            let text = unsafe { (!at.is_null() && !(*at).is_null()).then(|| CStr::from_ptr(*at)) };
            // Not beyond the end, however often one asks.
            at = text.map_or(at, |_| at.wrapping_add(1));
            text
        })
    }

    fn texts(&mut self) -> &mut Vec<String> {
        let initial = self.initial();
        self.texts.get_or_insert_with(|| {
            let texts = initial.filter_map(|text| text.to_str().ok());
            texts.map(String::from).collect()
        })
    }
}

fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?.strip_prefix('=')
}

fn with<R>(f: impl FnOnce(&mut Vec<String>) -> R) -> Option<R> {
    ENVIRONMENT.with(|e| f(e.texts()))
}

/// Did the program begin with `name` set to that value? Allocates nothing.
pub(crate) fn begins_with(name: &str, wanted: &str) -> bool {
    let found = ENVIRONMENT.with(|e| {
        let mut texts = e.initial().filter_map(|text| text.to_str().ok());
        texts.any(|text| value(text, name) == Some(wanted))
    });
    found == Some(true)
}

/// The value of `name`.
pub fn get(name: &str) -> Option<String> {
    with(|texts| texts.iter().find_map(|t| value(t, name)).map(String::from)).flatten()
}

/// Gives `name` a value. `EINVAL`: not a name.
pub fn set(name: &str, to: &str) -> Result<(), Errno> {
    if name.is_empty() || name.contains('=') || name.contains('\0') || to.contains('\0') {
        return Err(Errno::EINVAL);
    }
    let text = alloc::format!("{name}={to}");
    with(
        |texts| match texts.iter_mut().find(|t| value(t, name).is_some()) {
            Some(old) => *old = text,
            None => texts.push(text),
        },
    )
    .ok_or(Errno::EBUSY)
}

/// Forgets `name`.
pub fn remove(name: &str) {
    with(|texts| texts.retain(|t| value(t, name).is_none()));
}

/// All of it: names and values.
pub fn all() -> Vec<(String, String)> {
    let pair = |t: &String| {
        let (name, value) = t.split_once('=')?;
        Some((String::from(name), String::from(value)))
    };
    with(|texts| texts.iter().filter_map(pair).collect()).unwrap_or_default()
}

/// The texts as they are.
pub(crate) fn texts() -> Vec<String> {
    with(|texts| texts.clone()).unwrap_or_default()
}
