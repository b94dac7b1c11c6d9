//! A session of gdb with a guest, and its output.

use dormouse_qemu_tests::{scratch, skipped};
use runner::{Debugger, Guest, Verbosity, setup};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Pages of `/n/host/file`; page N is filled with the byte N + 1.
pub const PAGES: u8 = 40;
pub const PAGE: u64 = 4096;

/// The output of a session, in parts that the script begins with `echo == NAME\n`.
pub struct Log(pub String);

impl Log {
    /// The part of that name.
    pub fn part(&self, name: &str) -> &str {
        let log = &self.0;
        let (_, rest) = log
            .split_once(&format!("== {name}\n"))
            .unwrap_or_else(|| panic!("no part {name}:\n{log}"));
        rest.split("\n== ").next().unwrap_or(rest)
    }

    /// Asserts that the part has that text.
    #[track_caller]
    pub fn has(&self, name: &str, text: &str) {
        let part = self.part(name);
        assert!(part.contains(text), "no {text} in {name}:\n{part}");
    }

    /// The line of that part that begins with those words; the rest of it.
    pub fn line(&self, name: &str, begin: &str) -> &str {
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

/// Whether this machine's gdb can run the scripts; says so if not.
pub fn has_gdb(python: bool) -> bool {
    if let Err(failure) = setup::provide_gdb(Verbosity::Normal) {
        skipped(format_args!("no gdb: {failure}"));
        return false;
    }
    let has_python = || {
        let asked = Command::new("gdb")
            .args(["-nx", "-batch", "-ex", "python print(6 * 7)"])
            .output();
        asked.is_ok_and(|answer| answer.stdout.starts_with(b"42"))
    };
    if python && !has_python() {
        skipped("this gdb has no Python");
        return false;
    }
    true
}

/// A directory to share, with the file in it.
pub fn share() -> TempDir {
    let share = scratch();
    let content: Vec<u8> = (1..=PAGES).flat_map(|byte| [byte; PAGE as usize]).collect();
    fs::write(share.path().join("file"), content).unwrap();
    share
}

/// Runs a script of gdb with a guest that runs the command.
pub fn session(share: &TempDir, command: &str, script: &str) -> Log {
    let work = scratch();
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
    Log(log)
}

/// The process that runs, as `dm ps` shows it: pid, parent and program.
pub fn running(ps: &str) -> [&str; 3] {
    let line = ps.lines().find(|line| line.starts_with('*')).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    [words[1], words[2], words[3]]
}
