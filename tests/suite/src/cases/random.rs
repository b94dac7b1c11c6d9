//! Random programs on a real kernel and a real server, compared byte by byte
//! with plain arrays: the eager model in its simplest form. `between` has those
//! that use a lying server too, which leaves parts of the buffer unknown.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, equal, other, same, snapshot};
use alloc::{format, vec, vec::Vec};
use rt::Segment;

pub const CASES: &[Case] = &[
    Case::new("random.1", || random(1)),
    Case::new("random.2", || random(2)),
    Case::new("random.3", || random(3)),
    Case::new("random.4", || random(4)),
    Case::new("random.5", || random(5)),
    Case::new("random.6", || random(6)),
];

const STEPS: usize = 150;
pub const PAGES: usize = 40;
pub const LEN: usize = PAGES * PG;
/// Files grow at most this far.
pub const FILE_MAX: usize = 60 * PG;

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// A place below `n`: a page, near a page's edge, or anywhere.
    pub fn place(&mut self, n: usize) -> usize {
        let page = self.below(n / PG) * PG;
        match self.below(4) {
            0 | 1 => page,
            2 => (page + self.below(20)).saturating_sub(10),
            _ => self.below(n),
        }
    }

    /// Bytes that differ from all others.
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let start = self.below(251) as u8;
        (0..n)
            .map(|at| start.wrapping_add((at / 7) as u8))
            .collect()
    }
}

/// A file and its expected content.
pub struct Pair {
    pub real: Scratch,
    pub model: Vec<u8>,
}

impl Pair {
    fn new(name: &str, len: usize, random: &mut Random) -> Result<Pair, Why> {
        let real = Scratch::empty(name)?;
        let model = random.bytes(len);
        real.file.write_all_at(&model, 0)?;
        Ok(Pair { real, model })
    }

    fn store(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.model.len() < end {
            self.model.resize(end, 0);
        }
        self.model[offset..end].copy_from_slice(bytes);
    }
}

/// A buffer and its expected content.
pub struct World {
    pub random: Random,
    pub files: [Pair; 2],
    pub segment: Segment,
    pub model: Vec<u8>,
    /// The pages that depend on a lying server: their content is unknown, and a
    /// touch may fail.
    pub unknown: [bool; PAGES],
}

pub fn random(seed: u64) -> Verdict {
    run(seed, &mut World::new(seed)?, World::step, World::compare)
}

/// Runs the steps of a program, and compares everything at the end.
pub fn run<T>(
    seed: u64,
    state: &mut T,
    step: fn(&mut T) -> Verdict,
    compare: fn(&T) -> Verdict,
) -> Verdict {
    for number in 0..STEPS {
        let done = step(state);
        done.map_err(|Why(why)| Why(format!("seed {seed}, step {number}: {why}")))?;
    }
    compare(state).map_err(|Why(why)| Why(format!("seed {seed}, at the end: {why}")))
}

impl World {
    pub fn new(seed: u64) -> Result<World, Why> {
        let mut random = Random::new(seed);
        let files = [
            Pair::new("random-a", 50 * PG + 123, &mut random)?,
            Pair::new("random-b", 9 * PG, &mut random)?,
        ];
        Ok(World {
            random,
            files,
            segment: snapshot(PAGES)?,
            model: vec![0; LEN],
            unknown: [false; PAGES],
        })
    }

    /// Compares the known pages of the buffer and both files with the arrays.
    pub fn compare(&self) -> Verdict {
        for page in (0..PAGES).filter(|page| !self.unknown[*page]) {
            let page = page * PG..(page + 1) * PG;
            let what = format!("the buffer from {:#x}", page.start);
            equal(
                &what,
                &self.segment.bytes()[page.clone()],
                &self.model[page],
            )?;
        }
        for Pair { real, model } in &self.files {
            equal(&real.path, &real.content()?, model)?;
        }
        Ok(())
    }

    /// The number of known bytes in a row from `at` on, at most `len`.
    pub fn known(&self, at: usize, len: usize) -> usize {
        let pages = &self.unknown[at / PG..(at + len).div_ceil(PG)];
        let known = pages.iter().position(|unknown| *unknown);
        known.map_or(len, |page| {
            ((at / PG + page) * PG).saturating_sub(at).min(len)
        })
    }

    /// Marks the pages of that part of the buffer as unknown.
    pub fn doubt(&mut self, at: usize, len: usize) {
        self.unknown[at / PG..(at + len).div_ceil(PG)].fill(true);
    }

    pub fn step(&mut self) -> Verdict {
        match self.random.below(20) {
            0..5 => self.read(),
            5..9 => self.write_back(),
            9..12 => self.load(),
            12..15 => self.store(),
            15 | 16 => self.overwrite(),
            17 => self.truncate(),
            18 => self.free(),
            _ => self.child(),
        }
    }

    /// A part of the buffer: start and length.
    pub fn part(&mut self) -> (usize, usize) {
        let at = self.random.place(LEN);
        let len = match self.random.below(4) {
            0 => LEN - at,
            1 => 1 + self.random.below((LEN - at).min(2 * PG)),
            _ => 1 + self.random.below(LEN - at),
        };
        (at, len)
    }

    /// The known bytes at the start of such a part; there may be none.
    fn known_part(&mut self) -> (usize, usize) {
        let (at, len) = self.part();
        (at, self.known(at, len))
    }

    fn read(&mut self) -> Verdict {
        let (at, len) = self.known_part();
        let which = self.random.below(2);
        // Often the place where the bytes are at home.
        let offset = match self.random.below(3) {
            0 => self.random.place(FILE_MAX),
            _ => at,
        };
        let Pair { real, model } = &self.files[which];
        let got = real
            .file
            .read_at(&mut self.segment.bytes_mut()[at..at + len], offset as u64)?;
        let there = model.get(offset..).unwrap_or(&[]);
        let want = there.len().min(len);
        same(&format!("read of {len} at {offset} to {at:#x}"), got, want)?;
        self.model[at..at + want].copy_from_slice(&there[..want]);
        Ok(())
    }

    fn write_back(&mut self) -> Verdict {
        let (at, len) = self.known_part();
        let which = self.random.below(2);
        let offset = match self.random.below(4) {
            0 => self.random.place(FILE_MAX - LEN),
            _ => at,
        };
        let len = len.min(FILE_MAX - offset);
        let pair = &mut self.files[which];
        let bytes = &self.segment.bytes()[at..at + len];
        pair.real.file.write_all_at(bytes, offset as u64)?;
        let bytes = &self.model[at..at + len];
        pair.store(offset, bytes);
        Ok(())
    }

    fn load(&mut self) -> Verdict {
        let at = self.random.below(LEN);
        let len = (1 + self.random.below(3 * PG)).min(LEN - at);
        let len = self.known(at, len);
        let (got, want) = (
            &self.segment.bytes()[at..at + len],
            &self.model[at..at + len],
        );
        equal(&format!("the buffer from {at:#x}"), got, want)
    }

    fn store(&mut self) -> Verdict {
        let at = self.random.below(LEN);
        let len = (1 + self.random.below(PG)).min(LEN - at);
        let len = self.known(at, len);
        let bytes = self.random.bytes(len);
        self.segment.bytes_mut()[at..at + len].copy_from_slice(&bytes);
        self.model[at..at + len].copy_from_slice(&bytes);
        Ok(())
    }

    /// Another process writes to a file.
    fn overwrite(&mut self) -> Verdict {
        let which = self.random.below(2);
        let offset = self.random.place(40 * PG);
        let len = 1 + self.random.below(10 * PG);
        let bytes = self.random.bytes(len);
        let pair = &mut self.files[which];
        other(|| Ok(pair.real.again()?.write_all_at(&bytes, offset as u64)?))?;
        pair.store(offset, &bytes);
        Ok(())
    }

    fn truncate(&mut self) -> Verdict {
        let which = self.random.below(2);
        let len = self.random.place(50 * PG);
        let pair = &mut self.files[which];
        pair.real.file.set_size(len as u64)?;
        pair.model.resize(len, 0);
        Ok(())
    }

    fn free(&mut self) -> Verdict {
        let page = self.random.below(PAGES);
        let pages = 1 + self.random.below(PAGES - page);
        self.segment.free(page * PG, pages * PG)?;
        self.model[page * PG..(page + pages) * PG].fill(0);
        self.unknown[page..page + pages].fill(false);
        Ok(())
    }

    /// A child looks at a part, changes its copy, and writes some of it.
    fn child(&mut self) -> Verdict {
        let (at, len) = self.known_part();
        let byte = self.random.below(256) as u8;
        let pair = &mut self.files[0];
        let segment = &mut self.segment;
        let model = &self.model;
        other(|| {
            equal(
                "the child's part",
                &segment.bytes()[at..at + len],
                &model[at..at + len],
            )?;
            segment.bytes_mut()[at..at + len].fill(byte);
            let piece = &segment.bytes()[at..at + len.min(5000)];
            Ok(pair.real.again()?.write_all_at(piece, at as u64)?)
        })?;
        pair.store(at, &vec![byte; len.min(5000)]);
        Ok(())
    }
}
