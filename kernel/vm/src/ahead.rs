//! Read-ahead: the pages that one fault brings beside the page it is about.
//!
//! A message for 32 pages costs as much as six for one page each. So neighbours are
//! brought where the faults of a segment show that they will be used: along a
//! *stream* (ascending, descending, or in equal small steps), whose window grows with each
//! fault that continues it, and in a *dense* neighbourhood, of which the aligned block
//! is brought. A fault that fits neither brings its own page alone.
//!
//! This file decides which pages, and nothing else: it looks at page numbers only.

use core::ops::Range;

/// Most pages that one fault brings.
pub(crate) const WINDOW_MAX: u64 = 32;
/// A window grows by this factor.
const GROWTH: u64 = 4;
/// Largest step, in pages, of a stream that leaves pages out: beyond it, less than a
/// fourth of the bytes would be used.
const STEP_MAX: u64 = 4;
/// Streams that a segment may have at once, for programs that read several parts of a
/// file in turn.
const STREAMS: usize = 4;
/// Blocks of the 16 around a page with something present that make them dense: about
/// 15 pages of 512 in random order.
const DENSE: u32 = 10;
/// The same, where blocks brought earlier were hardly used: about 54 pages.
const DENSE_WASTED: u32 = 16;
/// Pages of a page's own block that make it dense: from here on the block costs less than
/// its pages one by one.
const DENSE_BLOCK: u32 = 6;
/// Blocks whose use is looked at together.
const SAMPLES: usize = 8;
/// Pages of a program that are mapped around the one that is touched, if they are in memory.
/// One costs a fifth of a fault.
const AROUND: u64 = 8;
/// Faults between the last of these blocks and the look: a program that uses pages in
/// random order needs that long to come back to them.
const SAMPLE_AGE: u32 = 1024;

/// The order in which a program will use a segment, as far as it has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hint {
    /// Unknown: it is learned from the faults.
    #[default]
    None,
    /// Ascending: the largest window from the first fault on.
    Sequential,
    /// Random: each fault brings its own page alone.
    Random,
    /// Unknown, and near pages that are in memory already will be used: a program's.
    Program,
}

/// What is present around a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Near {
    /// Of the 16 aligned blocks of 32 pages around it, those that have pages.
    pub blocks: u32,
    /// The pages of its own block.
    pub block: u32,
}

/// Faults that continue each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stream {
    /// The page of its last fault.
    last: u64,
    /// The pages chosen then.
    start: u64,
    end: u64,
    /// From the fault before to the last, while the window is one page; 0: unknown.
    step: i64,
}

const NO_STREAM: Stream = Stream {
    last: u64::MAX,
    start: u64::MAX,
    end: u64::MAX,
    step: 0,
};

impl Stream {
    fn at(page: u64, step: i64) -> Stream {
        Stream {
            last: page,
            start: page,
            end: page + 1,
            step,
        }
    }

    const fn window(&self) -> u64 {
        self.end - self.start
    }

    /// The distance of a page from the last fault, if it could belong together.
    fn step_to(&self, page: u64) -> Option<i64> {
        let step = page.wrapping_sub(self.last).cast_signed();
        (self.last != u64::MAX && step.unsigned_abs() <= STEP_MAX && step != 0).then_some(step)
    }

    /// Returns 1 or -1 if a fault on the page continues the stream upwards or
    /// downwards.
    fn direction(&self, page: u64) -> Option<i64> {
        if self.last == u64::MAX {
            return None;
        }
        if self.window() == 1 {
            let step = self.step_to(page)?;
            let confirmed = step == self.step || step.unsigned_abs() == 1;
            return confirmed.then_some(step.signum());
        }
        // A page of the last window may have been left out of it.
        let up = self.start == self.last;
        match up {
            true => (page > self.last && page < self.end.saturating_add(STEP_MAX)).then_some(1),
            false => {
                (page < self.last && page.saturating_add(STEP_MAX) >= self.start).then_some(-1)
            }
        }
    }

    fn widen(&mut self, block: &Range<u64>) {
        match self.start == self.last {
            true => self.end = block.end,
            false => self.start = block.start,
        }
    }

    fn go_on(&mut self, page: u64, direction: i64) {
        let window = self.window().saturating_mul(GROWTH).min(WINDOW_MAX);
        self.last = page;
        (self.start, self.end) = match direction {
            1 => (page, page.saturating_add(window)),
            _ => ((page + 1).saturating_sub(window), page + 1),
        };
    }
}

/// The pages for one fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    /// The page of the fault and its neighbours, at most [`WINDOW_MAX`]. Some may be
    /// present, or outside of the segment.
    pub pages: Range<u64>,
    /// The window before, if the fault shows that its pages have been used.
    pub passed: Option<Range<u64>>,
}

/// What a segment's faults have shown of the order of its use.
#[derive(Clone, Debug)]
pub(crate) struct ReadAhead {
    hint: Hint,
    streams: [Stream; STREAMS],
    /// The stream that is given up for the next one.
    oldest: u8,
    /// Faults so far.
    faults: u32,
    /// Blocks with pages that make a neighbourhood dense.
    dense: u32,
    /// First pages of blocks that were brought for density, and the fault of the
    /// last one.
    samples: [u64; SAMPLES],
    sampled: u8,
    sampled_at: u32,
}

impl ReadAhead {
    pub(crate) const fn new(hint: Hint) -> ReadAhead {
        ReadAhead {
            hint,
            streams: [NO_STREAM; STREAMS],
            oldest: 0,
            faults: 0,
            dense: DENSE,
            samples: [0; SAMPLES],
            sampled: 0,
            sampled_at: 0,
        }
    }

    pub(crate) const fn hint(&self) -> Hint {
        self.hint
    }

    /// Returns true if blocks that were brought for density were hardly used.
    pub(crate) const fn is_wasteful(&self) -> bool {
        self.dense == DENSE_WASTED
    }

    /// The pages around one that are mapped with it where that needs no message.
    pub(crate) const fn around(&self, page: u64) -> Range<u64> {
        match self.hint {
            Hint::Program => {
                let first = page / AROUND * AROUND;
                first..first + AROUND
            }
            Hint::None | Hint::Sequential | Hint::Random => page..page + 1,
        }
    }

    /// The pages for a fault on `page`; `near` tells what is present around it.
    pub(crate) fn choose(&mut self, page: u64, near: impl FnOnce() -> Near) -> Window {
        self.faults = self.faults.wrapping_add(1);
        match self.hint {
            Hint::Random => Window {
                pages: page..page + 1,
                passed: None,
            },
            Hint::Sequential => Window {
                pages: page..page.saturating_add(WINDOW_MAX),
                passed: None,
            },
            Hint::None | Hint::Program => self.learn(page, near),
        }
    }

    fn learn(&mut self, page: u64, near: impl FnOnce() -> Near) -> Window {
        let window = self.follow(page);
        if window.pages.end - window.pages.start >= WINDOW_MAX {
            return window;
        }
        let Near { blocks, block } = near();
        if blocks < self.dense && block < DENSE_BLOCK {
            return window;
        }
        let first = page / WINDOW_MAX * WINDOW_MAX;
        let block = first..first.saturating_add(WINDOW_MAX);
        let at_page = |stream: &&mut Stream| stream.last == page && stream.window() > 1;
        match self.streams.iter_mut().find(at_page) {
            // It goes on behind the block.
            Some(stream) => stream.widen(&block),
            None => self.sample(first),
        }
        Window {
            pages: block,
            ..window
        }
    }

    /// The window of the stream that the fault continues, or begins.
    fn follow(&mut self, page: u64) -> Window {
        for stream in &mut self.streams {
            if let Some(direction) = stream.direction(page) {
                let passed = (stream.window() > 1).then_some(stream.start..stream.end);
                stream.go_on(page, direction);
                let pages = stream.start..stream.end;
                return Window { pages, passed };
            }
        }
        let near = |stream: &&mut Stream| stream.window() == 1 && stream.step_to(page).is_some();
        match self.streams.iter_mut().find(near) {
            Some(stream) => *stream = Stream::at(page, stream.step_to(page).unwrap_or(0)),
            None => {
                if let Some(stream) = self.streams.get_mut(usize::from(self.oldest)) {
                    *stream = Stream::at(page, 0);
                }
                self.oldest = (self.oldest + 1) % STREAMS as u8;
            }
        }
        Window {
            pages: page..page + 1,
            passed: None,
        }
    }

    fn sample(&mut self, block: u64) {
        if let Some(sample) = self.samples.get_mut(usize::from(self.sampled)) {
            *sample = block;
            self.sampled += 1;
            self.sampled_at = self.faults;
        }
    }

    /// Blocks that were brought for density so long ago that their use tells
    /// something: the caller counts it and calls [`ReadAhead::judge`].
    pub(crate) fn due(&mut self) -> Option<impl Iterator<Item = Range<u64>> + use<>> {
        let full = usize::from(self.sampled) == SAMPLES;
        if !full || self.faults.wrapping_sub(self.sampled_at) < SAMPLE_AGE {
            return None;
        }
        self.sampled = 0;
        let blocks = self.samples.into_iter();
        Some(blocks.map(|block| block..block.saturating_add(WINDOW_MAX)))
    }

    /// So many pages of the blocks that were due have been used.
    pub(crate) const fn judge(&mut self, used: u64) {
        let wasted = used * 5 < SAMPLES as u64 * WINDOW_MAX;
        self.dense = if wasted { DENSE_WASTED } else { DENSE };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    const PAGES: u64 = 1 << 16;

    /// A segment of which all that is chosen is brought.
    struct World {
        ahead: ReadAhead,
        present: BTreeSet<u64>,
        touched: BTreeSet<u64>,
        faults: u64,
    }

    impl World {
        fn new(hint: Hint) -> World {
            World {
                ahead: ReadAhead::new(hint),
                present: BTreeSet::new(),
                touched: BTreeSet::new(),
                faults: 0,
            }
        }

        fn touch(&mut self, page: u64) {
            self.touched.insert(page);
            if self.present.contains(&page) {
                return;
            }
            self.faults += 1;
            let present = &self.present;
            let count = |first: u64, n: u64| present.range(first..first + n).count() as u32;
            let around = page / 512 * 512;
            let near = || Near {
                blocks: (0..16).filter(|at| count(around + at * 32, 32) > 0).count() as u32,
                block: count(page / 32 * 32, 32),
            };
            let window = self.ahead.choose(page, near).pages;
            assert!(window.contains(&page) && window.end - window.start <= WINDOW_MAX);
            self.present.extend(window);
            if let Some(blocks) = self.ahead.due() {
                let used = |block| self.touched.range::<u64, Range<u64>>(block).count() as u64;
                let used = blocks.map(used).sum();
                self.ahead.judge(used);
            }
        }

        fn run(hint: Hint, pages: impl IntoIterator<Item = u64>) -> World {
            let mut world = World::new(hint);
            pages.into_iter().for_each(|page| world.touch(page));
            world
        }

        /// Pages brought for each one touched, in percent.
        fn brought(&self) -> u64 {
            self.present.len() as u64 * 100 / self.touched.len() as u64
        }
    }

    fn shuffled(n: u64) -> Vec<u64> {
        let mut seed = 9u64;
        let mut pages: Vec<u64> = (0..n).collect();
        for i in (1..pages.len()).rev() {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            pages.swap(i, (seed >> 33) as usize % (i + 1));
        }
        pages
    }

    #[test]
    fn a_sequential_pattern_uses_the_largest_messages() {
        let world = World::run(Hint::None, 0..1024);
        // 1, 4, 16, and 32 from then on.
        assert_eq!(world.faults, 3 + (1024 - 21u64).div_ceil(32));
        assert!(world.brought() <= 104);
    }

    #[test]
    fn a_descending_pattern_too() {
        let world = World::run(Hint::None, (4096..5120).rev());
        assert_eq!(world.faults, 3 + (1024 - 21u64).div_ceil(32));
        assert!(world.brought() <= 104);
    }

    #[test]
    fn equal_small_steps_too_and_large_ones_not() {
        for step in 2..=STEP_MAX {
            let world = World::run(Hint::None, (0..1024).map(|turn| turn * step));
            assert!(world.faults <= 4 + 1024 * step / 32, "{}", world.faults);
            let down = World::run(Hint::None, (0..1024).rev().map(|turn| turn * step));
            assert!(down.faults <= 4 + 1024 * step / 32, "{}", down.faults);
        }
        // Not even a page of a sparse pattern is brought in vain.
        let world = World::run(Hint::None, (0..600).map(|turn| turn * 100 + turn % 3));
        assert_eq!((world.faults, world.brought()), (600, 100));
    }

    #[test]
    fn sparse_random_faults_stay_at_one_page() {
        let world = World::run(Hint::None, shuffled(PAGES).into_iter().take(655));
        assert_eq!((world.faults, world.brought()), (655, 100));
    }

    #[test]
    fn streams_in_turn_are_told_apart() {
        let turns = (0..512).flat_map(|at| [at, 20_000 + at, 40_000 - at, 50_000 + 2 * at]);
        let world = World::run(Hint::None, turns);
        assert!(world.faults <= 4 * 4 + 5 * 512 / 32, "{}", world.faults);
    }

    #[test]
    fn all_pages_in_random_order_cost_few_messages() {
        let world = World::run(Hint::None, shuffled(1 << 14));
        assert!(world.faults <= 32 * 16 + 512 + 40, "{}", world.faults);
    }

    #[test]
    fn blocks_that_are_not_used_make_it_careful() {
        // Fourteen far pages of each neighbourhood, and never again.
        let hot = |turn: u64| turn / 14 * 512 + turn % 14 * 331 % 512;
        let bring = |turns: u64| World::run(Hint::None, (0..turns).map(hot)).present.len() as u64;
        let early = bring(500) * 100 / 500;
        assert!(early > 400, "it begins to bring blocks: {early} %");
        let late = (bring(50_000) - bring(20_000)) * 100 / 30_000;
        assert!(late < 250, "and leaves that: {late} %");
    }

    #[test]
    fn hints_are_followed() {
        let shuffled = shuffled(4096);
        let random = World::run(Hint::Random, shuffled.iter().copied().chain(0..4096));
        assert_eq!((random.faults, random.brought()), (4096, 100));
        assert_eq!(World::run(Hint::Sequential, 0..1024).faults, 32);
    }

    #[test]
    fn the_last_pages_do_not_overflow() {
        let mut ahead = ReadAhead::new(Hint::None);
        for page in [u64::MAX - 2, u64::MAX - 1, 0, 1, 0] {
            let all = Near {
                blocks: 16,
                block: 32,
            };
            let window = ahead.choose(page, || all).pages;
            assert!(window.contains(&page));
        }
    }
}
