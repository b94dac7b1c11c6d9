//! Programs made by a C compiler and an assembler: loading, the initial state,
//! and the example in `docs/syscalls.md`.

use dormouse_qemu_tests::{guest, run, scratch, skipped};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

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

/// The bytes from servers that each `count` on the console tells of.
fn bytes_in(console: &str) -> Vec<u64> {
    let lines = console.lines();
    let counts = lines.filter_map(|line| line.trim().strip_suffix(" bytes_in"));
    counts
        .map(|count| count.replace(',', "").parse().unwrap())
        .collect()
}

/// What the last process that ran a program of the host left is found by the next, and not
/// if the host has changed the file, even if it puts the time of its change back.
#[test]
fn a_program_that_runs_again_costs_less_and_runs_as_the_host_has_it_then() {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    let (old, new) = (documented(), documented().replace("hello,", "HELLO,"));
    for (name, text) in [("hello", &old), ("new", &new)] {
        let source = at(&format!("{name}.s"));
        fs::write(&source, text).unwrap();
        compile(&source, STATIC, &at(name));
    }
    let commands = "cd /n/host; for n in 1 2 3 4; do count ./hello; sleep 1; done; echo > ready; \
                    until [ -e changed ]; do sleep 1; done; ./hello";
    let (ready, hello, new) = (at("ready"), at("hello"), fs::read(at("new")).unwrap());
    let changed = at("changed");
    let host = thread::spawn(move || {
        while !ready.exists() {
            thread::sleep(Duration::from_millis(50));
        }
        let before = fs::metadata(&hello).unwrap();
        assert_eq!(before.len(), new.len() as u64);
        let file = fs::OpenOptions::new().write(true).open(&hello).unwrap();
        file.write_all_at(&new, 0).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        fs::write(changed, "").unwrap();
    });
    let guest = guest(share.path()).option("old", "0").command(commands);
    let (console, _) = run(share.path(), &guest);
    host.join().unwrap();
    let read = bytes_in(&console);
    // Its headers and a page of text; then its headers.
    assert!(
        read.len() == 4 && read[0] > 4096 && read[3] < 4096,
        "{console}"
    );
    let lines = console.lines();
    let said: Vec<_> = lines.filter(|line| line.ends_with("world")).collect();
    let mut wanted = ["hello, world"; 5];
    wanted[4] = "HELLO, world";
    assert_eq!(said, wanted, "{console}");
}

/// The folder of the toolchain with an `lld` that a C compiler finds.
fn lld() -> Option<String> {
    let rustc = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output();
    let libraries = String::from_utf8(rustc.ok()?.stdout).ok()?;
    let folder = Path::new(libraries.trim()).parent()?.join("bin/gcc-ld");
    folder.is_dir().then(|| folder.display().to_string())
}

/// Layouts of linkers: an error by name, or the program runs as on Linux.
#[test]
fn programs_of_every_layout_run_or_are_refused_by_name() {
    const WRITABLE: Option<&str> = Some("writable and executable");
    const OVERLAP: Option<&str> = Some("two parts in one page");
    const SMALL: &str = "-Wl,-z,max-page-size=0x100,-z,common-page-size=0x100";
    let lld = lld().map(|folder| format!("-B{folder}"));
    let lld = lld.as_deref().map(|folder| ["-fuse-ld=lld", folder]);
    let mut layouts: Vec<(&str, &[&str], Option<&str>)> = vec![
        ("usual", &[], None),
        ("one", &["-Wl,-N"], WRITABLE),
        ("unaligned", &["-Wl,-n"], WRITABLE),
        ("tight", &[SMALL], OVERLAP),
        ("joined", &["-Wl,-z,noseparate-code"], None),
        ("large", &["-Wl,-z,max-page-size=0x200000"], None),
        ("relro", &["-Wl,-z,relro", "-Wl,-z,now"], None),
        (
            "far",
            &["-Wl,-Ttext-segment=0x700000000000", "-mcmodel=large"],
            None,
        ),
    ];
    match &lld {
        // Two of its parts have bytes in the same page of the file.
        Some(options) => layouts.push(("lld", options, None)),
        None => skipped("the toolchain has no lld for a C compiler"),
    }
    let share = scratch();
    let mut commands = String::new();
    for (name, layout, _) in &layouts {
        let options = [STATIC, layout].concat();
        compile(&source("layout.c"), &options, &share.path().join(name));
        commands += &format!("/n/host/{name}; ");
    }
    for eager in [false, true] {
        let guest = guest(share.path()).eager(eager).command(&commands);
        let (console, _) = run(share.path(), &guest);
        for (name, _, refused) in &layouts {
            let fine = format!("{name}: data, zeros and constants");
            let ran = console.lines().any(|line| line.ends_with(&fine));
            let named = format!("/n/host/{name}: not an executable");
            let line = console.lines().find(|line| line.contains(&named));
            match refused {
                None => assert!(ran, "{name}: {console}"),
                Some(rule) => {
                    let by_name = line.is_some_and(|line| line.contains(rule));
                    assert!(by_name && !ran, "{name}: {console}");
                }
            }
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
        let others = console
            .lines()
            .filter(|line| !line.contains("user backtrace: "));
        assert_eq!(others.count(), 1, "{command}: {console}");
        let found = backtrace(&console);
        let wanted: Vec<_> = wanted.iter().map(|(f, at)| (*f, at.as_str())).collect();
        assert_eq!(found, wanted, "{command}: {console}");
    }
}
