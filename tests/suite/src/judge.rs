//! Runs cases and tells the judge.

use crate::cases::{Case, Expect};
use crate::check::{Verdict, Why};
use alloc::format;
use alloc::string::String;
use core::cell::Cell;
use rt::process::{self, Ended, Fork};
use rt::stats::Counters;
use rt::{Failure, Named, Stat64, sys};

/// How often a case that seems to have lost frames, or fids of a server's own,
/// is run again. Servers and the kernel keep some for later, up to the most they
/// ever needed; a run that loses none shows that it is that and no leak.
const AGAIN: usize = 6;
/// Time limit for the release of resources, in steps of `STEP_NS`.
const STEPS: usize = 100;
const STEP_NS: u64 = 10_000_000;
/// Steps without any change after which what is kept for later is not waited for.
const STILL: usize = 10;

/// The counters, with an error that says so.
pub fn counters() -> Result<Counters, Failure> {
    Counters::now().about("counters")
}

/// The counters, with nothing kept of files that nobody has.
fn rest() -> Result<Counters, Failure> {
    sys::free_idle().about("idle frames")?;
    counters()
}

fn say(line: &str) -> Result<(), Failure> {
    sys::verdict(line.as_bytes()).about("verdict")
}

/// The tally so far.
pub struct Judge {
    passed: usize,
    failed: usize,
}

impl Judge {
    /// Announces how many cases there will be.
    pub fn open(plan: usize) -> Result<Judge, Failure> {
        say(&format!("@plan {plan}"))?;
        Ok(Judge {
            passed: 0,
            failed: 0,
        })
    }

    /// Runs one case and gives its verdict.
    pub fn run(&mut self, case: &Case) -> Result<(), Failure> {
        self.verdict(case.name, || {
            judge(&case.expect, || apart(case.privileges, case.run))
        })
    }

    /// Runs a generated case, which must pass. A case that leaves something is run again,
    /// to see whether that is kept for later; `run` is told whether it runs first.
    pub fn check(&mut self, name: &str, run: impl Fn(bool) -> Verdict) -> Result<(), Failure> {
        let first = Cell::new(true);
        let perform = || apart(0, || run(first.get())).inspect(|_| first.set(false));
        self.verdict(name, || judge(&Expect::Passes, perform))
    }

    /// Runs a program of `/bin` as a case: it must end with status 0.
    pub fn program(&mut self, name: &str, path: &str) -> Result<(), Failure> {
        let run = || judge(&Expect::Passes, || start(name, path));
        self.verdict(name, run)
    }

    fn verdict(&mut self, name: &str, run: impl FnOnce() -> Verdict) -> Result<(), Failure> {
        say(&format!("@run {name}"))?;
        match run() {
            Ok(()) => {
                self.passed += 1;
                say(&format!("@ok {name}"))
            }
            Err(Why(why)) => {
                self.failed += 1;
                let why = why.replace('\n', " ");
                rt::println!("FAIL {name}: {why}");
                // Seen at once, also if the machine hangs in the next case.
                let _ = rt::io::flush();
                say(&format!("@fail {name} {why}"))
            }
        }
    }

    /// The tally; the exit status is 0 only if nothing failed.
    pub fn close(self) -> Result<u8, Failure> {
        let Judge { passed, failed } = self;
        say(&format!("@done {passed} {failed}"))?;
        rt::println!("{passed} passed, {failed} failed");
        Ok(u8::from(failed > 0))
    }
}

fn judge(expect: &Expect, perform: impl Fn() -> Result<Ended, Why>) -> Verdict {
    let mut lost = String::new();
    for _ in 0..=AGAIN {
        let before = rest()?;
        let ended = perform()?;
        expected(expect, &ended)?;
        match given_back(&before)? {
            Kept::Nothing => return Ok(()),
            Kept::ForLater(text) => lost = text,
            Kept::Handles(text) => return Err(Why(text)),
        }
    }
    Err(Why(lost))
}

/// A check in a process of its own, without other privileges than `keep`.
fn apart(keep: u64, run: impl FnOnce() -> Verdict) -> Result<Ended, Why> {
    match process::fork()? {
        Fork::Child => {
            let verdict = sys::privilege(keep).map_err(Why::from).and_then(|_| run());
            match verdict {
                Ok(()) => process::exit(0, ""),
                Err(Why(text)) => process::exit(1, &text),
            }
        }
        Fork::Parent(pid) => Ok(process::wait_for(pid)?),
    }
}

/// A program in a process of its own, without privileges.
fn start(name: &str, path: &str) -> Result<Ended, Why> {
    match process::fork()? {
        Fork::Child => {
            let errno = match sys::privilege(0) {
                Ok(_) => process::exec(path, &[name]),
                Err(errno) => errno,
            };
            process::exit(1, &format!("cannot be started: {errno}"))
        }
        Fork::Parent(pid) => Ok(process::wait_for(pid)?),
    }
}

fn expected(expect: &Expect, ended: &Ended) -> Verdict {
    let (status, text) = (ended.status(), ended.text());
    match expect {
        Expect::Passes => {
            let killed = u32::from(status) == rt::abi::STATUS_KILLED;
            ensure!(!killed, "ended by the kernel: {text}");
            ensure!(status == 0 || text.is_empty(), "{text}");
            ensure!(status == 0, "ended with status {status}");
        }
        Expect::Dies(parts) => {
            let killed = u32::from(status) == rt::abi::STATUS_KILLED;
            ensure!(
                killed,
                "not ended by the kernel, but with status {status}: {text}"
            );
            for part in *parts {
                ensure!(
                    text.contains(part),
                    "the message \"{text}\" lacks \"{part}\""
                );
            }
        }
    }
    Ok(())
}

/// A leak of a case.
enum Kept {
    Nothing,
    /// Frames or a server's fids; perhaps.
    ForLater(String),
    /// Never permitted.
    Handles(String),
}

fn given_back(before: &Counters) -> Result<Kept, Why> {
    let mut kept = Kept::Nothing;
    let (mut last, mut still) = ([0; 2], 0);
    for _ in 0..STEPS {
        let now = rest()?;
        kept = compare(before, &now);
        if let Kept::Nothing = kept
            && let Err(errno) = sys::audit()
        {
            kept = Kept::Handles(format!("owners of frames and their pages differ: {errno}"));
        }
        let these = [Stat64::FramesFree, Stat64::ServerFids].map(|counter| now.get(counter));
        still = if these == last { still + 1 } else { 0 };
        last = these;
        match kept {
            Kept::Nothing => break,
            // The case is run again to see whether it keeps more each time.
            Kept::ForLater(_) if still == STILL => break,
            Kept::ForLater(_) | Kept::Handles(_) => {}
        }
        sys::sleep(STEP_NS)?;
    }
    Ok(kept)
}

fn compare(before: &Counters, now: &Counters) -> Kept {
    if let Some(leak) = now.leaks(before).next() {
        return Kept::Handles(leak);
    }
    let (was, is) = (before.get(Stat64::FramesFree), now.get(Stat64::FramesFree));
    // Under pressure frames are free because the pages of those that run left them.
    if now.get(Stat64::Pressure) == 0 && is < was {
        return Kept::ForLater(format!("free frames: {was} before, {is} after, each time"));
    }
    let (was, is) = (before.get(Stat64::ServerFids), now.get(Stat64::ServerFids));
    if is > was {
        return Kept::ForLater(format!(
            "fids of servers: {was} before, {is} after, each time"
        ));
    }
    Kept::Nothing
}
