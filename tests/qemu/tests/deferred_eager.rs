//! Nothing a program can do tells deferred from eager I/O: guests that differ
//! in that alone run the same script over equal directories, print the same
//! bytes and leave the same files.
//!
//! Three guests: eager; deferred; and deferred with `HEAP=snapshot`, where each
//! buffer of each program is in a snapshot segment. The script has a part for
//! every program of `/bin` (`scripts/programs.sh`) and parts that try to tell
//! the difference (`scripts/subjects.sh`).

use dormouse_qemu_tests::{guest, run, scratch, tree};
use runner::guests::Profile;
use runner::{Verbosity, checkout, guests};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

const PROGRAMS: &str = include_str!("../scripts/programs.sh");
const SUBJECTS: &str = include_str!("../scripts/subjects.sh");

/// Programs without a part of their own, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("consfs", "prints everything that is compared"),
    ("hostfs", "serves every file that is compared"),
    ("init", "starts the script"),
    ("sh", "runs the script"),
    (
        "suite",
        "runs deferred and eager, case by case, in suite.rs",
    ),
    ("swapfs", "serves swap, in swap.rs"),
];

/// The sections of a script: the name after `## `, and the lines below.
fn parts(script: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = script.split("\n## ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, "")))
}

/// Bytes in lines, without a pattern that pages share.
fn lines(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(len + 40);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let wide = (state >> 59) as usize;
        bytes.extend_from_slice(format!("{:0wide$x} {}\n", state >> 33, bytes.len()).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The files the script works on, in `share`/in.
fn prepare(share: &Path) {
    let folder = share.join("in");
    let at = |name: &str| folder.join(name);
    fs::create_dir_all(at("tree/below")).unwrap();
    fs::write(at("one"), "1").unwrap();
    for (name, len) in [
        ("empty", 0),
        ("s4095", 4095),
        ("s4096", 4096),
        ("s4097", 4097),
    ] {
        fs::write(at(name), lines(len)).unwrap();
    }
    fs::write(at("s4095.saved"), lines(4095)).unwrap();
    fs::write(at("big"), lines((3 << 20) + 5)).unwrap();
    fs::write(at("big2"), lines(1 << 20)).unwrap();
    fs::write(at("tree/a"), lines(5000)).unwrap();
    fs::write(at("tree/below/b"), lines(50)).unwrap();
    let text = (0..5000u32).map(|n| format!("{} line {n}\n", n.wrapping_mul(2654435761) >> 20));
    fs::write(at("text"), text.collect::<String>()).unwrap();
    for (name, len) in [("sparse", 1 << 30), ("hole", 8 << 20)] {
        let file = File::create(at(name)).unwrap();
        file.set_len(len).unwrap();
        file.write_all_at(b"middle", len / 2 - 3).unwrap();
        file.write_all_at(b"end", len - 3).unwrap();
    }
    let mut script = String::new();
    for (name, lines) in parts(PROGRAMS).chain(parts(SUBJECTS)) {
        script += &format!("echo '== {name}'; mkdir {name}; (cd {name}\n{lines}\n)\n");
    }
    fs::write(share.join("script"), script).unwrap();
}

/// The sections of the output that differ, side by side.
fn differing(one: &str, two: &str) -> String {
    let (one, two) = (one.split("\n== "), two.split("\n== "));
    let pairs = one.zip(two).filter(|(one, two)| one != two);
    pairs
        .map(|(one, two)| format!("<<< {one}\n>>> {two}\n"))
        .collect()
}

#[test]
fn every_program_of_bin_has_a_part() {
    let programs = guests::build(Profile::Quick, Verbosity::Normal)
        .unwrap()
        .programs;
    let known = |name: &str| {
        parts(PROGRAMS).any(|(part, _)| part == name) || ELSEWHERE.iter().any(|(of, _)| *of == name)
    };
    let missing: Vec<_> = programs.keys().filter(|name| !known(name)).collect();
    assert!(
        missing.is_empty(),
        "no part `## NAME` in tests/qemu/scripts/programs.sh: {missing:?} \
         (docs/first-program.md, \"In this repository\")"
    );
    for (part, _) in parts(PROGRAMS) {
        assert!(programs.contains_key(part), "no program {part}");
    }
}

#[test]
fn the_page_on_programs_of_this_repository_gives_one_its_part() {
    let root = checkout::workspace().unwrap();
    let page = fs::read_to_string(root.join("docs/first-program.md")).unwrap();
    let section = page.split("## In this repository\n").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let folder = scratch();
    let scripts = "tests/qemu/scripts";
    for made in ["userland/apps", scripts] {
        fs::create_dir_all(folder.path().join(made)).unwrap();
    }
    let script = format!(
        "cp -r {0}/userland/apps/template userland/apps; \
         cp {0}/{scripts}/programs.sh {scripts}\n{block}",
        root.display()
    );
    let mut shell = Command::new("sh");
    let status = shell.args(["-ec", &script]).current_dir(folder.path());
    assert!(status.status().unwrap().success(), "{block}");
    let made = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
    assert!(made("userland/apps/hello/src/main.rs").contains("rt::main!"));
    assert!(made("userland/apps/hello/Cargo.toml").contains("rt = { path = \"../../lib/rt\""));
    let programs = made(&format!("{scripts}/programs.sh"));
    assert_eq!(parts(&programs).filter(|part| part.0 == "hello").count(), 1);
}

#[test]
fn deferred_and_eager_print_the_same_and_leave_the_same_files() {
    const SCRIPT: &str = "cd /n/host; sh script 2>&1";
    let kinds = [
        ("deferred", false, SCRIPT.to_string()),
        (
            "all memory",
            false,
            format!("export HEAP=snapshot; {SCRIPT}"),
        ),
        ("eager", true, SCRIPT.to_string()),
    ];
    let runs = kinds.map(|(name, eager, command)| {
        thread::spawn(move || {
            let share = scratch();
            prepare(share.path());
            // Room for all of a file of 1 GiB.
            let guest = guest(share.path()).mem("1536M").eager(eager);
            let guest = guest
                .timeout(Duration::from_secs(300))
                .test_program("bench");
            let (console, status) = run(share.path(), &guest.command(command));
            assert_eq!(status, 0, "{name}: {console}");
            (name, console, share)
        })
    });
    let runs = runs.map(|run| run.join().unwrap());
    let [first @ .., (_, eager, files)] = &runs;
    assert!(eager.contains("\n== xd\n"), "{eager}");
    for (name, console, share) in first {
        assert!(console == eager, "{name}:\n{}", differing(console, eager));
        let differences = tree::differences(share.path(), files.path());
        assert!(differences.is_empty(), "{name}: {differences:#?}");
    }
}
