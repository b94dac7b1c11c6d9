//! Helpers of the cases: failures with a reason, scratch files, patterns, other
//! processes.

use alloc::format;
use alloc::string::String;
use alloc::{vec, vec::Vec};
use core::fmt::Debug;
use core::panic::Location;
use rt::abi::{PAGE, ProcessInfo, mode};
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{Errno, Failure, File, Named, Segment, Stat64};

/// Why a case failed.
pub struct Why(pub String);

/// The verdict of a case.
pub type Verdict = Result<(), Why>;

impl From<Failure> for Why {
    fn from(failure: Failure) -> Self {
        Why(format!("{failure}"))
    }
}

impl From<Errno> for Why {
    #[track_caller]
    fn from(errno: Errno) -> Self {
        let place = Location::caller();
        let (file, line) = (place.file(), place.line());
        Why(format!("unexpected error at {file}:{line}: {errno}"))
    }
}

/// Fails the case with a formatted reason unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)*) => {
        if !$condition {
            return Err($crate::check::Why(alloc::format!($($reason)*)));
        }
    };
}

/// Fails the case unless both are equal.
pub fn same<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Verdict {
    ensure!(got == want, "{what}: {got:?} instead of {want:?}");
    Ok(())
}

/// Returns true in a guest in which every page that can leave memory leaves at once
/// (`--pressure`). Pages of any program, its text too, come and go there at any time, and
/// the counters of the system count that.
pub fn pressed() -> Result<bool, Why> {
    Ok(Counters::now()?.get(Stat64::Pressure) == 1)
}

/// How often a case does something, fewer times under pressure: it takes longer there, for
/// the pages that left have to come back.
pub fn rounds(usual: usize) -> Result<usize, Why> {
    Ok(if pressed()? {
        usual.div_ceil(10)
    } else {
        usual
    })
}

/// As [`same`], of a figure that says which pages are in memory, or counts what came and
/// went: under pressure it may be any.
pub fn counts<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Verdict {
    match pressed()? {
        true => Ok(()),
        false => same(what, got, want),
    }
}

/// As [`counts`], of a figure with a limit.
pub fn at_most(what: &str, got: u64, most: u64) -> Verdict {
    let fits = got <= most || pressed()?;
    ensure!(fits, "{got} {what} instead of at most {most}");
    Ok(())
}

/// Fails the case unless the call failed with that error.
pub fn fails<T: Debug>(what: &str, got: Result<T, Errno>, want: Errno) -> Verdict {
    match got {
        Err(errno) if errno == want => Ok(()),
        got => Err(Why(format!("{what}: {got:?} instead of {want:?}"))),
    }
}

/// Bytes in a page, for lengths in memory.
pub const PG: usize = PAGE as usize;

/// Where scratch files are.
const FOLDER: &str = "/n/host/suite.tmp";

/// Leaves the shared directory as it was found.
pub fn remove_folder() {
    // Not there if no case needed it, not empty if one failed.
    let _ = rt::sys::remove(FOLDER);
}

/// The byte of pattern `seed` at `offset` of a file: differs between seeds,
/// pages and neighbours, and is never 0.
pub fn pattern(seed: u8, offset: u64) -> u8 {
    let mixed = (offset ^ (offset >> 12).wrapping_mul(0x9e37)).wrapping_add(u64::from(seed) * 101);
    (mixed % 255) as u8 + 1
}

/// `len` bytes of a pattern from `offset` on.
pub fn patterned(seed: u8, offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64)
        .map(|at| pattern(seed, at))
        .collect()
}

/// Compares memory with the expected content; names the first difference.
pub fn equal(what: &str, got: &[u8], want: &[u8]) -> Verdict {
    same(&format!("{what}: length"), got.len(), want.len())?;
    if let Some(at) = got.iter().zip(want).position(|(g, w)| g != w) {
        let (g, w) = (got[at], want[at]);
        return Err(Why(format!(
            "{what}: byte {at:#x} is {g:#x} instead of {w:#x}"
        )));
    }
    Ok(())
}

/// A snapshot segment of that many pages.
pub fn snapshot(pages: usize) -> Result<Segment, Why> {
    Ok(Segment::attach("snapshot", pages * PG).about("snapshot segment")?)
}

/// Runs `body` in another process and waits for it; its failure becomes ours.
pub fn other(body: impl FnOnce() -> Verdict) -> Verdict {
    match process::fork()? {
        Fork::Child => match body() {
            Ok(()) => process::exit(0, ""),
            Err(Why(text)) => process::exit(1, &text),
        },
        Fork::Parent(pid) => {
            let ended = process::wait_for(pid)?;
            let (status, text) = (ended.status(), ended.text());
            ensure!(status == 0, "the other process: status {status}: {text}");
            Ok(())
        }
    }
}

/// What the system says of this process.
pub fn me() -> Result<ProcessInfo, Why> {
    let pid = rt::sys::getpid();
    let mine = process::list().find(|info| info.pid == pid);
    mine.ok_or_else(|| Why("not in the list of processes".into()))
}

/// Returns when all processes that this one has started, and all others of its note group
/// (its threads), wait, and go on waiting: what they were to begin is under way, however
/// slow the machine is.
pub fn at_rest() -> Verdict {
    const LOOKS: usize = 20_000;
    const QUIET: usize = 5;
    // A page that left may take so long to come back.
    const PRESSED: usize = 300;
    let (mine, pressed) = (me()?, pressed()?);
    let (mut before, mut quiet) = (0, 0);
    for _ in 0..LOOKS {
        let own = process::list().filter(|info| {
            info.pid != mine.pid && (info.parent == mine.pid || info.group == mine.group)
        });
        let (mut ran, mut ready, mut enough) = (0, false, QUIET);
        for info in own {
            ran += info.ticks;
            ready |= matches!(info.state, ProcessInfo::READY | ProcessInfo::RUNNING);
            if pressed && info.waits_for() == "reply of a server" {
                enough = PRESSED;
            }
        }
        quiet = match ready || ran != before {
            true => 0,
            false => quiet + 1,
        };
        if quiet >= enough {
            return Ok(());
        }
        before = ran;
        rt::sys::sleep(1_000_000)?;
    }
    Err(Why("processes that do not come to rest".into()))
}

/// A file of a case, removed when dropped.
pub struct Scratch {
    pub path: String,
    pub file: File,
    /// Only the process that made it removes it.
    owner: u64,
}

impl Scratch {
    /// An empty one.
    pub fn empty(name: &str) -> Result<Scratch, Why> {
        // It exists after the first case.
        let _ = File::create(FOLDER, mode::OREAD, mode::DMDIR | 0o755);
        let path = format!("{FOLDER}/{name}");
        let file = File::create(&path, mode::ORDWR | mode::OTRUNC, 0o644).about(&path)?;
        let owner = rt::sys::getpid();
        Ok(Scratch { path, file, owner })
    }

    /// One of `len` bytes of the pattern `seed`.
    pub fn patterned(name: &str, seed: u8, len: usize) -> Result<Scratch, Why> {
        let scratch = Scratch::empty(name)?;
        scratch
            .file
            .write_all_at(&patterned(seed, 0, len), 0)
            .about(name)?;
        Ok(scratch)
    }

    /// One of `len` zeros, without anything on the disk.
    pub fn zeros(name: &str, len: u64) -> Result<Scratch, Why> {
        let scratch = Scratch::empty(name)?;
        scratch.file.set_size(len).about(name)?;
        Ok(scratch)
    }

    /// The content as an ordinary read gives it.
    pub fn content(&self) -> Result<Vec<u8>, Why> {
        let size = self.file.stat().about(&self.path)?.size as usize;
        let mut all = vec![0; size];
        let n = self.file.read_full_at(&mut all, 0).about(&self.path)?;
        same("bytes in the file", n, size)?;
        Ok(all)
    }

    /// Opens it once more, as another process would.
    pub fn again(&self) -> Result<File, Why> {
        Ok(File::open(&self.path, mode::ORDWR).about(&self.path)?)
    }

    /// Writes `len` bytes of a pattern over its beginning, by another process.
    pub fn overwrite_by_other(&self, seed: u8, len: usize) -> Verdict {
        other(|| {
            let file = self.again()?;
            file.write_all_at(&patterned(seed, 0, len), 0)?;
            Ok(())
        })
    }

    /// Reads all of it into the front of a new snapshot segment of `pages`.
    pub fn asleep(&self, pages: usize) -> Result<Segment, Why> {
        let mut segment = snapshot(pages)?;
        let size = (self.file.stat().about(&self.path)?.size as usize).min(pages * PG);
        let n = self
            .file
            .read_full_at(&mut segment.bytes_mut()[..size], 0)?;
        same("bytes read", n, size)?;
        Ok(segment)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.owner == rt::sys::getpid() {
            // Some cases have removed it themselves.
            let _ = rt::sys::remove(&self.path);
        }
    }
}
