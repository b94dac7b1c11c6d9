//! The directories from the top of a tree down to one in it.

use super::shown_in;
use crate::{ByteStr, ByteString, Directory};
use abi::Errno;
use alloc::vec::Vec;

/// The last directories that are held open: a tree may be deeper than a process has
/// descriptors. The others are opened again by their names, from the nearest one above
/// that is open.
const RECENT: usize = 8;
/// One of so many stays open as well, up to that depth, so that the way from it is
/// short.
const APART: usize = 16;
const MARKED: usize = 8 * APART;

struct Level {
    name: ByteString,
    /// Its path with a `/` behind it, for messages.
    shown: ByteString,
    open: Option<Directory>,
}

/// A directory, and one below another in it.
pub(super) struct Branch {
    top: Directory,
    shown: ByteString,
    levels: Vec<Level>,
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

    /// Holds the directory of a level open, and the oldest no more.
    fn hold(&mut self, at: usize, opened: Directory) {
        if let Some(level) = self.levels.get_mut(at) {
            level.open = Some(opened);
        }
        let oldest = at.checked_sub(RECENT);
        let oldest = oldest.filter(|at| *at >= MARKED || at % APART != APART - 1);
        if let Some(level) = oldest.and_then(|at| self.levels.get_mut(at)) {
            level.open = None;
        }
    }

    /// Goes on to a directory in the last one.
    pub(super) fn enter(&mut self, name: ByteStr<'_>) -> Result<(), Errno> {
        let opened = self.last()?.inside(name)?;
        let mut shown = self.path_of(name);
        shown.0.push(b'/');
        self.levels.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.levels.push(Level {
            name: name.to_owned(),
            shown,
            open: None,
        });
        self.hold(self.levels.len() - 1, opened);
        Ok(())
    }

    /// Goes back to the directory around the last one, whose name is returned. `None`:
    /// this is the first.
    pub(super) fn leave(&mut self) -> Option<ByteString> {
        self.levels.pop().map(|level| level.name)
    }

    /// The path of the last directory, with a `/` behind it.
    pub(super) fn shown(&self) -> ByteStr<'_> {
        let last = self.levels.last();
        last.map_or(&self.shown, |level| &level.shown).as_byte_str()
    }

    /// The path of a name in the last directory, for messages.
    pub(super) fn path_of(&self, name: ByteStr<'_>) -> ByteString {
        shown_in(self.shown(), name)
    }
}
