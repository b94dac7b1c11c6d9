//! Changes of translations in ranges of a program's addresses: walks that skip
//! absent parts and free empty tables.

use core::ops::Range;

use abi::PAGE;
use ranges::Bits;
use vm::Frame;

use super::pool;
use super::table::{
    COUNT, COUNT_ONE, ENTRIES, PRESENT, Place, TOP, WRITE, flush_page, forgotten, frame_of, index,
    last_entry, next_entry,
};

/// More pages than this are flushed by reloading everything.
const FLUSH_SINGLY: u32 = 32;

/// Entries at the end of a table that tell whether it is used from there.
const END: usize = 4;

/// A change of the translations of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Remove them.
    Remove,
    /// They lose write permission, in the highest entries that they fill.
    ReadOnly,
}

/// The result of a change.
#[derive(Clone, Copy)]
pub(super) struct Edited {
    /// Translations that are gone.
    pub removed: u64,
    /// The caller must flush everything.
    pub flush: bool,
    /// Tables have been given back, or have lost write permission.
    pub tables: bool,
}

/// The entries of a root that are in use: a program's have no count, and lie far apart.
pub(super) type Tops = Bits<{ ENTRIES as usize / 2 / 64 }>;

/// Applies `change` to `pages` of the tables at `root`, of which `tops` are in
/// use. Flushes page by page if the root is active, as long as that is quicker.
pub(super) fn edit(
    (root, tops): (Frame, &mut Tops),
    pages: &Range<u64>,
    change: Change,
    active: bool,
) -> Edited {
    if pages.end - pages.start == 1
        && let Some(removed) = edit_one(root, pages.start * PAGE, change, active)
    {
        return Edited {
            removed,
            flush: false,
            tables: false,
        };
    }
    let mut edit = Edit {
        change,
        active,
        flushed: 0,
        removed: 0,
        tables: false,
    };
    edit.root(root, tops, pages);
    Edited {
        removed: edit.removed,
        flush: edit.needs_full_flush(),
        tables: edit.tables,
    }
}

/// The short way for one page; how many translations are gone. `None`, with
/// nothing changed, where a table would become empty.
fn edit_one(root: Frame, va: u64, change: Change, active: bool) -> Option<u64> {
    let mut place = Place::of(root, index(va, TOP));
    let mut above = place;
    for level in (0..TOP).rev() {
        let entry = place.read();
        if entry & PRESENT == 0 {
            return Some(0);
        }
        above = place;
        place = Place::of(frame_of(entry), index(va, level));
    }
    let entry = place.read();
    if entry & PRESENT == 0 {
        return Some(0);
    }
    let removed = match change {
        Change::ReadOnly => {
            place.write(entry & !WRITE);
            0
        }
        Change::Remove if above.read() & COUNT == COUNT_ONE => return None,
        Change::Remove => {
            above.uncount_one();
            place.write(0);
            forgotten(entry);
            1
        }
    };
    if active {
        flush_page(va);
    }
    Some(removed)
}

/// One walk over a range.
struct Edit {
    change: Change,
    active: bool,
    /// Pages changed so far.
    flushed: u32,
    /// Translations that are gone so far.
    removed: u64,
    /// Tables have been given back, or have lost write permission.
    tables: bool,
}

impl Edit {
    /// Changes the translations of `pages` below a root.
    fn root(&mut self, root: Frame, tops: &mut Tops, pages: &Range<u64>) {
        const SHIFT: u32 = 9 * TOP;
        let mut from = (pages.start >> SHIFT) as usize;
        while let Some(at) = tops.next(from) {
            let first = (at as u64) << SHIFT;
            if first >= pages.end {
                return;
            }
            let place = Place::of(root, at);
            if self.node(place, place.read(), TOP, first, pages) > 0 {
                tops.remove(at);
            }
            from = at + 1;
        }
    }

    /// Changes the translations of `pages` in `table`, whose first page is
    /// `first` and which has `used` entries. Returns the number of removed
    /// entries.
    fn table(
        &mut self,
        table: Frame,
        level: u32,
        first: u64,
        pages: &Range<u64>,
        used: u64,
    ) -> u64 {
        let shift = 9 * level;
        let from = pages.start.saturating_sub(first) >> shift;
        let to = ((pages.end - 1 - first) >> shift).min(ENTRIES - 1) + 1;
        let (mut seen, mut gone) = (0, 0);
        let (mut from, mut to) = (from as usize, to as usize);
        // What little lies at the end, as a stack does, is found from there.
        let few = used * 8 < (to - from) as u64;
        let down = few && last_entry(table, from.max(to.saturating_sub(END)), to) != to;
        while seen < used && from < to {
            let index = match down {
                true => last_entry(table, from, to),
                false => next_entry(table, from, to),
            };
            if index == to {
                break;
            }
            match down {
                true => to = index,
                false => from = index + 1,
            }
            let place = Place::of(table, index);
            let entry = place.read();
            seen += 1;
            let at = first + ((index as u64) << shift);
            gone += match level {
                0 => self.leaf(place, entry, at),
                _ => self.node(place, entry, level, at, pages),
            };
        }
        gone
    }

    /// One page; tells how many entries are gone, 0 or 1.
    #[inline]
    fn leaf(&mut self, place: Place, entry: u64, page: u64) -> u64 {
        let (after, gone) = match self.change {
            Change::Remove => {
                forgotten(entry);
                (0, 1)
            }
            Change::ReadOnly => (entry & !WRITE, 0),
        };
        self.removed += gone;
        if after != entry {
            place.write(after);
            self.flushed += 1;
            if self.active && self.flushed <= FLUSH_SINGLY {
                flush_page(page * PAGE);
            }
        }
        gone
    }

    /// One table below; it is given back when its last entry has gone.
    fn node(
        &mut self,
        place: Place,
        entry: u64,
        level: u32,
        first: u64,
        pages: &Range<u64>,
    ) -> u64 {
        let end = first + (1 << (9 * level));
        if self.change == Change::ReadOnly && pages.start <= first && end <= pages.end {
            self.close(place, entry);
            return 0;
        }
        let used = (entry & COUNT) / COUNT_ONE;
        let table = frame_of(entry);
        let gone = self.table(table, level - 1, first, pages, used);
        if gone < used || self.change == Change::ReadOnly {
            place.write(entry - gone * COUNT_ONE);
            return 0;
        }
        place.write(0);
        if self.active {
            // Flushes the processor's caches of tables (SDM vol. 3, 4.10.4.1),
            // before the table gets another use.
            flush_page(first * PAGE);
        }
        pool::free_table(table);
        self.tables = true;
        1
    }

    /// A table loses write permission, and with it all below.
    fn close(&mut self, place: Place, entry: u64) {
        if entry & WRITE != 0 {
            place.write(entry & !WRITE);
            self.tables = true;
            self.flushed = FLUSH_SINGLY + 1;
        }
    }

    /// Returns true if too much was changed to flush it page by page.
    fn needs_full_flush(&self) -> bool {
        self.active && self.flushed > FLUSH_SINGLY
    }
}

/// Gives back the table of level `level` that `entry` points to, and those
/// below. Nothing uses them any more.
pub(super) fn free_tables(entry: u64, level: u32) {
    if entry & PRESENT == 0 {
        return;
    }
    let table = frame_of(entry);
    let mut index = 0;
    for _ in 0..(entry & COUNT) / COUNT_ONE {
        index = next_entry(table, index, ENTRIES as usize);
        if index == ENTRIES as usize {
            break;
        }
        let place = Place::of(table, index);
        let below = place.read();
        match level {
            0 => forgotten(below),
            _ => free_tables(below, level - 1),
        }
        place.write(0);
        index += 1;
    }
    pool::free_table(table);
}
