//! Where the console is.

/// What consfs serves is mounted here.
pub const TERMINAL: &str = "/dev/term";
/// What is typed and shown.
pub const CONSOLE: &str = "/dev/cons";
/// In which form, and who gets Ctrl-C.
pub const CONTROL: &str = "/dev/consctl";
