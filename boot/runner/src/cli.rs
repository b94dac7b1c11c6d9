//! The command line.

use crate::command::Verbosity;
use crate::failure::Failure;
use crate::guest::{Debugger, Guest, MEMORY};
use crate::qemu::Accel;
use crate::session::Input;
use crate::{checkout, guests, own, setup, share, terminal};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Sets up, builds and boots Dormouse in QEMU.
///
/// Without -c it shows the main job done on a real file and gives a prompt.
/// Input may be a pipe; Ctrl-A x leaves, `halt` or the end of input stops the
/// guest. The exit status is that of the last command; 2: not started, 124:
/// too slow, 125: the guest broke down.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    boot: BootArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Print the commands that are run, and what the kernel reports.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Args)]
struct BootArgs {
    /// Run these commands, separated by `;`, and power off.
    #[arg(short = 'c', value_name = "COMMANDS")]
    commands: Option<String>,
    /// Wait for gdb before the first instruction, and print what to type.
    #[arg(long)]
    gdb: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct MachineArgs {
    /// Directory of the host that the guest sees as /n/host [default: a sample
    /// in cargo's target folder, with a sparse file of 1 GiB].
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// What is asked of the server of /n/host, for example `break`,
    /// `check=always` or `store=DIR`; docs/protocol.md has them all.
    #[arg(long, value_name = "OPTION,...", default_value = "")]
    host_options: String,
    /// Memory of the guest.
    #[arg(long, value_name = "SIZE", default_value = MEMORY)]
    mem: String,
    /// Turn deferral off: every read and write moves all of its data at once.
    #[arg(long)]
    eager: bool,
    /// Let the guest's time count its instructions: figures that repeat.
    #[arg(long)]
    icount: bool,
    /// End the guest after this many seconds, showing its last lines.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Who executes the guest's instructions.
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Provide what is missing on this machine (target, QEMU), no more.
    Setup,
    /// Set up and build the guest, but do not boot it.
    Build,
    /// Boot a guest in gdb, halted, with the symbols of loader and kernel.
    ///
    /// Ctrl-C stops the guest and gives gdb's prompt; `user NAME` adds the
    /// symbols of a program. The guest's console can be seen but not typed to:
    /// for that use --gdb and another terminal.
    Gdb {
        #[command(flatten)]
        boot: BootArgs,
        /// Words for gdb, after `--`: for example `-x FILE`.
        #[arg(last = true, value_name = "WORDS")]
        words: Vec<String>,
    },
    /// Run your own test programs: each must end with status 0 and keep no
    /// memory, file, snapshot, process or channel. [exit status: 0 if all do]
    Test {
        #[command(flatten)]
        machine: MachineArgs,
        /// Static programs for Dormouse; see docs/first-program.md.
        #[arg(required = true, value_name = "PROGRAM")]
        programs: Vec<PathBuf>,
    },
    /// Run programs written as text, operations on files and memory, and
    /// compare each step with plain byte arrays; see docs/contract.md. [exit
    /// status: 0 if all agree]
    Replay {
        #[command(flatten)]
        machine: MachineArgs,
        /// Texts like those in tests/model/programs.
        #[arg(required = true, value_name = "FILE")]
        texts: Vec<PathBuf>,
    },
}

/// For each program of a test, unless --timeout says otherwise.
const TEST_SECONDS: u64 = 60;

impl Cli {
    /// Does what was asked; the exit status.
    pub fn execute(self) -> Result<u8, Failure> {
        let verbosity = if self.verbose {
            Verbosity::Commands
        } else {
            Verbosity::Normal
        };
        match self.verb {
            Some(Verb::Setup) => setup::provide(verbosity).map(|()| 0),
            Some(Verb::Build) => {
                setup::provide_target(verbosity)?;
                guests::build(verbosity).map(|_| 0)
            }
            Some(Verb::Gdb { boot, words }) => {
                let guest = boot.guest(verbosity)?.input(Input::None);
                guest.gdb(Debugger::Start(words)).attach()?.status()
            }
            Some(Verb::Test { machine, programs }) => {
                own::run(machine.limited(verbosity, programs.len())?, &programs)
            }
            Some(Verb::Replay { machine, texts }) => {
                own::replay(machine.limited(verbosity, texts.len())?, &texts)
            }
            None => self.boot.guest(verbosity)?.attach()?.status(),
        }
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
    /// One that is ended if it takes too long for so many programs.
    fn limited(self, verbosity: Verbosity, programs: usize) -> Result<Guest, Failure> {
        let guest = self.guest(verbosity)?;
        if guest.is_limited() {
            return Ok(guest);
        }
        let limit = Duration::from_secs(TEST_SECONDS).saturating_mul(programs as u32);
        Ok(guest.timeout(limit))
    }

    fn guest(self, verbosity: Verbosity) -> Result<Guest, Failure> {
        let share = match self.share {
            Some(directory) => directory,
            None => share::sample(&checkout::target_dir()?)?,
        };
        let mut guest = Guest::new()
            .share(share)
            .mem(self.mem)
            .eager(self.eager)
            .icount(self.icount)
            .accel(self.accel)
            .option("host", self.host_options)
            .verbosity(verbosity);
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
}
