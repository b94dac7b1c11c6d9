//! Page frames: taking them, holding them, giving them back.
//!
//! Free frames form a list through their words ([`super::words`]); the largest
//! piece of memory is not on the list at first but handed out from its low end,
//! and runs for devices from its high end, so that both are quick and start-up
//! does not touch every word.
//!
//! A table says which account each frame is charged to: that of the process that
//! ran when it was taken ([`super::payer`]).
//!
//! # What safe code cannot do
//!
//! A [`Frame`] is only a name, and any number is one. The functions here that take
//! a name panic unless it is that of a frame of data which someone holds: so Rust
//! objects, stacks, page tables, the kernel itself and devices are out of reach.
//! A frame of data never becomes any of these while it is held, or while a
//! translation of a program leads to it. What is written by name must have one
//! holder and not be in the frame cache; what is written through a [`FrameRef`]
//! must not be in the cache.
//!
//! What rests on trust: that a frame of data with one holder is the caller's. The
//! VM core keeps its frames by name, so only it and `seg` use the functions that
//! take one; all others have a [`FrameRef`], or a [`Page`](super::paging::Page) of
//! an address space.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use spin::{Mutex, Once};
use vm::{AccountId, Accounts, Frame};

use super::chance::{self, What};
pub(crate) use super::payer::set_payer;
use super::payer::{self, payer, running};
pub use super::payer::{Payer, Share, for_all};
use super::words::{self, Left, Use};
use super::{page, physical};

pub use super::page::{Physical, SIZE};
pub(super) use super::words::limit;

/// End of the list of free frames, and more frames than there are.
const END: u32 = u32::MAX;

/// In the table of accounts: the frame is a kernel object's.
const KERNEL: u16 = 1 << 15;

/// The first MiB has too many owners.
const LOWEST: u64 = 1 << 20;

struct Table {
    /// Account of each frame, and [`KERNEL`].
    owners: &'static mut [u16],
    accounts: Accounts,
    /// First of the free list, or `END`.
    first: u32,
    /// Frames `fresh..fresh_end` have never been used.
    fresh: u32,
    fresh_end: u32,
    /// Free frames, listed and fresh.
    free: u32,
    total: u32,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    owners: &mut [],
    accounts: Accounts::new(),
    first: END,
    fresh: 0,
    fresh_end: 0,
    free: 0,
    total: 0,
});

/// Are frames without content filled with [`POISON`]?
static POISONED: AtomicBool = AtomicBool::new(false);

/// Random, so that no program has it in its memory by chance.
const POISON: u64 = 0xd35c_4be9_17a6_8f32;

/// For tests: from now on what is in a frame that nobody has written is poison,
/// and [`check_written`] looks for it.
pub fn poison() {
    POISONED.store(true, Relaxed);
}

/// The frame has no content any more, or none yet.
#[inline]
fn emptied(frame: Frame) {
    if POISONED.load(Relaxed) {
        page::fill(frame, POISON);
    }
}

/// Panics if a frame that a program is about to see was not written entirely
/// (invariant 14). Looks only if frames are poisoned.
#[inline]
pub fn check_written(frame: Frame) {
    if POISONED.load(Relaxed) && words::is_data(frame) {
        assert!(!page::has(frame, POISON), "{frame:?} is not initialised");
    }
}

/// A frame of data for which the caller is the one holder; what is in it is
/// whatever it was last used for.
#[inline]
pub fn alloc() -> Option<Frame> {
    let frame = take(Use::Data)?;
    emptied(frame);
    Some(frame)
}

/// As [`alloc()`], with all bytes zero.
#[inline]
pub fn alloc_zeroed() -> Option<Frame> {
    let frame = take(Use::Data)?;
    page::zero(frame);
    Some(frame)
}

/// A frame of zeros that several programs may write.
pub fn alloc_shared() -> Option<Frame> {
    let frame = take(Use::Shared)?;
    page::zero(frame);
    Some(frame)
}

/// A node of zeros: 512 words, see [`node_word`].
#[inline]
pub fn alloc_node() -> Option<Frame> {
    let frame = take(Use::Node)?;
    page::zero(frame);
    Some(frame)
}

/// Gives a node back. Panics if it is none.
#[inline]
pub fn free_node(node: Frame) {
    free_own(node, Use::Node);
}

/// Word `index` (0 to 511) of a node. Panics if it is none.
#[inline]
pub fn node_word(node: Frame, index: usize) -> u64 {
    words::assert_node(node);
    page::read_word(node, index)
}

/// Sets word `index` (0 to 511) of a node. Panics if it is none.
#[inline]
pub fn set_node_word(node: Frame, index: usize, value: u64) {
    words::assert_node(node);
    page::write_word(node, index, value);
}

/// A page table of zeros.
pub(super) fn alloc_table() -> Option<Frame> {
    let frame = take(Use::Object)?;
    page::zero(frame);
    Some(frame)
}

#[inline]
fn take(what: Use) -> Option<Frame> {
    let payer = payer();
    let mut table = TABLE.lock();
    if table.free <= payer.floor || chance::fails(What::Frame, running) {
        return None;
    }
    let frame = table.take(what)?;
    table.accounts.charge(payer.account);
    table.set_owner(frame, payer.account.0);
    Some(frame)
}

/// A frame for an object of the kernel that a program makes it keep: within the
/// limits of its account, and from the reserve for those too.
fn take_for_kernel(what: Use) -> Option<Frame> {
    let payer = payer();
    let mut table = TABLE.lock();
    if table.free <= payer.kernel_floor || chance::fails(What::Frame, running) {
        return None;
    }
    table.accounts.charge_kernel(payer.account).ok()?;
    let Some(frame) = table.take(what) else {
        table.accounts.uncharge_kernel(payer.account);
        return None;
    };
    table.set_owner(frame, payer.account.0 | KERNEL);
    Some(frame)
}

/// A frame for Rust objects or stacks.
pub(super) fn alloc_object() -> Option<Frame> {
    take_for_kernel(Use::Object)
}

/// Gives back what [`alloc_object`] or [`alloc_table`] gave.
pub(super) fn free_object(frame: Frame) {
    free_own(frame, Use::Object);
}

/// A page table of zeros that the kernel keeps for ever.
pub(super) fn alloc_for_ever() -> Option<Frame> {
    let frame = {
        let mut table = TABLE.lock();
        let frame = table.take(Use::Object)?;
        table.accounts.charge(AccountId::KERNEL);
        table.set_owner(frame, AccountId::KERNEL.0);
        frame
    };
    page::zero(frame);
    Some(frame)
}

/// `pages` frames in a row, the first of which is returned; each is held once
/// and released on its own.
pub(super) fn alloc_run(pages: u32, what: Use) -> Option<Frame> {
    let payer = payer();
    let mut table = TABLE.lock();
    if pages == 0 || table.free.checked_sub(pages)? < payer.floor {
        return None;
    }
    let first = table
        .take_fresh_run(pages)
        .or_else(|| table.take_listed_run(pages))?;
    let run = first..first + pages;
    run.clone().for_each(|frame| what.begin(Frame(frame)));
    table.free -= pages;
    table.owners[first as usize..(first + pages) as usize].fill(payer.account.0);
    run.for_each(|_| table.accounts.charge(payer.account));
    Some(Frame(first))
}

/// One more holder.
#[inline]
pub fn retain(frame: Frame) {
    words::retain(frame);
}

/// One holder less; the last gives the frame back. Panics if it was the last and a
/// translation leads to the frame.
#[inline]
pub fn release(frame: Frame) {
    match words::release(frame) {
        Left::Held => {}
        Left::Nothing => free(frame),
        Left::Cached => release_cached(frame),
    }
}

/// The last holder of a marked frame let go: nobody is to find it any more.
#[cold]
fn release_cached(frame: Frame) {
    forget(frame);
    words::set_cached(frame, false);
    // Unless somebody found it just before.
    if words::is_unheld(frame) {
        free(frame);
    }
}

#[inline]
fn free_own(frame: Frame, what: Use) {
    if words::release_object(frame, what) {
        free(frame);
    }
}

/// Nobody holds the frame any more.
#[inline]
fn free(frame: Frame) {
    TABLE.lock().freed(frame);
    emptied(frame);
}

/// Is there more than one holder?
#[inline]
pub fn shared(frame: Frame) -> bool {
    words::is_shared(frame)
}

/// Is the caller the only holder? Then nobody finds the frame any more
/// (`mem::cache`), and it may be written.
#[inline]
pub fn claim(frame: Frame) -> bool {
    if words::is_shared(frame) {
        return false;
    }
    if words::is_cached(frame) {
        forget(frame);
        words::set_cached(frame, false);
    }
    true
}

/// Told that a marked frame is not to be found any more.
static FORGET: Once<fn(Frame)> = Once::new();

/// Nobody is to find the frame any more.
#[cold]
fn forget(frame: Frame) {
    if let Some(forget) = FORGET.get() {
        forget(frame);
    }
}

/// Sets who is told that a marked frame is not to be found any more.
pub(super) fn on_forget(f: fn(Frame)) {
    FORGET.call_once(|| f);
}

/// Writes `from` into a frame of data, beginning at byte `at`.
#[inline]
pub fn copy_to(frame: Frame, at: usize, from: &[u8]) {
    words::data(frame);
    page::copy_to(frame, at, from);
}

/// Fills `to` from a frame of data, beginning at byte `at`.
#[inline]
pub fn copy_from(frame: Frame, at: usize, to: &mut [u8]) {
    words::data(frame);
    page::copy_from(frame, at, to);
}

/// Copies `len` bytes from one frame of data to another.
#[inline]
pub fn copy_between(from: Frame, from_at: usize, to: Frame, to_at: usize, len: usize) {
    words::data(from);
    words::data(to);
    page::copy_between((from, from_at), (to, to_at), len);
}

/// Zeroes `len` bytes of a frame of data from byte `at`.
#[inline]
pub fn zero_range(frame: Frame, at: usize, len: usize) {
    words::data(frame);
    page::zero_range(frame, at, len);
}

/// Word `index` (0 to 511) of a frame of data.
#[inline]
pub fn read_u64(frame: Frame, index: usize) -> u64 {
    words::data(frame);
    page::read_word(frame, index)
}

/// Zeroes a frame of data.
pub fn zero(frame: Frame) {
    words::data(frame);
    page::zero(frame);
}

/// A frame of data within the limits of the account on kernel objects.
pub fn alloc_kernel() -> Option<Frame> {
    take_for_kernel(Use::Data)
}

/// As [`alloc_run`], for a program and a device.
pub fn alloc_contiguous(pages: u32) -> Option<Frame> {
    alloc_run(pages, Use::Shared)
}

/// Is it memory, the kernel's own included, and not a device or nothing?
#[inline]
pub fn managed(frame: Frame) -> bool {
    u64::from(frame.0) < LOWEST / abi::PAGE || words::is_memory(frame)
}

/// Is any of them? The cost follows the memory there is, not the range.
pub fn any_managed(frames: Range<u32>) -> bool {
    let end = frames.end.min(limit());
    let low = frames.start < (LOWEST / abi::PAGE) as u32;
    low || (frames.start..end).any(|frame| managed(Frame(frame)))
}

/// Frames nobody holds, the reserve included.
pub fn free_count() -> u64 {
    u64::from(TABLE.lock().free)
}

/// Frames under management.
pub fn total() -> u64 {
    u64::from(TABLE.lock().total)
}

/// Which account a frame is charged to.
#[inline]
pub(super) fn owner(frame: Frame) -> AccountId {
    let table = TABLE.lock();
    let owner = table.owners.get(frame.0 as usize).copied().unwrap_or(0);
    AccountId(owner & !KERNEL)
}

/// Are so few frames free that the one who takes frames now gets none?
pub fn exhausted() -> bool {
    TABLE.lock().free <= payer().floor
}

/// Calls `f` with the accounts.
pub fn accounts<R>(f: impl FnOnce(&mut Accounts) -> R) -> R {
    f(&mut TABLE.lock().accounts)
}

/// Sets the limits that follow from the size of memory: once, when the kernel
/// has what it needs for itself.
pub(super) fn set_limits(processes: u32) {
    let mut table = TABLE.lock();
    payer::set_reserve((table.total / 256).clamp(16, 1024));
    let kernel = table.total / 2;
    table.accounts.set_limits(kernel, processes);
}

impl Table {
    #[inline]
    fn set_owner(&mut self, frame: Frame, owner: u16) {
        if let Some(entry) = self.owners.get_mut(frame.0 as usize) {
            *entry = owner;
        }
    }

    /// Puts a frame into the list.
    #[inline]
    fn freed(&mut self, frame: Frame) {
        words::set_free(frame, self.first);
        self.first = frame.0;
        self.free += 1;
        let owner = self.owners.get(frame.0 as usize).copied().unwrap_or(0);
        let account = AccountId(owner & !KERNEL);
        match owner & KERNEL {
            0 => self.accounts.uncharge(account),
            _ => self.accounts.uncharge_kernel(account),
        }
    }

    #[inline]
    fn take(&mut self, what: Use) -> Option<Frame> {
        let taken = Frame(self.first);
        let Some(next) = words::next_free(taken) else {
            return self.take_fresh(what);
        };
        self.first = next;
        self.free -= 1;
        what.begin(taken);
        Some(taken)
    }

    fn take_fresh(&mut self, what: Use) -> Option<Frame> {
        if self.fresh == self.fresh_end {
            return None;
        }
        let taken = Frame(self.fresh);
        self.fresh += 1;
        self.free -= 1;
        what.begin(taken);
        Some(taken)
    }

    fn take_fresh_run(&mut self, pages: u32) -> Option<u32> {
        if self.fresh_end - self.fresh < pages {
            return None;
        }
        self.fresh_end -= pages;
        Some(self.fresh_end)
    }

    /// First fit over the table, then takes the run out of the free list.
    /// Slow, but only for devices that start late.
    fn take_listed_run(&mut self, pages: u32) -> Option<u32> {
        let mut run = 0;
        let end = (0..limit()).find(|&frame| {
            let free = words::next_free(Frame(frame)).is_some();
            run = if free { run + 1 } else { 0 };
            run == pages
        })?;
        let taken = end + 1 - pages..end + 1;
        let (mut kept, mut at) = (END, self.first);
        while let Some(next) = words::next_free(Frame(at)) {
            if !taken.contains(&at) {
                words::set_free(Frame(at), kept);
                kept = at;
            }
            at = next;
        }
        self.first = kept;
        Some(taken.start)
    }

    /// At start: marks memory that is never handed out.
    fn keep(frames: Range<u64>) {
        let end = frames.end.min(u64::from(limit())) as u32;
        (frames.start as u32..end).for_each(|frame| words::set(Frame(frame), words::KEPT));
    }

    /// At start: lists a region.
    fn list(&mut self, frames: Range<u32>) {
        for frame in frames.rev() {
            words::set_free(Frame(frame), self.first);
            self.first = frame;
            self.free += 1;
        }
    }
}

/// Whole frames of a region that the kernel may use.
fn usable(region: &MemoryRegion) -> Range<u32> {
    if region.kind != MemoryRegionKind::Usable {
        return 0..0;
    }
    let start = region.start.max(LOWEST).div_ceil(abi::PAGE);
    let end = (region.end / abi::PAGE).min(u64::from(END));
    start as u32..(end as u32).max(start as u32)
}

/// Builds the tables from the loader's memory map, in the largest region.
pub(super) fn init(regions: &[MemoryRegion]) {
    let largest = regions
        .iter()
        .map(usable)
        .max_by_key(ExactSizeIterator::len)
        .unwrap_or(0..0);
    // The loader's page tables are read too, though never handed out.
    let ours = |region: &&MemoryRegion| {
        matches!(
            region.kind,
            MemoryRegionKind::Usable | MemoryRegionKind::Bootloader
        )
    };
    let limit = regions
        .iter()
        .filter(ours)
        .map(|region| region.end / abi::PAGE)
        .max();
    let limit = limit.unwrap_or(0).min(u64::from(END)) as u32;
    let words_frames = (limit as usize * size_of::<AtomicU64>()).div_ceil(SIZE) as u32;
    let owners_frames = (limit as usize * size_of::<u16>()).div_ceil(SIZE) as u32;
    let fresh = largest.start + words_frames + owners_frames;
    assert!(
        largest.len() > (fresh - largest.start) as usize + 64,
        "too little memory"
    );
    // SAFETY: usable memory that nobody has been given yet, mapped for ever,
    // aligned to a page.
    unsafe { words::init(physical(Frame(largest.start).pa()).cast(), limit) };
    // SAFETY: the frames after those, under the same conditions; every entry is
    // written before it is read.
    let owners = unsafe {
        let first = physical(Frame(largest.start + words_frames).pa()).cast::<u16>();
        core::ptr::write_bytes(first, 0, limit as usize);
        core::slice::from_raw_parts_mut(first, limit as usize)
    };
    let mut table = TABLE.lock();
    table.owners = owners;
    (table.fresh, table.fresh_end) = (fresh, largest.end);
    (fresh..largest.end).for_each(|frame| words::set(Frame(frame), words::FRESH));
    table.free = largest.end - fresh;
    Table::keep(u64::from(largest.start)..u64::from(fresh));
    for region in regions {
        if region.kind == MemoryRegionKind::Bootloader {
            Table::keep(region.start / abi::PAGE..region.end.div_ceil(abi::PAGE));
        } else if usable(region).start != largest.start {
            table.list(usable(region));
        }
    }
    table.total = table.free;
}
