//! The terminal that the shell reads lines from: its input mode, and the note
//! group for Ctrl-C.

use crate::redirect::private;
use alloc::format;
use rt::console::{CONSOLE, CONTROL};
use rt::{File, mode};

/// The width to assume if it is unknown.
const COLUMNS: usize = 80;

/// The console, by its control file. Closing that file resets the mode.
pub struct Console {
    /// `None` in a name space without a console.
    control: Option<File>,
}

impl Console {
    /// The console, if it is standard input.
    pub fn of_input() -> Option<Console> {
        let input = File::borrowed(0).stat().ok()?;
        let console = File::stat_path(CONSOLE).ok()?;
        if (input.server, input.qid_path) != (console.server, console.qid_path) {
            return None;
        }
        let control = File::open(CONTROL, mode::ORDWR).and_then(private).ok();
        Some(Console { control })
    }

    /// Columns of the terminal, which may be another number than before; `None` if
    /// lines come from a pipe.
    pub fn columns(&self) -> Option<usize> {
        columns(self.control.as_ref()?)
    }

    /// The descriptor of the control file.
    pub fn fd(&self) -> Option<u32> {
        self.control.as_ref().map(File::fd)
    }

    /// For a child, in which the descriptor is already closed.
    pub fn forget(self) {
        self.control.map(File::into_fd);
    }

    /// Switches to single keys.
    pub fn raw(&self) {
        self.order(b"rawon");
    }

    /// Switches to whole lines.
    pub fn lines(&self) {
        self.order(b"rawoff");
    }

    /// Directs Ctrl-C to this note group.
    pub fn foreground(&self, group: u64) {
        self.order(format!("fg {group}").as_bytes());
    }

    fn order(&self, order: &[u8]) {
        if let Some(control) = &self.control {
            // The next read reports a console that is gone.
            let _ = control.write_all(order);
        }
    }
}

/// From `terminal ROWSxCOLUMNS`, a line of the control file.
fn columns(control: &File) -> Option<usize> {
    let mut text = [0; 128];
    let n = control.read_at(&mut text, 0).ok()?;
    let text = core::str::from_utf8(text.get(..n)?).ok()?;
    let size = text
        .lines()
        .find_map(|line| line.strip_prefix("terminal "))?;
    let columns = size.split_once('x')?.1.trim();
    Some(columns.parse().unwrap_or(COLUMNS))
}
