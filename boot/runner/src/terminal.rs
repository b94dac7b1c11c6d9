//! The user's side of the console: puts the terminal into raw mode while the
//! guest has it, and detects the keys that leave.

use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{IsTerminal, Read};
use std::sync::mpsc::SyncSender;

const CTRL_A: u8 = 1;

/// Keeps the terminal in raw mode as long as it lives.
#[derive(Debug)]
pub struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Raw mode, where standard input is a terminal; otherwise nothing.
    pub fn enter() -> Raw {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Raw { before: None };
        }
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // The runner prints whole lines, like any other program.
            raw.output_modes |= before.output_modes & (OutputModes::OPOST | OutputModes::ONLCR);
            raw.local_modes -= LocalModes::ECHO;
            let _ = tcsetattr(&stdin, OptionalActions::Drain, &raw);
        }
        Raw { before }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// `ROWSxCOLUMNS` of the terminal, if standard input and output are one.
pub fn size() -> Option<String> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return None;
    }
    let known = tcgetwinsize(std::io::stdout()).ok();
    // A terminal that does not know its size reports 0.
    let known = known.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let (rows, columns) = known.map_or((24, 80), |size| (size.ws_row, size.ws_col));
    Some(format!("{rows}x{columns}"))
}

/// Detects `Ctrl-A x` in the input; `Ctrl-A Ctrl-A` is one `Ctrl-A`.
#[derive(Debug, Default)]
struct Escape {
    begun: bool,
}

impl Escape {
    /// The bytes for the guest; `None` when the user leaves.
    fn pass(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(typed.len());
        for &byte in typed {
            match (self.begun, byte) {
                (false, CTRL_A) => self.begun = true,
                (true, b'x') => return None,
                (begun, byte) => {
                    if begun && byte != CTRL_A {
                        out.push(CTRL_A);
                    }
                    out.push(byte);
                    self.begun = false;
                }
            }
        }
        Some(out)
    }
}

/// Copies standard input to `input` until its end; calls `leave` when a user at
/// a terminal leaves.
pub fn read_keyboard(input: SyncSender<Vec<u8>>, leave: impl FnOnce()) {
    let mut escape = Escape::default();
    let mut buffer = [0; 4096];
    let mut stdin = std::io::stdin();
    let typed_here = stdin.is_terminal();
    loop {
        let typed = match stdin.read(&mut buffer) {
            Ok(count @ 1..) => &buffer[..count],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
        };
        let bytes = match typed_here {
            true => escape.pass(typed),
            false => Some(typed.to_vec()),
        };
        let Some(bytes) = bytes else {
            return leave();
        };
        if !bytes.is_empty() && input.send(bytes).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_x_leaves_also_in_two_pieces() {
        let mut escape = Escape::default();
        assert_eq!(escape.pass(b"ax\x01").as_deref(), Some(&b"ax"[..]));
        assert_eq!(escape.pass(b"x"), None);
    }

    #[test]
    fn ctrl_a_twice_is_one() {
        let mut escape = Escape::default();
        assert_eq!(
            escape.pass(b"\x01\x01x\x01b").as_deref(),
            Some(&b"\x01x\x01b"[..])
        );
    }
}
