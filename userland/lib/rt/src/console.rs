//! The paths of the console, and a test for it.

use crate::File;

/// The mount point of consfs.
pub const TERMINAL: &str = "/dev/term";
/// The file of keyboard input and screen output.
pub const CONSOLE: &str = "/dev/cons";
/// The file that selects the input mode and the note group for Ctrl-C.
pub const CONTROL: &str = "/dev/consctl";

/// Returns true if the descriptor is the console.
pub fn is(fd: u32) -> bool {
    let (Ok(file), Ok(console)) = (File::borrowed(fd).stat(), File::stat_path(CONSOLE)) else {
        return false;
    };
    (file.server, file.qid_path) == (console.server, console.qid_path)
}
