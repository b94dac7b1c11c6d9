//! Lines for the shell, typed at a terminal, or from a pipe or file.

use crate::console::Console;
use crate::state::Shell;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::from_bytes;
use core::mem::take;
use rt::abi::whence;
use rt::{Errno, File, io, print};
use shell::edit::{Editor, Event};
use shell::history::History;

const PROMPT: &str = "dormouse% ";
const PROMPT_MORE: &str = "> ";
/// The width to assume of a terminal that is gone.
const COLUMNS: usize = 80;
/// Longest line of a file or pipe.
const LINE_MAX: usize = 64 * 1024;

/// The outcome of reading a line.
pub enum Read {
    /// A line, without its end.
    Line(String),
    /// The user discarded the line.
    GivenUp,
    /// There is no more.
    End,
}

/// Where lines come from: standard input.
pub struct Input {
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    /// Single keys, edited by the shell.
    Terminal,
    /// The console delivers whole lines.
    Console,
    /// A file: bytes read beyond the line are given back by seeking.
    File,
    /// A channel gives nothing back, so it is read byte by byte.
    Channel,
}

impl Input {
    /// Determines the type of standard input; a console makes the shell
    /// interactive.
    pub fn new(shell: &mut Shell) -> Input {
        let console = Console::of_input();
        let source = match console.as_ref().map(Console::columns) {
            Some(Some(_)) => Source::Terminal,
            Some(None) => Source::Console,
            None => match File::borrowed(0).seek(0, whence::CURRENT) {
                Ok(_) => Source::File,
                Err(_) => Source::Channel,
            },
        };
        if console.is_some() {
            shell.catch_interrupts();
        }
        shell.console = console;
        Input { source }
    }

    /// The next line; the first of a command, or one that continues it.
    pub fn line(&mut self, shell: &mut Shell, first: bool) -> Result<Read, Errno> {
        if shell.console.is_some() {
            shell.announce();
        }
        let prompt = match (first, shell.get("PS1")) {
            (true, Some(prompt)) => prompt.to_string(),
            (true, None) => PROMPT.into(),
            (false, _) => PROMPT_MORE.into(),
        };
        if let Source::Terminal = self.source {
            let history = take(&mut shell.history);
            let read = typed(shell, &prompt, &history);
            shell.history = history;
            return read;
        }
        if matches!(self.source, Source::Console) {
            print!("{prompt}");
            io::flush()?;
        }
        let read = self.plain()?;
        if matches!((&read, self.source), (Read::End, Source::Console)) {
            print!("\n");
        }
        Ok(read)
    }

    fn plain(&self) -> Result<Read, Errno> {
        let input = File::borrowed(0);
        let mut line = Vec::new();
        let mut piece = [0; 512];
        let at_once = match self.source {
            Source::Channel => 1,
            _ => piece.len(),
        };
        loop {
            let n = match input.read(&mut piece[..at_once]) {
                Err(Errno::EINTR) => return Ok(Read::GivenUp),
                read => read?,
            };
            let got = &piece[..n];
            let end = got.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&got[..end.unwrap_or(n)]);
            if let Some(end) = end {
                let spare = (n - end - 1) as i64;
                if spare > 0 && matches!(self.source, Source::File) {
                    input.seek(-spare, whence::CURRENT)?;
                }
                return Ok(Read::Line(from_bytes(&line)));
            }
            match n {
                0 if line.is_empty() => return Ok(Read::End),
                0 => return Ok(Read::Line(from_bytes(&line))),
                _ if line.len() > LINE_MAX => return Err(Errno::E2BIG),
                _ => {}
            }
        }
    }

    /// Adds a whole command to the history.
    pub fn remember(&self, shell: &mut Shell, text: &str) {
        if matches!(self.source, Source::Terminal | Source::Console) {
            shell.history.add(&text.replace('\n', " "));
        }
    }
}

/// Reads a line with the line editor.
fn typed(shell: &mut Shell, prompt: &str, history: &History) -> Result<Read, Errno> {
    let (input, output) = (File::borrowed(0), File::borrowed(1));
    let columns = shell.console.as_ref().and_then(|console| {
        console.raw();
        console.columns()
    });
    let (mut editor, show) = Editor::new(prompt, columns.unwrap_or(COLUMNS), history);
    output.write_all(&show)?;
    let mut keys = [0; 64];
    let read = 'line: loop {
        let n = match input.read(&mut keys) {
            Ok(0) => break Read::End,
            Err(Errno::EINTR) => continue,
            read => read?,
        };
        let mut show = Vec::new();
        for key in &keys[..n] {
            // The console gives nothing after the end of a line at once.
            let done = match editor.byte(*key, &mut show) {
                Event::Nothing => continue,
                Event::Complete => {
                    editor.complete(shell, &mut show);
                    continue;
                }
                Event::Line(line) => Read::Line(line),
                Event::End => Read::End,
                Event::Interrupt => Read::GivenUp,
            };
            output.write_all(&show)?;
            break 'line done;
        }
        output.write_all(&show)?;
    };
    if let Some(console) = &shell.console {
        console.lines();
    }
    Ok(read)
}
