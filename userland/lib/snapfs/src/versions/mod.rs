//! A file is a store of versions. A snapshot is a set of references to it: ranges
//! of blocks, each at an epoch. To write is to save the blocks that are referenced
//! and unsaved, and then to write.
//!
//! A version `(run, epoch) -> place` gives the place of the run's content at
//! `epoch`, and before it back to the previous version. So a reference finds the
//! first version at or after its epoch, otherwise the live file.
//!
//! A version is made at the newest epoch that anything refers to its blocks at,
//! whenever that is: what one snapshot refers to is saved at one epoch, and
//! blocks that lie side by side in the file and in the temporary store are one
//! run, also if they were saved one at a time. It stays there while something
//! refers to its blocks at that very epoch; then it moves to the next older
//! epoch that needs it, or is forgotten. So what is given up with a reference
//! is found without looking at the others.

mod cover;
#[cfg(test)]
mod tests;

use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;
use cover::Cover;
use ranges::{RangeMap, Span, Value};

/// When a file changed: a value of the server's one counter. 0 is never.
pub type Epoch = u64;

/// Memory of a reference's entry, with its share of the tree and of the
/// snapshot's ranges, in bytes.
pub const ENTRY: usize = 128;
/// Bytes that a version takes in each of the two trees that it is in.
const VERSION: usize = 64;
/// Bytes that are taken once for all versions of an epoch.
const EPOCH: usize = 320;

/// Bytes that one more range may take, of references or of versions: two pieces
/// on each level.
pub const RANGE: usize = 104 * ENTRY;

/// All blocks that a file can have.
const ALL: Range<u64> = 0..1 << 51;

/// Blocks of an aligned run of this length get places at the same distances as
/// in the file, so that they are one run in any order of saving.
pub const WINDOW: u64 = 64;

/// A place in the temporary store. The generation tells two uses of one place
/// apart, so that a read can find out that its place was given away meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Offset in the store, in blocks.
    pub index: u32,
    /// Differs between uses.
    pub generation: u32,
}

/// Where a block's content is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the file itself.
    Live,
    /// Nowhere: it was all zeros.
    Zero,
    /// In the temporary store.
    Saved(Slot),
    /// Lost: could not be saved; every snapshot that covers it was mounted `break`.
    Lost,
}

impl Place {
    /// Where a block is that lies `blocks` after one that is here, if both are in
    /// one run.
    pub fn after(self, blocks: u64) -> Place {
        match self {
            Place::Saved(slot) => Place::Saved(Slot {
                // Slots of one run exist, so this does not overflow.
                index: slot.index.saturating_add(blocks as u32),
                ..slot
            }),
            same => same,
        }
    }
}

/// The place of the first block of a run.
#[derive(Clone, Copy)]
struct At(Place);

/// Two places are equal if they continue each other in the store, regardless of
/// their generations.
impl PartialEq for At {
    fn eq(&self, other: &At) -> bool {
        match (self.0, other.0) {
            (Place::Saved(a), Place::Saved(b)) => a.index == b.index,
            (a, b) => a == b,
        }
    }
}

impl Value for At {
    fn advance(self, by: u64) -> At {
        At(self.0.after(by))
    }
}

/// An event in a file's past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Noted {
    /// A version.
    Saved(Range<u64>, Epoch, Place),
    /// An external writer changed the file after this epoch.
    Broken(Epoch),
}

/// Something to be written down.
#[cfg_attr(feature = "duplicate", derive(Clone))]
enum News {
    /// The versions of these blocks at this epoch.
    Saved(Range<u64>, Epoch),
    Broken(Epoch),
}

/// The versions of one file.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Versions {
    /// The references of snapshots.
    refs: Cover,
    /// References that the write under way will replace.
    set_aside: Cover,
    runs: BTreeMap<Epoch, RangeMap<At>>,
    /// The number of runs.
    count: usize,
    /// The same blocks and epochs, to be found by block.
    saved: Cover,
    /// Epochs after which an external writer changed the file: content that was
    /// live at or before one of them is lost.
    breaks: BTreeSet<Epoch>,
    /// The epoch of the reference to all blocks in whose grace period nothing is
    /// forgotten.
    grace: Option<Epoch>,
    news: Vec<News>,
    /// See [`Versions::changes`].
    changes: u64,
}

impl Versions {
    /// Refers to `blocks` as of `epoch`.
    pub fn refer(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        self.changes += 1;
        self.refs.add(blocks, epoch);
    }

    /// Undoes one [`Versions::refer`] of exactly this. If that may have been the
    /// last reference to any of it, [`Versions::sweep`] must follow.
    pub fn unrefer(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        self.changes += 1;
        self.refs.remove(blocks, epoch);
    }

    /// References to the blocks `gone`, each at its epoch, are no more: the
    /// versions there move to where they are needed, or are forgotten; the places
    /// of these, the first and how many, go to `freed`.
    pub fn sweep(
        &mut self,
        gone: impl Iterator<Item = (Range<u64>, Epoch)>,
        mut freed: impl FnMut(Slot, u64),
    ) {
        if self.grace.is_none() {
            gone.for_each(|(blocks, epoch)| self.collect(&blocks, epoch, &mut freed));
            self.end_if_unused();
        }
    }

    /// A reference that the write under way will replace, and that needs nothing
    /// saved: it is one no more while it is set aside.
    pub fn set_aside(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        self.set_aside.add(blocks, epoch);
    }

    /// Undoes one [`Versions::set_aside`] of exactly this.
    pub fn take_back(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        self.set_aside.remove(blocks, epoch);
    }

    fn end_if_unused(&mut self) {
        if self.refs.is_empty() && self.set_aside.is_empty() {
            debug_assert!(self.runs.is_empty(), "a version that nothing reaches");
            self.breaks.clear();
        }
    }

    /// Up to where all blocks from `block` on have the same answers, to `end` at
    /// most.
    fn even(&self, block: u64, end: u64) -> u64 {
        let end = self.refs.even(block, end);
        let end = self.set_aside.even(block, end);
        self.saved.even(block, end)
    }

    /// Up to where `block` and those after it are all `same`, to `end` at most.
    fn even_while(&self, block: u64, end: u64, same: impl Fn(u64) -> bool) -> u64 {
        let mut until = self.even(block, end);
        while until < end && same(until) {
            until = self.even(until, end);
        }
        until
    }

    /// Returns true if an external writer changed the file after one of
    /// `epochs`.
    fn is_broken(&self, epochs: Range<Epoch>) -> bool {
        !self.breaks.is_empty() && self.breaks.range(epochs).next().is_some()
    }

    /// Where the first of `blocks` is as of `epoch`, and how many blocks from
    /// there on are at such a place, too: all live, or zeros, or side by side.
    ///
    /// # Errors
    /// `ESTALE`: it is lost.
    pub fn find(&self, blocks: Range<u64>, epoch: Epoch) -> Result<(Place, u64), Errno> {
        let Range { start, end } = blocks;
        let version = self.saved.next(start, epoch);
        if self.is_broken(epoch..version.unwrap_or(Epoch::MAX)) {
            return Err(Errno::ESTALE);
        }
        let Some(version) = version else {
            return Ok((Place::Live, self.next_saved(start..end, epoch) - start));
        };
        match self.part(start..end, version) {
            None | Some((_, Place::Lost)) => Err(Errno::ESTALE),
            Some((part, place)) => {
                let same = |block| self.saved.next(block, epoch) == Some(version);
                Ok((place, self.even_while(start, part.end, same) - start))
            }
        }
    }

    /// The first of `blocks` that has a version at or after `epoch`, or their end.
    fn next_saved(&self, blocks: Range<u64>, epoch: Epoch) -> u64 {
        let (mut at, end) = (blocks.start, blocks.end);
        while let Some(next) = self.saved.next_block(at)
            && next < end
        {
            if self.saved.next(next, epoch).is_some() {
                return next;
            }
            at = self.saved.even(next, end);
        }
        end
    }

    /// The first part of `blocks` that is of one run at `epoch`, and its place.
    fn part(&self, blocks: Range<u64>, epoch: Epoch) -> Option<(Range<u64>, Place)> {
        let span = self.runs.get(&epoch)?.first(blocks)?;
        Some((span.range(), span.value.0))
    }

    /// Returns true if `block` must be saved before it is overwritten.
    fn must_save(&self, block: u64) -> bool {
        let newest = self.refs.last(block, Epoch::MAX);
        newest.is_some_and(|epoch| {
            self.saved.next(block, epoch).is_none() && !self.is_broken(epoch..Epoch::MAX)
        })
    }

    /// The next of `blocks` that must be saved before they are overwritten, at
    /// most `most`.
    pub fn next_unsaved(&self, blocks: Range<u64>, most: u64) -> Option<Range<u64>> {
        let (mut at, end) = (blocks.start, blocks.end);
        loop {
            at = self.refs.next_block(at).filter(|at| *at < end)?;
            if self.must_save(at) {
                let end = end.min(at + most);
                return Some(at..self.even_while(at, end, |block| self.must_save(block)));
            }
            at = self.even(at, end);
        }
    }

    /// The epoch at which `block` is saved now.
    fn newest(&self, block: u64) -> Option<Epoch> {
        let all = [&self.refs, &self.set_aside];
        let newest = all.map(|refs| refs.last(block, Epoch::MAX));
        newest.into_iter().max().flatten()
    }

    /// `blocks`, all of which must be saved, are saved side by side, the first at
    /// `place`.
    pub fn save(&mut self, mut blocks: Range<u64>, mut place: Place) {
        while let Some(epoch) = self.newest(blocks.start).filter(|_| !blocks.is_empty()) {
            let same = |block| self.newest(block) == Some(epoch);
            let until = self.even_while(blocks.start, blocks.end, same);
            let part = blocks.start..until;
            self.news.push(News::Saved(part.clone(), epoch));
            self.insert(part, epoch, place);
            place = place.after(until - blocks.start);
            blocks.start = until;
        }
        debug_assert!(blocks.is_empty(), "saved what nothing refers to");
    }

    /// Those of `blocks` that must be saved are at `place`, which takes no room:
    /// how many.
    pub fn note(&mut self, mut blocks: Range<u64>, place: Place) -> u64 {
        let mut noted = 0;
        while let Some(part) = self.next_unsaved(blocks.clone(), u64::MAX >> 1) {
            (noted, blocks.start) = (noted + part.end - part.start, part.end);
            self.save(part, place);
        }
        noted
    }

    /// The place in the store for `block` that makes one run of it and of others
    /// of its window, when all between them are saved.
    pub fn place_beside(&self, block: u64) -> Option<u32> {
        let runs = self.runs.get(&self.newest(block)?)?;
        let start = block - block % WINDOW;
        let mut window = runs.over(start..start + WINDOW);
        window.find_map(|run| match run.value.0 {
            Place::Saved(slot) => {
                let place = u64::from(slot.index) + block;
                u32::try_from(place.checked_sub(run.start)?).ok()
            }
            _ => None,
        })
    }

    /// An external writer changed the file after `epoch`.
    pub fn break_at(&mut self, epoch: Epoch) {
        self.changes += 1;
        if self.breaks.insert(epoch) {
            self.news.push(News::Broken(epoch));
        }
    }

    /// Adds a version, as one run with its neighbours where they are one.
    fn insert(&mut self, blocks: Range<u64>, epoch: Epoch, place: Place) {
        self.changes += 1;
        let runs = self.runs.entry(epoch).or_default();
        runs.replace(blocks.clone(), Some(At(place)));
        let Some(run) = runs.at(blocks.start) else {
            return;
        };
        let (before, after) = (run.start..blocks.start, blocks.end..run.end);
        let neighbours = [&before, &after].map(|range| usize::from(!range.is_empty()));
        self.count = self.count + 1 - neighbours.iter().sum::<usize>();
        self.saved.change(&before, &run.range(), epoch);
        self.saved.remove(&after, epoch);
    }

    /// Takes a part of one run out.
    fn take(&mut self, part: &Range<u64>, epoch: Epoch) {
        let Some(runs) = self.runs.get_mut(&epoch) else {
            return;
        };
        let Some(run) = runs.at(part.start) else {
            return;
        };
        runs.replace(part.clone(), None);
        if runs.is_empty() {
            self.runs.remove(&epoch);
        }
        let (before, after) = (run.start..part.start, part.end..run.end);
        let rest = [&before, &after].map(|range| usize::from(!range.is_empty()));
        self.count = self.count + rest.iter().sum::<usize>() - 1;
        self.saved.change(&run.range(), &before, epoch);
        self.saved.add(&after, epoch);
    }

    /// The epoch at which the version of `block` at `epoch` is needed, if it is.
    fn needed_at(&self, block: u64, epoch: Epoch) -> Option<Epoch> {
        if self.refs.next(block, epoch) == Some(epoch) {
            return Some(epoch);
        }
        let older = self.refs.last(block, epoch)?;
        let served = self.saved.last(block, epoch) >= Some(older);
        (!served && !self.is_broken(older..epoch)).then_some(older)
    }

    fn collect(&mut self, blocks: &Range<u64>, epoch: Epoch, freed: &mut impl FnMut(Slot, u64)) {
        let mut left = blocks.clone();
        while let Some((mut part, place)) = self.part(left.clone(), epoch) {
            let needed = self.needed_at(part.start, epoch);
            let same = |block| self.needed_at(block, epoch) == needed;
            part.end = self.even_while(part.start, part.end, same);
            left.start = part.end;
            if needed == Some(epoch) {
                continue;
            }
            self.take(&part, epoch);
            match (needed, place) {
                (Some(older), place) => self.move_to(part, older, place),
                (None, Place::Saved(slot)) => freed(slot, part.end - part.start),
                (None, _) => {}
            }
        }
    }

    fn move_to(&mut self, part: Range<u64>, epoch: Epoch, place: Place) {
        // If it was written down, that is still true.
        if !self.news.is_empty() {
            self.news.push(News::Saved(part.clone(), epoch));
        }
        self.insert(part, epoch, place);
    }

    /// The versions of `blocks` at `epoch`.
    fn saved_of(&self, mut blocks: Range<u64>, epoch: Epoch) -> impl Iterator<Item = Noted> {
        core::iter::from_fn(move || {
            let (part, place) = self.part(blocks.clone(), epoch)?;
            blocks.start = part.end;
            Some(Noted::Saved(part, epoch, place))
        })
    }

    /// The news that were not dropped, oldest first.
    pub fn news(&self) -> impl Iterator<Item = Noted> {
        self.news.iter().flat_map(|news| {
            let (saved, broken) = match news {
                News::Saved(blocks, epoch) => (Some((blocks.clone(), *epoch)), None),
                News::Broken(epoch) => (None, Some(Noted::Broken(*epoch))),
            };
            let saved = saved.into_iter();
            let saved = saved.flat_map(|(blocks, epoch)| self.saved_of(blocks, epoch));
            saved.chain(broken)
        })
    }

    /// How much news there is.
    pub fn news_len(&self) -> usize {
        self.news.len()
    }

    /// The first `count` of the news are none any more.
    pub fn forget_news(&mut self, count: usize) {
        self.news.drain(..count.min(self.news.len()));
    }

    /// What was broken by external writers.
    pub fn broken(&self) -> impl Iterator<Item = Noted> {
        self.breaks.iter().map(|epoch| Noted::Broken(*epoch))
    }

    /// The versions from that of an epoch and block on: of each epoch, the newest
    /// first, ascending.
    pub fn saved_from(
        &self,
        (epoch, block): (Epoch, u64),
    ) -> impl Iterator<Item = (Range<u64>, Epoch, Place)> {
        let runs = self.runs.range(..=epoch).rev();
        runs.flat_map(move |(at, runs)| {
            let start = if *at == epoch { block } else { 0 };
            let saved = |run: Span<At>| (run.range(), *at, run.value.0);
            runs.over(start..u64::MAX).map(saved)
        })
    }

    /// Everything that is known.
    pub fn all(&self) -> impl Iterator<Item = Noted> {
        let saved = self.saved_from((Epoch::MAX, 0));
        let saved = saved.map(|(blocks, epoch, place)| Noted::Saved(blocks, epoch, place));
        self.broken().chain(saved)
    }

    /// An earlier instance noted this. [`Versions::begin_grace`] must follow.
    pub fn restore(&mut self, noted: Noted) {
        match noted {
            Noted::Broken(epoch) => drop(self.breaks.insert(epoch)),
            Noted::Saved(blocks, epoch, place) => {
                self.forget(&blocks, epoch);
                self.insert(blocks, epoch, place);
            }
        }
    }

    /// Drops the versions that an earlier instance recorded for these blocks.
    fn forget(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        while let Some((part, _)) = self.part(blocks.clone(), epoch) {
            self.take(&part, epoch);
        }
    }

    /// Drops the version at `place` that an earlier instance saved for `block`.
    pub fn forget_saved(&mut self, block: u64, epoch: Epoch, place: Place) {
        let blocks = block..block + 1;
        let there = self.part(blocks.clone(), epoch);
        if there.is_some_and(|(_, there)| At(there) == At(place)) {
            self.take(&blocks, epoch);
        }
    }

    /// The store of an earlier instance is gone: all that was saved there is lost.
    pub fn lose_saved(&mut self) {
        let saved = |noted: &Noted| matches!(noted, Noted::Saved(_, _, Place::Saved(_)));
        let saved: Vec<_> = self.all().filter(saved).collect();
        for noted in saved {
            if let Noted::Saved(blocks, epoch, _) = noted {
                self.restore(Noted::Saved(blocks, epoch, Place::Lost));
            }
        }
    }

    /// A grace period begins: as if one reference went to all blocks at `epoch`,
    /// and at all epochs before it.
    pub fn begin_grace(&mut self, epoch: Epoch) {
        self.refs.add(&ALL, epoch);
        self.grace = Some(epoch);
    }

    /// Returns true during a grace period.
    pub fn in_grace(&self) -> bool {
        self.grace.is_some()
    }

    /// Ends the grace period: drops unreachable versions, as
    /// [`Versions::unrefer`] does.
    pub fn end_grace(&mut self, mut freed: impl FnMut(Slot, u64)) {
        let Some(epoch) = self.grace.take() else {
            return;
        };
        self.refs.remove(&ALL, epoch);
        let epochs: Vec<Epoch> = self.runs.keys().copied().collect();
        for epoch in epochs {
            self.collect(&ALL, epoch, &mut freed);
        }
        self.end_if_unused();
    }

    /// A number that is another one after everything that a reference may find
    /// elsewhere than before.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        let versions = self.count + self.saved.len() + EPOCH / VERSION * self.runs.len();
        let refs = self.refs.len() + self.set_aside.len();
        refs * ENTRY + versions * VERSION + self.news.len() * size_of::<News>()
    }

    /// Returns true if no block has a version.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Runs, for tests and counters.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Look-ups so far, the unit in which work is counted.
    pub fn lookups(&self) -> u64 {
        self.refs.lookups() + self.saved.lookups() + self.set_aside.lookups()
    }
}
