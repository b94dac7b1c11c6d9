//! The files for debugging a guest with gdb: a socket, and a script that names
//! the symbols and the commands of `boot/gdb`.
//!
//! They lie in a temporary folder that is removed when the guest ends. The path
//! of the script is all that a user has to type.

use crate::checkout;
use crate::failure::{Context, Failure};
use crate::guests::Guests;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

/// The debugger's program.
pub const GDB: &str = "gdb";

/// The folder for one guest, removed when dropped.
#[derive(Debug)]
pub struct Gdb {
    folder: TempDir,
}

impl Gdb {
    /// Makes the folder and the script for these symbols, and those of the programs in
    /// the shared directory.
    pub fn prepare(guests: &Guests, share: Option<&Path>) -> Result<Gdb, Failure> {
        let commands = checkout::workspace()?.join("boot/gdb");
        let make = || -> std::io::Result<Gdb> {
            // Write access to the socket controls the guest.
            let mine = Permissions::from_mode(0o700);
            let mut folder = tempfile::Builder::new();
            let folder = folder.prefix("dormouse-gdb-").permissions(mine).tempdir()?;
            let programs = folder.path().join("bin");
            fs::create_dir(&programs)?;
            for (name, path) in &guests.programs {
                symlink(path, programs.join(name))?;
            }
            // Plain names, which need no quotes in a script.
            symlink(&commands, folder.path().join("commands"))?;
            if let Some(share) = share {
                symlink(share.canonicalize()?, folder.path().join("share"))?;
            }
            let text = script(folder.path(), &guests.kernel, &guests.loader);
            let gdb = Gdb { folder };
            fs::write(gdb.script(), text)?;
            Ok(gdb)
        };
        make().context(|| "cannot make a directory for gdb".into())
    }

    /// The socket on which QEMU listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn script(&self) -> PathBuf {
        self.folder.path().join("start.gdb")
    }

    /// The command to type.
    pub fn line(&self) -> String {
        format!("{GDB} -x {}", self.script().display())
    }

    /// A gdb that executes the script, then `words`. From now on Ctrl-C is for
    /// gdb, not for the runner.
    pub fn command(&self, words: &[String]) -> Result<Command, Failure> {
        let ignored = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, ignored)
            .context(|| "cannot leave Ctrl-C to gdb".into())?;
        let mut gdb = Command::new(GDB);
        gdb.arg("-q").arg("-x").arg(self.script()).args(words);
        Ok(gdb)
    }
}

/// Names the symbols and the socket to gdb. The architecture comes first,
/// because the machine starts in 32-bit mode and gdb would adopt that.
fn script(folder: &Path, kernel: &Path, loader: &Path) -> String {
    let mut script = String::from("set confirm off\nset architecture i386:x86-64\n");
    let folder = folder.display();
    let _ = writeln!(script, "file \"{}\"", kernel.display());
    let _ = writeln!(script, "add-symbol-file \"{}\"", loader.display());
    // All programs are linked at the same address, so gdb gets one at a time.
    let _ = writeln!(
        script,
        "define user\nadd-symbol-file \"{folder}/bin/$arg0\"\nend"
    );
    script += "document user\nuser NAME: adds the symbols of the program /bin/NAME, for a gdb without Python.\n\
               All programs lie at the same address: a breakpoint in one stops every\n\
               process that gets there. Forget the symbols by: remove-symbol-file -a 0x400000\nend\n";
    // The loader fills memory after gdb has connected, so software breakpoints
    // in it would be lost.
    script += "echo Use hbreak for breakpoints; dm attach NAME takes up a program, help dm explains the rest.\\n\n";
    let _ = writeln!(script, "target remote {folder}/socket");
    // Last: a gdb without Python says so here, and does the rest all the same.
    let _ = writeln!(script, "source {folder}/commands/start.py");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_says_the_architecture_before_it_connects() {
        let script = script(
            Path::new("/f"),
            Path::new("/a b/kernel"),
            Path::new("/loader"),
        );
        let place = |text: &str| script.find(text).unwrap_or_else(|| panic!("no {text}"));
        assert!(place("set architecture") < place("target remote /f/socket"));
        assert!(script.contains("file \"/a b/kernel\"\n"));
        assert!(script.contains("add-symbol-file \"/f/bin/$arg0\"\n"));
        assert!(script.ends_with("source /f/commands/start.py\n"));
    }

    #[test]
    fn nothing_is_left_behind() {
        let gdb = Gdb::prepare(&Guests::default(), None).unwrap();
        let folder = gdb.folder.path().to_path_buf();
        assert!(gdb.script().is_file());
        drop(gdb);
        assert!(!folder.exists());
    }
}
