//! A directory of its own for a case, at the host and in memory.

use crate::check::Verdict;
use alloc::vec::Vec;
use rt::abi::mode;
use rt::{ByteString, Errno, File, sys, tree};

/// A directory of a server, gone with all that is in it when dropped.
pub struct TestDir(pub &'static str);

impl TestDir {
    /// Checks at the host, then in memory.
    pub fn each(check: impl Fn(&TestDir) -> Verdict) -> Verdict {
        for path in ["/n/host/suite-place", "/tmp/suite-place"] {
            drop(File::create(path, mode::OREAD, mode::DMDIR | 0o755)?);
            check(&TestDir(path))?;
        }
        Ok(())
    }

    /// The path of a name in it.
    pub fn at(&self, name: &[u8]) -> ByteString {
        ByteString([self.0.as_bytes(), b"/", name].concat())
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Result<Vec<ByteString>, Errno> {
        names(self.0.as_bytes())
    }
}

fn names(path: &[u8]) -> Result<Vec<ByteString>, Errno> {
    let directory = File::open(path, mode::OREAD)?;
    let names: Result<Vec<_>, _> = directory.read_dir().map(|e| e.map(|e| e.name)).collect();
    let mut names = names?;
    names.retain(|name| *name != "." && *name != "..");
    names.sort_unstable();
    Ok(names)
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = sys::chdir("/");
        tree::remove("suite", self.0.into());
    }
}
