//! What a file's blocks were: who refers to which epoch of them (the cover)
//! and what was saved of it (the journal), kept in step.

use crate::cover::Cover;
use crate::journal::{Journal, Place, Slot};
use crate::pieces::Piece;
use crate::ranges::{self, Part};
use core::ops::Range;

/// Bytes that an entry of the cover or the journal takes, with its share of the
/// trees that it is in, and of the snapshot's ranges that it is there for.
pub const ENTRY: usize = 128;

/// Bytes that one more range takes in the cover, or in the journal: two pieces
/// on each level.
pub const RANGE: usize = 104 * ENTRY;

/// The past of one file.
#[derive(Default)]
#[cfg_attr(feature = "memory", derive(Clone))]
pub struct Past {
    pub cover: Cover,
    pub journal: Journal,
}

impl Past {
    /// One more reference to `blocks` as of `epoch`.
    pub fn add(&mut self, blocks: Range<u64>, epoch: u64) {
        if !blocks.is_empty() {
            self.journal.cut(blocks.start, epoch);
            self.journal.cut(blocks.end, epoch);
            self.cover.add(blocks, epoch);
        }
    }

    /// Undoes one [`Past::add`] of exactly this. What nobody reaches any
    /// more stays until [`Past::sweep`].
    pub fn remove(&mut self, blocks: Range<u64>, epoch: u64) {
        self.cover.remove(blocks, epoch);
    }

    /// References to these bytes at these epochs were removed: forgets what
    /// nobody reaches and passes the slots, first and how many, to `freed`.
    pub fn sweep(&mut self, gone: &[Part], mut freed: impl FnMut(Slot, u64)) {
        for (bytes, epoch) in gone {
            let blocks = ranges::blocks(bytes);
            self.journal.sweep(blocks, *epoch, &self.cover, &mut freed);
        }
        if self.cover.is_empty() {
            self.journal.end();
        }
    }

    /// Forgets everything that nobody reaches.
    pub fn sweep_all(&mut self, freed: impl FnMut(Slot, u64)) {
        self.journal.sweep_all(&self.cover, freed);
        if self.cover.is_empty() {
            self.journal.end();
        }
    }

    /// Must `block` be saved before it is overwritten?
    pub fn must_save(&self, block: u64) -> bool {
        let newest = self.cover.newest(block);
        newest.is_some_and(|epoch| !self.journal.is_settled(block, epoch))
    }

    /// The next blocks in `blocks` that must be saved, at most `most`.
    pub fn next_unsaved(&self, blocks: Range<u64>, most: u64) -> Option<Range<u64>> {
        let start = self.next_to_save(&blocks)?.start();
        let end = blocks.end.min(start + most);
        let saved = |block: &u64| !self.must_save(*block);
        Some(start..(start + 1..end).find(saved).unwrap_or(end))
    }

    /// The next piece in `blocks` that must be saved, all of it.
    fn next_to_save(&self, blocks: &Range<u64>) -> Option<Piece> {
        let mut at = blocks.start;
        loop {
            at = self.cover.next_covered(at)?;
            if at >= blocks.end {
                return None;
            }
            let even = self.cover.undivided(Piece::largest(at, blocks.end));
            let even = self.journal.undivided(even);
            if self.must_save(at) {
                return Some(even);
            }
            at = even.end();
        }
    }

    /// Notes `place`, without bytes of its own, for those of `blocks` that must
    /// be saved. How many those were.
    pub fn note(&mut self, mut blocks: Range<u64>, epoch: u64, place: Place) -> u64 {
        let mut noted = 0;
        while let Some(piece) = self.next_to_save(&blocks) {
            self.journal.save(piece, epoch, place);
            noted += piece.end() - piece.start();
            blocks.start = piece.end();
        }
        noted
    }

    /// Notes that `blocks` were saved side by side, the first one at `place`.
    pub fn save(&mut self, mut blocks: Range<u64>, epoch: u64, mut place: Place) {
        while blocks.start < blocks.end {
            let even = Piece::largest(blocks.start, blocks.end);
            let even = self.journal.undivided(self.cover.undivided(even));
            self.journal.save(even, epoch, place);
            place = place.after(even.len());
            blocks.start = even.end();
        }
    }

    /// The first `count` of the journal's news have been told.
    pub fn forget_news(&mut self, count: usize) {
        self.journal.forget_news(count, &self.cover);
    }

    /// All news have been told, or nobody wants to hear them.
    pub fn forget_all_news(&mut self) {
        self.forget_news(self.journal.news().len());
    }

    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        (self.cover.len() + self.journal.len()) * ENTRY + size_of_val(self.journal.news())
    }

    /// Look-ups so far, the unit in which work is counted.
    pub fn lookups(&self) -> u64 {
        self.cover.lookups() + self.journal.lookups()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK;
    use alloc::vec::Vec;

    const SLOT: Slot = Slot {
        index: 1,
        generation: 1,
    };

    #[test]
    fn a_block_is_saved_once_per_epoch_in_use() {
        let mut past = Past::default();
        assert!(!past.must_save(0), "nobody refers to it");
        past.add(0..1, 4);
        assert!(past.must_save(0));
        past.journal.save(Piece::block(0), 6, Place::Saved(SLOT));
        assert!(!past.must_save(0), "saved already");
        past.add(0..1, 7);
        assert!(past.must_save(0), "a newer epoch");
    }

    #[test]
    fn blocks_saved_one_by_one_side_by_side_are_one_entry() {
        let mut past = Past::default();
        let all = 0..1 << 12;
        past.add(all.clone(), 3);
        let place = |index: u64| {
            Place::Saved(Slot {
                index: 7 + index as u32,
                generation: index as u32,
            })
        };
        for block in all.clone().rev() {
            past.save(block..block + 1, 5, place(block));
            past.forget_all_news();
        }
        assert_eq!(past.journal.len(), 1);
        let Ok(Place::Saved(slot)) = past.journal.find(1234, 3) else {
            panic!("not saved");
        };
        assert_eq!(slot.index, 7 + 1234);
        // All but one are given up: their places are free, and only they.
        past.add(1234..1235, 3);
        past.remove(all, 3);
        let mut freed: Vec<(u32, u64)> = Vec::new();
        for gone in [0..1234, 1235..1 << 12] {
            let gone = [(gone.start * BLOCK..gone.end * BLOCK, 3)];
            past.sweep(&gone, |slot, count| freed.push((slot.index, count)));
        }
        freed.sort_unstable();
        let mut at = 7;
        for (index, count) in freed {
            at += u32::from(at == 7 + 1234);
            assert_eq!(index, at);
            at += count as u32;
        }
        assert_eq!(at, 7 + (1 << 12));
        assert_eq!(
            past.journal.find(1234, 3),
            Ok(place(1234)).map(|at| match at {
                Place::Saved(found) => Place::Saved(Slot {
                    generation: slot.generation,
                    ..found
                }),
                other => other,
            })
        );
    }

    #[test]
    fn a_terabyte_of_zeros_is_one_note_and_is_forgotten_in_parts() {
        let mut past = Past::default();
        let all = 0..1 << 28;
        past.add(all.clone(), 3);
        assert_eq!(past.note(all.clone(), 5, Place::Zero), 1 << 28);
        assert_eq!(past.note(all.clone(), 5, Place::Zero), 0, "noted already");
        assert_eq!(past.journal.len(), 1);
        assert_eq!(past.journal.find(12345, 4), Ok(Place::Zero));
        assert_eq!(past.journal.find(12345, 6), Ok(Place::Live));
        assert_eq!(past.next_unsaved(all.clone(), 32), None);
        // Somebody gives up all but the blocks 1000 to 2000.
        past.add(1000..2000, 3);
        past.remove(all.clone(), 3);
        sweep(&mut past, 0..1000, 3);
        sweep(&mut past, 2000..1 << 28, 3);
        assert!(past.journal.len() < 20, "{}", past.journal.len());
        assert_eq!(past.journal.find(999, 3), Ok(Place::Live));
        assert_eq!(past.journal.find(1000, 3), Ok(Place::Zero));
        assert_eq!(past.journal.find(1999, 3), Ok(Place::Zero));
        assert_eq!(past.journal.find(2000, 3), Ok(Place::Live));
        past.remove(1000..2000, 3);
        sweep(&mut past, 1000..2000, 3);
        assert_eq!(past.journal.len(), 0);
    }

    /// What a list of references and of blocks saved would answer.
    #[derive(Default)]
    struct Plain {
        /// Blocks and epoch.
        references: Vec<(Range<u64>, u64)>,
        /// Content of each block by epoch: a number, 0 for zeros.
        content: Vec<Vec<u64>>,
    }

    const BLOCKS: u64 = 64;

    fn sweep(past: &mut Past, blocks: Range<u64>, epoch: u64) {
        past.sweep(
            &[(blocks.start * BLOCK..blocks.end * BLOCK, epoch)],
            |_, _| (),
        );
    }

    impl Plain {
        fn at(&self, block: u64, epoch: u64) -> u64 {
            self.content[epoch as usize][block as usize]
        }
    }

    /// Notes and blocks are written over in turn while references come and
    /// go; each must find its content, and nothing must be left.
    #[test]
    fn everybody_finds_what_was_there_at_their_epoch() {
        for seed in 1..30u64 {
            run(seed);
        }
    }

    fn run(seed: u64) {
        let mut random = seed;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let (mut past, mut plain) = (Past::default(), Plain::default());
        plain.content = alloc::vec![alloc::vec![0; BLOCKS as usize]; 2];
        let mut number = 0;
        for _ in 0..120 {
            let epoch = plain.content.len() as u64 - 1;
            let start = next(BLOCKS - 1);
            let range = start..start + 1 + next(BLOCKS - start);
            match next(6) {
                0..2 => {
                    past.add(range.clone(), epoch);
                    plain.references.push((range, epoch));
                }
                2 if !plain.references.is_empty() => {
                    // A part is given up, as a trim does it.
                    let n = next(plain.references.len() as u64) as usize;
                    let (whole, epoch) = plain.references.swap_remove(n);
                    let middle = whole.start + next(whole.end - whole.start + 1);
                    let (kept, gone) = if next(2) == 0 {
                        (whole.start..middle, middle..whole.end)
                    } else {
                        (middle..whole.end, whole.start..middle)
                    };
                    past.add(kept.clone(), epoch);
                    past.add(gone.clone(), epoch);
                    past.remove(whole, epoch);
                    past.remove(gone.clone(), epoch);
                    if !gone.is_empty() {
                        sweep(&mut past, gone, epoch);
                    }
                    if !kept.is_empty() {
                        plain.references.push((kept, epoch));
                    }
                }
                _ => {
                    let zeros = |block: &u64| plain.at(*block, epoch) == 0;
                    for block in range.clone() {
                        if zeros(&block) && next(4) > 0 {
                            let run = block..range.end;
                            let run = block..block + run.take_while(zeros).count() as u64;
                            past.note(run, epoch, Place::Zero);
                        } else if past.must_save(block) {
                            let index = plain.at(block, epoch);
                            let beside = |b: &u64| {
                                plain.at(*b, epoch) == index + (b - block) && past.must_save(*b)
                            };
                            let run = (block + 1..range.end).take_while(beside).count() as u64;
                            let end = block + 1 + next(run + 1);
                            let place = Place::Saved(Slot {
                                index: index as u32,
                                generation: 0,
                            });
                            past.save(block..end, epoch, place);
                        }
                    }
                    number += 1;
                    let mut now = plain.content[epoch as usize].clone();
                    let value = number * BLOCKS * next(2);
                    for block in range {
                        now[block as usize] = value + block * u64::from(value > 0);
                    }
                    plain.content.push(now);
                }
            }
            if next(3) == 0 {
                past.forget_all_news();
            }
            check(&past, &plain);
        }
        for (range, epoch) in core::mem::take(&mut plain.references) {
            past.remove(range.clone(), epoch);
            sweep(&mut past, range, epoch);
            check(&past, &plain);
        }
        assert_eq!(past.journal.len(), 0, "seed {seed}");
    }

    fn check(past: &Past, plain: &Plain) {
        let newest = plain.content.len() as u64 - 1;
        for (range, epoch) in &plain.references {
            for block in range.clone() {
                let found = match past.journal.find(block, *epoch) {
                    Ok(Place::Live) => plain.at(block, newest),
                    Ok(Place::Zero) => 0,
                    Ok(Place::Saved(slot)) => u64::from(slot.index),
                    other => panic!("{other:?}"),
                };
                assert_eq!(found, plain.at(block, *epoch), "block {block} at {epoch}");
                let live = past.journal.live_run(block..BLOCKS, *epoch).unwrap();
                let is_live = |b: &u64| past.journal.find(*b, *epoch) == Ok(Place::Live);
                let expected = (block..BLOCKS).take_while(is_live).count() as u64;
                assert_eq!(live, expected);
            }
        }
    }
}
