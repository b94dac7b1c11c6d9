//! An image to boot without the runner: loader, bundle, and a script with QEMU's command.

use crate::command;
use crate::failure::{Context, Failure};
use crate::qemu::{self, Machine, Names};
use crate::swap::Place;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const LOADER: &str = "loader";
const BUNDLE: &str = "bundle";
const SWAP: &str = "swap";
/// The script.
const BOOT: &str = "boot";

/// Writes all that `machine` needs into a directory, which is made. Returns the script.
///
/// # Errors
/// The directory or a file cannot be written.
pub fn keep(directory: &Path, machine: &Machine, bundle: &[u8]) -> Result<PathBuf, Failure> {
    let about = || format!("image {}", directory.display());
    let script = script(machine)?;
    let boot = directory.join(BOOT);
    let write = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::copy(&machine.loader, directory.join(LOADER))?;
        fs::write(directory.join(BUNDLE), bundle)?;
        fs::write(&boot, script)?;
        fs::set_permissions(&boot, Permissions::from_mode(0o755))
    };
    write().context(about)?;
    Ok(boot)
}

fn script(machine: &Machine) -> Result<String, Failure> {
    let mut lines = String::from(
        "#!/bin/sh\n# Boots Dormouse. Ctrl-A x leaves.\ncd \"$(dirname \"$0\")\" || exit\n",
    );
    let mut names = Names {
        bundle: BUNDLE.into(),
        verdicts: "/dev/null".into(),
        console: vec!["-serial", "mon:stdio"],
        swap: None,
    };
    if let Place::Image(image) = &machine.swap {
        let size = image.metadata().context(|| "the swap image".into())?.len();
        lines += &format!("truncate -s {size} {SWAP} || exit\n");
        names.swap = Some(SWAP.into());
    }
    let mut machine = Machine {
        loader: LOADER.into(),
        gdb: None,
        plugin: None,
        ..machine.clone()
    };
    if let Some(share) = &machine.share {
        let whole = fs::canonicalize(share).context(|| share.display().to_string())?;
        machine.share = Some(whole);
    }
    let command = qemu::command(&machine, &names)?;
    Ok(lines + &format!("exec {}\n", command::line(&command)))
}
