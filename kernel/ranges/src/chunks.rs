//! A list in chunks: an insertion moves the items of one chunk, however long the
//! list is.
//!
//! No chunk is empty. Where there are several, each has the capacity for
//! [`CHUNK`] items; a single one grows as a vector does, so that a short list
//! takes little memory.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Most items in a chunk.
const CHUNK: usize = 64;
/// Insertions side by side that [`Chunks::reserve`] makes room for.
const RESERVED: usize = 2;
/// Whole chunks that are not worth to be set aside.
const FEW: usize = 4;

/// Where an item is, or the end of the list: the chunk after the last, item 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    chunk: usize,
    item: usize,
}

#[derive(Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    /// Memory for one more chunk; has no items.
    spare: Vec<T>,
    /// Chunks that were taken out of the list, in no order.
    aside: Vec<Vec<T>>,
    /// An insertion without room is a defect.
    strict: bool,
}

impl<T: Copy> Chunks<T> {
    pub(crate) const fn new(strict: bool) -> Chunks<T> {
        Chunks {
            chunks: Vec::new(),
            spare: Vec::new(),
            aside: Vec::new(),
            strict,
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Chunks::new(self.strict);
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.chunks.iter().flatten()
    }

    /// The items from `position` on.
    pub(crate) fn from(&self, position: Position) -> impl Iterator<Item = &T> + Clone {
        let chunks = self.chunks.iter().skip(position.chunk);
        chunks.flatten().skip(position.item)
    }

    pub(crate) const fn begin(&self) -> Position {
        Position { chunk: 0, item: 0 }
    }

    /// The first item that is not `before`; all that are come first.
    #[inline]
    pub(crate) fn partition_point(&self, before: impl Fn(&T) -> bool) -> Position {
        let whole = |chunk: &Vec<T>| chunk.last().is_some_and(&before);
        let chunk = self.chunks.partition_point(whole);
        let item = self.chunks.get(chunk);
        Position {
            chunk,
            item: item.map_or(0, |items| items.partition_point(&before)),
        }
    }

    #[inline]
    pub(crate) fn get(&self, position: Position) -> Option<&T> {
        self.chunks.get(position.chunk)?.get(position.item)
    }

    pub(crate) fn get_mut(&mut self, position: Position) -> Option<&mut T> {
        self.chunks.get_mut(position.chunk)?.get_mut(position.item)
    }

    pub(crate) fn next(&self, position: Position) -> Position {
        let Position { chunk, item } = position;
        self.canonical(Position {
            chunk,
            item: item + 1,
        })
    }

    pub(crate) fn previous(&self, position: Position) -> Option<Position> {
        let Position { chunk, item } = position;
        if let Some(item) = item.checked_sub(1) {
            return Some(Position { chunk, item });
        }
        let chunk = chunk.checked_sub(1)?;
        let item = self.chunks.get(chunk)?.len().checked_sub(1)?;
        Some(Position { chunk, item })
    }

    /// The end of a chunk is the beginning of the next.
    fn canonical(&self, position: Position) -> Position {
        match self.chunks.get(position.chunk) {
            Some(items) if position.item >= items.len() => Position {
                chunk: position.chunk + 1,
                item: 0,
            },
            _ => position,
        }
    }

    /// Makes room for [`RESERVED`] insertions side by side.
    pub(crate) fn reserve(&mut self) -> Result<(), TryReserveError> {
        let alone = self.chunks.len() <= 1;
        let first = match self.chunks.first_mut() {
            Some(first) => first,
            None => &mut self.spare,
        };
        let more = RESERVED.min(CHUNK - first.len());
        first.try_reserve(more)?;
        if !alone || more < RESERVED {
            self.spare.try_reserve_exact(CHUNK)?;
        }
        self.chunks.try_reserve(1)
    }

    /// Makes room to set chunks aside, all that there are.
    #[inline]
    pub(crate) fn reserve_aside(&mut self) -> Result<(), TryReserveError> {
        match self.chunks.len() > FEW {
            true => self.aside.try_reserve(self.chunks.len()),
            false => Ok(()),
        }
    }

    /// Inserts an item before that at `position`; where it is now.
    /// [`Chunks::reserve`] made room for it, or this allocates.
    pub(crate) fn insert(&mut self, position: Position, item: T) -> Position {
        let at = self.make_room(position);
        if let Some(items) = self.chunks.get_mut(at.chunk) {
            let room = items.len() < items.capacity();
            debug_assert!(room || !self.strict, "no room was reserved");
            items.insert(at.item, item);
        }
        at
    }

    /// The position for an insertion before `position`, in a chunk that is not
    /// full.
    fn make_room(&mut self, position: Position) -> Position {
        let mut at = position;
        let room = self.chunks.get(at.chunk).map_or(0, |c| CHUNK - c.len());
        if at.item == 0
            && room == 0
            && let Some(before) = at.chunk.checked_sub(1)
            && let Some(items) = self.chunks.get(before)
        {
            at = Position {
                chunk: before,
                item: items.len(),
            };
        }
        let last = at.chunk + 1 >= self.chunks.len();
        let more = self.chunks.len() < self.chunks.capacity();
        let Some(items) = self.chunks.get_mut(at.chunk) else {
            debug_assert!(more || !self.strict, "no room was reserved");
            self.chunks.push(core::mem::take(&mut self.spare));
            return at;
        };
        if items.len() < CHUNK {
            return at;
        }
        // A list that grows at its end has full chunks.
        let cut = match last && at.item == CHUNK {
            true => CHUNK,
            false => CHUNK / 2,
        };
        let mut right = core::mem::take(&mut self.spare);
        let room = more && right.capacity() >= CHUNK;
        debug_assert!(room || !self.strict, "no room was reserved");
        right.extend(items.drain(cut..));
        self.chunks.insert(at.chunk + 1, right);
        if at.item > cut || cut == CHUNK {
            at = Position {
                chunk: at.chunk + 1,
                item: at.item - cut,
            };
        }
        at
    }

    /// Removes the items from `from` up to `to`; where the one at `to` is now.
    pub(crate) fn remove(&mut self, from: Position, to: Position) -> Position {
        if from == to {
            return from;
        }
        if from.chunk == to.chunk {
            if let Some(items) = self.chunks.get_mut(from.chunk) {
                items.drain(from.item..to.item);
            }
        } else {
            if let Some(items) = self.chunks.get_mut(to.chunk) {
                items.drain(..to.item);
            }
            if let Some(items) = self.chunks.get_mut(from.chunk) {
                items.truncate(from.item);
            }
            self.chunks.drain(from.chunk + 1..to.chunk);
        }
        self.tidy(from)
    }

    /// Takes the chunks out between those that the two positions are in, if they are many
    /// and there is room: the cost follows their number, and not that of the items in them.
    pub(crate) fn set_aside(&mut self, from: Position, to: Position) {
        let whole = from.chunk + 1..to.chunk;
        let room = self.aside.capacity() - self.aside.len();
        if whole.len() > FEW && whole.len() <= room {
            self.aside.extend(self.chunks.drain(whole));
        }
    }

    /// One of the chunks that were set aside.
    pub(crate) fn take_aside(&mut self) -> Option<Vec<T>> {
        self.aside.pop()
    }

    /// The items that were set aside, in no order.
    pub(crate) fn aside(&self) -> impl Iterator<Item = &T> {
        self.aside.iter().flatten()
    }

    /// Removes the last chunk, or one that was set aside; how many items it had.
    pub(crate) fn shorten(&mut self) -> Option<usize> {
        let chunk = self.aside.pop().or_else(|| self.chunks.pop())?;
        Some(chunk.len())
    }

    /// After a removal at `at`: gives up its chunk if it is empty, and joins small
    /// neighbours; where the item at `at` is now.
    fn tidy(&mut self, mut at: Position) -> Position {
        if self.chunks.get(at.chunk).is_some_and(Vec::is_empty) {
            let empty = self.chunks.remove(at.chunk);
            if empty.capacity() > self.spare.capacity() {
                self.spare = empty;
            }
        }
        // The removal may have ended inside of the next chunk.
        self.join(at.chunk + 1);
        self.join(at.chunk);
        if let Some(before) = at.chunk.checked_sub(1)
            && let Some(len) = self.join(before)
        {
            at = Position {
                chunk: before,
                item: len + at.item,
            };
        }
        self.canonical(at)
    }

    /// Joins a chunk with the next if both are small; how long it was.
    fn join(&mut self, chunk: usize) -> Option<usize> {
        let [left, right] = self.chunks.get_mut(chunk..chunk + 2)? else {
            return None;
        };
        let len = left.len();
        if len + right.len() > CHUNK / 2 {
            return None;
        }
        left.append(right);
        self.chunks.remove(chunk + 1);
        Some(len)
    }

    /// Gives `copy`, which has the first chunks of this list, the next ones with at least
    /// `most` items; `true`: it has all.
    pub(crate) fn copy_some(
        &self,
        copy: &mut Chunks<T>,
        most: usize,
    ) -> Result<bool, TryReserveError> {
        let have = copy.chunks.len();
        copy.chunks
            .try_reserve_exact(self.chunks.len().saturating_sub(have))?;
        let mut copied = 0;
        for items in self.chunks.iter().skip(have) {
            if copied >= most {
                return Ok(false);
            }
            let mut chunk = Vec::new();
            chunk.try_reserve_exact(match self.chunks.len() {
                1 => items.len(),
                _ => CHUNK,
            })?;
            chunk.extend_from_slice(items);
            copied += items.len();
            copy.chunks.push(chunk);
        }
        Ok(true)
    }

    pub(crate) fn try_clone(&self) -> Result<Chunks<T>, TryReserveError> {
        let mut copy = Chunks::new(self.strict);
        self.copy_some(&mut copy, usize::MAX)?;
        Ok(copy)
    }

    /// Memory in use: chunks, and items.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> (usize, usize) {
        let items = self.chunks.iter().map(Vec::capacity).sum::<usize>();
        let aside = self.aside.capacity();
        (
            self.chunks.capacity(),
            items + self.spare.capacity() + aside,
        )
    }

    /// Panics unless the list is sound.
    pub(crate) fn check(&self) {
        assert!(self.spare.is_empty(), "a spare chunk has items");
        for chunk in &self.chunks {
            assert!((1..=CHUNK).contains(&chunk.len()), "a chunk's length");
            let alone = self.chunks.len() == 1;
            assert!(alone || chunk.capacity() >= CHUNK, "a chunk's capacity");
        }
        for pair in self.chunks.windows(2) {
            let sum: usize = pair.iter().map(Vec::len).sum();
            assert!(sum > CHUNK / 2, "two small chunks side by side");
        }
    }
}
