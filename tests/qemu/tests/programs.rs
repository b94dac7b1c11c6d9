//! Programs made by a C compiler and an assembler: loading, the initial state,
//! and the example in `docs/syscalls.md`.

use dormouse_qemu_tests::{guest, run, scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STATIC: &[&str] = &["-O2", "-nostdlib", "-static", "-fno-pie", "-no-pie"];
const STATIC_PIE: &[&str] = &["-O2", "-nostdlib", "-static-pie", "-fpie"];

fn source(name: &str) -> PathBuf {
    // Tests run in the folder of their package.
    Path::new("programs").join(name)
}

/// Compiles `source` to `to` with the compiler that Rust needs to link anyway.
fn compile(source: &Path, options: &[&str], to: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-Werror", "-fno-stack-protector"]);
    let status = cc.args(options).arg("-o").args([to, source]).status();
    assert!(status.unwrap().success(), "{cc:?}");
}

/// The indented block of `docs/syscalls.md` that begins with `hello.s`.
fn documented() -> String {
    let page = include_str!("../../../docs/syscalls.md");
    let start = page.find("    # hello.s").unwrap();
    let lines = page[start..].lines();
    let block = lines.take_while(|line| line.starts_with("    "));
    block.map(|line| format!("{}\n", &line[4..])).collect()
}

#[test]
fn programs_of_other_compilers_run() {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    fs::write(at("hello.s"), documented()).unwrap();
    compile(&at("hello.s"), STATIC, &at("hello"));
    compile(&source("start.c"), STATIC, &at("start"));
    compile(&source("note.c"), STATIC, &at("note"));
    compile(&source("pie.c"), STATIC_PIE, &at("pie"));
    let relative = [STATIC_PIE, &["-DRELATIVE"]].concat();
    compile(&source("pie.c"), &relative, &at("relative"));
    compile(&source("dynamic.c"), &["-pie", "-fpie"], &at("dynamic"));
    compile(&source("dynamic.c"), &["-static"], &at("libc"));
    let commands = "/n/host/hello; COLOUR=blue /n/host/start one 'two words'; /n/host/note; \
                    /n/host/pie; /n/host/relative x; /n/host/dynamic; /n/host/libc";
    for eager in [false, true] {
        let guest = guest(share.path()).eager(eager).command(commands);
        let (console, _) = run(share.path(), &guest);
        let wanted = "hello, world\nstart\nnote\npie\nrelocated\n";
        let (ran, refused) = console.split_at(wanted.len().min(console.len()));
        assert_eq!(ran, wanted, "{console}");
        for name in ["dynamic", "libc"] {
            let named = format!("/n/host/{name}: not an executable");
            let line = refused.lines().find(|line| line.contains(&named));
            assert!(
                line.is_some_and(|line| line.contains("a Linux program")),
                "{refused}"
            );
        }
    }
}

/// The lines of a backtrace: function, and line of `programs/crash.c`.
fn backtrace(console: &str) -> Vec<(&str, &str)> {
    let lines = console
        .lines()
        .filter(|line| line.contains("user backtrace: "));
    let named = lines.map(|line| line.split_once(" -> ").expect(console).1);
    let parts = named.map(|name| name.trim_end_matches(')').split_once(" (").expect(console));
    parts.collect()
}

#[test]
fn a_program_of_the_share_that_faults_has_a_backtrace_with_functions_and_lines() {
    let share = scratch();
    let options = [STATIC, &["-g", "-O0", "-fno-omit-frame-pointer"]].concat();
    compile(&source("crash.c"), &options, &share.path().join("crash"));
    let line_of = |text: &str| {
        let source = include_str!("../programs/crash.c");
        let line = source.lines().position(|line| line.contains(text)).unwrap();
        format!("tests/qemu/programs/crash.c:{}", line + 1)
    };
    // The fault is at the function's first instruction, before it has a frame,
    // so its caller is missing from the backtrace.
    let wanted = [
        ("falls", line_of("/* here */")),
        ("_start", line_of("calls();")),
    ];
    for command in ["/n/host/crash", "cd /n/host; ./crash", "PATH=/n/host crash"] {
        let (console, status) = run(share.path(), &guest(share.path()).command(command));
        assert!(!console.contains("init: /bin/sh"), "{console}");
        // The kernel's log reports it, once.
        let told = console.matches("sys: trap: fault write addr=0x10").count();
        assert_eq!((told, status), (1, 128), "{command}: {console}");
        let found = backtrace(&console);
        let wanted: Vec<_> = wanted.iter().map(|(f, at)| (*f, at.as_str())).collect();
        assert_eq!(found, wanted, "{command}: {console}");
    }
}
