//! Where the console is, and whether output goes there.

use crate::File;

/// What consfs serves is mounted here.
pub const TERMINAL: &str = "/dev/term";
/// What is typed and shown.
pub const CONSOLE: &str = "/dev/cons";
/// In which form, and who gets Ctrl-C.
pub const CONTROL: &str = "/dev/consctl";

/// Is this descriptor the console?
pub fn is(fd: u32) -> bool {
    let (Ok(file), Ok(console)) = (File::borrowed(fd).stat(), File::stat_path(CONSOLE)) else {
        return false;
    };
    (file.server, file.qid_path) == (console.server, console.qid_path)
}
