//! The jobs about processes: fork, what it costs with much memory, and the stores
//! after it.

use crate::Round;
use crate::jobs::{GIB, PG, count, in_another, repeat, run};
use rt::process::{self, Fork};
use rt::{Failure, File, Named, Segment, Stat64};

/// A process made, ended and waited for.
pub fn small() -> Result<Round, Failure> {
    repeat(20, || in_another(|| 0))
}

/// Processes beside the one that forks in a crowd.
const CROWD: usize = 900;

/// The same beside many others.
pub fn in_a_crowd() -> Result<Round, Failure> {
    let (ours, theirs) = File::pipe().about("channel")?;
    for _ in 0..CROWD {
        if let Fork::Child = process::fork().about("process")? {
            drop(ours);
            let _ = theirs.read(&mut [0]);
            process::exit_now(0, "")
        }
    }
    let round = small();
    drop(ours);
    for _ in 0..CROWD {
        process::wait().about("waiting")?;
    }
    round
}

/// The same with a small program run in it.
pub fn exec() -> Result<Round, Failure> {
    repeat(10, || run("/bin/echo", &["echo", "-n"]))
}

/// Memory of `len` bytes, every `stride`-th page of it changed.
fn changed(len: usize, stride: usize) -> Result<Segment, Failure> {
    let mut segment = Segment::attach("memory", len).about("segment")?;
    store(&mut segment, stride);
    Ok(segment)
}

/// Stores to every `stride`-th page; how many.
fn store(segment: &mut Segment, stride: usize) -> u64 {
    let pages = segment.bytes_mut().chunks_mut(PG).step_by(stride);
    pages.fold(0, |count, page| {
        page[0] = 1;
        count + 1
    })
}

/// A store to each page.
fn stores(segment: &mut Segment) -> Result<Round, Failure> {
    let mut times = 0;
    let ticks = count(Stat64::Ticks, || {
        times = store(segment, 1);
        Ok(())
    })?;
    Ok(Round { times, ticks })
}

/// A child that lives until this is dropped.
struct Child {
    pid: u64,
    end: Option<File>,
}

impl Child {
    fn new() -> Result<Child, Failure> {
        let (ours, theirs) = File::pipe().about("channel")?;
        match process::fork().about("process")? {
            Fork::Child => {
                drop(ours);
                // It ends with the hang-up.
                let _ = theirs.read(&mut [0]);
                process::exit_now(0, "")
            }
            Fork::Parent(pid) => Ok(Child {
                pid,
                end: Some(ours),
            }),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.end.take());
        // Nothing is lost if it is gone.
        let _ = process::wait_for(self.pid);
    }
}

/// The call alone, with 64 MiB of changed memory.
pub fn large() -> Result<Round, Failure> {
    let mut segment = changed(64 << 20, 1)?;
    let mut child = None;
    let ticks = count(Stat64::Ticks, || {
        child = Some(process::fork().about("process")?);
        Ok(())
    })?;
    match child {
        Some(Fork::Parent(pid)) => process::wait_for(pid).about("waiting").map(drop)?,
        Some(Fork::Child) | None => process::exit_now(0, ""),
    }
    store(&mut segment, 1);
    Ok(Round { times: 1, ticks })
}

/// The call and the child's end, with a thousand pages over 1 GiB.
pub fn sparse() -> Result<Round, Failure> {
    let _segment = changed(GIB, 262)?;
    let ticks = count(Stat64::Ticks, || in_another(|| 0))?;
    Ok(Round { times: 1, ticks })
}

/// A store to a page that a child has too, among 1,024 such pages.
pub fn copied() -> Result<Round, Failure> {
    let mut segment = changed(1024 * PG, 1)?;
    let _child = Child::new()?;
    stores(&mut segment)
}

/// A store to a page that a child had too and nobody else has now.
pub fn alone_again() -> Result<Round, Failure> {
    let mut segment = changed(1024 * PG, 1)?;
    drop(Child::new()?);
    stores(&mut segment)
}
