//! The shared directory: the default sample, and the lock.

use crate::failure::{Context, Failure, say};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Bytes of the sample's large file.
const BIG: u64 = 1 << 30;
/// Distance of the pages of the large file that have content.
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

/// The most sample directories, and so guests with one at the same time.
const SAMPLES_MOST: usize = 64;

/// How often, and after which pauses, a lock is tried for again that another has.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// A sample directory in `parent` that no other guest uses, created if missing,
/// and its lock: `share`, or `share-2` while that is in use, and so on.
///
/// # Errors
/// It cannot be created, or all are in use.
pub fn sample(parent: &Path) -> Result<(PathBuf, Lock), Failure> {
    let mut first = None;
    for number in 1..=SAMPLES_MOST {
        let path = match number {
            1 => parent.join("share"),
            _ => parent.join(format!("share-{number}")),
        };
        make_sample(&path)?;
        match Lock::try_take(&path)? {
            Ok(lock) => {
                if let Some(reason) = first {
                    say(format_args!("{reason}; sharing {} instead", path.display()));
                }
                return Ok((path, lock));
            }
            Err(holder) => {
                first.get_or_insert(format!("{} is {holder}", path.display()));
            }
        }
    }
    Err(Failure::setup(format!(
        "{SAMPLES_MOST} sample directories are in use; end a guest, or name a directory by --share DIR"
    )))
}

/// Creates the missing files of the sample directory `path`.
fn make_sample(path: &Path) -> Result<(), Failure> {
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
    make(path).context(|| format!("cannot make the sample directory {}", path.display()))
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
    /// tree, because two would not protect each other's snapshots.
    pub fn take(path: &Path) -> Result<Lock, Failure> {
        let mut taken = Lock::try_take(path)?;
        // A process that this one is starting has a copy of a lock until its program runs.
        for _ in 0..TRIES {
            if taken.is_ok() {
                break;
            }
            thread::sleep(PAUSE);
            taken = Lock::try_take(path)?;
        }
        taken.map_err(|holder| {
            Failure::setup(format!(
                "shared directory {}: {holder}; end it, or name another directory by --share DIR",
                path.display()
            ))
        })
    }

    /// As `take`; `Ok(Err(..))` names the holder of the lock.
    fn try_take(path: &Path) -> Result<Result<Lock, String>, Failure> {
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
            Ok(()) => Ok(Ok(Lock(directory))),
            Err(TryLockError::WouldBlock) => Ok(Err(match holder(&directory) {
                Some(process) => format!("in use by another Dormouse (process {process})"),
                None => "in use by another Dormouse".into(),
            })),
            Err(TryLockError::Error(error)) => Err(about(format!("cannot be locked: {error}"))),
        }
    }

    /// The descriptor that carries the lock.
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// The process that holds the lock on `directory`, if it lives and the system
/// reveals it.
fn holder(directory: &File) -> Option<u32> {
    let known = directory.metadata().ok()?;
    let device = known.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let place = format!("{major:02x}:{minor:02x}:{}", known.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4711 fd:01:9437 0 EOF`
    let mut lines = locks.lines().map(|line| line.split_whitespace());
    let process = lines.find_map(|mut words| {
        let flock = words.nth(1)? == "FLOCK";
        let process = words.nth(2)?.parse().ok()?;
        (flock && words.next()? == place).then_some(process)
    })?;
    Path::new(&format!("/proc/{process}"))
        .exists()
        .then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_at_the_same_time_get_samples_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let (first, lock) = sample(parent.path()).unwrap();
        let (second, _lock) = sample(parent.path()).unwrap();
        assert_eq!(first, parent.path().join("share"));
        assert_eq!(second, parent.path().join("share-2"));
        assert!(second.join("big").is_file());
        let failure = Lock::take(&first).unwrap_err();
        let said = format!(
            "in use by another Dormouse (process {})",
            std::process::id()
        );
        assert!(failure.text.contains(&said), "{failure}");
        assert!(failure.text.contains("--share DIR"), "{failure}");
        drop(lock);
        assert_eq!(sample(parent.path()).unwrap().0, first);
    }
}
