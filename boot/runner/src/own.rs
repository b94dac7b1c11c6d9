//! Users' own test programs: each runs in the guest as a process of its own, and
//! passes if it ends with status 0 and leaks nothing.
//!
//! The programs go into the bundle as `/bin/test.NAME`; the guest's `suite`
//! starts them, checks for leaks of frames, fids, snapshots, processes and
//! channels, and reports to the judge. Scenario files for `suite replay` go there
//! too.

use crate::failure::{Context, Failure, line, say};
use crate::judge::Verdict;
use crate::{End, Guest, Outcome};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Prefix of the tested programs' names in the guest, so that a test may be
/// called `ls`.
const PREFIX: &str = "test.";
/// Prefix of scenario files.
const TEXT: &str = "text.";

/// Runs the programs in `guest`; exit status 0 if all have passed, else 1.
pub fn run(guest: Guest, programs: &[PathBuf]) -> Result<u8, Failure> {
    let named = names(programs)?;
    let list: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    let mut guest = guest
        .option("test", "1")
        .command(format!("suite run {}", list.join(" ")));
    for (name, path) in &named {
        guest = guest.program(format!("{PREFIX}{name}"), path);
    }
    judge(&guest.attach()?)
}

/// Runs scenario files: operations on files and memory, each compared with
/// plain byte arrays (`docs/contract.md`).
pub fn replay(guest: Guest, texts: &[PathBuf]) -> Result<u8, Failure> {
    let mut guest = guest.option("test", "1");
    let mut list = Vec::new();
    for (name, path) in names(texts)? {
        let text = fs::read(path).context(|| path.display().to_string())?;
        let place = format!("bin/{TEXT}{name}");
        list.push(format!("/{place}"));
        guest = guest.file(place, text);
    }
    let command = format!("suite replay {}", list.join(" "));
    judge(&guest.command(command).attach()?)
}

fn judge(outcome: &Outcome) -> Result<u8, Failure> {
    let report = outcome.report();
    for case in &report.cases {
        match &case.verdict {
            Verdict::Passed => line(format_args!("ok      {}", case.name)),
            Verdict::Failed(why) => line(format_args!("FAILED  {}: {why}", case.name)),
            Verdict::Missing => line(format_args!("FAILED  {}: no verdict", case.name)),
        }
    }
    if !matches!(outcome.end, End::Exited(_)) || outcome.status.is_none() {
        return outcome.status();
    }
    let passed = report.count(|verdict| *verdict == Verdict::Passed);
    let problems = report.problems(outcome.exit_code);
    // Failures of single cases have been printed.
    for problem in problems.iter().filter(|text| !text.starts_with("case ")) {
        say(problem);
    }
    let all = report.plan.unwrap_or(report.cases.len());
    say(format_args!("{passed} of {all} test programs passed"));
    Ok(u8::from(!problems.is_empty()))
}

/// The programs with their names in the guest, which contain only characters
/// that a shell does not interpret. Of two files of one name, the second is
/// `NAME.2`.
fn names(programs: &[PathBuf]) -> Result<Vec<(String, &Path)>, Failure> {
    let mut named: Vec<(String, &Path)> = Vec::new();
    let files: BTreeSet<String> = programs.iter().filter_map(|path| name(path)).collect();
    for path in programs {
        let shown = path.display();
        if !path.is_file() {
            return Err(Failure::setup(format!("{shown}: no such program")));
        }
        let Some(name) = name(path) else {
            return Err(Failure::setup(format!(
                "{shown}: names of tests are up to 64 letters, digits and any of . _ + -"
            )));
        };
        if let Some((_, other)) = named.iter().find(|(_, other)| *other == path) {
            return Err(Failure::setup(format!(
                "{shown}: the same name as {}",
                other.display()
            )));
        }
        let taken = |name: &String| named.iter().any(|(other, _)| other == name);
        let mut unique = name.clone();
        let mut numbers = 2..;
        while taken(&unique) || (unique != name && files.contains(&unique)) {
            unique = format!("{name}.{}", numbers.next().unwrap_or(0));
        }
        if unique != name {
            say(format_args!("{shown} is called {unique}"));
        }
        named.push((unique, path.as_path()));
    }
    Ok(named)
}

fn name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    (name.len() <= 64 && name.chars().all(plain)).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lists_of_programs_are_refused() {
        let refused = |paths: &[&Path], reason: &str| {
            let paths: Vec<PathBuf> = paths.iter().map(|path| path.into()).collect();
            let failure = names(&paths).unwrap_err();
            assert!(failure.text.contains(reason), "{failure}");
        };
        let own = std::env::current_exe().unwrap();
        refused(&[Path::new("/no/such")], "/no/such: no such program");
        refused(&[&own, &own], "the same name as");
        assert_eq!(names(std::slice::from_ref(&own)).unwrap().len(), 1);
        assert_eq!(name(Path::new("a b")), None);
    }

    #[test]
    fn programs_of_the_same_name_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a/hello", "b/hello", "c/hello.2", "d/hello"].map(|path| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        });
        let named = names(&paths).unwrap();
        let called: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(called, ["hello", "hello.3", "hello.2", "hello.4"]);
    }
}
