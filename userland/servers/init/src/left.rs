//! The leak check after the shell has ended: no resource may be in use that was
//! free before.
//!
//! Active with the boot option `left`. The judge gets `@left nothing` or the
//! list of leaks. Programs that still run count as leaks.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::abi::{ProcessInfo, Stat64};
use rt::stats::Counters;
use rt::{Errno, process, sys};

/// Time limit for the release of resources, in steps of `STEP_NS`.
const STEPS: usize = 100;
const STEP_NS: u64 = 10_000_000;
/// Tolerance for frames: the kernel caches some, and servers have page tables
/// beyond their mapped pages. After eighty processes at a time it is 60 to 110, and no more
/// after three times as many.
const FRAMES: u64 = 128;

/// The resources in use at one moment.
pub struct Account {
    counters: Counters,
    /// Frames in use that no process maps.
    frames: u64,
}

impl Account {
    /// The resources in use now.
    pub fn now() -> Result<Account, Errno> {
        sys::free_idle()?;
        let mapped: u64 = process::list().map(|process| process.pages).sum();
        let counters = Counters::now()?;
        let used = counters.get(Stat64::FramesTotal) - counters.get(Stat64::FramesFree);
        let frames = used.saturating_sub(mapped);
        Ok(Account { counters, frames })
    }

    /// The resources in use beyond `before`; empty if there are none.
    fn since(&self, before: &Account) -> String {
        let mut more: Vec<String> = self.counters.leaks(&before.counters).collect();
        let (was, is) = (before.frames, self.frames);
        if is > was + FRAMES {
            more.push(format!(
                "frames that no process maps: {was} before, {is} after"
            ));
        }
        more.join(", ")
    }
}

/// Tells the judge which resources the shell and its children have leaked.
pub fn tell(before: &Account) -> Result<(), Errno> {
    let mut left = String::new();
    for _ in 0..STEPS {
        bury()?;
        left = Account::now()?.since(before);
        if left.is_empty() {
            return sys::verdict(b"@left nothing");
        }
        sys::sleep(STEP_NS)?;
    }
    sys::verdict(format!("@left {left}").as_bytes())
}

/// Waits for the orphans that have ended.
fn bury() -> Result<(), Errno> {
    let me = sys::getpid();
    let dead = |process: &ProcessInfo| process.parent == me && process.state == ProcessInfo::ENDED;
    while process::list().any(|process| dead(&process)) {
        process::wait()?;
    }
    Ok(())
}
