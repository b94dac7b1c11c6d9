//! gdb with a guest, as `cargo run -- gdb` starts it: stops at the page-fault
//! handler, prints the fault, goes on to the fill of the sleeping page and back
//! to the program.

use dormouse_qemu_tests::{scratch, skipped};
use runner::{Debugger, Guest, Verbosity, setup};
use std::fs;
use std::time::Duration;

/// The commands. Breakpoints stop every process; only `lazy` has pages of a server's
/// snapshot, so the first of these tells its address space apart.
const SCRIPT: &str = r#"
set pagination off
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
echo == end\n
detach
"#;

#[test]
fn a_session_stops_at_a_fault_its_fill_and_the_program() {
    if let Err(failure) = setup::provide_gdb(Verbosity::Normal) {
        skipped(format_args!("no gdb: {failure}"));
        return;
    }
    let share = scratch();
    let work = scratch();
    fs::write(share.path().join("file"), vec![7; 40 * 4096]).unwrap();
    let script = work.path().join("script");
    let log = work.path().join("log");
    let begin = format!(
        "set logging file {}\nset logging redirect on\nset logging enabled on\n",
        log.display()
    );
    fs::write(&script, begin + SCRIPT).unwrap();
    let words = ["-batch", "-x", script.to_str().unwrap()];
    let outcome = Guest::new()
        .mem("256M")
        .share(share.path())
        .command("lazy /n/host/file")
        .timeout(Duration::from_secs(120))
        .gdb(Debugger::Start(words.map(Into::into).into()))
        .run()
        .unwrap();
    let log = fs::read_to_string(&log).unwrap_or_default();
    let part = |from: &str, to: &str| {
        let start = log
            .find(from)
            .unwrap_or_else(|| panic!("no {from}:\n{log}"));
        let end = log.find(to).unwrap_or_else(|| panic!("no {to}:\n{log}"));
        &log[start..end]
    };

    let fault = part("== fault", "== fill");
    assert!(
        fault.contains("#0  dormouse_kernel::trap::page_fault"),
        "{fault}"
    );
    assert!(fault.contains("kernel/src/trap.rs:"), "{fault}");
    // A load (no write bit) from user mode, of a page that is not there.
    assert!(fault.contains(" error 4 pc 0x4"), "{fault}");

    let fill = part("== fill", "== back");
    for function in [
        "#0  dormouse_kernel::client::snapshots::read_at_server",
        "dormouse_vm::fault::satisfy",
        "dormouse_kernel::trap::page_fault",
    ] {
        assert!(fill.contains(function), "no {function}: {fill}");
    }

    let back = part("== back", "== end");
    assert!(back.contains("same pc 1\n"), "{back}");
    assert!(back.contains("lazy::"), "{back}");
    // gdb is gone, and the guest ended with it or by itself.
    assert!(!outcome.console.contains("panic"), "{}", outcome.console);
}
