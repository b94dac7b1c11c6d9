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
    fn texts(&mut self) -> &mut Vec<String> {
        let mut at = self.initial;
        self.texts.get_or_insert_with(|| {
            let mut texts = Vec::new();
            // SAFETY: `from_stack` was told that a null pointer ends the list
            // and that all stays as it is.
            while !at.is_null() && unsafe { !(*at).is_null() } {
                // SAFETY: as above.
                let text = unsafe { CStr::from_ptr(*at) };
                at = at.wrapping_add(1);
                if let Ok(text) = text.to_str() {
                    texts.push(String::from(text));
                }
            }
            texts
        })
    }
}

fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?.strip_prefix('=')
}

fn with<R>(f: impl FnOnce(&mut Vec<String>) -> R) -> Option<R> {
    ENVIRONMENT.with(|e| f(e.texts()))
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
