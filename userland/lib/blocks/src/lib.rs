//! Rooms for large blocks of memory in one sparse range of addresses.
//!
//! Addresses cost nothing until they are touched, so a block gets a *room* far larger
//! than itself and grows in it without being moved. The range is divided once and for
//! all into classes of rooms of one size. Rooms are never joined or split: no sequence
//! of sizes fragments the range, and taking and giving back are a few steps each.
//!
//! The numbers are offsets in the range. The owner of the range keeps one promise: a
//! room that is given back reads as zeros, so that each block begins with zeros.
#![no_std]
#![forbid(unsafe_code)]

/// The classes: the size of a room as a power of two, and how many rooms there are.
/// Largest first.
const CLASSES: [(u32, u32); 5] = [
    (43, 2),       // 8 TiB
    (40, 16),      // 1 TiB
    (34, 512),     // 16 GiB
    (28, 1 << 15), // 256 MiB
    (22, 1 << 21), // 4 MiB
];

/// The largest class of which a block gets a room without needing it. The rooms above
/// are for blocks that fit nowhere else.
const LARGEST_GIFT: usize = 1;

/// Numbers in the table that [`Rooms::new`] takes. It may be as sparse as the range: it
/// is used from the front of each class on.
pub const TABLE: usize = {
    let (mut sum, mut class) = (0, 0);
    while class < CLASSES.len() {
        sum += CLASSES[class].1 as usize;
        class += 1;
    }
    sum
};

/// Bytes of the range.
pub const LEN: u64 = {
    let (mut sum, mut class) = (0, 0);
    while class < CLASSES.len() {
        sum += (CLASSES[class].1 as u64) << CLASSES[class].0;
        class += 1;
    }
    sum
};

/// A room: the offset of its first byte, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Offset in the range, a multiple of 4 MiB.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

/// A list of rooms of one class, by number, linked through the table. 0 ends it, and
/// room `n` is `n + 1` in it.
#[derive(Clone, Copy, Default)]
struct List(u32);

/// The rooms of one size.
#[derive(Clone, Copy)]
struct Class {
    /// Size of a room as a power of two.
    bits: u32,
    count: u32,
    /// Offset of the first room.
    start: u64,
    /// Place of the first room's link in the table.
    links: usize,
    /// Rooms from this number on were never taken.
    fresh: u32,
    /// Rooms that were given back.
    free: List,
    /// Rooms that are empty but not yet zeros.
    aside: List,
    /// Rooms that are neither fresh nor free.
    used: u32,
}

impl Class {
    fn room(&self, number: u32) -> Room {
        Room {
            start: self.start + (u64::from(number) << self.bits),
            len: 1 << self.bits,
        }
    }

    /// The number of the room that begins at `start`.
    fn number(&self, start: u64) -> Option<u32> {
        let offset = start.checked_sub(self.start)?;
        let number = u32::try_from(offset >> self.bits).ok()?;
        (number < self.fresh && self.room(number).start == start).then_some(number)
    }

    const fn has_room(&self) -> bool {
        self.free.0 != 0 || self.fresh < self.count
    }

    /// Rooms that were used before come first, so that few page tables and few pages of
    /// the table are ever needed.
    fn take(&mut self, table: &mut [u32]) -> Option<Room> {
        let number = match self.pop(table, |class| &mut class.free) {
            Some(number) => number,
            None if self.fresh < self.count => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        self.used += 1;
        Some(self.room(number))
    }

    fn push(&mut self, table: &mut [u32], list: fn(&mut Class) -> &mut List, number: u32) {
        let at = self.links + number as usize;
        let list = list(self);
        if let Some(link) = table.get_mut(at) {
            *link = list.0;
            list.0 = number + 1;
        }
    }

    fn pop(&mut self, table: &[u32], list: fn(&mut Class) -> &mut List) -> Option<u32> {
        let links = self.links;
        let list = list(self);
        let number = list.0.checked_sub(1)?;
        list.0 = table.get(links + number as usize).copied().unwrap_or(0);
        Some(number)
    }
}

/// All rooms of a range.
pub struct Rooms<'t> {
    classes: [Class; CLASSES.len()],
    table: &'t mut [u32],
}

impl<'t> Rooms<'t> {
    /// No room is taken. `table` has [`TABLE`] numbers of any value.
    pub fn new(table: &'t mut [u32]) -> Self {
        let (mut start, mut links) = (0, 0);
        let classes = CLASSES.map(|(bits, count)| {
            let class = Class {
                bits,
                count,
                start,
                links,
                fresh: 0,
                free: List(0),
                aside: List(0),
                used: 0,
            };
            start += u64::from(count) << bits;
            links += count as usize;
            class
        });
        Rooms { classes, table }
    }

    /// A room of at least `len` bytes, all zeros.
    ///
    /// It is of the largest class of which at most half the rooms are used, so a process
    /// with few blocks has room for each to grow to a TiB. One with many gets smaller
    /// rooms, and at last any that is large enough.
    pub fn take(&mut self, len: u64) -> Option<Room> {
        let fits = |class: &Class| len <= 1 << class.bits;
        let spare = |class: &Class| class.used < class.count / 2;
        let gifts = self.classes.get(LARGEST_GIFT..)?;
        let gift = gifts.iter().position(|class| fits(class) && spare(class));
        let index = match gift {
            Some(index) => index + LARGEST_GIFT,
            None => {
                let fitting = |class: &Class| fits(class) && class.has_room();
                self.classes.iter().rposition(fitting)?
            }
        };
        self.classes.get_mut(index)?.take(self.table)
    }

    /// The room that begins at `start`, if it is taken or was once.
    pub fn room(&self, start: u64) -> Option<Room> {
        let found = |class: &Class| class.number(start).map(|number| class.room(number));
        self.classes.iter().find_map(found)
    }

    /// Gives back a room that was taken, and reads as zeros.
    pub fn give(&mut self, start: u64) {
        self.put(start, |class| {
            class.used -= 1;
            &mut class.free
        });
    }

    /// Keeps a room that is no longer used, but could not be made zeros.
    pub fn set_aside(&mut self, start: u64) {
        self.put(start, |class| &mut class.aside);
    }

    fn put(&mut self, start: u64, list: fn(&mut Class) -> &mut List) {
        for class in &mut self.classes {
            if let Some(number) = class.number(start) {
                class.push(self.table, list, number);
            }
        }
    }

    /// A room that was set aside, to be made zeros and given back; the caller has it now.
    pub fn take_aside(&mut self) -> Option<Room> {
        let table = &*self.table;
        self.classes.iter_mut().find_map(|class| {
            let number = class.pop(table, |class| &mut class.aside)?;
            Some(class.room(number))
        })
    }
}
