//! The shared directory: a sample for those who name none, and the lock.

use crate::failure::{Context, Failure, say};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the sample's large file.
const BIG: u64 = 1 << 30;
/// Distance of the pages of the large file that hold something.
const BIG_STEP: u64 = 16 << 20;
const PAGE: usize = 4096;

const README: &str = "\
This directory is shared: the guest sees it as /n/host, and what it writes
there appears here. The runner made it because no other was named by --share;
delete it whenever you like, it is made again.

  hello      a line of text
  primes     the primes below 10,000, one a line
  big        1 GiB, almost all of it a hole: a page of text every 16 MiB
";

/// Makes the sample directory where it is missing, and returns its path.
pub fn sample(parent: &Path) -> Result<PathBuf, Failure> {
    let path = parent.join("share");
    let make = |path: &Path| -> std::io::Result<()> {
        fs::create_dir_all(path)?;
        missing(&path.join("README"), |file| {
            file.write_all_at(README.as_bytes(), 0)
        })?;
        missing(&path.join("hello"), |file| {
            file.write_all_at(b"hello from the host\n", 0)
        })?;
        missing(&path.join("primes"), |file| {
            file.write_all_at(primes().as_bytes(), 0)
        })?;
        missing(&path.join("big"), fill_big)
    };
    if !path.is_dir() {
        say(format_args!("making a sample to share: {}", path.display()));
    }
    make(&path).context(|| format!("cannot make the sample directory {}", path.display()))?;
    Ok(path)
}

/// Creates `path` and fills it, unless it exists. The name appears once the
/// file is complete.
fn missing(path: &Path, fill: impl Fn(&File) -> std::io::Result<()>) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension(format!("{}.part", std::process::id()));
    fill(&File::create(&unfinished)?)?;
    fs::rename(unfinished, path)
}

fn fill_big(file: &File) -> std::io::Result<()> {
    file.set_len(BIG)?;
    for offset in (0..BIG).step_by(BIG_STEP as usize) {
        let line = format!("this page begins at byte {offset}\n");
        let page: Vec<u8> = line.bytes().cycle().take(PAGE).collect();
        file.write_all_at(&page, offset)?;
    }
    Ok(())
}

fn primes() -> String {
    let prime = |n: &u32| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..10_000)
        .filter(prime)
        .map(|n| format!("{n}\n"))
        .collect()
}

/// The lock on a shared directory; held as long as this, or a QEMU that
/// inherited it, lives.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Checks that `path` can be shared, and takes the lock: one Dormouse per
    /// tree, because two would not see each other's snapshots.
    pub fn take(path: &Path) -> Result<Lock, Failure> {
        let name = path.display();
        let about = |error| Failure::setup(format!("shared directory {name}: {error}"));
        if !fs::metadata(path)
            .map_err(|e| about(e.to_string()))?
            .is_dir()
        {
            return Err(about("not a directory".into()));
        }
        fs::read_dir(path).map_err(|e| about(e.to_string()))?;
        let directory = File::open(path).map_err(|e| about(e.to_string()))?;
        match directory.try_lock() {
            Ok(()) => Ok(Lock(directory)),
            Err(TryLockError::WouldBlock) => Err(about("in use by another Dormouse".into())),
            Err(TryLockError::Error(error)) => Err(about(format!("cannot be locked: {error}"))),
        }
    }

    /// The descriptor that carries the lock.
    pub fn file(&self) -> &File {
        &self.0
    }
}
