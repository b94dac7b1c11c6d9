//! How long a call keeps others from running, seen by a process that is always ready.

use crate::check::{PG, Scratch, Verdict, Why};
use crate::liar::{Liar, Next, close_all_but};
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ninep::Request;
use rt::process::{self, Fork};
use rt::{File, Shared, sys};

/// The limit for every call. 10 ms are promised, at one instruction a nanosecond, and
/// one is aimed at.
const LIMIT: u32 = 1_500_000;
/// The same where all of many processes must be told in one step.
const WHOLE_LIMIT: u32 = 10_000_000;
/// The same while pages leave and come back: those who bring them, the swap server and the
/// driver of its device take turns meanwhile.
const SWAP_LIMIT: u32 = 4_000_000;

/// Another process that is always ready, and how long it was not let run.
pub struct Beat {
    shared: Shared,
    pid: u64,
    /// Where it is mounted, if it is a file server.
    server: Option<Scratch>,
    /// The longest gap that may be.
    limit: u32,
}

/// Where in the shared page the longest gap is, whether to go on, and how often
/// the other ran.
const GAP: usize = 0;
const STOP: usize = 4;
const TURNS: usize = 8;

/// The time, in instructions under `--icount`.
pub fn ticks() -> u64 {
    // SAFETY: reads a counter that programs may read.
    unsafe { _rdtsc() }
}

/// Notes how long it did not run, whenever it does, until it is to stop.
fn beat(shared: &Shared) -> u8 {
    let number = |at| shared.number(at).ok();
    let (Some(gap), Some(stop), Some(turns)) = (number(GAP), number(STOP), number(TURNS)) else {
        return 1;
    };
    let mut last = ticks();
    while stop.load(Relaxed) == 0 && sys::sleep(0).is_ok() {
        let now = ticks();
        gap.fetch_max(u32::try_from(now - last).unwrap_or(u32::MAX), Relaxed);
        turns.fetch_add(1, Relaxed);
        last = now;
    }
    0
}

impl Beat {
    /// An ordinary program.
    pub fn start() -> Result<Beat, Why> {
        let shared = Shared::new(PG)?;
        let pid = process::spawn(|| beat(&shared))?;
        Ok(Beat {
            shared,
            pid,
            server: None,
            limit: LIMIT,
        })
    }

    /// The same, for calls that tell many processes in one step.
    pub fn start_whole() -> Result<Beat, Why> {
        let mut beat = Beat::start()?;
        beat.limit = WHOLE_LIMIT;
        Ok(beat)
    }

    /// A file server, whose pages stay in memory while those of others leave.
    pub fn start_server() -> Result<Beat, Why> {
        let shared = Shared::new(PG)?;
        let place = Scratch::empty("beat")?;
        let (ours, theirs) = File::pipe()?;
        let pid = process::spawn(|| {
            close_all_but(&[&theirs]);
            Liar::default().serve(&theirs, |turn| match turn.request {
                Request::Getattr { .. } => match turn.answer() {
                    Ok(()) => Next::End(beat(&shared)),
                    Err(_) => Next::End(1),
                },
                _ => Next::Honest,
            })
        })?;
        drop(theirs);
        ours.mount(&place.path)?;
        File::stat_path(&place.path)?;
        Ok(Beat {
            shared,
            pid,
            server: Some(place),
            limit: SWAP_LIMIT,
        })
    }

    fn number(&self, at: usize) -> Result<&AtomicU32, Why> {
        Ok(self.shared.number(at)?)
    }

    /// The other has just run, and nothing is measured yet.
    fn arm(&self) -> Verdict {
        let before = self.number(TURNS)?.load(Relaxed);
        while self.number(TURNS)?.load(Relaxed) == before {
            sys::sleep(0)?;
        }
        self.number(GAP)?.store(0, Relaxed);
        Ok(())
    }

    /// Runs `work`, which makes one call or a few, and checks the longest gap.
    pub fn measure<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<T, Why> {
        self.arm()?;
        let result = work();
        let before = self.number(TURNS)?.load(Relaxed);
        while self.number(TURNS)?.load(Relaxed) == before {
            sys::sleep(0)?;
        }
        self.check(what)?;
        Ok(result)
    }

    /// The longest gap so far.
    pub fn gap(&self) -> Result<u32, Why> {
        Ok(self.number(GAP)?.load(Relaxed))
    }

    /// Checks it.
    pub fn check(&self, what: &str) -> Verdict {
        let gap = self.gap()?;
        rt::println!("gap {gap:>10} {what}");
        ensure!(
            gap <= self.limit,
            "{what}: nobody else ran for {gap} instructions"
        );
        Ok(())
    }

    /// A child that has `prepare` done and then ends by `end`, measured.
    pub fn child<T>(
        &self,
        what: &str,
        prepare: impl FnOnce() -> Result<T, Why>,
        end: impl FnOnce(T),
    ) -> Verdict {
        let pid = match process::fork()? {
            Fork::Child => match prepare().and_then(|made| self.arm().map(|()| made)) {
                Ok(made) => {
                    end(made);
                    process::exit_now(0, "")
                }
                Err(Why(why)) => process::exit(1, &why),
            },
            Fork::Parent(pid) => pid,
        };
        let ended = process::wait_for(pid)?;
        ensure!(ended.status() == 0, "{what}: {}", ended.text());
        self.check(what)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if let Ok(stop) = self.shared.number(STOP) {
            stop.store(1, Relaxed);
            // Only the process that made it has it for a child.
            let _ = process::wait_for(self.pid);
        }
        if let Some(place) = &self.server {
            // Fails only where the mount failed before.
            let _ = sys::unmount(&place.path);
        }
    }
}
