//! Page frames and who holds them.
//!
//! A table has one word for each frame from physical address 0 to the end of
//! memory. Free frames form a list through the table; the largest piece of
//! memory is not on the list at first but handed out from its low end, and
//! runs for devices from its high end, so that both are quick and start-up
//! does not touch every word.
//!
//! A second table says which account each frame is charged to: that of the
//! process that ran when it was taken. The last free frames are not for
//! everybody: ordinary processes leave [`Payer`] some for kernel objects and for
//! file servers, and all of them leave some for the services of the system.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use spin::{Mutex, Once};
use vm::{AccountId, Accounts, Frame};

use super::chance::{self, What};
use super::{page, physical};
use crate::cpu::cpu;

pub(super) use super::page::limit;
pub use super::page::{
    Physical, SIZE, copy_between, copy_from, copy_to, read_u64, write_u64, zero, zero_range,
};

// A word of the table: number of holders, with the mark CACHED if strangers may
// find the frame (`mem::cache`); 0 for a frame never handed out;
// FREE | next for a free one; KEPT for memory that is never handed out (the
// kernel, the bundle, its page tables); ABSENT for what is not memory.
const FREE: u32 = 1 << 31;
const CACHED: u32 = 1 << 30;
const END: u32 = FREE - 3;
const KEPT: u32 = u32::MAX - 1;
const ABSENT: u32 = u32::MAX;
/// More holders than could be, fewer than would look marked.
const MOST: u32 = CACHED - 2;

/// In the table of accounts: the frame is a kernel object's.
const KERNEL: u16 = 1 << 15;

/// The first MiB has too many owners.
const LOWEST: u64 = 1 << 20;

/// How far a process may use up the last free frames: how many steps of the
/// reserve it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Share {
    /// Like any program.
    #[default]
    Ordinary = 3,
    /// It answers as a file server: others wait for it.
    Serving = 2,
    /// Kernel objects of any program: calls go on when a server has taken the
    /// frames that it may.
    Kernel = 1,
    /// The system cannot do without it, or it gives memory back just now.
    Service = 0,
}

/// Who takes frames now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Payer {
    /// To which they are charged.
    pub account: AccountId,
    /// How many must be left.
    pub share: Share,
}

struct Table {
    words: &'static mut [u32],
    /// Account of each frame, and [`KERNEL`].
    owners: &'static mut [u16],
    accounts: Accounts,
    payer: Payer,
    /// Free frames that the payer must leave, and kernel objects for it.
    floor: u32,
    kernel_floor: u32,
    /// First of the free list, or `END`.
    first: u32,
    /// Frames `fresh..fresh_end` have never been used.
    fresh: u32,
    fresh_end: u32,
    /// Free frames, listed and fresh.
    free: u32,
    /// A step of the reserve, see [`Share`].
    reserve: u32,
    total: u32,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    words: &mut [],
    owners: &mut [],
    accounts: Accounts::new(),
    payer: Payer {
        account: AccountId::KERNEL,
        share: Share::Service,
    },
    floor: 0,
    kernel_floor: 0,
    first: END,
    fresh: 0,
    fresh_end: 0,
    free: 0,
    reserve: 0,
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
        (0..SIZE / 8).for_each(|index| write_u64(frame, index, POISON));
    }
}

/// Panics if a frame that a program is about to see was not written entirely
/// (invariant 14). Looks only if frames are poisoned.
#[inline]
pub fn check_written(frame: Frame) {
    if POISONED.load(Relaxed) && managed(frame) {
        let unwritten = |index| read_u64(frame, index) == POISON;
        assert!(
            !(0..SIZE / 8).any(unwritten),
            "{frame:?} is not initialised"
        );
    }
}

/// A frame for which the caller is the one holder; what is in it is whatever
/// it was last used for.
#[inline]
pub fn alloc() -> Option<Frame> {
    let frame = take()?;
    emptied(frame);
    Some(frame)
}

#[inline]
fn take() -> Option<Frame> {
    let mut table = TABLE.lock();
    if table.free <= table.floor || chance::fails(What::Frame, running) {
        return None;
    }
    let frame = table.take()?;
    let account = table.payer.account;
    table.accounts.charge(account);
    table.set_owner(frame, account.0);
    Some(frame)
}

/// As [`alloc()`], for an object of the kernel that a program makes it keep:
/// within the limits of its account, and from the reserve for those too.
pub fn alloc_kernel() -> Option<Frame> {
    let mut table = TABLE.lock();
    if table.free <= table.kernel_floor || chance::fails(What::Frame, running) {
        return None;
    }
    let account = table.payer.account;
    table.accounts.charge_kernel(account).ok()?;
    let Some(frame) = table.take() else {
        table.accounts.uncharge_kernel(account);
        return None;
    };
    table.set_owner(frame, account.0 | KERNEL);
    Some(frame)
}

/// A frame of zeros that the kernel keeps for ever.
pub fn alloc_for_ever() -> Option<Frame> {
    let frame = {
        let mut table = TABLE.lock();
        let frame = table.take()?;
        table.accounts.charge(AccountId::KERNEL);
        table.set_owner(frame, AccountId::KERNEL.0);
        frame
    };
    zero(frame);
    Some(frame)
}

/// As [`alloc()`], with all bytes zero.
#[inline]
pub fn alloc_zeroed() -> Option<Frame> {
    let frame = take()?;
    zero(frame);
    Some(frame)
}

/// `pages` frames in a row, the first of which is returned; each is held once
/// and released on its own. Contents as with [`alloc()`].
pub fn alloc_contiguous(pages: u32) -> Option<Frame> {
    let mut table = TABLE.lock();
    if pages == 0 || table.free.checked_sub(pages)? < table.floor {
        return None;
    }
    let first = table
        .take_fresh_run(pages)
        .or_else(|| table.take_listed_run(pages))?;
    let run = first as usize..(first + pages) as usize;
    table.words[run.clone()].fill(1);
    table.free -= pages;
    let account = table.payer.account;
    table.owners[run].fill(account.0);
    (0..pages).for_each(|_| table.accounts.charge(account));
    (first..first + pages).for_each(|frame| emptied(Frame(frame)));
    Some(Frame(first))
}

/// One more holder.
#[inline]
pub fn retain(frame: Frame) {
    let mut table = TABLE.lock();
    let word = table.held(frame);
    *word += 1;
    assert!(*word & !CACHED < MOST, "too many holders of {frame:?}");
}

/// One holder less; the last gives the frame back. Nothing may translate to
/// it any more.
#[inline]
pub fn release(frame: Frame) {
    let word = {
        let mut table = TABLE.lock();
        let first = table.first;
        let word = table.held(frame);
        *word -= 1;
        let left = *word;
        if left == 0 {
            *word = FREE | first;
            table.freed(frame);
            emptied(frame);
        }
        left
    };
    if word == CACHED {
        release_cached(frame);
    }
}

/// The last holder of a marked frame let go: nobody is to find it any more.
#[cold]
fn release_cached(frame: Frame) {
    forget(frame);
    let mut table = TABLE.lock();
    let first = table.first;
    let word = table.held(frame);
    *word &= !CACHED;
    // Unless somebody found it just before.
    if *word == 0 {
        *word = FREE | first;
        table.freed(frame);
        emptied(frame);
    }
}

/// Is there more than one holder?
#[inline]
pub fn shared(frame: Frame) -> bool {
    *TABLE.lock().held(frame) & !CACHED > 1
}

/// Is the caller the only holder? Then nobody finds the frame any more
/// (`mem::cache`), and it may be written.
#[inline]
pub fn claim(frame: Frame) -> bool {
    let word = *TABLE.lock().held(frame);
    if word == CACHED | 1 {
        forget(frame);
        *TABLE.lock().held(frame) &= !CACHED;
        return true;
    }
    word == 1
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

/// Marks a frame that strangers may find from now on. For `mem::cache` alone.
pub(super) fn mark(frame: Frame) {
    *TABLE.lock().held(frame) |= CACHED;
}

/// Is it memory, the kernel's own included, and not a device or nothing?
#[inline]
pub fn managed(frame: Frame) -> bool {
    let low = u64::from(frame.0) < LOWEST / abi::PAGE;
    let table = TABLE.lock();
    low || table
        .words
        .get(frame.0 as usize)
        .is_some_and(|&word| word != ABSENT)
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
pub fn owner(frame: Frame) -> AccountId {
    let table = TABLE.lock();
    let owner = table.owners.get(frame.0 as usize).copied().unwrap_or(0);
    AccountId(owner & !KERNEL)
}

/// From now on `payer` takes frames.
#[inline]
pub fn set_payer(payer: Payer) {
    cpu().account.store(payer.account.0, Relaxed);
    cpu().running.store(payer.account.0, Relaxed);
    let mut table = TABLE.lock();
    table.payer = payer;
    table.floor = payer.share as u32 * table.reserve;
    table.kernel_floor = table.floor.min(Share::Kernel as u32 * table.reserve);
}

/// The account of the one who takes frames now.
#[inline]
pub fn account() -> AccountId {
    AccountId(cpu().account.load(Relaxed))
}

/// The account of the running process.
pub fn running() -> AccountId {
    AccountId(cpu().running.load(Relaxed))
}

/// Runs `f`, in which memory is charged to the kernel: for tables that all
/// share, whose size follows from what others are charged for.
#[inline]
pub fn for_all<R>(f: impl FnOnce() -> R) -> R {
    let account = charge_to(AccountId::KERNEL);
    let done = f();
    charge_to(account);
    done
}

/// Charges to `account` from now on; to whom it was before.
fn charge_to(account: AccountId) -> AccountId {
    cpu().account.store(account.0, Relaxed);
    core::mem::replace(&mut TABLE.lock().payer.account, account)
}

/// Are so few frames free that the one who takes frames now gets none?
pub fn exhausted() -> bool {
    let table = TABLE.lock();
    table.free <= table.floor
}

/// Calls `f` with the accounts.
pub fn accounts<R>(f: impl FnOnce(&mut Accounts) -> R) -> R {
    f(&mut TABLE.lock().accounts)
}

/// Sets the limits that follow from the size of memory: once, when the kernel
/// has what it needs for itself.
pub(super) fn set_limits(processes: u32) {
    let mut table = TABLE.lock();
    table.reserve = (table.total / 256).clamp(16, 1024);
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

    /// `frame` has become the first of the list.
    #[inline]
    fn freed(&mut self, frame: Frame) {
        self.first = frame.0;
        self.free += 1;
        let owner = self.owners.get(frame.0 as usize).copied().unwrap_or(0);
        let account = AccountId(owner & !KERNEL);
        match owner & KERNEL {
            0 => self.accounts.uncharge(account),
            _ => self.accounts.uncharge_kernel(account),
        }
    }

    /// The word of a frame that someone holds. Panics for any other frame:
    /// the kernel has lost track of its memory and must not go on.
    #[inline]
    fn held(&mut self, frame: Frame) -> &mut u32 {
        match self.words.get_mut(frame.0 as usize) {
            Some(word) if (1..FREE).contains(word) => word,
            _ => not_held(frame),
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Frame> {
        let taken = self.first;
        if taken != END {
            let word = self.words.get_mut(taken as usize)?;
            self.first = *word & !FREE;
            *word = 1;
            self.free -= 1;
            return Some(Frame(taken));
        }
        self.take_fresh_run_low()
    }

    fn take_fresh_run_low(&mut self) -> Option<Frame> {
        if self.fresh == self.fresh_end {
            return None;
        }
        let taken = self.fresh;
        self.fresh += 1;
        self.free -= 1;
        *self.words.get_mut(taken as usize)? = 1;
        Some(Frame(taken))
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
        let is_free = |word: u32| word & FREE != 0 && word < KEPT;
        let mut run = 0;
        let end = self.words.iter().position(|&word| {
            run = if is_free(word) { run + 1 } else { 0 };
            run == pages
        })? as u32;
        let taken = end + 1 - pages..end + 1;
        let mut kept = END;
        let mut next = self.first;
        while next != END {
            let frame = next;
            next = self.words[frame as usize] & !FREE;
            if !taken.contains(&frame) {
                self.words[frame as usize] = FREE | kept;
                kept = frame;
            }
        }
        self.first = kept;
        Some(taken.start)
    }
}

impl Table {
    /// At start: marks memory that is never handed out.
    fn keep(&mut self, frames: Range<u64>) {
        let end = (frames.end as usize).min(self.words.len());
        if let Some(words) = self.words.get_mut(frames.start as usize..end) {
            words.fill(KEPT);
        }
    }

    /// At start: lists a region, unless it is the one handed out in order.
    fn list(&mut self, frames: Range<u32>, largest: u32) {
        if frames.start == largest {
            return;
        }
        for frame in frames.rev() {
            self.words[frame as usize] = FREE | self.first;
            self.first = frame;
            self.free += 1;
        }
    }
}

#[cold]
fn not_held(frame: Frame) -> ! {
    panic!("{frame:?} is not held by anyone")
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

/// Builds the table from the loader's memory map, in the largest region.
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
    let words_frames = (limit as usize * size_of::<u32>()).div_ceil(SIZE) as u32;
    let owners_frames = (limit as usize * size_of::<u16>()).div_ceil(SIZE) as u32;
    let table_frames = words_frames + owners_frames;
    assert!(
        largest.len() > table_frames as usize + 64,
        "too little memory"
    );
    page::set_limit(limit);
    // SAFETY: usable memory that nobody has been given yet, mapped for ever,
    // aligned to a page; every word is written before it is read.
    let words = unsafe {
        let first = physical(Frame(largest.start).pa()).cast::<u32>();
        core::ptr::write_bytes(first, 0xff, limit as usize);
        core::slice::from_raw_parts_mut(first, limit as usize)
    };
    // SAFETY: the frames after those, under the same conditions.
    let owners = unsafe {
        let first = physical(Frame(largest.start + words_frames).pa()).cast::<u16>();
        core::ptr::write_bytes(first, 0, limit as usize);
        core::slice::from_raw_parts_mut(first, limit as usize)
    };
    let mut table = TABLE.lock();
    table.words = words;
    table.owners = owners;
    table.fresh = largest.start + table_frames;
    table.fresh_end = largest.end;
    let fresh = table.fresh..table.fresh_end;
    table.words[fresh.start as usize..fresh.end as usize].fill(0);
    table.free = fresh.len() as u32;
    let own = u64::from(largest.start)..u64::from(fresh.start);
    table.keep(own);
    for region in regions {
        if region.kind == MemoryRegionKind::Bootloader {
            let kept = region.start / abi::PAGE..region.end.div_ceil(abi::PAGE);
            table.keep(kept);
        } else {
            table.list(usable(region), largest.start);
        }
    }
    table.total = table.free;
}
