//! At which epoch the bytes of a snapshot are.

use core::ops::Range;

use super::FileId;
use super::history::{History, pages};
use crate::PAGE;

/// Pieces remembered for one snapshot.
const PIECES: usize = 6;

/// Bytes `[start, end)` of the file, as they were at `epoch`.
#[derive(Clone, Copy, Default, Debug)]
struct Piece {
    start: u64,
    end: u64,
    epoch: u64,
}

const NOTHING: Piece = Piece {
    start: 0,
    end: 0,
    epoch: 0,
};

/// Which ranges of a snapshot are known to be at which epoch of which file: a
/// few pieces, sorted and apart. Where there would be too many the shortest is
/// forgotten: its pages are not shared.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default, Debug)]
pub struct Epochs {
    pub(super) file: Option<FileId>,
    pieces: [Piece; PIECES],
    count: usize,
}

/// Pieces while they are cut and joined: each old one may leave two, which may
/// be cut at a page boundary.
struct Cut {
    pieces: [Piece; 4 * PIECES + 1],
    count: usize,
}

impl Cut {
    fn push(&mut self, piece: Piece) {
        if piece.start < piece.end
            && let Some(place) = self.pieces.get_mut(self.count)
        {
            *place = piece;
            self.count += 1;
        }
    }

    /// What is left of an older piece: moved on to the new epoch where nothing
    /// has changed since its own. A fragment of a page may stand beside bytes
    /// that changed, and says nothing about the rest.
    fn push_old(&mut self, piece: Piece, epoch: u64, history: &History) {
        let inner = piece.start.div_ceil(PAGE) * PAGE..piece.end / PAGE * PAGE;
        if inner.start >= inner.end {
            return self.push_moved(piece, epoch, history);
        }
        let Piece { start, end, .. } = piece;
        for (start, end) in [
            (start, inner.start),
            (inner.start, inner.end),
            (inner.end, end),
        ] {
            self.push_moved(
                Piece {
                    start,
                    end,
                    ..piece
                },
                epoch,
                history,
            );
        }
    }

    fn push_moved(&mut self, mut piece: Piece, epoch: u64, history: &History) {
        let same = |epoch| history.same(piece.epoch, epoch, &pages(&(piece.start..piece.end)));
        if piece.start < piece.end && epoch != 0 && same(epoch) {
            piece.epoch = epoch;
        }
        self.push(piece);
    }

    /// Sorts, and joins what continues.
    fn join(&mut self) {
        let mut joined = Cut {
            pieces: [NOTHING; 4 * PIECES + 1],
            count: 0,
        };
        let Some(pieces) = self.pieces.get_mut(..self.count) else {
            return;
        };
        pieces.sort_unstable_by_key(|piece| piece.start);
        for piece in pieces {
            let last = joined.count.checked_sub(1);
            match last.and_then(|last| joined.pieces.get_mut(last)) {
                Some(last) if last.end == piece.start && last.epoch == piece.epoch => {
                    last.end = piece.end;
                }
                _ => joined.push(*piece),
            }
        }
        *self = joined;
    }

    fn forget_shortest(&mut self) {
        let pieces = self.pieces.get_mut(..self.count).unwrap_or_default();
        let lengths = pieces.iter().map(|piece| piece.end - piece.start);
        if let Some((shortest, _)) = lengths.enumerate().min_by_key(|(_, len)| *len) {
            pieces.copy_within(shortest + 1.., shortest);
            self.count -= 1;
        }
    }
}

impl Epochs {
    pub(super) const fn of(file: Option<FileId>) -> Epochs {
        Epochs {
            file,
            pieces: [NOTHING; PIECES],
            count: 0,
        }
    }

    fn list(&self) -> &[Piece] {
        self.pieces.get(..self.count).unwrap_or_default()
    }

    /// The epoch of all bytes of a page of the file, if they are at one.
    #[inline]
    pub fn at(&self, page: u64) -> Option<u64> {
        let start = page.checked_mul(PAGE)?;
        let end = start.checked_add(PAGE)?;
        let covers = |piece: &&Piece| piece.start <= start && end <= piece.end;
        self.list().iter().find(covers).map(|piece| piece.epoch)
    }

    /// The bytes in `range` are at `epoch` now. Others are what they were,
    /// which may be what they are at that epoch too.
    pub(super) fn set(&mut self, range: Range<u64>, epoch: u64, history: &History) {
        let mut cut = Cut {
            pieces: [NOTHING; 4 * PIECES + 1],
            count: 0,
        };
        let Range { start, end } = range;
        // 0 is no epoch.
        if epoch != 0 {
            cut.push(Piece { start, end, epoch });
        }
        for &piece in self.list() {
            let left = Piece {
                end: piece.end.min(start),
                ..piece
            };
            let right = Piece {
                start: piece.start.max(end),
                ..piece
            };
            cut.push_old(left, epoch, history);
            cut.push_old(right, epoch, history);
        }
        cut.join();
        while cut.count > PIECES {
            cut.forget_shortest();
        }
        for (place, piece) in self.pieces.iter_mut().zip(cut.pieces) {
            *place = piece;
        }
        self.count = cut.count;
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Changes;
    use super::*;

    const P: u64 = PAGE;

    fn history(steps: &[(u64, Range<u64>)]) -> History {
        let mut history = History::default();
        history.note(0, 1, None);
        for (epoch, changed) in steps {
            let mut changes = Changes::NONE;
            changes.add(changed.clone());
            history.note(history.known(), *epoch, Some(&changes));
        }
        history
    }

    #[test]
    fn small_reads_at_one_epoch_make_whole_pages() {
        let (h, mut e) = (history(&[]), Epochs::default());
        for at in 0..9 {
            e.set(at * 1000..(at + 1) * 1000, 1, &h);
        }
        assert_eq!((e.at(0), e.at(1), e.at(2)), (Some(1), Some(1), None));
    }

    #[test]
    fn a_write_in_the_middle_moves_the_rest_on() {
        let mut e = Epochs::default();
        e.set(0..100 * P, 1, &history(&[]));
        e.set(10 * P..11 * P, 2, &history(&[(2, 10 * P..11 * P)]));
        assert!((0..100).all(|page| e.at(page) == Some(2)));
        assert_eq!(e.count, 1);
    }

    #[test]
    fn a_page_of_two_epochs_is_at_none() {
        let mut e = Epochs::default();
        e.set(0..9 * P, 1, &history(&[]));
        let h = history(&[(2, 3 * P..5 * P)]);
        e.set(3 * P + 100..5 * P - 100, 2, &h);
        assert_eq!((e.at(3), e.at(4)), (None, None));
        assert_eq!((e.at(2), e.at(5), e.at(8)), (Some(2), Some(2), Some(2)));
        // Unless nothing has changed there.
        let mut e = Epochs::default();
        e.set(0..9 * P, 1, &history(&[]));
        e.set(3 * P + 100..3 * P + 200, 2, &history(&[(2, 8 * P..9 * P)]));
        assert_eq!((e.at(3), e.at(8)), (Some(2), Some(1)));
    }

    #[test]
    fn an_answer_without_an_epoch_says_nothing() {
        let (h, mut e) = (history(&[]), Epochs::default());
        e.set(0..9 * P, 0, &h);
        assert_eq!(e.at(3), None);
        e.set(0..9 * P, 1, &h);
        e.set(2 * P..3 * P, 0, &h);
        assert_eq!((e.at(1), e.at(2), e.at(3)), (Some(1), None, Some(1)));
    }

    #[test]
    fn what_is_said_of_a_page_is_what_was_last_set() {
        // An array of epochs by byte is the model; every change changes all.
        let mut seed = 3u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..60 {
            let (mut e, mut model) = (Epochs::default(), alloc::vec![0; 20 * P as usize]);
            for epoch in 1..30 {
                let h = history(&[(epoch + 1, 0..u64::MAX)]);
                let (a, b) = (next(20 * P), next(20 * P));
                let range = a.min(b)..a.max(b);
                e.set(range.clone(), epoch, &h);
                model[range.start as usize..range.end as usize].fill(epoch);
                for page in 0..20 {
                    let bytes = &model[(page * P) as usize..][..P as usize];
                    let said = e.at(page);
                    assert!(said.is_none_or(|said| bytes.iter().all(|at| *at == said)));
                }
                assert!(e.at(20).is_none() && e.at(u64::MAX).is_none());
            }
        }
    }
}
