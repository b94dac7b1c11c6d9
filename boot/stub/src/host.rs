//! The entry point of guest code on the host.

extern crate std;

use std::env;
use std::eprintln;
use std::ffi::c_int;
use std::path::Path;

/// The same status as for the runner's own refusals.
const STATUS: c_int = 2;

/// The linker uses it only if there is no other `main`; tests of guest
/// libraries have their own.
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    let name = env::args_os().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    eprintln!(
        "{}: runs in a guest only: `cargo run` boots one, `cargo run -- -c COMMANDS` runs programs in it",
        name.display()
    );
    STATUS
}
