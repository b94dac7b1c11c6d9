//! Breakpoints in programs.

use crate::session::{has_gdb, running, session, share};
use dormouse_qemu_tests::skipped;
use std::fs;
use std::process::Command;

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
python
try:
    gdb.execute(r'dm attach "/n/host/a\"b"')
except gdb.error as error:
    print(error)
end
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
    // A name that would be more than a name in a line for gdb.
    fs::write(share.path().join("a\"b"), b"\x7fELF").unwrap();
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
    assert!(int3.contains("no program /n/host/a\"b"), "{int3}");
    let behind = log.part("behind it");
    assert!(
        behind.contains("0x1234") && behind.contains("#0  stop::_start ()"),
        "{behind}"
    );
    let stop = log.part("break");
    assert!(stop.contains("#0  stop::behind (status=7)"), "{stop}");
    assert_eq!(running(stop)[2], "/n/host/stop");
}
