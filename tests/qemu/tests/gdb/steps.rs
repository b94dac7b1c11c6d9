//! The symbols of kernel and programs, without Python.

use crate::session::{has_gdb, session, share};

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
