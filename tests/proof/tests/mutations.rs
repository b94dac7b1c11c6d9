//! The changes fit, the pages of contract and security name existing tests, and
//! (on request) every change is noticed: all of them, or those whose
//! description contains `DORMOUSE_DROPS` of the environment
//! (`DORMOUSE_DROPS='invariant 12'`).

use dormouse_proof::{LIST, Mutation, files, read, root};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// Longer than any test of the list.
const LIMIT: Duration = Duration::from_secs(1800);
/// A test that takes so much longer than it did before a change hangs; a test that
/// hangs has noticed.
const LONGER: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than any build.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

#[test]
fn every_mutation_fits_its_source() {
    for mutation in LIST {
        let changed = mutation.apply(&read(&root().join(mutation.file)));
        assert!(changed.is_ok(), "{}", changed.unwrap_err());
    }
}

/// The names of all tests in the tree, and of the guest's cases.
fn tests_in_the_tree() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(&root()) {
        if file.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        let source = read(&root().join(&file));
        // A function after `#[test]`, and a case of the guest by its string.
        let functions = source.split("#[test]").skip(1);
        let names_of = |part: &str| {
            let name = part.split("fn ").nth(1)?.split('(').next()?;
            Some(name.to_string())
        };
        names.extend(functions.filter_map(names_of));
        if file.starts_with("tests/suite/src/cases") {
            let quoted = source.split('"').skip(1).step_by(2);
            names.extend(quoted.map(str::to_string));
        }
    }
    names
}

/// The words in backquotes of the page's last column that look like tests.
fn tests_in_the_page(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit(" | ").next());
    let quoted = last.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_string).collect()
}

fn names_only_tests_that_exist(page: &str) {
    let named = tests_in_the_page(&read(&root().join(page)));
    assert!(named.len() > 40, "only {} tests named", named.len());
    let known = tests_in_the_tree();
    let missing: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty(), "{page}: no such tests: {missing:#?}");
}

#[test]
fn every_test_that_the_contract_names_exists() {
    names_only_tests_that_exist("docs/contract.md");
}

#[test]
fn every_test_that_the_promises_name_exists() {
    names_only_tests_that_exist("docs/security.md");
}

#[test]
fn every_mutation_names_a_test_that_exists() {
    let known = tests_in_the_tree();
    for mutation in LIST {
        assert!(known.contains(mutation.test), "{}", mutation.test);
    }
}

/// Removes the files below a directory that `keep` does not name.
fn prune(directory: &Path, keep: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            prune(&path, keep)?;
        } else if !keep.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A copy of the tree in which to make changes.
fn copy(to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let files = files(&root());
    prune(to, &files.iter().map(|file| to.join(file)).collect())?;
    for file in files {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("a file is in a directory"))?;
        // Unchanged files keep their time, so that they are not built again.
        let source = fs::read(root().join(&file))?;
        if fs::read(&target).ok().as_ref() != Some(&source) {
            fs::write(&target, source)?;
        }
    }
    Ok(())
}

/// Runs cargo in the copy; `None` if it took too long.
fn cargo(tree: &Path, arguments: &[String], cases: &str, limit: Duration) -> Option<Output> {
    let log = tree.join("../log");
    let out = fs::File::create(&log).expect("a log");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    match cases {
        "" => cargo.env_remove("DORMOUSE_CASES"),
        cases => cargo.env("DORMOUSE_CASES", cases),
    };
    let mut child = cargo
        .args(arguments)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.join("../build"))
        .stdin(Stdio::null())
        .stderr(out.try_clone().expect("the log"))
        .stdout(out)
        .process_group(0)
        .spawn()
        .expect("cargo");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("cargo") {
            let stdout = fs::read(&log).expect("the log");
            return Some(Output {
                status,
                stdout,
                stderr: Vec::new(),
            });
        }
        if start.elapsed() > limit {
            // With the test that cargo runs, and the guest that the test runs.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Builds the test and does not run it.
fn build(tree: &Path, mutation: &Mutation) -> Result<Output, String> {
    let mut arguments = mutation.arguments();
    arguments.push("--no-run".into());
    cargo(tree, &arguments, "", BUILD_LIMIT).ok_or("takes too long to build".into())
}

/// Runs the test; `None` if it took too long.
fn run(tree: &Path, mutation: &Mutation, limit: Duration) -> Option<Output> {
    cargo(tree, &mutation.arguments(), mutation.cases, limit)
}

/// Returns an error if the test, which took `usual` without it, passes in spite of the
/// change.
fn notices(tree: &Path, mutation: &Mutation, usual: Duration) -> Result<&'static str, String> {
    let path = tree.join(mutation.file);
    let source = read(&path);
    fs::write(&path, mutation.apply(&source)?).map_err(|error| error.to_string())?;
    let built = build(tree, mutation)?;
    let result = match built.status.success() {
        true => run(tree, mutation, PATIENCE + usual * LONGER),
        false => return Err(format!("does not build: {}", text(&built))),
    };
    fs::write(&path, source).map_err(|error| error.to_string())?;
    match result {
        None => Ok("hangs"),
        Some(output) if output.status.success() => Err("passes".into()),
        Some(_) => Ok("fails"),
    }
}

/// Returns true if at least one test ran.
fn ran(output: &Output) -> bool {
    let text = text(output);
    let passed = text.split("test result: ok. ").nth(1);
    passed.is_some_and(|rest| !rest.starts_with("0 passed"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "builds the tests once for each mutation: minutes; run with -- --ignored --nocapture"]
fn every_mutation_is_noticed() {
    // Beside cargo's products: target/debug/deps/mutations is running.
    let own = env::current_exe().expect("a path");
    let target = own.ancestors().nth(3).expect("cargo's target folder");
    let tree = target.join("tmp/proof/tree");
    copy(&tree).expect("a copy of the tree");
    let asked = env::var("DORMOUSE_DROPS").unwrap_or_default();
    let list = LIST.iter().filter(|one| one.drops.contains(&asked));
    let mut timed = Vec::new();
    for mutation in list {
        println!("as it is: {}", mutation.test);
        build(&tree, mutation).expect("in time");
        let start = Instant::now();
        let fine = run(&tree, mutation, LIMIT).expect("in time");
        assert!(fine.status.success() && ran(&fine), "{}", text(&fine));
        timed.push((mutation, start.elapsed()));
    }
    let mut unnoticed = Vec::new();
    for (mutation, usual) in timed {
        let verdict = notices(&tree, mutation, usual);
        println!("{verdict:?}: {} ({})", mutation.drops, mutation.test);
        if let Err(why) = verdict {
            unnoticed.push(format!("{}: {} {why}", mutation.drops, mutation.test));
        }
        copy(&tree).expect("the tree as it was");
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
