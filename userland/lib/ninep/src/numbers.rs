//! Numbers for fids: which are in use, a bit each, in words that the caller keeps.

/// Takes the first number from `from` on that is not in use, or the first at all
/// if there is none; `None` if all are in use.
pub fn take(words: &mut [u64], from: u32) -> Option<u32> {
    let first = from as usize / 64;
    // In the first word, what is below `from` comes last.
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
pub fn give_back(words: &mut [u64], number: u32) {
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
