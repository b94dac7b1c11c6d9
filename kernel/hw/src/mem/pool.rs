//! The pool of page frames: they are taken from it, held, and freed to it.
//!
//! A table has the account that each frame is charged to: that of the process that
//! ran when it was taken ([`super::payer`]).

mod aside;
mod idle;
mod lists;
mod poison;
mod start;

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::lock::Mutex;
use crate::pending::{self, Work};
use crate::time;
use spin::Once;
use vm::{AccountId, Accounts, Frame, Idle, OwnerWord};

use super::chance::{self, What};
use super::page;
use super::page::SIZE;
use super::payer::{self, Share, Terms, payer, running};
use super::words::{self, Left, Use, limit};
use start::LOWEST;

pub(super) use aside::{on_low, put_back, set_aside, take_over};
pub(super) use idle::{free_forgotten, take_up};
pub use poison::poison;
pub(super) use poison::{check_written, emptied};
pub(super) use start::init;

/// End of the list of free frames, and more frames than there are.
const END: u32 = u32::MAX;

/// In the table of accounts: the frame is a kernel object's.
const KERNEL: u16 = 1 << 15;

/// What a free frame is known to hold, so that it need not be written for the same use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Anything.
    Any,
    /// Zeros: it was a page table.
    Zeros,
    /// Zeros, if the VM core keeps its promise: it was a node. Never a table again without
    /// being zeroed.
    Node,
    /// The kernel's half above zeros: it was a root.
    Root,
}

struct Table {
    /// Account of each frame, and [`KERNEL`].
    owners: &'static mut [u16],
    accounts: Accounts,
    /// First of each list of free frames, or `END`, by what they hold.
    first: [u32; Held::Root as usize + 1],
    /// Frames `fresh..fresh_end` have never been used.
    fresh: u32,
    fresh_end: u32,
    /// Free frames, listed and fresh.
    free: u32,
    /// Frames that nobody has and that the frame cache names.
    idle: Idle,
    /// Frames of objects that are kept for the next who wants one.
    aside: u32,
    /// With fewer free frames, memory is low.
    mark: u32,
    /// With more free frames, one is taken without asking further.
    brake: u32,
    total: u32,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    owners: &mut [],
    accounts: Accounts::new(),
    first: [END; Held::Root as usize + 1],
    fresh: 0,
    fresh_end: 0,
    free: 0,
    idle: Idle::new(),
    aside: 0,
    mark: 0,
    brake: u32::MAX,
    total: 0,
});

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
    free_kept();
    let low = TABLE.lock().is_low();
    pending::set(Work::FewFrames, low);
    low
}

/// Frees what is kept for a certain use: of idle frames the oldest. The frame cache is not
/// locked. Returns false if there were no idle ones.
pub fn free_kept() -> bool {
    aside::free_all();
    idle::free_some()
}

/// For tests: the next frames are asked for in the long way, in which taking one may fail
/// ([`chance`]).
pub fn brake() {
    TABLE.lock().brake = u32::MAX;
}

/// A page table of zeros.
pub(super) fn alloc_table() -> Option<Frame> {
    take_zeroed(Held::Zeros, Use::Object)
}

/// A frame of zeros for one holder, of those that hold zeros already if there is one.
#[inline]
pub(super) fn take_zeroed(held: Held, what: Use) -> Option<Frame> {
    if let Some(frame) = take_held(held, what) {
        debug_assert!(page::next_word(frame, 0, SIZE / 8) == SIZE / 8, "not zeros");
        return Some(frame);
    }
    let frame = take(what)?;
    page::zero(frame);
    Some(frame)
}

/// A frame for one holder that holds that. `None`: there is none, or frames are few.
#[inline]
pub(super) fn take_held(held: Held, what: Use) -> Option<Frame> {
    let frame = TABLE.lock().take_held(held)?;
    what.begin(frame);
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
    free_kept();
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
    if table.is_low() {
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
    if table.is_low() && table.kept() > 0 {
        // They cannot be freed here: the caller may have locked the frame cache.
        pending::set(Work::FewFrames, true);
    }
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

/// Frees a frame of [`alloc_object`].
pub(super) fn free_object(frame: Frame) {
    free_own(frame, Use::Object, Held::Any);
}

/// Frees a frame of [`alloc_table`] whose entries have all been removed.
pub(super) fn free_table(frame: Frame) {
    free_own(frame, Use::Object, Held::Zeros);
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
                let charged = TABLE.lock().enlist(frame, Held::Any);
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

/// A cached frame whose last holder is gone becomes idle, or is freed where memory is low.
#[cold]
fn release_cached(frame: Frame) {
    if !idle::lay_down(frame) {
        forget(frame);
        words::set_cached(frame, false);
        free(frame);
    }
}

/// Removes a reference to an object or node; the last one frees it, which holds that then.
#[inline]
pub(super) fn free_own(frame: Frame, what: Use, held: Held) {
    if words::release_object(frame, what) {
        free_as(frame, held);
    }
}

/// Puts a frame without holders into the list of free frames.
#[inline]
pub(super) fn free(frame: Frame) {
    free_as(frame, Held::Any);
}

/// The same for one that holds that.
#[inline]
pub(super) fn free_as(frame: Frame, held: Held) {
    let held = match poison::is_on() {
        true => Held::Any,
        false => held,
    };
    TABLE.lock().freed(frame, held);
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

/// Sets it.
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

/// Free frames, the reserve and those that are kept for a certain use included.
pub fn free_count() -> u64 {
    let table = TABLE.lock();
    u64::from(table.free + table.kept())
}

/// Those of them that are idle.
pub fn idle_count() -> u64 {
    u64::from(TABLE.lock().idle.count())
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
    let table = TABLE.lock();
    table.free + table.kept() <= payer().floor
}

/// Calls `f` with the accounts.
pub fn accounts<R>(f: impl FnOnce(&mut Accounts) -> R) -> R {
    f(&mut TABLE.lock().accounts)
}

/// Sets the limits that follow from the size of memory: once, after the
/// kernel's own allocations.
pub(super) fn set_limits() {
    let mut table = TABLE.lock();
    let reserve = (table.total / 256).clamp(16, 1024);
    payer::set_reserve(reserve);
    // More than any payer has to leave.
    table.mark = Share::Ordinary as u32 * reserve * 2;
    table.brake = table.mark;
    let kernel = table.total / 2;
    table.accounts.set_kernel_frames(kernel);
}
