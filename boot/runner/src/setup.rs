//! The requirements on this machine: a compiler for the bare-metal target,
//! QEMU, and gdb when it is used.

use crate::command::Verbosity;
use crate::failure::{Failure, say};
use crate::gdb::GDB;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The target all guest code is built for.
pub const TARGET: &str = "x86_64-unknown-none";
/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";

/// Advice for installing QEMU where the runner cannot do it.
const QEMU_HELP: &str = "\
  Debian, Ubuntu:  sudo apt-get install -y qemu-system-x86
  Fedora:          sudo dnf install -y qemu-system-x86-core
  Arch:            sudo pacman -S --needed qemu-system-x86
  openSUSE:        sudo zypper install -y qemu-x86
  Alpine:          sudo apk add qemu-system-x86_64
  NixOS:           nix-shell -p qemu
  macOS:           brew install qemu";

/// A test of [`Toolchain::Debian`]: if set, the runner acts as if rustup had no
/// target and could not get one.
const HIDE_TARGET: &str = "DORMOUSE_WITHOUT_TARGET";

/// Debian's compiler, with the source of the library for all targets.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "ld.lld";
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld"];

/// Installs the missing parts; silent if there are none.
pub fn provide(verbosity: Verbosity) -> Result<(), Failure> {
    provide_target(verbosity)?;
    provide_qemu(verbosity)
}

/// The compiler of guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler that compiled the runner; it has the target.
    Own,
    /// Debian's, where rustup cannot add the target: the library is compiled
    /// with the guest.
    Debian,
}

impl Toolchain {
    /// The program to call instead of `own`.
    pub fn cargo(self, own: OsString) -> OsString {
        match self {
            Toolchain::Own => own,
            Toolchain::Debian => DEBIAN_CARGO.into(),
        }
    }

    /// Completes a `cargo build` for [`TARGET`] with these flags for rustc.
    pub fn finish(self, build: &mut Command, flags: &str) {
        match self {
            Toolchain::Own => build.env("RUSTFLAGS", flags),
            Toolchain::Debian => build
                .arg("-Zbuild-std=core,alloc,compiler_builtins")
                .arg("-Zbuild-std-features=compiler-builtins-mem")
                .env("RUSTC", DEBIAN_RUSTC)
                // Debian's stable cargo accepts -Z only in this way; nothing
                // else here needs it.
                .env("RUSTC_BOOTSTRAP", "1")
                .env(
                    "RUSTFLAGS",
                    format!("{flags} -Clinker={DEBIAN_LINKER} -Clinker-flavor={DEBIAN_LINKER}"),
                ),
        };
    }
}

/// Makes sure that there is a compiler for [`TARGET`] and returns it; checks
/// once in a process.
pub fn provide_target(verbosity: Verbosity) -> Result<Toolchain, Failure> {
    static FOUND: OnceLock<Toolchain> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(*found);
    }
    let hidden = env::var_os(HIDE_TARGET).is_some();
    let found = if !hidden && target_installed(verbosity) {
        Toolchain::Own
    } else if debian_compiles(verbosity) {
        // An earlier run installed it after rustup had failed.
        Toolchain::Debian
    } else {
        match add_target(verbosity, hidden) {
            Ok(()) => Toolchain::Own,
            Err(failure) => install_debian(verbosity, failure)?,
        }
    };
    Ok(*FOUND.get_or_init(|| found))
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

fn add_target(verbosity: Verbosity, hidden: bool) -> Result<(), Failure> {
    if hidden {
        return Err(Failure::setup(format!("{HIDE_TARGET} is set")));
    }
    say(format_args!("adding the target {TARGET} by rustup"));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    verbosity.output(&mut rustup).map(|_| ())
}

/// Returns true if Debian's compiler is installed with all its parts.
fn debian_compiles(verbosity: Verbosity) -> bool {
    if !Path::new(DEBIAN_CARGO).is_file() || in_path(DEBIAN_LINKER).is_none() {
        return false;
    }
    let mut ask = Command::new(DEBIAN_RUSTC);
    ask.args(["--print", "sysroot"]);
    verbosity.output(&mut ask).is_ok_and(|output| {
        let root = String::from_utf8_lossy(&output.stdout);
        let source = Path::new(root.trim()).join("lib/rustlib/src/rust/library/core");
        source.is_dir()
    })
}

/// Falls back to Debian's compiler after rustup could not add the target, for
/// the given reason.
fn install_debian(verbosity: Verbosity, reason: Failure) -> Result<Toolchain, Failure> {
    let packages = DEBIAN_PACKAGES.join(" ");
    let help = format!(
        "the compiler has no target {TARGET}, and adding it failed; try: rustup target add {TARGET}\n\
         or, on Debian: sudo apt-get install -y {packages}\n{reason}"
    );
    if !may_install() {
        return Err(Failure::setup(help));
    }
    say(format_args!(
        "{reason}; installing Debian's compiler instead"
    ));
    let installed = install(verbosity, DEBIAN_PACKAGES);
    if debian_compiles(verbosity) {
        return Ok(Toolchain::Debian);
    }
    let why = installed.map_or_else(|f| f.text, |()| "it is not complete".into());
    Err(Failure::setup(format!("{help}\n{why}")))
}

/// Makes sure that there is a QEMU for x86_64.
pub fn provide_qemu(verbosity: Verbosity) -> Result<(), Failure> {
    provide_program(verbosity, QEMU, "qemu-system-x86", QEMU_HELP)
}

/// Makes sure that there is a gdb.
pub fn provide_gdb(verbosity: Verbosity) -> Result<(), Failure> {
    let help = "  Debian, Ubuntu:  sudo apt-get install -y gdb";
    provide_program(verbosity, GDB, "gdb", help)
}

fn provide_program(
    verbosity: Verbosity,
    program: &str,
    package: &str,
    help: &str,
) -> Result<(), Failure> {
    if in_path(program).is_some() {
        return Ok(());
    }
    if !may_install() {
        return Err(Failure::setup(format!(
            "{program} is not installed; install it by\n{help}"
        )));
    }
    say(format_args!(
        "installing {package} by apt-get, about a minute"
    ));
    let installed = install(verbosity, &[package]);
    if in_path(program).is_some() {
        return Ok(());
    }
    let reason = installed.map_or_else(|f| f.text, |()| "it is not in PATH afterwards".into());
    Err(Failure::setup(format!(
        "apt-get could not install {program}: {reason}\ninstall it by\n{help}"
    )))
}

/// Returns true if packages can be installed without a password.
fn may_install() -> bool {
    let debian = Path::new("/etc/debian_version").exists() && in_path("apt-get").is_some();
    debian && rustix::process::geteuid().is_root()
}

fn install(verbosity: Verbosity, packages: &[&str]) -> Result<(), Failure> {
    // A failed update is no error, because the old list may do.
    let update = apt(verbosity, &["update"]);
    let words = ["install", "-y", "--no-install-recommends"];
    let install = apt(verbosity, &[&words, packages].concat());
    install.map_err(|failure| update.err().unwrap_or(failure))
}

fn apt(verbosity: Verbosity, words: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("apt-get");
    command
        // Another package manager at work is waited for.
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn build(toolchain: Toolchain) -> (String, Vec<String>) {
        let mut command = Command::new(toolchain.cargo("cargo".into()));
        command.arg("build");
        toolchain.finish(&mut command, "-Ca");
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let set = command
            .get_envs()
            .map(|(name, value)| format!("{}={}", name.display(), value.unwrap().display()));
        (words.join(" "), set.collect())
    }

    #[test]
    fn the_own_compiler_builds_as_it_is() {
        let (words, set) = build(Toolchain::Own);
        assert_eq!(words, "cargo build");
        assert_eq!(set, ["RUSTFLAGS=-Ca"]);
    }

    #[test]
    fn debians_compiler_builds_the_library_too() {
        let (words, set) = build(Toolchain::Debian);
        assert_eq!(
            words,
            "/usr/bin/cargo build -Zbuild-std=core,alloc,compiler_builtins \
             -Zbuild-std-features=compiler-builtins-mem"
        );
        assert!(set.contains(&"RUSTC=/usr/bin/rustc".into()));
        assert!(set.contains(&"RUSTC_BOOTSTRAP=1".into()));
        let flags = "RUSTFLAGS=-Ca -Clinker=ld.lld -Clinker-flavor=ld.lld";
        assert!(set.contains(&flags.into()));
    }
}
