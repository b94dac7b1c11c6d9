//! Builds the guest: loader, kernel and programs, in one call of cargo.
//!
//! Each binary of a package that uses the runtime (`userland/lib/rt`) becomes a
//! program of the guest, under the binary's name; a new program needs no change
//! here.

use crate::checkout;
use crate::command::Verbosity;
use crate::failure::{Context, Failure, line, say};
use crate::setup::{self, TARGET, Toolchain};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Flags of all guest code: fixed addresses, because no loader relocates it,
/// and frame pointers for backtraces.
pub const RUSTFLAGS: &str = "-Crelocation-model=static -Cforce-frame-pointers=yes";

/// The ways to compile guest code. Each has a folder of its own, so that none
/// invalidates the products of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Crate by crate: a change is built in seconds.
    #[default]
    Quick,
    /// Optimised as a whole, for measurements; built in minutes.
    Release,
}

impl Profile {
    /// Its name in the workspace's `Cargo.toml`.
    fn name(self) -> &'static str {
        match self {
            Profile::Quick => "guest",
            Profile::Release => "guest-release",
        }
    }
}

const LOADER: &str = "dormouse-loader";
const KERNEL: &str = "dormouse-kernel";
const PROFILER: &str = "dormouse-profiler";
/// The library that distinguishes a guest program from a host program.
const RUNTIME: &str = "dormouse-rt";

/// The files of a built guest.
#[derive(Clone, Debug, Default)]
pub struct Guests {
    /// The loader, which QEMU starts.
    pub loader: PathBuf,
    /// The kernel, with debug information.
    pub kernel: PathBuf,
    /// Programs by their name in `/bin`, with debug information.
    pub programs: BTreeMap<String, PathBuf>,
    /// Those that only test or measure the system.
    pub tests: BTreeSet<String>,
}

/// Builds everything that has changed; once in a process.
pub fn build(profile: Profile, verbosity: Verbosity) -> Result<Guests, Failure> {
    static DONE: Mutex<BTreeMap<Profile, Result<Guests, Failure>>> = Mutex::new(BTreeMap::new());
    let mut done = DONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let built = done.entry(profile);
    built
        .or_insert_with(|| build_all(profile, verbosity))
        .clone()
}

fn build_all(profile: Profile, verbosity: Verbosity) -> Result<Guests, Failure> {
    let toolchain = setup::provide_target(verbosity)?;
    let binaries = binaries(verbosity)?;
    let folder = checkout::target_dir()?.join("guest");
    let mut cargo = cargo(toolchain)?;
    let name = profile.name();
    cargo.args(["build", "--profile", name, "--target", TARGET, "--bins"]);
    let packages: BTreeSet<_> = binaries.iter().map(|binary| &binary.package).collect();
    for package in packages {
        cargo.args(["-p", package]);
    }
    cargo.env("CARGO_TARGET_DIR", &folder);
    toolchain.finish(&mut cargo, RUSTFLAGS);
    compile(&mut cargo, verbosity)?;

    let out = folder.join(TARGET).join(name);
    let mut guests = Guests::default();
    for binary in binaries {
        let path = out.join(&binary.file);
        match binary.file.as_str() {
            LOADER => guests.loader = path,
            KERNEL => guests.kernel = path,
            _ => {
                if binary.tests {
                    guests.tests.insert(binary.file.clone());
                }
                guests.programs.insert(binary.file, path);
            }
        }
    }
    for (what, path) in [(LOADER, &guests.loader), (KERNEL, &guests.kernel)] {
        if path.as_os_str().is_empty() {
            return Err(Failure::setup(format!(
                "the workspace has no binary {what}"
            )));
        }
    }
    Ok(guests)
}

/// Builds the profiler, a plugin of QEMU; its file.
pub fn build_profiler(verbosity: Verbosity) -> Result<PathBuf, Failure> {
    // A folder of its own: cargo may be at work in the usual one.
    let folder = checkout::target_dir()?.join("profiler");
    let mut cargo = cargo(Toolchain::Own)?;
    cargo.args(["build", "--quiet", "-p", PROFILER]);
    cargo.env("CARGO_TARGET_DIR", &folder);
    verbosity.output(&mut cargo)?;
    Ok(folder.join("debug/libdormouse_profiler.so"))
}

/// A cargo command without the environment of an outer cargo.
fn cargo(toolchain: Toolchain) -> Result<Command, Failure> {
    let own = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(toolchain.cargo(own));
    cargo.current_dir(checkout::workspace()?);
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(name);
    }
    Ok(cargo)
}

struct Binary {
    package: String,
    /// Name of the file cargo makes, and of the program in the guest's `/bin`.
    file: String,
    /// It lies in `tests`.
    tests: bool,
}

/// All guest binaries of the workspace.
fn binaries(verbosity: Verbosity) -> Result<Vec<Binary>, Failure> {
    let mut ask = cargo(Toolchain::Own)?;
    ask.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = verbosity.output(&mut ask)?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context(|| "cargo metadata".into())?;
    let folder = checkout::workspace()?.join("tests");
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let uses = |needed: &Value| text(&needed["name"]) == RUNTIME;
        let program = list(&package["dependencies"]).iter().any(uses);
        if !program && name != LOADER && name != KERNEL {
            continue;
        }
        let targets = list(&package["targets"]);
        let is_binary = |target: &&Value| list(&target["kind"]).iter().any(|kind| kind == "bin");
        for target in targets.iter().filter(is_binary) {
            found.push(Binary {
                package: name.into(),
                file: text(&target["name"]).into(),
                tests: Path::new(text(&package["manifest_path"])).starts_with(&folder),
            });
        }
    }
    Ok(found)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Runs cargo and passes on its messages, unless there was nothing to build:
/// then it only repeats old warnings.
fn compile(cargo: &mut Command, verbosity: Verbosity) -> Result<(), Failure> {
    verbosity.show(cargo);
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| "cannot run cargo".into())?;
    let mut works = false;
    let mut held = String::new();
    if let Some(stderr) = child.stderr.take() {
        for text in BufReader::new(stderr).lines().map_while(Result::ok) {
            let word = text.split_whitespace().next().unwrap_or_default();
            if word == "Finished" {
                continue;
            }
            if !works && matches!(word, "Compiling" | "Downloading" | "Updating" | "Blocking") {
                say("building the guest: loader, kernel, programs");
                held.lines().for_each(line);
                works = true;
            }
            match works {
                true => line(text),
                false => held += &(text + "\n"),
            }
        }
    }
    let status = child.wait().context(|| "cannot wait for cargo".into())?;
    if !status.success() {
        if !works {
            held.lines().for_each(line);
        }
        return Err(Failure::setup("building the guest failed"));
    }
    Ok(())
}
