//! The command line.

use crate::command::Verbosity;
use crate::failure::Failure;
use crate::guest::{Guest, MEMORY};
use crate::qemu::Accel;
use crate::session::Input;
use crate::{guests, setup, share};
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
#[command(name = "dormouse", version)]
pub struct Cli {
    #[command(flatten)]
    boot: BootArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Args)]
struct BootArgs {
    /// Run these commands, separated by `;`, and power off.
    #[arg(short = 'c', value_name = "COMMANDS")]
    commands: Option<String>,
    /// Directory of the host that the guest sees as /n/host [default: a sample
    /// in cargo's target folder, with a sparse file of 1 GiB].
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// Memory of the guest.
    #[arg(long, value_name = "SIZE", default_value = MEMORY)]
    mem: String,
    /// Turn deferral off: every read and write moves all of its data at once.
    #[arg(long)]
    eager: bool,
    /// Let the guest's time count its instructions: figures that repeat.
    #[arg(long)]
    icount: bool,
    /// Wait for gdb before the first instruction, and print what to type.
    #[arg(long)]
    gdb: bool,
    /// End the guest after this many seconds, showing its last lines.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Who executes the guest's instructions.
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    /// Print the commands that are run, and what the kernel reports.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Provide what is missing on this machine (target, QEMU), no more.
    Setup,
    /// Set up and build the guest, but do not boot it.
    Build,
}

impl Cli {
    /// Does what was asked; the exit status.
    pub fn execute(self) -> Result<u8, Failure> {
        let verbosity = if self.boot.verbose {
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
            None => self.boot.guest(verbosity)?.attach()?.status(),
        }
    }
}

impl BootArgs {
    fn guest(self, verbosity: Verbosity) -> Result<Guest, Failure> {
        let share = match self.share {
            Some(directory) => directory,
            None => share::sample(&guests::target_dir())?,
        };
        let mut guest = Guest::new()
            .share(share)
            .mem(self.mem)
            .eager(self.eager)
            .icount(self.icount)
            .gdb(self.gdb)
            .accel(self.accel)
            .verbosity(verbosity)
            .input(Input::Person);
        if verbosity == Verbosity::Commands {
            guest = guest.option("log", "info");
        }
        if let Some(commands) = self.commands {
            guest = guest.command(commands);
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
