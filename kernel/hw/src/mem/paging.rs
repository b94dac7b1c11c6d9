//! Four-level page tables.
//!
//! An [`AddressSpace`] owns the tables of a program's half of the addresses,
//! not the frames mapped there. The kernel's half is the same in all: its
//! top-level entries are made at start and never change.
//!
//! The entry that points to a table also counts that table's entries, in bits
//! the processor ignores, so that empty tables are noticed and ranges are
//! walked only as far as there is something in them.
//!
//! A range that loses write permission loses it in the highest entries that lie in it
//! entirely. The first translation for stores below one moves that down, entry by entry.

use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

use abi::{PAGE, USER_END};
use vm::{Access, Frame, NoMemory, Owner, OwnerWord};

use super::edit::{Change, Tops, edit, free_tables};
use super::frames::{Device, FrameRef};
use super::page::{self, Physical, SIZE};
use super::pool::Held;
use super::table::{
    ACCESSED, ADDRESS, AHEAD, CACHE_OFF, COUNTED, ENTRIES, NO_EXEC, PRESENT, Place, TOP, USER,
    WRITE, WRITE_THROUGH, flush_page, forgotten, frame_of, index, is_open, leaf, leaf_place, load,
    look_up, open, present,
};
use super::words::{self, Use};
use super::{ahead, own, pool};
use crate::cpu::cpu;

/// Addresses that a leaf table translates.
const TABLE_REACH: u64 = ENTRIES * PAGE;

/// The accesses that a program may make to a page. Reading is always allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prot {
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub exec: bool,
}

impl Prot {
    #[inline]
    fn bits(self) -> u64 {
        let bit = |yes: bool, bit: u64| if yes { bit } else { 0 };
        PRESENT | bit(self.write, WRITE) | bit(!self.exec, NO_EXEC)
    }

    #[inline]
    fn access(self) -> Access {
        match self.write {
            true => Access::Store,
            false => Access::Load,
        }
    }
}

/// A counted reference to the top-level table of an address space. It can be
/// activated even when the [`AddressSpace`] is gone: the table has no program's
/// entries then.
#[derive(Debug)]
pub struct Root(Frame);

impl Root {
    /// A reference to a table.
    fn retained(table: Frame) -> Root {
        words::retain_object(table, Use::Object);
        Root(table)
    }

    /// Makes the processor use it, unless it does already. The last reference must
    /// not be dropped before another root is in use.
    #[inline]
    pub(crate) fn activate(&self) {
        if !self.is_active() {
            load(self.0);
        }
    }

    #[inline]
    fn is_active(&self) -> bool {
        cpu().root.load(Relaxed) == self.0.0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if words::release_object(self.0, Use::Object) {
            assert!(!self.is_active(), "the processor uses this root");
            pool::free_as(self.0, Held::Root);
        }
    }
}

/// The translations of one program.
#[derive(Debug)]
pub struct AddressSpace {
    root: Root,
    /// Entries of the root that are in use.
    tops: Tops,
    /// Pages translated.
    mapped: u64,
    /// The leaf table that was found last. It is not freed while it is here.
    /// No entry on the way to it lacks write permission.
    last: LastLeaf,
}

/// A leaf table and the one above it.
#[derive(Clone, Copy, Debug)]
struct LastLeaf {
    /// The addresses of the leaf table, divided by its reach.
    number: u64,
    table: Frame,
    above: Frame,
}

impl LastLeaf {
    /// Of no address.
    const NONE: LastLeaf = LastLeaf {
        number: u64::MAX,
        table: Frame(0),
        above: Frame(0),
    };

    /// The leaf entry of the page at `va`, and the entry of its table, if it is this one.
    #[inline(always)]
    fn places(self, va: u64) -> Option<(Place, Place)> {
        if self.number != va / TABLE_REACH {
            return None;
        }
        let place = Place::of(self.table, index(va, 0));
        Some((place, Place::of(self.above, index(va, 1))))
    }
}

impl AddressSpace {
    /// An empty one, or `None` when memory is out.
    pub fn new() -> Option<AddressSpace> {
        let root = match pool::take_held(Held::Root, Use::Object) {
            Some(root) => root,
            None => {
                let (root, half) = (pool::alloc_table()?, SIZE / 2);
                page::copy_between((own::root(), half), (root, half), half);
                root
            }
        };
        Some(AddressSpace {
            root: Root(root),
            tops: Tops::NONE,
            mapped: 0,
            last: LastLeaf::NONE,
        })
    }

    /// Another reference to it for the processor.
    pub fn root(&self) -> Root {
        Root::retained(self.root.0)
    }

    /// Translates the page at `va` to a frame of data, replacing a former
    /// translation. On an error nothing has changed.
    ///
    /// Panics unless `va` is below `USER_END` and the frame is held; for
    /// stores it must be one that may be written by name ([`super::named`]).
    #[inline]
    pub fn map(&mut self, va: u64, frame: Frame, prot: Prot) -> Result<(), NoMemory> {
        words::translate(frame, prot.write);
        let entry = frame.pa() | prot.bits() | USER | COUNTED;
        let set = self.set(va, entry);
        if set.is_err() {
            forgotten(entry);
        }
        set
    }

    /// Translates the page at `va` to a frame of zeros that is held once and has that
    /// owner. `None`, and nothing has changed, where frames are few, a table must be found
    /// first, or the page is translated.
    #[inline(always)]
    pub fn map_zeroed_quickly(&mut self, va: u64, prot: Prot, owner: Owner) -> Option<Frame> {
        let (place, above) = self.last.places(va)?;
        if place.read() & PRESENT != 0 {
            return None;
        }
        let frame = pool::take_translated(OwnerWord::one(owner))?;
        page::zero(frame);
        pool::check_written(frame, 0..SIZE / 8);
        place.write(frame.pa() | prot.bits() | USER | COUNTED);
        above.count_one();
        self.mapped += 1;
        Some(frame)
    }

    /// Changes the accesses to the page at `va`, which is translated to that frame of data.
    /// `false`, and nothing has changed, if it is not, or if its table must be found first.
    ///
    /// Panics as [`AddressSpace::map`] does.
    #[inline]
    pub fn change_access(&mut self, va: u64, frame: Frame, prot: Prot) -> bool {
        const SAME: u64 = ADDRESS | PRESENT | COUNTED;
        let Some((place, _)) = self.last.places(va) else {
            return false;
        };
        let entry = place.read();
        if entry & SAME != frame.pa() | PRESENT | COUNTED {
            return false;
        }
        if prot.write {
            words::assert_writable(frame);
        }
        if entry & AHEAD != 0 {
            ahead::settled(u64::from(entry & ACCESSED != 0));
        }
        place.write(frame.pa() | prot.bits() | USER | COUNTED);
        if self.root.is_active() {
            flush_page(va);
        }
        true
    }

    /// The leaf entry of the page at `va`, and the entry of its table, creating tables on the
    /// way, and for a store giving them their write permission back.
    #[inline(always)]
    fn leaf(&mut self, va: u64, access: Access) -> Result<(Place, Place), NoMemory> {
        if let Some(places) = self.last.places(va) {
            return Ok(places);
        }
        self.find_leaf(va, access)
    }

    #[cold]
    fn find_leaf(&mut self, va: u64, access: Access) -> Result<(Place, Place), NoMemory> {
        assert!(va < USER_END, "map at {va:#x}");
        let found = leaf(self.root.0, va, USER);
        // Also if memory was out below.
        let top = index(va, TOP);
        if Place::of(self.root.0, top).read() & PRESENT != 0 {
            self.tops.insert(top);
        }
        let (place, above) = found?;
        match (is_open(self.root.0, va), access) {
            (true, _) => {}
            (false, Access::Store) => {
                open(self.root.0, va);
                if self.root.is_active() {
                    // The processor may have cached the tables' entries.
                    flush_page(va);
                }
            }
            (false, Access::Load | Access::Fetch) => return Ok((place, above)),
        }
        self.last = LastLeaf {
            number: va / TABLE_REACH,
            table: place.table(),
            above: above.table(),
        };
        Ok((place, above))
    }

    /// As [`AddressSpace::map_all`], for pages that the program has not asked for; see
    /// [`ahead`].
    pub fn map_ahead(&mut self, va: u64, frames: &[Frame], prot: Prot) {
        let made = self.map_absent(va, frames, prot, AHEAD);
        ahead::made(made);
    }

    /// As [`AddressSpace::map`], for pages in a row. Those that are translated already
    /// are left as they are, and so are all from the first on for which there is no table
    /// and no memory for one.
    pub fn map_all(&mut self, va: u64, frames: &[Frame], prot: Prot) {
        self.map_absent(va, frames, prot, 0);
    }

    /// Returns how many translations were made, with this mark.
    #[inline]
    fn map_absent(&mut self, va: u64, frames: &[Frame], prot: Prot, mark: u64) -> u64 {
        let bits = prot.bits() | USER | COUNTED | mark;
        let (mut va, mut left, mut all) = (va, frames, 0);
        while !left.is_empty() {
            let Ok((place, above)) = self.leaf(va, prot.access()) else {
                break;
            };
            let in_table = ENTRIES as usize - index(va, 0);
            let (here, rest) = left.split_at(in_table.min(left.len()));
            let mut made = 0;
            for (at, frame) in here.iter().enumerate() {
                let place = place.after(at);
                if place.read() & PRESENT == 0 {
                    words::translate(*frame, prot.write);
                    place.write(frame.pa() | bits);
                    made += 1;
                }
            }
            above.count(made);
            all += made;
            (va, left) = (va + here.len() as u64 * PAGE, rest);
        }
        self.mapped += all;
        all
    }

    /// How many pages of the addresses `range` the program has used since they were
    /// translated. Those translated ahead are no longer marked as such.
    pub fn used(&mut self, range: Range<u64>) -> u64 {
        let (mut va, end) = (range.start, range.end.min(USER_END));
        let mut used = 0;
        while va < end {
            let in_table = (ENTRIES as usize - index(va, 0)) as u64;
            let pages = in_table.min((end - va).div_ceil(PAGE));
            if let Some(first) = leaf_place(self.root.0, va) {
                for place in (0..pages as usize).map(|at| first.after(at)) {
                    let entry = place.read();
                    if entry & (AHEAD | ACCESSED) == AHEAD | ACCESSED {
                        place.write(entry & !AHEAD);
                        ahead::settled(1);
                    }
                    used += u64::from(entry & ACCESSED != 0);
                }
            }
            va += pages * PAGE;
        }
        used
    }

    /// Translates the page at `va` to page `page` of a device. The same errors.
    pub fn map_device(
        &mut self,
        va: u64,
        (device, page): (&Device, u64),
        prot: Prot,
    ) -> Result<(), NoMemory> {
        let entry = device.frame(page).pa() | prot.bits() | USER | CACHE_OFF | WRITE_THROUGH;
        self.set(va, entry)
    }

    #[inline]
    fn set(&mut self, va: u64, entry: u64) -> Result<(), NoMemory> {
        let access = match entry & WRITE {
            0 => Access::Load,
            _ => Access::Store,
        };
        let (place, above) = self.leaf(va, access)?;
        let old = place.read();
        place.write(entry);
        if old & PRESENT == 0 {
            above.count_one();
            self.mapped += 1;
            return Ok(());
        }
        forgotten(old);
        if self.root.is_active() {
            flush_page(va);
        }
        Ok(())
    }

    /// Removes the translations of the addresses `range`, rounded outward to
    /// pages, and frees empty tables. Flushed on return. The cost follows the
    /// mapped pages.
    pub fn unmap(&mut self, range: Range<u64>) {
        self.change(range, Change::Remove);
    }

    /// Takes write permission from `range`, rounded outward to pages.
    /// Flushed on return.
    pub fn protect(&mut self, range: Range<u64>) {
        self.change(range, Change::ReadOnly);
    }

    /// The page of data at `va`, from that byte on, if its translation allows the
    /// access.
    #[inline]
    pub fn page(&self, va: u64, access: Access) -> Option<Page<'_>> {
        let entry = self.entry(va)?;
        let allowed = access != Access::Store || entry & WRITE != 0;
        (entry & COUNTED != 0 && allowed).then_some(Page {
            frame: frame_of(entry),
            at: (va % PAGE) as usize,
            access,
            space: PhantomData,
        })
    }

    #[inline]
    fn entry(&self, va: u64) -> Option<u64> {
        if va >= USER_END {
            return None;
        }
        look_up(self.root.0, va).map(|(_, entry)| entry)
    }

    /// Returns true if the processor has used the translation at `va` since it was
    /// made, or since the last call; forgets that it has.
    pub fn take_accessed(&mut self, va: u64) -> bool {
        if va >= USER_END {
            return false;
        }
        let Some(place) = present(self.root.0, va) else {
            return false;
        };
        let entry = place.read();
        if entry & ACCESSED == 0 {
            return false;
        }
        place.write(entry & !(ACCESSED | AHEAD));
        if entry & AHEAD != 0 {
            ahead::settled(1);
        }
        // The processor sets the bit when it reads the entry, not at each access.
        if self.root.is_active() {
            flush_page(va);
        }
        true
    }

    /// How many pages are translated.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }

    fn change(&mut self, range: Range<u64>, change: Change) {
        let pages = range.start.min(USER_END) / PAGE..range.end.min(USER_END).div_ceil(PAGE);
        if pages.is_empty() || self.mapped == 0 {
            return;
        }
        let root = (self.root.0, &mut self.tops);
        let edited = edit(root, &pages, change, self.root.is_active());
        if edited.tables {
            // The table that was found last may be one of them.
            self.last = LastLeaf::NONE;
        }
        self.mapped -= edited.removed;
        if edited.flush {
            load(self.root.0);
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        if self.root.is_active() {
            own::activate();
        }
        let mut from = 0;
        while let Some(top) = self.tops.next(from) {
            let place = Place::of(self.root.0, top);
            free_tables(place.read(), TOP - 1);
            place.write(0);
            from = top + 1;
        }
    }
}

/// A page of data that an address space translates, from some byte on. While it
/// borrows the space, the translation stays, and with it the frame.
#[derive(Debug)]
pub struct Page<'a> {
    frame: Frame,
    at: usize,
    access: Access,
    space: PhantomData<&'a AddressSpace>,
}

impl Page<'_> {
    /// Offset in the page.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Bytes up to the end of the page.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        SIZE - self.at
    }

    /// A reference to the frame.
    pub fn hold(&self) -> FrameRef {
        FrameRef::hold(self.frame)
    }

    /// Fills `to` from here on.
    #[inline]
    pub fn read(&self, to: &mut [u8]) {
        page::copy_from(self.frame, self.at, to);
    }

    /// Writes `from` here. Panics unless the page was asked for a store.
    #[inline]
    pub fn write(&self, from: &[u8]) {
        self.assert_store();
        page::copy_to(self.frame, self.at, from);
    }

    /// Copies `len` bytes from here on to byte `at` of a frame. Panics if the frame
    /// cache names that frame.
    #[inline]
    pub fn copy_to(&self, (to, at): (&FrameRef, usize), len: usize) {
        words::assert_uncached(to.frame());
        page::copy_between((self.frame, self.at), (to.frame(), at), len);
    }

    /// Copies `len` bytes from byte `at` of a frame to here. Panics unless the page
    /// was asked for a store.
    #[inline]
    pub fn copy_from(&self, (from, at): (&FrameRef, usize), len: usize) {
        self.assert_store();
        pool::check_written(from.frame(), at.div_ceil(8)..(at + len) / 8);
        page::copy_between((from.frame(), at), (self.frame, self.at), len);
    }

    #[inline]
    fn assert_store(&self) {
        assert!(self.access == Access::Store, "a page for loads");
    }
}
