//! `cargo bench` prints its table and nothing else: cargo runs every library and
//! program of the default members that does not say `bench = false`, and each
//! would list its tests as ignored.

use dormouse_proof::root;
use std::fs;

#[test]
fn only_the_table_of_budgets_is_a_bench() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let workspace = read("Cargo.toml");
    let list = workspace.split("default-members = [").nth(1);
    let list = list
        .and_then(|rest| rest.split(']').next())
        .expect("a list");
    let members: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 5, "{members:?}");
    for member in members {
        let manifest = read(&format!("{member}/Cargo.toml"));
        let at = |source: &str| root().join(member).join(source).exists();
        let targets = ["src/lib.rs", "src/main.rs"];
        let targets = targets.iter().filter(|source| at(source)).count();
        let said = manifest.matches("\nbench = false\n").count();
        assert!(
            said >= targets,
            "{member}/Cargo.toml: bench = false for each target"
        );
    }
}
