//! `suite replay FILE...`: runs scenario files of the model tests on the real
//! kernel.
//!
//! Each process of a scenario is a process here, and a further one is the
//! foreign client. They take turns: the foreign client tells a process which
//! step is next, and waits for its answer. Each of them performs all steps on
//! the eager model, and its own steps for real. Steps that a guest cannot
//! perform (evictions, failures, events in the middle of others) are left out;
//! no result depends on them.

use crate::check::{PG, Scratch, Verdict, Why, equal, same};
use alloc::string::String;
use alloc::{format, vec::Vec};
use program::eager::Eager;
use program::{FIRST_PAGE, Op, Outcome, PAGES, Program, SEGMENT_PAGES, SPACES, content, pattern};
use rt::abi::mode;
use rt::process::{self, Fork};
use rt::{File, Named, Segment, sys};

/// In place of a step: compare everything and end; just end.
const END: u32 = u32::MAX;
const GIVE_UP: u32 = u32::MAX - 1;

/// Length of the longest answer.
const ANSWER: usize = 200;

/// The program in a file.
pub fn load(path: &str) -> Result<Program, Why> {
    let file = File::open(path, mode::OREAD).about(path)?;
    let text = file.read_to_end().about(path)?;
    let text = String::from_utf8(text).map_err(|_| Why("not text".into()))?;
    Program::parse(&text).map_err(|why| Why(format!("{path}: {}", why.0)))
}

/// A file of the program.
struct Replayed {
    scratch: Scratch,
    /// The same file, for writes to its end.
    end: File,
}

/// The state that every process has.
struct Stage<'a> {
    program: &'a Program,
    files: Vec<Replayed>,
    /// For each process of the scenario, both ends of its channel: the foreign
    /// client's and its own.
    turns: Vec<(File, File)>,
    /// Everything up to the step `next`.
    model: Eager,
    next: usize,
}

/// Runs a scenario; prints what was compared in each step if `tells`.
pub fn play(program: &Program, tells: bool) -> Verdict {
    let mut files = Vec::new();
    for (number, size) in program.files.iter().enumerate() {
        let scratch = Scratch::empty(&format!("replay-{number}"))?;
        scratch.file.write_all_at(&content(number, *size), 0)?;
        let end = File::open(&scratch.path, mode::ORDWR | mode::OAPPEND)?;
        files.push(Replayed { scratch, end });
    }
    let mut turns = Vec::new();
    for _ in 0..SPACES {
        turns.push(File::pipe()?);
    }
    let contents = program.files.iter().enumerate();
    let contents = contents.map(|(number, size)| content(number, *size));
    let mut stage = Stage {
        program,
        files,
        turns,
        model: Eager::new(contents.collect(), PAGES * PG),
        next: 0,
    };
    match process::fork()? {
        Fork::Child => stage.take_turns(0),
        Fork::Parent(pid) => {
            let verdict = stage.direct(tells);
            let last = if verdict.is_ok() { END } else { GIVE_UP };
            let mut ends = verdict;
            for space in 0..SPACES {
                if stage.model.exists(space) {
                    let end = stage.tell(space, last);
                    ends = ends.and(end);
                }
            }
            process::wait_for(pid)?;
            ends?;
            stage.compare_files()?;
            if tells {
                rt::println!(
                    " end  the memory of each process and {} files: all as in the arrays",
                    program.files.len()
                );
            }
            Ok(())
        }
    }
}

impl Stage<'_> {
    /// The foreign client: says whose turn it is.
    fn direct(&mut self, tells: bool) -> Verdict {
        for step in 0..self.program.steps.len() {
            let (op, _) = &self.program.steps[step];
            let verdict = match op.space() {
                Some(space) if self.model.exists(space) => self.tell(space, step as u32),
                _ => self.elsewhere(op),
            };
            verdict.map_err(|Why(why)| Why(format!("step {step}, {op}: {why}")))?;
            let outcome = self.model.apply(op);
            if tells {
                rt::println!("{step:>4}  {op}: {}", compared(op, &outcome));
            }
            self.next = step + 1;
        }
        Ok(())
    }

    /// Tells a process to perform a step, and waits for its verdict.
    fn tell(&self, space: usize, step: u32) -> Verdict {
        let (ours, _) = &self.turns[space];
        rt::send(ours, [&step.to_le_bytes()])?;
        let mut answer = [0; ANSWER];
        let n = ours.read(&mut answer)?;
        match &answer[..n] {
            b"ok" => Ok(()),
            why => Err(Why(String::from_utf8_lossy(why).into_owned())),
        }
    }

    /// The steps that the foreign client performs itself.
    fn elsewhere(&self, op: &Op) -> Verdict {
        let path = |name: usize| &self.files[name].scratch.path;
        let file = |file: usize| &self.files[file].scratch.file;
        match *op {
            Op::Foreign {
                file: f,
                off,
                n,
                value,
            } => file(f).write_all_at(&pattern(value, n), off as u64)?,
            Op::Truncate { file: f, size } => file(f).set_size(size as u64)?,
            Op::Remove { name } if self.model.names[name].is_some() => sys::remove(path(name))?,
            Op::Rename { from, to } if self.model.names[from].is_some() => {
                sys::rename(path(from), path(to))?;
            }
            // Of a process that there is not, or nothing a guest can do.
            _ => {}
        }
        Ok(())
    }

    /// A process of the program, until it ends.
    fn take_turns(&mut self, mut space: usize) -> ! {
        let mut segment = match Segment::attach("snapshot", SEGMENT_PAGES * PG) {
            Ok(segment) => segment,
            Err(errno) => process::exit(1, &format!("{errno}")),
        };
        loop {
            let step = self.hear(space);
            let (verdict, ends) = match step {
                END => (self.compare_memory(space, &segment), true),
                GIVE_UP => (Ok(()), true),
                step => match self.perform(step as usize, &mut segment) {
                    // The new process; its parent answers.
                    Ok(Some(child)) => {
                        space = child;
                        continue;
                    }
                    Ok(None) => (Ok(()), !self.model.exists(space)),
                    Err(why) => (Err(why), false),
                },
            };
            let answer = match &verdict {
                Ok(()) => "ok",
                Err(Why(why)) => why.get(..ANSWER).unwrap_or(why),
            };
            let told = rt::send(&self.turns[space].1, [answer.as_bytes()]);
            if ends || told.is_err() {
                process::exit(0, "");
            }
        }
    }

    /// Waits for the number of the next step.
    fn hear(&self, space: usize) -> u32 {
        let mut step = [0; 4];
        match self.turns[space].1.read(&mut step) {
            Ok(4) => u32::from_le_bytes(step),
            _ => GIVE_UP,
        }
    }

    /// Performs the steps of the others on the model.
    fn catch_up(&mut self, step: usize) {
        for (op, _) in &self.program.steps[self.next..step] {
            self.model.apply(op);
        }
        self.next = step;
    }

    /// The process does a step, and compares; in a new process that it made,
    /// its place.
    fn perform(&mut self, step: usize, segment: &mut Segment) -> Result<Option<usize>, Why> {
        self.catch_up(step);
        let (op, _) = &self.program.steps[step];
        let expected = self.model.apply(op);
        self.next = step + 1;
        let part = |at: usize, n: usize| FIRST_PAGE * PG + at..FIRST_PAGE * PG + at + n;
        match *op {
            Op::Read {
                at, n, file, off, ..
            } => {
                let file = &self.files[file].scratch.file;
                let got = file.read_at(&mut segment.bytes_mut()[part(at, n)], off as u64)?;
                same("bytes read", Outcome::Done(got), expected)?;
            }
            Op::Write {
                at, n, file, off, ..
            } => {
                let bytes = &segment.bytes()[part(at, n)];
                match off {
                    Some(off) => {
                        let file = &self.files[file].scratch.file;
                        file.write_all_at(bytes, off as u64)?;
                    }
                    None => self.files[file].end.write_all(bytes)?,
                }
            }
            Op::Store { at, n, value, .. } => {
                segment.bytes_mut()[part(at, n)].copy_from_slice(&pattern(value, n));
            }
            Op::Load { at, n, .. } => {
                if let Outcome::Loaded(bytes) = expected {
                    equal("the bytes loaded", &segment.bytes()[part(at, n)], &bytes)?;
                }
            }
            Op::Free { at, n, .. } => free(segment, part(at, n))?,
            Op::Fork { .. } => {
                if let Outcome::Forked(child) = expected
                    && process::fork()? == Fork::Child
                {
                    return Ok(Some(child));
                }
            }
            // The process ends when it has answered.
            Op::Exit { .. } => {}
            Op::Evict { .. }
            | Op::PageOut { .. }
            | Op::Foreign { .. }
            | Op::Truncate { .. }
            | Op::Remove { .. }
            | Op::Rename { .. }
            | Op::Full { .. } => {}
        }
        Ok(None)
    }

    fn compare_memory(&mut self, space: usize, segment: &Segment) -> Verdict {
        self.catch_up(self.program.steps.len());
        let start = FIRST_PAGE * PG;
        let bytes = &segment.bytes()[start..start + PAGES * PG];
        equal(&format!("process {space}"), bytes, self.model.space(space))
    }

    fn compare_files(&self) -> Verdict {
        for (number, file) in self.files.iter().enumerate() {
            let content = file.scratch.content()?;
            let name = format!("file{number}");
            equal(&name, &content, &self.model.files[number])?;
            let there = match File::open(&file.scratch.path, mode::OREAD) {
                Ok(file) => Some(file.read_to_end()?),
                Err(_) => None,
            };
            let named = self.model.names[number].map(|file| &self.model.files[file]);
            let right = there.as_ref() == named;
            ensure!(right, "the name of {name} is not of the right file");
        }
        Ok(())
    }
}

/// What was compared in a step that has passed.
fn compared(op: &Op, outcome: &Outcome) -> String {
    match (op, outcome) {
        (Op::Evict { .. } | Op::PageOut { .. } | Op::Full { .. }, _) => {
            "left out, a program cannot do it".into()
        }
        (_, Outcome::Skipped) => "nothing to do".into(),
        (_, Outcome::Loaded(bytes)) => format!("{} bytes, all as in the array", bytes.len()),
        (Op::Read { .. }, Outcome::Done(n)) => format!("{n} bytes, as many as of the array"),
        (_, Outcome::Forked(child)) => format!("process {child}"),
        (_, Outcome::Done(_)) => "done".into(),
    }
}

/// Zeros a range: whole pages by giving them back.
fn free(segment: &mut Segment, range: core::ops::Range<usize>) -> Verdict {
    let pages = range.start.next_multiple_of(PG)..range.end / PG * PG;
    if pages.is_empty() {
        segment.bytes_mut()[range].fill(0);
        return Ok(());
    }
    segment.bytes_mut()[range.start..pages.start].fill(0);
    segment.free(pages.start, pages.len())?;
    segment.bytes_mut()[pages.end..range.end].fill(0);
    Ok(())
}
