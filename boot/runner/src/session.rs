//! One run of QEMU: started, relayed, and ended in every case.

use crate::command::Verbosity;
use crate::console::Filter;
use crate::diagnostics;
use crate::failure::{Context, Failure, say};
use crate::qemu::{self, Accel, Inherited, Machine};
use crate::share::Lock;
use crate::swap::Place;
use crate::terminal;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// KVM without any output after this time does not work.
const KVM_PATIENCE: Duration = Duration::from_secs(2);
/// A guest without any output after this time gets its input all the same.
const INPUT_PATIENCE: Duration = Duration::from_secs(3);
/// Time limit for QEMU to listen for gdb.
const GDB_PATIENCE: Duration = Duration::from_secs(10);
/// Interval at which the end of the input is repeated, because each program
/// that reads the console must see it.
const END_AGAIN: Duration = Duration::from_millis(500);
/// Streams from a QEMU: console and verdicts. Each reports its end once.
const STREAMS: usize = 2;
/// Ctrl-D, the console's end of file.
const END_OF_FILE: u8 = 4;
/// In input from a pipe or file: announces the end of the file, or itself.
const MARK: u8 = 0x10;

/// The source of the guest's input.
#[derive(Clone, Debug, Default)]
pub enum Input {
    /// There is none.
    #[default]
    None,
    /// These bytes, then end of file.
    Text(Vec<u8>),
    /// Standard input: a terminal, made raw, or a pipe.
    Person,
}

impl Input {
    /// Returns true if bytes reach the guest's programs unchanged; a boot
    /// option tells the guest. Input from a terminal is edited in the guest.
    pub fn is_piped(&self) -> bool {
        match self {
            Input::None => false,
            Input::Text(_) => true,
            Input::Person => !io::stdin().is_terminal(),
        }
    }
}

/// The way in which a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// QEMU ended.
    Exited(ExitStatus),
    /// The time was up.
    TimedOut,
    /// The user left.
    Left,
    /// The runner got this signal.
    Signal(i32),
    /// The output has lost its reader.
    OutputClosed,
    /// The output could not be written.
    OutputFailed(io::ErrorKind),
}

/// The result of a run.
#[derive(Debug)]
pub struct Record {
    /// The way in which the session ended.
    pub end: End,
    /// All output to the second serial port.
    pub verdicts: String,
    /// The console's last lines.
    pub last_lines: String,
    /// QEMU's own messages.
    pub diagnostics: Vec<String>,
}

/// The parameters of a run.
pub struct Session<'a> {
    /// The machine.
    pub machine: Machine,
    /// The content of the bundle.
    pub bundle: Vec<u8>,
    /// The lock on the shared directory.
    pub lock: Option<Arc<Lock>>,
    /// When to give up.
    pub timeout: Option<Duration>,
    /// Where input comes from.
    pub input: Input,
    /// How much to say.
    pub verbosity: Verbosity,
    /// A gdb to start beside the guest; the session ends with it.
    pub debugger: Option<Command>,
    /// Receives the guest's output.
    pub show: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
}

enum Event {
    Console(Vec<u8>),
    Verdicts(Vec<u8>),
    /// One of the two streams above has ended.
    Ended,
    Leave,
    Signal(i32),
}

impl Session<'_> {
    /// Starts QEMU and attends to it until the end.
    pub fn run(mut self, mut filter: Filter) -> Result<Record, Failure> {
        let (sender, events) = mpsc::channel();
        let bundle = memory_file(&self.bundle).context(|| "cannot store the bundle".into())?;
        let person = matches!(self.input, Input::Person);
        if person {
            watch_signals(sender.clone());
        }
        let mut process = Process::start(&self, &bundle, &sender)?;
        let mut first = None;
        let mut open = STREAMS;
        // A guest that waits for gdb is silent for that reason.
        let gdb = self.machine.gdb.clone();
        if self.machine.accel == Accel::Kvm && gdb.is_none() {
            match events.recv_timeout(KVM_PATIENCE) {
                Ok(Event::Ended) => open += STREAMS - 1,
                Err(_) => open += STREAMS,
                Ok(event) => first = Some(event),
            }
        }
        if open > STREAMS {
            say("warning: the guest does not start under KVM, using TCG");
            drop(process);
            self.machine.accel = Accel::Tcg;
            process = Process::start(&self, &bundle, &sender)?;
        }
        let debugger = self.start_debugger(&sender)?;
        let raw = person.then(terminal::Raw::enter);
        let mut relay = Relay {
            process,
            open,
            verdicts: Vec::new(),
            piped: self.input.is_piped(),
            input: self.feed(&sender),
            input_patience: gdb.is_none().then_some(INPUT_PATIENCE),
        };
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let end = relay.run(first, &events, deadline, &mut filter, self.show);
        let diagnostics = relay.process.end();
        drop(raw);
        if let Some(debugger) = debugger {
            // gdb may outlive the guest: the user decides.
            let _ = debugger.join();
        }
        Ok(Record {
            end,
            verdicts: String::from_utf8_lossy(&relay.verdicts).into_owned(),
            last_lines: filter.last_lines(20),
            diagnostics,
        })
    }

    /// Starts gdb when QEMU listens for it, and reports its end.
    fn start_debugger(
        &mut self,
        sender: &Sender<Event>,
    ) -> Result<Option<thread::JoinHandle<()>>, Failure> {
        let (Some(mut gdb), Some(socket)) = (self.debugger.take(), &self.machine.gdb) else {
            return Ok(None);
        };
        let patience = Instant::now() + GDB_PATIENCE;
        while !socket.exists() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(10));
        }
        self.verbosity.show(&gdb);
        let mut gdb = gdb.spawn().context(|| "cannot run gdb".into())?;
        let sender = sender.clone();
        Ok(Some(thread::spawn(move || {
            let _ = gdb.wait();
            let _ = sender.send(Event::Leave);
        })))
    }

    /// The bytes to send to the guest, if there is input.
    fn feed(&mut self, sender: &Sender<Event>) -> Option<Receiver<Vec<u8>>> {
        // Bounded, so that input without a reader in the guest stays in the
        // pipe.
        let (input, fed) = mpsc::sync_channel(16);
        match std::mem::take(&mut self.input) {
            Input::None => return None,
            Input::Text(bytes) => {
                thread::spawn(move || input.send(bytes));
            }
            Input::Person => {
                let sender = sender.clone();
                thread::spawn(move || {
                    terminal::read_keyboard(input, || {
                        let _ = sender.send(Event::Leave);
                    });
                });
            }
        }
        Some(fed)
    }
}

/// The state of the relay between QEMU and the runner.
struct Relay {
    process: Process,
    /// Streams from QEMU that have not ended.
    open: usize,
    verdicts: Vec<u8>,
    /// True if the input is not a terminal.
    piped: bool,
    /// Input, as long as the guest is not ready for it.
    input: Option<Receiver<Vec<u8>>>,
    /// The time after which a silent guest gets its input all the same; `None`
    /// for a guest that waits for gdb.
    input_patience: Option<Duration>,
}

impl Relay {
    fn run(
        &mut self,
        first: Option<Event>,
        events: &Receiver<Event>,
        deadline: Option<Instant>,
        filter: &mut Filter,
        show: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> End {
        let input_at = self.input_patience.map(|time| Instant::now() + time);
        let mut next = first;
        while self.open > 0 {
            let event = match next.take() {
                Some(event) => Some(event),
                None => {
                    let input_at = input_at.filter(|_| self.input.is_some());
                    wait(events, [deadline, input_at].into_iter().flatten().min())
                }
            };
            // The serial port works only after the guest has set it up; bytes
            // that arrive sooner are lost.
            if (event.is_some() || input_at.is_some_and(|at| Instant::now() >= at))
                && let (Some(input), Some(stdin)) =
                    (self.input.take(), self.process.child.stdin.take())
            {
                let piped = self.piped;
                thread::spawn(move || send_input(input, piped, stdin));
            }
            match event {
                Some(Event::Console(bytes)) => match show(&filter.pass(&bytes)) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return End::OutputClosed;
                    }
                    Err(error) => return End::OutputFailed(error.kind()),
                },
                Some(Event::Verdicts(bytes)) => self.verdicts.extend(bytes),
                Some(Event::Ended) => self.open -= 1,
                Some(Event::Leave) => return End::Left,
                Some(Event::Signal(signal)) => return End::Signal(signal),
                None if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return End::TimedOut;
                }
                None => {}
            }
        }
        self.process.child.wait().map_or(End::Left, End::Exited)
    }
}

/// The next event, or nothing by `until`.
fn wait(events: &Receiver<Event>, until: Option<Instant>) -> Option<Event> {
    let Some(until) = until else {
        return events.recv().ok();
    };
    let left = until.saturating_duration_since(Instant::now());
    events.recv_timeout(left).ok()
}

/// Passes on all input, then repeats its end.
fn send_input(input: Receiver<Vec<u8>>, piped: bool, mut guest: ChildStdin) {
    for bytes in input {
        let sent = match piped {
            true => guest.write_all(&marked(&bytes)),
            false => guest.write_all(&bytes),
        };
        if sent.is_err() {
            return;
        }
    }
    let end: &[u8] = match piped {
        true => &[MARK, END_OF_FILE],
        false => &[END_OF_FILE],
    };
    while guest.write_all(end).is_ok() {
        thread::sleep(END_AGAIN);
    }
}

/// The bytes with each [`MARK`] twice.
fn marked(bytes: &[u8]) -> Vec<u8> {
    let twice = |byte: &u8| std::iter::repeat_n(*byte, 1 + usize::from(*byte == MARK));
    bytes.iter().flat_map(twice).collect()
}

/// A QEMU, killed when dropped.
struct Process {
    child: Child,
    /// Prints QEMU's messages, and returns them at the end.
    diagnostics: Option<thread::JoinHandle<Vec<String>>>,
}

impl Process {
    fn start(session: &Session, bundle: &File, events: &Sender<Event>) -> Result<Process, Failure> {
        let (verdicts, verdicts_end) =
            pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe for verdicts".into())?;
        let inherited = Inherited {
            bundle: bundle.as_raw_fd(),
            verdicts: verdicts_end.as_raw_fd(),
            lock: session.lock.as_ref().map(|lock| lock.file().as_raw_fd()),
            swap: match &session.machine.swap {
                Place::Image(image) => Some(image.as_raw_fd()),
                Place::None | Place::Directory(_) => None,
            },
        };
        let mut command = qemu::attended(&session.machine, inherited)?;
        if !matches!(session.input, Input::None) {
            command.stdin(Stdio::piped());
        }
        session.verbosity.show(&command);
        let mut child = command
            .spawn()
            .context(|| format!("cannot run {}", crate::setup::QEMU))?;
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, events.clone(), Event::Console);
        }
        pump(File::from(verdicts), events.clone(), Event::Verdicts);
        let stderr = child.stderr.take();
        Ok(Process {
            child,
            diagnostics: stderr.map(|stderr| thread::spawn(|| diagnostics::pass(stderr))),
        })
    }

    /// Ends QEMU if it still runs; returns its messages.
    fn end(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let told = self.diagnostics.take().map(thread::JoinHandle::join);
        told.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends all that comes from `source` as events.
fn pump(
    mut source: impl Read + Send + 'static,
    events: Sender<Event>,
    event: fn(Vec<u8>) -> Event,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(count @ 1..) if events.send(event(buffer[..count].to_vec())).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = events.send(Event::Ended);
    });
}

/// An unnamed file in memory with these bytes.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let file: OwnedFd = memfd_create("dormouse-bundle", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    Ok(file)
}

/// Turns the signals that end a program into events.
fn watch_signals(events: Sender<Event>) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]) else {
        return;
    };
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = events.send(Event::Signal(signal));
        }
    });
}
