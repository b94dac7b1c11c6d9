//! Output that cannot be written, and output that nobody reads any more.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn runner(commands: &str) -> Command {
    let mut runner = Command::new(std::env::var_os("CARGO_BIN_EXE_dormouse").unwrap());
    runner.args(["-c", commands]).stdin(Stdio::null());
    runner
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = runner("echo text").stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard output: "), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn output_that_has_lost_its_reader_ends_the_guest() {
    let mut running = runner("while true; do echo text; done");
    let mut running = running.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "text\n");
    assert_eq!(running.wait().unwrap().code(), Some(0));
}
