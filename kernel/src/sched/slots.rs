//! Sets of processes, by their slots.

use hw::task::{NPROC, Slot};

const WORDS: usize = NPROC / 64;

/// A set of slots, a bit for each. Going through it looks at words, not at each slot.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots([u64; WORDS]);

impl Slots {
    /// No slot.
    pub const NONE: Slots = Slots([0; WORDS]);

    /// That slot alone.
    pub fn only(slot: Slot) -> Slots {
        let mut slots = Slots::NONE;
        slots.insert(slot);
        slots
    }

    /// Puts a slot in.
    pub fn insert(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Takes a slot out.
    pub fn remove(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// Returns true if no slot is in it.
    pub fn is_empty(&self) -> bool {
        *self == Slots::NONE
    }

    /// How many are in it.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Those in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let slot = self.next(from)?;
            from = slot + 1;
            Some(slot)
        })
    }

    /// The first one in it.
    pub fn first(&self) -> Option<Slot> {
        self.next(0)
    }

    /// The first one in it from that slot on.
    pub fn next(&self, from: Slot) -> Option<Slot> {
        let mut word = usize::from(from) / 64;
        let mut left = *self.0.get(word)? & u64::MAX << (from % 64);
        while left == 0 {
            word += 1;
            left = *self.0.get(word)?;
        }
        Some((word * 64) as Slot + left.trailing_zeros() as Slot)
    }

    /// The first one not in it.
    pub fn first_free(&self) -> Option<Slot> {
        let word = self.0.iter().position(|word| *word != u64::MAX)?;
        Some((word * 64) as Slot + self.0[word].trailing_ones() as Slot)
    }
}
