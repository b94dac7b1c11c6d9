//! Sets of small numbers.

/// A set of numbers below `64 * WORDS`, a bit for each. Going through it looks at words,
/// not at each number. Larger numbers are never in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Bits<WORDS> {
    fn default() -> Bits<WORDS> {
        Bits::NONE
    }
}

impl<const WORDS: usize> Bits<WORDS> {
    /// No number.
    pub const NONE: Bits<WORDS> = Bits([0; WORDS]);

    /// That number alone.
    pub fn only(number: usize) -> Bits<WORDS> {
        let mut bits = Bits::NONE;
        bits.insert(number);
        bits
    }

    /// Puts a number in.
    #[inline]
    pub fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Takes a number out.
    #[inline]
    pub fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Returns true if the number is in it.
    #[inline]
    pub fn contains(&self, number: usize) -> bool {
        let word = self.0.get(number / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// Returns true if no number is in it.
    pub fn is_empty(&self) -> bool {
        *self == Bits::NONE
    }

    /// How many are in it.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Those in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let number = self.next(from)?;
            from = number + 1;
            Some(number)
        })
    }

    /// The first one in it.
    pub fn first(&self) -> Option<usize> {
        self.next(0)
    }

    /// The first one in it from that number on.
    #[inline]
    pub fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut left = *self.0.get(word)? & u64::MAX << (from % 64);
        while left == 0 {
            word += 1;
            left = *self.0.get(word)?;
        }
        Some(word * 64 + left.trailing_zeros() as usize)
    }

    /// The first one not in it.
    pub fn first_free(&self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != u64::MAX)?;
        Some(word * 64 + self.0[word].trailing_ones() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    /// Numbers of three words and beyond, each many times.
    fn numbers() -> impl Iterator<Item = usize> {
        let mut state: u64 = 0x9e37_79b9;
        core::iter::repeat_with(move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 33) as usize % 200
        })
    }

    #[test]
    fn it_is_a_set() {
        let (mut bits, mut set) = (Bits::<3>::NONE, BTreeSet::new());
        for (step, number) in numbers().take(3000).enumerate() {
            // Fuller and fuller at first, then emptier.
            if (number + step) % 4 < if step < 1500 { 3 } else { 1 } {
                bits.insert(number);
                set.extend((number < 192).then_some(number));
            } else {
                bits.remove(number);
                set.remove(&number);
            }
            assert_eq!(bits.iter().collect::<Vec<_>>(), Vec::from_iter(set.clone()));
            assert_eq!(bits.contains(number), set.contains(&number));
            assert_eq!(bits.len() as usize, set.len());
            assert_eq!(bits.is_empty(), set.is_empty());
            assert_eq!(bits.first(), set.first().copied());
            assert_eq!(bits.next(number), set.range(number..).next().copied());
            let free = (0..192).find(|number| !set.contains(number));
            assert_eq!(bits.first_free(), free);
        }
    }

    #[test]
    fn a_full_set_has_no_room() {
        let mut bits = Bits::<2>::NONE;
        (0..128).for_each(|number| bits.insert(number));
        assert_eq!((bits.first_free(), bits.len()), (None, 128));
        assert!(!bits.contains(128));
        bits.remove(127);
        assert_eq!(bits.first_free(), Some(127));
        assert_eq!(Bits::<2>::only(127).first(), Some(127));
    }
}
