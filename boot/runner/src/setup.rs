//! What the machine must have: the bare-metal target and QEMU.

use crate::command::Verbosity;
use crate::failure::{Failure, say};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target all guest code is built for.
pub const TARGET: &str = "x86_64-unknown-none";
/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";

/// How to get QEMU where the runner cannot install it.
const QEMU_HELP: &str = "\
  Debian, Ubuntu:  sudo apt-get install -y qemu-system-x86
  Fedora:          sudo dnf install -y qemu-system-x86-core
  Arch:            sudo pacman -S --needed qemu-system-x86
  openSUSE:        sudo zypper install -y qemu-x86
  Alpine:          sudo apk add qemu-system-x86_64
  NixOS:           nix-shell -p qemu
  macOS:           brew install qemu";

/// Provides what is missing; silent when nothing is.
pub fn provide(verbosity: Verbosity) -> Result<(), Failure> {
    provide_target(verbosity)?;
    provide_qemu(verbosity)
}

/// Makes sure that the compiler can build for [`TARGET`].
pub fn provide_target(verbosity: Verbosity) -> Result<(), Failure> {
    if target_installed(verbosity) {
        return Ok(());
    }
    say(format_args!("adding the target {TARGET} by rustup"));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    verbosity.output(&mut rustup).map_err(|failure| {
        Failure::setup(format!(
            "the compiler has no target {TARGET}, and adding it failed; try: rustup target add {TARGET}\n{failure}"
        ))
    })?;
    Ok(())
}

fn target_installed(verbosity: Verbosity) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut ask = Command::new(rustc);
    ask.args(["--print", "target-libdir", "--target", TARGET]);
    verbosity.output(&mut ask).is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        Path::new(folder.trim()).is_dir()
    })
}

/// Makes sure that there is a QEMU for x86_64.
pub fn provide_qemu(verbosity: Verbosity) -> Result<(), Failure> {
    if in_path(QEMU).is_some() {
        return Ok(());
    }
    let debian = Path::new("/etc/debian_version").exists() && in_path("apt-get").is_some();
    if !debian || !rustix::process::geteuid().is_root() {
        return Err(Failure::setup(format!(
            "{QEMU} is not installed; install it by\n{QEMU_HELP}"
        )));
    }
    say("installing QEMU by apt-get, about a minute");
    let update = apt(verbosity, &["update"]);
    let install = apt(
        verbosity,
        &[
            "install",
            "-y",
            "--no-install-recommends",
            "qemu-system-x86",
        ],
    );
    if in_path(QEMU).is_some() {
        return Ok(());
    }
    let reason = install.err().or(update.err());
    let reason = reason.map_or_else(|| format!("no {QEMU} in PATH afterwards"), |f| f.text);
    Err(Failure::setup(format!(
        "apt-get could not install QEMU: {reason}\ninstall it by\n{QEMU_HELP}"
    )))
}

fn apt(verbosity: Verbosity, words: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("apt-get");
    command
        .arg("-q")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    verbosity.output(&mut command).map(|_| ())
}

/// The first program called `name` in `PATH`.
fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
