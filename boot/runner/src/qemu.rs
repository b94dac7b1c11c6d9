//! QEMU's command line.

use crate::failure::{Failure, say};
use crate::setup::QEMU;
use crate::swap::Place;
use std::fs::{self, OpenOptions};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where distributions have the small firmware, beside QEMU.
const QBOOT: &str = "/usr/share/qemu/qboot.rom";

/// What starts the loader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    /// One that does no more than that, at a two hundredth of the instructions; QEMU's
    /// own where it is not installed. It gives the devices no addresses; their drivers do
    /// (`userland/lib/virtio`).
    #[default]
    Small,
    /// QEMU's own.
    Usual,
}

/// The accelerator that executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// The processor's virtual machine; falls back to `tcg`.
    Kvm,
    /// QEMU's translator: works everywhere, and repeatably.
    #[default]
    Tcg,
}

impl Accel {
    /// This accelerator, or TCG with a warning where KVM cannot work.
    pub fn usable(self) -> Accel {
        if self == Accel::Kvm
            && let Err(reason) = kvm_usable()
        {
            say(format_args!("warning: no KVM here ({reason}), using TCG"));
            return Accel::Tcg;
        }
        self
    }
}

fn kvm_usable() -> Result<(), String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").map_err(|error| error.to_string())?;
    let flags = cpu
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    if !flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
    {
        return Err("the processor does not offer it".into());
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    device
        .map(|_| ())
        .map_err(|error| format!("/dev/kvm: {error}"))
}

/// The machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The loader, which QEMU starts.
    pub loader: PathBuf,
    /// Memory in MiB.
    pub memory: u64,
    /// What starts the loader.
    pub firmware: Firmware,
    /// The accelerator.
    pub accel: Accel,
    /// Whether virtual time counts instructions.
    pub time: Time,
    /// The directory exported over virtio-9p.
    pub share: Option<PathBuf>,
    /// Where it swaps to.
    pub swap: Place,
    /// The plugin that counts its instructions, and its arguments.
    pub plugin: Option<String>,
    /// The socket where gdb may attach; the guest waits for it.
    pub gdb: Option<PathBuf>,
    /// Further words for QEMU.
    pub words: Vec<String>,
}

/// The source of the guest's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Time {
    /// The host's clock.
    #[default]
    Host,
    /// The guest's own instructions, 1 ns each.
    Instructions,
}

/// Descriptors that QEMU inherits.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// The bundle, readable.
    pub bundle: RawFd,
    /// Receives the guest's output to the second serial port.
    pub verdicts: RawFd,
    /// Carries the lock on the shared directory.
    pub lock: Option<RawFd>,
    /// The swap image, to be read and written.
    pub swap: Option<RawFd>,
}

impl Inherited {
    /// These descriptors, named without a file that could be left behind.
    fn names(self) -> Names {
        let name = |descriptor| format!("/proc/self/fd/{descriptor}");
        Names {
            bundle: name(self.bundle),
            verdicts: name(self.verdicts),
            console: vec![
                "-chardev",
                "stdio,id=console,signal=off",
                "-serial",
                "chardev:console",
            ],
            swap: self.swap.map(name),
        }
    }
}

/// What QEMU's command line names beside the machine.
pub struct Names {
    /// The bundle.
    pub bundle: String,
    /// The file for the guest's output to the second serial port.
    pub verdicts: String,
    /// The words for the first serial port.
    pub console: Vec<&'static str>,
    /// The swap image.
    pub swap: Option<String>,
}

/// QEMU for `machine`, not started yet. Its standard input and output are the
/// guest's console.
pub fn attended(machine: &Machine, inherited: Inherited) -> Result<Command, Failure> {
    let mut qemu = command(machine, &inherited.names())?;
    qemu.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A process group of its own: Ctrl-C at the terminal goes to the runner
    // alone.
    qemu.process_group(0);
    let runner = std::process::id();
    // SAFETY: the closure runs in the new process between fork and exec. It
    // makes system calls only, allocates nothing and takes no lock; the
    // descriptors it borrows are open in the runner until the start is over.
    unsafe {
        qemu.pre_exec(move || prepare_child(runner, inherited));
    }
    Ok(qemu)
}

/// QEMU's command line for `machine`.
pub fn command(machine: &Machine, names: &Names) -> Result<Command, Failure> {
    let mut qemu = Command::new(QEMU);
    qemu.args(["-machine", "q35", "-m", &format!("{}M", machine.memory)]);
    match machine.accel {
        Accel::Kvm => qemu.args(["-cpu", "host", "-accel", "kvm"]),
        Accel::Tcg => qemu.args(["-cpu", "EPYC", "-accel", "tcg"]),
    };
    if machine.time == Time::Instructions {
        qemu.args(["-icount", "shift=0,sleep=on"]);
    }
    qemu.args([
        "-nodefaults",
        "-vga",
        "none",
        "-nic",
        "none",
        "-display",
        "none",
        "-no-reboot",
    ]);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    if machine.firmware == Firmware::Small && Path::new(QBOOT).exists() {
        qemu.args(["-bios", QBOOT]);
    }
    qemu.arg("-kernel").arg(&machine.loader);
    qemu.args(["-initrd", &names.bundle]);
    qemu.args(&names.console);
    qemu.args(["-serial", &format!("file:{}", names.verdicts)]);
    if let Some(share) = &machine.share {
        add_directory(&mut qemu, "host", share)?;
    }
    if let Place::Directory(directory) = &machine.swap {
        add_directory(&mut qemu, "swap", directory)?;
    }
    if let Some(image) = &names.swap {
        // Its content is worth nothing after the run, so it need not be safe on the
        // host's disk; a full disk is an error for the guest, which is not stopped.
        qemu.args([
            "-drive",
            &format!(
                "if=none,id=swap,file={image},format=raw,cache=unsafe,\
                 discard=unmap,werror=report,rerror=report"
            ),
        ]);
        qemu.args(["-device", "virtio-blk-pci,drive=swap,disable-legacy=on"]);
    }
    if let Some(plugin) = &machine.plugin {
        qemu.args(["-plugin", plugin]);
    }
    if let Some(socket) = &machine.gdb {
        let path = escaped(&socket.display().to_string());
        qemu.args(["-S", "-gdb", &format!("unix:{path},server=on,wait=off")]);
    }
    qemu.args(&machine.words);
    Ok(qemu)
}

/// In the child: die with the runner, and keep the descriptors across exec.
fn prepare_child(runner: u32, inherited: Inherited) -> std::io::Result<()> {
    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    if parent as u32 != runner {
        // It died before the line above could take effect.
        return Err(std::io::ErrorKind::NotConnected.into());
    }
    for descriptor in [
        Some(inherited.bundle),
        Some(inherited.verdicts),
        inherited.lock,
        inherited.swap,
    ]
    .into_iter()
    .flatten()
    {
        // SAFETY: `command` gets descriptors that stay open until the start is
        // over; this process has copies of them.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        fcntl_setfd(descriptor, FdFlags::empty())?;
    }
    Ok(())
}

/// Exports a directory over virtio-9p under a mount tag.
fn add_directory(qemu: &mut Command, tag: &str, directory: &Path) -> Result<(), Failure> {
    qemu.args(["-fsdev", &export(tag, directory)?]);
    let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag},disable-legacy=on");
    qemu.args(["-device", &device]);
    Ok(())
}

/// A value in QEMU's option lists, which need commas doubled.
pub fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

/// QEMU's description of an exported directory.
fn export(id: &str, directory: &Path) -> Result<String, Failure> {
    let path = directory
        .to_str()
        .filter(|path| !path.contains('\n'))
        .ok_or_else(|| {
            Failure::setup(format!(
                "directory {}: QEMU cannot take this name",
                directory.display()
            ))
        })?;
    let path = escaped(path);
    Ok(format!(
        "local,id={id},path={path},security_model=none,multidevs=remap"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_the_shared_directory_are_escaped() {
        let words = export("host", Path::new("/a,b")).unwrap();
        assert!(words.contains("path=/a,,b,security_model=none"), "{words}");
    }
}
