//! The terminal the shell's lines come from: which mode it is in, and who
//! gets Ctrl-C.

use alloc::string::String;
use rt::{File, mode};

const CONSOLE: &str = "/dev/cons";
const CONTROL: &str = "/dev/consctl";
/// Without a better idea.
const COLUMNS: usize = 80;

/// The console, by its control file. Closing that ends what was set.
pub struct Console {
    control: File,
    /// Columns of the terminal; `None` if lines come from a pipe.
    columns: Option<usize>,
}

impl Console {
    /// The console, if it is standard input.
    pub fn of_input() -> Option<Console> {
        let input = File::borrowed(0).stat().ok()?;
        let console = File::stat_path(CONSOLE).ok()?;
        if (input.server, input.qid_path) != (console.server, console.qid_path) {
            return None;
        }
        let control = File::open(CONTROL, mode::ORDWR).ok()?;
        let mut text = [0; 128];
        let n = control.read(&mut text).unwrap_or(0);
        let text = String::from_utf8_lossy(text.get(..n).unwrap_or(&[])).into_owned();
        Some(Console {
            control,
            columns: columns(&text),
        })
    }

    /// Columns of the terminal, if it is one.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// Its descriptor.
    pub fn fd(&self) -> u32 {
        self.control.fd()
    }

    /// In a child, where the descriptor is closed already.
    pub fn forget(self) {
        self.control.into_fd();
    }

    /// From now on keys are read as they are typed.
    pub fn raw(&self) {
        let _ = self.control.write_all(b"rawon");
    }

    /// From now on whole lines are read.
    pub fn lines(&self) {
        let _ = self.control.write_all(b"rawoff");
    }
}

/// From `terminal ROWSxCOLUMNS`, a line of the control file.
fn columns(text: &str) -> Option<usize> {
    let size = text
        .lines()
        .find_map(|line| line.strip_prefix("terminal "))?;
    let columns = size
        .split_once('x')
        .and_then(|(_, columns)| columns.trim().parse().ok());
    Some(columns.unwrap_or(COLUMNS))
}
