//! gdb with a guest, as `cargo run -- gdb` starts it: stops at the page-fault
//! handler, prints the fault, goes on to the fill of the sleeping page and back
//! to the program; and the commands `dm` at such stops.

use dormouse_qemu_tests::{scratch, skipped};
use runner::{Debugger, Guest, Verbosity, setup};
use std::fs;
use std::process::Command;
use std::time::Duration;

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

/// Runs a script of gdb with a guest that runs the command; `None`, said aloud: this
/// machine's gdb cannot.
fn session(command: &str, python: bool, script: &str) -> Option<Log> {
    if let Err(failure) = setup::provide_gdb(Verbosity::Normal) {
        skipped(format_args!("no gdb: {failure}"));
        return None;
    }
    let has_python = || {
        let asked = Command::new("gdb")
            .args(["-nx", "-batch", "-ex", "python print(6 * 7)"])
            .output();
        asked.is_ok_and(|answer| answer.stdout.starts_with(b"42"))
    };
    if python && !has_python() {
        skipped("this gdb has no Python");
        return None;
    }
    let share = scratch();
    let work = scratch();
    let content: Vec<u8> = (1..=PAGES).flat_map(|byte| [byte; PAGE as usize]).collect();
    fs::write(share.path().join("file"), content).unwrap();
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
    Some(Log(log))
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
    let Some(log) = session("lazy /n/host/file", false, STEPS) else {
        return;
    };
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
    let Some(log) = session("lazy /n/host/file", true, LOOKS) else {
        return;
    };
    let early = log.part("early");
    assert_eq!(early.matches("not yet: ").count(), 7, "{early}");
    let names = log.part("names");
    assert!(names.starts_with("0 names are missing\n"), "{names}");

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
