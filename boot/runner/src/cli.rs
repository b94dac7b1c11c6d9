//! The command line.

use crate::command::Verbosity;
use crate::failure::Failure;
use crate::guest::{Debugger, Guest, MEMORY};
use crate::guests::Profile;
use crate::profile::{self, Part};
use crate::qemu::Accel;
use crate::session::Input;
use crate::swap::{self, Swap};
use crate::{checkout, curve, guests, own, setup, share, terminal, trace};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Builds Dormouse and boots it in QEMU.
///
/// Without -c it runs the demo and starts a shell. Input may be a pipe. Ctrl-A x
/// leaves; `halt` or the end of the input stops the guest. The exit status is
/// that of the last command; 2: not started, 124: timeout, 125: the guest broke
/// down.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version)]
pub struct Cli {
    #[command(flatten)]
    boot: BootArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Print the commands that are executed, and the kernel's reports.
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// Global options: they may come before or after a subcommand.
#[derive(Debug, Args)]
struct BootArgs {
    /// Run these commands, a script of one line or more, and power off.
    #[arg(short = 'c', value_name = "COMMANDS", global = true)]
    commands: Option<String>,
    /// Wait for gdb before the first instruction, and print the command to
    /// type.
    #[arg(long, global = true)]
    gdb: bool,
    /// Write what the guest does, page by page and message by message, into FILE: a
    /// page with pictures (.html), events for Perfetto (.json, .pftrace), folded stacks of
    /// its page faults (.folded), or an animation of one buffer and its file (.svg); may be
    /// repeated. Implies --icount.
    #[arg(long, value_name = "FILE", global = true)]
    trace: Vec<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Default, PartialEq, Args)]
struct MachineArgs {
    /// Directory of the host that the guest sees as /n/host [default: a sample
    /// in cargo's target folder, with a sparse file of 1 GiB; another one for each
    /// guest at the same time].
    #[arg(long, value_name = "DIR", global = true)]
    share: Option<PathBuf>,
    /// Options for the server of /n/host, for example `break`, `check=always`
    /// or `store=DIR`; docs/protocol.md lists them.
    #[arg(long, value_name = "OPTION,...", global = true)]
    host_options: Option<String>,
    /// Where the guest's memory goes that does not fit into `--mem`: an image of
    /// SIZE that is gone afterwards, DIR on the host, or `none` [default: 4G, of
    /// which the host stores only what is used].
    #[arg(long, value_name = "SIZE|DIR|none", global = true)]
    swap: Option<String>,
    /// Memory of the guest: 20M, 1.5G, ... [default: 2G].
    #[arg(long, value_name = "SIZE", global = true)]
    mem: Option<String>,
    /// Optimise the guest as a whole, as `cargo bench` does: built in minutes.
    #[arg(long, global = true)]
    release: bool,
    /// Turn deferral off: every read and write moves all of its data.
    #[arg(long, global = true)]
    eager: bool,
    /// Evict every page that can leave memory as soon as it may, to find what relies
    /// on pages that stay.
    #[arg(long, global = true)]
    pressure: bool,
    /// Pages of each part of a program that are loaded before it runs, or `all`
    /// [default: 0, each page is loaded when it is touched].
    #[arg(long, value_name = "PAGES|all", value_parser = prepage, global = true)]
    prepage: Option<String>,
    /// Processes that there may be, 64 to 1024 [default: 256, or more with more memory].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(64..=1024), global = true)]
    processes: Option<u16>,
    /// Let the guest's time count its instructions: figures that repeat.
    #[arg(long, global = true)]
    icount: bool,
    /// One more word for QEMU's command line; may be repeated.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true, global = true)]
    qemu: Vec<String>,
    /// Write the loader, the bundle and a script with QEMU's command, which boots the
    /// guest again without all this, into DIR.
    #[arg(long, value_name = "DIR", global = true)]
    keep_image: Option<PathBuf>,
    /// End the guest after this many seconds, showing its last lines.
    #[arg(long, value_name = "SECONDS", global = true)]
    timeout: Option<f64>,
    /// The accelerator that executes the guest's instructions [default: tcg].
    #[arg(long, value_enum, global = true)]
    accel: Option<Accel>,
}

/// The value of `--prepage`.
fn prepage(text: &str) -> Result<String, String> {
    match text == "all" || text.parse::<u64>().is_ok() {
        true => Ok(text.to_string()),
        false => Err("neither a number of pages nor `all`".to_string()),
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install only the missing parts (target, QEMU) on this machine.
    Setup,
    /// Build the guest, but do not boot it.
    Build,
    /// Boot a guest in gdb, halted, with the symbols of loader and kernel.
    ///
    /// Ctrl-C stops the guest and gives gdb's prompt; `dm attach NAME` adds the
    /// symbols of a program, and `help dm` lists the commands that show
    /// processes, segments and pages (docs/debugging.md). The guest's console
    /// can be seen but not typed to: for that use --gdb and another terminal.
    Gdb {
        /// Words for gdb, after `--`: for example `-x FILE`.
        #[arg(last = true, value_name = "WORDS")]
        words: Vec<String>,
    },
    /// Run your own test programs: each must exit with status 0 and leak no
    /// memory, file, snapshot, process or channel. [exit status: 0 if all do]
    Test {
        /// Static programs for Dormouse; see docs/first-program.md.
        #[arg(required = true, value_name = "PROGRAM")]
        programs: Vec<PathBuf>,
    },
    /// Count the guest's instructions by function and program while it runs a command;
    /// without a command, from the firmware's first instruction to the end of `true`.
    ///
    /// Prints tables, and writes folded stacks for a flame graph to
    /// `target/profile.folded`. Implies --icount.
    Profile {
        /// The command, one program with its arguments.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "COMMAND"
        )]
        words: Vec<String>,
    },
    /// Measure what a read costs by the part of its pages that is touched, deferred and
    /// eager; print the figures, and draw them into `target/curve.svg`.
    ///
    /// Implies --icount. With --release, the figures are those of `cargo bench`.
    Curve,
    /// Run scenario files, operations on files and memory, and compare each
    /// step with plain byte arrays; see docs/contract.md. [exit status: 0 if
    /// all agree]
    Replay {
        /// Scenario files like those in tests/model/programs.
        #[arg(required = true, value_name = "FILE")]
        texts: Vec<PathBuf>,
    },
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Verb::Setup => "setup",
            Verb::Build => "build",
            Verb::Gdb { .. } => "gdb",
            Verb::Test { .. } => "test",
            Verb::Profile { .. } => "profile",
            Verb::Curve => "curve",
            Verb::Replay { .. } => "replay",
        }
    }
}

/// Time limit for each program of a test, unless --timeout sets another.
const TEST_SECONDS: u64 = 60;

impl Cli {
    /// Executes the command; returns the exit status.
    pub fn execute(self) -> Result<u8, Failure> {
        let verbosity = if self.verbose {
            Verbosity::Commands
        } else {
            Verbosity::Normal
        };
        self.check()?;
        let Cli { boot, verb, .. } = self;
        match verb {
            Some(Verb::Setup) => setup::provide(verbosity).map(|()| 0),
            Some(Verb::Build) => {
                setup::provide_target(verbosity)?;
                guests::build(boot.machine.profile(), verbosity).map(|_| 0)
            }
            Some(Verb::Gdb { words }) => {
                let guest = boot.guest(verbosity)?.input(Input::None);
                guest.gdb(Debugger::Start(words)).attach()?.status()
            }
            Some(Verb::Test { programs }) => {
                let machine = boot.machine;
                own::run(machine.limited(verbosity, programs.len())?, &programs)
            }
            Some(Verb::Profile { words }) => boot.machine.profile_of(verbosity, &words),
            Some(Verb::Curve) => curve::run(boot.machine.guest(verbosity)?, |guest| guest.run()),
            Some(Verb::Replay { texts }) => {
                let machine = boot.machine;
                own::replay(machine.limited(verbosity, texts.len())?, &texts)
            }
            None if boot.trace.is_empty() => boot.guest(verbosity)?.attach()?.status(),
            None => {
                let files = boot.trace.clone();
                trace::run(boot.guest(verbosity)?, &files, Guest::attach)?
                    .0
                    .status()
            }
        }
    }

    /// Refuses options that have no meaning for the subcommand.
    fn check(&self) -> Result<(), Failure> {
        let (boot, machine) = (&self.boot, &self.boot.machine);
        let built = MachineArgs {
            release: machine.release,
            ..MachineArgs::default()
        };
        let Some(verb) = &self.verb else {
            return Ok(());
        };
        let wrong = match verb {
            Verb::Setup if *machine != MachineArgs::default() => "options of a guest",
            Verb::Build if *machine != built => "options of a guest but --release",
            _ if boot.gdb => "--gdb",
            _ if !boot.trace.is_empty() => "--trace",
            Verb::Gdb { .. } => return Ok(()),
            _ if boot.commands.is_some() => "-c",
            _ => return Ok(()),
        };
        Err(Failure::setup(format!("{} takes no {wrong}", verb.name())))
    }
}

impl BootArgs {
    fn guest(self, verbosity: Verbosity) -> Result<Guest, Failure> {
        let mut guest = self.machine.guest(verbosity)?.input(Input::Person);
        if let Some(size) = terminal::size() {
            guest = guest.option("terminal", size);
        }
        if self.gdb {
            guest = guest.gdb(Debugger::Wait);
        }
        if let Some(commands) = self.commands {
            guest = guest.command(commands);
        }
        Ok(guest)
    }
}

impl MachineArgs {
    /// A guest with a time limit for that many programs.
    fn limited(self, verbosity: Verbosity, programs: usize) -> Result<Guest, Failure> {
        let guest = self.guest(verbosity)?;
        if guest.is_limited() {
            return Ok(guest);
        }
        let limit = Duration::from_secs(TEST_SECONDS).saturating_mul(programs as u32);
        Ok(guest.timeout(limit))
    }

    /// Prints the profile of a command.
    fn profile_of(self, verbosity: Verbosity, words: &[String]) -> Result<u8, Failure> {
        let how = (
            self.profile(),
            match words {
                [] => Part::All,
                _ => Part::Marked,
            },
            verbosity,
        );
        let command = match words {
            [] => "true".into(),
            words => format!("count {}", words.join(" ")),
        };
        let own = profile::shared_programs(self.share.as_deref(), words);
        let guest = self.guest(verbosity)?.command(command);
        let (outcome, profiled) = profile::run(guest, how, &own, |guest| guest.attach())?;
        let status = outcome.status()?;
        print!("\n{profiled}");
        profile::save(&profiled)?;
        Ok(status)
    }

    fn profile(&self) -> Profile {
        match self.release {
            true => Profile::Release,
            false => Profile::Quick,
        }
    }

    fn guest(self, verbosity: Verbosity) -> Result<Guest, Failure> {
        let swap = match &self.swap {
            Some(text) => Swap::parse(text)?,
            None => Swap::Size(swap::SIZE),
        };
        let mut guest = Guest::new()
            .swap(swap)
            .profile(self.profile())
            .mem(self.mem.as_deref().unwrap_or(MEMORY))
            .eager(self.eager)
            .pressure(self.pressure)
            .option("prepage", self.prepage.unwrap_or_default())
            .icount(self.icount)
            .accel(self.accel.unwrap_or_default())
            .qemu(self.qemu)
            .option("host", self.host_options.unwrap_or_default())
            .verbosity(verbosity);
        guest = match self.share {
            Some(directory) => guest.share(directory),
            None => {
                let (directory, lock) = share::sample(&checkout::target_dir()?)?;
                guest.share_locked(directory, lock)
            }
        };
        if let Some(most) = self.processes {
            guest = guest.option("processes", most.to_string());
        }
        if let Some(directory) = self.keep_image {
            guest = guest.keep_image(directory);
        }
        if verbosity == Verbosity::Commands {
            guest = guest.option("log", "info");
        }
        if let Some(seconds) = self.timeout {
            let timeout = Duration::try_from_secs_f64(seconds).map_err(|_| {
                Failure::setup(format!("--timeout {seconds}: not a number of seconds"))
            })?;
            guest = guest.timeout(timeout);
        }
        Ok(guest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    fn refused(line: &str) -> Option<String> {
        let words = ["dormouse"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(words) {
            Ok(cli) => cli.check().err().map(|failure| failure.text),
            Err(error) => Some(error.to_string()),
        }
    }

    #[test]
    fn options_of_a_guest_come_before_a_subcommand_or_after_it() {
        for line in [
            "--timeout 5 test hello",
            "test --timeout 5 hello",
            "test hello --timeout 5",
            "--eager replay --mem 1G file",
            "gdb --share /tmp -c ls -- -x file",
            "-c ls gdb",
            "--release build",
            "--gdb -c ls",
            "-v setup",
            "--release profile ls -l /n/host",
            "--qemu -d --qemu int --keep-image dir -c ls",
            "profile",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
    }

    #[test]
    fn options_that_mean_nothing_for_a_subcommand_are_refused() {
        for (line, why) in [
            ("-c ls test hello", "test takes no -c"),
            ("test hello --gdb", "test takes no --gdb"),
            ("gdb --gdb", "gdb takes no --gdb"),
            ("setup -c ls", "setup takes no -c"),
            ("setup --mem 1G", "setup takes no options of a guest"),
            (
                "build --eager",
                "build takes no options of a guest but --release",
            ),
            ("--host-optoins break", "unexpected argument"),
        ] {
            let said = refused(line).unwrap_or_default();
            assert!(said.contains(why), "{line}: {said}");
        }
    }
}
