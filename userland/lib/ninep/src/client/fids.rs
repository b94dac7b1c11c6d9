//! The numbers that are fids of a connection.
use crate::consts::NOFID;
use abi::Errno;
use alloc::vec::Vec;

/// Words to begin with: a number that was given back is not taken again soon.
const WORDS: usize = 64;

/// Which numbers are in use. A number is given out again only after it was given
/// back, however many have been given out since.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fids {
    /// A bit for each.
    words: Vec<u64>,
    /// Where the next search begins.
    next: u32,
    in_use: usize,
}

impl Fids {
    /// None is in use.
    pub const NONE: Fids = Fids {
        words: Vec::new(),
        next: 0,
        in_use: 0,
    };

    /// One that is not in use, and is from now on.
    ///
    /// # Errors
    /// `ENOMEM`; `ENFILE` if all are in use.
    pub fn take(&mut self) -> Result<u32, Errno> {
        let fid = match take(&mut self.words, self.next) {
            Some(fid) => fid,
            None => self.grow()?,
        };
        self.next = fid.wrapping_add(1);
        self.in_use += 1;
        Ok(fid)
    }

    /// Makes twice as many numbers; the first new one.
    fn grow(&mut self) -> Result<u32, Errno> {
        let words = self.words.len();
        let more = words.max(WORDS);
        if (words + more) * 64 > NOFID as usize {
            return Err(Errno::ENFILE);
        }
        self.words.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
        self.words.resize(words + more, 0);
        take(&mut self.words, words as u32 * 64).ok_or(Errno::ENFILE)
    }

    /// The count of numbers in use.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// It is a fid no more.
    pub fn give_back(&mut self, fid: u32) {
        self.in_use = self.in_use.saturating_sub(1);
        give_back(&mut self.words, fid);
    }
}

/// Takes the first number from `from` on that is not in use, or the first at all
/// if there is none; `None` if all are in use.
fn take(words: &mut [u64], from: u32) -> Option<u32> {
    let first = from as usize / 64;
    // In the first word, the bits below `from` come last.
    let mut hidden = (1_u64 << (from % 64)) - 1;
    let order = (first..words.len()).chain(0..words.len().min(first + 1));
    for index in order {
        let word = words.get_mut(index)?;
        let free = !*word & !core::mem::take(&mut hidden);
        if free != 0 {
            let bit = free.trailing_zeros();
            *word |= 1 << bit;
            return u32::try_from(index * 64).ok()?.checked_add(bit);
        }
    }
    None
}

/// The number is not in use any more.
fn give_back(words: &mut [u64], number: u32) {
    if let Some(word) = words.get_mut(number as usize / 64) {
        *word &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_out_twice_before_it_came_back() {
        let mut words = [0; 3];
        let mut taken = [false; 192];
        for _ in 0..192 {
            let number = take(&mut words, 100).unwrap() as usize;
            assert!(!core::mem::replace(&mut taken[number], true));
        }
        assert!(taken.iter().all(|taken| *taken));
        assert_eq!(take(&mut words, 5), None);
        give_back(&mut words, 130);
        assert_eq!(take(&mut words, 131), Some(130));
    }

    #[test]
    fn numbers_go_round_before_one_is_used_again() {
        let mut words = [0; 2];
        for round in 0..300 {
            let number = take(&mut words, round % 128).unwrap();
            assert_eq!(number, round % 128);
            give_back(&mut words, number);
        }
        // A start beyond the end is one at the beginning.
        assert_eq!(take(&mut words, 128), Some(0));
        assert_eq!(take(&mut [], 0), None);
    }
}
