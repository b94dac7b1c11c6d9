//! The directories from the top of a tree down to one in it.

use super::shown_in;
use crate::{ByteStr, ByteString, Directory};
use abi::Errno;
use alloc::vec::Vec;

/// The last directories are held open: a tree may be deeper than a process has
/// descriptors. Of those above, one stays open for each power of two, the last whose
/// number is an odd multiple of it, so their distances double on the way up. The others
/// are opened again by their names, from the nearest one above that is open; on the way
/// back through 4,000 levels each is six times.
const RECENT: usize = 4;

struct Level {
    name: ByteString,
    /// Bytes of the path up to it, with a `/` behind each name.
    shown: usize,
    open: Option<Directory>,
}

/// A directory, and one below another in it.
pub(super) struct Branch {
    top: Directory,
    /// The path of the last directory with a `/` behind it, for messages.
    shown: ByteString,
    levels: Vec<Level>,
}

/// The levels, counted from 1, that are not held any more when `at` is.
fn given_up(at: usize) -> impl Iterator<Item = usize> {
    let apart = |level: usize| 2_usize << level.trailing_zeros();
    // Another is the last of its power now.
    let passed = at.checked_sub(apart(at).max(RECENT));
    let oldest = at.checked_sub(RECENT);
    let oldest = oldest.filter(move |level| *level > 0 && apart(*level) <= RECENT);
    passed.into_iter().chain(oldest)
}

impl Branch {
    /// Nothing but the first directory; `shown` is its path with a `/` behind it, or
    /// nothing.
    pub(super) fn new(top: Directory, shown: ByteStr<'_>) -> Branch {
        Branch {
            top,
            shown: shown.to_owned(),
            levels: Vec::new(),
        }
    }

    /// The last directory.
    ///
    /// # Errors
    /// It had to be opened again, and others have removed or replaced it.
    pub(super) fn last(&mut self) -> Result<&Directory, Errno> {
        let held = self.levels.iter().rposition(|level| level.open.is_some());
        for at in held.map_or(0, |held| held + 1)..self.levels.len() {
            let around = match at.checked_sub(1) {
                Some(above) => self.levels.get(above).and_then(|level| level.open.as_ref()),
                None => None,
            };
            let name = self.levels.get(at).map(|level| level.name.as_byte_str());
            let opened = around
                .unwrap_or(&self.top)
                .inside(name.unwrap_or_default())?;
            self.hold(at, opened);
        }
        let last = self.levels.last().and_then(|level| level.open.as_ref());
        Ok(last.unwrap_or(&self.top))
    }

    /// Holds the directory of a level open, and others no more.
    fn hold(&mut self, at: usize, opened: Directory) {
        if let Some(level) = self.levels.get_mut(at) {
            level.open = Some(opened);
        }
        for level in given_up(at + 1) {
            if let Some(level) = level.checked_sub(1).and_then(|at| self.levels.get_mut(at)) {
                level.open = None;
            }
        }
    }

    /// Goes on to a directory in the last one.
    pub(super) fn enter(&mut self, name: ByteStr<'_>) -> Result<(), Errno> {
        let opened = self.last()?.inside(name)?;
        let more = name.bytes().len() + 1;
        let reserved = self.levels.try_reserve(1);
        let reserved = reserved.and_then(|()| self.shown.0.try_reserve(more));
        reserved.map_err(|_| Errno::ENOMEM)?;
        self.levels.push(Level {
            name: name.to_owned(),
            shown: self.shown.0.len(),
            open: None,
        });
        self.shown.0.extend_from_slice(name.bytes());
        self.shown.0.push(b'/');
        self.hold(self.levels.len() - 1, opened);
        Ok(())
    }

    /// Goes back to the directory around the last one, whose name is returned. `None`:
    /// this is the first.
    pub(super) fn leave(&mut self) -> Option<ByteString> {
        let left = self.levels.pop()?;
        self.shown.0.truncate(left.shown);
        Some(left.name)
    }

    /// The path of the last directory, with a `/` behind it.
    pub(super) fn shown(&self) -> ByteStr<'_> {
        self.shown.as_byte_str()
    }

    /// The path of a name in the last directory, for messages.
    pub(super) fn path_of(&self, name: ByteStr<'_>) -> ByteString {
        shown_in(self.shown(), name)
    }
}

#[cfg(test)]
mod tests {
    use super::given_up;
    use alloc::collections::BTreeSet;

    /// Holds `at` as [`super::Branch::last`] does, after the levels on the way; how many
    /// were opened.
    fn go_to(held: &mut BTreeSet<usize>, at: usize) -> usize {
        held.split_off(&(at + 1));
        let nearest = held.last().copied().unwrap_or(0);
        for level in nearest + 1..=at {
            assert!(level == 1 || held.contains(&(level - 1)), "{level}");
            held.insert(level);
            for level in given_up(level) {
                held.remove(&level);
            }
            assert!(held.len() <= 4 + level.ilog2() as usize, "{held:?}");
        }
        at - nearest
    }

    #[test]
    fn the_way_back_through_a_deep_tree_is_little_longer_than_the_way_down() {
        for deep in [1, 2, 3, 4, 5, 100, 1023, 4000] {
            let mut held = BTreeSet::new();
            let opened: usize = (1..=deep).rev().map(|at| go_to(&mut held, at)).sum();
            assert!(
                opened <= 2 * deep + deep * deep.ilog2() as usize / 2,
                "{deep}: {opened}"
            );
        }
    }
}
