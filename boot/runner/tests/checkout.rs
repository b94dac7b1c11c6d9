//! A copied or moved checkout is itself: the runner in it builds its sources,
//! not those of the checkout it was compiled in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A stand-in for cargo that records its folder and arguments, and fails.
const CARGO: &str = "#!/bin/sh\necho \"$PWD $CARGO_TARGET_DIR $1\" >>\"${0%/*}/asked\"\nexit 1\n";

/// A folder with the marks of a checkout, a stand-in for cargo, and a copy of
/// the runner at cargo's place for it.
fn copied() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("copy");
    for file in ["Cargo.toml", "boot/runner/Cargo.toml", "kernel/Cargo.toml"] {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    fs::create_dir_all(root.join("target/debug")).unwrap();
    fs::copy(runner(), root.join("target/debug/dormouse")).unwrap();
    let cargo = root.join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(cargo, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, root)
}

fn runner() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_dormouse").unwrap().into()
}

/// Runs `build` with this runner, as cargo starts it or by hand.
fn build(runner: &Path, root: &Path, from_cargo: bool, here: &Path) -> Output {
    let mut runner = Command::new(runner);
    runner.arg("build").current_dir(here);
    runner.env("CARGO", root.join("cargo"));
    runner.env_remove("CARGO_TARGET_DIR");
    runner.env_remove("CARGO_MANIFEST_DIR");
    if from_cargo {
        runner.env("CARGO_MANIFEST_DIR", root.join("boot/runner"));
    }
    runner.output().unwrap()
}

#[track_caller]
fn asks_for(root: &Path, output: &Output) {
    let asked = root.join("asked");
    let said = fs::read_to_string(&asked).unwrap_or_default();
    let here = root.display();
    let wrong = |line: &&str| !line.starts_with(&format!("{here} "));
    assert!(!said.is_empty(), "{output:?}");
    assert_eq!(said.lines().find(wrong), None);
    fs::remove_file(asked).unwrap();
}

#[test]
fn a_copied_checkout_builds_itself() {
    let (folder, root) = copied();
    let own = root.join("target/debug/dormouse");
    // By cargo, which takes the copied runner for fresh; by hand; and with a
    // runner elsewhere, as with CARGO_TARGET_DIR.
    asks_for(&root, &build(&runner(), &root, true, folder.path()));
    asks_for(&root, &build(&own, &root, false, folder.path()));
    let outside = folder.path().join("dormouse");
    fs::copy(&own, &outside).unwrap();
    asks_for(&root, &build(&outside, &root, false, &root));
    // Moved: the same again.
    let moved = folder.path().canonicalize().unwrap().join("moved");
    fs::rename(&root, &moved).unwrap();
    let own = moved.join("target/debug/dormouse");
    asks_for(&moved, &build(&own, &moved, false, folder.path()));
    // A missing checkout is reported in one line.
    let output = build(&outside, &moved, false, folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("no sources of Dormouse around"), "{said}");
    assert_eq!(said.lines().count(), 1);
}
