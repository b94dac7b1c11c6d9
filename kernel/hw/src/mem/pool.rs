//! The pool of page frames: they are taken from it, held, and freed to it.
//!
//! Free frames form a list through their words ([`super::words`]); the largest
//! piece of memory is not on the list at first but handed out from its low end,
//! and runs for devices from its high end, so that both are quick and start-up
//! does not touch every word.
//!
//! A table has the account that each frame is charged to: that of the process that
//! ran when it was taken ([`super::payer`]).

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::lock::Mutex;
use crate::pending::{self, Work};
use crate::time;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use spin::Once;
use vm::{AccountId, Accounts, Frame, OwnerWord};

use super::chance::{self, What};
use super::payer::{self, Share, Terms, payer, running};
use super::{page, physical};

use super::page::{Physical, SIZE};
use super::words::{self, Left, Use, limit};

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
    /// With fewer free frames, memory is low.
    mark: u32,
    /// With more free frames, one is taken without asking further.
    brake: u32,
    total: u32,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    owners: &mut [],
    accounts: Accounts::new(),
    first: END,
    fresh: 0,
    fresh_end: 0,
    free: 0,
    mark: 0,
    brake: u32::MAX,
    total: 0,
});

/// True if frames without content are filled with [`POISON`].
static POISONED: AtomicBool = AtomicBool::new(false);

/// Random, so that no program has it in its memory by chance.
const POISON: u64 = 0xd35c_4be9_17a6_8f32;

/// When a process was last refused a frame, nanoseconds; 0: never.
static DENIED: AtomicU64 = AtomicU64::new(0);
/// How long ago that may be to explain the failure of a call.
const LATELY_NS: u64 = 100_000_000;

#[cold]
fn denied() -> Option<Frame> {
    DENIED.store(time::now_ns().max(1), Relaxed);
    None
}

/// Returns true if a process was refused a frame a moment ago, though there may be
/// some again.
pub fn denied_lately() -> bool {
    let at = DENIED.load(Relaxed);
    at != 0 && time::now_ns().saturating_sub(at) < LATELY_NS
}

/// Looks whether few frames are left, after [`Work::FewFrames`].
pub fn still_low() -> bool {
    let table = TABLE.lock();
    let low = table.free < table.mark;
    pending::set(Work::FewFrames, low);
    low
}

/// For tests: the next frames are asked for in the long way, in which taking one may fail
/// ([`chance`]).
pub fn brake() {
    TABLE.lock().brake = u32::MAX;
}

/// For tests: fills frames with poison from now on when they are freed or taken,
/// and [`named::check_written`](super::named::check_written) looks for it.
pub fn poison() {
    POISONED.store(true, Relaxed);
}

/// The frame has no content any more, or none yet.
#[inline]
pub(super) fn emptied(frame: Frame) {
    if POISONED.load(Relaxed) {
        page::fill(frame, POISON);
    }
}

/// Panics if poison is on and is among these words of the frame.
#[inline(always)]
pub(super) fn check_written(frame: Frame, words: Range<usize>) {
    if POISONED.load(Relaxed) && words::is_data(frame) {
        look_for_poison(frame, words);
    }
}

#[cold]
fn look_for_poison(frame: Frame, words: Range<usize>) {
    if chance::fails(What::Content, running) {
        // As if its writing had been left out.
        emptied(frame);
    }
    let written = !page::has(frame, words, POISON);
    assert!(written, "{frame:?} is not initialised");
}

/// A page table of zeros.
pub(super) fn alloc_table() -> Option<Frame> {
    let frame = take(Use::Object)?;
    page::zero(frame);
    Some(frame)
}

/// An uninitialised frame for one holder.
#[inline]
pub(super) fn take(what: Use) -> Option<Frame> {
    let frame = TABLE.lock().take_plenty();
    match frame {
        Some(frame) => {
            what.begin(frame);
            Some(frame)
        }
        None => take_low(what),
    }
}

/// The same for a translation, with those owners. `None` where frames are few.
#[inline(always)]
pub(super) fn take_translated(owners: OwnerWord) -> Option<Frame> {
    let frame = TABLE.lock().take_plenty()?;
    words::begin_translated(frame, owners);
    Some(frame)
}

/// The same where few frames are left.
#[cold]
fn take_low(what: Use) -> Option<Frame> {
    let payer = payer();
    let mut table = TABLE.lock();
    if table.free <= payer.floor {
        return denied();
    }
    if chance::fails(What::Frame, running) {
        return None;
    }
    table.brake = match chance::is_near(What::Frame) {
        true => u32::MAX,
        false => table.mark,
    };
    let frame = table.take(what)?;
    if table.free < table.mark {
        pending::set(Work::FewFrames, true);
    }
    table.charge(frame, payer.account);
    Some(frame)
}

/// A frame for an object of the kernel that a program makes it keep: within the
/// limits of its account, and from the reserve for those too.
pub(super) fn take_for_kernel(what: Use) -> Option<Frame> {
    let mut taken = None;
    take_several_for_kernel(1, what, |frame| taken = Some(frame))?;
    taken
}

/// That many of them, all or none, each passed to `f`, which takes no others.
#[inline]
pub(super) fn take_several_for_kernel(
    count: u32,
    what: Use,
    mut f: impl FnMut(Frame),
) -> Option<()> {
    let payer = payer();
    if !charge_kernel(count, &payer) {
        return None;
    }
    for left in (1..=count).rev() {
        // Not locked while `f` runs.
        let mut table = TABLE.lock();
        let Some(frame) = table.take(what) else {
            table.accounts.uncharge_kernel(payer.account, left);
            return None;
        };
        table.set_owner(frame, payer.account.0 | KERNEL);
        drop(table);
        f(frame);
    }
    Some(())
}

/// Charges frames of kernel objects that are taken at once. `false`: the payer gets none.
fn charge_kernel(count: u32, payer: &Terms) -> bool {
    let mut table = TABLE.lock();
    if table.free.saturating_sub(payer.kernel_floor) < count {
        denied();
        return false;
    }
    let fails = chance::fails(What::Frame, running);
    !fails && table.accounts.charge_kernel(payer.account, count).is_ok()
}

/// A frame for Rust objects or stacks.
pub(super) fn alloc_object() -> Option<Frame> {
    take_for_kernel(Use::Object)
}

/// Frees a frame of [`alloc_object`] or [`alloc_table`].
pub(super) fn free_object(frame: Frame) {
    free_own(frame, Use::Object);
}

/// A page table of zeros that the kernel keeps permanently.
pub(super) fn alloc_for_ever() -> Option<Frame> {
    let frame = {
        let mut table = TABLE.lock();
        let frame = table.take(Use::Object)?;
        table.charge(frame, AccountId::KERNEL);
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

/// Adds a holder.
#[inline]
pub(super) fn retain(frame: Frame) {
    words::retain(frame);
}

/// Removes a holder; the last one frees the frame. Panics if it was the last and a
/// translation leads to the frame.
#[inline]
pub(super) fn release(frame: Frame) {
    match words::release(frame) {
        Left::Held => {}
        Left::Unheld => free(frame),
        Left::Cached => release_cached(frame),
    }
}

/// Removes a holder of each of these frames, as [`release`] does, and goes through the
/// accounts above once for all that were charged alike.
pub(super) fn release_all(frames: impl Iterator<Item = Frame>) {
    let (mut owner, mut count) = (0, 0);
    for frame in frames {
        match words::release(frame) {
            Left::Held => {}
            Left::Cached => release_cached(frame),
            Left::Unheld => {
                let charged = TABLE.lock().enlist(frame);
                emptied(frame);
                if charged != owner {
                    TABLE.lock().uncharge(owner, core::mem::take(&mut count));
                    owner = charged;
                }
                count += 1;
            }
        }
    }
    TABLE.lock().uncharge(owner, count);
}

/// Frees a cached frame whose last holder is gone, once the cache has forgotten it.
#[cold]
fn release_cached(frame: Frame) {
    forget(frame);
    words::set_cached(frame, false);
    // Unless a look-up in the cache has given it a holder just before.
    if words::is_unheld(frame) {
        free(frame);
    }
}

#[inline]
pub(super) fn free_own(frame: Frame, what: Use) {
    if words::release_object(frame, what) {
        free(frame);
    }
}

/// Puts a frame without holders into the list of free frames.
#[inline]
pub(super) fn free(frame: Frame) {
    TABLE.lock().freed(frame);
    emptied(frame);
}

/// The function that takes a frame out of the frame cache.
static FORGET: Once<fn(Frame)> = Once::new();

/// Takes the frame out of the frame cache.
#[cold]
pub(super) fn forget(frame: Frame) {
    if let Some(forget) = FORGET.get() {
        forget(frame);
    }
}

/// Sets the function that takes a frame out of the frame cache.
pub(super) fn on_forget(f: fn(Frame)) {
    FORGET.call_once(|| f);
}

/// Returns true for memory, including the kernel's own, but not for devices and
/// absent frames.
#[inline]
pub(super) fn is_memory(frame: Frame) -> bool {
    u64::from(frame.0) < LOWEST / abi::PAGE || words::is_memory(frame)
}

/// Returns true if any of them is memory. The cost follows the present memory,
/// not the range.
pub(super) fn any_memory(frames: Range<u32>) -> bool {
    let end = frames.end.min(limit());
    let low = frames.start < (LOWEST / abi::PAGE) as u32;
    low || (frames.start..end).any(|frame| is_memory(Frame(frame)))
}

/// Free frames, the reserve included.
pub fn free_count() -> u64 {
    u64::from(TABLE.lock().free)
}

/// The number of managed frames.
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

/// Returns true if the present payer gets no frame.
pub fn exhausted() -> bool {
    TABLE.lock().free <= payer().floor
}

/// Calls `f` with the accounts.
pub fn accounts<R>(f: impl FnOnce(&mut Accounts) -> R) -> R {
    f(&mut TABLE.lock().accounts)
}

/// Sets the limits that follow from the size of memory: once, after the
/// kernel's own allocations.
pub(super) fn set_limits(processes: u32) {
    let mut table = TABLE.lock();
    let reserve = (table.total / 256).clamp(16, 1024);
    payer::set_reserve(reserve);
    // More than any payer has to leave.
    table.mark = Share::Ordinary as u32 * reserve * 2;
    table.brake = table.mark;
    let kernel = table.total / 2;
    table.accounts.set_limits(kernel, processes);
}

impl Table {
    /// Charges a frame to an account.
    #[inline(always)]
    fn charge(&mut self, frame: Frame, account: AccountId) {
        self.accounts.charge(account);
        self.set_owner(frame, account.0);
    }

    #[inline(always)]
    fn set_owner(&mut self, frame: Frame, owner: u16) {
        if let Some(entry) = self.owners.get_mut(frame.0 as usize) {
            *entry = owner;
        }
    }

    /// Puts a frame into the list.
    #[inline]
    fn freed(&mut self, frame: Frame) {
        let owner = self.enlist(frame);
        self.uncharge(owner, 1);
    }

    /// Puts a frame into the list that is still charged; its entry of `owners`.
    #[inline]
    fn enlist(&mut self, frame: Frame) -> u16 {
        words::set_free(frame, self.first);
        self.first = frame.0;
        self.free += 1;
        self.owners.get(frame.0 as usize).copied().unwrap_or(0)
    }

    /// Frames with that entry of `owners` were given back.
    #[inline]
    fn uncharge(&mut self, owner: u16, frames: u32) {
        let account = AccountId(owner & !KERNEL);
        match (frames, owner & KERNEL) {
            (0, _) => {}
            (_, 0) => self.accounts.uncharge(account, frames),
            _ => self.accounts.uncharge_kernel(account, frames),
        }
    }

    /// Takes and charges a frame that the caller marks as taken, if no payer has to leave
    /// as many as there are, and none is to fail.
    #[inline(always)]
    fn take_plenty(&mut self) -> Option<Frame> {
        if self.free <= self.brake {
            return None;
        }
        let frame = self.next()?;
        self.charge(frame, payer::account());
        Some(frame)
    }

    fn take(&mut self, what: Use) -> Option<Frame> {
        let frame = self.next()?;
        what.begin(frame);
        Some(frame)
    }

    /// Takes the next frame out of those that are free; the caller marks it as taken.
    #[inline(always)]
    fn next(&mut self) -> Option<Frame> {
        let listed = Frame(self.first);
        let next = match words::next_free(listed) {
            Some(behind) => {
                self.first = behind;
                listed
            }
            None if self.fresh == self.fresh_end => return None,
            None => {
                self.fresh += 1;
                Frame(self.fresh - 1)
            }
        };
        self.free -= 1;
        Some(next)
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
    let words_bytes = limit as usize * words::WORDS_PER_FRAME * size_of::<AtomicU64>();
    let words_frames = words_bytes.div_ceil(SIZE) as u32;
    let owners_frames = (limit as usize * size_of::<u16>()).div_ceil(SIZE) as u32;
    let fresh = largest.start + words_frames + owners_frames;
    assert!(
        largest.len() > (fresh - largest.start) as usize + 64,
        "too little memory"
    );
    // SAFETY: usable memory that was not handed out yet, mapped permanently,
    // aligned to a page.
    unsafe {
        let words = physical(Frame(largest.start).pa()).cast();
        words::init(words, limit, fresh..largest.end);
    }
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
