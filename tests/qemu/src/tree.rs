//! Comparison of the final content of shared directories.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{Read, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// All files below `root`, including hidden ones, by their path from there.
fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap_or(&path).into(), metadata);
        }
    }
    Ok(found)
}

fn equal(one: &Path, two: &Path) -> Result<bool> {
    let (mut one, mut two) = (File::open(one)?, File::open(two)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = one.read(&mut left)?;
        two.read_exact(&mut right[..n])?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(two.read(&mut right)? == 0);
        }
    }
}

/// How the trees below two directories differ: names, kinds, modes, numbers of
/// links, sizes and contents, not times. Empty if they do not.
pub fn differences(one: &Path, two: &Path) -> Vec<String> {
    let (left, right) = (entries(one).unwrap(), entries(two).unwrap());
    let mut differences = Vec::new();
    for (name, a) in &left {
        let Some(b) = right.get(name) else {
            differences.push(format!("{}: only in the first", name.display()));
            continue;
        };
        let facts = |m: &Metadata| (m.mode(), m.nlink(), if m.is_dir() { 0 } else { m.len() });
        if facts(a) != facts(b) {
            let (a, b) = (facts(a), facts(b));
            let name = name.display();
            differences.push(format!("{name}: mode, links, size {a:?} and {b:?}"));
        } else if a.is_file() && !equal(&one.join(name), &two.join(name)).unwrap() {
            differences.push(format!("{}: contents differ", name.display()));
        }
    }
    let more = right.keys().filter(|name| !left.contains_key(*name));
    differences.extend(more.map(|name| format!("{}: only in the second", name.display())));
    differences
}
