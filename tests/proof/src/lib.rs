//! Proof that the tests of the contract can fail. Each invariant of the design
//! is broken on purpose, by one small change of the source ([`LIST`]), and the
//! test named after it must fail.
//!
//! `cargo test -p dormouse-proof` checks that every change fits its source,
//! that every test named in `docs/contract.md` and `docs/security.md` exists,
//! and that the pages name files, functions and figures that exist. With `--
//! --ignored` it makes the changes, in a copy of the tree, and runs the tests:
//! minutes.
#![forbid(unsafe_code)]

mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use list::LIST;

/// A change that drops an invariant, and the test that notices.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// The broken invariant, in the words of the design.
    pub drops: &'static str,
    /// The source file, from the root of the tree.
    pub file: &'static str,
    /// A text that occurs in it exactly once.
    pub from: &'static str,
    /// The replacement for the text.
    pub to: &'static str,
    /// The package of the test, without `dormouse-`.
    pub package: &'static str,
    /// The name of the test's file below `tests/`; empty for unit tests.
    pub target: &'static str,
    /// The name of the test.
    pub test: &'static str,
    /// Of a test that runs the guest's suite, the cases (`DORMOUSE_CASES`); else empty.
    pub cases: &'static str,
}

impl Mutation {
    /// The arguments of the `cargo test` that runs its test alone.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "test".into(),
            "-p".into(),
            format!("dormouse-{}", self.package),
        ];
        match self.target {
            "" => arguments.push("--lib".into()),
            target => arguments.extend(["--test".into(), target.into()]),
        }
        arguments.push(self.test.into());
        arguments
    }

    /// The source with the change.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn apply(&self, source: &str) -> Result<String, String> {
        match source.matches(self.from).count() {
            1 => Ok(source.replacen(self.from, self.to, 1)),
            found => Err(format!(
                "{}: found {found} times, not once: {:?}",
                self.file, self.from
            )),
        }
    }
}

/// The root of the tree; tests run in the folder of their package.
pub fn root() -> PathBuf {
    let root = fs::canonicalize("../..");
    root.expect("the folder of the tree")
}

/// The files of the tree that git tracks or would track, relative to `root`.
///
/// # Panics
/// Panics if git cannot be run.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git");
    let list = String::from_utf8(output.stdout).expect("names in UTF-8");
    let files = list.lines().map(PathBuf::from);
    files.filter(|file| root.join(file).is_file()).collect()
}

/// The text of a file of the tree.
///
/// # Panics
/// Panics with the path if the file cannot be read.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
