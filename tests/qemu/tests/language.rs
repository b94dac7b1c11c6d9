//! The shell's language against another shell's: both run the same scripts.

use dormouse_qemu_tests::{guest, run, scratch, skipped};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPTS: &str = include_str!("../scripts/language.sh");
/// The shell whose word counts.
const OTHER: &str = "dash";

/// The sections of the script: the name after `## `, and the lines below.
fn parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let parts = SCRIPTS.split("\n## ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap())
}

/// The output of the other shell for each section, with its status as the last
/// line.
fn expected(name: &str, folder: &Path) -> String {
    let work = folder.join(format!("{name}.work"));
    fs::create_dir(&work).unwrap();
    // What starts the tests may ignore interrupts, which a script could not catch then.
    let ran = Command::new("env")
        .args(["--default-signal=INT,QUIT", OTHER])
        .arg(folder.join(format!("{name}.sh")))
        .current_dir(&work)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/"), ("LC_ALL", "C")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    fs::remove_dir_all(&work).unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    format!("{text}{}\n", ran.status.code().unwrap())
}

/// The first line of a section's output that differs.
fn difference(name: &str, wanted: &str, found: &str, errors: &str) -> String {
    let pairs = wanted.lines().zip(found.lines());
    let first = pairs.clone().position(|(a, b)| a != b);
    let first = first.unwrap_or(pairs.count());
    let line = |text: &str| text.lines().nth(first).unwrap_or("").to_string();
    let (theirs, ours) = (line(wanted), line(found));
    format!(
        "## {name}, line {}:\n{OTHER}: {theirs}\nhere: {ours}\n{errors}\n",
        first + 1
    )
}

#[test]
fn scripts_do_what_they_do_in_another_shell() {
    if Command::new(OTHER).args(["-c", ":"]).status().is_err() {
        skipped(format_args!("there is no {OTHER} on this machine"));
        return;
    }
    let (ours, theirs) = (scratch(), scratch());
    for (name, script) in parts() {
        // `sh` in the scripts is the shell that is tried.
        let other = format!("sh() {{ {OTHER} \"$@\"; }}\n{script}");
        fs::write(theirs.path().join(format!("{name}.sh")), other).unwrap();
        fs::write(ours.path().join(format!("{name}.sh")), script).unwrap();
    }
    let script = "cd /n/host; for f in *.sh; do n=${f%.sh}; mkdir $n.work; \
        (cd $n.work; sh ../$f < /dev/null > ../$n.out 2> ../$n.err; echo $? >> ../$n.out); rm -r $n.work; done";
    for eager in [false, true] {
        let guest = guest(ours.path()).eager(eager).command(script);
        let (console, status) = run(ours.path(), &guest);
        assert_eq!((console.as_str(), status), ("", 0), "eager: {eager}");
        let mut differences = String::new();
        for (name, _) in parts() {
            let read = |end: &str| {
                let bytes = fs::read(ours.path().join(format!("{name}.{end}"))).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (wanted, found) = (expected(name, theirs.path()), read("out"));
            if found != wanted {
                differences += &difference(name, &wanted, &found, &read("err"));
            }
        }
        assert!(differences.is_empty(), "eager: {eager}\n{differences}");
    }
}
