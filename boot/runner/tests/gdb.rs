//! `--gdb`: the printed command works unchanged, and the guest goes on when gdb
//! lets it.

use dormouse::{Verbosity, setup};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[test]
fn the_printed_line_gives_a_gdb_that_knows_the_kernel() {
    if let Err(failure) = setup::provide_gdb(Verbosity::Normal) {
        // Printed past the capture of the test's output.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no gdb: {failure}");
        return;
    }
    let share = std::env::temp_dir().join(format!("dormouse-test-{}", std::process::id()));
    std::fs::create_dir(&share).unwrap();
    let mut runner = Command::new(std::env::var_os("CARGO_BIN_EXE_dormouse").unwrap())
        .args(["--gdb", "--timeout", "120", "-c", "echo let go", "--share"])
        .arg(&share)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(runner.stderr.take().unwrap()).lines();
    let line = said
        .find_map(|line| line.unwrap().strip_prefix("  gdb ").map(String::from))
        .expect("a line to type");
    // QEMU starts to listen a moment after the line is printed.
    let socket = line
        .split_once("-x ")
        .unwrap()
        .1
        .replace("start.gdb", "socket");
    while !std::path::Path::new(&socket).exists() && runner.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let stop = "-batch -ex 'hbreak dormouse_kernel::trap::page_fault' -ex continue -ex backtrace";
    let gdb = Command::new("sh")
        .args(["-c", &format!("gdb {line} {stop} -ex detach")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&gdb.stdout);
    let errors = String::from_utf8_lossy(&gdb.stderr);
    assert!(
        seen.contains("#0  dormouse_kernel::trap::page_fault"),
        "{seen}{errors}"
    );
    let outcome = runner.wait_with_output().unwrap();
    std::fs::remove_dir(&share).unwrap();
    assert!(String::from_utf8_lossy(&outcome.stdout).contains("let go\n"));
    assert!(outcome.status.success());
    assert!(!std::path::Path::new(&socket).exists());
}
