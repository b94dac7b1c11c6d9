//! Finds the sources and the folder for build products.
//!
//! No path is compiled in: a checkout that was copied or moved together with
//! its `target` folder builds and boots itself, not its origin.

use crate::failure::Failure;
use std::env;
use std::path::{Path, PathBuf};

/// Files that tell the root of the workspace from any other folder.
const PARTS: [&str; 3] = ["Cargo.toml", "boot/runner/Cargo.toml", "kernel/Cargo.toml"];

/// The root of the workspace: the workspace whose runner or test cargo has
/// started, otherwise that around the executable, otherwise that around the
/// current directory.
///
/// # Errors
/// None of them is in a workspace.
pub fn workspace() -> Result<PathBuf, Failure> {
    let told = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let places = [told, env::current_exe().ok(), env::current_dir().ok()];
    let found = places.iter().flatten().find_map(|place| around(place));
    found.map(Path::to_path_buf).ok_or_else(|| {
        Failure::setup(
            "no sources of Dormouse around the executable or the current directory: \
             run it in a checkout",
        )
    })
}

/// The innermost workspace that `place` lies in.
fn around(place: &Path) -> Option<&Path> {
    let mut folders = place.ancestors();
    folders.find(|folder| PARTS.iter().all(|part| folder.join(part).is_file()))
}

/// The folder for the runner's products: cargo's target folder. A relative
/// setting is relative to the workspace, because tests run in other folders
/// than the runner.
///
/// # Errors
/// As for [`workspace`].
pub fn target_dir() -> Result<PathBuf, Failure> {
    let set = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(workspace()?.join(set))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_innermost_checkout_counts() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("target/copy");
        for root in [outer.path(), &inner] {
            for part in PARTS {
                let file = root.join(part);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
        }
        let found = |place: &Path| around(place).map(Path::to_path_buf);
        let runner = outer.path().join("target/debug/dormouse");
        assert_eq!(found(&runner), Some(outer.path().to_path_buf()));
        assert_eq!(found(&inner.join("boot/runner")), Some(inner.clone()));
        fs::remove_file(inner.join("kernel/Cargo.toml")).unwrap();
        assert_eq!(
            found(&inner.join("boot/runner")),
            Some(outer.path().to_path_buf())
        );
        assert_eq!(found(Path::new("/")), None);
    }
}
