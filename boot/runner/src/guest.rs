//! The description of a guest to boot, made by the command line and the tests.

use crate::bundle::Bundle;
use crate::command::Verbosity;
use crate::console::Filter;
use crate::diagnostics::no_memory;
use crate::failure::{Failure, say, status};
use crate::gdb::Gdb;
use crate::guests::{self, Guests, Profile};
use crate::image;
use crate::judge::{self, EXIT_HALT, Report};
use crate::qemu::{self, Accel, Firmware, Machine, Time};
use crate::session::{End, Input, Record, Session};
use crate::share::Lock;
use crate::swap::{Place, Swap};
use crate::symbols::Symbols;
use crate::{memory, setup};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// Default memory of a guest.
pub const MEMORY: &str = "2G";

/// The option with the commands: the only one that may have several lines, each
/// a line of the options with this key.
const COMMAND: &str = "command";

/// The program that is needed only where there is swap.
const SWAP_SERVER: &str = "swapfs";

/// A gdb for a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Debugger {
    /// There is none.
    #[default]
    None,
    /// The guest waits before its first instruction; the runner prints the
    /// command to start gdb.
    Wait,
    /// The runner starts gdb with these arguments; the guest ends with it.
    Start(Vec<String>),
}

/// A guest and the way to run it. Each method sets one property.
#[derive(Clone, Debug)]
pub struct Guest {
    share: Option<PathBuf>,
    lock: Option<Arc<Lock>>,
    swap: Swap,
    profile: Profile,
    memory: String,
    firmware: Firmware,
    accel: Accel,
    time: Time,
    options: BTreeMap<String, String>,
    timeout: Option<Duration>,
    input: Input,
    files: Vec<(String, Vec<u8>)>,
    programs: Vec<(String, PathBuf)>,
    tests: Vec<String>,
    bundle: Option<Vec<u8>>,
    gdb: Debugger,
    plugin: Option<String>,
    words: Vec<String>,
    image: Option<PathBuf>,
    verbosity: Verbosity,
}

impl Default for Guest {
    fn default() -> Self {
        Guest::new()
    }
}

impl Guest {
    /// A guest with the default memory, nothing shared, no swap, no time limit, whose
    /// kernel reports warnings only.
    pub fn new() -> Guest {
        Guest {
            share: None,
            lock: None,
            swap: Swap::None,
            profile: Profile::Quick,
            memory: MEMORY.into(),
            firmware: Firmware::Small,
            accel: Accel::Tcg,
            time: Time::Host,
            options: BTreeMap::from([("log".into(), "warn".into())]),
            timeout: None,
            input: Input::None,
            files: Vec::new(),
            programs: Vec::new(),
            tests: Vec::new(),
            bundle: None,
            gdb: Debugger::None,
            plugin: None,
            words: Vec::new(),
            image: None,
            verbosity: Verbosity::Normal,
        }
    }

    /// Exports this directory of the host to the guest.
    pub fn share(mut self, directory: impl Into<PathBuf>) -> Guest {
        self.share = Some(directory.into());
        self.lock = None;
        self
    }

    /// The same with a directory whose lock is held already.
    pub fn share_locked(mut self, directory: PathBuf, lock: Lock) -> Guest {
        self.share = Some(directory);
        self.lock = Some(Arc::new(lock));
        self
    }

    /// Where its memory goes that does not fit.
    pub fn swap(mut self, swap: Swap) -> Guest {
        self.swap = swap;
        self
    }

    /// How its code is compiled.
    pub fn profile(mut self, profile: Profile) -> Guest {
        self.profile = profile;
        self
    }

    /// Memory: `64M`, `1.5G`; see [`memory::mebibytes`].
    pub fn mem(mut self, memory: impl Into<String>) -> Guest {
        self.memory = memory.into();
        self
    }

    /// What starts its loader.
    pub fn firmware(mut self, firmware: Firmware) -> Guest {
        self.firmware = firmware;
        self
    }

    /// The accelerator that executes the guest.
    pub fn accel(mut self, accel: Accel) -> Guest {
        self.accel = accel;
        self
    }

    /// Whether deferral is off.
    pub fn eager(self, on: bool) -> Guest {
        self.option("eager", if on { "1" } else { "0" })
    }

    /// Whether every page that can leave memory leaves as soon as it may.
    pub fn pressure(self, on: bool) -> Guest {
        self.option("pressure", if on { "1" } else { "0" })
    }

    /// Whether the guest's time counts its instructions.
    pub fn icount(mut self, on: bool) -> Guest {
        self.time = if on { Time::Instructions } else { Time::Host };
        self.option("icount", if on { "1" } else { "0" })
    }

    /// A boot option, read by the kernel and by init.
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> Guest {
        self.options.insert(key.into(), value.into());
        self
    }

    /// The commands that init runs instead of the demo and the prompt.
    pub fn command(self, text: impl Into<String>) -> Guest {
        self.option(COMMAND, text)
    }

    /// When to end a guest that has not ended by itself.
    pub fn timeout(mut self, timeout: Duration) -> Guest {
        self.timeout = Some(timeout);
        self
    }

    /// Whether a time limit is set.
    pub fn is_limited(&self) -> bool {
        self.timeout.is_some()
    }

    /// Where console input comes from.
    pub fn input(mut self, input: Input) -> Guest {
        self.input = input;
        self
    }

    /// One more file in the bundle, for example `bin/mine`.
    pub fn file(mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Guest {
        self.files.push((name.into(), bytes.into()));
        self
    }

    /// One more program in `/bin`, an ELF file of the host; backtraces use its
    /// symbols.
    pub fn program(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Guest {
        self.programs.push((name.into(), path.into()));
        self
    }

    /// A test program of this workspace, which the guest has only if it is to run tests
    /// or its commands name it.
    pub fn test_program(mut self, name: impl Into<String>) -> Guest {
        self.tests.push(name.into());
        self
    }

    /// Arbitrary bytes in place of the bundle.
    pub fn bundle(mut self, bytes: impl Into<Vec<u8>>) -> Guest {
        self.bundle = Some(bytes.into());
        self
    }

    /// Whether a gdb watches over it from the first instruction.
    pub fn gdb(mut self, gdb: Debugger) -> Guest {
        self.gdb = gdb;
        self
    }

    /// A plugin of QEMU that watches it, and the plugin's arguments.
    pub(crate) fn plugin(mut self, plugin: String) -> Guest {
        self.plugin = Some(plugin);
        self
    }

    /// Further words for QEMU's command line.
    pub fn qemu(mut self, words: Vec<String>) -> Guest {
        self.words = words;
        self
    }

    /// A file for the records of its trace.
    pub(crate) fn traced(mut self, records: &Path) -> Guest {
        let file = format!("file:{}", qemu::escaped(&records.display().to_string()));
        self.words.extend(["-debugcon".into(), file]);
        self.option("trace", "1")
    }

    /// The symbols of its kernel and its programs.
    pub(crate) fn symbols(&self) -> Result<Symbols, Failure> {
        let mut guests = guests::build(self.profile, self.verbosity)?;
        guests.programs.extend(self.programs.iter().cloned());
        let share = self.share.clone();
        Ok(Symbols::new(guests.kernel, guests.programs, share))
    }

    /// A directory for an image of it, which a script there boots without the runner.
    pub fn keep_image(mut self, directory: impl Into<PathBuf>) -> Guest {
        self.image = Some(directory.into());
        self
    }

    /// The amount of the runner's messages.
    pub fn verbosity(mut self, verbosity: Verbosity) -> Guest {
        self.verbosity = verbosity;
        self
    }

    /// Sets up, builds, boots, and returns when the guest has ended or its time
    /// is up. The outcome has its output.
    pub fn run(&self) -> Result<Outcome, Failure> {
        let mut console = Vec::new();
        let mut outcome = self.start(&mut |bytes| {
            console.extend_from_slice(bytes);
            Ok(())
        })?;
        outcome.console = String::from_utf8_lossy(&console).into_owned();
        Ok(outcome)
    }

    /// The same with the console on standard output.
    pub fn attach(&self) -> Result<Outcome, Failure> {
        let mut stdout = io::stdout();
        self.start(&mut |bytes| {
            stdout.write_all(bytes)?;
            stdout.flush()
        })
    }

    fn start(&self, show: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Outcome, Failure> {
        self.check()?;
        // Before anything is built: a directory that cannot be shared is named.
        let lock = self.lock()?;
        let swap = self.swap.prepare()?;
        setup::provide(self.verbosity)?;
        if matches!(self.gdb, Debugger::Start(_)) {
            setup::provide_gdb(self.verbosity)?;
        }
        let mut guests = guests::build(self.profile, self.verbosity)?;
        guests.programs.extend(self.programs.iter().cloned());
        let bundle = match &self.bundle {
            Some(bytes) => bytes.clone(),
            None => self.pack(&guests, &swap)?,
        };
        let gdb = match self.gdb {
            Debugger::None => None,
            Debugger::Wait | Debugger::Start(_) => {
                Some(Gdb::prepare(&guests, self.share.as_deref())?)
            }
        };
        let debugger = match (&gdb, &self.gdb) {
            (Some(gdb), Debugger::Start(words)) => Some(gdb.command(words)?),
            (Some(gdb), _) => {
                say(format_args!(
                    "waiting for gdb; type in another terminal:\n  {}",
                    gdb.line()
                ));
                None
            }
            (None, _) => None,
        };
        let machine = Machine {
            loader: guests.loader,
            memory: memory::mebibytes(&self.memory)?,
            firmware: self.firmware,
            accel: self.accel.usable(),
            time: self.time,
            share: self.share.clone(),
            swap,
            plugin: self.plugin.clone(),
            gdb: gdb.as_ref().map(Gdb::socket),
            words: self.words.clone(),
        };
        if let Some(directory) = &self.image {
            let boot = image::keep(directory, &machine, &bundle)?;
            say(format_args!("{} boots this guest again", boot.display()));
        }
        let symbols = Symbols::new(guests.kernel, guests.programs, self.share.clone());
        let session = Session {
            machine,
            bundle,
            lock,
            timeout: self.timeout,
            input: self.input.clone(),
            verbosity: self.verbosity,
            debugger,
            show,
        };
        Ok(Outcome::new(
            session.run(Filter::new(symbols))?,
            self.timeout,
        ))
    }

    /// Checks all options that can be checked before the build.
    fn check(&self) -> Result<(), Failure> {
        if self.time == Time::Instructions && self.accel == Accel::Kvm {
            return Err(Failure::setup(
                "instructions can be counted under TCG only, not under KVM",
            ));
        }
        memory::mebibytes(&self.memory)?;
        for (key, value) in &self.options {
            let lines = key != COMMAND && value.contains('\n');
            if key.contains(['=', '\n']) || value.contains('\0') || lines {
                return Err(Failure::setup(format!(
                    "{key}: a line's end or a zero byte in an option"
                )));
            }
        }
        Ok(())
    }

    /// The lock on the shared directory, if there is one.
    fn lock(&self) -> Result<Option<Arc<Lock>>, Failure> {
        match (&self.lock, &self.share) {
            (Some(lock), _) => Ok(Some(lock.clone())),
            (None, Some(share)) => Lock::take(share).map(Arc::new).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Returns true if the guest needs that test program.
    fn has_test(&self, name: &str) -> bool {
        let on = self.options.get("test").is_some_and(|on| on == "1");
        let commands = self.options.get(COMMAND);
        on || commands.is_some_and(|text| text.contains(name))
            || self.tests.iter().any(|t| t == name)
    }

    fn pack(&self, guests: &Guests, swap: &Place) -> Result<Vec<u8>, Failure> {
        let mut bundle = Bundle::new();
        bundle.add_stripped("kernel", &guests.kernel)?;
        let mut options = self.options.clone();
        if self.input.is_piped() {
            options.insert("input".into(), "pipe".into());
        }
        if let Some(value) = swap.option() {
            // A test may have the device without its use.
            options.entry("swap".into()).or_insert_with(|| value.into());
        }
        let lines = options.iter().flat_map(|(key, value)| {
            let lines = value.split('\n');
            lines.map(move |line| format!("{key}={line}\n"))
        });
        bundle.add("options", lines.collect::<String>().as_bytes())?;
        for (name, path) in &guests.programs {
            // The guest keeps the bundle in its memory.
            let tests = !guests.tests.contains(name) || self.has_test(name);
            let swaps = name != SWAP_SERVER || swap.option().is_some();
            if path.exists() && tests && swaps {
                bundle.add_stripped(&format!("bin/{name}"), path)?;
            }
        }
        for (name, bytes) in &self.files {
            bundle.add(name, bytes)?;
        }
        bundle.finish()
    }
}

/// A guest's run, over.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The way in which the guest ended.
    pub end: End,
    /// QEMU's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The console output of the guest; empty when it was printed at once.
    pub console: String,
    /// The output of the guest to the second serial port.
    pub verdicts: String,
    /// The exit status the guest stopped the machine with.
    pub status: Option<u8>,
    last_lines: String,
    diagnostics: Vec<String>,
    timeout: Option<Duration>,
}

impl Outcome {
    fn new(record: Record, timeout: Option<Duration>) -> Outcome {
        let exit_code = match record.end {
            End::Exited(status) => status.code(),
            _ => None,
        };
        Outcome {
            end: record.end,
            exit_code,
            console: String::new(),
            status: judge::parse(&record.verdicts).exit,
            verdicts: record.verdicts,
            last_lines: record.last_lines,
            diagnostics: record.diagnostics,
            timeout,
        }
    }

    /// The report of the judge.
    pub fn report(&self) -> Report {
        judge::parse(&self.verdicts)
    }

    /// The exit status for the shell: the guest's own, or a failure that
    /// describes the end of the guest.
    pub fn status(&self) -> Result<u8, Failure> {
        let panic = self
            .verdicts
            .lines()
            .find_map(|line| line.strip_prefix("@panic "));
        let last = match self.last_lines.as_str() {
            "" => "it printed nothing".into(),
            lines => format!("its last lines:\n{lines}"),
        };
        match (self.end, self.status) {
            (End::TimedOut, _) => {
                let seconds = self.timeout.unwrap_or_default().as_secs_f32();
                Err(Failure {
                    status: status::TIMEOUT,
                    text: format!("the guest ran longer than {seconds} s; {last}"),
                })
            }
            (End::Left | End::OutputClosed, _) => Ok(0),
            (End::OutputFailed(why), _) => Err(Failure {
                status: status::OUTPUT,
                text: format!("standard output: {why}"),
            }),
            (End::Signal(signal), _) => Ok(128u8.saturating_add(signal as u8)),
            (End::Exited(_), _) if panic.is_some() => Err(Failure::guest(format!(
                "the guest stopped: {}",
                panic.unwrap_or_default()
            ))),
            (End::Exited(_), Some(status)) if self.exit_code == Some(EXIT_HALT) => Ok(status),
            (End::Exited(_), _) if self.no_memory().is_some() => Err(Failure::setup(format!(
                "the host has not that much memory for a guest: {}",
                self.no_memory().unwrap_or_default()
            ))),
            (End::Exited(how), _) => Err(Failure::guest(format!(
                "the guest ended without saying how it went: {}; {last}",
                self.silent_end(how)
            ))),
        }
    }

    fn no_memory(&self) -> Option<&str> {
        self.diagnostics.first().and_then(|line| no_memory(line))
    }

    /// Why a QEMU has ended whose guest has not said a status.
    fn silent_end(&self, how: ExitStatus) -> String {
        match (how.code(), self.diagnostics.as_slice()) {
            // With -no-reboot that is a reset.
            (Some(0), _) => "the machine was reset (a triple fault, or too little memory)".into(),
            (Some(code), [first, ..]) => format!("QEMU gave up with status {code}: {first}"),
            _ => format!("QEMU: {how}"),
        }
    }
}
