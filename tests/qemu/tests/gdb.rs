//! gdb with a guest, as `cargo run -- gdb` starts it: stops at the page-fault
//! handler, prints the fault, goes on to the fill of the sleeping page and back
//! to the program; and the commands `dm` at such stops.

use dormouse_qemu_tests::{scratch, skipped};
use runner::{Debugger, Guest, Verbosity, setup};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Pages of `/n/host/file`; page N is filled with the byte N + 1.
const PAGES: u8 = 40;
const PAGE: u64 = 4096;

/// The output of a session, in parts that the script begins with `echo == NAME\n`.
struct Log(String);

impl Log {
    /// The part of that name.
    fn part(&self, name: &str) -> &str {
        let log = &self.0;
        let (_, rest) = log
            .split_once(&format!("== {name}\n"))
            .unwrap_or_else(|| panic!("no part {name}:\n{log}"));
        rest.split("\n== ").next().unwrap_or(rest)
    }

    /// The line of that part that begins with those words; the rest of it.
    fn line(&self, name: &str, begin: &str) -> &str {
        let part = self.part(name);
        let mut found = part.lines().filter_map(|line| {
            let line = line.trim_start_matches([' ', '*']);
            line.strip_prefix(begin).map(str::trim)
        });
        found
            .next()
            .unwrap_or_else(|| panic!("no line {begin}:\n{part}"))
    }
}

/// Whether this machine's gdb can run the scripts; says so if not.
fn has_gdb(python: bool) -> bool {
    if let Err(failure) = setup::provide_gdb(Verbosity::Normal) {
        skipped(format_args!("no gdb: {failure}"));
        return false;
    }
    let has_python = || {
        let asked = Command::new("gdb")
            .args(["-nx", "-batch", "-ex", "python print(6 * 7)"])
            .output();
        asked.is_ok_and(|answer| answer.stdout.starts_with(b"42"))
    };
    if python && !has_python() {
        skipped("this gdb has no Python");
        return false;
    }
    true
}

/// A directory to share, with the file in it.
fn share() -> TempDir {
    let share = scratch();
    let content: Vec<u8> = (1..=PAGES).flat_map(|byte| [byte; PAGE as usize]).collect();
    fs::write(share.path().join("file"), content).unwrap();
    share
}

/// Runs a script of gdb with a guest that runs the command.
fn session(share: &TempDir, command: &str, script: &str) -> Log {
    let work = scratch();
    let file = work.path().join("script");
    let log = work.path().join("log");
    let begin = format!(
        "set pagination off\nset width 0\nset logging file {}\nset logging redirect on\nset logging enabled on\n",
        log.display()
    );
    fs::write(&file, begin + script + "\necho == end\\n\n").unwrap();
    let words = ["-batch", "-x", file.to_str().unwrap()];
    let outcome = Guest::new()
        .mem("256M")
        .share(share.path())
        .command(command)
        .timeout(Duration::from_secs(120))
        .gdb(Debugger::Start(words.map(Into::into).into()))
        .run()
        .unwrap();
    // gdb is gone, and the guest ended with it or by itself.
    assert!(!outcome.console.contains("panic"), "{}", outcome.console);
    let log = fs::read_to_string(&log).unwrap_or_default();
    assert!(
        log.ends_with("== end\n"),
        "the script stopped early:\n{log}\n{outcome:?}"
    );
    Log(log)
}

/// Breakpoints stop every process; only `lazy` has pages of a server's
/// snapshot, so the first of these tells its address space apart.
const STEPS: &str = r#"
hbreak dormouse_kernel::client::snapshots::read_at_server
continue
set $lazy = $cr3
disable 1
hbreak dormouse_kernel::trap::page_fault if $cr3 == $lazy
continue
enable 1
echo == fault\n
backtrace 2
set $resume = (*frame).rip
set $error = (*frame).error
printf "address %#lx error %ld pc %#lx\n", $cr2, $error, $resume
continue
echo == fill\n
backtrace
delete
thbreak *$resume if $cr3 == $lazy
continue
echo == back\n
user lazy
printf "same pc %d\n", $pc == $resume
info symbol $pc
info breakpoints
detach
"#;

#[test]
fn a_session_stops_at_a_fault_its_fill_and_the_program() {
    if !has_gdb(false) {
        return;
    }
    let log = session(&share(), "lazy /n/host/file", STEPS);
    let fault = log.part("fault");
    assert!(
        fault.contains("#0  dormouse_kernel::trap::page_fault"),
        "{fault}"
    );
    assert!(fault.contains("kernel/src/trap.rs:"), "{fault}");
    // A load (no write bit) from user mode, of a page that is not there.
    assert!(fault.contains(" error 4 pc 0x4"), "{fault}");

    let fill = log.part("fill");
    for function in [
        "#0  dormouse_kernel::client::snapshots::read_at_server",
        "dormouse_vm::fault::satisfy",
        "dormouse_kernel::trap::page_fault",
    ] {
        assert!(fill.contains(function), "no {function}: {fill}");
    }

    let back = log.part("back");
    assert!(back.contains("same pc 1\n"), "{back}");
    assert!(back.contains("lazy::"), "{back}");
}

/// The commands at the first instruction, at the fill of a page, after it, and in the
/// write.
const LOOKS: &str = r#"
echo == early\n
python
for command in "ps", "segs", "page 0x400000", "extents 1", "snaps", "chan", "walk 0x400000":
    try:
        gdb.execute("dm " + command)
    except gdb.error as error:
        print(error)
end
echo == names\n
dm check
echo == renamed\n
python
from dm import kernel
gone = kernel.Function("dormouse_kernel::trap::gone"), kernel.Static("dormouse_kernel::trap::GONE")
source = kernel.Source("kernel/vm/src/page_state.rs", "GONE")
gdb.execute("dm check")
kernel.Function.all.remove(gone[0])
kernel.Static.all.remove(gone[1])
kernel.Source.all.remove(source)
end
hbreak dormouse_kernel::client::snapshots::read_at_server
continue
delete
set $va = $cr2
frame function dormouse_kernel::trap::page_fault
set $resume = (*frame).rip
echo == ps\n
dm ps
echo == segs\n
dm segs
echo == asleep\n
dm page $va+0
echo == walk asleep\n
dm walk $va
echo == extents\n
dm extents $va
echo == snaps\n
dm snaps
echo == chan\n
dm chan
echo == types\n
print dormouse_kernel::client::snapshots::TABLE
dm word 0x1000000001
dm word 0xabc2
echo == errors\n
python
for command in "page 5", "segs nobody", "page", "extents 0", "page 0x400000 99":
    try:
        gdb.execute("dm " + command)
    except gdb.error as error:
        print(error)
end
thbreak *$resume if $cr3 == $cr3
continue
echo == resident\n
dm page $va lazy
echo == walk resident\n
dm walk $va
echo == bytes\n
x/2xb $va
hbreak dormouse_kernel::client::put::Write::put
continue
echo == write\n
dm segs
echo == sending\n
dm ps
delete
detach
"#;

#[test]
fn the_commands_show_a_page_before_and_after_its_fill() {
    if !has_gdb(true) {
        return;
    }
    let log = session(&share(), "lazy /n/host/file", LOOKS);
    let early = log.part("early");
    assert_eq!(early.matches("not yet: ").count(), 7, "{early}");
    let names = log.part("names");
    assert!(names.starts_with("0 names are missing"), "{names}");
    let renamed = log.part("renamed");
    assert!(renamed.contains("3 names are missing"), "{renamed}");

    let ps = log.part("ps");
    let lazy = ps.lines().find(|line| line.starts_with('*')).unwrap();
    let words: Vec<_> = lazy.split_whitespace().collect();
    assert_eq!(words[3..5], ["/bin/lazy", "running"], "{ps}");
    let pid = words[1];
    assert!(
        ps.contains("/bin/hostfs  waiting  message at a port"),
        "{ps}"
    );
    assert!(ps.contains("/bin/sh      waiting  child to end"), "{ps}");

    let segs = log.part("segs");
    assert!(
        segs.contains(&format!("segments of lazy ({pid})")),
        "{segs}"
    );
    let snapshot = segs
        .lines()
        .find(|line| line.contains(" snapshot "))
        .unwrap();
    assert!(snapshot.ends_with("39 asleep, 1 filling"), "{segs}");
    let base = snapshot.split("0x").nth(1).unwrap();
    let base = u64::from_str_radix(base.split('-').next().unwrap(), 16).unwrap();

    // Page N of the buffer is page N of the file.
    let asleep = log.part("asleep");
    let page: u64 = asleep.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(page < u64::from(PAGES), "{asleep}");
    let va = base + page * PAGE;
    assert!(
        asleep.contains(&format!("of lazy ({pid}), at {va:#x}\n")),
        "{asleep}"
    );
    assert!(log.line("asleep", "state").starts_with("filling, ticket "));
    let content = log.line("asleep", "content");
    let range = format!("bytes {:#x}-{:#x}", page * PAGE, (page + 1) * PAGE);
    assert!(
        content.ends_with(&format!(", /n/host/file, {range}")),
        "{content}"
    );
    let snap = content.strip_prefix("snapshot ").unwrap();
    let snap = snap.split(',').next().unwrap();
    assert_eq!(log.line("asleep", "translation"), "none");
    assert!(log.line("walk asleep", "leaf").ends_with("not present"));

    let extents = log.part("extents");
    let end = base + u64::from(PAGES) * PAGE;
    let extent = format!("  {base:#x}-{end:#x}  snapshot {snap}, /n/host/file, from byte 0x0");
    assert!(extents.contains(&extent), "{extents}");
    let held = log.line("snaps", &format!("{snap}  /n/host/file"));
    assert!(held.starts_with("mount "), "{held}");
    let chan = log.part("chan");
    assert!(
        chan.contains("side 0: the kernel as client of mount"),
        "{chan}"
    );
    assert!(chan.contains("side 1: hostfs ("), "{chan}");
    let types = log.part("types");
    assert!(types.contains("Lock(Snapshots, free, "), "{types}");
    assert!(types.contains("filling, ticket 1"), "{types}");
    assert!(types.contains("resident, frame 0xabc"), "{types}");
    let errors = log.part("errors");
    for error in [
        &format!("lazy ({pid}) has no segment at 0x5"),
        "no process nobody",
        "usage: dm page VA [PID]",
        &format!("lazy ({pid}) has no segment 0"),
        "no process 99",
    ] {
        assert!(errors.contains(error), "no {error}: {errors}");
    }

    // After the fill: one frame, for the overlay, the page tables and the processor.
    let state = log.line("resident", "state");
    let frame = state.strip_prefix("resident, frame ").unwrap();
    assert!(
        log.line("resident", "frame")
            .starts_with(&format!("{frame}: data in the frame cache, 1 holder, "))
    );
    assert_eq!(log.line("resident", "content"), content);
    let translation = format!("frame {frame}, read-only, user, no fetch, ");
    assert!(
        log.line("resident", "translation")
            .starts_with(&translation)
    );
    let leaf = log.line("walk resident", "leaf");
    assert!(
        leaf.contains(&format!("-> frame {frame}  read-only, user")),
        "{leaf}"
    );
    let byte = format!("{:#04x}", page + 1);
    let bytes = log.part("bytes");
    assert!(bytes.contains(&format!(":\t{byte}\t{byte}\n")), "{bytes}");

    // In the write: 3 pages were changed, and are write-protected while they are sent.
    let write = log.part("write");
    let snapshot = write
        .lines()
        .find(|line| line.contains(" snapshot "))
        .unwrap();
    assert!(snapshot.ends_with(" resident, 3 sending"), "{write}");
}

/// Breaks structures at a fill in progress, looks at them, and mends them.
const DAMAGE: &str = r#"
hbreak dormouse_kernel::client::snapshots::read_at_server
continue
delete
python
from dm import processes, segments, kernel

def poke(address, value, length):
    memory = gdb.selected_inferior()
    before = memory.read_memory(address, length).tobytes()
    memory.write_memory(address, value.to_bytes(length, "little"))
    return lambda: memory.write_memory(address, before)

def look(name, *changes):
    print(f"\n== {name}")
    undo = [poke(*change) for change in changes]
    for command in "ps", "segs", "page $cr2", "extents $cr2", "snaps", "chan", "walk $cr2":
        try:
            gdb.execute("dm " + command)
        except gdb.error as error:
            print("error:", error)
    for mend in reversed(undo):
        mend()

address = lambda value: int(value.address)
process = processes.current()
segment = segments.at(process, int(gdb.parse_and_eval("$cr2")))
queue = kernel.locked(processes.FILLING.value())
waits = process.entry()["next_waiter"]
look("queue", (address(queue["head"]), process.slot, 2), (address(waits), process.slot, 2))
chunks = segment.content["extents"]["map"]["spans"]["chunks"]
look("extents", (address(chunks["len"]), 1 << 60, 8))
root = segment.overlay().root
map = kernel.MEMORY.constant("PHYSICAL_MAP")
levels = segment.content["overlay"]["levels"]
words = [(map + root * 4096 + at * 8, root, 8) for at in range(512)]
look("overlay", (address(levels), 4, 4), *words)
look("table", (address(process.space()["table"]["len"]), 1 << 60, 8))
name = kernel.locked(process.value["program"])["ptr"]["pointer"]["length"]
look("name", (address(name), 1 << 60, 8))
state = process.entry()["state"]
look("state", (address(state), 99, 1))
content = segment.value["content"]
look("pointer", (address(content), 8, 8), (address(content) + 8, 8, 8))
end
echo \n== mended\n
dm segs
detach
"#;

#[test]
fn damaged_structures_are_looked_at_in_bounded_time() {
    if !has_gdb(true) {
        return;
    }
    let log = session(&share(), "lazy /n/host/file", DAMAGE);
    // The process is in the queue once, however often the queue comes back to it.
    let queue = log.part("queue");
    assert_eq!(queue.matches("for a fill by another").count(), 1, "{queue}");
    let overlay = log.part("overlay");
    assert!(overlay.contains("and more, not counted"), "{overlay}");
    let state = log.part("state");
    assert!(state.contains("state 99"), "{state}");
    let mended = log.part("mended");
    assert!(mended.contains("39 asleep, 1 filling"), "{mended}");
}

/// Breakpoints before and after a program is taken up. `ENTRY` is the first instruction
/// of the shell, an address that other programs may have too.
const ATTACH: &str = r#"
python
from dm import attach
head = open(attach.folder + "/bin/sh", "rb").read(32)
gdb.execute(f"set $entry = {int.from_bytes(head[24:32], 'little')}")
end
hbreak *$entry
continue
echo == anyone\n
dm ps
delete
dm attach lazy
hbreak *$entry
hbreak lazy::main
echo == breakpoints\n
info breakpoints
continue
echo == first\n
dm ps
bt 1
continue
echo == second\n
dm ps
info symbol $pc
echo == errors\n
python
for command in "attach nobody", "attach /n/host/../../etc/passwd", "attach ../sh", "attach 99", "back", "fault rest":
    try:
        gdb.execute("dm " + command)
    except gdb.error as error:
        print(error)
end
echo == pid\n
python
from dm import processes
pid = processes.current().pid
gdb.execute("delete")
gdb.execute(f"dm attach {pid}")
print(attach.attached.has(processes.find("sh")), attach.attached.has(processes.current()))
end
hbreak dormouse_kernel::syscall::dispatch if $dm_here() != 0
continue
echo == call\n
dm back
echo == back\n
dm ps
info registers cs
delete
detach
"#;

/// The process that runs, as `dm ps` shows it: pid, parent and program.
fn running(ps: &str) -> [&str; 3] {
    let line = ps.lines().find(|line| line.starts_with('*')).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    [words[1], words[2], words[3]]
}

#[test]
fn breakpoints_in_a_program_stop_in_its_processes_alone() {
    if !has_gdb(true) {
        return;
    }
    let command = "lazy -n 3 /n/host/file; sh -c 'lazy -n 3 /n/host/file; true'";
    let log = session(&share(), command, ATTACH);
    // Not attached, the breakpoint stops whoever gets there: the first shell at the latest.
    assert_ne!(running(log.part("anyone"))[2], "/bin/lazy");
    let set = log.part("breakpoints");
    assert_eq!(
        set.matches("stop only if $dm_confined(0) != 0").count(),
        2,
        "{set}"
    );
    // The second shell passes its first instruction.
    let [first, parent, program] = running(log.part("first"));
    assert_eq!(program, "/bin/lazy");
    assert!(log.part("first").contains("#0  lazy::main ("));
    let [second, shell, program] = running(log.part("second"));
    assert_eq!(program, "/bin/lazy");
    assert!(second != first && shell != parent);
    let symbol = log.part("second");
    assert!(symbol.contains("lazy::main"), "{symbol}");
    let errors = log.part("errors");
    assert_eq!(errors.matches("no program ").count(), 3, "{errors}");
    assert!(errors.contains("no process 99"), "{errors}");
    assert!(errors.contains("in the program already"), "{errors}");
    assert!(errors.contains("no fault is followed"), "{errors}");
    let pid = log.part("pid");
    assert!(
        pid.contains(&format!("attached to lazy ({second}): ")),
        "{pid}"
    );
    assert!(pid.contains("False True"), "{pid}");
    assert_eq!(running(log.part("back"))[0], second);
    assert!(log.line("back", "cs").contains("0x23"));
}

/// A program of one's own, position independent, that stops the debugger.
const PROGRAM: &str = r#"
#![no_std]
#![no_main]
use core::arch::asm;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Exits with the status.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn behind(status: u64) -> ! {
    loop {
        unsafe { asm!("syscall", in("rax") 1_u64, in("rdi") status, in("rsi") 0, in("rdx") 0) };
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    unsafe { asm!("mov r12d, 0x1234", "int3", out("r12") _) };
    behind(7)
}
"#;

const INT3: &str = r#"
dm attach /n/host/stop
hbreak behind
continue
echo == int3\n
bt 1
dm back
echo == behind it\n
info registers r12
bt 1
continue
echo == break\n
bt 2
dm ps
delete
detach
"#;

#[test]
fn a_program_of_the_share_stops_the_debugger_and_goes_on() {
    if !has_gdb(true) {
        return;
    }
    let share = share();
    let source = share.path().join("stop.rs");
    fs::write(&source, PROGRAM).unwrap();
    let built = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition", "2024", "--target", "x86_64-unknown-none"])
        .args(["-Cpanic=abort", "-Copt-level=2", "-g", "-o"])
        .arg(share.path().join("stop"))
        .arg(&source)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        skipped("no compiler for the bare target");
        return;
    }
    let log = session(&share, "/n/host/stop", INT3);
    let int3 = log.0.as_str();
    assert!(int3.contains("/stop at 0x2000000000; "), "{int3}");
    assert!(int3.contains(" has executed int3 at 0x200000"), "{int3}");
    assert!(
        int3.contains(" in stop::_start (") && int3.contains("/stop.rs:22)"),
        "{int3}"
    );
    let int3 = log.part("int3");
    assert!(
        int3.contains("#0  dormouse_kernel::trap::exception"),
        "{int3}"
    );
    let behind = log.part("behind it");
    assert!(
        behind.contains("0x1234") && behind.contains("#0  stop::_start ()"),
        "{behind}"
    );
    let stop = log.part("break");
    assert!(stop.contains("#0  stop::behind (status=7)"), "{stop}");
    assert_eq!(running(stop)[2], "/n/host/stop");
}

/// Follows a load that needs a message, then the first store to the same page.
const FAULTS: &str = r#"
dm fault lazy snapshot
echo == page\n
dm page $cr2
set $va = $cr2
python
from dm import fault
for step in range(30):
    if fault.current is None:
        break
    gdb.execute("continue")
end
echo == after\n
dm page $va
dm fault $va
echo == store\n
dm page $va
dm fault rest
echo == stored\n
dm page $va
dm attach lazy
dm fault sh
dm fault rest
echo == shell\n
dm ps
dm fault off
delete
detach
"#;

#[test]
fn a_fault_is_followed_step_by_step() {
    if !has_gdb(true) {
        return;
    }
    let log = session(&share(), "lazy -n 3 /n/host/file; sh -c true", FAULTS);
    let (load, store) = log.0.split_once("== after").unwrap();
    let mut rest = load;
    for step in [
        "trap: lazy (",
        "look-up: page ",
        "asleep: its content is that of /n/host/file from byte 0x",
        "fill: page ",
        "request: the kernel puts a Tread into the channel of mount ",
        "park: lazy (",
        "waits for: reply of a server",
        "server: hostfs (",
        "device: interrupt ",
        "reply: hostfs (",
        "publish: frame 0x",
        "map: page ",
        "return: lazy (",
    ] {
        let found = rest.find(step);
        rest = &rest[found.unwrap_or_else(|| panic!("no {step}:\n{load}"))..];
    }
    assert!(load.contains(" loads from 0x"), "{load}");
    assert!(store.contains(" stores to 0x"), "{store}");
    assert!(
        store.contains("and the translation is read-only, user"),
        "{store}"
    );
    assert!(
        store.contains("detach: nobody else has the frame: page "),
        "{store}"
    );
    assert!(store.contains("return: lazy ("), "{store}");
    assert!(log.line("page", "state").starts_with("asleep"));
    assert!(log.line("after", "state").starts_with("resident, frame"));
    assert!(log.line("store", "state").starts_with("resident, frame"));
    assert!(log.line("stored", "state").starts_with("dirty, frame"));
    assert!(log.line("stored", "translation").contains(", write, user"));
    // The fault of a program that gdb has no symbols of.
    assert_eq!(running(log.part("shell"))[2], "/bin/sh");
}

#[test]
fn the_script_that_follows_a_page_does() {
    if !has_gdb(true) {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/follow.gdb");
    let script = fs::read_to_string(file).unwrap() + "detach\n";
    let log = session(&share(), "lazy /n/host/file", &script).0;
    let (before, after) = log.split_once("--- The steps of the fault.").unwrap();
    assert!(before.contains("state        asleep"), "{log}");
    assert!(before.contains("40 asleep\n"), "{log}");
    assert!(after.contains("return: lazy ("), "{log}");
    assert!(after.contains("state        resident"), "{log}");
    assert!(after.contains("39 asleep, 1 resident\n"), "{log}");
}
